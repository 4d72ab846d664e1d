package router

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
)

// State is what the owner of a lease says of itself.
type State uint8

const (
	StateUp       State = iota
	StateDraining       // takes no new sessions
	StateGone           // ended as planned
)

func (s State) String() string { return [...]string{"up", "draining", "gone"}[min(s, StateGone)] }

// Verdict is what a reader makes of a lease.
type Verdict uint8

const (
	Alive   Verdict = iota
	Suspect         // a connection was refused since its last beat
	Dead            // its beat stood still, or it is gone
)

func (v Verdict) String() string { return [...]string{"alive", "suspect", "dead"}[min(v, Dead)] }

// Member is what an edge or an engine node tells about itself.
type Member struct {
	Name     string
	Epoch    uint64 // one more with every claim
	State    State
	Address  string // where other processes reach it: a node's link
	URL      string // where clients reach it: an edge's
	Zone     string
	Version  string
	Sessions uint64 // that an edge has
	Capacity uint64 // that it can have; 0: it does not say
}

// Peer is a member as this process sees it.
type Peer struct {
	Member
	Number  uint32    // of an edge; 0: a node
	At      Timestamp // of its last beat, by the store's clock
	Before  Timestamp // of the last beat of the epoch before
	Verdict Verdict
	beat    uint64
}

// View is all members at one moment. It never changes; whoever has it shares it.
type View struct {
	Edges []Peer // by number
	Nodes []Peer // by name
	Read  bool   // the store was read at least once
	// known is the largest number of an edge in the reading before this one: what is
	// missing below it is gone for good.
	known uint32
}

// Edge returns the edge of a number.
func (v *View) Edge(number uint32) (*Peer, bool) {
	i, ok := slices.BinarySearchFunc(v.Edges, number, func(p Peer, n uint32) int { return int(int64(p.Number) - int64(n)) })
	if !ok {
		return nil, false
	}
	return &v.Edges[i], true
}

// ended says that a connection can't be there any more: its edge began anew or
// ended since. It is never wrong about one that is. at is when the edge was last
// heard of in that epoch, 0 if nobody knows.
func (v *View) ended(edge uint32, epoch uint64) (at Timestamp, ended bool) {
	p, ok := v.Edge(edge)
	switch {
	case !ok:
		return 0, edge <= v.known
	case epoch < p.Epoch:
		return p.Before, true
	case epoch == p.Epoch && p.State == StateGone:
		return p.At, true
	}
	return 0, false
}

// away says that a connection is not worth a try: it ended, or its edge seems dead.
func (v *View) away(edge uint32, epoch uint64) (at Timestamp, away bool) {
	if at, ended := v.ended(edge, epoch); ended {
		return at, true
	}
	if p, ok := v.Edge(edge); ok && p.Epoch == epoch && p.Verdict == Dead {
		return p.At, true
	}
	return 0, false
}

// View returns what was last read, at no cost.
func (d *Directory) View() *View { return d.view.Load() }

// Refresh reads leases and nodes now.
func (d *Directory) Refresh(ctx context.Context) error {
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	select {
	case d.scanning <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("read leases and nodes: %w: %w", ErrUnavailable, ctx.Err())
	}
	defer func() { <-d.scanning }()
	began := d.cfg.Monotonic()
	pairs, err := d.scanMembers(ctx)
	d.watchMu.Lock()
	defer d.watchMu.Unlock()
	if err != nil {
		d.stats.scanFailures.Add(1)
		d.watch.failed()
		return fmt.Errorf("read leases and nodes: %w", err)
	}
	d.view.Store(d.watch.saw(d.parseMembers(pairs), began))
	d.stats.scans.Add(1)
	return nil
}

// scanMembers reads all of them, which in most clusters is one operation.
func (d *Directory) scanMembers(ctx context.Context) (all []Pair, err error) {
	start, end := d.keys.members()
	for {
		pairs, err := d.cfg.Store.Scan(ctx, start, end, scanMax)
		if err != nil {
			return nil, err
		}
		all = append(all, pairs...)
		if len(pairs) < scanMax {
			return all, nil
		}
		start = append(bytes.Clone(pairs[len(pairs)-1].Key), 0)
	}
}

// Refused says that a connection to an edge or node was refused: until its next beat
// it is suspect, and no client is sent there. A node's number is 0. It does not wait
// for the store.
func (d *Directory) Refused(number uint32, name string) {
	d.watchMu.Lock()
	defer d.watchMu.Unlock()
	key := memberKey{number: number}
	if number == 0 {
		key.name = name
	}
	d.view.Store(d.watch.refused(key))
}

// watchMembers reads leases and nodes until the directory is closed.
func (d *Directory) watchMembers() {
	tick := time.NewTicker(d.cfg.ScanEvery)
	defer tick.Stop()
	away := false
	for {
		err := d.Refresh(d.ctx)
		if d.ctx.Err() != nil {
			return
		}
		if (err != nil) != away {
			away = err != nil
			d.cfg.Logger.Warn("the directory's store", "away", away, "error", err)
		}
		select {
		case <-tick.C:
		case <-d.ctx.Done():
			return
		}
	}
}

func (d *Directory) parseMembers(pairs []Pair) []Peer {
	peers := make([]Peer, 0, len(pairs))
	for _, pair := range pairs {
		number, name, err := d.keys.parseMember(pair.Key)
		if err != nil {
			d.stats.malformed.Add(1)
			continue
		}
		l, err := parseLease(pair.Value)
		if err != nil || number == 0 && l.Name != name {
			// Somebody of a newer format: he beats, and his routes are not dead; nothing
			// else is known of him.
			d.stats.malformed.Add(1)
			l = lease{Member: Member{Name: name, State: StateDraining}, Beat: xxhash.Sum64(pair.Value)}
		}
		peers = append(peers, Peer{Member: l.Member, Number: number, At: l.At, Before: l.Before, beat: l.Beat})
	}
	return peers
}
