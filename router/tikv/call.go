package tikv

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	tikverr "github.com/tikv/client-go/v2/error"
	"github.com/tikv/client-go/v2/tikv"

	"github.com/godwit-im/godwit/router"
)

// What a call is answered that never reached client-go.
var (
	errRefused = fmt.Errorf("tikv: not asked at present: %w", router.ErrUnavailable)
	errLimited = fmt.Errorf("tikv: too many calls under way: %w", router.ErrUnavailable)
	errClosed  = fmt.Errorf("tikv: closed: %w", router.ErrUnavailable)
)

// errAbandoned is what guard says of a function that did not heed its context.
var errAbandoned = errors.New("client-go does not return")

// patience is how long past its deadline client-go may still answer: it mostly heeds
// the context, and knows what became of a commit.
const patience = 100 * time.Millisecond

// call is one operation under way. It belongs to the goroutine that made it.
type call struct {
	store   *Store
	client  *tikv.KVStore
	ctx     context.Context
	caller  context.Context
	ample   bool // the time it has is enough to blame the store when it runs out
	holders atomic.Int32
	verdict verdict
}

// release gives the slot back when nobody works in it any more.
func (c *call) release() {
	if c.holders.Add(-1) == 0 {
		<-c.store.slots
	}
}

// do runs one operation between the limiter, the breaker and the counters.
func (s *Store) do(ctx context.Context, op operation, fn func(*call) error) error {
	counter := &s.counters[op]
	defer counter.count.Add(1)
	if !s.breaker.closed() {
		counter.refused.Add(1)
		counter.unavailable.Add(1)
		return errRefused
	}
	started := time.Now()
	bound, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	stop := context.AfterFunc(s.ctx, cancel)
	defer stop()
	err := s.enter(bound, ctx, fn)
	switch {
	case errors.Is(err, router.ErrConflict):
		counter.conflicts.Add(1)
	case errors.Is(err, router.ErrUnknown):
		counter.unknown.Add(1)
	case errors.Is(err, router.ErrUnavailable):
		counter.unavailable.Add(1)
	}
	if errors.Is(err, errLimited) {
		counter.limited.Add(1)
	}
	counter.nanoseconds.Add(int64(time.Since(started)))
	return err
}

// enter takes a slot, runs fn in it, and tells the breaker how it went.
func (s *Store) enter(bound, caller context.Context, fn func(*call) error) error {
	select {
	case s.slots <- struct{}{}:
	default:
		select {
		case s.slots <- struct{}{}:
		case <-bound.Done():
			return errLimited
		}
	}
	c := &call{store: s, client: s.client.Load(), ctx: bound, caller: caller}
	c.holders.Store(1)
	defer c.release()
	deadline, _ := bound.Deadline()
	c.ample = time.Until(deadline) >= s.config.Timeout/2
	err := fn(c)
	s.breaker.report(c.verdict, time.Now())
	return err
}

// failed notes what an answer of client-go says of the store, and words it for the
// caller.
func (c *call) failed(doing string, err error) error {
	switch {
	case err == nil:
		c.verdict = max(c.verdict, healthy)
		return nil
	case errors.Is(err, errClosed) || c.store.ctx.Err() != nil:
		return errClosed
	}
	if c.caller.Err() == nil || c.ample && errors.Is(c.caller.Err(), context.DeadlineExceeded) {
		c.verdict = sick
	}
	return fmt.Errorf("tikv: %s: %w: %w", doing, router.ErrUnavailable, err)
}

// result is what a guarded function returned.
type result[T any] struct {
	value T
	err   error
}

// guard runs a function of client-go so that it can be left alone when it does not
// return in time. What was left keeps its slot until it ends: a client-go that hangs
// exhausts the slots, not the memory. fn writes to nothing of the caller's.
func guard[T any](c *call, fn func(context.Context) (T, error)) (T, error) {
	var none T
	if !c.store.begin() {
		return none, errClosed
	}
	done := make(chan result[T], 1)
	c.holders.Add(1)
	go func() {
		defer c.store.running.Done()
		defer c.release()
		value, err := fn(c.ctx)
		done <- result[T]{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-c.ctx.Done():
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		return none, errAbandoned
	}
}

// conflicting says whether a commit failed because another was faster, and for sure
// had no effect.
func conflicting(err error) bool {
	var conflict *tikverr.ErrWriteConflict
	var latch *tikverr.ErrWriteConflictInLatch
	var retryable *tikverr.ErrRetryable
	return errors.As(err, &conflict) || errors.As(err, &latch) || errors.As(err, &retryable)
}
