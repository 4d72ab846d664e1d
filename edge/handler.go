package edge

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// handler is what gnet calls. Every method but OnBoot, OnShutdown and OnTick
// runs on the goroutine of the connection's loop.
type handler struct{ e *Edge }

// OnBoot keeps the engine for Stop.
func (h handler) OnBoot(engine gnet.Engine) gnet.Action {
	h.e.engine = engine
	return gnet.None
}

// OnShutdown comes before gnet closes its pollers: waking a loop after that
// would write to a file descriptor that may be someone else's by then.
func (h handler) OnShutdown(gnet.Engine) {
	for _, l := range h.e.loops {
		l.box.close()
	}
}

// OnTick runs in a goroutine of its own and only moves the time on.
func (h handler) OnTick() (time.Duration, gnet.Action) {
	h.e.tick.Store(uint32(h.e.cfg.monotonic() / tickMS))
	for _, l := range h.e.loops {
		l.box.nudge()
	}
	h.e.ready.Do(func() { close(h.e.started) })
	return h.e.cfg.tickEvery, gnet.None
}

// OnOpen counts the connection against the limits in the same call that accepted
// it, so that accepting cannot outrun the reserve of file descriptors. Whoever is
// over them is answered and closed at once.
func (h handler) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	e := h.e
	if e.open.Add(1) > int64(e.connectionsMax) || e.admission.memory.spent() {
		e.overload.Add(1)
		return e.turnAway(c, 503, "Service Unavailable"), gnet.Close
	}
	var from source
	trusted := e.trusts(c)
	if !trusted { // else its client is counted, once it is known
		from = sourceOf(addrOf(c.RemoteAddr()))
	}
	if !e.admission.sources.enter(from) {
		e.crowded.Add(1)
		return e.turnAway(c, 429, "Too Many Requests"), gnet.Close
	}
	l := e.loopOf(c.EventLoop())
	s, slots := l.sessions.take()
	if s == nil {
		e.admission.sources.leave(from)
		e.overload.Add(1)
		return e.turnAway(c, 503, "Service Unavailable"), gnet.Close
	}
	s.source = from
	l.wheel.grow(slots)
	s.conn, s.loop = l.streamOf(c, trusted), uint8(l.index)
	s.heardAt = l.now
	s.deadline = l.now + e.ticks.head
	l.arm(s)
	c.SetContext(s)
	l.stats.connections.Add(1)
	l.stats.accepted.Add(1)
	return nil, gnet.None
}

// OnClose may run inside a write of ours.
func (h handler) OnClose(c gnet.Conn, _ error) gnet.Action {
	if s, ok := c.Context().(*session); ok {
		h.e.loops[s.loop].closed(s)
	}
	if h.e.open.Add(-1) == 0 {
		select {
		case h.e.empty <- struct{}{}:
		default:
		}
	}
	return gnet.None
}

// OnTraffic reads what has arrived, handles what is in the mailbox meanwhile,
// and writes once.
func (h handler) OnTraffic(c gnet.Conn) gnet.Action {
	s, ok := c.Context().(*session)
	if !ok {
		return gnet.Close
	}
	l := h.e.loops[s.loop]
	awake := l.box.hold()
	l.catchUp()
	if s.conn != nil {
		s.heardAt = l.now
		l.receive(s)
	}
	l.drain()
	l.settle(awake)
	if s.conn == nil {
		return gnet.Close
	}
	return gnet.None
}

// read parses what the session's state allows, until it makes no progress.
func (l *loop) read(s *session) {
	for s.conn != nil {
		n := s.conn.InboundBuffered()
		if n == 0 || n < int(s.need) {
			return
		}
		switch {
		case s.state == stateHead:
			l.readHead(s)
		case s.state == stateFirst, s.state == stateLive, s.state == stateEcho, s.state == stateClosing && s.upgraded:
			l.readFrames(s)
		case s.state == stateClosing:
			l.discard(s, n)
		default: // the answer to the upgrade or connect is awaited
			if n > int(l.edge.cfg.Limits.Frame)+waitingExtra {
				l.closeSession(s, closeTooEager)
			}
			return
		}
		if s.conn == nil || s.conn.InboundBuffered() == n {
			return
		}
	}
}

// ignoredBytesMax is what a client may still send before it has read why it is
// being closed; then the connection is cut.
const ignoredBytesMax = 16 << 20

// discard gives n bytes back to gnet, for which 0 would mean all. It may close
// the connection.
func (l *loop) discard(s *session, n int) {
	if n > 0 {
		_, _ = s.conn.Discard(n)
		l.stats.bytesIn.Add(uint64(n))
		if s.state == stateClosing {
			if s.ignored += uint32(n); s.ignored > ignoredBytesMax {
				l.drop(s)
			}
		}
	}
}

// gnetLogger passes gnet's own messages on.
type gnetLogger struct{ log *slog.Logger }

func (g gnetLogger) Debugf(string, ...any) {}

func (g gnetLogger) Infof(string, ...any) {}

func (g gnetLogger) Warnf(format string, args ...any) {
	g.log.Warn("gnet", "message", fmt.Sprintf(format, args...))
}

func (g gnetLogger) Errorf(format string, args ...any) {
	g.log.Error("gnet", "message", fmt.Sprintf(format, args...))
}

func (g gnetLogger) Fatalf(format string, args ...any) {
	g.log.Error("gnet", "message", fmt.Sprintf(format, args...))
}
