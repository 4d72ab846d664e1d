package load

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// serverFrame writes what a server would: unmasked.
func serverFrame(op byte, payload []byte) []byte {
	b := appendMessage(nil, op, 0, payload)
	n := len(b) - len(payload)
	b[1] &^= 0x80
	return append(b[:n-4], b[n:]...)
}

func TestMessagesAreCutAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{0, 1, 125, 126, 127, 65535, 65536, 70000}).Draw(t, "size")
		want := bytes.Repeat([]byte{0xa5, 1, 2}, size/3+1)[:size]
		frame := serverFrame(opBinary, want)
		cut := rapid.IntRange(0, len(frame)-1).Draw(t, "cut")
		if _, _, n, err := parseMessage(frame[:cut]); n != 0 || err != nil {
			t.Fatalf("%d of %d bytes give n %d, %v", cut, len(frame), n, err)
		}
		op, got, n, err := parseMessage(append(frame, "next"...))
		if op != opBinary || !bytes.Equal(got, want) || n != len(frame) || err != nil {
			t.Fatalf("got opcode %d, %d bytes, n %d of %d, %v", op, len(got), n, len(frame), err)
		}
	})
}

func TestParseMessageTakesAnyBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		if _, payload, n, err := parseMessage(b); n > len(b) || len(payload) > n || err != nil && n != 0 {
			t.Fatalf("n %d of %d, payload %d, %v", n, len(b), len(payload), err)
		}
	})
}

func TestWhatAServerMustNotSendIsRefused(t *testing.T) {
	f := func(why string, b []byte) {
		t.Helper()
		if _, _, _, err := parseMessage(b); err == nil {
			t.Errorf("%s was taken", why)
		}
	}
	f("a fragment", []byte{opBinary, 1, 'x'})
	f("a reserved bit", []byte{0xc0 | opBinary, 1, 'x'})
	f("a masked frame", appendMessage(nil, opBinary, 7, []byte("x")))
	f("an endless message", []byte{0x80 | opBinary, 127, 0, 0, 1, 0, 0, 0, 0, 0})
}

func TestMaskingTwiceChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mask, want := rapid.Uint32().Draw(t, "mask"), rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		got := bytes.Clone(want)
		maskBytes(mask, got)
		for i := range got { // the definition of RFC 6455, 5.3
			if got[i] != want[i]^byte(mask>>(8*(i%4))) {
				t.Fatalf("byte %d is masked wrongly", i)
			}
		}
		if maskBytes(mask, got); !bytes.Equal(got, want) {
			t.Fatal("masking twice is not the identity")
		}
	})
}

func TestHandshakeAnswers(t *testing.T) {
	const good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + handshakeAccept + "\r\n\r\n"
	for cut := range good {
		if n, err := parseHandshake([]byte(good[:cut])); n != 0 || err != nil {
			t.Fatalf("%d of %d bytes give %d, %v", cut, len(good), n, err)
		}
	}
	if n, err := parseHandshake([]byte(good + "\x81\x00")); n != len(good) || err != nil {
		t.Errorf("a good answer gives %d of %d, %v", n, len(good), err)
	}
	f := func(answer, want string) {
		t.Helper()
		if _, err := parseHandshake([]byte(answer)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q gives %v, want an error with %q", answer, err, want)
		}
	}
	f("HTTP/1.1 503 Service Unavailable\r\n\r\n", "503")
	f(strings.Replace(good, handshakeAccept, "x", 1), "key")
	f(strings.Repeat("x", handshakeBytesMax+1), "over")
}
