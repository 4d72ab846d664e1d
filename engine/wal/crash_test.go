package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// crashTest crashes a log before every change of its file system, recovers the
// image, and holds it to the promise: what was synced and not released comes
// back, in order and unchanged, nothing else does but an unsynced tail and
// released records in front, and Open never refuses.
type crashTest struct {
	prepare func(*crashFS)                      // the directory before the first Open, nil: empty
	plant   func(*crashFS)                      // a bug: what a reader without a check would see
	lies    func(*world, syncKind, string) bool // a bug: this sync is left out
	release func(*Log, uint64) error            // a bug: instead of Release
	change  func(*Config, *rand.Rand)           // nil: smallConfig as it is

	points   atomic.Int64
	lost     atomic.Int64 // synced records gone, or Open refused
	phantom  atomic.Int64 // something came back that was never appended there
	damaged  atomic.Int64 // points with a flipped byte besides, refused
	recycled atomic.Int64

	mu     sync.Mutex
	broken error // the first violation
}

func (c *crashTest) violated(counter *atomic.Int64, format string, args ...any) {
	counter.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		c.broken = fmt.Errorf(format, args...)
	}
}

func (c *crashTest) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

// world is one disk with one log on it; a crash makes another.
type world struct {
	test    *crashTest
	fs      *crashFS
	depth   int // how many more crashes may follow
	rng     *rand.Rand
	killed  bool // only the process died before
	damaged bool // a byte of a frame known to be synced was flipped: Open may refuse

	// The owner's: the file of each record of want, the last file released.
	files    []uint64
	released uint64

	mu sync.Mutex
	promise
}

// promise is what a recovery is held to.
type promise struct {
	want  []Record // appended, whether synced or not
	acked int      // of want
	cut   int      // records of want before it are released and may be gone
}

// kept compares what a recovery gave: skipped released records are gone in front,
// lost and phantom say what is missing or should not be there.
func (p promise) kept(got []Record) (skipped int, lost, phantom error) {
	skipped = min(p.cut, len(p.want))
	if len(got) > 0 {
		skipped = slices.IndexFunc(p.want, func(r Record) bool { return sameRecord(r, got[0]) })
	}
	switch {
	case skipped < 0:
		phantom = errors.New("the first record was never appended")
	case skipped > p.cut:
		lost = fmt.Errorf("the first %d records are gone, only %d were released", skipped, p.cut)
	case skipped+len(got) < p.acked:
		lost = fmt.Errorf("%d records recovered behind %d released ones, %d were synced", len(got), skipped, p.acked)
	}
	if phantom == nil {
		phantom = samePrefix(got, p.want[skipped:])
	}
	return skipped, lost, phantom
}

func (c *crashTest) newWorld(fs *crashFS, depth int, seed uint64, p promise) *world {
	p.want = slices.Clip(p.want)
	w := &world{test: c, fs: fs, depth: depth, rng: rand.New(rand.NewPCG(seed, 1)), promise: p}
	if c.lies != nil {
		fs.lies = func(kind syncKind, name string) bool { return c.lies(w, kind, name) }
	}
	if depth > 0 {
		hookRNG := rand.New(rand.NewPCG(seed, 2)) // used with fs.mu held
		fs.before = func() { w.crash(hookRNG) }
	}
	return w
}

// crash tries two images of this moment, now and then one more with damage. Now
// and then only the process dies, and the power fails in its next life.
func (w *world) crash(rng *rand.Rand) {
	w.mu.Lock()
	p := w.promise
	w.mu.Unlock()
	if rng.IntN(100) == 0 && !w.killed && w.test.plant == nil {
		w.test.points.Add(1)
		next := w.test.newWorld(w.fs.kill(), w.depth, rng.Uint64(), p)
		next.killed, next.damaged = true, w.damaged
		next.run(3)
	}
	for i := range 3 {
		if w.test.failure() != nil {
			return
		}
		image := w.fs.crash(rng)
		damaged := false
		if i == 2 {
			if damaged = rng.IntN(4) == 0 && flipCovered(image, rng); !damaged {
				return
			}
		}
		if w.test.plant != nil {
			w.test.plant(image)
		}
		w.test.points.Add(1)
		next := w.test.newWorld(image, w.depth-1, rng.Uint64(), p)
		next.damaged = damaged || w.damaged
		next.run(2)
	}
}

func (w *world) set(change func(*promise)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.promise)
}

// open recovers and compares. What Open gave is durable from then on.
func (w *world) open(cfg Config) *Log {
	l, got, files, err := recoverFiles(cfg)
	if w.damaged && errors.Is(err, ErrCorrupt) {
		w.test.damaged.Add(1)
		return nil
	}
	if err != nil {
		w.test.violated(&w.test.lost, "refused: %w", err)
		return nil
	}
	skipped, lost, phantom := w.kept(got)
	if phantom == nil && len(files) > 0 && (!slices.IsSorted(files) || files[0] <= w.released) {
		phantom = fmt.Errorf("records of files %d after a clean close, %d was released", files, w.released)
	}
	switch {
	case phantom != nil:
		w.test.violated(&w.test.phantom, "%w", phantom)
	case lost != nil:
		w.test.violated(&w.test.lost, "%w", lost)
	default:
		w.files = files
		w.set(func(p *promise) { *p = promise{slices.Clip(got), len(got), p.cut - skipped} })
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
		if l == nil || w.test.failure() != nil {
			break
		}
		l = w.step(l, cfg)
	}
	if l == nil {
		return
	}
	if l = w.reopen(l, cfg); l != nil {
		_ = l.Close()
	}
}

func (w *world) reopen(l *Log, cfg Config) *Log {
	err := l.Close()
	w.test.recycled.Add(int64(l.Stats().Recycled))
	if err != nil {
		w.test.violated(&w.test.lost, "close: %w", err)
		return nil
	}
	w.set(func(p *promise) { p.acked = len(p.want) })
	return w.open(cfg)
}

func (w *world) step(l *Log, cfg Config) *Log {
	var err error
	switch k := w.rng.IntN(24); {
	case k < 12:
		err = w.append(l)
	case k < 13:
		err = l.Idle()
	case k < 18:
		err = w.release(l)
	case k < 20:
		err = l.Roll()
	case k < 21:
		err = l.Forget()
	case k < 23:
		err = errors.Join(l.Sync(), l.spare.finish())
	default:
		return w.reopen(l, cfg)
	}
	if err != nil {
		w.test.violated(&w.test.lost, "step: %w", err)
		_ = l.Close()
		return nil
	}
	w.set(func(p *promise) { p.acked = len(p.want) })
	return l
}

func (w *world) append(l *Log) error {
	for range 1 + w.rng.IntN(3) {
		batch := make([]Record, 1+w.rng.IntN(3))
		for i := range batch {
			batch[i] = testRecord(int(w.rng.Uint32()), w.rng.IntN(2)*w.rng.IntN(1200))
		}
		w.set(func(p *promise) { p.want = append(p.want, batch...) })
		if err := l.Append(batch); err != nil {
			return err
		}
		for range batch {
			w.files = append(w.files, l.File())
		}
	}
	return l.Sync()
}

// release drops some or all files before the current one.
func (w *world) release(l *Log) error {
	oldest, file := l.Stats().OldestFile, l.File()
	if oldest == file {
		return nil
	}
	last := file - 1
	if w.rng.IntN(2) == 0 {
		last = oldest + w.rng.Uint64N(file-oldest)
	}
	cut, found := slices.BinarySearch(w.files, last+1)
	if !found && cut < len(w.files) && w.files[cut] <= last {
		panic("BUG: files are not sorted")
	}
	w.set(func(p *promise) { p.cut = max(p.cut, cut) })
	w.released = max(w.released, last)
	if w.test.release != nil {
		return w.test.release(l, last)
	}
	return l.Release(last)
}

// runSeeds works through seeds, on all processors, until one breaks the promise.
func (c *crashTest) runSeeds(seeds, depth, steps int) error {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for c.failure() == nil {
				seed := next.Add(1) - 1
				if seed >= int64(seeds) {
					return
				}
				fs := newCrashFS()
				if c.prepare != nil {
					c.prepare(fs)
				}
				c.newWorld(fs, depth, uint64(seed), promise{}).run(steps)
			}
		})
	}
	workers.Wait()
	return c.failure()
}

// oneSize makes all files alike, so that the first released one is recycled.
func oneSize(c *Config, _ *rand.Rand) { c.FirstFileBytes, c.MaxFileBytes = 8*512, 8*512 }

// TestCrashAnywhereKeepsWhatWasSynced enumerates the crash points of appends,
// releases, recycling, Roll, Forget and recovery, then plants the bugs it exists for.
func TestCrashAnywhereKeepsWhatWasSynced(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // images are short-lived
	var points, lost, phantom, caught, planted int64
	f := func(name string, seeds, depth, steps int, c *crashTest) {
		t.Run(name, func(t *testing.T) {
			if testing.Short() || raceEnabled {
				seeds, steps = 1+seeds/20, steps/depth
			}
			if err := c.runSeeds(seeds, depth, steps); err != nil {
				t.Error(err)
			}
			points, lost, phantom = points+c.points.Load(), lost+c.lost.Load(), phantom+c.phantom.Load()
			t.Logf("%d crash points, %d of them damaged and refused; %d files recycled", c.points.Load(), c.damaged.Load(), c.recycled.Load())
		})
	}
	f("one crash", 50, 1, 40, &crashTest{})
	f("one crash, files of one size", 40, 1, 60, &crashTest{change: oneSize})
	f("no pool", 10, 1, 30, &crashTest{change: func(c *Config, rng *rand.Rand) { oneSize(c, rng); c.PoolBytesMax = -1 }})
	f("a crash in recovery", 2, 2, 10, &crashTest{change: oneSize})
	f("a recycled file", 10, 1, 12, &crashTest{prepare: recycledSpare})
	f("other block sizes after a restart", 10, 1, 30, &crashTest{change: func(c *Config, rng *rand.Rand) {
		c.BlockBytes = 512 << rng.IntN(3)
		c.FirstFileBytes, c.MaxFileBytes = 8*c.BlockBytes, 32*c.BlockBytes
	}})
	for _, bug := range plantedBugs {
		t.Run("planted: "+bug.name, func(t *testing.T) {
			seeds := 10
			if bug.harmless && raceEnabled {
				seeds = 1
			}
			err := bug.test().runSeeds(seeds, 1, 40)
			t.Log(err)
			if bug.harmless {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if planted++; err != nil {
				caught++
			} else {
				t.Error("not caught")
			}
		})
	}
	if points < 100_000 && !testing.Short() && !raceEnabled {
		t.Errorf("only %d points", points)
	}
	t.Logf("crash: points=%d lost=%d phantom=%d planted=%d/%d", points, lost, phantom, caught, planted)
}
