package tikv

import (
	"sync/atomic"
	"time"
)

// operation names what is asked of a Store.
type operation int

const (
	opGet operation = iota
	opBatchGet
	opScan
	opUpdate
	opNow
	opCollect
	operations
)

var operationNames = [operations]string{"get", "batch_get", "scan", "update", "now", "collect"}

// counter counts one kind of operation.
type counter struct {
	count, conflicts, unknown, unavailable, refused, limited atomic.Uint64
	nanoseconds                                              atomic.Int64
}

// OperationStats is how the calls of one kind went.
type OperationStats struct {
	Count       uint64        // calls that ended, whatever came of them
	Conflicts   uint64        // ended by ErrConflict
	Unknown     uint64        // ended by ErrUnknown
	Unavailable uint64        // ended by ErrUnavailable, the next two among them
	Refused     uint64        // because the breaker was open
	Limited     uint64        // because too many calls were under way until the deadline
	Latency     time.Duration // the sum over the calls that were not refused
}

// Stats is what a Store did since Open.
type Stats struct {
	State      State
	Opened     uint64 // times that the breaker opened after it had been closed
	InFlight   int    // calls under way, those left alone after their deadline among them
	Warnings   uint64 // of client-go, from all Stores of the process
	Operations map[string]OperationStats
}

// Stats returns the counters. It may be called at any time.
func (s *Store) Stats() Stats {
	out := Stats{
		State: s.breaker.get(), Opened: s.breaker.openedTimes(), InFlight: len(s.slots),
		Warnings: warnings.Load(), Operations: make(map[string]OperationStats, operations),
	}
	for i := range s.counters {
		c := &s.counters[i]
		out.Operations[operationNames[i]] = OperationStats{
			Count: c.count.Load(), Conflicts: c.conflicts.Load(), Unknown: c.unknown.Load(),
			Unavailable: c.unavailable.Load(), Refused: c.refused.Load(), Limited: c.limited.Load(),
			Latency: time.Duration(c.nanoseconds.Load()),
		}
	}
	return out
}

// State says whether the store is asked at present.
func (s *Store) State() State { return s.breaker.get() }
