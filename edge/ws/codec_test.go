package ws

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMaskEqualsByteByByte(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	naive := func(key uint32, b []byte) {
		wire := [4]byte{byte(key), byte(key >> 8), byte(key >> 16), byte(key >> 24)}
		for i := range b {
			b[i] ^= wire[i%4]
		}
	}
	backing := make([]byte, 256)
	for size := range 140 {
		for start := range 9 {
			for i := range backing {
				backing[i] = byte(rng.Uint32())
			}
			key := rng.Uint32()
			want := bytes.Clone(backing)
			naive(key, want[start:start+size])
			got := bytes.Clone(backing)
			cut := start + rng.IntN(size+1)
			next := Mask(key, got[start:cut])
			Mask(next, got[cut:start+size])
			if !bytes.Equal(got, want) {
				t.Fatalf("size %d, start %d, cut %d: masked wrongly", size, start, cut)
			}
		}
	}
}

// prefixOfText is the slow definition: b can be continued to valid UTF-8.
func prefixOfText(b []byte) bool {
	if utf8.Valid(b) {
		return true
	}
	for cut := max(0, len(b)-3); cut < len(b); cut++ {
		if utf8.Valid(b[:cut]) && prefixOfRune(b[cut:]) {
			return true
		}
	}
	return false
}

// prefixOfRune tries to continue b by bytes at the ends of the ranges in table
// 3-7 of the Unicode standard: if any byte leads to a rune, one of them does.
func prefixOfRune(b []byte) bool {
	if r, size := utf8.DecodeRune(b); size == len(b) && (r != utf8.RuneError || size == 3) {
		return true
	}
	if len(b) == utf8.UTFMax {
		return false
	}
	for _, c := range []byte{0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF} {
		if prefixOfRune(append(b[:len(b):len(b)], c)) {
			return true
		}
	}
	return false
}

func TestTextStateEqualsUnicodeUTF8AtEveryByte(t *testing.T) {
	f := func(b []byte) {
		t.Helper()
		var state textState
		for i := range b {
			ok := state.add(b[i : i+1])
			if want := prefixOfText(b[:i+1]); ok != want {
				t.Fatalf("%q at byte %d: got %v, want %v", b, i, ok, want)
			}
			if !ok {
				return
			}
			if state.whole() != utf8.Valid(b[:i+1]) {
				t.Fatalf("%q at byte %d: whole %v", b, i, state.whole())
			}
		}
	}
	for _, s := range []string{
		"", "plain", "κόσμε", "信", "😀", "a\xc3", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xf4\x90\x80\x80",
		"\xed\x9f\xbf", "\xed\xa0\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\xa0\x80", "\xf0\x80\x80\x80", "\xf5\x80", "\x80", "\xbf", "\xfe", "\xff",
		"\xc3a", "\xe2\x82a", "\xf0\x9f\x98a", "\xe2a", "\xf0a", "\ufffe\uffff\U0010ffff",
	} {
		f([]byte(s))
	}
	alphabet := []byte{'a', 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		b := make([]byte, 1+rng.IntN(6))
		for i := range b {
			b[i] = alphabet[rng.IntN(len(alphabet))]
		}
		f(b)
	}
}

func TestTextStateIsTheSameForAnySplit(t *testing.T) {
	alphabet := []string{"a", "plain text, long enough", "é", "信", "😀", "\x80", "\xe2\x82", "\xf0\x9f", "\xed"}
	rng := rand.New(rand.NewPCG(5, 6))
	valid := 0
	for range 5000 {
		var b []byte
		for range rng.IntN(8) {
			n := 5
			if rng.IntN(10) == 0 {
				n = len(alphabet)
			}
			b = append(b, alphabet[rng.IntN(n)]...)
		}
		var state textState
		ok := true
		for rest := b; ok && len(rest) > 0; {
			n := 1 + rng.IntN(len(rest))
			ok = state.add(rest[:n])
			rest = rest[n:]
		}
		if got, want := ok && state.whole(), utf8.Valid(b); got != want {
			t.Fatalf("%q: got %v, want %v", b, got, want)
		}
		if ok {
			valid++
		}
	}
	if valid < 1000 || valid > 4900 {
		t.Fatalf("%d of 5000 texts were valid: the sample shows nothing", valid)
	}
}

func TestAppendUsesShortestLengths(t *testing.T) {
	f := func(size int, want string) {
		t.Helper()
		if got := string(AppendHeader([]byte("x"), true, Binary, size)); got != "x"+want {
			t.Errorf("%d: got % x, want % x", size, got, want)
		}
	}
	f(0, "\x82\x00")
	f(125, "\x82\x7d")
	f(126, "\x82\x7e\x00\x7e")
	f(65535, "\x82\x7e\xff\xff")
	f(65536, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00")
	if got := string(AppendFrame(nil, Text, []byte("Hello"))); got != "\x81\x05Hello" {
		t.Errorf("frame: % x", got)
	}
	if got := string(AppendMasked(nil, true, Text, 0x3d21fa37, []byte("Hello"))); got != "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" {
		t.Errorf("masked frame: % x", got)
	}
	if got := string(AppendHeader(nil, false, Continuation, 1)); got != "\x00\x01" {
		t.Errorf("fragment: % x", got)
	}
}

func TestAppendCloseFitsAndStaysText(t *testing.T) {
	f := func(code CloseCode, reason, want string) {
		t.Helper()
		if got := string(AppendClose(nil, code, reason)); got != want {
			t.Errorf("%d %q: got %q, want %q", code, reason, got, want)
		}
	}
	f(CodeNormal, "bye", "\x88\x05\x03\xe8bye")
	f(4201, "", "\x88\x02\x10\x69")
	f(CodeNoStatus, "unused", "\x88\x00")
	f(CodeNormal, "\xff", "\x88\x02\x03\xe8")
	long := strings.Repeat("a", 122)
	f(CodeNormal, long+"b", "\x88\x7d\x03\xe8"+long+"b")
	f(CodeNormal, long+"é", "\x88\x7c\x03\xe8"+long)
	f(CodeNormal, long+"bc", "\x88\x7d\x03\xe8"+long+"b")
	for _, code := range []CloseCode{0, 999, 1004, CodeAbnormal, CodeTLS, 5000} {
		panics(t, func() { AppendClose(nil, code, "") })
	}
	panics(t, func() { AppendHeader(nil, true, Ping, 126) })
	panics(t, func() { AppendHeader(nil, false, Ping, 1) })
}

func panics(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	f()
}

func TestErrorsFitACloseFrame(t *testing.T) {
	for _, e := range []*Error{
		ErrReservedBits, ErrReservedOpcode, ErrUnmasked, ErrMasked, ErrControlLong, ErrControlSplit, ErrLengthForm, ErrLengthRange,
		ErrContinuation, ErrInterleaved, ErrClosePayload, ErrCloseCode, ErrCloseReason, ErrText, ErrMessageTooBig, ErrFragments,
	} {
		if want := 4 + len(e.Reason); len(AppendClose(nil, e.Code, e.Reason)) != want {
			t.Errorf("%v does not fit", e)
		}
	}
}

func BenchmarkMask(b *testing.B) {
	for _, size := range []int{16, 100, 1 << 14} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				Mask(0x01020304, p)
			}
		})
	}
}
