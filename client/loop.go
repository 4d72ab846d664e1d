package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godwit-im/godwit"
)

// loop is the one goroutine that owns a client's session. Callers, sockets and
// the clock send to it; it never blocks on any of them. Stages of its life are in
// connect.go, what frames do in frames.go, requests in queue.go.
type loop struct {
	c   *Client
	cfg *Config

	feed  feed
	queue queue

	current   *socket              // its connect reply has come
	opening   *socket              // its connect frame was sent
	sockets   map[*socket]struct{} // all whose goroutines may run
	events    chan event           // from sockets
	opened    chan opened          // capacity 1: from the one attempt that may run
	attempt   context.CancelFunc   // ends the attempt that runs; nil: none runs
	ended     sync.WaitGroup       // sockets and the attempt
	address   string               // where the next attempt goes
	backoff   backoff
	stopped   bool
	connected time.Time  // when current's reply came
	liveAt    godwit.Seq // the head then
	state     State

	taken  godwit.Seq // last sequence of this generation that the application took
	pushed godwit.Seq // highest that the current connection brought, or began after
	acked  godwit.Seq // on the current connection, or what it began after
	bytes  int        // of bodies taken since the last ack

	// What happens by itself, and when; zero: never.
	retryAt, openBy, silentAt, moveAt, ackAt time.Time

	alarmAt   time.Time
	alarm     <-chan time.Time
	alarmStop func()
}

func newLoop(c *Client) *loop {
	l := &loop{
		c: c, cfg: &c.cfg,
		sockets: map[*socket]struct{}{},
		events:  make(chan event),
		opened:  make(chan opened, 1),
		address: c.cfg.URL,
		backoff: backoff{first: c.cfg.BackoffFirst, limit: c.cfg.BackoffMax, random: c.cfg.random},
	}
	l.feed.epoch, l.feed.cursor = c.position.Epoch, c.position.Seq
	l.queue.init(&c.cfg)
	return l
}

func (l *loop) now() time.Time { return l.cfg.clock.Now() }

func (l *loop) run() {
	defer close(l.c.done)
	l.open()
	for {
		var items chan Item
		item, ready := l.feed.next()
		if ready {
			items = l.c.items
		}
		var requests chan *request
		if l.stopped || l.queue.len() < l.cfg.QueueMax {
			requests = l.c.requests
		}
		l.setAlarm()
		select {
		case items <- item:
			l.itemTaken(&item)
		case r := <-requests:
			l.queue.push(r)
			l.flush()
		case r := <-l.c.withdraw:
			l.queue.withdraw(r)
			l.flush()
		case e := <-l.events:
			l.handle(e)
		case o := <-l.opened:
			l.attemptDone(o)
		case <-l.alarm:
			l.alarmAt = time.Time{}
			l.tick(l.now())
		case <-l.c.quit:
			l.shutdown()
			return
		}
	}
}

// itemTaken counts towards the next ack, which keeps the server's window open.
func (l *loop) itemTaken(item *Item) {
	l.feed.take()
	if l.stopped {
		if _, more := l.feed.next(); !more {
			close(l.c.drained)
		}
		return
	}
	if item.generation == l.feed.generation && item.Gap == nil {
		l.taken = item.At.Seq
		l.bytes += len(item.Entry.Msg.Body)
		l.ackSoon()
	}
	l.flush() // room in the feed may let a fetch go out
}

// An ack goes out after so many sequences, so many bytes of bodies, or so long
// after the first: well within a window of 512 entries or 1 MiB.
const (
	ackEvery      = 64
	ackEveryBytes = 128 << 10
	ackAfter      = 500 * time.Millisecond
)

// ackable is what may be acked: taken by the application, and pushed on this
// connection. A fetch may run ahead of the push, and an ack of that is an error.
func (l *loop) ackable() (godwit.Seq, bool) {
	seq := min(l.taken, l.pushed)
	return seq, l.current != nil && seq > l.acked
}

func (l *loop) ackSoon() {
	seq, ok := l.ackable()
	switch {
	case !ok:
	case seq-l.acked >= ackEvery || l.bytes >= ackEveryBytes:
		l.ack()
	case l.ackAt.IsZero():
		l.ackAt = l.now().Add(ackAfter)
	}
}

func (l *loop) ack() {
	l.ackAt = time.Time{}
	if seq, ok := l.ackable(); ok {
		l.acked, l.bytes = seq, 0
		l.write(l.current, &godwit.ClientFrame{Kind: godwit.KindAck, Ack: godwit.Ack{Seq: seq}})
	}
}

// write queues a frame; a connection that takes no more is lost.
func (l *loop) write(s *socket, f *godwit.ClientFrame) bool {
	if err := s.write(f); err != nil {
		l.lost(s, err)
		return false
	}
	return true
}

// setAlarm arms the clock for the earliest thing that happens by itself.
func (l *loop) setAlarm() {
	var next time.Time
	for _, at := range []time.Time{l.retryAt, l.openBy, l.silentAt, l.moveAt, l.ackAt, l.queue.wake} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if next.Equal(l.alarmAt) {
		return
	}
	if l.alarmStop != nil {
		l.alarmStop()
	}
	l.alarmAt, l.alarm, l.alarmStop = next, nil, nil
	if !next.IsZero() {
		l.alarm, l.alarmStop = l.cfg.clock.Alarm(next.Sub(l.now()))
	}
}

// due reports whether *at has come, and clears it.
func due(at *time.Time, now time.Time) bool {
	if at.IsZero() || now.Before(*at) {
		return false
	}
	*at = time.Time{}
	return true
}

var (
	errSilent      = errors.New("client: the server is silent")
	errOpenTimeout = errors.New("client: no connect reply in time")
)

func (l *loop) tick(now time.Time) {
	if due(&l.openBy, now) {
		if l.attempt != nil {
			l.attempt()
		} else if l.opening != nil {
			l.lost(l.opening, errOpenTimeout)
		}
	}
	if due(&l.silentAt, now) && l.current != nil {
		l.lost(l.current, errSilent)
	}
	if due(&l.moveAt, now) || due(&l.retryAt, now) {
		l.open()
	}
	if due(&l.ackAt, now) {
		l.ack()
	}
	if due(&l.queue.wake, now) {
		l.queue.woken(now)
	}
	l.flush()
}

// show publishes a change of state.
func (l *loop) show(phase Phase, until time.Time, err error) {
	l.state = State{Phase: phase, Until: until, Err: err, Welcome: l.state.Welcome}
	l.c.setState(l.state)
	l.cfg.Logger.Debug("client state", "phase", phase.String(), "until", until, "error", err)
}

// stop ends the session for good; what was received can still be taken.
func (l *loop) stop(err error) {
	if l.stopped {
		return
	}
	l.stopped = true
	l.halt()
	if l.attempt != nil {
		l.attempt()
	}
	for s := range l.sockets {
		s.discard()
	}
	err = fmt.Errorf("%w: %w", ErrStopped, err)
	l.queue.close(err)
	l.show(Stopped, time.Time{}, err)
	if _, more := l.feed.next(); !more {
		close(l.c.drained)
	}
}

func (l *loop) halt() {
	l.current, l.opening = nil, nil
	l.retryAt, l.openBy, l.silentAt, l.moveAt, l.ackAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
}

// shutdown says goodbye, and waits for every goroutine.
func (l *loop) shutdown() {
	l.ack()
	if l.attempt != nil {
		l.attempt()
	}
	for s := range l.sockets {
		if s == l.current {
			s.finish()
		} else {
			s.discard()
		}
	}
	l.queue.close(ErrClosed)
	if l.alarmStop != nil {
		l.alarmStop()
	}
	if !l.stopped {
		l.show(Stopped, time.Time{}, ErrClosed)
	}
	late := time.AfterFunc(farewellTimeout, func() {
		for s := range l.sockets { // nobody changes the map any more
			s.discard()
		}
	})
	defer late.Stop()
	finished := make(chan struct{})
	go func() {
		l.ended.Wait()
		close(finished)
	}()
	for {
		select {
		case <-l.events:
		case <-finished:
			select {
			case o := <-l.opened:
				o.close()
			default:
			}
			return
		}
	}
}
