package edge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/godwit-im/godwit/edge/http1"
	"github.com/panjf2000/gnet/v2"
	"github.com/pires/go-proxyproto"
)

// The PROXY protocol, version 2 (https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt).
//
// A connection from Config.TrustedProxies must begin with its header, and from
// then on counts as the client it names; one from anywhere else must not. There
// is no guessing (section 2 of the text): a proxy that forwards bytes without a
// header of its own would let its clients write one.

var (
	proxySignature = []byte("\r\n\r\n\x00\r\nQUIT\n")
	proxyText      = []byte("PROXY ") // version 1
)

const (
	proxyFixedBytes = 16
	proxyBytesMax   = proxyFixedBytes + 1024 // addresses and the extensions of real proxies are far below
)

// What parseProxy finds wrong.
var (
	errProxyMore      = errors.New("the header is not complete")
	errProxyMissing   = errors.New("a trusted proxy must begin with a PROXY protocol header")
	errProxyText      = errors.New("the header is of PROXY protocol version 1; let the proxy send version 2")
	errProxyMalformed = errors.New("malformed PROXY protocol header")
)

// parseProxy reads the header at the beginning of window, which is n bytes
// long. source is the client's address; the zero value says that the proxy
// speaks for itself.
func parseProxy(window []byte) (source netip.AddrPort, n int, err error) {
	switch known := min(len(window), len(proxySignature)); {
	case bytes.HasPrefix(proxyText, window), bytes.Equal(window[:known], proxySignature[:known]) && len(window) < proxyFixedBytes:
		return source, 0, errProxyMore
	case bytes.HasPrefix(window, proxyText):
		return source, 0, errProxyText
	case !bytes.HasPrefix(window, proxySignature):
		return source, 0, errProxyMissing
	}
	n = proxyFixedBytes + int(binary.BigEndian.Uint16(window[proxyFixedBytes-2:]))
	if n > proxyBytesMax {
		return source, 0, fmt.Errorf("%w: %d bytes", errProxyMalformed, n)
	}
	if len(window) < n {
		return source, 0, errProxyMore
	}
	header, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(window[:n]), n))
	if err != nil {
		return source, 0, fmt.Errorf("%w: %w", errProxyMalformed, err)
	}
	if header.Command.IsLocal() {
		return source, n, nil
	}
	from, _, ok := header.TCPAddrs()
	if !ok {
		return source, 0, fmt.Errorf("%w: the client's address is not of TCP", errProxyMalformed)
	}
	source = from.AddrPort()
	return netip.AddrPortFrom(source.Addr().Unmap(), source.Port()), n, nil
}

// forwarded is the stream of a connection that a trusted proxy opened.
type forwarded struct {
	gnet.Conn
	remote net.Addr // the client's; nil: the proxy speaks for itself
	known  bool     // the header was read, or refused
}

func (f *forwarded) RemoteAddr() net.Addr {
	if f.remote != nil {
		return f.remote
	}
	return f.Conn.RemoteAddr()
}

// source is the client's address: the socket's, or what a trusted proxy told.
func (l *loop) source(s *session) netip.Addr { return addrOf(s.conn.RemoteAddr()) }

// trusts reports whether a connection must begin with a PROXY header.
func (e *Edge) trusts(c gnet.Conn) bool {
	if len(e.cfg.TrustedProxies) == 0 {
		return false
	}
	from := addrOf(c.RemoteAddr())
	for _, prefix := range e.cfg.TrustedProxies {
		if prefix.Contains(from) {
			return true
		}
	}
	return false
}

// readProxy takes the header off a connection of a trusted proxy, or refuses the
// connection; false while there is too little of it.
func (l *loop) readProxy(s *session, c gnet.Conn, remote *net.Addr) bool {
	window, _ := c.Peek(-1)
	source, n, err := parseProxy(window)
	switch {
	case errors.Is(err, errProxyMore):
		return false
	case err != nil:
		l.refuseProxy(s, err)
		return true
	}
	_, _ = c.Discard(n)
	if !source.IsValid() {
		return true
	}
	*remote = net.TCPAddrFromAddrPort(source)
	l.stats.forwarded.Add(1)
	if !l.countSource(s, source.Addr()) {
		l.edge.crowded.Add(1)
		l.refuseForwarded(s, turnAway(429, "Too Many Requests"))
	}
	return true
}

// refuseForwarded ends a connection of a trusted proxy; behind TLS there is no
// answer before a handshake.
func (l *loop) refuseForwarded(s *session, answer []byte) {
	if t, ok := s.conn.(*tunnel); ok {
		t.phase = tunnelDead
		l.drop(s)
		return
	}
	l.out.emit(s, answer)
	l.hangUp(s)
}

// refuseProxy answers a trusted address that breaks the rule: most likely a
// proxy that is not set up as it should be, so the log says so, once a minute.
func (l *loop) refuseProxy(s *session, err error) {
	l.stats.proxyRefused.Add(1)
	e := l.edge
	if at := e.proxyWarned.Load(); (at == 0 || int32(l.now-at) > proxyWarnTicks) && e.proxyWarned.CompareAndSwap(at, max(l.now, 1)) {
		e.cfg.Logger.Warn("connection from a trusted proxy refused", "proxy", l.source(s), "err", err)
	}
	l.refuseForwarded(s, proxyAnswer)
}

var proxyAnswer = http1.AppendError(nil, &http1.Error{Status: 400}, "text/plain", []byte("This address must begin with a header of PROXY protocol version 2.\n"))

const proxyWarnTicks = 60 * 1000 / tickMS
