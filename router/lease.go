package router

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Lease is this process's claim to be an edge or a node of its name. While the store
// is away it waits to be claimed, or stands on unchanged: only a larger epoch that
// was read ends it, never time.
type Lease struct {
	d          *Directory
	edge       bool
	report     func() Load
	draining   atomic.Bool
	url        atomic.Pointer[string] // nil: the member's
	id         atomic.Pointer[leaseID]
	claimed    chan struct{}
	superseded chan struct{}
	beats      chan chan error // a beat asked for; the goroutine takes them one at a time
	stop       context.CancelFunc
	done       chan struct{}
	release    sync.Mutex // after done the fields below are under it

	// Owned by the goroutine until done.
	member   Member
	number   uint32
	beat     uint64
	released bool
}

type leaseID struct {
	number uint32
	epoch  uint64
}

// Load is what a beat tells.
type Load struct{ Sessions, Capacity uint64 }

// ClaimEdge claims the lease of an edge in the background, and beats until the lease
// is released or the directory closed. Name, URL, Zone, Address and Version of m
// count, and StateDraining: it takes no sessions before Serve. report is asked before each beat; nil: nothing is told.
func (d *Directory) ClaimEdge(m Member, report func() Load) (*Lease, error) {
	return d.claim(m, true, report)
}

// ClaimNode registers an engine node likewise.
func (d *Directory) ClaimNode(m Member) (*Lease, error) { return d.claim(m, false, nil) }

func (d *Directory) claim(m Member, edge bool, report func() Load) (*Lease, error) {
	if err := checkName(m.Name); err != nil {
		return nil, err
	}
	if len(m.Address) > textMax || len(m.URL) > textMax || len(m.Zone) > nameMax || len(m.Version) > nameMax {
		return nil, errors.New("router: an address, zone or version is too long")
	}
	draining := m.State == StateDraining
	m.Epoch, m.State = 0, StateUp
	ctx, stop := context.WithCancel(d.ctx)
	l := &Lease{
		d: d, edge: edge, report: report, member: m, stop: stop, done: make(chan struct{}),
		claimed: make(chan struct{}), superseded: make(chan struct{}), beats: make(chan chan error),
	}
	l.draining.Store(draining)
	if !d.start(func() { defer close(l.done); l.run(ctx) }) {
		stop()
		return nil, errClosed
	}
	return l, nil
}

func checkName(name string) error {
	if name == "" || len(name) > nameMax {
		return fmt.Errorf("router: name %q must have 1 to %d bytes", name, nameMax)
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.' {
			return fmt.Errorf("router: name %q: only letters, digits and - _ . are allowed", name)
		}
	}
	return nil
}

// Claimed is closed when the store knows of this process.
func (l *Lease) Claimed() <-chan struct{} { return l.claimed }

// Superseded is closed when a larger epoch was read: another process has the name,
// and this one has to end its sessions.
func (l *Lease) Superseded() <-chan struct{} { return l.superseded }

// ID returns the number (of an edge) and the epoch; 0 and 0 before the claim.
func (l *Lease) ID() (number uint32, epoch uint64) {
	if id := l.id.Load(); id != nil {
		return id.number, id.epoch
	}
	return 0, 0
}

// Drain tells the others that this member takes no new sessions. Should the store be
// away, the next beat tells it.
func (l *Lease) Drain(ctx context.Context) error {
	l.draining.Store(true)
	return l.Beat(ctx)
}

// Serve tells the others that this member takes new sessions from now on, at url. It
// undoes Drain, and like it is told by the next beat should the store be away.
func (l *Lease) Serve(ctx context.Context, url string) error {
	if len(url) > textMax {
		return fmt.Errorf("router: the URL of %s is too long", l.member.Name)
	}
	l.url.Store(&url)
	l.draining.Store(false)
	return l.Beat(ctx)
}

// Beat claims or beats now instead of at its time.
func (l *Lease) Beat(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case l.beats <- reply:
		return <-reply
	case <-ctx.Done():
		return fmt.Errorf("beat of %s: %w", l.member.Name, ctx.Err())
	case <-l.done:
		if isClosed(l.superseded) {
			return ErrSuperseded
		}
		return fmt.Errorf("beat of %s: its lease has ended", l.member.Name)
	}
}

// Release ends the lease as planned: all routes of the edge are dead at once. A
// second call does nothing; one that failed may be made again.
func (l *Lease) Release(ctx context.Context) error {
	l.stop()
	<-l.done
	l.release.Lock()
	defer l.release.Unlock()
	if l.released || l.member.Epoch == 0 || isClosed(l.superseded) {
		return nil
	}
	l.member.State = StateGone
	if err := l.tell(ctx); err != nil && !errors.Is(err, ErrSuperseded) {
		return fmt.Errorf("release the lease of %s: %w", l.member.Name, err)
	}
	l.released = true
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// run claims, then beats. A failure is tried again at the pace of beats.
func (l *Lease) run(ctx context.Context) {
	tick := time.NewTicker(l.d.cfg.BeatEvery)
	defer tick.Stop()
	failing := false
	var asked chan error
	for {
		err := l.step(ctx)
		if asked != nil {
			asked <- err
			asked = nil
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, ErrSuperseded) {
			l.d.cfg.Logger.Error("another process has taken this name in the directory", "name", l.member.Name)
			close(l.superseded)
			return
		}
		if (err != nil) != failing {
			failing = err != nil
			l.d.cfg.Logger.Warn("lease in the directory", "name", l.member.Name, "failing", failing, "error", err)
		}
		select {
		case <-tick.C:
		case asked = <-l.beats:
		case <-ctx.Done():
			return
		}
	}
}

func (l *Lease) step(ctx context.Context) error {
	var load Load
	if l.report != nil {
		load = l.report()
	}
	l.member.Sessions, l.member.Capacity = load.Sessions, load.Capacity
	if url := l.url.Load(); url != nil {
		l.member.URL = *url
	}
	l.member.State = StateUp
	if l.draining.Load() {
		l.member.State = StateDraining
	}
	if l.member.Epoch == 0 {
		return l.take(ctx)
	}
	return l.tell(ctx)
}

// take writes one epoch more than there was: what an earlier process of this
// name registered is dead from here on. An attempt whose outcome is not known and
// that took effect only raised the epoch; nothing was registered under it.
func (l *Lease) take(ctx context.Context) error {
	var number uint32
	var next lease
	err := l.d.update(ctx, func(tx Tx) error {
		old, n, err := l.lookup(tx, true)
		if err != nil {
			return err
		}
		number = n
		next = lease{Member: l.member, Beat: 1, At: tx.Timestamp(), Before: old.At}
		next.Epoch = old.Epoch + 1
		return tx.Set(l.key(n), next.appendTo(nil))
	})
	if err != nil {
		return fmt.Errorf("claim the lease of %s: %w", l.member.Name, err)
	}
	l.number, l.member.Epoch, l.beat = number, next.Epoch, 1
	l.id.Store(&leaseID{number, next.Epoch})
	close(l.claimed)
	return nil
}

// tell is one beat.
func (l *Lease) tell(ctx context.Context) error {
	err := l.d.update(ctx, func(tx Tx) error {
		old, n, err := l.lookup(tx, false)
		switch {
		case err != nil:
			return err
		case n != l.number || old.Epoch > l.member.Epoch:
			return ErrSuperseded
		}
		next := lease{Member: l.member, Beat: max(old.Beat, l.beat) + 1, At: tx.Timestamp(), Before: old.Before}
		l.beat = next.Beat
		return tx.Set(l.key(n), next.appendTo(nil))
	})
	if err != nil {
		return fmt.Errorf("beat of %s: %w", l.member.Name, err)
	}
	return nil
}

func (l *Lease) key(number uint32) []byte {
	if l.edge {
		return l.d.keys.lease(number)
	}
	return l.d.keys.node(l.member.Name)
}

// lookup reads the lease there is. An edge without a number gets one if it may, and
// takes back its own if the lease was forgotten.
func (l *Lease) lookup(tx Tx, give bool) (lease, uint32, error) {
	number := l.number
	if l.edge && give {
		var err error
		if number, err = l.giveNumber(tx); err != nil {
			return lease{}, 0, err
		}
	}
	value, err := tx.Get(l.key(number))
	if err != nil {
		return lease{}, 0, err
	}
	if value == nil {
		if l.edge && !give {
			return lease{}, number, l.takeBack(tx)
		}
		return lease{}, number, nil
	}
	old, err := parseLease(value)
	if err == nil && old.Name != l.member.Name {
		err = fmt.Errorf("%w: lease %d is of %q", ErrFormat, number, old.Name)
	}
	return old, number, err
}

// giveNumber returns the number of the name, and gives it the next one if it has
// none. Numbers are never given twice: a forgotten edge's routes stay dead.
func (l *Lease) giveNumber(tx Tx) (uint32, error) {
	values, err := tx.BatchGet([][]byte{l.d.keys.number(l.member.Name), l.d.keys.lastNumber()})
	if err != nil {
		return 0, err
	}
	number, err := parseNumber(values[0])
	if err != nil {
		return 0, err
	}
	if number != 0 {
		// Forgetting deletes this key: whoever builds on it locks it.
		return uint32(number), tx.Lock(l.d.keys.number(l.member.Name))
	}
	last, err := parseNumber(values[1])
	if err != nil {
		return 0, err
	}
	number = max(last+1, firstEdgeNumber)
	if number > 1<<32-1 {
		return 0, errors.New("router: no edge numbers are left")
	}
	if err := tx.Set(l.d.keys.lastNumber(), appendNumber(nil, number)); err != nil {
		return 0, err
	}
	return uint32(number), tx.Set(l.d.keys.number(l.member.Name), appendNumber(nil, number))
}

// takeBack restores the number of a living edge whose lease was forgotten, unless
// its name has another one since.
func (l *Lease) takeBack(tx Tx) error {
	key := l.d.keys.number(l.member.Name)
	value, err := tx.Get(key)
	if err != nil {
		return err
	}
	number, err := parseNumber(value)
	if err == nil && number != 0 && number != uint64(l.number) {
		err = ErrSuperseded
	}
	if err != nil {
		return err
	}
	return tx.Set(key, appendNumber(nil, uint64(l.number)))
}
