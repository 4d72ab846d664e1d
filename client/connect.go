package client

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/lxzan/gws"
)

// CloseError is a close frame of the server.
type CloseError struct {
	Code    godwit.CloseCode
	Reason  string // the server's word for it
	details closeReason
}

// Error returns the code and the reason.
func (e *CloseError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("closed by the server: %d %s", e.Code, e.Reason))
}

func newCloseError(e *gws.CloseError) *CloseError {
	details := parseCloseReason(e.Reason)
	reason := string(e.Reason)
	if details.Reason != "" {
		reason = details.Reason
	}
	return &CloseError{Code: godwit.CloseCode(e.Code), Reason: reason, details: details}
}

// open starts an attempt unless one is under way. While current lives this makes
// the new connection before the old one breaks.
func (l *loop) open() {
	t := &l.ws
	if l.prefer == LongPoll || l.cfg.Transport == Auto && l.current == nil && l.ws.busy() {
		t = &l.poll
	}
	if l.stopped || t.busy() {
		return
	}
	l.retryAt, l.moveAt = time.Time{}, time.Time{}
	if l.current == nil {
		l.wsErr, l.pollErr = nil, nil
		if l.cfg.Transport == Auto && t == &l.ws && !l.patient {
			l.fallbackAt = l.now().Add(l.cfg.FallbackAfter)
		}
		l.patient = false
		l.show(Connecting, time.Time{}, l.state.Err)
	}
	l.begin(t)
}

func (l *loop) attemptDone(a *attempt) {
	a.cancel()
	t := a.track
	if l.stopped || t.attempt != a { // abandoned
		if a.conn != nil {
			a.conn.discard()
		}
		return
	}
	t.attempt = nil
	if a.err != nil {
		t.openBy = time.Time{}
		l.failed(t, a.err)
		return
	}
	t.opening, t.token, t.address = a.conn, a.token, a.address
	l.connections[a.conn] = struct{}{}
	a.conn.start(&l.ended)
	if s, ok := a.conn.(*socket); ok && (l.poller() != nil || l.poll.busy()) {
		s.prove()
		return
	}
	l.ask(t)
}

// ask writes the connect frame.
func (l *loop) ask(t *track) {
	t.asked = true
	f := godwit.ClientFrame{ID: l.queue.nextID(), Kind: godwit.KindConnect}
	f.Connect.Token, f.Connect.Device = []byte(t.token), []byte(l.cfg.Device)
	if l.feed.epoch != "" {
		f.Connect.Resume = godwit.Resume{Set: true, Epoch: []byte(l.feed.epoch), Seq: l.feed.cursor, Channels: l.channels.places(), Stamp: []byte(l.state.Welcome.Stamp)}
	}
	l.write(t.opening, &f)
}

// lost ends a connection of which nothing more is expected.
func (l *loop) lost(c connection, err error) {
	err = l.ownDoing(c, err)
	c.discard()
	delete(l.connections, c)
	if t := l.trackOf(c); t != nil {
		if remedyFor(err) == backOff {
			l.assigned.failed(t.address)
		}
		*t = track{kind: t.kind}
		l.failed(t, err)
		return
	}
	if c != l.current {
		return
	}
	l.current, l.silentAt, l.ackAt = nil, time.Time{}, time.Time{}
	l.queue.connectionLost()
	if l.now().Sub(l.connected) >= l.cfg.StableAfter {
		l.backoff.reset()
	}
	var closed *CloseError
	replaced := errors.As(err, &closed) && closed.Code == godwit.CloseReplaced && (l.ws.opening != nil || l.poll.opening != nil)
	if l.changingOver(c) && (replaced || remedyFor(err) != giveUp) {
		l.show(Connecting, time.Time{}, err) // replaced by our own new connection, most likely
		return
	}
	l.retry(err)
}

func remedyFor(err error) remedy {
	var closed *CloseError
	var refused *attemptError
	switch {
	case errors.As(err, &refused):
		return refused.remedy
	case errors.As(err, &closed):
		return remedyOf(uint16(closed.Code))
	}
	return backOff
}

func reasonOf(err error) closeReason {
	var closed *CloseError
	var refused *attemptError
	switch {
	case errors.As(err, &refused):
		return refused.reason
	case errors.As(err, &closed):
		return closed.details
	}
	return closeReason{}
}

// retry does what the end of a connection or attempt asks for.
func (l *loop) retry(err error) {
	l.fallbackAt = time.Time{}
	r := remedyFor(err)
	if r == giveUp || r == newToken && l.cfg.TokenSource == nil {
		l.stop(err)
		return
	}
	l.retryAt = l.now().Add(l.backoff.after(r, reasonOf(err)))
	if l.current == nil {
		l.show(Waiting, l.retryAt, err)
	}
}

// welcome makes the opening socket the current one: the feed learns where the
// server goes on, and every request without an answer goes out again, in order.
func (l *loop) welcome(t *track, r *godwit.ConnectReply) {
	if r.Epoch == "" {
		l.lost(t.opening, fmt.Errorf("connect reply without epoch: %w", godwit.ErrFrameInvalid))
		return
	}
	if old := l.current; old != nil {
		old.finish() // its reader ends it; its events are no longer heeded
		l.queue.connectionLost()
	}
	l.current, l.moveAt = t.opening, time.Time{}
	*t = track{kind: t.kind}
	l.settle(l.current)
	l.connected, l.liveAt = l.now(), r.Seq
	l.queue.limits(&r.Limits)
	l.align(r)
	l.c.setPlace(l.feed.epoch, l.feed.cursor, r.Seq)
	l.state.Welcome = *r
	l.heard()
	l.channels.hold(l.replayPhase() == Replaying)
	l.show(l.replayPhase(), time.Time{}, nil)
	l.watchAgain()
	l.flush()
}

// align moves the feed to where the server goes on.
func (l *loop) align(r *godwit.ConnectReply) {
	f, head := &l.feed, Position{r.Epoch, r.Seq}
	f.self = r.User
	l.pushed = r.Seq
	switch {
	case f.epoch == "" && l.cfg.Since == nil: // first connection, from the head
		f.epoch, f.cursor = r.Epoch, r.Seq
	case f.epoch == "": // first connection, from a sequence without epoch
		f.epoch = r.Epoch
		if f.owed = r.Seq; f.cursor > r.Seq {
			f.jump("ahead", head)
		}
	case r.Resumed && r.Epoch == f.epoch:
		f.owed = f.cursor // the server replays all of it
		l.pushed = f.cursor
	case r.Epoch == f.epoch && f.cursor <= r.Seq && (l.cfg.CatchUp == Replay || l.cfg.Since != nil):
		f.owed = max(f.owed, r.Seq) // read in pages what the server won't replay
	default:
		reason := r.Reason
		if reason == "" {
			reason = "epoch"
		}
		f.jump(reason, head)
		if reason == "epoch" { // the groups' logs are others, too
			l.channels.init(f, nil)
		}
		l.taken, l.bytes = 0, 0
	}
	l.acked, l.ackAt = l.pushed, time.Time{}
}

func (l *loop) replayPhase() Phase {
	if l.feed.cursor < l.liveAt {
		return Replaying
	}
	return Live
}

// move follows a goaway: a new connection first, then the old one ends.
func (l *loop) move(g *godwit.Goaway) {
	spread := time.Duration(g.SpreadMS) * time.Millisecond
	if spread > 0 {
		spread = time.Duration(l.cfg.random(int64(spread)))
	}
	at := l.now().Add(time.Duration(g.AfterMS)*time.Millisecond + spread)
	if l.moveAt.IsZero() || at.Before(l.moveAt) { // each poll of a server that drains says so again
		l.moveAt = at
	}
	l.assigned.forget()
	if u, err := url.Parse(g.URL); err == nil && u.Host != "" && strings.HasPrefix(l.cfg.URL, u.Scheme+"://") {
		l.address = g.URL
	}
}
