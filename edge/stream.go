package edge

import (
	"net"
	"syscall"

	"github.com/panjf2000/gnet/v2"
)

// stream is the connection under a session: a gnet connection, or one that
// stands in for it. Only the session's loop calls it, and nothing in it blocks.
// Peek aliases the stream's buffer until the callback ends; Write and Writev
// keep what the socket doesn't take, and a failed one may close the stream and
// run OnClose before it returns.
type stream interface {
	Peek(n int) ([]byte, error)
	Discard(n int) (int, error)
	InboundBuffered() int
	Write(b []byte) (int, error)
	Writev(bs [][]byte) (int, error)
	OutboundBuffered() int
	RemoteAddr() net.Addr
}

// streamOf is the stream of a connection just accepted; one of a trusted proxy
// begins with a header.
func (l *loop) streamOf(c gnet.Conn, trusted bool) stream {
	switch {
	case l.edge.behindTLS(c):
		t := &tunnel{socket: c, loop: l, phase: tunnelHello}
		if trusted {
			t.phase = tunnelProxy
		}
		return t
	case trusted:
		return &forwarded{Conn: c}
	}
	return c
}

// receive goes on with what a session's socket has received.
func (l *loop) receive(s *session) {
	switch c := s.conn.(type) {
	case *tunnel:
		if c.phase == tunnelProxy && l.readProxy(s, c.socket, &c.remote) {
			c.phase = tunnelHello
		}
		if s.conn != nil && c.phase != tunnelProxy {
			l.pump(s, c)
		}
	case *forwarded:
		if !c.known {
			c.known = l.readProxy(s, c.Conn, &c.remote)
		}
		if c.known {
			l.read(s)
		}
	default:
		l.read(s)
	}
}

// drop closes the connection at once; OnClose runs before it returns.
func (l *loop) drop(s *session) {
	switch c := s.conn.(type) {
	case nil:
	case *tunnel:
		c.bye()
		_ = l.events.Close(c.socket)
	case *forwarded:
		_ = l.events.Close(c.Conn)
	case gnet.Conn:
		_ = l.events.Close(c)
	default:
		panic("BUG: a stream of unknown kind")
	}
}

// shutWrite ends our half of the connection: the client reads to the end of what
// was written and may go on sending.
func (l *loop) shutWrite(s *session) {
	switch c := s.conn.(type) {
	case *tunnel:
		if c.phase < tunnelOpen {
			l.drop(s) // nothing was said to it that it might have to read
			return
		}
		c.shutWrite()
	case gnet.Conn:
		_ = syscall.Shutdown(c.Fd(), syscall.SHUT_WR)
	default:
		panic("BUG: a stream of unknown kind")
	}
}
