package edge

import (
	"bytes"

	"github.com/godwit-im/godwit"
)

// CallPath is where long-polling clients send their requests.
const CallPath = "/v1/rpc"

// reply is where the reply to one command stands in the exchange's body.
type reply struct {
	id         uint64
	start, end int // end 0: not there yet
}

// call begins POST /v1/rpc: commands in, replies in their order out. It has no
// place in the router: what happens meanwhile comes by the poll beside it.
func (l *loop) call(s *session, window []byte, headBytes int) {
	r := &l.request
	switch {
	case string(r.Method) == "OPTIONS":
		l.preflight(s, headBytes)
		return
	case string(r.Method) != "POST":
		l.refuse(s, 405, "Requests come with POST; wait for frames with GET "+PollPath+".")
		return
	case !l.beginExchange(s):
		return
	}
	body, ok := l.awaitBody(s, window, headBytes, int(l.edge.cfg.Limits.Frame))
	if !ok {
		return
	}
	enc, ok := encodingOf(mediaType(r.Get("Content-Type")))
	if !ok {
		l.refuse(s, 415, "Send "+ndjsonType+" or "+protobufType+".")
		return
	}
	device, found, once := r.QueryValue(nil, "device")
	if !once || found && !godwit.ValidID(device) {
		l.refuse(s, 400, "device is not a valid id.")
		return
	}
	if !s.bearer {
		l.verifyBearer(s)
		return
	}
	s.exchange, s.encoding = l.newExchange(), enc
	refusal, wait := l.checkCommands(s, body), uint32(0)
	if refusal == nil {
		if wait = l.paceCommands(s, body); wait > 0 {
			refusal = godwit.ErrRateLimited
		}
	}
	if refusal != nil {
		l.discard(s, headBytes+len(body))
		l.respondError(s, refusal, wait)
		return
	}
	s.exchange.body = bytes.Clone(body)
	s.device = string(device)
	l.discard(s, headBytes+len(body))
	s.state = stateCallOpening
	s.deadline = l.now + l.edge.ticks.answer
	l.arm(s)
	s.attachment = l.edge.attachment.Load()
	l.edge.cfg.Chat.Connect(l.id(s), Hello{User: s.user, Device: s.device, Issued: s.issued, Call: true})
}

// callOpened does the commands of a call whose token was not logged out.
func (l *loop) callOpened(s *session) {
	x := s.exchange
	commands := x.body
	x.body = nil
	s.state = stateCall
	s.deadline = l.now + l.edge.ticks.answer
	l.arm(s)
	l.submitCommands(s, []byte(s.device), commands)
}

// mediaType cuts the parameters off.
func mediaType(field []byte) []byte {
	for i, c := range field {
		if c == ';' || c == ' ' {
			return field[:i]
		}
	}
	return field
}

// checkCommands reads all commands before the first is done, so that a call is
// refused as a whole or answered in whole.
func (l *loop) checkCommands(s *session, body []byte) *godwit.Error {
	x := s.exchange
	for rest := body; len(rest) > 0; {
		var frame []byte
		var err error
		if frame, rest, err = godwit.NextFrame(s.encoding, rest); err != nil {
			return errorOf(err)
		}
		if err := l.frame.Parse(s.encoding, frame); err != nil && err != godwit.ErrFrameUnknown {
			return errorOf(err)
		}
		if len(x.replies) == int(l.edge.cfg.Limits.RPC) || l.frame.ID == 0 {
			return godwit.ErrFrameInvalid
		}
		for i := range x.replies {
			if x.replies[i].id == l.frame.ID {
				return godwit.ErrFrameInvalid
			}
		}
		x.replies = append(x.replies, reply{id: l.frame.ID})
	}
	if len(x.replies) == 0 {
		return godwit.ErrFrameInvalid
	}
	x.left = len(x.replies)
	return nil
}

// submitCommands passes what checkCommands found good to the chat tier. Whom to
// tell of those watched is the call's device: it has no session.
func (l *loop) submitCommands(s *session, device, body []byte) {
	for rest := body; len(rest) > 0; {
		var frame []byte
		frame, rest, _ = godwit.NextFrame(s.encoding, rest)
		l.stats.framesIn.Add(1)
		_ = l.frame.Parse(s.encoding, frame)
		if !isRequest(l.frame.Kind) {
			l.replyError(s, l.frame.ID, godwit.ErrFrameUnknown)
			continue
		}
		if p := &l.frame.Presence; p.HasWatch && len(p.Device) == 0 {
			p.Device = device
		}
		l.edge.cfg.Chat.Request(l.id(s), s.user, &l.frame)
	}
}

// replyArrived takes the reply to one command, a frame that codec made.
func (l *loop) replyArrived(s *session, id uint64, framed []byte) {
	x := s.exchange
	for i := range x.replies {
		if r := &x.replies[i]; r.id == id && r.end == 0 && len(framed) > 0 {
			l.stats.framesOut.Add(1)
			r.start = len(x.body)
			x.body = append(x.body, frameOf(framed)...)
			r.end = len(x.body)
			x.left--
		}
	}
	if x.left == 0 {
		l.answerCall(s)
	}
}

func (l *loop) replyError(s *session, id uint64, e *godwit.Error) {
	frame := godwit.ServerFrame{ID: id, Kind: godwit.KindError, Error: e.Reply(0)}
	l.replyArrived(s, id, l.codec.appendFrame(nil, formOf(s.encoding), &frame))
}

// lateReplies answers what the chat tier did not, which may have happened.
func (l *loop) lateReplies(s *session) {
	x := s.exchange
	for i := range x.replies {
		if x.replies[i].end == 0 {
			l.replyError(s, x.replies[i].id, godwit.ErrUnknown)
		}
	}
}

// answerCall writes the replies in the order of the commands.
func (l *loop) answerCall(s *session) {
	x := s.exchange
	body := make([]byte, 0, len(x.body)+len(x.replies))
	for i := range x.replies {
		if i > 0 && s.encoding == godwit.EncodingJSON {
			body = append(body, '\n')
		}
		body = append(body, x.body[x.replies[i].start:x.replies[i].end]...)
	}
	l.respondFrames(s, body)
}
