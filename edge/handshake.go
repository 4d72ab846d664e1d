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
	if _, ticket, _ := r.QueryValue(nil, "ticket"); (ticket || r.Count("Authorization") > 0) && !s.bearer {
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

// verifyBearer has the request's token verified: the Authorization header's, or
// a ticket of the query. The head stays in the inbound buffer and is read again.
func (l *loop) verifyBearer(s *session) {
	token, ok := bearerOf(&l.request)
	if !ok || len(token) > tokenBytesMax {
		l.refuse(s, 401, godwit.ErrUnauthorized.Message)
		return
	}
	if wait := l.pace(s, 1); wait > 0 {
		l.refuse(s, 429, "Too many requests on one connection; come back a little later.")
		return
	}
	if !l.beginHandshake(s) || !l.edge.verify.submit(verifyJob{session: l.id(s), token: token}) {
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
		if v.temporary() {
			l.refuse(s, 503, "The token can't be checked now; try again.")
			return
		}
		l.refuse(s, 401, godwit.ErrUnauthorized.Message)
		return
	}
	l.forgetSource(s)
	s.setIdentity(v.who)
	s.bearer = true
	s.state = stateHead
	l.read(s)
}

// ticketPrefix begins every ticket: nothing else may stand in an address in its
// place, a token least of all.
const ticketPrefix = "tk_"

// bearerOf returns a copy of the one token of a request; a header and a ticket
// together are one too many.
func bearerOf(r *http1.Request) (token []byte, ok bool) {
	ticket, found, once := r.QueryValue(nil, "ticket")
	if found {
		return ticket, once && bytes.HasPrefix(ticket, []byte(ticketPrefix)) && r.Count("Authorization") == 0
	}
	scheme, token, _ := bytes.Cut(r.Get("Authorization"), []byte{' '})
	return bytes.Clone(token), r.Count("Authorization") == 1 && bytes.EqualFold(scheme, []byte("bearer")) && len(token) > 0
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
	wait := retryAfterMS()
	body := httpError(e.Status, message, wait)
	var extra []http1.Field
	switch e.Status {
	case 401:
		refusal := godwit.ServerFrame{Kind: godwit.KindError, Error: godwit.ErrUnauthorized.Reply(0)}
		body = refusal.AppendTo(nil, godwit.EncodingJSON)
		extra = []http1.Field{{Name: "WWW-Authenticate", Value: "Bearer"}}
	case 429, 503:
		extra = []http1.Field{{Name: "Retry-After", Value: strconv.Itoa((wait + 999) / 1000)}}
	}
	if r := &l.request; l.heading == s && r.Count("Origin") == 1 && l.edge.originAllowed(r) {
		extra = append(extra, http1.Field{Name: "Access-Control-Allow-Origin", Value: "*"})
	}
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
