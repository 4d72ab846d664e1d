package edge

import (
	"errors"
	"strconv"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/http1"
)

// exchange is one HTTP request between its head and its answer. While a poll is
// held it is all that the session keeps beside itself.
type exchange struct {
	epoch   string  // of a poll's cursor
	body    []byte  // poll: frames shown so far; call: its commands, then replies in order of arrival
	replies []reply // of a call, in the order of its commands
	left    int     // replies not yet there
	wait    uint32  // ticks a poll may be held
	first   bool    // a poll without a cursor
	keep    bool    // the connection stays open for another request
	cors    bool    // asked by a page of another origin
	lingers bool    // a poll that waits a little for more before it answers

	channels  []godwit.ChannelPlace // of a poll: where its cursor stands in channels
	since     uint32                // tick at which the poll was opened
	told      window                // frames and bytes in body that are not of the log
	beginning bool                  // the ends of Welcome.Channels are awaited
}

const (
	ndjsonType   = "application/x-ndjson"
	protobufType = "application/x-protobuf"
	jsonType     = "application/json"
)

func contentType(enc godwit.Encoding) string {
	if enc == godwit.EncodingProto {
		return protobufType
	}
	return ndjsonType
}

// beginExchange is the start of every request of the protocol beside the
// upgrade: who may ask from where.
func (l *loop) beginExchange(s *session) bool {
	r := &l.request
	switch {
	case queryHasToken(r.Query):
		l.refuse(s, 400, "A token in the address would end up in logs; send it in the Authorization header.")
	case !l.edge.originAllowed(r):
		l.refuse(s, 403, "This origin may not ask.")
	default:
		return true
	}
	return false
}

// newExchange notes what of the head the answer depends on.
func (l *loop) newExchange() *exchange {
	r := &l.request
	return &exchange{keep: r.KeepAlive(), cors: r.Count("Origin") > 0}
}

// respond answers the request and makes the connection ready for the next one.
// The origin was checked and no cookies are used, so every origin may read it.
func (l *loop) respond(s *session, status int, contentType string, body []byte) {
	x := s.exchange
	keep := x.keep && s.gen < genMax && !l.edge.draining.Load()
	var array [5]http1.Field
	fields := array[:0]
	if contentType != "" {
		fields = append(fields, http1.Field{Name: "Content-Type", Value: contentType})
	}
	fields = append(fields, http1.Field{Name: "Cache-Control", Value: "no-store"})
	if x.cors {
		fields = append(fields, http1.Field{Name: "Access-Control-Allow-Origin", Value: "*"})
	}
	if !keep {
		fields = append(fields, http1.Field{Name: "Connection", Value: "close"})
	}
	if status >= 400 {
		l.stats.countRefused(status)
	}
	dst, start := l.out.begin()
	l.out.end(s, http1.AppendResponse(dst, status, fields, body), start)
	if keep {
		l.nextRequest(s)
	} else {
		l.hangUp(s)
	}
}

// respondFrames answers with frames; the last line of NDJSON ends like the others.
func (l *loop) respondFrames(s *session, body []byte) {
	if s.encoding == godwit.EncodingJSON {
		body = append(body, '\n')
	}
	l.respond(s, 200, contentType(s.encoding), body)
}

// respondError answers with an error of the protocol's table.
func (l *loop) respondError(s *session, e *godwit.Error, retryAfterMS uint32) {
	frame := godwit.ServerFrame{Kind: godwit.KindError, Error: e.Reply(retryAfterMS)}
	l.respond(s, int(e.Num/10), jsonType, frame.AppendTo(nil, godwit.EncodingJSON))
}

// nextRequest forgets everything of the request that was answered. The session
// gets a new id: behind a proxy the next request may be another user's, and an
// answer still under way must not reach it.
func (l *loop) nextRequest(s *session) {
	l.part(s)
	s.setIdentity(godwit.Identity{})
	s.exchange, s.device, s.bearer, s.flow = nil, "", false, delivery{}
	s.encoding, s.inFlight, s.need = godwit.EncodingJSON, 0, 0
	s.gen++
	s.state = stateHead
	s.served = true
	s.deadline = l.now + l.edge.ticks.idle
	l.arm(s)
}

// overdueExchange answers a request that has waited for too long.
func (l *loop) overdueExchange(s *session) {
	switch s.state {
	case statePoll:
		l.overduePoll(s)
	case stateCall:
		l.lateReplies(s)
	default:
		s.exchange.keep = false
		l.respondError(s, godwit.ErrUnavailable, 1000)
	}
}

// endExchange ends a request as the chat tier or a drain wants: a poll that was
// superseded or must move is answered as it stands, everything else by status.
func (l *loop) endExchange(s *session, code godwit.CloseCode) {
	switch {
	case s.state == statePoll && (code == godwit.CloseReplaced || code/100 == 43),
		s.state == statePollOpening && code == godwit.CloseReplaced && s.exchange.epoch != "":
		l.answerPoll(s)
	case s.state == statePollOpening && code == godwit.CloseReplaced:
		s.exchange.keep = false
		l.respondError(s, godwit.ErrRateLimited, 1000)
	case code == godwit.CloseSessions:
		s.exchange.keep = false
		l.respondError(s, godwit.ErrRateLimited, uint32(retryAfterMS()))
	case code == godwit.CloseLoggedOut:
		l.respondError(s, godwit.ErrLoggedOut, 0)
	case code/100 == 41:
		l.respondError(s, godwit.ErrUnauthorized, 0)
	case code/100 == 40:
		l.respondError(s, godwit.ErrFrameInvalid, 0)
	default:
		s.exchange.keep = false
		l.respondError(s, godwit.ErrUnavailable, 2000)
	}
}

// preflight answers a browser's question before a request with a token.
func (l *loop) preflight(s *session, headBytes int) {
	if !l.beginExchange(s) {
		return
	}
	r := &l.request
	s.exchange = l.newExchange()
	l.discard(s, headBytes)
	if r.HasBody() || r.Count("Origin") != 1 || r.Count("Access-Control-Request-Method") != 1 {
		s.exchange.keep = false
		l.respondError(s, godwit.ErrFrameInvalid, 0)
		return
	}
	fields := []http1.Field{
		{Name: "Access-Control-Allow-Origin", Value: "*"},
		{Name: "Access-Control-Allow-Methods", Value: "GET, POST"},
		{Name: "Access-Control-Allow-Headers", Value: "authorization, content-type, accept"},
		{Name: "Access-Control-Max-Age", Value: "86400"},
	}
	keep := s.exchange.keep
	if !keep {
		fields = append(fields, http1.Field{Name: "Connection", Value: "close"})
	}
	dst, start := l.out.begin()
	l.out.end(s, http1.AppendResponse(dst, 204, fields, nil), start)
	if keep {
		l.nextRequest(s)
	} else {
		l.hangUp(s)
	}
}

// awaitBody reports whether the whole body has arrived, which is then the bytes
// of the window behind the head; it answers what can't be taken.
func (l *loop) awaitBody(s *session, window []byte, headBytes, bytesMax int) (body []byte, ok bool) {
	r := &l.request
	size := r.BodyLen()
	switch {
	case size == http1.ChunkedLength:
		l.refuse(s, 411, "Send a Content-Length; bodies in chunks are not taken.")
		return nil, false
	case size > int64(bytesMax):
		l.refuse(s, 413, "The body is larger than "+strconv.Itoa(bytesMax)+" bytes.")
		return nil, false
	}
	end := headBytes + int(size)
	if len(window) >= end {
		return window[headBytes:end:end], true
	}
	if s.need == 0 && r.HasToken("Expect", "100-continue") {
		dst, start := l.out.begin()
		l.out.end(s, append(dst, "HTTP/1.1 100 Continue\r\n\r\n"...), start)
	}
	if s.need == 0 {
		s.deadline = l.now + l.edge.ticks.head
		l.arm(s)
	}
	s.need = uint32(end)
	return nil, false
}

// encodingOf reads a media type; parameters don't matter.
func encodingOf(mediaType []byte) (enc godwit.Encoding, ok bool) {
	switch name := string(mediaType); name {
	case "", ndjsonType, jsonType, "*/*":
		return godwit.EncodingJSON, true
	case protobufType:
		return godwit.EncodingProto, true
	}
	return godwit.EncodingJSON, false
}

// frameOf takes the WebSocket header off a frame that codec made.
func frameOf(framed []byte) []byte {
	switch framed[1] {
	case 126:
		return framed[4:]
	case 127:
		return framed[10:]
	}
	return framed[2:]
}

// appendJoined adds a frame that codec made to the body of an answer.
func appendJoined(dst []byte, enc godwit.Encoding, framed []byte) []byte {
	if enc == godwit.EncodingJSON && len(dst) > 0 {
		dst = append(dst, '\n')
	}
	return append(dst, frameOf(framed)...)
}

// errorOf finds the public error in err; anything else is a bug.
func errorOf(err error) *godwit.Error {
	var e *godwit.Error
	if !errors.As(err, &e) {
		panic("BUG: a frame error that is not of the public table: " + err.Error())
	}
	return e
}
