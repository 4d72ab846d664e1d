package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
)

// errShort is what puff says of data that may go on.
var errShort = errors.New("more data is needed")

// puff decodes DEFLATE by the letter of RFC 1951, one bit at a time and without
// tables, from the whole data so far: the oracle of inflater, which is checked
// against the standard library on whole streams. aligned: it ended between
// blocks with no bit left.
//
//tidy:long read beside section 3.2
func puff(data []byte, maxBytes int) (out []byte, aligned bool, err error) {
	defer func() {
		if e, ok := recover().(error); ok {
			err = e
		}
	}()
	at := 0 // in bits
	bits := func(n int) (v int) {
		if at+n > 8*len(data) {
			panic(errShort)
		}
		for i := range n {
			v |= int(data[at/8]>>(at%8)&1) << i
			at++
		}
		return v
	}
	emit := func(b byte) {
		if len(out) == maxBytes {
			panic(ErrMessageTooBig)
		}
		out = append(out, b)
	}
	type code map[[2]int]int // by length and bits
	makeCode := func(lengths []int) code {
		c, next, total := code{}, 0, 0
		for n := 1; n <= 15; n++ {
			next <<= 1
			for sym, l := range lengths {
				if l == n {
					c[[2]int{n, next}] = sym
					next++
					total += 1 << (15 - n)
				}
			}
			if next > 1<<n {
				panic(ErrDeflate)
			}
		}
		_, single := c[[2]int{1, 0}]
		if len(c) > 0 && total != 1<<15 && !(len(c) == 1 && single) {
			panic(ErrDeflate)
		}
		return c
	}
	symbol := func(c code) int {
		v := 0
		for n := 1; n <= 15; n++ {
			v = v<<1 | bits(1)
			if sym, ok := c[[2]int{n, v}]; ok {
				return sym
			}
		}
		panic(ErrDeflate)
	}
	for {
		aligned = at == 8*len(data)
		final := bits(1)
		kind := bits(2)
		aligned = false
		var lit, dist code
		switch kind {
		case 0:
			at = (at + 7) / 8 * 8
			size := bits(32)
			if size&0xFFFF != size>>16^0xFFFF {
				panic(ErrDeflate)
			}
			for range size & 0xFFFF {
				if len(out) == maxBytes && at < 8*len(data) {
					panic(ErrMessageTooBig)
				}
				emit(byte(bits(8)))
			}
		case 1:
			var lengths [288]int
			for i := range lengths {
				lengths[i] = map[bool]int{true: 8, false: 7}[i < 144 || i >= 280]
				if i >= 144 && i < 256 {
					lengths[i] = 9
				}
			}
			lit = makeCode(lengths[:])
			five := make([]int, 32)
			for i := range five {
				five[i] = 5
			}
			dist = makeCode(five)
		case 2:
			counts := bits(14)
			lits, dists, codes := counts&31+257, counts>>5&31+1, counts>>10+4
			if lits > 286 || dists > 30 {
				panic(ErrDeflate)
			}
			order := make([]int, 19)
			for i := range codes {
				order[codeOrder[i]] = bits(3)
			}
			c := makeCode(order)
			var lengths []int
			for len(lengths) < lits+dists {
				sym, run, value := symbol(c), 1, 0
				switch sym {
				case 16:
					run = 3 + bits(2)
					if len(lengths) == 0 {
						panic(ErrDeflate)
					}
					value = lengths[len(lengths)-1]
				case 17:
					run = 3 + bits(3)
				case 18:
					run = 11 + bits(7)
				default:
					value = sym
				}
				for range run {
					lengths = append(lengths, value)
				}
			}
			if len(lengths) > lits+dists {
				panic(ErrDeflate)
			}
			lit, dist = makeCode(lengths[:lits]), makeCode(lengths[lits:])
		default:
			panic(ErrDeflate)
		}
		for kind != 0 {
			sym := symbol(lit)
			if sym < 256 {
				emit(byte(sym))
				continue
			}
			if sym == 256 {
				break
			}
			if sym > 285 {
				panic(ErrDeflate)
			}
			length := int(lengthBase[sym-257]) + bits(int(lengthExtra[sym-257]))
			d := symbol(dist)
			if d > 29 {
				panic(ErrDeflate)
			}
			back := int(distBase[d]) + bits(int(distExtra[d]))
			if back > len(out) {
				panic(ErrDeflate)
			}
			for range length {
				emit(out[len(out)-back])
			}
		}
		if final == 1 {
			at = (at + 7) / 8 * 8
		}
	}
}

// modelInflate is what a compressed message is worth: so far, or as a whole.
func modelInflate(packed []byte, whole bool, maxBytes int) ([]byte, error) {
	if !whole {
		out, _, err := puff(packed, maxBytes)
		if err == errShort {
			err = nil
		}
		return out, err
	}
	out, aligned, err := puff(append(packed[:len(packed):len(packed)], 0, 0, 0xFF, 0xFF), maxBytes)
	if err == errShort {
		err = nil
		if !aligned {
			err = ErrDeflate
		}
	}
	return out, err
}

func modelSumMax(cfg *Config, compressed bool) int {
	if compressed {
		return cfg.MessageMaxBytes + cfg.MessageMaxBytes/1024 + 64
	}
	return cfg.MessageMaxBytes
}

// standardInflate is the standard library's word on a whole message of at most
// maxBytes without a final block: nil, false if it is damaged.
func standardInflate(packed []byte, maxBytes int) ([]byte, bool) {
	var same []byte
	for i, end := range []string{"\x01\x00\x00\xff\xff", "\x03\x00"} {
		in := bytes.NewReader([]byte(string(packed) + "\x00\x00\xff\xff" + end))
		out, err := io.ReadAll(io.LimitReader(flate.NewReader(in), int64(maxBytes)+1))
		if err != nil || in.Len() > 0 || i > 0 && !bytes.Equal(out, same) {
			return nil, false
		}
		same = out
	}
	return same, true
}

// deflated is the payload of a compressed message, not empty even if it is longer.
func deflated(d *Deflater, body []byte) []byte {
	w := d.borrow(WindowBitsMax)
	w.out = nil
	w.writer.Reset(w)
	_, _ = w.writer.Write(body)
	_ = w.writer.Flush()
	return w.out[:len(w.out)-4]
}
