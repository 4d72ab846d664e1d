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

// drop closes the connection at once; OnClose runs before it returns.
func (l *loop) drop(s *session) {
	switch c := s.conn.(type) {
	case nil:
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
	case gnet.Conn:
		_ = syscall.Shutdown(c.Fd(), syscall.SHUT_WR)
	default:
		panic("BUG: a stream of unknown kind")
	}
}
