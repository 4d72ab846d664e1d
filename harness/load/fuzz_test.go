package load

import (
	"bytes"
	"testing"
)

// FuzzSocketMessage: a frame that is whole or refused stays so however much
// follows it, and nothing is read beyond its end.
func FuzzSocketMessage(f *testing.F) {
	f.Add([]byte{0x82, 3, 'a', 'b', 'c'}, []byte("next"))
	f.Add([]byte{0x81, 126, 0, 126}, make([]byte, 126))
	f.Add([]byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}, []byte{})
	f.Add([]byte{0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []byte{})
	f.Add([]byte{0x02, 1, 'x'}, []byte{})
	f.Add([]byte{0x82, 3, 'a', 'b'}, []byte{})
	f.Fuzz(func(t *testing.T, b, more []byte) {
		op, payload, n, err := parseMessage(b)
		if n > len(b) || len(payload) > n || err != nil && n != 0 {
			t.Fatalf("%d of %d bytes, payload %d, %v", n, len(b), len(payload), err)
		}
		op2, payload2, n2, err2 := parseMessage(append(bytes.Clone(b), more...))
		if err != nil && err2 == nil || n > 0 && (n2 != n || op2 != op || !bytes.Equal(payload, payload2)) {
			t.Fatalf("alone %d (%v), with more %d (%v)", n, err, n2, err2)
		}
	})
}

// FuzzHandshake: an answer ends where its head ends, and must prove itself.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + handshakeAccept + "\r\n\r\n\x81\x00"))
	f.Add([]byte("HTTP/1.1 503 Service Unavailable\r\n\r\n"))
	f.Add(make([]byte, handshakeBytesMax+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseHandshake(b)
		if n < 0 || n > len(b) || err != nil && n != 0 {
			t.Fatalf("%d of %d, %v", n, len(b), err)
		}
		if n > 0 && (!bytes.HasSuffix(b[:n], []byte("\r\n\r\n")) || !bytes.Contains(b[:n], []byte(handshakeAccept))) {
			t.Fatalf("%q was taken", b[:n])
		}
		if n == 0 && err == nil && len(b) > handshakeBytesMax {
			t.Fatalf("%d bytes of a head are waited for", len(b))
		}
	})
}

// FuzzPayload: a text is either exactly what appendPayload writes, or nothing.
func FuzzPayload(f *testing.F) {
	good := appendPayload(nil, Header{Run: 1, Sender: 2, Number: 3, Due: -4}, "hello")
	f.Add(good)
	f.Add(append(bytes.Clone(good), '!'))
	f.Add([]byte(payloadMark))
	shouted := bytes.Clone(good)
	copy(shouted[len(payloadMark):payloadOverhead], bytes.ToUpper(good[len(payloadMark):payloadOverhead]))
	f.Add(shouted)
	f.Fuzz(func(t *testing.T, text []byte) {
		h, ok := parsePayload(text)
		if ok && !bytes.Equal(appendPayload(nil, h, string(text[payloadOverhead:])), text) {
			t.Fatalf("%q is taken for %+v", text, h)
		}
	})
}

// FuzzPollAnswer: an answer that is whole or refused stays so however much follows
// it, and its body lies within it.
func FuzzPollAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"), []byte("HTTP/1.1 "))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"), []byte("b"))
	f.Add([]byte("HTTP/1.1 503 x\r\n\r\n"), []byte{})
	f.Add(make([]byte, handshakeBytesMax+1), []byte{})
	f.Fuzz(func(t *testing.T, b, more []byte) {
		body, n, err := parsePoll(b)
		if n > len(b) || len(body) > n || err != nil && n != 0 {
			t.Fatalf("%d of %d bytes, body %d, %v", n, len(b), len(body), err)
		}
		body2, n2, err2 := parsePoll(append(bytes.Clone(b), more...))
		if n > 0 && (n2 != n || err2 != nil || !bytes.Equal(body, body2)) {
			t.Fatalf("alone %d, with more %d, %v", n, n2, err2)
		}
	})
}
