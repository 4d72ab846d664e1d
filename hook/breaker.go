package hook

import (
	"sync"
	"time"
)

// breaker stops the calls to a service that does not answer, so that messages do
// not wait for it in vain. After failuresMax failures in a row it is open for a
// pause; then one call, the probe, shows whether the service is back. Each probe
// that fails doubles the pause.
type breaker struct {
	mu       sync.Mutex
	failures int // in a row
	pause    time.Duration
	until    time.Time // while open
	open     bool
	probing  bool
}

const (
	failuresMax = 5
	pauseMin    = time.Second
	pauseMax    = 30 * time.Second
)

// enter tells whether a call may be made, and whether it is the probe.
func (b *breaker) enter(now time.Time) (probe, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return false, true
	case b.probing || now.Before(b.until):
		return false, false
	}
	b.probing = true
	return true, true
}

// failed counts a call without a verdict. It returns the pause it begins, if any.
func (b *breaker) failed(now time.Time, probe bool) (opened time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open && !probe {
		return 0 // a call from before
	}
	b.failures++
	if b.failures < failuresMax && !probe {
		return 0
	}
	b.pause = min(max(2*b.pause, pauseMin), pauseMax)
	b.open, b.probing, b.until = true, false, now.Add(b.pause)
	return b.pause
}

// answered counts a call with a verdict. back: the service had been failing.
func (b *breaker) answered(probe bool) (back bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open && !probe {
		return false
	}
	back = b.open
	b.failures, b.pause, b.open, b.probing = 0, 0, false, false
	return back
}

func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}
