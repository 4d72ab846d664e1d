package presence

import "sync/atomic"

// Stats are counters since the start and gauges of this moment, for metrics.
type Stats struct {
	Sent       uint64 // frames, each to one session
	Hidden     uint64 // among them: told that a user is offline who may be seen no more
	Flips      uint64 // changes shown
	Suppressed uint64 // changes nobody was told of, because they did not last
	Withdrawn  uint64 // frames that were undone while they waited for the budget
	Limited    uint64 // ticks at whose end the budget of an edge process had left frames waiting
	Waiting    int    // frames that wait for the budget
	Lists      int64  // devices that watch somebody
	Watches    int64  // users on all lists
}

type counters struct {
	sent, hidden, flips, suppressed, withdrawn, limited atomic.Uint64
}

// Stats may be called from any goroutine.
func (h *Hub) Stats() Stats {
	c := &h.counters
	return Stats{
		Sent: c.sent.Load(), Hidden: c.hidden.Load(), Flips: c.flips.Load(), Suppressed: c.suppressed.Load(),
		Withdrawn: c.withdrawn.Load(), Limited: c.limited.Load(), Waiting: h.queues.waiting(),
		Lists: h.devices.Load(), Watches: h.watches.Load(),
	}
}
