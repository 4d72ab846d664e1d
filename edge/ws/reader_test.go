package ws

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

var (
	serverCfg = Config{MessageMaxBytes: 1 << 16, FragmentsMax: 64}
	clientCfg = Config{Client: true, MessageMaxBytes: 1 << 20, FragmentsMax: 64}
)

// message is an event that no longer aliases anything.
type message struct {
	op   Opcode
	code CloseCode
	body string
}

// readAll feeds the stream in pieces that end at the given cuts, as a connection
// would: what is not consumed is shown again together with what came next.
func readAll(t *testing.T, cfg *Config, stream []byte, cuts ...int) (msgs []message, err error) {
	t.Helper()
	var (
		r      Reader
		window []byte
		buf    Buffer
		from   int
	)
	for _, cut := range append(cuts, len(stream)) {
		window = append(window, stream[from:cut]...)
		from = cut
		for {
			before := slices.Clone(window)
			ev, n, need, err := r.Message(cfg, window, &buf)
			if n > len(window) {
				t.Fatalf("consumed %d of %d bytes", n, len(window))
			}
			if !bytes.Equal(window[n:], before[n:]) && err == nil {
				t.Fatal("bytes were modified but not consumed")
			}
			window = slices.Clone(window[n:])
			if cap(buf.bytes) > cfg.MessageMaxBytes {
				t.Fatalf("buffer grew to %d bytes", cap(buf.bytes))
			}
			if err != nil {
				return msgs, err
			}
			if need > 0 {
				if need <= len(window) {
					t.Fatalf("needs %d bytes but has %d", need, len(window))
				}
				if len(window) > HeaderMaxBytes+controlMaxBytes {
					t.Fatalf("%d bytes left in the window", len(window))
				}
				break
			}
			msgs = append(msgs, message{ev.Op, ev.Code, string(ev.Payload)})
		}
	}
	return msgs, nil
}

func everyByte(stream []byte) []int {
	cuts := make([]int, len(stream))
	for i := range cuts {
		cuts[i] = i
	}
	return cuts
}

// The examples of RFC 6455 section 5.7, byte for byte.
func TestReaderTakesExamplesOfRFC(t *testing.T) {
	f := func(cfg Config, stream []byte, want ...message) {
		t.Helper()
		for _, cuts := range [][]int{nil, everyByte(stream)} {
			got, err := readAll(t, &cfg, stream, cuts...)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("% x: got %v, %v; want %v", stream[:min(len(stream), 16)], got, err, want)
			}
		}
	}
	hello := message{Text, 0, "Hello"}
	f(clientCfg, []byte("\x81\x05Hello"), hello)
	f(serverCfg, []byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), hello)
	f(clientCfg, []byte("\x01\x03Hel\x80\x02lo"), hello)
	f(clientCfg, []byte("\x89\x05Hello"), message{Ping, 0, "Hello"})
	f(serverCfg, []byte("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), message{Pong, 0, "Hello"})
	b256, b64k := strings.Repeat("a", 256), strings.Repeat("b", 65536)
	f(clientCfg, []byte("\x82\x7E\x01\x00"+b256), message{Binary, 0, b256})
	f(clientCfg, []byte("\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00"+b64k), message{Binary, 0, b64k})
}

func TestReaderHandsOnControlFramesBetweenFragments(t *testing.T) {
	var stream []byte
	stream = AppendMasked(stream, false, Text, 0x11223344, []byte("one \xe2\x82"))
	stream = AppendMasked(stream, true, Ping, 0x55667788, []byte("p"))
	stream = AppendMasked(stream, false, Continuation, 0, nil)
	stream = AppendMasked(stream, true, Pong, 0, nil)
	stream = AppendMasked(stream, true, Continuation, 0x99aabbcc, []byte("\xac two"))
	stream = AppendMasked(stream, true, Binary, 0xff, nil)
	stream = AppendMasked(stream, true, Close, 0xdead, []byte("\x03\xe8bye"))
	stream = append(stream, "ignored after close"...)
	want := []message{{Ping, 0, "p"}, {Pong, 0, ""}, {Text, 0, "one € two"}, {Binary, 0, ""}, {Close, CodeNormal, "bye"}}
	for _, cuts := range [][]int{nil, everyByte(stream)} {
		got, err := readAll(t, &serverCfg, stream, cuts...)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
	}
}

func TestReaderRefusesMalformedFrames(t *testing.T) {
	f := func(name string, cfg Config, stream string, want *Error, code CloseCode) {
		t.Helper()
		if want.Code != code {
			t.Errorf("%s: close code %d, want %d", name, want.Code, code)
		}
		for _, cuts := range [][]int{nil, everyByte([]byte(stream))} {
			if _, err := readAll(t, &cfg, []byte(stream), cuts...); err != want {
				t.Errorf("%s: got %v, want %v", name, err, want)
			}
		}
	}
	key := "\x00\x00\x00\x00"
	for _, first := range []string{"\xc1", "\xa1", "\x91", "\xf1"} {
		f("reserved bits", serverCfg, first+"\x80"+key, ErrReservedBits, 1002)
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		f("reserved opcode", serverCfg, string([]byte{0x80 | op, 0x80})+key, ErrReservedOpcode, 1002)
	}
	f("unmasked to server", serverCfg, "\x81\x05Hello", ErrUnmasked, 1002)
	f("masked to client", clientCfg, "\x81\x80"+key, ErrMasked, 1002)
	for _, op := range []string{"\x88", "\x89", "\x8a"} {
		f("control of 126", serverCfg, op+"\xfe\x00\x7e"+key, ErrControlLong, 1002)
		f("control of 64 bits", serverCfg, op+"\xff\x00\x00\x00\x00\x00\x01\x00\x00"+key, ErrControlLong, 1002)
	}
	for _, op := range []string{"\x08", "\x09", "\x0a"} {
		f("control split", serverCfg, op+"\x80"+key, ErrControlSplit, 1002)
	}
	f("16-bit length of 125", serverCfg, "\x82\xfe\x00\x7d"+key, ErrLengthForm, 1002)
	f("64-bit length of 65535", serverCfg, "\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff"+key, ErrLengthForm, 1002)
	f("64-bit length, top bit", serverCfg, "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00"+key, ErrLengthRange, 1002)
	f("continuation first", serverCfg, "\x80\x80"+key, ErrContinuation, 1002)
	f("continuation after end", serverCfg, "\x82\x80"+key+"\x00\x80"+key, ErrContinuation, 1002)
	f("text in text", serverCfg, "\x01\x80"+key+"\x01\x80"+key, ErrInterleaved, 1002)
	f("binary in text", serverCfg, "\x01\x80"+key+"\x82\x80"+key, ErrInterleaved, 1002)
	f("close of one byte", serverCfg, "\x88\x81"+key+"\x03", ErrClosePayload, 1002)
	f("close reason", serverCfg, "\x88\x83"+key+"\x03\xe8\xff", ErrCloseReason, 1007)
	f("text", serverCfg, "\x81\x81"+key+"\xff", ErrText, 1007)
	f("text ends in a rune", serverCfg, "\x81\x82"+key+"\xe2\x82", ErrText, 1007)
	f("fragments end in a rune", serverCfg, "\x01\x82"+key+"\xe2\x82\x80\x80"+key, ErrText, 1007)
	f("surrogate over fragments", serverCfg, "\x01\x81"+key+"\xed\x80\x81"+key+"\xa0", ErrText, 1007)
}

func TestReaderEnforcesLimitsFromTheHeader(t *testing.T) {
	cfg := Config{MessageMaxBytes: 1000, FragmentsMax: 3}
	f := func(name string, stream []byte, want error) {
		t.Helper()
		if _, err := readAll(t, &cfg, stream); err != want {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	head := func(fin bool, op Opcode, size int) []byte {
		return append(appendHeader(nil, fin, op, size, maskBit), 1, 2, 3, 4)
	}
	whole := func(fin bool, op Opcode, size int) []byte { return append(head(fin, op, size), make([]byte, size)...) }
	f("fits", head(true, Binary, 1000), nil)
	f("one over", head(true, Binary, 1001), ErrMessageTooBig)
	f("largest", head(true, Binary, math.MaxInt64), ErrMessageTooBig)
	f("over by a fragment", append(whole(false, Binary, 600), head(true, Continuation, 401)...), ErrMessageTooBig)
	f("fits with a fragment", append(whole(false, Binary, 600), head(true, Continuation, 400)...), nil)
	three := slices.Concat(whole(false, Binary, 0), whole(false, Continuation, 0), whole(false, Continuation, 0))
	f("three fragments", three, nil)
	f("four fragments", append(three, head(true, Continuation, 0)...), ErrFragments)
	f("limits begin anew", slices.Concat(whole(true, Binary, 900), whole(false, Binary, 900), whole(true, Continuation, 100), whole(true, Binary, 900)), nil)
	if ErrMessageTooBig.Code != CodeTooBig || ErrFragments.Code != CodePolicy {
		t.Error("limits answer with the wrong close codes")
	}
	for _, bad := range []Config{{}, {MessageMaxBytes: 1}, {FragmentsMax: 1}, {MessageMaxBytes: math.MaxInt32 + 1, FragmentsMax: 1}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

func TestReaderChecksEveryCloseCode(t *testing.T) {
	allowed := func(c int) bool {
		return c >= 3000 && c < 5000 || slices.Contains([]int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}, c)
	}
	for code := range 1 << 16 {
		payload := binary.BigEndian.AppendUint16(nil, uint16(code))
		var r Reader
		ev, _, _, err := r.Next(&serverCfg, AppendMasked(nil, true, Close, 7, payload))
		if allowed(code) {
			if err != nil || ev.Op != Close || int(ev.Code) != code {
				t.Fatalf("%d: got %+v, %v", code, ev, err)
			}
		} else if err != ErrCloseCode {
			t.Fatalf("%d: got %v", code, err)
		}
	}
	var r Reader
	ev, _, _, err := r.Next(&serverCfg, AppendMasked(nil, true, Close, 7, nil))
	if err != nil || ev.Op != Close || ev.Code != CodeNoStatus {
		t.Errorf("empty close: got %+v, %v", ev, err)
	}
}

// Autobahn cases 6.4: the error comes with the first byte that makes the text
// invalid, although the frame is far from complete.
func TestReaderRefusesTextAtTheFirstWrongByte(t *testing.T) {
	stream := AppendMasked(nil, true, Text, 0xa1b2c3d4, []byte("κόσμε\xf4\x90\x80\x80edited"))
	wrong := len(stream) - len("\x90\x80\x80edited")
	var r Reader
	for i := range wrong {
		if _, _, _, err := r.Next(&serverCfg, stream[i:i+1]); i >= 6 && err != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
		if i < 6 { // the header is shown again until it is whole
			r = Reader{}
		}
		if i == 5 {
			if _, n, _, err := r.Next(&serverCfg, stream[:6]); n != 6 || err != nil {
				t.Fatalf("header: consumed %d, %v", n, err)
			}
		}
	}
	if _, _, _, err := r.Next(&serverCfg, stream[wrong:wrong+1]); err != ErrText {
		t.Fatalf("got %v, want %v", err, ErrText)
	}
	if ev, n, need, err := r.Next(&serverCfg, stream); ev.Op != 0 || n != len(stream) || need != 1 || err != nil {
		t.Fatalf("after the error: got %+v, %d, %d, %v", ev, n, need, err)
	}
}

func TestReaderTellsWhatItNeeds(t *testing.T) {
	f := func(window string, wantN, wantNeed int) {
		t.Helper()
		var r Reader
		ev, n, need, err := r.Next(&serverCfg, []byte(window))
		if ev.Op != 0 || n != wantN || need != wantNeed || err != nil {
			t.Errorf("% x: got %+v, %d, %d, %v; want %d, %d", window, ev, n, need, err, wantN, wantNeed)
		}
	}
	f("", 0, 2)
	f("\x82", 0, 2)
	f("\x82\x85", 0, 6)
	f("\x82\xfe", 0, 4)
	f("\x82\xfe\x01\x00", 0, 8)
	f("\x82\xff", 0, 10)
	f("\x82\xff\x00\x00\x00\x00\x00\x01\x00", 0, 10)
	f("\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00", 0, 14)
	f("\x82\x85\x01\x02\x03\x04", 6, 1)
	f("\x89\xfd\x01\x02\x03\x04", 0, 131)
}

func TestMessageAliasesWindowWhenWhole(t *testing.T) {
	for _, op := range []Opcode{Binary, Ping} {
		stream := AppendMasked(nil, true, op, 0x01020304, []byte("alias"))
		stream = append(stream, "next frame"...)
		var r Reader
		var buf Buffer
		ev, n, _, err := r.Message(&serverCfg, stream, &buf)
		if err != nil || n != 11 || ev.Op != op || string(ev.Payload) != "alias" {
			t.Fatalf("got %+v, %d, %v", ev, n, err)
		}
		if unsafe.SliceData(ev.Payload) != unsafe.SliceData(stream[6:]) || buf.bytes != nil {
			t.Errorf("opcode %d: a whole frame was copied", op)
		}
		if cap(ev.Payload) != len(ev.Payload) {
			t.Errorf("opcode %d: appending to the payload would write over the next frame", op)
		}
	}
}

func TestMessageHoldsBufferOnlyWhilePartial(t *testing.T) {
	stream := slices.Concat(
		AppendMasked(nil, false, Binary, 1, []byte("first")),
		AppendMasked(nil, true, Continuation, 2, []byte(" second")),
		AppendMasked(nil, true, Binary, 3, []byte("third")),
	)
	var r Reader
	var buf Buffer
	_, n, need, err := r.Message(&serverCfg, stream[:14], &buf)
	if err != nil || need == 0 || !r.Partial() || string(buf.bytes) != "first" {
		t.Fatalf("got %d, %v, partial %v, %q", need, err, r.Partial(), buf.bytes)
	}
	ev, m, _, err := r.Message(&serverCfg, stream[n:], &buf)
	if err != nil || r.Partial() || string(ev.Payload) != "first second" || unsafe.SliceData(ev.Payload) != unsafe.SliceData(buf.bytes) {
		t.Fatalf("got %q, %v, partial %v", ev.Payload, err, r.Partial())
	}
	if ev, _, _, err = r.Message(&serverCfg, stream[n+m:], &buf); err != nil || string(ev.Payload) != "third" || r.Partial() {
		t.Fatalf("got %q, %v, partial %v", ev.Payload, err, r.Partial())
	}
	// A header that promises much reserves nothing.
	r, buf = Reader{}, Buffer{}
	if _, _, _, err := r.Message(&serverCfg, append(appendHeader(nil, true, Binary, 60000, maskBit), 1, 2, 3, 4, 5), &buf); err != nil || cap(buf.bytes) != bufferMinBytes {
		t.Fatalf("buffer of %d bytes for one byte, %v", cap(buf.bytes), err)
	}
}

func TestIdleReaderIsSmallAndReadingAllocatesNothing(t *testing.T) {
	if size := unsafe.Sizeof(Reader{}); size > 24 {
		t.Errorf("a Reader takes %d bytes", size)
	}
	stream := slices.Concat(
		AppendMasked(nil, true, Text, 0x01020304, []byte("grüße an alle")),
		AppendMasked(nil, false, Text, 0x01020304, []byte("a\xc3")),
		AppendMasked(nil, true, Ping, 0x01020304, []byte("x")),
		AppendMasked(nil, true, Continuation, 0x01020304, []byte("\xbcb")),
	)
	bad := []byte("\x81\x05Hello")
	window := make([]byte, len(stream))
	buf := Buffer{bytes: make([]byte, 0, 64)}
	var r Reader
	allocs := testing.AllocsPerRun(200, func() {
		copy(window, stream)
		rest, events := window, 0
		for {
			_, n, need, err := r.Message(&serverCfg, rest, &buf)
			rest = rest[n:]
			if err != nil {
				t.Fatal(err)
			}
			if need > 0 {
				break
			}
			events++
		}
		if events != 3 || len(rest) != 0 {
			t.Fatalf("%d events, %d bytes left", events, len(rest))
		}
		var broken Reader
		if _, _, _, err := broken.Next(&serverCfg, bad); err != ErrUnmasked {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkMessage(b *testing.B) {
	for _, c := range []struct {
		name string
		op   Opcode
		body []byte
	}{
		{"Binary100", Binary, bytes.Repeat([]byte("x"), 100)},
		{"Text100", Text, bytes.Repeat([]byte("x"), 100)},
		{"TextChinese300", Text, bytes.Repeat([]byte("信"), 100)},
		{"Binary16K", Binary, bytes.Repeat([]byte("x"), 1<<14)},
	} {
		b.Run(c.name, func(b *testing.B) {
			stream := AppendMasked(nil, true, c.op, 0x01020304, c.body)
			window := make([]byte, len(stream))
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			var r Reader
			var buf Buffer
			for b.Loop() {
				copy(window, stream)
				if _, _, need, err := r.Message(&serverCfg, window, &buf); err != nil || need > 0 {
					b.Fatal(need, err)
				}
			}
		})
	}
}
