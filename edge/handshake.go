package edge

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/http1"
)

// SocketPath is where the WebSocket is.
const SocketPath = "/v1/ws"

var subprotocols = []string{godwit.EncodingJSON.Subprotocol(), godwit.EncodingProto.Subprotocol()}

// readHead parses a request head and answers it. The head stays in the inbound
// buffer until then: a token that comes with it is verified elsewhere.
func (l *loop) readHead(s *session) {
	window, _ := s.conn.Peek(-1)
	n, err := l.request.Parse(window, http1.HeadMaxBytes)
	switch {
	case errors.Is(err, http1.ErrMore):
		s.need = uint32(len(window)) + 1
		return
	case err != nil:
		l.refuseHTTP(s, err)
		return
	}
	s.need = 0
	switch {
	case l.edge.draining.Load():
		l.refuse(s, 503, "This server is going down; connect again, and reach another one.")
	case l.edge.cfg.LoopbackHostOnly && !loopbackHost(l.request.Host):
		l.refuse(s, 403, "This server answers to loopback names only.")
	case string(l.request.Path) == SocketPath:
		l.upgrade(s, n)
	case l.edge.cfg.EchoPath != "" && string(l.request.Path) == l.edge.cfg.EchoPath:
		l.upgradeEcho(s, n)
	default:
		l.static(s, n, len(window) > n)
	}
}

// upgrade opens the WebSocket, at once or after the token of the Authorization
// header was verified.
func (l *loop) upgrade(s *session, headBytes int) {
	r := &l.request
	handshake, err := http1.Upgrade(r, subprotocols)
	switch {
	case err != nil:
		l.refuseHTTP(s, err)
		return
	case handshake.Offered && handshake.Subprotocol == "":
		l.refuse(s, 400, "None of the subprotocols is known; offer godwit.v1.proto or godwit.v1.json.")
		return
	case queryHasToken(r.Query):
		l.refuse(s, 400, "A token in the address would end up in logs; send it in the connect frame or the Authorization header.")
		return
	case !l.edge.originAllowed(r):
		l.refuse(s, 403, "This origin may not connect.")
		return
	}
	if r.Count("Authorization") > 0 && !s.bearer {
		l.verifyBearer(s)
		return
	}
	if l.edge.admission.full() {
		l.refuse(s, 503, "Too many sessions are being opened; come back a little later.")
		return
	}
	l.switchProtocol(s, &handshake)
	s.encoding, _ = godwit.EncodingOf(handshake.Subprotocol) // none: JSON
	s.state = stateFirst
	s.deadline = l.now + l.edge.ticks.token
	l.arm(s)
	l.discard(s, headBytes)
}

// switchProtocol answers the upgrade: frames follow, compressed ones too if both
// sides want that.
func (l *loop) switchProtocol(s *session, handshake *http1.Handshake) {
	if l.edge.deflater != nil && handshake.Deflate.WindowBits != 0 {
		handshake.Deflate.Agreed = true
		s.window = uint8(handshake.Deflate.WindowBits)
	}
	dst, start := l.out.begin()
	l.out.end(s, http1.AppendUpgradeResponse(dst, handshake), start)
	s.upgraded = true
	l.stats.upgrades.Add(1)
}

func (l *loop) verifyBearer(s *session) {
	r := &l.request
	scheme, token, _ := bytes.Cut(r.Get("Authorization"), []byte{' '})
	if r.Count("Authorization") != 1 || !bytes.EqualFold(scheme, []byte("bearer")) || len(token) == 0 || len(token) > tokenBytesMax {
		l.refuse(s, 401, godwit.ErrUnauthorized.Message)
		return
	}
	if !l.beginHandshake(s) || !l.edge.verify.submit(verifyJob{session: l.id(s), token: bytes.Clone(token)}) {
		l.refuse(s, 503, "Too many tokens are waiting to be checked; try again.")
		return
	}
	s.state = stateVerifying
	s.deadline = l.now + l.edge.ticks.answer
	l.arm(s)
}

// bearerVerified goes on with the upgrade, whose head is parsed once more.
func (l *loop) bearerVerified(s *session, v verdict) {
	l.endHandshake(s)
	if v.err != nil {
		l.edge.cfg.Logger.Debug("token refused at the upgrade", "error", v.err)
		l.refuse(s, 401, godwit.ErrUnauthorized.Message)
		return
	}
	l.forgetSource(s)
	s.user, s.expires, s.bearer = v.user, v.expires, true
	s.state = stateHead
	l.read(s)
}

func queryHasToken(query []byte) bool {
	for field := range bytes.SplitSeq(query, []byte{'&'}) {
		name, _, _ := bytes.Cut(field, []byte{'='})
		for _, secret := range []string{"token", "access_token", "jwt", "bearer", "authorization"} {
			if strings.EqualFold(string(name), secret) {
				return true
			}
		}
	}
	return false
}

// originAllowed guards against other sites' pages: a browser names the page's
// origin, and its host must be ours or listed. Other clients send none.
func (e *Edge) originAllowed(r *http1.Request) bool {
	switch r.Count("Origin") {
	case 0:
		return true
	case 1:
	default:
		return false
	}
	origin := r.Get("Origin")
	for _, allowed := range e.cfg.Origins {
		if allowed == "*" || strings.EqualFold(allowed, string(origin)) {
			return true
		}
	}
	_, host, ok := bytes.Cut(origin, []byte("://"))
	return ok && len(host) > 0 && bytes.EqualFold(host, r.Host)
}

// loopbackHost reports whether a Host names this machine to itself.
func loopbackHost(host []byte) bool {
	name := string(host)
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && addr.IsLoopback()
}

// static answers every request that is not for the protocol. more says that the
// client sent bytes beyond the head, which it must not before the answer.
func (l *loop) static(s *session, headBytes int, more bool) {
	r := &l.request
	head := string(r.Method) == "HEAD"
	if r.HasBody() {
		l.refuse(s, 413, "No body is expected here.")
		return
	}
	if !head && string(r.Method) != "GET" {
		l.refuse(s, 405, "Only GET and HEAD are served here.")
		return
	}
	var contentType string
	var body []byte
	found := false
	if l.edge.cfg.Static != nil {
		contentType, body, found = l.edge.cfg.Static(string(r.Path))
	}
	if !found {
		l.refuse(s, 404, "Nothing is served at this path; the WebSocket is at "+SocketPath+".")
		return
	}
	keep := r.KeepAlive() && !more
	fields := []http1.Field{{Name: "Content-Type", Value: contentType}, {Name: "X-Content-Type-Options", Value: "nosniff"}, {Name: "Cache-Control", Value: "no-cache"}}
	if l.edge.cfg.PagePolicy != "" {
		fields = append(fields, http1.Field{Name: "Content-Security-Policy", Value: l.edge.cfg.PagePolicy})
	}
	if !keep {
		fields = append(fields, http1.Field{Name: "Connection", Value: "close"})
	}
	dst, start := l.out.begin()
	dst = http1.AppendResponse(dst, 200, fields, body)
	if head {
		dst = dst[:len(dst)-len(body)]
	}
	l.out.end(s, dst, start)
	l.discard(s, headBytes)
	if keep {
		s.deadline = l.now + l.edge.ticks.head
		l.arm(s)
	} else {
		l.hangUp(s)
	}
}

// refuseHTTP answers what package http1 found wrong.
func (l *loop) refuseHTTP(s *session, err error) {
	var e *http1.Error
	if !errors.As(err, &e) {
		panic("BUG: an error of http1 that is not its own: " + err.Error())
	}
	if e.Status == 0 {
		l.enterClosing(s)
		l.hangUp(s)
		return
	}
	l.refuseWith(s, e, e.Reason+".")
}

// refuse answers with a status and the error body of the protocol, and hangs up.
func (l *loop) refuse(s *session, status int, message string) {
	l.refuseWith(s, &http1.Error{Status: status, Reason: message}, message)
}

func (l *loop) refuseWith(s *session, e *http1.Error, message string) {
	l.stats.countRefused(e.Status)
	reply := godwit.ErrorReply{Code: "http." + strconv.Itoa(e.Status), Num: uint32(e.Status) * 10, Temporary: e.Status == 503 || e.Status == 408, Message: message}
	var extra []http1.Field
	switch e.Status {
	case 401:
		reply = godwit.ErrUnauthorized.Reply(0)
		extra = []http1.Field{{Name: "WWW-Authenticate", Value: "Bearer"}}
	case 503:
		wait := retryAfterMS()
		reply.RetryAfterMS = uint32(wait)
		extra = []http1.Field{{Name: "Retry-After", Value: strconv.Itoa((wait + 999) / 1000)}}
	}
	body := (&godwit.ServerFrame{Kind: godwit.KindError, Error: reply}).AppendTo(nil, godwit.EncodingJSON)
	dst, start := l.out.begin()
	if extra != nil {
		extra = append(extra, http1.Field{Name: "Content-Type", Value: "application/json"}, http1.Field{Name: "Connection", Value: "close"})
		dst = http1.AppendResponse(dst, e.Status, extra, body)
	} else {
		dst = http1.AppendError(dst, e, "application/json", body)
	}
	l.out.end(s, dst, start)
	l.hangUp(s)
}

// hangUp closes the connection once its output is written; input that still
// comes is thrown away.
func (l *loop) hangUp(s *session) {
	s.hangUp = true
	if s.state != stateClosing {
		l.enterClosing(s)
	}
	l.touch(s)
}
