package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// lineage runs lives one after the other.
type lineage struct {
	groups   int
	commands int
	points   *atomic.Int64
	done     *lifeCounts
	until    time.Time
}

// lifeCounts is what happened in all lives: a run in which nothing did proves
// nothing.
type lifeCounts struct{ checkpoints, merges, erasures, recycled atomic.Int64 }

func (c *lifeCounts) add(s Stats) {
	c.checkpoints.Add(int64(s.Checkpoints))
	c.merges.Add(int64(s.Merges))
	c.erasures.Add(int64(s.Erasures))
	c.recycled.Add(int64(s.WAL.Recycled))
}

func (c *lifeCounts) String() string {
	return fmt.Sprintf("checkpoints=%d merges=%d erasures=%d recycled=%d", c.checkpoints.Load(), c.merges.Load(), c.erasures.Load(), c.recycled.Load())
}

// run returns the first violation.
func (n lineage) run(seed uint64, lives int) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	l := &life{disk: vfs.NewCrashableMem(), groups: n.groups, clock: new(atomic.Int64), counts: n.done, terms: make([]uint64, n.groups)}
	for i := range l.logs {
		l.logs[i] = &lifeLog{ledgerLog: ledgerLog{id: logOf(i)}}
	}
	expired := make([]int64, n.groups)
	for number := range lives {
		if !n.until.IsZero() && time.Now().After(n.until) {
			return nil
		}
		l.begin(rng, expired)
		err := l.run(n.commands)
		if err != nil {
			return fmt.Errorf("seed %d, life %d of %d groups: %w", seed, number, n.groups, err)
		}
		for i, g := range l.store.groups {
			if term := g.node.BasicStatus().GetTerm(); term <= l.terms[i] {
				return fmt.Errorf("seed %d, life %d: %w", seed, number, wrong("group %d: term %d after %d", i, term, l.terms[i]))
			}
			l.terms[i] = l.store.groups[i].node.BasicStatus().GetTerm()
		}
		// The clean end is one more point: nothing may be missing.
		end := &crashPoint{percent: -1, disk: l.disk, opened: true}
		for _, log := range l.logs {
			end.acked, end.proposed = append(end.acked, log.acked), append(end.proposed, len(log.ops))
		}
		for i := range l.expiredAcked {
			end.expiredAcked = append(end.expiredAcked, l.expiredAcked[i].Load())
			end.expiredMost = append(end.expiredMost, l.expiredMost[i].Load())
		}
		l.points = append(l.points, end)
		next := rng.IntN(len(l.points))
		var logs [lifeLogs]*lifeLog
		var terms []uint64
		for i, p := range l.points {
			logsThere, expiredThere, termsThere, err := p.recovered(l, 1+rng.IntN(9))
			if err != nil {
				return fmt.Errorf("seed %d, life %d of %d groups, crash before operation %d of %d, %d %% of unsynced data kept: %w",
					seed, number, n.groups, p.at, l.ops.Load(), p.percent, err)
			}
			n.points.Add(1)
			if i == next {
				logs, expired, terms = logsThere, expiredThere, termsThere
			}
		}
		l = &life{disk: l.points[next].disk, groups: n.groups, clock: l.clock, counts: n.done, logs: logs, terms: terms}
	}
	return nil
}

// begin draws what a life needs.
func (l *life) begin(rng *rand.Rand, expired []int64) {
	l.rng = rand.New(rand.NewPCG(rng.Uint64(), 3))
	l.random = rand.New(rand.NewPCG(rng.Uint64(), 4))
	l.erasing = l.rng.IntN(2) == 0
	l.every = 1 + int64(10)<<l.rng.IntN(5)
	l.nextOp.Store(1 + l.random.Int64N(2*l.every))
	l.expiredAcked, l.expiredMost = make([]atomic.Int64, l.groups), make([]atomic.Int64, l.groups)
	for i, at := range expired {
		l.expiredAcked[i].Store(at)
		l.expiredMost[i].Store(at)
	}
}

// crashPointsWanted is how many points the test tries; make soak asks for more.
func crashPointsWanted(fallback int64) int64 {
	n, err := strconv.ParseInt(os.Getenv("GODWIT_CRASH_POINTS"), 10, 64)
	if err != nil || n <= 0 {
		return fallback
	}
	return n
}

// crashLineages runs lineages on all processors until there were enough points.
func crashLineages(wanted int64, commands int, done *lifeCounts) (points int64, err error) {
	var count atomic.Int64
	var seed atomic.Uint64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for count.Load() < wanted {
				n := seed.Add(1)
				failed := lineage{groups: []int{1, 8}[n%2], commands: commands, points: &count, done: done}.run(n, 4)
				mu.Lock()
				err = errors.Join(err, failed)
				stop := err != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	return count.Load(), err
}

// TestCrashAnywhereWithEverythingOn kills stores at any file operation, then plants
// the bugs that it exists for.
func TestCrashAnywhereWithEverythingOn(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // clones are short-lived
	wanted := int64(4000)
	if raceEnabled || testing.Short() {
		wanted = 150
	}
	var done lifeCounts
	var lost, phantom, caught, planted int
	points, err := crashLineages(crashPointsWanted(wanted), 60, &done)
	if err != nil {
		t.Error(err)
		if lost = 1; strings.Contains(err.Error(), "phantom: ") {
			lost, phantom = 0, 1
		}
	}
	if done.checkpoints.Load() == 0 || done.merges.Load() == 0 || done.erasures.Load() == 0 || done.recycled.Load() == 0 {
		t.Errorf("something was never done: %s", &done)
	}
	if !raceEnabled && !testing.Short() {
		caught, planted = plantedBugs(t)
	}
	t.Log(&done)
	t.Logf("crash: points=%d lost=%d phantom=%d planted=%d/%d", points, lost, phantom, caught, planted)
}
