package tikv

import (
	"sync"
	"time"
)

// State says whether the store is asked at present.
type State int

// The states of a Store's breaker.
const (
	// BreakerOpen: every call is answered ErrUnavailable at once; probes go out with pauses.
	BreakerOpen State = iota
	// BreakerProbing: as BreakerOpen, and a probe is under way.
	BreakerProbing
	// BreakerClosed: calls go through.
	BreakerClosed
)

func (s State) String() string {
	switch s {
	case BreakerOpen:
		return "open"
	case BreakerProbing:
		return "probing"
	case BreakerClosed:
		return "closed"
	}
	return "unknown"
}

// verdict is what a call says about the store.
type verdict int

const (
	silent  verdict = iota // nothing: the caller gave up, or was given too little time
	healthy                // it answered, a conflict being an answer
	sick                   // it did not answer in time, or could not
)

// breaker decides from the calls that were made whether more are. It begins open:
// nothing is known of the store.
type breaker struct {
	failuresMax int
	quiet       time.Duration // without a success, two failures are enough
	tripped     chan struct{} // has room for one; whoever probes listens

	mu       sync.Mutex
	state    State
	failures int       // in a row
	success  time.Time // the last
	opened   uint64    // times, the first state not counted
}

func newBreaker(failuresMax int, quiet time.Duration) *breaker {
	return &breaker{failuresMax: failuresMax, quiet: quiet, tripped: make(chan struct{}, 1)}
}

func (b *breaker) closed() bool { return b.get() == BreakerClosed }

func (b *breaker) get() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// report takes a call's verdict. A late failure of a call from before the breaker
// opened changes nothing, nor does a late success: only a probe closes it.
func (b *breaker) report(v verdict, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != BreakerClosed {
		return
	}
	switch v {
	case healthy:
		b.failures, b.success = 0, now
	case sick:
		b.failures++
		if b.failures >= b.failuresMax || b.failures >= 2 && now.Sub(b.success) >= b.quiet {
			b.state = BreakerOpen
			b.opened++
			select {
			case b.tripped <- struct{}{}:
			default:
			}
		}
	}
}

// probing and probed bracket a probe.
func (b *breaker) probing() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = BreakerProbing
}

func (b *breaker) probed(ok bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = BreakerOpen
	if ok {
		b.state, b.failures, b.success = BreakerClosed, 0, now
		select {
		case <-b.tripped:
		default:
		}
	}
}

func (b *breaker) openedTimes() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened
}
