package conformance

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// frame is one frame as it shall be sent.
type frame struct {
	op      byte
	payload string
	more    bool // FIN is not set
	rsv     byte // RSV1 is 4, RSV2 is 2, RSV3 is 1
}

// event is what the server said: a message, a control frame or its end.
type event struct {
	kind    string // text, binary, ping, pong, close, end
	payload string
	code    int // of close: 0 without one
}

func (e event) String() string {
	return fmt.Sprintf("%s(%d bytes %.40q, code %d)", e.kind, len(e.payload), e.payload, e.code)
}

// waitMax ends a case that hangs. No verdict depends on it unless the server has
// not answered at all by then.
const waitMax = 60 * time.Second

// verdict ends a case early; it is thrown and caught by run.
type verdict struct {
	nonStrict bool
	reason    string
}

// peer is the client of one case.
type peer struct {
	conn    net.Conn
	in      *bufio.Reader
	agreed  string // the server's Sec-WebSocket-Extensions
	deflate bool
	packed  int // compressed messages received
	seed    uint32
	out     bytes.Buffer
	writer  *flate.Writer
}

func fail(format string, args ...any) { panic(verdict{reason: fmt.Sprintf(format, args...)}) }

func nonStrict(format string, args ...any) {
	panic(verdict{nonStrict: true, reason: fmt.Sprintf(format, args...)})
}

// dial opens the echo endpoint; offer is the value of Sec-WebSocket-Extensions.
func dial(addr, offer string) *peer {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		fail("dial: %v", err)
	}
	_ = conn.SetDeadline(time.Now().Add(waitMax))
	head := "GET /echo HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if offer != "" {
		head += "Sec-WebSocket-Extensions: " + offer + "\r\n"
	}
	p := &peer{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), seed: 0x9E3779B9}
	_, _ = io.WriteString(conn, head+"\r\n")
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		_ = conn.Close()
		fail("handshake: %v", err)
	}
	p.agreed = resp.Header.Get("Sec-WebSocket-Extensions")
	p.deflate = strings.HasPrefix(p.agreed, "permessage-deflate")
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || offer == "" && p.agreed != "" {
		_ = conn.Close()
		fail("handshake: %s %v", resp.Status, resp.Header)
	}
	return p
}

// encode is the masked form of a frame with the shortest length.
func (p *peer) encode(f frame) []byte {
	first := f.op | f.rsv<<4
	if !f.more {
		first |= 0x80
	}
	b := []byte{first}
	switch n := len(f.payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	p.seed = p.seed*1664525 + 1013904223
	key := binary.BigEndian.AppendUint32(nil, p.seed)
	b = append(b, key...)
	at := len(b)
	b = append(b, f.payload...)
	for i := range b[at:] {
		b[at+i] ^= key[i%4]
	}
	return b
}

// send writes the frames with one call.
func (p *peer) send(frames ...frame) {
	var b []byte
	for _, f := range frames {
		b = append(b, p.encode(f)...)
	}
	p.write(b)
}

// chopped writes the frames with a call for every size bytes.
func (p *peer) chopped(size int, frames ...frame) {
	for _, f := range frames {
		for b := p.encode(f); len(b) > 0; {
			n := min(size, len(b))
			p.write(b[:n])
			b = b[n:]
		}
	}
}

// extend lets a case that has waited in vain write again.
func (p *peer) extend() { _ = p.conn.SetDeadline(time.Now().Add(waitMax)) }

// write lets errors pass: what a server that hung up said before is still to be read.
func (p *peer) write(b []byte) { _, _ = p.conn.Write(b) }

// read takes one frame and holds the server to what every frame of it must keep.
func (p *peer) read() (f frame, err error) {
	var head [2]byte
	if _, err = io.ReadFull(p.in, head[:]); err != nil {
		return f, err
	}
	f = frame{op: head[0] & 15, more: head[0]&0x80 == 0, rsv: head[0] >> 4 & 7}
	n := uint64(head[1] & 0x7F)
	var wide [8]byte
	switch {
	case head[1]&0x80 != 0:
		fail("the server masks")
	case n == 126:
		_, err = io.ReadFull(p.in, wide[6:])
		if n = binary.BigEndian.Uint64(wide[:]); n < 126 {
			fail("length %d in 16 bits", n)
		}
	case n == 127:
		_, err = io.ReadFull(p.in, wide[:])
		if n = binary.BigEndian.Uint64(wide[:]); n < 1<<16 || n > 1<<30 {
			fail("length %d in 64 bits", n)
		}
	}
	if err != nil {
		return f, err
	}
	if f.op >= 8 && (n > 125 || f.more || f.rsv != 0) {
		fail("control frame of %d bytes, more %v, rsv %d", n, f.more, f.rsv)
	}
	payload := make([]byte, n)
	_, err = io.ReadFull(p.in, payload)
	f.payload = string(payload)
	return f, err
}

// next returns the next event. Without one within waitMax it is "end" with the error.
func (p *peer) next() event {
	_ = p.conn.SetDeadline(time.Now().Add(waitMax))
	f, err := p.read()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return event{kind: "nothing"}
	case err != nil:
		return event{kind: "end", payload: err.Error()}
	}
	switch f.op {
	case opText, opBinary:
		return p.message(f)
	case opClose:
		if len(f.payload) == 1 {
			fail("close frame of one byte")
		} else if len(f.payload) == 0 {
			return event{kind: "close"}
		}
		return event{kind: "close", code: int(f.payload[0])<<8 | int(f.payload[1]), payload: f.payload[2:]}
	case opPing, opPong:
		return event{kind: map[byte]string{opPing: "ping", opPong: "pong"}[f.op], payload: f.payload}
	}
	fail("frame with opcode %d", f.op)
	return event{}
}

// message joins and inflates; the server may fragment and compress as it likes.
func (p *peer) message(f frame) event {
	ev := event{kind: map[byte]string{opText: "text", opBinary: "binary"}[f.op], payload: f.payload}
	packed := f.rsv == 4 && p.deflate
	if f.rsv != 0 && !packed {
		fail("data frame with rsv %d", f.rsv)
	}
	for f.more {
		var err error
		if f, err = p.read(); err != nil || f.op != opContinuation || f.rsv != 0 {
			fail("opcode %d, rsv %d, %v within a message", f.op, f.rsv, err)
		}
		ev.payload += f.payload
	}
	if packed {
		p.packed++
		body, err := io.ReadAll(flate.NewReader(strings.NewReader(ev.payload + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
		if err != nil {
			fail("a message does not inflate: %v", err)
		}
		ev.payload = string(body)
	}
	return ev
}

// want takes the next events, which must be these.
func (p *peer) want(events ...event) {
	for i, want := range events {
		if got := p.next(); got != want {
			// Not answering what came before the fault is allowed, but not what we want to be.
			if got.kind == "close" && i == 0 && (want.kind == "text" || want.kind == "binary") {
				nonStrict("%v before %v", got, want)
			}
			fail("event %d is %v, want %v", i, got, want)
		}
	}
}

// closes is how the server must end the connection that we broke: with that code,
// and by closing first.
func (p *peer) closes(code int) {
	if got := p.next(); got.kind != "close" || got.code != code {
		fail("%v, want a close with %d", got, code)
	}
	p.send(closing(code))
	p.end()
}

// close ends a sound connection: the server answers with our code and hangs up.
func (p *peer) close() {
	p.send(closing(1000))
	p.answers(1000)
}

func (p *peer) answers(code int) {
	if got := p.next(); got.kind != "close" || got.code != code {
		fail("%v, want %d back", got, code)
	}
	p.end()
}

func (p *peer) end() {
	if got := p.next(); got.kind != "end" || got.payload != io.EOF.Error() {
		fail("%v after the close, want the end", got)
	}
}

func closing(code int) frame {
	return frame{op: opClose, payload: string([]byte{byte(code >> 8), byte(code)})}
}

func text(s string) event     { return event{kind: "text", payload: s} }
func binaryOf(s string) event { return event{kind: "binary", payload: s} }
func pong(s string) event     { return event{kind: "pong", payload: s} }
