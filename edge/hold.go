package edge

import (
	"math/rand/v2"

	"github.com/godwit-im/godwit"
)

// While the chat tier is away its sessions are held: Hold, then Announce or
// Abandon. A held session shows its client nothing, does nothing for it and says
// so, and is opened again where it stood; its client notices a pause.
//
// An attachment is one life of the chat tier, as seen from here. A session may ask
// for something if it was opened by the attachment of now: what is asked for in
// another's name, by a client that was replaced or logged out meanwhile, can't be
// told from what may be asked.

// Hold says that the chat tier is gone, and with it all that it was asked and did
// not answer. What Connect began has ended without a Disconnect. Sessions that are
// live are held; what was to be opened, and what a request waits for, is answered
// as by a chat tier that goes. Config.Hold must be set.
func (e *Edge) Hold() {
	e.attachment.Add(1)
	for _, l := range e.loops {
		l.box.put(item{kind: itemHold}, nil)
	}
}

// Announce has the sessions that are held opened again, Config.AnnouncePerS of them
// a second: Chat.Connect is called for each, with Hello.Again.
func (e *Edge) Announce() {
	attachment := e.attachment.Load()
	for _, l := range e.loops {
		l.box.put(item{kind: itemAnnounce, extra: attachment}, nil)
	}
}

// Abandon closes the sessions that are held. They may come back as newcomers.
func (e *Edge) Abandon() {
	for _, l := range e.loops {
		l.box.put(item{kind: itemAbandon}, nil)
	}
}

// closeLost is how a session ends that can't go on as if nothing had happened: its
// client comes back and resumes.
var closeLost = closingOf(godwit.CloseRebalance, "engine_lost", 0)

// announcing is what one loop has to announce.
type announcing struct {
	attachment uint32
	next       uint32 // slot to look at
	busy       bool   // slots are left
	open       int    // announced and not answered
}

// Bounds of one look at the sessions of a loop.
const (
	announceSlotsMax = 32 << 10 // looked at
	announceOpenMax  = 512      // announced and not answered; the others wait
)

// holdAll is Hold on the loop.
func (l *loop) holdAll() {
	l.announcing = announcing{}
	now := l.edge.attachment.Load()
	l.sessions.each(func(s *session) {
		if s.attachment != now {
			l.hold(s)
			l.readOn(s)
		}
	})
}

func (l *loop) hold(s *session) {
	switch s.state {
	case stateLive:
		if !s.held {
			s.held = true
			l.stats.held.Add(1)
		}
		s.flow.pause()
		l.answerAsked(s)
	case stateOpening:
		l.closeSession(s, closeLost)
	case statePollOpening, statePoll, stateCallOpening:
		l.endExchange(s, closeLost.code)
	case stateCall:
		l.lateReplies(s)
	}
}

// answerAsked answers what the chat tier was asked for and will not answer: what
// may have been done is unknown, the rest was not done.
func (l *loop) answerAsked(s *session) {
	s.inFlight = 0
	if s.kept == nil {
		return
	}
	for _, a := range s.kept.asked {
		switch {
		case a.id == watchAgainID:
			s.kept.watches = true
		case a.id == 0:
		case a.doubtful:
			l.refuseFrame(s, a.id, godwit.ErrUnknown, heldRetryMS())
		default:
			l.refuseFrame(s, a.id, godwit.ErrUnavailable, heldRetryMS())
		}
	}
	clear(s.kept.asked)
	s.kept.asked = s.kept.asked[:0]
	l.letGo(s)
}

// heldRetryMS is when it may be worth to ask again.
func heldRetryMS() uint32 { return 500 + rand.Uint32N(1000) }

// refuseHeld answers a request of a session that is held.
func (l *loop) refuseHeld(s *session, f *godwit.ClientFrame) {
	l.stats.heldRefused.Add(1)
	if isAnswered(f) {
		l.refuseFrame(s, f.ID, godwit.ErrUnavailable, heldRetryMS())
	}
}

// announceAll is Announce on the loop.
func (l *loop) announceAll(attachment uint32) {
	if attachment == l.edge.attachment.Load() {
		l.announcing = announcing{attachment: attachment, busy: true}
		l.announceSome()
	}
}

// announceSome announces a tick's share of the sessions that are held.
func (l *loop) announceSome() {
	a := &l.announcing
	if a.attachment != l.edge.attachment.Load() {
		a.busy = false // it is gone again
		return
	}
	n := l.edge.announcePerTick
	for looked := 0; n > 0 && a.open < announceOpenMax && looked < announceSlotsMax; looked++ {
		if int(a.next) >= l.sessions.slots() {
			a.busy = false
			return
		}
		s := l.sessions.at(a.next)
		a.next++
		if s.state == stateLive && s.held && s.attachment != a.attachment {
			n--
			l.announce(s)
		}
	}
}

// announce asks the chat tier to open a session as it stands.
func (l *loop) announce(s *session) {
	hello := Hello{
		User: s.user, Device: s.device, Resume: true, Epoch: l.epochs.names[s.epoch], ResumeSeq: s.flow.cursor,
		Issued: s.issued, Stamp: s.stamp, Again: true,
	}
	if s.kept != nil {
		hello.Channels, _ = takePlaces(s.kept.channels) // the receiver's own
	}
	s.attachment = l.announcing.attachment
	s.joined = true
	l.announcing.open++
	l.edge.cfg.Chat.Connect(l.id(s), hello)
}

// putOff has a session announced again that the chat tier had no room for.
func (l *loop) putOff(s *session) {
	a := &l.announcing
	l.unannounced(s)
	s.attachment--
	s.joined = false
	l.edge.cfg.Chat.Disconnect(l.id(s), s.user, s.device)
	a.next, a.busy = min(a.next, s.slot), true
}

// isAnnounced tells whether the chat tier was asked to open the session again.
func (l *loop) isAnnounced(s *session) bool {
	return s.held && s.attachment == l.announcing.attachment && s.attachment == l.edge.attachment.Load()
}

// knowPlaces notes where a session that is live now stands. Without a resume its
// channels begin where it is told.
func (l *loop) knowPlaces(s *session, w *godwit.Welcome) {
	if !l.edge.cfg.Hold {
		return
	}
	s.epoch = l.epochs.of(w.Epoch)
	if s.kept != nil && !w.Resumed {
		s.kept.channels = nil
		l.letGo(s)
	}
}

// unannounced counts a session out that was announced, and answered or closed.
func (l *loop) unannounced(s *session) {
	if s.held && s.attachment == l.announcing.attachment && l.announcing.open > 0 {
		l.announcing.open--
	}
}

// reopened lets a session go on from where it stood.
func (l *loop) reopened(s *session, w *godwit.Welcome) {
	if !l.isAnnounced(s) {
		return // an answer of an attachment that is gone
	}
	if !w.Resumed {
		l.closeSession(s, closeLost)
		return
	}
	l.unheld(s)
	l.stats.reopened.Add(1)
	if s.kept != nil && len(s.kept.watch) > 0 {
		s.kept.watches = true
		s.checkAt = l.now + watchAgainTicks + rand.Uint32N(watchAgainTicks)
		l.arm(s)
	}
	l.follow(s, s.flow.reopened(l.edge.window, w.Head), nil)
}

func (l *loop) unheld(s *session) {
	if s.held {
		l.unannounced(s)
		s.held = false
		l.stats.held.Add(-1)
	}
}

// abandonAll is Abandon on the loop.
func (l *loop) abandonAll() {
	l.announcing = announcing{}
	l.sessions.each(func(s *session) {
		if s.held {
			l.closeSession(s, closeLost)
		}
	})
}
