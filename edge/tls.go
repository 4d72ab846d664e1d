package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"

	"github.com/panjf2000/gnet/v2"
)

// serverTLS is what the edge's handshakes use: the caller's certificates, no
// version below 1.2, and HTTP/1.1 alone, which WebSocket needs.
func serverTLS(given *tls.Config) *tls.Config {
	c := given.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.NextProtos = []string{"http/1.1"}
	c.DynamicRecordSizingDisabled = true // one record for each write of up to 16 KiB
	return c
}

// listenTLS finds the address of the second listener.
func (e *Edge) listenTLS() (place, error) {
	secure, err := findPlace(e.cfg.TLSListen, e.cfg.ReusePort)
	if err == nil && secure.addr == e.addr {
		err = errors.New("this is where it listens without TLS")
	}
	if err == nil {
		e.tlsAddr, err = net.ResolveTCPAddr("tcp", secure.addr)
	}
	if err != nil {
		secure.release()
		return place{}, fmt.Errorf("edge: listen for TLS on %s: %w", e.cfg.TLSListen, err)
	}
	e.tls = serverTLS(e.cfg.TLS)
	e.shakeCPU = make(chan struct{}, shakeCores(e.cfg.Loops))
	return secure, nil
}

// shakeCores leaves the loops their cores in a storm of handshakes.
func shakeCores(loops int) int { return max(1, runtime.GOMAXPROCS(0)-loops) }

// behindTLS reports whether a connection came by the TLS listener.
func (e *Edge) behindTLS(c gnet.Conn) bool {
	if e.tlsAddr == nil {
		return false
	}
	at, ok := c.LocalAddr().(*net.TCPAddr)
	return ok && at.Port == e.tlsAddr.Port && (e.tlsAddr.IP.IsUnspecified() || at.IP.Equal(e.tlsAddr.IP))
}

// turnAway answers a connection that is closed at once; behind TLS there is no
// answer before a handshake.
func (e *Edge) turnAway(c gnet.Conn, status int, reason string) []byte {
	if e.behindTLS(c) {
		return nil
	}
	return turnAway(status, reason)
}

// plainAnswer tells a client that speaks HTTP to the TLS port.
var plainAnswer = []byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 35\r\n\r\nThis port speaks TLS: use https://\n")

// pump moves a tunnel on with what its socket has received.
func (l *loop) pump(s *session, t *tunnel) {
	switch t.phase {
	case tunnelHello:
		l.hello(s, t)
	case tunnelQueued:
		l.boundTunnel(s, t, t.socket.InboundBuffered())
	case tunnelShake:
		b, _ := t.socket.Peek(-1)
		if !t.shake.feed(b, l.tunnelBytesMax()) {
			l.drop(s)
			return
		}
		_, _ = t.socket.Discard(-1)
	case tunnelOpen:
		l.readTunnel(s, t)
	default:
		_, _ = t.socket.Discard(-1)
	}
}

// tunnelBytesMax is what a client may send ahead of the end of its handshake:
// at least a whole request.
func (l *loop) tunnelBytesMax() int {
	return int(l.edge.cfg.Limits.Frame) + waitingExtra + recordBytesMax
}

func (l *loop) boundTunnel(s *session, t *tunnel, n int) {
	if n > l.tunnelBytesMax() {
		l.drop(s)
	}
}

// hello waits for the whole first record, so that a client that has said
// nothing yet costs no goroutine.
func (l *loop) hello(s *session, t *tunnel) {
	b, _ := t.socket.Peek(-1)
	switch {
	case len(b) == 0:
		return
	case b[0] != recordHandshake:
		l.stats.shakesFailed.Add(1)
		t.phase = tunnelDead
		if b[0] >= 'A' && b[0] <= 'Z' { // a method
			_, _ = t.socket.Write(plainAnswer)
			l.hangUpGone(s)
		} else {
			l.drop(s)
		}
		return
	case len(b) < recordHeaderBytes:
		return
	}
	size := int(b[3])<<8 | int(b[4])
	if b[1] != 3 || size == 0 || size > recordBytesMax+recordExtraBytes {
		l.stats.shakesFailed.Add(1)
		l.drop(s)
		return
	}
	if len(b) < recordHeaderBytes+size {
		return
	}
	if l.edge.admission.memory.tight() { // before anything was spent on it
		l.edge.overload.Add(1)
		l.drop(s)
		return
	}
	if l.shaking >= l.edge.cfg.shakesMax {
		t.phase = tunnelQueued
		l.queued = append(l.queued, l.id(s))
		return
	}
	l.startShake(s, t)
}

// hangUpGone hangs up a session whose stream may be closed already.
func (l *loop) hangUpGone(s *session) {
	if s.conn != nil {
		l.hangUp(s)
	}
}

func (l *loop) startShake(s *session, t *tunnel) {
	e, id := l.edge, l.id(s)
	k := &shake{cpu: e.shakeCPU, tell: func(over uint32) {
		l.box.put(item{kind: itemShake, session: id, extra: over}, nil)
	}}
	k.more.L = &k.mu
	t.shake, t.phase = k, tunnelShake
	t.secure = tls.Server((*wire)(t), e.tls)
	l.shaking++
	l.pump(s, t)
	e.shakes.Go(func() { k.run(t.secure) })
}

// shook is news of a handshake: bytes to write, or its end. s is nil if the
// session is gone meanwhile.
func (l *loop) shook(s *session, over bool) {
	if over {
		l.shaking--
		l.nextShake()
	}
	if s == nil || s.conn == nil {
		return
	}
	t, ok := s.conn.(*tunnel)
	if !ok || t.phase != tunnelShake {
		return
	}
	out, rest, err := t.shake.take()
	if len(out) > 0 {
		if _, werr := t.socket.Write(out); werr != nil || s.conn == nil {
			return
		}
	}
	if !over {
		return
	}
	t.shake = nil
	if err != nil {
		l.stats.shakesFailed.Add(1)
		l.edge.cfg.Logger.Debug("TLS handshake failed", "client", l.source(s), "err", err)
		t.phase = tunnelDead
		l.hangUp(s)
		return
	}
	l.stats.shakes.Add(1)
	t.phase, t.ahead = tunnelOpen, rest
	s.deadline = l.now + l.edge.ticks.head
	l.arm(s)
	l.readTunnel(s, t)
}

// nextShake begins a handshake that waits, if its client still does.
func (l *loop) nextShake() {
	for l.shaking < l.edge.cfg.shakesMax && len(l.queued) > 0 {
		id := l.queued[0]
		if l.queued = l.queued[1:]; len(l.queued) == 0 {
			l.queued = nil
		}
		if s := l.sessions.find(id); s != nil {
			if t, ok := s.conn.(*tunnel); ok && t.phase == tunnelQueued {
				l.startShake(s, t)
			}
		}
	}
}

// readTunnel hands decrypted bytes to the session.
func (l *loop) readTunnel(s *session, t *tunnel) {
	err := t.decrypt()
	if t.send() != nil || s.conn == nil { // a key update's answer, or an alert
		return
	}
	l.read(s)
	t.keep()
	if err == nil || s.conn == nil {
		return
	}
	if !errors.Is(err, io.EOF) {
		l.edge.cfg.Logger.Debug("TLS connection broken", "client", l.source(s), "err", err)
	}
	l.flush() // what the session has to say to its last words
	if !errors.Is(err, io.EOF) {
		t.phase = tunnelDead
	}
	l.drop(s)
}
