package edge

import (
	"github.com/godwit-im/godwit/edge/http1"
	"github.com/godwit-im/godwit/edge/ws"
)

// The echo endpoint shows the WebSocket codec without anything behind it, for
// conformance suites and benchmarks: no token, text as text, binary as binary.

// echoBytesMax bounds its messages, echoFragmentsMax their fragments: public
// suites send 16 MiB in pieces of 64 bytes.
const (
	echoBytesMax     = 16 << 20
	echoFragmentsMax = 1 << 20
)

// upgradeEcho opens a WebSocket that has no session behind it.
func (l *loop) upgradeEcho(s *session, headBytes int) {
	handshake, err := http1.Upgrade(&l.request, nil)
	if err != nil {
		l.refuseHTTP(s, err)
		return
	}
	l.switchProtocol(s, &handshake)
	s.echoes = true
	l.forgetSource(s)
	s.state = stateEcho
	l.keepEcho(s)
	l.arm(s)
	l.discard(s, headBytes)
}

// keepEcho moves the deadline on: an echo may idle for as long as it likes.
func (l *loop) keepEcho(s *session) { s.deadline = l.now + expiryLookTicks }

// echo sends a message back in one frame.
func (l *loop) echo(s *session, op ws.Opcode, payload []byte) {
	l.stats.framesIn.Add(1)
	l.stats.framesOut.Add(1)
	dst, start := l.out.begin()
	if s.window != 0 {
		dst = l.edge.deflater.AppendFrame(dst, op, payload, int(s.window))
	} else {
		dst = ws.AppendFrame(dst, op, payload)
	}
	l.out.end(s, dst, start)
}

// wsConfig is what the session's messages are held to.
func (l *loop) wsConfig(s *session) *ws.Config {
	deflate := min(s.window, 1)
	if s.echoes {
		return &l.edge.echoWS[deflate]
	}
	return &l.edge.ws[deflate]
}

// outboundBytesMax is what may wait for the session to read it.
func (l *loop) outboundBytesMax(s *session) int {
	if s.echoes {
		return max(l.edge.cfg.OutboundBytesMax, 2*echoBytesMax)
	}
	return l.edge.cfg.OutboundBytesMax
}
