package node

import (
	"context"
	"sync"
	"time"

	"github.com/godwit-im/godwit/router"
)

const (
	storeTimeEvery   = 5 * time.Second // how often the store's time is asked for
	storeTimeTimeout = 250 * time.Millisecond
)

// storeClock is the time of the directory's store, for the stamps of connections.
// These can't wait for the store: its time is asked for now and then, and goes on by
// the monotonic clock in between and while it is away. That is exact to the time of a
// question and its answer, far less than a device needs to change its edge.
type storeClock struct {
	ask func(context.Context) (router.Timestamp, error)
	now func() time.Time // its monotonic part counts, if it has one

	mu   sync.Mutex
	base int64     // ms since the Unix epoch, as of at
	at   time.Time // zero: the store never answered, and our clock counts
}

// run asks until ctx ends.
func (c *storeClock) run(ctx context.Context) {
	tick := time.NewTicker(storeTimeEvery)
	defer tick.Stop()
	for {
		c.adjust(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *storeClock) adjust(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeTimeout)
	defer cancel()
	t, err := c.ask(ctx)
	if err != nil {
		return // the time of before goes on
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.at = t.Milliseconds(), c.now()
}

// milliseconds since the Unix epoch.
func (c *storeClock) milliseconds() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return c.now().UnixMilli()
	}
	return c.base + max(0, c.now().Sub(c.at).Milliseconds())
}
