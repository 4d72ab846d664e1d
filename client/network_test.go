package client

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// network is a network in memory, so that tests run under synctest's clock. A
// connection can be cut after any number of bytes in either direction.
type network struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once

	mu    sync.Mutex
	conns map[*wire]struct{} // open ends of clients
	dials int
	// cut says after how many bytes a new connection breaks, to the server and to
	// the client; nil or negative: never.
	cut func() (up, down int)
}

func newNetwork() *network {
	return &network{accepted: make(chan net.Conn), closed: make(chan struct{}), conns: map[*wire]struct{}{}}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.accepted:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error   { n.once.Do(func() { close(n.closed) }); return nil }
func (n *network) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (n *network) dialled() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	up, down := -1, -1
	n.mu.Lock()
	n.dials++
	if n.cut != nil {
		up, down = n.cut()
	}
	n.mu.Unlock()
	a, b := newPipe(up), newPipe(down)
	client, server := &wire{network: n, in: b, out: a}, &wire{in: a, out: b}
	select {
	case n.accepted <- server:
	case <-n.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	n.conns[client] = struct{}{}
	n.mu.Unlock()
	return client, nil
}

// breakAll cuts every connection.
func (n *network) breakAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		c.in.fail(errCutWire)
		c.out.fail(errCutWire)
	}
	clear(n.conns)
}

var errCutWire = errors.New("connection reset")

// wire is one end of a connection.
type wire struct {
	network *network // of a client's end
	in, out *pipe
}

func (w *wire) Read(b []byte) (int, error) { return w.in.read(b) }

func (w *wire) Write(b []byte) (int, error) {
	n, err := w.out.write(b)
	if errors.Is(err, errCutWire) {
		w.in.fail(errCutWire)
	}
	return n, err
}

func (w *wire) Close() error {
	w.out.finish()
	w.in.fail(net.ErrClosed)
	if w.network != nil {
		w.network.mu.Lock()
		defer w.network.mu.Unlock()
		delete(w.network.conns, w)
	}
	return nil
}

func (w *wire) LocalAddr() net.Addr                { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (w *wire) RemoteAddr() net.Addr               { return w.LocalAddr() }
func (w *wire) SetWriteDeadline(_ time.Time) error { return nil } // writes never wait
func (w *wire) SetReadDeadline(t time.Time) error  { w.in.setDeadline(t); return nil }
func (w *wire) SetDeadline(t time.Time) error      { return w.SetReadDeadline(t) }

// peerHolds reports whether the other end has neither closed nor lost the connection,
// whatever this end has read of it so far.
func (w *wire) peerHolds() bool {
	w.in.mu.Lock()
	defer w.in.mu.Unlock()
	return !w.in.finished && w.in.err == nil
}

// pipe is one direction: bytes written and not yet read, without a bound.
type pipe struct {
	mu       sync.Mutex
	cond     sync.Cond
	buf      []byte
	left     int   // bytes until it breaks; negative: it does not
	finished bool  // the writer closed it
	err      error // it broke
	deadline time.Time
}

func newPipe(left int) *pipe {
	p := &pipe{left: left}
	p.cond.L = &p.mu
	return p
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.err != nil && !(errors.Is(p.err, errCutWire) && len(p.buf) > 0):
			return 0, &net.OpError{Op: "read", Net: "memory", Err: p.err}
		case len(p.buf) > 0:
			n := copy(b, p.buf)
			p.buf = p.buf[n:]
			return n, nil
		case p.finished:
			return 0, io.EOF
		case !p.deadline.IsZero() && !time.Now().Before(p.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		p.cond.Wait()
	}
}

// write breaks the pipe when its bytes are used up; those before still arrive.
func (p *pipe) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil || p.finished {
		return 0, errCutWire
	}
	n := len(b)
	if p.left >= 0 && n > p.left {
		n, p.err = p.left, errCutWire
	}
	if p.left >= 0 {
		p.left -= n
	}
	p.buf = append(p.buf, b[:n]...)
	p.cond.Broadcast()
	return n, p.err
}

func (p *pipe) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished = true
	p.cond.Broadcast()
}

func (p *pipe) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.cond.Broadcast()
}

func (p *pipe) setDeadline(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	// Two goroutines of a synctest bubble that arm timers in the past at once crash
	// Go 1.26's race detector, and net/http does so after each request.
	if left := time.Until(t); !t.IsZero() && left > 0 {
		time.AfterFunc(left, p.cond.Broadcast)
	}
	p.cond.Broadcast()
}
