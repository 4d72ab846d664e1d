package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/godwit-im/godwit"
)

// Transport chooses how frames travel. Everything else is the same on each.
type Transport string

// The transports. Auto speaks WebSocket; where none gets through it polls, tries
// a WebSocket again from time to time, and changes over when one works.
const (
	Auto      Transport = "auto"
	WebSocket Transport = "websocket"
	LongPoll  Transport = "longpoll"
)

// track is one transport's way to a session: at most one attempt, and after it
// at most one connection that waits for its connect reply.
type track struct {
	kind    Transport
	attempt *attempt
	opening connection
	token   string    // for opening
	address string    // of opening
	asked   bool      // the connect frame was written to opening
	openBy  time.Time // what is under way must be done by then; zero: nothing is
}

func (t *track) busy() bool { return t.attempt != nil || t.opening != nil }

// attempt is one try to get a connection.
type attempt struct {
	track  *track
	cancel context.CancelFunc
	conn   connection // set by its goroutine, with what follows, before it tells the loop
	token  string
	// address is where conn leads; as it was given, or assigned.
	address string
	err     error
}

// dial makes the connection of an attempt; it may block until ctx ends.
func (l *loop) dial(ctx context.Context, a *attempt, kind Transport, address string) {
	token, err := l.cfg.Token, error(nil)
	if l.cfg.TokenSource != nil {
		select {
		case l.asking <- struct{}{}:
		case <-ctx.Done():
			a.err = ctx.Err()
			return
		}
		token, err = l.cfg.TokenSource(ctx)
		<-l.asking
		if err != nil {
			a.err = fmt.Errorf("get token: %w", err)
			return
		}
	}
	a.token = token
	a.conn, a.address, a.err = l.reach(ctx, kind, address, token)
}

// begin starts an attempt on a track where nothing is under way.
func (l *loop) begin(t *track) {
	if l.stopped || t.busy() {
		return
	}
	if t == &l.poll && l.ws.asked {
		l.beside = l.ws.opening
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &attempt{track: t, cancel: cancel}
	t.attempt, t.openBy = a, l.now().Add(l.cfg.OpenTimeout)
	kind, address := t.kind, l.address // the track is the loop's
	l.address = l.cfg.URL              // another address is tried once
	l.ended.Go(func() {
		l.dial(ctx, a, kind, address)
		l.opened <- a
	})
}

// abandon ends what is under way on a track; nothing more is heard of it.
func (l *loop) abandon(t *track) {
	if t.attempt != nil {
		t.attempt.cancel()
	}
	if t.opening != nil {
		t.opening.discard()
		delete(l.connections, t.opening)
	}
	*t = track{kind: t.kind}
}

// trackOf returns the track a connection is being opened on, or nil.
func (l *loop) trackOf(c connection) *track {
	for _, t := range []*track{&l.ws, &l.poll} {
		if c != nil && t.opening == c {
			return t
		}
	}
	return nil
}

// poller returns the current connection if it polls, else nil.
func (l *loop) poller() *poller {
	p, _ := l.current.(*poller)
	return p
}

// changingOver reports whether the successor of a lost current connection is
// already on its way: the same transport's next one, or a WebSocket that works.
func (l *loop) changingOver(lost connection) bool {
	if _, polled := lost.(*poller); polled {
		return l.poll.busy() || l.ws.asked
	}
	return l.ws.busy()
}

// fallBack polls beside a WebSocket that has not had its round trip in time.
func (l *loop) fallBack() {
	if l.current == nil {
		l.begin(&l.poll)
	}
}

// proven: a WebSocket that was opened beside polls has had a round trip. Polls
// rest while it connects, for one that comes later would replace it.
func (l *loop) proven() {
	if l.poll.busy() {
		l.beside = l.ws.opening
		l.abandon(&l.poll)
	}
	if p := l.poller(); p != nil && p.pause() {
		l.beside = l.ws.opening
	}
	l.ws.openBy = l.now().Add(l.cfg.FallbackAfter)
	l.ask(&l.ws)
}

// ownDoing turns the end of a WebSocket by a poll of this very client, which was
// on its way when the WebSocket connected, into a reason to come back at once.
func (l *loop) ownDoing(c connection, err error) error {
	var closed *CloseError
	if c != l.beside || !errors.As(err, &closed) || closed.Code != godwit.CloseReplaced {
		return err
	}
	l.beside = nil
	if c == l.current && l.now().Sub(l.connected) > l.cfg.OpenTimeout {
		return err
	}
	l.patient = true
	return &attemptError{remedy: comeBack, err: fmt.Errorf("replaced by a poll of its own: %w", err)}
}

// failed does what is to be done when a track did not lead to a session.
func (l *loop) failed(t *track, err error) {
	switch {
	case l.cfg.Transport != Auto:
		l.retry(err)
	case t == &l.ws:
		l.webSocketFailed(err)
	default:
		l.pollFailed(err)
	}
}

func (l *loop) webSocketFailed(err error) {
	l.cfg.Logger.Debug("no WebSocket", "error", err)
	p := l.poller()
	switch {
	case p != nil:
		p.unpause()
		l.probeLater()
	case l.current != nil:
		l.retry(err) // a move; the old one still lives
	case l.poll.busy() || !l.retryAt.IsZero():
		l.wsErr = err
	case l.pollErr != nil:
		l.retry(bothFailed(err, l.pollErr))
	case fromServer(err):
		l.retry(err)
	default:
		l.wsErr, l.fallbackAt = err, time.Time{}
		l.begin(&l.poll)
	}
}

func (l *loop) pollFailed(err error) {
	l.cfg.Logger.Debug("no long-polling", "error", err)
	if l.current != nil {
		l.retry(err) // a move; the old one still lives
		return
	}
	l.prefer = WebSocket
	if l.ws.busy() && remedyFor(err) == giveUp {
		l.pollErr = err // no long-polling here: wait for the WebSocket
		return
	}
	l.retry(bothFailed(l.wsErr, err))
}

// bothFailed is why neither transport led to a session. What the poll met says
// what to do, unless it met a server or proxy that has no long-polling.
func bothFailed(ws, poll error) error {
	if ws == nil {
		return poll
	}
	name, decides, other := "websocket", poll, ws
	if remedyFor(poll) == giveUp && remedyFor(ws) != giveUp || fromServer(ws) {
		name, decides, other = "long-polling", ws, poll
	}
	return &attemptError{
		remedy: remedyFor(decides), reason: reasonOf(decides), err: fmt.Errorf("%w; %s: %w", decides, name, other),
	}
}

// fromServer reports whether it was a Godwit server that ended a WebSocket: then
// the way to it is fine, and another transport would hear the same.
func fromServer(err error) bool {
	var closed *CloseError
	var refused *attemptError
	switch {
	case errors.As(err, &refused):
		return refused.status == http.StatusUnauthorized
	case errors.As(err, &closed):
		return closed.Code >= 4000 && closed.Code < 5000
	}
	return false
}

// settle leaves one way to the session, the one that has just led to it.
func (l *loop) settle(c connection) {
	l.fallbackAt, l.retryAt, l.wsErr, l.pollErr = time.Time{}, time.Time{}, nil, nil
	if _, polls := c.(*poller); !polls {
		l.abandon(&l.poll)
		l.prefer, l.probeAt = WebSocket, time.Time{}
		return
	}
	l.prefer = LongPoll
	if l.ws.asked { // its reply would come too late: it would replace the poll
		l.abandon(&l.ws)
	}
	if !l.ws.busy() {
		l.probeLater()
	}
}

// probeLater sets when a WebSocket is tried again beside the polls.
func (l *loop) probeLater() {
	if l.cfg.Transport == Auto && l.probeAt.IsZero() {
		every := l.cfg.ProbeEvery
		l.probeAt = l.now().Add(every/2 + time.Duration(l.cfg.random(int64(every))))
	}
}
