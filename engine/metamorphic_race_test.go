package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestEverythingAtTheSameTime is for -race: writers, views held over checkpoints
// and merges, passes of the eraser, Stats and Digest, all at once. What a view
// shows stays what it was.
func TestEverythingAtTheSameTime(t *testing.T) {
	rounds := 1000
	if raceEnabled || testing.Short() {
		rounds = 250
	}
	eachGroupCount(t, func(t *testing.T, groups int) {
		l := faultLife(3, groups, nil)
		l.disk = vfs.NewMem()
		cfg := l.config(l.disk)
		s := mustOpen(t, cfg, newLedger(groups))
		l.store = s
		var writers, others sync.WaitGroup
		var stop atomic.Bool
		for i := range l.logs {
			rng := rand.New(rand.NewPCG(uint64(i), 5))
			writers.Go(func() {
				if err := l.propose(l.logs[i], rng, rounds); err != nil {
					t.Error(err)
				}
			})
		}
		others.Go(func() {
			rng := rand.New(rand.NewPCG(1, 6))
			for !stop.Load() {
				if err := errors.Join(s.Checkpoint(), s.EraseNow(), l.expire(rng)); err != nil {
					t.Error(err)
					return
				}
			}
		})
		others.Go(func() {
			for !stop.Load() {
				if st := s.Stats(); st.Entries < 0 || st.SegmentBytes < 0 {
					t.Errorf("stats %+v", st)
				}
				for g := range groups {
					if _, err := s.Digest(g); err != nil {
						t.Error(err)
					}
				}
			}
		})
		for i := range l.logs {
			others.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), 7))
				for !stop.Load() {
					if err := heldView(s, l.logs[i].id, rng); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		writers.Wait()
		stop.Store(true)
		others.Wait()
		mustClose(t, s)
		if _, _, _, err := l.after(-1).recovered(l, 3); err != nil {
			t.Error(err)
		}
	})
}

// heldView reads a log twice in one view, in different ways, with time between.
func heldView(s *Store, log LogID, rng *rand.Rand) error {
	v := s.View(s.Group(log.Partition()))
	defer v.Close()
	head := v.Head(log)
	first := v.Since(log, 0, 1<<30, 1<<40, nil)
	for range rng.IntN(300) {
		runtime.Gosched()
	}
	second := v.Since(log, 0, 1+rng.IntN(1000), 1<<40, nil)
	if v.Err() != nil {
		return v.Err()
	}
	if v.Head(log) != head || len(second) > len(first) || !sameEntries(first[:len(second)], second) {
		return fmt.Errorf("log %x: a view changed from head %d, %s to head %d, %s", log, head, seqsOf(first), v.Head(log), seqsOf(second))
	}
	for _, e := range first {
		if one, ok := v.Entry(log, e.Seq); !ok || !sameEntries([]Entry{one}, []Entry{e}) {
			return fmt.Errorf("log %x: entry %d is no longer in the view", log, e.Seq)
		}
	}
	return nil
}
