package edge

import (
	"strconv"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

// closing says how a session ends: the code, and the reason as the close frame
// carries it: {"reason":"…","retry_after_ms":…}, plain words for RFC codes.
type closing struct {
	code   godwit.CloseCode
	reason string
}

func closingOf(code godwit.CloseCode, reason string, retryAfterMS int) closing {
	return closing{code, string(appendReason(nil, reason, retryAfterMS))}
}

// How the edge itself ends sessions.
var (
	closeMalformed    = closingOf(godwit.CloseProtocol, "malformed", 0)
	closeOutOfTurn    = closingOf(godwit.CloseProtocol, "out_of_turn", 0)
	closeInvalid      = closingOf(godwit.CloseProtocol, "invalid_connect", 0)
	closeNoToken      = closingOf(godwit.CloseNoToken, "no_token", 0)
	closeTokenInvalid = closingOf(godwit.CloseTokenInvalid, "token_invalid", 0)
	closeTokenExpired = closingOf(godwit.CloseTokenExpired, "token_expired", 0)
	closeTooEager     = closingOf(godwit.CloseRateLimited, "too_much_ahead", 1000)
	closeSlowConsumer = closingOf(godwit.CloseSlowConsumer, "slow_consumer", 1000)
	closeNoAnswer     = closingOf(godwit.CloseInternal, "no_answer", 1000)
	closePingTimeout  = closingOf(godwit.ClosePingTimeout, "ping_timeout", 0)
	closeOpcode       = closing{godwit.CloseCode(ws.CodeUnsupported), "message type does not fit the subprotocol"}
	closeControls     = closing{godwit.CloseCode(ws.CodePolicy), "too many control frames"}
)

const reasonBytesMax = 64

// appendReason writes a close reason. Only plain characters of the word are
// kept, so that it needs no escaping and the whole fits a close frame.
func appendReason(dst []byte, word string, retryAfterMS int) []byte {
	dst = append(dst, `{"reason":"`...)
	for i := range min(len(word), reasonBytesMax) {
		if c := word[i]; c >= ' ' && c < 0x7F && c != '"' && c != '\\' {
			dst = append(dst, c)
		}
	}
	dst = append(dst, '"')
	if retryAfterMS > 0 {
		dst = append(dst, `,"retry_after_ms":`...)
		dst = strconv.AppendInt(dst, int64(retryAfterMS), 10)
	}
	return append(dst, '}')
}

// closeSession writes a close frame and waits for the client's, or for the
// deadline. A connection that is not upgraded is simply hung up.
func (l *loop) closeSession(s *session, how closing) {
	if s.state == stateClosing || s.conn == nil {
		return
	}
	if s.exchange != nil {
		s.exchange.keep = false
		l.endExchange(s, how.code)
		return
	}
	if !s.upgraded {
		l.enterClosing(s)
		s.hangUp = true
		l.touch(s)
		return
	}
	l.stats.countClose(how.code)
	dst, start := l.out.begin()
	l.out.end(s, ws.AppendClose(dst, ws.CloseCode(how.code), how.reason), start)
	l.enterClosing(s)
}

// answerClose ends a session whose client sent a close frame: the same code
// back, then the server hangs up first (RFC 6455 sections 5.5.1 and 7.1.1).
func (l *loop) answerClose(s *session, code ws.CloseCode) {
	if s.state != stateClosing {
		dst, start := l.out.begin()
		l.out.end(s, ws.AppendClose(dst, code, ""), start)
		l.enterClosing(s)
	}
	s.hangUp, s.agreed = true, true
	l.touch(s)
}

// enterClosing takes the session away from the chat tier and starts the last
// deadline. From here on input is thrown away.
func (l *loop) enterClosing(s *session) {
	l.part(s)
	s.state, s.need = stateClosing, 0
	s.deadline = l.now + l.edge.ticks.close
	l.arm(s)
}

// part ends what Chat.Connect began.
func (l *loop) part(s *session) {
	l.endHandshake(s)
	polled := s.exchange != nil
	l.unheld(s)
	if s.kept != nil {
		clear(s.kept.asked)
		*s.kept = kept{asked: s.kept.asked[:0]}
		l.letGo(s)
	}
	switch s.state {
	case stateLive:
		l.stats.sessions.Add(-1)
	case statePoll:
		l.stats.polls.Add(-1)
	}
	s.flow.live = false
	s.opening, s.exchange = nil, nil
	if s.joined {
		s.joined = false
		l.edge.cfg.Chat.Disconnect(l.id(s), s.user, s.device)
		l.edge.cfg.Sessions.Ended(l.id(s), s.user, s.device, s.stamp, polled)
	}
}

// touch has the flush look at the session even if it wrote nothing.
func (l *loop) touch(s *session) { l.out.dirty = append(l.out.dirty, s) }

// finish closes the connection after its last output was written. A client that
// has not agreed to that may still be sending, and unread input would turn the
// close into a reset that destroys our last words: shut down our half and wait
// for its end.
func (l *loop) finish(s *session) {
	if s.agreed {
		l.drop(s)
		return
	}
	if s.state != stateClosing {
		l.enterClosing(s)
	}
	if !s.shut && s.conn.OutboundBuffered() == 0 {
		s.shut, s.hangUp = true, false
		l.shutWrite(s)
	}
}

// closed is OnClose: the connection is gone, whoever ended it.
func (l *loop) closed(s *session) {
	l.part(s)
	s.lent = nil
	l.forgetSource(s)
	if t, ok := s.conn.(*tunnel); ok {
		t.end()
	}
	l.wheel.cancel(s.slot)
	s.conn = nil
	l.stats.connections.Add(-1)
	l.sessions.give(s)
}
