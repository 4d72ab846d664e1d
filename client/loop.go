package client

import (
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

	feed     feed
	channels channels
	queue    queue

	delivered delivered
	watched   [][]byte // the list of the newest Watch

	current     connection              // its connect reply has come
	ws, poll    track                   // the ways to the next one
	connections map[connection]struct{} // all whose goroutines may run
	events      chan event              // from connections
	opened      chan *attempt           // from attempts; shutdown drains it
	asking      chan struct{}           // capacity 1: holds whoever calls TokenSource
	ended       sync.WaitGroup          // connections and attempts
	address     string                  // where the next attempt goes
	assigned    assigned
	backoff     backoff
	stopped     bool
	connected   time.Time  // when current's reply came
	liveAt      godwit.Seq // the head then
	state       State

	prefer         Transport  // what open tries first
	beside         connection // a WebSocket that a poll of ours may replace, see ownDoing
	patient        bool       // the next WebSocket gets all its time: the last one worked, late
	wsErr, pollErr error      // how this round of attempts failed so far, with Auto

	taken  godwit.Seq // last sequence of this generation that the application took
	pushed godwit.Seq // highest that the current connection brought, or began after
	acked  godwit.Seq // on the current connection, or what it began after
	bytes  int        // of bodies taken since the last ack

	// What happens by itself, and when; zero: never.
	retryAt, silentAt, moveAt, ackAt, fallbackAt, probeAt time.Time

	alarmAt   time.Time
	alarm     <-chan time.Time
	alarmStop func()
}

func newLoop(c *Client) *loop {
	l := &loop{
		c: c, cfg: &c.cfg,
		connections: map[connection]struct{}{},
		events:      make(chan event),
		opened:      make(chan *attempt),
		asking:      make(chan struct{}, 1),
		address:     c.cfg.URL,
		ws:          track{kind: WebSocket},
		poll:        track{kind: LongPoll},
		prefer:      WebSocket,
		backoff:     backoff{first: c.cfg.BackoffFirst, limit: c.cfg.BackoffMax, random: c.cfg.random},
	}
	if c.cfg.Transport == LongPoll {
		l.prefer = LongPoll
	}
	l.feed.epoch, l.feed.cursor = c.position.Epoch, c.position.Seq
	l.channels.init(&l.feed, c.cfg.Channels)
	l.queue.init(&c.cfg)
	l.delivered.init(&c.cfg)
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
			l.request(r)
			l.flush()
		case r := <-l.c.withdraw:
			l.queue.withdraw(r)
			l.flush()
		case e := <-l.events:
			l.handle(e)
		case a := <-l.opened:
			l.attemptDone(a)
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
	l.caughtUp()
	l.received(item)
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
func (l *loop) write(c connection, f *godwit.ClientFrame) bool {
	if err := c.write(f); err != nil {
		l.lost(c, err)
		return false
	}
	return true
}

// setAlarm arms the clock for the earliest thing that happens by itself.
func (l *loop) setAlarm() {
	var next time.Time
	for _, at := range []time.Time{
		l.retryAt, l.silentAt, l.moveAt, l.ackAt, l.fallbackAt, l.probeAt, l.ws.openBy, l.poll.openBy, l.queue.wake, l.deliverAt(),
	} {
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
		l.alarm, l.alarmStop = l.cfg.clock.Alarm(next)
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
	for _, t := range []*track{&l.ws, &l.poll} {
		if due(&t.openBy, now) {
			if t.attempt != nil {
				t.attempt.cancel()
			} else if t.opening != nil {
				l.lost(t.opening, errOpenTimeout)
			}
		}
	}
	if due(&l.fallbackAt, now) {
		l.fallBack()
	}
	if due(&l.probeAt, now) && l.poller() != nil {
		l.begin(&l.ws)
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
	l.markDelivered(now)
	if due(&l.queue.wake, now) {
		l.queue.woken(now)
	}
	l.flush()
}

// show publishes a change of state.
func (l *loop) show(phase Phase, until time.Time, err error) {
	l.state = State{Phase: phase, Until: until, Err: err, Welcome: l.state.Welcome}
	switch {
	case l.current == nil:
	case l.poller() != nil:
		l.state.Transport = LongPoll
	default:
		l.state.Transport = WebSocket
	}
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
	for c := range l.connections {
		c.discard()
	}
	err = fmt.Errorf("%w: %w", ErrStopped, err)
	l.queue.close(err)
	l.show(Stopped, time.Time{}, err)
	if _, more := l.feed.next(); !more {
		close(l.c.drained)
	}
}

func (l *loop) halt() {
	l.abandon(&l.ws)
	l.abandon(&l.poll)
	l.current = nil
	l.retryAt, l.silentAt, l.moveAt, l.ackAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	l.fallbackAt, l.probeAt = time.Time{}, time.Time{}
}

// shutdown says goodbye, and waits for every goroutine.
func (l *loop) shutdown() {
	l.ack()
	for _, t := range []*track{&l.ws, &l.poll} {
		l.abandon(t)
	}
	for c := range l.connections {
		if c == l.current {
			c.finish()
		} else {
			c.discard()
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
		for c := range l.connections { // nobody changes the map any more
			c.discard()
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
		case a := <-l.opened:
			if a.conn != nil {
				a.conn.discard()
			}
		case <-finished:
			return
		}
	}
}
