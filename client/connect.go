package client

import (
	"context"
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

// opened is the result of an attempt: a socket that speaks WebSocket, or why not.
type opened struct {
	socket *socket
	token  string
	err    error
}

// close drops a socket whose goroutines were never started.
func (o opened) close() {
	if o.socket != nil {
		_ = o.socket.conn.NetConn().Close()
	}
}

// open starts an attempt unless one is under way. While current lives this makes
// the new connection before the old one breaks.
func (l *loop) open() {
	if l.stopped || l.attempt != nil || l.opening != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.attempt = cancel
	l.openBy = l.now().Add(l.cfg.OpenTimeout)
	l.retryAt, l.moveAt = time.Time{}, time.Time{}
	address := l.address
	l.address = l.cfg.URL // another address is tried once
	if l.current == nil {
		l.show(Connecting, time.Time{}, l.state.Err)
	}
	l.ended.Go(func() {
		token, err := l.cfg.Token, error(nil)
		if l.cfg.TokenSource != nil {
			if token, err = l.cfg.TokenSource(ctx); err != nil {
				l.opened <- opened{err: fmt.Errorf("get token: %w", err)}
				return
			}
		}
		s, err := openSocket(ctx, l.cfg, address, l.events)
		l.opened <- opened{s, token, err}
	})
}

func (l *loop) attemptDone(o opened) {
	l.attempt()
	l.attempt = nil
	switch {
	case o.err != nil:
		l.openBy = time.Time{}
		if !l.stopped {
			l.retry(o.err)
		}
		return
	case l.stopped:
		o.close()
		return
	}
	l.opening = o.socket
	l.sockets[o.socket] = struct{}{}
	o.socket.start(&l.ended)
	f := godwit.ClientFrame{ID: l.queue.nextID(), Kind: godwit.KindConnect}
	f.Connect.Token, f.Connect.Device = []byte(o.token), []byte(l.cfg.Device)
	if l.feed.epoch != "" {
		f.Connect.Resume = godwit.Resume{Set: true, Epoch: []byte(l.feed.epoch), Seq: l.feed.cursor}
	}
	l.write(o.socket, &f)
}

// lost ends a connection of which nothing more is expected.
func (l *loop) lost(s *socket, err error) {
	s.discard()
	delete(l.sockets, s)
	switch s {
	case l.opening:
		l.opening, l.openBy = nil, time.Time{}
		l.retry(err)
	case l.current:
		l.current, l.silentAt, l.ackAt = nil, time.Time{}, time.Time{}
		l.queue.connectionLost()
		if l.now().Sub(l.connected) >= l.cfg.StableAfter {
			l.backoff.reset()
		}
		var closed *CloseError
		replaced := errors.As(err, &closed) && closed.Code == godwit.CloseReplaced
		switch {
		case l.opening != nil && (replaced || remedyFor(err) != giveUp):
			l.show(Connecting, time.Time{}, err) // by our own new connection, most likely
		case l.attempt != nil && remedyFor(err) != giveUp:
			l.show(Connecting, time.Time{}, err)
		default:
			l.retry(err)
		}
	}
}

func remedyFor(err error) remedy {
	var closed *CloseError
	var refused *attemptError
	switch {
	case errors.As(err, &closed):
		return remedyOf(uint16(closed.Code))
	case errors.As(err, &refused):
		return refused.remedy
	}
	return backOff
}

func reasonOf(err error) closeReason {
	var closed *CloseError
	var refused *attemptError
	switch {
	case errors.As(err, &closed):
		return closed.details
	case errors.As(err, &refused):
		return refused.reason
	}
	return closeReason{}
}

// retry does what the end of a connection or attempt asks for.
func (l *loop) retry(err error) {
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
func (l *loop) welcome(s *socket, r *godwit.ConnectReply) {
	if r.Epoch == "" {
		l.lost(s, fmt.Errorf("connect reply without epoch: %w", godwit.ErrFrameInvalid))
		return
	}
	if old := l.current; old != nil {
		old.finish() // its reader ends it; its events are no longer heeded
		l.queue.connectionLost()
	}
	l.current, l.opening, l.openBy, l.moveAt = s, nil, time.Time{}, time.Time{}
	l.connected, l.liveAt = l.now(), r.Seq
	s.limit(int(r.Limits.Frame))
	l.queue.limits(&r.Limits)
	l.align(r)
	l.c.setPlace(l.feed.epoch, l.feed.cursor, r.Seq)
	l.state.Welcome = *r
	l.heard()
	l.show(l.replayPhase(), time.Time{}, nil)
	l.flush()
}

// align moves the feed to where the server goes on.
func (l *loop) align(r *godwit.ConnectReply) {
	f, head := &l.feed, Position{r.Epoch, r.Seq}
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
	l.moveAt = l.now().Add(time.Duration(g.AfterMS)*time.Millisecond + spread)
	if u, err := url.Parse(g.URL); err == nil && u.Host != "" && strings.HasPrefix(l.cfg.URL, u.Scheme+"://") {
		l.address = g.URL
	}
}
