package ws

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"
)

// model reads a whole stream by the letter of RFC 6455: one pass, bytes copied
// and unmasked one by one, no state between calls. It is the oracle of Reader.
//
//tidy:long one pass over the frame layout, read beside section 5.2
func model(cfg *Config, b []byte) (msgs []message, err error) {
	var op Opcode
	var body, packed []byte
	compressed := false
	size, frames := 0, 0
	for {
		fin, reserved, kind := false, byte(0), Opcode(0)
		if len(b) < 2 {
			return msgs, nil
		}
		fin, reserved, kind = b[0] >= 0x80, b[0]>>4&7, Opcode(b[0]&15)
		masked, length, at := b[1] >= 0x80, uint64(b[1]&0x7f), 2
		switch {
		case reserved != 0 && (reserved != 4 || !cfg.Deflate || kind != Text && kind != Binary):
			return msgs, ErrReservedBits
		case !slices.Contains([]Opcode{0, 1, 2, 8, 9, 10}, kind):
			return msgs, ErrReservedOpcode
		case masked && cfg.Client:
			return msgs, ErrMasked
		case !masked && !cfg.Client:
			return msgs, ErrUnmasked
		case kind >= 8 && length > 125:
			return msgs, ErrControlLong
		case kind >= 8 && !fin:
			return msgs, ErrControlSplit
		}
		if wide := map[uint64]int{126: 2, 127: 8}[length]; wide > 0 {
			if len(b) < at+wide {
				return msgs, nil
			}
			least := length
			if wide == 8 {
				least = 65536
			}
			length = 0
			for _, c := range b[at : at+wide] {
				length = length<<8 | uint64(c)
			}
			at += wide
			if length>>63 != 0 {
				return msgs, ErrLengthRange
			} else if length < least {
				return msgs, ErrLengthForm
			}
		}
		var key [4]byte
		if masked {
			if len(b) < at+4 {
				return msgs, nil
			}
			copy(key[:], b[at:])
			at += 4
		}
		if kind < 8 {
			switch {
			case kind == 0 && frames == 0:
				return msgs, ErrContinuation
			case kind != 0 && frames > 0:
				return msgs, ErrInterleaved
			case length > uint64(modelSumMax(cfg, compressed || reserved != 0)-size):
				return msgs, ErrMessageTooBig
			case frames+1 > cfg.FragmentsMax:
				return msgs, ErrFragments
			}
			if frames == 0 {
				op, body, packed, compressed = kind, nil, nil, reserved != 0
			}
			frames++
			size += int(length)
		}
		var payload []byte
		for i := at; i < len(b) && uint64(i-at) < length; i++ {
			payload = append(payload, b[i]^key[(i-at)%4])
		}
		whole := uint64(len(payload)) == length
		if kind < 8 {
			if compressed {
				packed = append(packed, payload...)
				body, err = modelInflate(packed, fin && whole, cfg.MessageMaxBytes)
			} else {
				body = append(body, payload...)
			}
			if op == Text && err == nil && fin && whole && !utf8.Valid(body) || op == Text && !modelPrefix(body) {
				return msgs, ErrText
			}
			if err != nil {
				return msgs, err
			}
			if fin && whole {
				msgs = append(msgs, message{op, 0, string(body)})
				size, frames, compressed = 0, 0, false
			}
		}
		if !whole {
			return msgs, nil
		}
		switch kind {
		case Ping, Pong:
			msgs = append(msgs, message{kind, 0, string(payload)})
		case Close:
			m, err := modelClose(payload)
			if err != nil {
				return msgs, err
			}
			return append(msgs, m), nil
		}
		b = b[at+len(payload):]
	}
}

func modelPrefix(b []byte) bool {
	for cut := max(0, len(b)-3); cut <= len(b); cut++ {
		if utf8.Valid(b[:cut]) && !utf8.FullRune(b[cut:]) || utf8.Valid(b) {
			return true
		}
	}
	return false
}

func modelClose(payload []byte) (message, error) {
	if len(payload) == 0 {
		return message{Close, CodeNoStatus, ""}, nil
	}
	if len(payload) == 1 {
		return message{}, ErrClosePayload
	}
	code := int(payload[0])*256 + int(payload[1])
	known := []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
	if !slices.Contains(known, code) && (code < 3000 || code > 4999) {
		return message{}, ErrCloseCode
	}
	if !utf8.Valid(payload[2:]) {
		return message{}, ErrCloseReason
	}
	return message{Close, CloseCode(code), string(payload[2:])}, nil
}

// streamDeflaters write fixed, dynamic and stored blocks.
var streamDeflaters = []*Deflater{NewDeflater(1, 1), NewDeflater(1, 6), NewDeflater(1, 9)}

// randomStream is a plausible talk of a peer: fragmented messages with control
// frames between, and now and then a wrong byte.
func randomStream(rng *rand.Rand, client bool) []byte {
	texts := []string{"", "a", "plain", "grüße", "信信信", "😀", "\xe2\x82", "\xac", "\xff"}
	var stream []byte
	frame := func(fin bool, op Opcode, payload []byte) {
		if client {
			stream = append(AppendHeader(stream, fin, op, len(payload)), payload...)
			return
		}
		stream = AppendMasked(stream, fin, op, rng.Uint32(), payload)
	}
	compress := streamDeflaters[rng.IntN(len(streamDeflaters))]
	for range 1 + rng.IntN(4) {
		op := []Opcode{Text, Binary}[rng.IntN(2)]
		var body []byte
		for range rng.IntN(6) {
			n := 6
			if rng.IntN(30) == 0 {
				n = len(texts)
			}
			body = append(body, texts[rng.IntN(n)]...)
		}
		if rng.IntN(4) == 0 {
			body = append(body, make([]byte, rng.IntN(550))...)
		}
		packed := rng.IntN(3) == 0
		if packed {
			body = deflated(compress, body)
			if len(body) > 0 && rng.IntN(8) == 0 {
				body[rng.IntN(len(body))] ^= 1 << rng.IntN(8)
			}
		}
		begin := func(fin bool, payload []byte) {
			at := len(stream)
			frame(fin, op, payload)
			if packed && op != Continuation {
				stream[at] |= 0x40
			}
		}
		for parts := rng.IntN(5); parts > 0; parts-- {
			cut := rng.IntN(len(body) + 1)
			begin(false, body[:cut])
			body, op = body[cut:], Continuation
			if rng.IntN(3) == 0 {
				frame(true, []Opcode{Ping, Pong}[rng.IntN(2)], body[:min(len(body), 125)])
			}
		}
		begin(true, body)
	}
	if rng.IntN(2) == 0 {
		frame(true, Close, append([]byte{byte(3 + rng.IntN(2)), byte(0xe8 + rng.IntN(9))}, texts[rng.IntN(len(texts))]...))
	}
	for rng.IntN(3) == 0 {
		stream[rng.IntN(len(stream))] ^= 1 << rng.IntN(8)
	}
	if rng.IntN(4) == 0 {
		stream = stream[:rng.IntN(len(stream))]
	}
	return stream
}

func TestReaderEqualsModelForAnySplit(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	outcomes := map[error]int{}
	for i := range 4000 {
		cfg := Config{Client: i%2 == 0, Deflate: i%8 != 0, MessageMaxBytes: 500, FragmentsMax: 4}
		stream := randomStream(rng, cfg.Client)
		var cuts []int
		for at := rng.IntN(20); at < len(stream); at += 1 + rng.IntN(40) {
			cuts = append(cuts, at)
		}
		want, wantErr := model(&cfg, stream)
		outcomes[wantErr]++
		for _, c := range [][]int{nil, cuts, everyByte(stream)} {
			if got, err := readAll(t, &cfg, stream, c...); err != wantErr || !slices.Equal(got, want) {
				t.Fatalf("% x\ncut at %v: got %v, %v; want %v, %v", stream, c, got, err, want, wantErr)
			}
		}
	}
	if len(outcomes) < 15 || outcomes[nil] < 1000 {
		t.Fatalf("the streams end in %d ways: %v", len(outcomes), outcomes)
	}
}
