package edge

import (
	"errors"

	"github.com/godwit-im/godwit/edge/http1"
)

// readHead parses a request head and finds who serves it: the first bytes of a
// connection decide what it becomes. The head stays in the inbound buffer until
// it is answered, or its token was verified.
func (l *loop) readHead(s *session) {
	window, _ := s.conn.Peek(-1)
	n, err := l.request.Parse(window, http1.HeadMaxBytes)
	switch {
	case errors.Is(err, http1.ErrMore):
		if s.served && s.need == 0 {
			s.deadline = l.now + l.edge.ticks.head
			l.arm(s)
		}
		s.need = uint32(len(window)) + 1
		return
	case err != nil:
		l.refuseHTTP(s, err)
		return
	}
	s.need = 0
	l.heading = s
	defer func() { l.heading = nil }()
	elsewhere := string(l.request.Path) == EdgesPath // asked for the way to another server
	switch {
	case l.edge.draining.Load() && !l.edge.cfg.ReusePort && !elsewhere:
		l.refuse(s, 503, "This server is going down; connect again, and reach another one.")
	case l.edge.paused.Load() && !elsewhere:
		l.refuse(s, 503, "This server cannot serve anyone for the moment; try again.")
	case l.edge.cfg.LoopbackHostOnly && !loopbackHost(l.request.Host):
		l.refuse(s, 403, "This server answers to loopback names only.")
	default:
		l.route(s, window, n)
	}
}

func (l *loop) route(s *session, window []byte, headBytes int) {
	switch path := string(l.request.Path); {
	case path == SocketPath:
		l.upgrade(s, headBytes)
	case path == PollPath:
		l.poll(s, headBytes)
	case path == CallPath:
		l.call(s, window, headBytes)
	case path == l.edge.cfg.EchoPath && path != "":
		l.upgradeEcho(s, headBytes)
	default:
		l.web(s, window, headBytes)
	}
}
