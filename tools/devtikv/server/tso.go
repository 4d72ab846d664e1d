package server

import (
	"sync"
	"time"
)

// logicalBits is the width of a timestamp's counter, as PD has it.
const logicalBits = 18

// oracle hands out timestamps: ms since the Unix epoch, then a counter.
type oracle struct {
	mu   sync.Mutex
	last uint64
	now  func() time.Time
}

// take returns the last of count timestamps that nobody else gets. A PD's answer
// has one physical part, so they never straddle two milliseconds.
func (o *oracle) take(count uint32) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	first := max(uint64(o.now().UnixMilli())<<logicalBits, o.last) + 1
	if last := first + uint64(count) - 1; first>>logicalBits != last>>logicalBits {
		first = (first>>logicalBits + 1) << logicalBits
	}
	o.last = first + uint64(count) - 1
	return o.last
}
