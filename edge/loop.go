package edge

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/http1"
	"github.com/godwit-im/godwit/edge/ws"
	"github.com/panjf2000/gnet/v2"
)

// loop is one event loop's share of the edge. Everything but box and stats
// belongs to the loop's goroutine.
type loop struct {
	edge      *Edge
	index     int
	events    gnet.EventLoop // known from the loop's first connection on
	box       mailbox
	stats     counters
	sessions  table
	wheel     wheel
	now       uint32 // tick of the last look at the clock
	fired     []uint32
	out       outbox
	codec     codec
	request   http1.Request
	heading   *session // whose head request is, while it is read; else nil
	frame     godwit.ClientFrame
	spare     ws.Buffer          // lent to messages that come in parts or compressed
	plain     []byte             // what a tunnel decrypts within one callback
	sealed    []byte             // what a tunnel encrypts for one write
	shaking   int                // TLS handshakes under way
	queued    []godwit.SessionID // handshakes that wait for their turn; some may be gone
	lingering []godwit.SessionID // polls answered when the linger timer fires

	announcing announcing
	epochs     epochs
	spareKept  []*kept
}

const spareKeepBytes = 128 << 10

func (l *loop) id(s *session) godwit.SessionID { return makeID(s.form(), l.index, s.slot, s.gen) }

// adopt ties the loop to gnet's; from here on its mailbox can wake it.
func (l *loop) adopt(events gnet.EventLoop) {
	l.events = events
	l.catchUp()
	l.box.start(func() {
		_ = events.Execute(context.Background(), l)
	})
}

// Run is the mailbox's wake-up on the loop's goroutine.
func (l *loop) Run(context.Context) error {
	l.catchUp()
	l.drain()
	l.settle(false)
	return nil
}

// settle ends a callback. Items left over wait for the sockets first: asking
// gnet from here would run us again before it polls, so another goroutine asks.
func (l *loop) settle(awake bool) {
	if l.box.settle(awake) {
		l.edge.yielded <- l
	}
}

// drain handles what the mailbox holds, up to a portion, with one flush for
// each time it is emptied, and one for what the callback did before.
func (l *loop) drain() {
	for left := drainItems; left > 0 && l.box.refill(); {
		for ; left > 0; left-- {
			it := l.box.next()
			if it == nil {
				break
			}
			l.handle(it)
		}
		if l.box.cur.untold != nil && l.box.done() {
			l.closeUntold()
		}
		l.flush()
	}
	l.flush()
}

// handle does what one mailbox item asks. Items of sessions that are gone, or
// that have moved on, are dropped here.
//
//tidy:long one case for each kind of item
func (l *loop) handle(it *item) {
	switch it.kind {
	case itemGoaway:
		l.goaway(l.box.cur.notes[it.extra].(*goaway))
		return
	case itemPass:
		close(l.box.cur.notes[it.extra].(chan struct{}))
		return
	case itemShed:
		l.shed(int64(it.seq), it.extra != 0)
		return
	case itemLinger:
		l.lingered()
		return
	case itemHold:
		l.holdAll()
		return
	case itemAnnounce:
		l.announceAll(it.extra)
		return
	case itemAbandon:
		l.abandonAll()
		return
	case itemCloseAll:
		l.closeAll(closing{godwit.CloseCode(it.extra), string(l.box.cur.bytes(it))})
		return
	}
	s := l.sessions.find(it.session)
	switch it.kind {
	case itemFetched:
		l.fetched(s, it)
		return
	case itemShake:
		l.shook(s, it.extra != 0)
		return
	}
	if s == nil {
		return
	}
	switch it.kind {
	case itemHint:
		l.hint(s, it)
	case itemReply:
		switch s.state {
		case stateLive:
			l.replied(s, it)
		case stateCall:
			l.replyArrived(s, uint64(it.seq), l.box.cur.bytes(it))
		}
	case itemTell, itemWhisper:
		l.told(s, it)
	case itemConnected:
		l.connected(s, l.box.cur.notes[it.extra].(godwit.Welcome))
	case itemVerified:
		l.verified(s, l.box.cur.notes[it.extra].(verdict))
	case itemClose:
		l.closeAsked(s, godwit.CloseCode(it.extra), l.box.cur.bytes(it))
	case itemWeb:
		l.webAnswered(s, int(it.extra>>1), l.box.cur.bytes(it), it.extra&1 != 0)
	default:
		panic("BUG: mailbox item of unknown kind")
	}
	l.readOn(s)
}

// closeAsked ends a session as the chat tier wants.
func (l *loop) closeAsked(s *session, code godwit.CloseCode, reason []byte) {
	switch s.state {
	case stateLive, stateOpening:
		if code == godwit.CloseOverloaded && l.isAnnounced(s) {
			l.putOff(s)
			return
		}
		l.closeSession(s, closing{code, string(reason)})
	case statePoll, statePollOpening, stateCallOpening, stateCall:
		l.endExchange(s, code)
	}
}

// replied writes an answer, unless the client has one already.
func (l *loop) replied(s *session, it *item) {
	id, failed := uint64(it.seq), it.extra != 0
	if l.edge.cfg.Hold && !l.answered(s, id, failed) && id != 0 {
		return
	}
	s.inFlight -= min(s.inFlight, 1)
	if !failed || id != watchAgainID || !l.edge.cfg.Hold {
		l.emit(s, l.box.cur.bytes(it))
	}
}

// emit writes whole frames to a session; b stays as it is until the flush.
func (l *loop) emit(s *session, b []byte) {
	if len(b) > 0 {
		l.stats.framesOut.Add(1)
		l.out.emit(s, b)
	}
}

// emitFrame encodes and writes a frame made on the loop itself.
func (l *loop) emitFrame(s *session, f *godwit.ServerFrame) {
	dst, start := l.out.begin()
	l.stats.framesOut.Add(1)
	l.out.end(s, l.codec.appendFrame(dst, s.form(), f), start)
}

func (l *loop) hint(s *session, it *item) {
	if it.size == 0 {
		l.follow(s, s.flow.heard(l.window(s), it.to), nil)
		return
	}
	b := l.box.cur.bytes(it)
	l.follow(s, s.flow.hint(l.window(s), it.seq, it.to, len(b)), b)
	l.settlePoll(s, true)
}

// fetched walks the entries behind it in the mailbox, also when the session is
// gone (s nil): they must not be taken for items of their own.
func (l *loop) fetched(s *session, it *item) {
	alive := s != nil && (s.state == stateLive || s.state == statePoll)
	for range it.extra {
		entry := l.box.next()
		if alive {
			b := l.box.cur.bytes(entry)
			l.follow(s, s.flow.entry(l.window(s), entry.seq, entry.to, len(b)), b)
		}
	}
	if alive {
		l.follow(s, s.flow.fetched(l.window(s), it.seq, it.to != 0), nil)
		l.settlePoll(s, false)
		l.readOn(s)
	}
}

// window is what may be shown to the session before it acknowledges.
func (l *loop) window(s *session) window {
	if s.state == statePoll {
		w, told := l.edge.pollWindow, s.exchange.told
		return window{w.events - min(w.events, told.events), w.bytes - min(w.bytes, told.bytes)}
	}
	return l.edge.window
}

// follow does what the delivery machine wants; b is the entry it was shown.
func (l *loop) follow(s *session, next want, b []byte) {
	if next.write {
		l.stats.events.Add(1)
		if s.state == statePoll {
			l.showPoll(s, b)
		} else {
			l.emit(s, b)
		}
	}
	if next.resumed {
		l.emitFrame(s, &godwit.ServerFrame{Kind: godwit.KindResumed, Resumed: godwit.Resumed{Seq: s.flow.cursor}})
	}
	if next.fetch && s.attachment == l.edge.attachment.Load() { // else it is about to be held
		cfg := &l.edge.cfg
		events, bytes := s.flow.room(l.window(s))
		l.stats.fetches.Add(1)
		cfg.Chat.Fetch(l.id(s), s.user, s.flow.cursor, int(min(events, cfg.Limits.Page)), min(int(bytes), cfg.FetchBytesMax))
	}
}

// goaway is one frame in both encodings, as WebSocket frames.
type goaway struct{ framed [2][]byte }

func (l *loop) goaway(g *goaway) {
	l.sessions.each(func(s *session) {
		switch s.state {
		case stateLive:
			l.emit(s, g.framed[formOf(s.encoding)])
		case statePoll:
			l.answerPoll(s)
		}
	})
}

func (l *loop) closeAll(how closing) {
	l.sessions.each(func(s *session) { l.closeSession(s, how) })
}

// catchUp looks at the clock and fires the timers that are due.
func (l *loop) catchUp() {
	if now := l.edge.tick.Load(); now != l.now {
		l.now = now
		l.fired = l.wheel.advance(now, l.fired[:0])
		for _, slot := range l.fired {
			if s := l.sessions.at(slot); s.conn != nil {
				l.timer(s)
			}
		}
		if l.announcing.busy {
			l.announceSome()
		}
	}
}

// reached reports whether tick at has come; ticks wrap around.
func (l *loop) reached(at uint32) bool { return int32(l.now-at) >= 0 }

// arm sets the session's one timer to whatever comes first.
func (l *loop) arm(s *session) {
	due := s.deadline
	if s.state == stateLive {
		t := &l.edge.ticks
		due = s.pingAt
		for _, at := range []uint32{s.checkAt, s.heardAt + t.silence, l.now + l.expiresIn(s)} {
			if int32(at-due) < 0 {
				due = at
			}
		}
	} else if s.state == stateClosing && s.hangUp {
		due = l.now + lingerTicks
	} else if s.state == statePoll && int32(s.checkAt-due) < 0 {
		due = s.checkAt
	}
	l.wheel.set(s.slot, due)
}

// lingerTicks is how often a hung-up connection with output left is looked at.
const lingerTicks = 2

// expiresIn is the time to the token's end in ticks, at most expiryLookTicks:
// the wall clock may be set meanwhile, so a far end is looked at again.
func (l *loop) expiresIn(s *session) uint32 {
	if s.expires == 0 {
		return expiryLookTicks
	}
	left := s.expires - l.edge.cfg.Clock()
	if left <= 0 {
		return 0
	}
	return uint32(min(left/tickMS+1, expiryLookTicks))
}

const expiryLookTicks = 3600 * 1000 / tickMS

// timer does what is due for a session and arms its timer again.
func (l *loop) timer(s *session) {
	if s.state == stateLive {
		l.liveTimer(s)
	} else if l.reached(s.deadline) {
		l.overdue(s)
	} else if s.state == stateClosing && s.hangUp {
		l.touch(s)
	} else if s.state == statePoll && l.reached(s.checkAt) {
		s.checkAt = l.now + compareIn(l.edge.ticks.compare)
		l.follow(s, s.flow.compare(l.window(s)), nil)
	}
	if s.conn != nil {
		l.arm(s)
	}
}

// overdue ends a session that did not get on in time.
func (l *loop) overdue(s *session) {
	switch s.state {
	case stateHead:
		if s.conn.InboundBuffered() > 0 {
			l.refuse(s, 408, "The request head did not arrive in time.")
		} else {
			l.drop(s)
		}
	case stateVerifying:
		l.refuse(s, 503, "The token could not be checked in time; try again.")
	case stateFirst:
		if s.bearer {
			l.open(s)
		} else {
			l.closeSession(s, closeNoToken)
		}
	case stateToken:
		l.closeSession(s, overloaded())
	case stateOpening:
		l.closeSession(s, closeNoAnswer)
	case stateClosing:
		l.drop(s)
	case stateEcho:
		l.keepEcho(s)
	case statePollOpening, statePoll, stateCallOpening, stateCall, stateWeb:
		l.overdueExchange(s)
		l.readOn(s)
	default:
		panic("BUG: deadline in an unexpected state")
	}
}

// liveTimer is the heartbeat: the token's end, silence, ping, head compare.
func (l *loop) liveTimer(s *session) {
	t := &l.edge.ticks
	switch {
	case s.expires != 0 && l.edge.cfg.Clock() >= s.expires:
		l.closeSession(s, closeTokenExpired)
		return
	case l.reached(s.heardAt + t.silence):
		l.closeSession(s, closePingTimeout)
		return
	}
	if l.reached(s.pingAt) {
		s.pingAt = l.now + jitter(t.ping)
		l.emit(s, l.edge.pings[formOf(s.encoding)])
	}
	if l.reached(s.checkAt) {
		s.checkAt = l.now + compareIn(t.compare)
		l.watchAgain(s)
		l.follow(s, s.flow.compare(l.edge.window), nil)
	}
}

// tickCounts are the configured times in ticks.
type tickCounts struct {
	ping, silence, compare, head, token, answer, close, idle uint32
}

func newTickCounts(c *Config) tickCounts {
	return tickCounts{
		ping: ticks(c.PingEvery), silence: ticks(c.PingEvery * 3 / 2), compare: ticks(c.CompareEvery),
		head: ticks(c.HeadTimeout), token: ticks(c.TokenTimeout), answer: ticks(c.AnswerTimeout), close: ticks(c.CloseTimeout), idle: ticks(c.IdleTimeout),
	}
}

// jitter spreads a time by 20 % to both sides.
func jitter(t uint32) uint32 { return t - t/5 + rand.Uint32N(2*(t/5)+1) }

// compareIn spreads head compares below their bound.
func compareIn(t uint32) uint32 { return t - rand.Uint32N(t/5+1) }

// ping in seconds, as the connect reply tells it.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }
