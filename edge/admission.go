package edge

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"

	"github.com/godwit-im/godwit"
)

// admission decides who may come in. Sockets are counted per source until they
// prove who they are; of those that show a token, so many may be under way to
// their session at once; and above the soft limit of memory nobody new is let
// in. Whoever is turned away is told to come back after a time of his own, so
// that a storm of reconnects becomes a queue outside the process.
type admission struct {
	sessions      Sessions
	sources       sources
	handshakesMax int64
	handshakes    atomic.Int64 // sessions whose token is being verified or that are being opened
	memory        memory
}

// full reports whether a newcomer has to wait outside. All loops ask.
func (a *admission) full() bool {
	return a.handshakes.Load() >= a.handshakesMax || a.memory.tight() || a.sessions.Full()
}

// How long newcomers stay away. The seed of the spread differs in each process.
const (
	retryMinMS    = 1000
	retrySpreadMS = 4000
)

func retryAfterMS() int { return retryMinMS + rand.IntN(retrySpreadMS+1) }

// overloaded ends a session that came at a bad time.
func overloaded() closing { return closeAgain(godwit.CloseOverloaded, "overloaded") }

// closeAgain is a close with a time after which to come back.
func closeAgain(code godwit.CloseCode, reason string) closing {
	return closingOf(code, reason, retryAfterMS())
}

// turnAway answers a connection that is closed at once, before it said anything.
func turnAway(status int, reason string) []byte {
	dst := append(make([]byte, 0, 128), "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(append(dst, ' '), reason...)
	dst = append(dst, "\r\nRetry-After: "...)
	dst = strconv.AppendInt(dst, int64((retryAfterMS()+999)/1000), 10)
	return append(dst, "\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"...)
}

// addrOf is the address of a peer; the zero Addr for what is no internet address.
func addrOf(remote net.Addr) netip.Addr {
	if tcp, ok := remote.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// countSource counts a session that is not yet authenticated under an address
// instead of the one it was counted under before; the zero Addr counts nowhere.
// False: that address has as many as it may.
func (l *loop) countSource(s *session, addr netip.Addr) bool {
	l.forgetSource(s)
	from := sourceOf(addr)
	if !l.edge.admission.sources.enter(from) {
		return false
	}
	s.source = from
	return true
}

// forgetSource ends that: the session is authenticated, or its end has come.
func (l *loop) forgetSource(s *session) {
	l.edge.admission.sources.leave(s.source)
	s.source = 0
}

// beginHandshake takes one of the places for sessions on their way; false when
// all are taken or memory is short, and then the session is to be turned away.
func (l *loop) beginHandshake(s *session) bool {
	a := &l.edge.admission
	if s.shaking {
		return true
	}
	if a.memory.tight() {
		return false
	}
	if a.handshakes.Add(1) > a.handshakesMax {
		a.handshakes.Add(-1)
		return false
	}
	s.shaking = true
	return true
}

// endHandshake gives the place back: the session is live, or it won't be.
func (l *loop) endHandshake(s *session) {
	if s.shaking {
		s.shaking = false
		l.edge.admission.handshakes.Add(-1)
	}
}
