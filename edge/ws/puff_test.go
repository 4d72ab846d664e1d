package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"
)

// errShort is what puff says of data that may go on.
var errShort = errors.New("more data is needed")

// puffed is the outcome of decoding DEFLATE by the letter of RFC 1951, one bit at
// a time and without tables, from the whole data so far: the oracle of inflater,
// which is checked against the standard library on whole streams.
type puffed struct {
	out      []byte
	aligned  bool // it ended between blocks with no bit left
	finals   int  // blocks with BFINAL
	farthest int  // back-reference
}

type puffCode map[[2]int]int // symbols by length and bits

func makePuffCode(lengths []int) puffCode {
	c, next, total := puffCode{}, 0, 0
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

var puffFixed = sync.OnceValues(func() (lit, dist puffCode) {
	var lengths [288]int
	for i := range lengths {
		switch {
		case i < 144, i >= 280:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		default:
			lengths[i] = 7
		}
	}
	five := make([]int, 32)
	for i := range five {
		five[i] = 5
	}
	return makePuffCode(lengths[:]), makePuffCode(five)
})

// run decodes until something ends it, errShort at the latest.
//
//tidy:long read beside section 3.2
func (p *puffed) run(data []byte, maxBytes int) (err error) {
	defer func() {
		switch e := recover().(type) {
		case *Error:
			err = e
		case error:
			if err = e; e != errShort {
				panic(e)
			}
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
		if len(p.out) == maxBytes {
			panic(ErrMessageTooBig)
		}
		p.out = append(p.out, b)
	}
	symbol := func(c puffCode) int {
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
		p.aligned = at == 8*len(data)
		final := bits(1)
		kind := bits(2)
		p.aligned = false
		var lit, dist puffCode
		switch kind {
		case 0:
			at = (at + 7) / 8 * 8
			size := bits(32)
			if size&0xFFFF != size>>16^0xFFFF {
				panic(ErrDeflate)
			}
			for range size & 0xFFFF {
				if len(p.out) == maxBytes && at < 8*len(data) {
					panic(ErrMessageTooBig)
				}
				emit(byte(bits(8)))
			}
		case 1:
			lit, dist = puffFixed()
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
			c := makePuffCode(order)
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
			lit, dist = makePuffCode(lengths[:lits]), makePuffCode(lengths[lits:])
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
			if back > len(p.out) {
				panic(ErrDeflate)
			}
			p.farthest = max(p.farthest, back)
			for range length {
				emit(p.out[len(p.out)-back])
			}
		}
		if final == 1 {
			p.finals++
			at = (at + 7) / 8 * 8
		}
	}
}

// modelInflate is what a compressed message is worth: so far, or as a whole.
func modelInflate(packed []byte, whole bool, maxBytes int) ([]byte, error) {
	if whole {
		packed = append(packed[:len(packed):len(packed)], syncTail...)
	}
	p := puffed{}
	err := p.run(packed, maxBytes)
	if err == errShort {
		err = nil
		if whole && !p.aligned {
			err = ErrDeflate
		}
	}
	return p.out, err
}

func modelSumMax(cfg *Config, compressed bool) int {
	if compressed {
		return cfg.MessageMaxBytes + cfg.MessageMaxBytes/1024 + 64
	}
	return cfg.MessageMaxBytes
}

// standardInflate is the standard library's word on a whole message of at most
// maxBytes without a final block; false if it is damaged. Two ends of the stream
// show that the data ended where the block did.
func standardInflate(packed []byte, maxBytes int) (out []byte, ok bool) {
	for i, end := range []string{"\x01\x00\x00\xff\xff", "\x03\x00"} {
		in := bytes.NewReader([]byte(string(packed) + "\x00\x00\xff\xff" + end))
		got, err := io.ReadAll(io.LimitReader(flate.NewReader(in), int64(maxBytes)+1))
		if err != nil || in.Len() > 0 || i > 0 && !bytes.Equal(got, out) {
			return nil, false
		}
		out = got
	}
	return out, true
}

// deflated is the payload of a compressed message, also of one that grows by it.
func deflated(d *Deflater, body []byte) []byte {
	w := d.borrow(WindowBitsMax)
	w.out = nil
	w.writer.Reset(w)
	_, _ = w.writer.Write(body)
	_ = w.writer.Flush()
	out := bytes.Clone(w.out[:len(w.out)-len(syncTail)])
	d.pools[WindowBitsMax].Put(w)
	return out
}
