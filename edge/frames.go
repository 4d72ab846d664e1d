package edge

import (
	"errors"
	"unsafe"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

// readFrames takes WebSocket messages and control frames from what has arrived.
// Payload is unmasked in place, so everything consumed is given back to gnet.
func (l *loop) readFrames(s *session) {
	window, _ := s.conn.Peek(-1)
	buf := &l.spare
	if s.lent != nil {
		buf = s.lent
	}
	used, copied := 0, 0
	if s.need > 1 {
		copied = len(window) // gnet joined what was left with what came
	}
	s.need = 0
	state := s.state
	for used < len(window) && s.state == state {
		ev, n, need, err := s.reader.Message(l.wsConfig(s), window[used:], buf)
		used += n
		if err != nil {
			l.brokenWS(s, err)
			break
		}
		if need > 0 {
			s.need = uint32(need)
			break
		}
		if !within(window, ev.Payload) { // it came in parts, or compressed
			copied += len(ev.Payload)
		}
		l.event(s, ev)
	}
	l.keepPartial(s)
	if copied += len(window) - used; copied > 0 {
		l.stats.copiedIn.Add(uint64(copied))
	}
	l.discard(s, used)
}

// within reports whether part lies in the memory of whole.
func within(whole, part []byte) bool {
	first, at := uintptr(unsafe.Pointer(unsafe.SliceData(whole))), uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	return len(part) == 0 || at >= first && at-first < uintptr(len(whole))
}

// keepPartial leaves the spare buffer with a session in the middle of a message
// and takes it back from one that is not.
func (l *loop) keepPartial(s *session) {
	switch partial := s.reader.Partial(); {
	case partial && s.lent == nil:
		s.lent = l.spare.Lend(&s.reader)
	case !partial && s.lent != nil:
		l.spare.Reclaim(s.lent, spareKeepBytes)
		s.lent = nil
	}
	l.spare.Trim(spareKeepBytes)
}

// brokenWS answers a breach of RFC 6455 or of the size limit, after which the
// client's close frame cannot be made out any more (RFC 6455 section 7.1.7).
func (l *loop) brokenWS(s *session, err error) {
	var e *ws.Error
	if !errors.As(err, &e) {
		panic("BUG: an error of ws that is not its own: " + err.Error())
	}
	if s.state != stateClosing {
		l.closeSession(s, closing{godwit.CloseCode(e.Code), e.Reason})
		s.hangUp = true
		l.arm(s)
	}
}

func (l *loop) event(s *session, ev ws.Event) {
	switch ev.Op {
	case ws.Close:
		l.answerClose(s, ev.Code)
	case ws.Ping:
		l.countControl(s)
		l.answerPing(s, ev.Payload)
	case ws.Pong:
		l.countControl(s)
	default:
		switch {
		case s.state == stateClosing:
		case s.state == stateEcho:
			l.echo(s, ev.Op, ev.Payload)
		case ev.Op != opcode(s.encoding):
			l.closeSession(s, closeOpcode)
		default:
			l.message(s, ev.Payload)
		}
	}
}

// countControl bounds the work a flood of control frames makes.
func (l *loop) countControl(s *session) {
	if s.ctlAt != l.now {
		s.ctlAt, s.ctls = l.now, 0
	}
	if s.ctls++; s.ctls > controlsPerTick {
		l.closeSession(s, closeControls)
	}
}

// answerPing answers every ping by itself (RFC 6455 section 5.5.3).
func (l *loop) answerPing(s *session, payload []byte) {
	if s.state != stateClosing {
		dst, start := l.out.begin()
		l.out.end(s, ws.AppendFrame(dst, ws.Pong, payload), start)
	}
}

// message takes the godwit frames of one WebSocket message. It aliases the
// window or a lent buffer.
func (l *loop) message(s *session, rest []byte) {
	for len(rest) > 0 && (s.state == stateFirst || s.state == stateLive) {
		before := rest
		var frame []byte
		var err error
		if frame, rest, err = godwit.NextFrame(s.encoding, rest); err != nil {
			l.badFrame(s, 0, err)
			return
		}
		l.stats.framesIn.Add(1)
		err = l.frame.Parse(s.encoding, frame)
		if err != godwit.ErrFrameMalformed && l.paceFrame(s, l.frame.ID, len(frame)) { // nothing after that can be read
			continue
		}
		if err != nil {
			l.badFrame(s, l.frame.ID, err)
			continue
		}
		if s.state == stateLive {
			l.liveFrame(s, &l.frame)
		} else {
			l.firstFrame(s, &l.frame, before, rest)
		}
	}
}

// badFrame answers a frame that cannot be used. When the encoding itself is
// broken nothing that follows can be trusted, so the session ends too; and so
// it does before it is live, as there is nothing to go on with.
func (l *loop) badFrame(s *session, id uint64, err error) {
	var e *godwit.Error
	if !errors.As(err, &e) {
		panic("BUG: a frame error that is not of the public table: " + err.Error())
	}
	l.refuseFrame(s, id, e, 0)
	switch {
	case e == godwit.ErrFrameMalformed:
		l.closeSession(s, closeMalformed)
	case s.state != stateLive:
		l.closeSession(s, closeInvalid)
	}
}

func (l *loop) refuseFrame(s *session, id uint64, e *godwit.Error, retryAfterMS uint32) {
	l.emitFrame(s, &godwit.ServerFrame{ID: id, Kind: godwit.KindError, Error: e.Reply(retryAfterMS)})
}

// liveFrame does what is the edge's own and passes requests on.
func (l *loop) liveFrame(s *session, f *godwit.ClientFrame) {
	switch f.Kind {
	case godwit.KindPing:
	case godwit.KindAck:
		next, ok := s.flow.ack(l.edge.window, f.Ack.Seq)
		if !ok {
			l.refuseFrame(s, f.ID, godwit.ErrFrameInvalid, 0)
			return
		}
		l.follow(s, next, nil)
	case godwit.KindRefresh:
		l.refresh(s, f)
	case godwit.KindConnect:
		l.refuseFrame(s, f.ID, godwit.ErrFrameInvalid, 0)
		l.closeSession(s, closeOutOfTurn)
	default:
		if isRequest(f.Kind) {
			l.requestFrame(s, f)
		} else {
			l.refuseFrame(s, f.ID, godwit.ErrFrameUnknown, 0)
		}
	}
}

// isRequest reports whether frames of a kind are the chat tier's.
func isRequest(kind godwit.FrameKind) bool {
	switch kind {
	case godwit.KindSend, godwit.KindSync, godwit.KindHistory, godwit.KindConversations, godwit.KindPresence,
		godwit.KindMark, godwit.KindTyping, godwit.KindGroup, godwit.KindEdit, godwit.KindRecall,
		godwit.KindDevice, godwit.KindBlock, godwit.KindContact, godwit.KindConversation:
		return true
	}
	return false
}

// isAnswered reports whether the chat tier answers a request: it owes none to a
// mark or a notice of typing that has no id.
func isAnswered(f *godwit.ClientFrame) bool {
	return f.ID != 0 || f.Kind != godwit.KindMark && f.Kind != godwit.KindTyping
}

// requestFrame holds the session to its limits before the chat tier hears of it.
func (l *loop) requestFrame(s *session, f *godwit.ClientFrame) {
	limits := &l.edge.cfg.Limits
	hold := l.edge.cfg.Hold
	switch {
	case s.attachment != l.edge.attachment.Load() || s.held:
		l.refuseHeld(s, f)
		return
	case hold && f.ID == watchAgainID:
		l.refuseFrame(s, f.ID, godwit.ErrFrameInvalid, 0)
		return
	}
	if uint32(s.inFlight) >= limits.InFlight {
		l.refuseFrame(s, f.ID, godwit.ErrRateLimited, inFlightRetryMS)
		return
	}
	if f.Kind == godwit.KindSend && limits.SendPerS > 0 {
		if wait := s.takeToken(l.now, limits.SendPerS); wait > 0 {
			l.refuseFrame(s, f.ID, godwit.ErrRateLimited, wait)
			return
		}
	}
	if isAnswered(f) {
		s.inFlight++
		if hold {
			l.ask(s, f)
		}
	}
	l.edge.cfg.Chat.Request(l.id(s), s.user, f)
}
