package ws

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/klauspost/compress/flate"
)

// deflateCfg is a server's on a connection with permessage-deflate.
var deflateCfg = Config{Deflate: true, MessageMaxBytes: 1 << 16, FragmentsMax: 1 << 16}

// inflateParts pushes the parts of one whole message.
func inflateParts(maxBytes int, parts ...[]byte) (out []byte, err error) {
	var f inflater
	for _, p := range append(parts, syncTail) {
		if out, err = f.push(out, p, maxBytes); err != nil {
			return out, err
		}
	}
	if !f.ended() {
		return out, ErrDeflate
	}
	return out, nil
}

// samples are bodies that make the compressors use every kind of block.
func samples() [][]byte {
	rng := rand.New(rand.NewPCG(21, 22))
	noise := make([]byte, 70_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	var words bytes.Buffer
	for words.Len() < 200_000 {
		fmt.Fprintf(&words, "%x {\"id\":%d,\"text\":\"%s\"}\n", rng.Uint32(), rng.IntN(1000), strings.Repeat("ab", rng.IntN(40)))
	}
	return [][]byte{
		{},
		[]byte("Hello"), []byte("HelloHelloHelloHello"), bytes.Repeat([]byte("z"), 100_000), noise[:200], noise,
		words.Bytes()[:300], words.Bytes()[:5000], words.Bytes(), slices.Concat(noise[:40_000], noise[:40_000]), slices.Concat(words.Bytes()[:3000], noise[:3000], words.Bytes()[:3000]),
	}
}

func TestInflaterReadsWhatCompressorsWriteCutAnywhere(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	for i, body := range samples() {
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			var packed bytes.Buffer
			w, err := flate.NewWriter(&packed, level)
			if err != nil {
				t.Fatal(err)
			}
			for from := 0; from < len(body); from += 30_000 { // several flushes are several blocks
				_, _ = w.Write(body[from:min(len(body), from+30_000)])
				_ = w.Flush()
			}
			if len(body) == 0 {
				_ = w.Flush()
			}
			data := packed.Bytes()[:packed.Len()-len(syncTail)]
			var parts [][]byte
			for rest := data; len(rest) > 0; {
				n := 1 + rng.IntN(min(len(rest), 1+rng.IntN(300)))
				parts, rest = append(parts, rest[:n]), rest[n:]
			}
			for name, cut := range map[string][][]byte{"whole": {data}, "parts": parts} {
				if got, err := inflateParts(1<<20, cut...); err != nil || !bytes.Equal(got, body) {
					t.Fatalf("sample %d, level %d, %s: %d bytes, %v", i, level, name, len(got), err)
				}
			}
		}
	}
}

// The payloads of RFC 7692 section 7.2.3.
func TestInflaterFollowsTheExamplesOfTheRFC(t *testing.T) {
	f := func(name, want string, payload ...byte) {
		t.Helper()
		if got, err := inflateParts(100, payload); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		bytewise := make([][]byte, len(payload))
		for i := range payload {
			bytewise[i] = payload[i : i+1]
		}
		if got, err := inflateParts(100, bytewise...); err != nil || string(got) != want {
			t.Errorf("%s by bytes: %q, %v", name, got, err)
		}
	}
	f("7.2.3.1", "Hello", 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00)
	f("7.2.3.3 without compression", "Hello", 0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00)
	f("7.2.3.4 with BFINAL", "Hello", 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00)
	f("7.2.3.5 two blocks", "Hello", 0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00)
	f("7.2.3.6 empty", "", 0x00)
	f("empty by fixed codes", "", 0x02, 0x00)
	f("a block behind a final one refers to it", "HelloHello", 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x02, 0x13, 0x00, 0x00)
	f("many empty blocks", "", bytes.Repeat([]byte{0x00, 0x00, 0x00, 0xff, 0xff}, 50)[:246]...)
}

func TestInflaterRefusesDamage(t *testing.T) {
	f := func(name string, payload ...byte) {
		t.Helper()
		if got, err := inflateParts(1000, payload); err != ErrDeflate {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	f("no payload at all")
	f("block type 3", 0x06, 0x00)
	f("stored lengths do not agree", 0x00, 0x05, 0x00, 0xfa, 0xfe, 0, 0, 0, 0, 0, 0)
	f("stored block cut off", 0x00, 0x09, 0x00, 0xf6, 0xff, 1, 2)
	f("reference before the beginning", 0x4a, 0x04, 0x62, 0x00, 0x00)
	f("no end of the block", 0xf2, 0x48, 0xcd, 0xc9)
	f("ends in a final block alone", 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00)
	f("too many literal codes", 0xfc, 0xff, 0xff, 0xff, 0xff)
	f("over-subscribed lengths", 0x04, 0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
}

// zipBomb is deflated zeros: size bytes in about a thousandth.
func zipBomb(size int) []byte {
	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, flate.BestCompression)
	zeros := make([]byte, 1<<20)
	for ; size > 0; size -= len(zeros) {
		_, _ = w.Write(zeros[:min(size, len(zeros))])
	}
	_ = w.Flush()
	return packed.Bytes()[:packed.Len()-len(syncTail)]
}

// packedFrame is a masked frame with RSV1 set.
func packedFrame(fin bool, op Opcode, payload []byte) []byte {
	b := AppendMasked(nil, fin, op, 0x55aa1234, payload)
	b[0] |= deflateBit
	return b
}

func TestInflatedMessageNeverExceedsTheLimit(t *testing.T) {
	cfg := Config{Deflate: true, MessageMaxBytes: 1 << 16, FragmentsMax: 8}
	f := func(size int, cuts int, want error) {
		t.Helper()
		stream := packedFrame(true, Binary, zipBomb(size))
		var r Reader
		var buf Buffer
		var window []byte
		for step := max(1, len(stream)/cuts); len(stream) > 0; {
			n := min(step, len(stream))
			window, stream = append(window, stream[:n]...), stream[n:]
			ev, n, _, err := r.Message(&cfg, window, &buf)
			window = window[n:]
			if cap(buf.bytes) > cfg.MessageMaxBytes {
				t.Fatalf("%d bytes: the buffer grew to %d", size, cap(buf.bytes))
			}
			if err != nil || ev.Op != 0 {
				if err != want || err == nil && len(ev.Payload) != size {
					t.Fatalf("%d bytes in %d parts: %d, %v, want %v", size, cuts, len(ev.Payload), err, want)
				}
				return
			}
		}
		t.Fatalf("%d bytes: no outcome", size)
	}
	for _, cuts := range []int{1, 3, 50} {
		f(cfg.MessageMaxBytes-1, cuts, nil)
		f(cfg.MessageMaxBytes, cuts, nil)
		f(cfg.MessageMaxBytes+1, cuts, ErrMessageTooBig)
		f(3<<20, cuts, ErrMessageTooBig)
	}
	// What does not compress may take a little more than the limit on the wire.
	noise := samples()[5][:cfg.MessageMaxBytes]
	var stored bytes.Buffer
	w, _ := flate.NewWriter(&stored, flate.NoCompression)
	_, _ = w.Write(noise)
	_ = w.Flush()
	payload := stored.Bytes()[:stored.Len()-4]
	msgs, err := readAll(t, &cfg, packedFrame(true, Binary, payload))
	if err != nil || len(msgs) != 1 || msgs[0].body != string(noise) || len(payload) <= cfg.MessageMaxBytes {
		t.Fatalf("%d messages from %d bytes, %v", len(msgs), len(payload), err)
	}
	// … but not more: empty blocks cost work and give nothing.
	var r Reader
	if _, _, _, err := r.Next(&cfg, packedFrame(true, Binary, make([]byte, cfg.MessageMaxBytes+200))[:14]); err != ErrMessageTooBig {
		t.Fatal(err)
	}
}

// The bomb is given up at the limit, however much of it has arrived: inflating
// takes no more than the limit.
func TestInflaterStopsAtTheLimit(t *testing.T) {
	bomb := zipBomb(2 << 20)
	var f inflater
	out, err := f.push(nil, bomb, 1000)
	if err != ErrMessageTooBig || len(out) != 1000 || cap(out) != 1000 {
		t.Fatalf("%d of %d bytes, %v", len(out), cap(out), err)
	}
}

// Literals, references and stored bytes each reach every limit, also by one byte.
func TestInflaterHoldsEveryLimitToTheByte(t *testing.T) {
	bodies := [][]byte{bytes.Repeat([]byte("z"), 700), samples()[4], []byte(strings.Repeat("Hello, ", 60))}
	for i, body := range bodies {
		for _, level := range []int{flate.NoCompression, flate.HuffmanOnly, 1, 9} {
			var packed bytes.Buffer
			w, _ := flate.NewWriter(&packed, level)
			_, _ = w.Write(body)
			_ = w.Flush()
			data := packed.Bytes()[:packed.Len()-len(syncTail)]
			for limit := 1; limit <= len(body)+1; limit++ {
				want := error(nil)
				if limit < len(body) {
					want = ErrMessageTooBig
				}
				got, err := inflateParts(limit, data)
				if err != want || !bytes.Equal(got, body[:min(limit, len(body))]) || cap(got) > limit {
					t.Fatalf("body %d, level %d, limit %d: %d bytes (cap %d), %v", i, level, limit, len(got), cap(got), err)
				}
			}
		}
	}
}

func TestReservedBit1OnlyBeginsDataMessages(t *testing.T) {
	packed := deflated(NewDeflater(1, 1), []byte("Hello"))
	f := func(name string, cfg *Config, want error, stream ...[]byte) {
		t.Helper()
		msgs, err := readAll(t, cfg, slices.Concat(stream...))
		if err != want || want == nil && (len(msgs) != 1 || msgs[0].body != "Hello") {
			t.Errorf("%s: %v, %v; want %v", name, msgs, err, want)
		}
	}
	plain := deflateCfg
	plain.Deflate = false
	bits := func(b byte, frame []byte) []byte {
		frame = slices.Clone(frame)
		frame[0] |= b
		return frame
	}
	whole := AppendMasked(nil, true, Text, 9, packed)
	first, last := AppendMasked(nil, false, Text, 9, packed[:3]), AppendMasked(nil, true, Continuation, 10, packed[3:])
	f("text", &deflateCfg, nil, bits(0x40, whole))
	f("fragments", &deflateCfg, nil, bits(0x40, first), last)
	f("empty first fragment", &deflateCfg, nil, packedFrame(false, Text, nil), AppendMasked(nil, false, Continuation, 3, packed), AppendMasked(nil, true, Continuation, 3, nil))
	f("not agreed on", &plain, ErrReservedBits, bits(0x40, whole))
	f("continuation", &deflateCfg, ErrReservedBits, bits(0x40, first), bits(0x40, last))
	f("continuation of a plain message", &deflateCfg, ErrReservedBits, first, bits(0x40, last))
	f("with RSV2", &deflateCfg, ErrReservedBits, bits(0x60, whole))
	f("with RSV3", &deflateCfg, ErrReservedBits, bits(0x50, whole))
	f("RSV2 alone", &deflateCfg, ErrReservedBits, bits(0x20, whole))
	for _, op := range []Opcode{Ping, Pong, Close} {
		f(strconv.Itoa(int(op)), &deflateCfg, ErrReservedBits, packedFrame(true, op, nil))
	}
	f("reserved opcode", &deflateCfg, ErrReservedBits, packedFrame(true, 3, nil))
	f("plain among compressed", &deflateCfg, nil, AppendMasked(nil, true, Text, 4, []byte("Hello")))
}

// RFC 6455 section 8.1 on the inflated text: the connection fails while the frame
// is far from complete.
func TestDeflatedTextFailsBeforeTheMessageEnds(t *testing.T) {
	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, 5)
	_, _ = w.Write([]byte("κόσμε\xf4\x90\x80\x80"))
	_ = w.Flush()
	wrong := packed.Len()
	_, _ = w.Write(bytes.Repeat([]byte("and so on, quite valid "), 100))
	_ = w.Flush()
	stream := packedFrame(true, Text, packed.Bytes()[:packed.Len()-4])
	head := len(stream) - (packed.Len() - 4)
	var r Reader
	var buf Buffer
	if _, n, _, err := r.Message(&deflateCfg, slices.Clone(stream[:head+wrong]), &buf); err != ErrText {
		t.Fatalf("consumed %d of %d, %v", n, len(stream), err)
	}
	if ev, n, need, err := r.Message(&deflateCfg, stream, &buf); ev.Op != 0 || n != len(stream) || need != 1 || err != nil {
		t.Fatalf("after the error: %+v, %d, %d, %v", ev, n, need, err)
	}
	// A rune cut off by the end of the message.
	if _, err := readAll(t, &deflateCfg, packedFrame(true, Text, deflated(NewDeflater(1, 1), []byte("caf\xc3")))); err != ErrText {
		t.Fatal(err)
	}
}

func TestDeflaterKeepsToTheWindowItWasGiven(t *testing.T) {
	d := NewDeflater(1, 9)
	for bits := WindowBitsMin; bits <= WindowBitsMax; bits++ {
		reached := 0
		for i, body := range samples()[1:] {
			payload, packed := unframe(t, d.AppendFrame(nil, Binary, body, bits))
			if !packed {
				if !bytes.Equal(payload, body) {
					t.Fatalf("sample %d: changed", i+1)
				}
				continue
			}
			p := puffed{}
			if err := p.run(append(payload, syncTail...), 1<<20); err != errShort || !p.aligned || !bytes.Equal(p.out, body) {
				t.Fatalf("sample %d, %d bits: %d bytes, %v", i+1, bits, len(p.out), err)
			}
			if p.farthest > 1<<bits {
				t.Fatalf("sample %d: a reference over %d bytes with %d bits", i+1, p.farthest, bits)
			}
			reached = max(reached, p.farthest)
		}
		if reached < 1<<(bits-1) {
			t.Errorf("%d bits: the farthest reference is %d bytes: the test shows nothing", bits, reached)
		}
	}
}

// unframe takes an unmasked frame apart with the client's own Reader.
func unframe(t *testing.T, frame []byte) (payload []byte, packed bool) {
	t.Helper()
	cfg := Config{Client: true, Deflate: true, MessageMaxBytes: 1 << 20, FragmentsMax: 1}
	var r Reader
	ev, n, need, err := r.Next(&cfg, frame)
	if err != nil || need != 0 || n != len(frame) || !ev.First || !ev.Last {
		t.Fatalf("%+v, %d of %d, %d, %v", ev, n, len(frame), need, err)
	}
	return slices.Clone(ev.Payload), ev.Deflated
}

func TestDeflaterSendsPlainWhatGainsNothing(t *testing.T) {
	d := NewDeflater(128, 1)
	f := func(body []byte, want bool) {
		t.Helper()
		frame := d.AppendFrame([]byte("before"), Binary, body, WindowBitsMax)
		if !bytes.HasPrefix(frame, []byte("before")) {
			t.Fatal("what stood there is gone")
		}
		payload, packed := unframe(t, frame[6:])
		if packed != want || !packed && !bytes.Equal(payload, body) || packed && len(payload) >= len(body) {
			t.Errorf("%d bytes: compressed %v to %d", len(body), packed, len(payload))
		}
	}
	f(nil, false)
	f(bytes.Repeat([]byte("a"), 127), false)
	f(bytes.Repeat([]byte("a"), 128), true)
	f(samples()[4], false)
	f(samples()[6], true)
}

// TestStateOfCompression holds the documented figures: an idle connection has none
// of it, one in the middle of a compressed message an inflater, and a compressor
// exists for each call under way.
func TestStateOfCompression(t *testing.T) {
	if size := unsafe.Sizeof(Reader{}); size != 24 {
		t.Errorf("a Reader takes %d bytes", size)
	}
	if size := unsafe.Sizeof(inflater{}); size > 4096 {
		t.Errorf("an inflater takes %d bytes", size)
	}
	stream := packedFrame(true, Text, deflated(NewDeflater(1, 1), bytes.Repeat([]byte("text "), 100)))
	half := len(stream) / 2
	var r Reader
	var loop Buffer
	_, n, _, err := r.Message(&deflateCfg, stream[:half], &loop)
	if err != nil || !r.Partial() {
		t.Fatal(err, r.Partial())
	}
	lent := loop.Lend(&r)
	if lent.inflater == nil || loop.inflater != nil || loop.bytes != nil {
		t.Fatal("the message under way did not take its state along")
	}
	ev, _, _, err := r.Message(&deflateCfg, stream[n:], lent)
	if err != nil || r.Partial() || string(ev.Payload) != strings.Repeat("text ", 100) {
		t.Fatalf("%q, %v", ev.Payload, err)
	}
	loop.Reclaim(lent, 1<<10)
	if loop.inflater == nil || cap(loop.bytes) == 0 || lent.inflater != nil || lent.bytes != nil {
		t.Fatal("the loop did not get it back")
	}
	// A plain message under way leaves the inflater to others.
	if _, _, _, err := r.Message(&deflateCfg, AppendMasked(nil, false, Text, 7, []byte("part")), &loop); err != nil {
		t.Fatal(err)
	}
	if lent = loop.Lend(&r); lent.inflater != nil || loop.inflater == nil {
		t.Fatal("a plain message took the inflater along")
	}
}

func TestInflatingAndDeflatingAllocateNothing(t *testing.T) {
	d := NewDeflater(1, 1)
	body := bytes.Repeat([]byte("a message like many others, "), 20)
	stream := packedFrame(true, Text, deflated(d, body))
	window := make([]byte, len(stream))
	frame := make([]byte, 0, 1024)
	var buf Buffer
	var r Reader
	if allocs := testing.AllocsPerRun(100, func() {
		copy(window, stream)
		if ev, _, _, err := r.Message(&deflateCfg, window, &buf); err != nil || len(ev.Payload) != len(body) {
			t.Fatal(err)
		}
		if frame = d.AppendFrame(frame[:0], Text, body, WindowBitsMax); frame[0] != 0xC1 {
			t.Fatal("not compressed")
		}
	}); allocs > 0.2 && !raceEnabled { // the pool may be emptied by a collection, and is at random under the race detector
		t.Errorf("%v allocations a message", allocs)
	}
}

// FuzzInflate shows arbitrary data whole and cut: the outcome is the oracle's, and
// never more than the limit. Whole streams are also held against the standard library.
func FuzzInflate(f *testing.F) {
	d := NewDeflater(1, 6)
	for _, body := range samples()[:5] {
		f.Add(deflated(d, body[:min(len(body), 3000)]), []byte{3, 1, 200}, uint16(4000))
	}
	f.Add(deflated(NewDeflater(1, 9), samples()[6]), []byte{7}, uint16(200))
	f.Add([]byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}, []byte{1}, uint16(5))
	f.Add(zipBomb(5000), []byte{2}, uint16(4999))
	f.Fuzz(func(t *testing.T, data, steps []byte, limit uint16) {
		maxBytes := int(limit) + 1
		want, wantErr := modelInflate(data, true, maxBytes)
		var parts [][]byte
		for rest, i := data, 0; len(rest) > 0 && len(steps) > 0; i++ {
			n := min(len(rest), 1+int(steps[i%len(steps)]))
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		if len(steps) == 0 {
			parts = [][]byte{data}
		}
		for _, cut := range [][][]byte{{data}, parts} {
			got, err := inflateParts(maxBytes, cut...)
			if err != wantErr || !bytes.Equal(got, want) || cap(got) > maxBytes {
				t.Fatalf("%d parts: %d bytes (cap %d), %v; want %d, %v", len(cut), len(got), cap(got), err, len(want), wantErr)
			}
		}
		p := puffed{}
		_ = p.run(append(data[:len(data):len(data)], syncTail...), maxBytes)
		if p.finals > 0 || wantErr == ErrMessageTooBig {
			return // the standard library ends at a final block
		}
		if standard, ok := standardInflate(data, maxBytes); ok != (wantErr == nil) || ok && !bytes.Equal(standard, want) {
			t.Fatalf("%v; the standard library says %v", wantErr, ok)
		}
	})
}
