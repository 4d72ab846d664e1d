package router

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// RegistrarConfig of a Registrar. The zero value of a field means its default.
type RegistrarConfig struct {
	Lease *Lease // of the edge whose connections these are
	// Rate is how many connections are told to the store in a second; 5000. A
	// reconnect storm is spread over time by it.
	Rate int
	// QueueMax is how many may wait while the store is there before Full says so;
	// 20000.
	QueueMax int
	// Concurrency is how many transactions run at once; 16.
	Concurrency int
	// Superseded is told of a connection whose device has a newer one elsewhere: its
	// session should end. It may be called concurrently, and may call back.
	Superseded func(user string, r Route)
	Logger     *slog.Logger // nil: none
}

func (c *RegistrarConfig) validate() error {
	if c.Lease == nil || !c.Lease.edge {
		return errors.New("router: a registrar needs the lease of an edge")
	}
	if c.Rate < 0 || c.QueueMax < 0 || c.Concurrency < 0 {
		return errors.New("router: a bound of the registrar is negative")
	}
	if c.Rate == 0 {
		c.Rate = 5000
	}
	if c.QueueMax == 0 {
		c.QueueMax = 20000
	}
	if c.Concurrency == 0 {
		c.Concurrency = 16
	}
	if c.Superseded == nil {
		c.Superseded = func(string, Route) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Registrar tells the store of an edge's connections, behind them: nobody waits for
// it. What is not told yet is one slot for each device, however often it comes and
// goes. Many slots go in one transaction when many wait, neighbours by key together,
// since what lies in one region of the store costs one write; one alone goes at once.
//
// The slots have no bound of their own. While the store is there Full tells the edge
// to send newcomers away; while it is away there is at most one slot for a session,
// and one for each connection that was registered before and has ended.
type Registrar struct {
	d   *Directory
	cfg RegistrarConfig

	wake   chan struct{}
	stop   context.CancelFunc
	done   chan struct{}
	bucket bucket // of the goroutine

	mu      sync.Mutex
	slots   map[slotKey]*slot
	queue   []slotKey // in the order of arrival; has every slot that is not under way
	dirty   int       // slots from while the store was away
	away    bool      // the store, or it has not heard of this edge yet
	sweep   uint64    // counts sweeps of the queue
	settled chan struct{}
	stats   RegistrarStats
}

// RegistrarStats counts connections.
type RegistrarStats struct {
	Queued       int  // wait while the store is there
	Dirty        int  // have waited since it was away
	Away         bool // the store is away, or does not know this edge yet
	Registered   uint64
	Removed      uint64
	Refused      uint64 // a newer connection of the device stands elsewhere
	Retried      uint64 // outcome not known, or others were faster, to the end
	Failed       uint64 // told in vain to a store that was away
	Transactions uint64
	Dropped      uint64 // ends that were forgotten, see slotEndsMax; until the edge's epoch ends
}

type slotKey struct{ user, device string }

// slot is what the store has to learn of a device: at most one connection that
// begins, and those that ended and may be registered.
type slot struct {
	add   *Route
	ends  []Route // oldest first
	tried bool    // add may be registered: an attempt was made
	// untold are connections that another took the place of before anybody heard of
	// them: their end is nothing to tell. At most slotEndsMax.
	untold []uint64
	sweep  uint64 // of the queue, which last met this slot
	busy   bool   // under way
	dirty  bool
}

// slotEndsMax bounds the ends of one slot: only the newest of them can stand.
const slotEndsMax = 8

// batchMax bounds the slots of one transaction.
const batchMax = 64

// NewRegistrar returns a registrar that runs until it or the directory is closed.
func (d *Directory) NewRegistrar(cfg RegistrarConfig) (*Registrar, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &Registrar{
		d: d, cfg: cfg, wake: make(chan struct{}, 1), done: make(chan struct{}),
		slots: map[slotKey]*slot{}, away: true, bucket: newBucket(cfg.Rate),
	}
	ctx, stop := context.WithCancel(d.ctx)
	r.stop = stop
	if !d.start(func() { defer close(r.done); r.run(ctx) }) {
		stop()
		return nil, errClosed
	}
	return r, nil
}

// Close ends the registrar; what was not told is not told any more.
func (r *Registrar) Close() {
	r.stop()
	<-r.done
}

// Add says that a connection began. Edge and Epoch of c are the registrar's matter.
// Its end has to be told by Remove, also when another takes its place. It never blocks.
func (r *Registrar) Add(user string, c Route) {
	r.change(user, c, func(s *slot) {
		if s.add != nil && s.add.Stamp > c.Stamp {
			return // told late
		}
		same := s.add != nil && s.add.Conn == c.Conn
		if s.add != nil && !same && !s.tried {
			if s.untold = append(s.untold, s.add.Conn); len(s.untold) > slotEndsMax {
				s.untold = s.untold[1:]
			}
		}
		s.add, s.tried = &c, s.tried && same
	})
}

// Remove says that a connection ended. Conn and Device count, and Stamp if it is
// known. It never blocks.
func (r *Registrar) Remove(user string, c Route) {
	r.change(user, c, func(s *slot) {
		if s.add != nil && s.add.Conn == c.Conn {
			tried := s.tried
			s.add, s.tried = nil, false
			if !tried {
				return // nobody heard of it
			}
		}
		if i := slices.Index(s.untold, c.Conn); i >= 0 {
			s.untold = slices.Delete(s.untold, i, i+1)
			return
		}
		r.endLocked(s, c)
	})
}

func (r *Registrar) endLocked(s *slot, c Route) {
	if s.ends = append(s.ends, c); len(s.ends) > slotEndsMax {
		s.ends = s.ends[1:]
		r.stats.Dropped++
	}
}

func (r *Registrar) change(user string, c Route, do func(s *slot)) {
	if checkUser(user) != nil || len(c.Device) > DeviceMax {
		panic("BUG: a session with a user or device that is too long")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := slotKey{user, c.Device}
	s := r.slots[key]
	if s == nil {
		s = &slot{dirty: r.away}
		r.slots[key] = s
		if s.dirty {
			r.dirty++
		}
		r.queue = append(r.queue, key)
	}
	do(s)
	if s.add == nil && len(s.ends) == 0 && !s.busy {
		r.dropLocked(key, s)
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Full says that newcomers should come back, and after how long: more wait than the
// store takes. It never says so of a store that is away.
func (r *Registrar) Full() (after time.Duration, full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting := len(r.slots) - r.dirty
	if r.away || waiting < r.cfg.QueueMax {
		return 0, false
	}
	return time.Second + time.Duration(len(r.slots))*time.Second/time.Duration(r.cfg.Rate), true
}

// Settled waits until nothing waits to be told.
func (r *Registrar) Settled(ctx context.Context) error {
	r.mu.Lock()
	if len(r.slots) == 0 {
		r.mu.Unlock()
		return nil
	}
	if r.settled == nil {
		r.settled = make(chan struct{})
	}
	settled := r.settled
	r.mu.Unlock()
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.done:
		return errClosed
	}
}

// Stats returns the counters.
func (r *Registrar) Stats() RegistrarStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Dirty, s.Queued, s.Away = r.dirty, len(r.slots)-r.dirty, r.away
	return s
}

// job is a slot under way, as it was when it was taken.
type job struct {
	key   slotKey
	place string // of the user in the store
	add   *Route
	ends  []Route
	from  int // of its changes in the transaction
}

// take takes up to n slots, sorted so that neighbours in the store are neighbours
// here.
func (r *Registrar) take(n int) []*job {
	r.mu.Lock()
	defer r.mu.Unlock()
	var jobs []*job
	used := 0
	for _, key := range r.queue {
		if len(jobs) == n {
			break
		}
		used++
		s := r.slots[key]
		if s == nil || s.busy {
			continue // nothing is left of it, or it was there twice
		}
		s.busy, s.tried = true, s.add != nil
		jobs = append(jobs, &job{
			key: key, place: string(r.d.keys.routes(key.user)), add: s.add, ends: slices.Clone(s.ends),
		})
	}
	r.queue = slices.Delete(r.queue, 0, used)
	slices.SortFunc(jobs, func(a, b *job) int { return strings.Compare(a.place, b.place) })
	return jobs
}

// dropLocked forgets a slot of which nothing is left; its place in the queue goes
// when it is met, or when there are more such places than slots.
func (r *Registrar) dropLocked(key slotKey, s *slot) {
	delete(r.slots, key)
	if s.dirty {
		r.dirty--
	}
	if len(r.queue) > 2*len(r.slots)+1024 {
		r.sweep++
		r.queue = slices.DeleteFunc(r.queue, func(key slotKey) bool {
			s := r.slots[key]
			again := s == nil || s.sweep == r.sweep
			if s != nil {
				s.sweep = r.sweep
			}
			return again
		})
	}
	if len(r.slots) == 0 && r.settled != nil {
		close(r.settled)
		r.settled = nil
	}
}
