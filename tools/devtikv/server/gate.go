package server

import (
	"net"
	"sync"
	"time"
)

// alarm runs a function once, later, unless it is stopped or set anew. Whoever owns
// it guards it with a lock that the function may take.
type alarm struct {
	timer *time.Timer
}

func (a *alarm) start(d time.Duration, fn func()) { a.timer = time.AfterFunc(d, fn) }

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// gate is a listener whose connections can all be cut at once, and which then
// refuses new ones until it is opened again.
type gate struct {
	net.Listener

	mu    sync.Mutex
	shut  bool
	end   alarm // of being shut
	conns map[*gatedConn]struct{}
}

type gatedConn struct {
	net.Conn
	gate *gate
}

func newGate(l net.Listener) *gate {
	return &gate{Listener: l, conns: make(map[*gatedConn]struct{})}
}

// Accept hands out the next connection; while the gate is shut it closes them.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, ok := g.admit(conn); ok {
			return c, nil
		}
		_ = conn.Close()
	}
}

func (g *gate) admit(conn net.Conn) (*gatedConn, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return nil, false
	}
	c := &gatedConn{Conn: conn, gate: g}
	g.conns[c] = struct{}{}
	return c, true
}

// shutFor shuts the gate, cuts what is connected, and opens it after d; 0 opens it.
func (g *gate) shutFor(d time.Duration) {
	g.mu.Lock()
	g.end.stop()
	g.shut = d > 0
	var cut []*gatedConn
	if g.shut {
		g.end.start(d, func() { g.shutFor(0) })
		for c := range g.conns {
			cut = append(cut, c)
		}
	}
	g.mu.Unlock()
	for _, c := range cut {
		_ = c.Close()
	}
}

func (g *gate) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.end.stop()
}

// Close forgets the connection.
func (c *gatedConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}
