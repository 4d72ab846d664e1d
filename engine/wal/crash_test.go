package wal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// crashTest crashes a log before every change of its file system, recovers the
// image, and holds it to the promise: what was synced comes back, in order and
// unchanged, nothing else does but an unsynced tail, and Open never refuses.
type crashTest struct {
	prepare func(*crashFS)            // the directory before the first Open, nil: empty
	plant   func(*crashFS)            // a bug: what a reader without a check would see
	lie     bool                      // a bug: acknowledge before the disk has it
	change  func(*Config, *rand.Rand) // nil: smallConfig as it is

	points atomic.Int64
	mu     sync.Mutex
	broken error // the first violation
}

func (c *crashTest) violated(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		c.broken = fmt.Errorf(format, args...)
	}
}

func (c *crashTest) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken != nil
}

// world is one disk with one log on it; a crash makes another.
type world struct {
	test  *crashTest
	fs    *crashFS
	depth int // how many more crashes may follow
	rng   *rand.Rand

	mu    sync.Mutex
	want  []Record // appended, whether synced or not
	acked int      // of want
}

func (c *crashTest) newWorld(fs *crashFS, depth int, seed uint64, want []Record, acked int) *world {
	w := &world{test: c, fs: fs, depth: depth, rng: rand.New(rand.NewPCG(seed, 1)), want: slices.Clip(want), acked: acked}
	fs.syncLies = c.lie
	if depth > 0 {
		hookRNG := rand.New(rand.NewPCG(seed, 2)) // used with fs.mu held
		fs.before = func() { w.crash(hookRNG) }
	}
	return w
}

func (w *world) crash(rng *rand.Rand) {
	w.mu.Lock()
	want, acked := slices.Clip(w.want), w.acked
	w.mu.Unlock()
	for range 2 {
		if w.test.over() {
			return
		}
		image := w.fs.crash(rng)
		if w.test.plant != nil {
			w.test.plant(image)
		}
		w.test.points.Add(1)
		w.test.newWorld(image, w.depth-1, rng.Uint64(), want, acked).run(3)
	}
}

func (w *world) set(want []Record, acked int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.want, w.acked = slices.Clip(want), acked
}

// open recovers and compares. What Open gave is durable from then on.
func (w *world) open(cfg Config) *Log {
	l, got, err := recoverAll(cfg)
	if err != nil {
		w.test.violated("refused: %w", err)
		return nil
	}
	if err := samePrefix(got, w.want); err != nil {
		w.test.violated("%w", err)
	} else if len(got) < w.acked {
		w.test.violated("%d records recovered, %d were synced", len(got), w.acked)
	} else {
		w.set(w.want[:len(got)], len(got))
		return l
	}
	_ = l.Close()
	return nil
}

// run opens the log, works on it and closes it; then everything must be there.
func (w *world) run(steps int) {
	cfg := smallConfig(w.fs)
	cfg.FileID = func() uint64 { return randomID() }
	if w.test.change != nil {
		w.test.change(&cfg, w.rng)
	}
	l := w.open(cfg)
	for range steps {
		if l == nil || w.test.over() {
			break
		}
		l = w.step(l, cfg)
	}
	if l == nil {
		return
	}
	if err := l.Close(); err != nil {
		w.test.violated("close: %w", err)
		return
	}
	w.set(w.want, len(w.want))
	if l = w.open(cfg); l != nil {
		_ = l.Close()
	}
}

func (w *world) step(l *Log, cfg Config) *Log {
	var err error
	switch k := w.rng.IntN(10); {
	case k < 7:
		for range 1 + w.rng.IntN(3) {
			batch := make([]Record, 1+w.rng.IntN(3))
			for i := range batch {
				batch[i] = testRecord(int(w.rng.Uint32()), w.rng.IntN(2)*w.rng.IntN(1200))
			}
			w.set(append(w.want, batch...), w.acked)
			if err == nil {
				err = l.Append(batch)
			}
		}
		if err == nil {
			err = l.Sync()
		}
	case k < 9:
		err = l.Idle()
	default:
		if err = l.Close(); err == nil {
			w.set(w.want, len(w.want))
			return w.open(cfg)
		}
	}
	if err != nil {
		w.test.violated("step: %w", err)
		_ = l.Close()
		return nil
	}
	w.set(w.want, len(w.want))
	return l
}

// runSeeds works through seeds until one breaks the promise.
func (c *crashTest) runSeeds(seeds, depth int) error {
	for seed := range seeds {
		fs := newCrashFS()
		if c.prepare != nil {
			c.prepare(fs)
		}
		c.newWorld(fs, depth, uint64(seed), nil, 0).run(12)
		if c.broken != nil {
			return fmt.Errorf("seed %d: %w", seed, c.broken)
		}
	}
	return nil
}

func TestCrashAnywhereKeepsWhatWasSynced(t *testing.T) {
	f := func(name string, seeds, depth int, c *crashTest) {
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				seeds = 1 + seeds/10
			}
			if err := c.runSeeds(seeds, depth); err != nil {
				t.Error(err)
			}
			t.Logf("%d crash points", c.points.Load())
		})
	}
	f("one crash", 50, 1, &crashTest{})
	f("a crash in recovery", 2, 2, &crashTest{})
	f("a recycled file", 20, 1, &crashTest{prepare: recycledSpare})
	f("a recycled file and a crash in recovery", 1, 2, &crashTest{prepare: recycledSpare})
	f("other block sizes after a restart", 20, 1, &crashTest{change: func(c *Config, rng *rand.Rand) {
		c.BlockBytes = 512 << rng.IntN(3)
		c.FirstFileBytes, c.MaxFileBytes = 8*c.BlockBytes, 32*c.BlockBytes
	}})
}
