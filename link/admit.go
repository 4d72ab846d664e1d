package link

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/godwit-im/godwit"
)

// reuseAfterMS is how long an index rests: nothing that was asked for a session
// of its last edge process may still be under way when the next one has it.
const reuseAfterMS = 60_000

const inUse = -1 // in Hub.freed

var errNoIndex = status.Error(codes.ResourceExhausted, "link: every index of an edge process is in use, or was within the last minute")

// origin is what the hub itself knows of an edge process.
type origin struct {
	address string
	tlsName string // empty: no TLS
	version int
}

// admitAlone admits an edge process once those that it takes the place of are
// gone: there are never two with one name and a lease.
func (h *Hub) admitAlone(ctx context.Context, about About, from origin) (*attached, error) {
	for {
		a, older, err := h.admit(about, from)
		if err != nil || a != nil {
			return a, err
		}
		for _, b := range older {
			b.end(status.Errorf(codes.Aborted, "link: a younger edge process %q has attached", about.Node))
			select {
			case <-b.gone:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
}

// admit gives an edge process an index and an epoch, or returns who must go first.
func (h *Hub) admit(about About, from origin) (a *attached, older []*attached, err error) {
	var epoch [8]byte
	if _, err := rand.Read(epoch[:]); err != nil {
		panic("BUG: no randomness: " + err.Error()) // crypto/rand never fails on Linux
	}
	now := h.cfg.Clock()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed || h.draining:
		return nil, nil, status.Error(codes.Unavailable, "link: the engine process is going down")
	case about.Dev && !h.cfg.Settings.Dev:
		return nil, nil, status.Error(codes.FailedPrecondition, "link: the edge process believes development tokens and the engine process is no development server; unset dev")
	}
	if older, err = h.olderLocked(about); err != nil || len(older) > 0 {
		return nil, older, err
	}
	for range godwit.SessionEdgeMax {
		h.last = h.last%godwit.SessionEdgeMax + 1
		if freed := h.freed[h.last]; freed == 0 || freed != inUse && now-freed >= reuseAfterMS {
			a := &attached{
				hub: h, index: h.last, epoch: binary.BigEndian.Uint64(epoch[:]), about: about, origin: from, since: now,
				cut: make(chan struct{}), gone: make(chan struct{}),
			}
			a.queue = newQueue(&h.pool, &a.traffic.putItems)
			h.freed[h.last] = inUse
			h.standing[a] = struct{}{}
			h.edges[h.last].Store(a)
			h.attaches.Add(1)
			h.signalLocked()
			return a, nil, nil
		}
	}
	return nil, nil, errNoIndex
}

// olderLocked returns the attachments that a newcomer takes the place of: its own
// earlier one, whose end has not shown yet, and those of its name with an earlier
// lease. A newcomer whose own lease is not the latest is refused.
func (h *Hub) olderLocked(about About) (older []*attached, err error) {
	for b := range h.standing {
		switch {
		case b.about.Node != about.Node:
		case about.Instance != 0 && b.about.Instance == about.Instance:
			older = append(older, b)
		case about.Lease == 0:
		case b.about.Lease >= about.Lease:
			return nil, status.Error(codes.Aborted, fmt.Sprintf("link: this edge process has lease epoch %d, and one with its name and %d is attached", about.Lease, b.about.Lease))
		default:
			older = append(older, b)
		}
	}
	return older, nil
}

// forget takes an edge process's index and then all its routes away. It runs once
// nothing more of its stream is handed to the chat tier.
func (h *Hub) forget(a *attached) {
	h.edges[a.index].Store(nil)
	h.cfg.Router.UnregisterEdge(a.index)
	h.mu.Lock()
	h.freed[a.index] = max(1, h.cfg.Clock())
	delete(h.standing, a)
	h.mu.Unlock()
	close(a.gone)
	h.lost.Add(1)
	h.signal()
}
