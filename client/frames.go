package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/lxzan/gws"
)

// pingDefault is the server's heartbeat when its connect reply names none.
const pingDefault = 25 * time.Second

// heard notes a sign of life: a server that says nothing for two heartbeats is
// gone, whatever the socket believes. A poller knows how long its requests take.
func (l *loop) heard() {
	if l.poller() != nil {
		l.silentAt = time.Time{}
		return
	}
	ping := time.Duration(l.state.Welcome.Ping) * time.Second
	if ping == 0 {
		ping = pingDefault
	}
	l.silentAt = l.now().Add(2 * ping)
}

// handle takes the frames or the end of one connection. Those that were left or
// given up have nothing to say.
func (l *loop) handle(e event) {
	if e.err != nil {
		var closed *gws.CloseError
		if errors.As(e.err, &closed) {
			e.err = newCloseError(closed)
		}
		l.lost(e.from, e.err)
		return
	}
	if e.pong {
		if e.from == l.ws.opening && !l.ws.asked {
			l.proven()
		}
		return
	}
	for i := range e.frames {
		if t := l.trackOf(e.from); t != nil {
			l.handshake(t, &e.frames[i])
		} else if e.from == l.current {
			l.frame(&e.frames[i])
		}
	}
	if e.from != l.current {
		return
	}
	if e.held != nil {
		l.takeBack(e.from.(*poller), e.held)
	}
	l.heard()
	l.c.setHead(max(l.liveAt, l.feed.cursor, l.feed.owed))
	l.caughtUp()
	l.ackSoon()
	l.flush()
}

// caughtUp ends the replay when nothing of it is missing any more.
func (l *loop) caughtUp() {
	l.channels.openGates()
	if l.state.Phase == Replaying && l.current != nil && l.replayPhase() == Live {
		l.channels.hold(false)
		l.show(Live, time.Time{}, nil)
	}
}

// handshake takes a frame before the connect reply.
func (l *loop) handshake(t *track, f *godwit.ServerFrame) {
	switch f.Kind {
	case godwit.KindConnect:
		l.welcome(t, &f.Connect)
	case godwit.KindPing:
		l.write(t.opening, &godwit.ClientFrame{Kind: godwit.KindPing})
	case godwit.KindError: // a close frame follows and says what to do
		l.cfg.Logger.Debug("connect refused", "code", f.Error.Code, "message", f.Error.Message)
	default:
		l.lost(t.opening, fmt.Errorf("a frame of kind %d before the connect reply: %w", f.Kind, godwit.ErrFrameInvalid))
	}
}

// frame takes a frame of the established session.
func (l *loop) frame(f *godwit.ServerFrame) {
	switch f.Kind {
	case godwit.KindPing:
		l.write(l.current, &godwit.ClientFrame{Kind: godwit.KindPing})
	case godwit.KindEvent:
		l.event(f.Event)
	case godwit.KindSkip:
		l.pushed = max(l.pushed, f.Skip.To)
		l.feed.offer(godwit.Entry{Seq: f.Skip.From, SkipTo: f.Skip.To})
	case godwit.KindResumed:
		l.feed.owed = max(l.feed.owed, f.Resumed.Seq) // whatever the replay left out
	case godwit.KindChannel:
		l.channels.start(&f.Channel, l.cfg.CatchUp == Snapshot && l.cfg.Since == nil)
		l.c.beginChannel(godwit.ConversationID(f.Channel.Conv), f.Channel.GSeq)
	case godwit.KindEphemeral:
		l.ephemeral(&f.Ephemeral)
	case godwit.KindGoaway:
		l.move(&f.Goaway)
	case godwit.KindError:
		l.refused(f)
	case godwit.KindPresence:
		if f.ID == 0 {
			l.seen(f.Presence.Users)
			return
		}
		l.answered(f)
	default:
		l.answered(f)
	}
}

func (l *loop) answered(f *godwit.ServerFrame) {
	if f.ID != 0 && f.ID == l.queue.fetch {
		l.queue.fetch = 0
		l.fetched(f)
		return
	}
	if r := l.queue.answer(f.ID); r != nil {
		if r.wants != f.Kind {
			r.maybe = true
			l.lost(l.current, fmt.Errorf("request %d answered by kind %d: %w", f.ID, f.Kind, godwit.ErrFrameInvalid))
			return
		}
		l.queue.finish(r, f)
	}
}

func (l *loop) refused(f *godwit.ServerFrame) {
	if f.ID != 0 && f.ID == l.queue.fetch {
		l.queue.fetch = 0
		if !f.Error.Temporary {
			l.lost(l.current, fmt.Errorf("fetch a gap: %w", refusal(&f.Error)))
			return
		}
		l.queue.holdFetch(l.now(), &f.Error)
		return
	}
	if r := l.queue.answer(f.ID); r != nil {
		l.queue.refuse(r, l.now(), &f.Error)
		return
	}
	l.cfg.Logger.Debug("error frame", "code", f.Error.Code, "message", f.Error.Message)
}

// takeBack postpones what follows a refused POST and would overtake it.
func (l *loop) takeBack(p *poller, h *held) {
	for _, c := range p.release(h.whole) {
		if c.id == l.queue.fetch {
			l.queue.fetch = 0
			l.queue.holdFetch(l.now(), &h.reply)
		} else if r := l.queue.answer(c.id); r != nil {
			l.queue.postpone(r, l.now(), &h.reply)
		}
	}
}

var errNoProgress = errors.New("client: the server owes entries and does not give them")

// fetched takes a page that fills a hole.
func (l *loop) fetched(f *godwit.ServerFrame) {
	if f.Kind != godwit.KindSync {
		l.lost(l.current, fmt.Errorf("fetch answered by kind %d: %w", f.Kind, godwit.ErrFrameInvalid))
		return
	}
	for _, e := range f.Sync.Entries {
		l.feed.offer(e)
	}
	if since, owed := l.feed.missing(l.queue.page); owed && since == l.queue.fetchSince {
		l.lost(l.current, errNoProgress)
	}
}

// flush sends what may go out now.
func (l *loop) flush() {
	if l.current == nil {
		return
	}
	now := l.now()
	if since, owed := l.feed.missing(l.queue.page); owed && l.queue.mayFetch(now) {
		f := godwit.ClientFrame{ID: l.queue.nextID(), Kind: godwit.KindSync}
		f.Sync.Since, f.Sync.Limit = since, uint32(l.queue.page)
		l.queue.fetch, l.queue.fetchSince = f.ID, since
		if !l.write(l.current, &f) {
			return
		}
	}
	l.askGates()
	l.fetchChannels()
	for r := l.queue.next(now); r != nil; r = l.queue.next(now) {
		l.queue.launch(r)
		switch err := l.current.write(&r.frame); err {
		case nil:
		case godwit.ErrTooLarge:
			l.queue.reject(l.queue.answer(r.frame.ID), godwit.ErrTooLarge)
		default:
			l.lost(l.current, err)
			return
		}
	}
}
