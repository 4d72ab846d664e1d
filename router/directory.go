package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Config of a Directory. The zero value of a field means its default.
type Config struct {
	Store   Store  // not closed by the Directory
	Cluster string // a-z, 0-9 and -, at most 32; "godwit". All processes of a cluster say the same
	// ScanEvery is how often leases and nodes are read: one operation of the store
	// each; 1 s. DeadAfter is how long a beat may stand still, by this process's
	// monotonic clock and over scans that succeed, before its owner is taken for
	// dead; 6 s. BeatEvery is how often this process beats; 2 s.
	ScanEvery, DeadAfter, BeatEvery time.Duration
	// ForgetAfter is how long after its last beat the collection forgets a dead edge
	// or node; 24 h.
	ForgetAfter time.Duration
	// Timeout bounds one operation of the Directory that has no deadline; 3 s.
	Timeout time.Duration
	// Monotonic is a clock that never goes back; time since Open.
	Monotonic func() time.Duration
	Logger    *slog.Logger // nil: none
}

func (c *Config) validate() error {
	if c.Store == nil {
		return errors.New("router: no store")
	}
	if c.Cluster == "" {
		c.Cluster = "godwit"
	}
	if len(c.Cluster) > clusterMax {
		return fmt.Errorf("router: cluster %q is longer than %d", c.Cluster, clusterMax)
	}
	for _, r := range c.Cluster {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("router: cluster %q: only a-z, 0-9 and - are allowed", c.Cluster)
		}
	}
	for _, d := range []struct {
		value *time.Duration
		std   time.Duration
	}{{&c.ScanEvery, time.Second}, {&c.DeadAfter, 6 * time.Second}, {&c.BeatEvery, 2 * time.Second}, {&c.Timeout, 3 * time.Second}, {&c.ForgetAfter, 24 * time.Hour}} {
		if *d.value < 0 {
			return errors.New("router: a time is negative")
		}
		if *d.value == 0 {
			*d.value = d.std
		}
	}
	if c.DeadAfter < 2*c.BeatEvery || c.DeadAfter < 2*c.ScanEvery {
		return errors.New("router: DeadAfter must be at least twice BeatEvery and ScanEvery")
	}
	if c.Monotonic == nil {
		start := time.Now()
		c.Monotonic = func() time.Duration { return time.Since(start) }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Directory is a cluster's directory over a Store. All methods may be called
// concurrently. What changes something returns ErrUnavailable when the store is
// away; View goes on with what was last read.
type Directory struct {
	cfg   Config
	keys  keys
	view  atomic.Pointer[View]
	stats counters
	locks lockWatch

	scanning chan struct{} // full while somebody scans
	watchMu  sync.Mutex    // under it watch, and the making of views
	watch    watch

	ctx     context.Context // ends the goroutines
	cancel  context.CancelFunc
	running sync.WaitGroup
	closeMu sync.Mutex
	closed  bool // nothing is started any more
}

// Open returns a directory, and begins to watch leases and nodes. The store may be
// away: View is empty until it was read once.
func Open(cfg Config) (*Directory, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	d := &Directory{cfg: cfg, keys: newKeys(cfg.Cluster), scanning: make(chan struct{}, 1), watch: newWatch(cfg.DeadAfter, 2*cfg.ScanEvery)}
	d.view.Store(&View{})
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.start(d.watchMembers)
	return d, nil
}

// Close ends the directory's goroutines. Leases stand until their time is over,
// unless they were released.
func (d *Directory) Close() error {
	d.closeMu.Lock()
	d.closed = true
	d.closeMu.Unlock()
	d.cancel()
	d.running.Wait()
	return nil
}

// start runs fn in a goroutine that Close waits for. False: it is closed.
func (d *Directory) start(fn func()) bool {
	d.closeMu.Lock()
	defer d.closeMu.Unlock()
	if d.closed {
		return false
	}
	d.running.Go(fn)
	return true
}

// bounded gives an operation a deadline if it has none, and ends it with the
// directory.
func (d *Directory) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	cancelDeadline := context.CancelFunc(func() {})
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancelDeadline = context.WithTimeout(ctx, d.cfg.Timeout)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(d.ctx, func() { cancel(context.Canceled) })
	return ctx, func() { stop(); cancel(nil); cancelDeadline() }
}

// attemptsMax bounds how often a transaction is tried when others are faster.
const attemptsMax = 8

// update runs a transaction again while others are faster or its outcome is not
// known: fn reads anew each time and must be such that it finds its own earlier
// effect.
func (d *Directory) update(ctx context.Context, fn func(tx Tx) error) error {
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	var err error
	for range attemptsMax {
		err = d.cfg.Store.Update(ctx, fn)
		switch {
		case errors.Is(err, ErrConflict):
			d.stats.conflicts.Add(1)
		case errors.Is(err, ErrUnknown):
			d.stats.unknown.Add(1)
		default:
			return err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

// Now returns a timestamp of the store, for a connection's stamp.
func (d *Directory) Now(ctx context.Context) (Timestamp, error) {
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	return d.cfg.Store.Now(ctx)
}

type counters struct {
	conflicts, unknown, malformed, scans, scanFailures atomic.Uint64
}

// Stats counts what a Directory did since it was opened.
type Stats struct {
	Conflicts    uint64 // transactions that were begun again because another was faster
	Unknown      uint64 // commits whose outcome was not known
	Malformed    uint64 // values that could not be read
	Scans        uint64 // of leases and nodes, which succeeded
	ScanFailures uint64
}

// Stats returns the counters.
func (d *Directory) Stats() Stats {
	return Stats{
		Conflicts: d.stats.conflicts.Load(), Unknown: d.stats.unknown.Load(), Malformed: d.stats.malformed.Load(),
		Scans: d.stats.scans.Load(), ScanFailures: d.stats.scanFailures.Load(),
	}
}
