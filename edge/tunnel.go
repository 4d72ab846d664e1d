package edge

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// tunnel is the stream of a connection behind TLS. Its socket is a gnet
// connection like any other, and crypto/tls works on the loop: it reads what
// gnet has buffered and is told of a passed deadline where that ends, after
// which reading goes on when more has come. An idle tunnel has no goroutine.
// Only the handshake, which can't stop half-way, gets one; see shake.
//
// Everything but shake belongs to the loop.
type tunnel struct {
	socket gnet.Conn
	loop   *loop
	secure *tls.Conn // nil until the handshake begins; its goroutine's until that ends
	shake  *shake    // during the handshake
	remote net.Addr  // as a proxy told; nil: the socket's
	ahead  []byte    // ciphertext that came during the handshake
	plain  []byte    // decrypted and not consumed
	lent   bool      // plain lies in the loop's buffer, until keep
	gone   bool      // the socket is closed: its descriptor may be someone else's
	phase  tunnelPhase
}

type tunnelPhase uint8

const (
	tunnelProxy  tunnelPhase = iota // a PROXY header is awaited
	tunnelHello                     // the client's hello is awaited
	tunnelQueued                    // it waits for a free handshake
	tunnelShake                     // the handshake runs
	tunnelOpen                      // bytes flow
	tunnelDead                      // refused, broken or at its end: nothing is read or written any more
)

const (
	recordHeaderBytes = 5
	recordBytesMax    = 16 << 10 // plaintext of one record (RFC 8446 section 5.1)
	recordExtraBytes  = 256      // what encryption may add
	recordHandshake   = 22
	plainKeepBytes    = 256 << 10
)

// wire is the tunnel as crypto/tls sees it, the side of the ciphertext.
type wire tunnel

// errDry stops a read of crypto/tls where the input ends. It is the error of a
// passed deadline, after which a TLS connection stays usable for reading.
var errDry error = os.ErrDeadlineExceeded

// Read takes ciphertext; during the handshake it waits for it.
func (w *wire) Read(b []byte) (int, error) {
	if w.shake != nil {
		return w.shake.read(b)
	}
	if len(w.ahead) > 0 {
		n := copy(b, w.ahead)
		if w.ahead = w.ahead[n:]; len(w.ahead) == 0 {
			w.ahead = nil
		}
		return n, nil
	}
	if w.socket.InboundBuffered() == 0 {
		return 0, errDry
	}
	n, _ := w.socket.Read(b)
	return n, nil
}

// Write collects ciphertext; send passes it on.
func (w *wire) Write(b []byte) (int, error) {
	if w.shake != nil {
		return w.shake.write(b)
	}
	w.loop.sealed = append(w.loop.sealed, b...)
	return len(b), nil
}

// The rest of net.Conn. Deadlines are the loop's, and so is the end.

func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return w.loop.edge.tlsAddr }
func (w *wire) RemoteAddr() net.Addr             { return w.remote }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// decrypt adds everything that has arrived to plain. The error is the end of
// the tunnel: io.EOF by the client's close_notify, else its breach of TLS.
func (t *tunnel) decrypt() (err error) {
	buf := t.plain
	if t.lent = len(buf) <= recordBytesMax; t.lent { // a large message is not copied again and again
		buf = append(t.loop.plain[:0], buf...)
	}
	for err == nil {
		buf = slices.Grow(buf, recordBytesMax)
		var n int
		n, err = t.secure.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
	}
	if t.lent {
		t.loop.plain = buf[:0]
	}
	t.plain = buf
	if errors.Is(err, errDry) {
		return nil
	}
	return err
}

// keep ends a callback's use of the loop's buffer: what is left of a message
// gets memory of its own, about as much as it needs.
func (t *tunnel) keep() {
	if n := len(t.plain); n == 0 {
		t.plain = nil
	} else if t.lent || cap(t.plain) > 2*n+recordBytesMax {
		t.plain = bytes.Clone(t.plain)
	}
	t.lent = false
	if cap(t.loop.plain) > plainKeepBytes {
		t.loop.plain = nil
	}
}

// send writes the collected ciphertext with one system call. A failed write
// closes the connection before it returns.
func (t *tunnel) send() error {
	l := t.loop
	if len(l.sealed) == 0 {
		return nil
	}
	_, err := t.socket.Write(l.sealed)
	if l.sealed = l.sealed[:0]; cap(l.sealed) > flatKeepBytes {
		l.sealed = nil
	}
	return err
}

// The stream of the session: the side of the plaintext.

func (t *tunnel) Peek(n int) ([]byte, error) {
	if n > len(t.plain) {
		return nil, io.ErrShortBuffer
	}
	if n <= 0 {
		n = len(t.plain)
	}
	return t.plain[:n], nil
}

// Discard throws everything away for 0, as gnet does.
func (t *tunnel) Discard(n int) (int, error) {
	if n <= 0 || n > len(t.plain) {
		n = len(t.plain)
	}
	if t.plain = t.plain[n:]; len(t.plain) == 0 {
		t.plain = nil
	}
	return n, nil
}

func (t *tunnel) InboundBuffered() int { return len(t.plain) }

func (t *tunnel) Write(b []byte) (int, error) {
	if t.phase != tunnelOpen {
		return 0, net.ErrClosed
	}
	if n, err := t.secure.Write(b); err != nil {
		return n, err
	}
	return len(b), t.send()
}

func (t *tunnel) Writev(bs [][]byte) (n int, err error) {
	if t.phase != tunnelOpen {
		return 0, net.ErrClosed
	}
	for _, b := range bs {
		if _, err := t.secure.Write(b); err != nil {
			return n, err
		}
		n += len(b)
	}
	return n, t.send()
}

// OutboundBuffered counts ciphertext.
func (t *tunnel) OutboundBuffered() int { return t.socket.OutboundBuffered() }

func (t *tunnel) RemoteAddr() net.Addr {
	if t.remote != nil {
		return t.remote
	}
	return t.socket.RemoteAddr()
}

// end lets go of the socket, which is closed.
func (t *tunnel) end() {
	t.gone = true
	if t.shake != nil {
		t.shake.leave()
	}
}

// bye sends close_notify, once: what was written is all there is.
func (t *tunnel) bye() {
	if t.phase == tunnelOpen && !t.gone {
		_ = t.secure.CloseWrite()
		t.phase = tunnelDead
		_ = t.send()
	}
}

// shutWrite ends our half: close_notify, then the end of the TCP stream.
func (t *tunnel) shutWrite() {
	t.bye()
	if !t.gone && t.socket.OutboundBuffered() == 0 {
		_ = syscall.Shutdown(t.socket.Fd(), syscall.SHUT_WR)
	}
}
