package chat

import (
	"sync/atomic"
	"time"
)

// Stats are counters since the start and gauges of this moment, for metrics.
type Stats struct {
	Stored       uint64        // sends stored
	Repeated     uint64        // sends answered with an earlier result
	Refused      uint64        // requests answered with an error, late ones included
	Late         uint64        // requests whose deadline came before their result
	Reads        uint64        // reads served
	ReadsRunning int64         // reads accepted and not yet done
	Forwarded    uint64        // outbox items that arrived at their destination
	ForwardsLost uint64        // forwards that failed or were refused, and are repeated
	OutboxItems  int           // waiting to arrive
	OutboxLanes  int           // lanes with something to forward or to acknowledge
	OutboxOldest time.Duration // since the slowest lane that holds items last moved
	Pointers     uint64        // to entries of groups' logs, that members' logs got
	FanoutsLost  uint64        // fan-outs that failed or were refused, and are repeated
	FanoutGroups int           // that the fan-out holds in memory
	FanoutBytes  int           // of their members and entries
}

// counters are the part of Stats that is counted as it happens.
type counters struct {
	stored, repeated, refused, late, reads, forwarded, forwardsLost, fanoutsLost, pointers atomic.Uint64
}

func (c *counters) sent(dup bool) {
	if dup {
		c.repeated.Add(1)
		return
	}
	c.stored.Add(1)
}

// Stats may be called from any goroutine. It looks at every lane.
func (s *Service) Stats() Stats {
	st := Stats{
		Stored: s.counters.stored.Load(), Repeated: s.counters.repeated.Load(), Refused: s.counters.refused.Load(),
		Late: s.counters.late.Load(), Reads: s.counters.reads.Load(), ReadsRunning: s.reading.Load(),
		Forwarded: s.counters.forwarded.Load(), ForwardsLost: s.counters.forwardsLost.Load(),
	}
	st.Pointers, st.FanoutsLost = s.counters.pointers.Load(), s.counters.fanoutsLost.Load()
	s.fanouts.stats(&st)
	f := s.forwarder
	f.mu.Lock()
	defer f.mu.Unlock()
	st.OutboxItems, st.OutboxLanes = f.items, len(f.lanes)
	for _, l := range f.lanes {
		if len(l.items) > 0 {
			st.OutboxOldest = max(st.OutboxOldest, time.Duration(f.now-l.since)*TickInterval)
		}
	}
	return st
}
