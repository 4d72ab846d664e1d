package router

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// memberKey names an edge by its number and a node by its name.
type memberKey struct {
	number uint32
	name   string // of a node
}

func (p *Peer) key() memberKey {
	if p.Number != 0 {
		return memberKey{number: p.Number}
	}
	return memberKey{name: p.Name}
}

// watch comes to verdicts. It has no clock: it is told when a scan began, by a clock
// that never goes back. What leases say of time is the store's and no part of it.
type watch struct {
	deadAfter time.Duration
	stepMax   time.Duration // a step of a reader that was stopped itself counts no more
	sights    map[memberKey]*sight
	peers     []Peer        // of the newest reading
	at        time.Duration // when it began
	steady    bool          // no scan failed since
	known     uint32        // the largest number of an edge in the reading before
	read      bool
}

// sight is what a reader knows of a member beside its lease.
type sight struct {
	epoch, beat uint64
	still       time.Duration // how long the beat stood still
	suspect     bool
}

func newWatch(deadAfter, stepMax time.Duration) watch {
	return watch{deadAfter: deadAfter, stepMax: stepMax, sights: map[memberKey]*sight{}}
}

// failed freezes the verdicts: who could not beat either is not dead for it.
func (w *watch) failed() { w.steady = false }

// saw takes a reading that began at now, and belongs to watch from here on.
func (w *watch) saw(peers []Peer, now time.Duration) *View {
	step := min(max(0, now-w.at), w.stepMax)
	for _, p := range w.peers {
		w.known = max(w.known, p.Number)
	}
	gone := maps.Clone(w.sights)
	for i := range peers {
		p := &peers[i]
		key := p.key()
		delete(gone, key)
		s := w.sights[key]
		switch {
		case s == nil:
			w.sights[key] = &sight{epoch: p.Epoch, beat: p.beat}
		case s.epoch != p.Epoch || s.beat != p.beat:
			*s = sight{epoch: p.Epoch, beat: p.beat}
		case w.steady:
			s.still += step
		case s.still < w.deadAfter:
			s.still = 0 // after an outage everyone has his time anew; the dead stay dead
		}
	}
	for key := range gone {
		delete(w.sights, key)
	}
	w.peers, w.at, w.steady, w.read = peers, now, true, true
	return w.view()
}

// refused makes a member suspect until its next beat.
func (w *watch) refused(key memberKey) *View {
	if s := w.sights[key]; s != nil {
		s.suspect = true
	}
	return w.view()
}

func (w *watch) verdict(p *Peer) Verdict {
	s := w.sights[p.key()]
	switch {
	case p.State == StateGone || s.still >= w.deadAfter:
		return Dead
	case s.suspect:
		return Suspect
	}
	return Alive
}

func (w *watch) view() *View {
	v := &View{Read: w.read, known: w.known}
	for _, p := range w.peers {
		p.Verdict = w.verdict(&p)
		if p.Number != 0 {
			v.Edges = append(v.Edges, p)
		} else {
			v.Nodes = append(v.Nodes, p)
		}
	}
	slices.SortFunc(v.Edges, func(a, b Peer) int { return cmp.Compare(a.Number, b.Number) })
	slices.SortFunc(v.Nodes, func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
	return v
}
