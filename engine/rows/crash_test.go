package rows

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// crashPoint is a file system as a crash left it and what it may hold.
type crashPoint struct {
	fs          *vfs.MemFS
	acked, last uint64 // rounds: committed before, begun at most
	percent     int
}

// crashes takes a clone at about every n-th operation of the file system.
type crashes struct {
	fs           *vfs.MemFS
	acked, begun atomic.Uint64

	mu     sync.Mutex
	rng    *rand.Rand
	every  int
	points []crashPoint
}

// MaybeError is called before each operation; it never fails one.
func (c *crashes) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rng.IntN(c.every) == 0 {
		p := crashPoint{acked: c.acked.Load(), percent: c.rng.IntN(5) * 25}
		p.fs = c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: p.percent, RNG: c.rng})
		p.last = c.begun.Load()
		c.points = append(c.points, p)
	}
	return nil
}

func (c *crashes) String() string { return "crashes" }

// newCrashable is a file system with the parent of testDir.
func newCrashable(t *testing.T) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	must(t, fs.MkdirAll("data", 0o755))
	must(t, syncDir(fs, "/"))
	return fs
}

// checkCrash opens what a crash left.
func checkCrash(t *testing.T, seed uint64, p crashPoint) (round uint64) {
	t.Helper()
	db, err := Open(smallConfig(p.fs))
	if err != nil {
		t.Fatalf("seed %d, %d%% of the unsynced data, rounds %d to %d: %v", seed, p.percent, p.acked, p.last, err)
	}
	round, err = readRound(db)
	if err != nil || round < p.acked || round > p.last {
		t.Errorf("seed %d, %d%% of the unsynced data: round %d, %v, want %d to %d", seed, p.percent, round, err, p.acked, p.last)
	}
	if err := commitRound(db, round+1, 100); err != nil {
		t.Errorf("seed %d: commit after the crash: %v", seed, err)
	}
	must(t, db.Close())
	return round
}

// Whatever a crash leaves of the unsynced data, a committed batch is there as a
// whole, and the one under way as a whole or not at all.
func TestCrashKeepsWholeBatches(t *testing.T) {
	seen := map[bool]int{}
	points := 0
	for seed := range uint64(12) {
		fs := newCrashable(t)
		c := &crashes{fs: fs, rng: rand.New(rand.NewPCG(seed, 1)), every: 12}
		db := mustOpen(t, smallConfig(errorfs.Wrap(fs, c)))
		for round := range uint64(30) {
			c.begun.Store(round + 1)
			must(t, commitRound(db, round+1, 8+c.size()))
			c.acked.Store(round + 1)
		}
		must(t, db.Close())
		points += len(c.points)
		for _, p := range c.points {
			round := checkCrash(t, seed, p)
			if p.last > p.acked {
				seen[round == p.last]++
			}
		}
	}
	t.Logf("%d crashes, in the middle of a commit kept %d and lost %d", points, seen[true], seen[false])
	if points < 100 || seen[true] == 0 || seen[false] == 0 {
		t.Errorf("%d crashes, kept and lost %v: too few to mean anything", points, seen)
	}
}

// size gives small and large values: some batches go through the memtable,
// some are flushed on their own.
func (c *crashes) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(2) * c.rng.IntN(4000)
}

// failing fails the k-th write operation, and all later ones if it is sticky.
type failing struct {
	left   atomic.Int64
	sticky bool
	failed atomic.Int64
}

var errDisk = errors.New("input/output error")

func (f *failing) MaybeError(op errorfs.Op) error {
	// A Remove is no danger; see gate.Remove.
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpRemove || op.Kind == errorfs.OpRemoveAll {
		return nil
	}
	if left := f.left.Add(-1); left == 0 || f.sticky && left < 0 {
		f.failed.Add(1)
		return errDisk
	}
	return nil
}

func (f *failing) String() string { return "failing" }

// Every write and sync fails in turn, once or from then on. The failure is
// reported, no batch is acknowledged that a crash then loses, and nothing is
// written after it.
func TestFailedWriteIsFinal(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		inOpen, inCommit := 0, 0
		for k := int64(1); ; k++ {
			f := &failing{sticky: sticky}
			f.left.Store(k)
			opened, failed := runFailing(t, k, f)
			if f.left.Load() > 0 {
				break // the run needs fewer operations
			}
			if !opened {
				inOpen++
			} else if failed {
				inCommit++
			}
		}
		t.Logf("sticky %v: %d failures in Open, %d later", sticky, inOpen, inCommit)
		if inOpen < 10 || inCommit < 30 {
			t.Errorf("sticky %v: %d failures in Open, %d later: too few to mean anything", sticky, inOpen, inCommit)
		}
	}
}

// runFailing makes a few commits on a disk that fails and then crashes.
func runFailing(t *testing.T, k int64, f *failing) (opened, failed bool) {
	fs := newCrashable(t)
	var fatal atomic.Int64
	cfg := smallConfig(errorfs.Wrap(fs, f))
	cfg.Fatal = func(err error) {
		if !errors.Is(err, ErrFailed) {
			t.Errorf("operation %d: Fatal got %v", k, err)
		}
		fatal.Add(1)
	}
	p := crashPoint{fs: fs}
	db, err := Open(cfg)
	if err == nil {
		for round := range uint64(10) {
			p.last = round + 1
			if err = commitRound(db, round+1, 8+int(round%3)*1500); err != nil {
				break
			}
			p.acked = round + 1
		}
		checkFailed(t, k, db, err)
		must(t, db.Close())
		failed = db.Err() != nil
		if fatal.Load() != 1 && failed || fatal.Load() != 0 && !failed {
			t.Errorf("operation %d: Fatal was called %d times, failure %v", k, fatal.Load(), db.Err())
		}
	}
	rng := rand.New(rand.NewPCG(uint64(k), 2))
	for _, percent := range []int{0, 50, 100} {
		p.percent = percent
		p.fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
		checkCrash(t, uint64(k), p)
	}
	return db != nil, failed
}

// checkFailed checks a DB whose commit gave err.
func checkFailed(t *testing.T, k int64, db *DB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
		t.Errorf("operation %d: %v", k, err)
	}
	if _, _, err := db.Get(1, []byte("row 1"), nil); !errors.Is(err, ErrFailed) {
		t.Errorf("operation %d: Get after the failure: %v", k, err)
	}
	if err := commitRound(db, 99, 8); !errors.Is(err, ErrFailed) {
		t.Errorf("operation %d: Commit after the failure: %v", k, err)
	}
	if err := db.CheckpointTo("data/copy"); !errors.Is(err, ErrFailed) {
		t.Errorf("operation %d: CheckpointTo after the failure: %v", k, err)
	}
}
