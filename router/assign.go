package router

import (
	"cmp"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// An edge that has more than boundFactor times its share of all sessions, and
// boundSlack more, takes no new users while another has room. The slack keeps a small
// cluster from moving users about for a handful of sessions.
const (
	boundFactor = 1.25
	boundSlack  = 16
)

// Assign orders the edges that take new sessions for a user, the best first: by
// weighted rendezvous hashing, those that have too many sessions behind those that
// have not. The order is the same at every process that sees the same edges; when an
// edge leaves, only its own users move.
func (v *View) Assign(user string) []Peer {
	chosen := v.candidates(Alive)
	if len(chosen) == 0 {
		chosen = v.candidates(Suspect) // better than none
	}
	var sessions, weights float64
	weigh := func(p *Peer) float64 { return float64(p.Capacity) }
	if slices.ContainsFunc(chosen, func(p Peer) bool { return p.Capacity == 0 }) {
		weigh = func(*Peer) float64 { return 1 }
	}
	for i := range chosen {
		sessions += float64(chosen[i].Sessions)
		weights += weigh(&chosen[i])
	}
	type ranked struct {
		Peer
		full  bool
		score float64
	}
	order := make([]ranked, len(chosen))
	for i, p := range chosen {
		w := weigh(&p)
		bound := boundFactor*sessions*w/weights + boundSlack
		full := float64(p.Sessions) >= bound || p.Capacity != 0 && p.Sessions >= p.Capacity
		order[i] = ranked{p, full, score(user, p.Name, w)}
	}
	slices.SortFunc(order, func(a, b ranked) int {
		switch {
		case a.full != b.full && b.full:
			return -1
		case a.full != b.full:
			return 1
		}
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.Number, b.Number))
	})
	for i := range order {
		chosen[i] = order[i].Peer
	}
	return chosen
}

// candidates are the edges of a verdict that clients can reach and that take them.
func (v *View) candidates(verdict Verdict) (chosen []Peer) {
	for _, p := range v.Edges {
		if p.Verdict == verdict && p.State == StateUp && p.URL != "" {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

// score is the user's preference for an edge: the largest of all edges is each one's
// with a chance in proportion to its weight.
func score(user, edge string, weight float64) float64 {
	var h xxhash.Digest
	h.Reset()
	_, _ = h.WriteString(edge)
	_, _ = h.Write([]byte{0})
	_, _ = h.WriteString(user)
	u := (float64(h.Sum64()>>11) + 0.5) / (1 << 53)
	return -weight / math.Log(u)
}
