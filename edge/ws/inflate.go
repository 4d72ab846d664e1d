package ws

import "encoding/binary"

// inflater decodes the DEFLATE data of one message (RFC 1951) from the pieces
// in which it arrives. A pull decoder would have to keep every compressed byte
// until the message has ended, or a goroutine; this one stops between any two
// bits and goes on. It has no window of its own: back-references point into the
// message inflated so far, because no context outlives a message.
//
// The zero value stands before the first block.
type inflater struct {
	bits uint64 // read and not yet used, the next one lowest; none beyond count
	n    uint   // how many
	step inflateStep
	// final: the block under way has BFINAL. More blocks may follow at the next
	// byte (RFC 7692 section 7.2.3.4).
	final  bool
	stored int // bytes left of a stored block

	// A dynamic block's header: how many lengths of each kind, and how many are read.
	litCodes, distCodes, lengthCodes, read int
	lengths                                [litCodesMax + distCodesMax]uint8

	fixed     bool // the block under way uses fixedCodes
	lit, dist huffman

	text textState // over the inflated bytes
}

type inflateStep uint8

const (
	stepBlock       inflateStep = iota // the header of a block
	stepStored                         // the lengths of a stored block
	stepCopy                           // its bytes
	stepCounts                         // a dynamic block's three counts
	stepCodeLengths                    // the lengths of the code for lengths
	stepLengths                        // the lengths of both codes
	stepSymbols                        // literals and back-references
)

const (
	litCodesMax  = 286
	distCodesMax = 30
	endOfBlock   = 256
)

var (
	lengthBase  = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = [distCodesMax]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra   = [distCodesMax]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	codeOrder   = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

	fixedLit, fixedDist = fixedCodes() // never modified
)

// syncTail is what the sender of a message has cut off (RFC 7692 section 7.2.1).
var syncTail = []byte{0x00, 0x00, 0xFF, 0xFF}

// reset prepares for the next message. Codes are built before they are used.
func (f *inflater) reset() {
	f.bits, f.n, f.step, f.final = 0, 0, stepBlock, false
	f.text = textState{}
}

// push decodes all of in and appends the result to out, which is the message so
// far, never to more than maxBytes. What was decoded before an error is in out.
func (f *inflater) push(out, in []byte, maxBytes int) ([]byte, error) {
	for {
		var more bool
		var err error
		in = f.fill(in)
		switch f.step {
		case stepBlock:
			more, err = f.block()
		case stepStored:
			more, err = f.storedLength()
		case stepCopy:
			out, in, more, err = f.copyStored(out, in, maxBytes)
		case stepCounts:
			more, err = f.counts()
		case stepCodeLengths:
			more, err = f.codeLengths()
		case stepLengths:
			more, err = f.codes()
		case stepSymbols:
			out, in, more, err = f.symbols(out, in, maxBytes)
		}
		if more || err != nil {
			return out, err
		}
	}
}

// ended reports whether the data may end here: between blocks, with no bit left.
func (f *inflater) ended() bool { return f.step == stepBlock && f.n == 0 }

// fill takes bytes while at least 8 bits are free. When bits are still missing
// for a step afterwards, in is used up.
func (f *inflater) fill(in []byte) []byte {
	for f.n <= 56 && len(in) > 0 {
		f.bits |= uint64(in[0]) << f.n
		f.n += 8
		in = in[1:]
	}
	return in
}

// take uses up n bits.
func (f *inflater) take(n uint) uint64 {
	v := f.bits & (1<<n - 1)
	f.bits >>= n
	f.n -= n
	return v
}

func (f *inflater) endBlock() {
	f.step = stepBlock
	if f.final {
		f.take(f.n % 8)
		f.final = false
	}
}

func (f *inflater) block() (more bool, err error) {
	if f.n < 3 {
		return true, nil
	}
	f.final = f.take(1) == 1
	switch f.take(2) {
	case 0:
		f.take(f.n % 8)
		f.step = stepStored
	case 1:
		f.fixed, f.step = true, stepSymbols
	case 2:
		f.fixed, f.step = false, stepCounts
	default:
		return false, ErrDeflate
	}
	return false, nil
}

func (f *inflater) storedLength() (more bool, err error) {
	if f.n < 32 {
		return true, nil
	}
	size, check := f.take(16), f.take(16)
	if size != check^0xFFFF {
		return false, ErrDeflate
	}
	f.stored, f.step = int(size), stepCopy
	return false, nil
}

// copyStored first uses the whole bytes among the bits.
func (f *inflater) copyStored(out, in []byte, maxBytes int) (_, rest []byte, more bool, err error) {
	for ; f.stored > 0 && f.n > 0; f.stored-- {
		if len(out) == maxBytes {
			return out, in, false, ErrMessageTooBig
		}
		out = append(room(out, 1, maxBytes), byte(f.take(8)))
	}
	n := min(f.stored, len(in), maxBytes-len(out))
	out = append(room(out, n, maxBytes), in[:n]...)
	in, f.stored = in[n:], f.stored-n
	switch {
	case f.stored == 0:
		f.endBlock()
		return out, in, false, nil
	case len(in) == 0:
		return out, in, true, nil
	}
	return out, in, false, ErrMessageTooBig
}

func (f *inflater) counts() (more bool, err error) {
	if f.n < 14 {
		return true, nil
	}
	f.litCodes, f.distCodes, f.lengthCodes = int(f.take(5))+257, int(f.take(5))+1, int(f.take(4))+4
	if f.litCodes > litCodesMax || f.distCodes > distCodesMax {
		return false, ErrDeflate
	}
	f.read, f.step = 0, stepCodeLengths
	clear(f.lengths[:len(codeOrder)])
	return false, nil
}

// codeLengths takes one length of the code for lengths, or builds it.
func (f *inflater) codeLengths() (more bool, err error) {
	if f.read < f.lengthCodes {
		if f.n < 3 {
			return true, nil
		}
		f.lengths[codeOrder[f.read]] = uint8(f.take(3))
		f.read++
		return false, nil
	}
	if !f.lit.build(f.lengths[:len(codeOrder)]) {
		return false, ErrDeflate
	}
	f.read, f.step = 0, stepLengths
	return false, nil
}

// codes takes one length, or a run of one, or builds both codes. Until then lit
// is the code for lengths.
func (f *inflater) codes() (more bool, err error) {
	if f.read == f.litCodes+f.distCodes {
		if !f.lit.build(f.lengths[:f.litCodes]) || !f.dist.build(f.lengths[f.litCodes:f.read]) {
			return false, ErrDeflate
		}
		f.step = stepSymbols
		return false, nil
	}
	sym, used := f.lit.decode(f.bits)
	if used == 0 || used > f.n {
		return f.missing(used)
	}
	var run [3]struct{ bits, least uint } // of symbols 16 to 18
	run[0].bits, run[0].least, run[1].bits, run[1].least, run[2].bits, run[2].least = 2, 3, 3, 3, 7, 11
	times, value := 1, uint8(sym)
	if sym >= 16 {
		extra := run[sym-16]
		if used+extra.bits > f.n {
			return true, nil
		}
		f.take(used)
		times, value, used = int(f.take(extra.bits)+uint64(extra.least)), 0, 0
		if sym == 16 {
			if f.read == 0 {
				return false, ErrDeflate
			}
			value = f.lengths[f.read-1]
		}
	}
	f.take(used)
	if f.read+times > f.litCodes+f.distCodes {
		return false, ErrDeflate
	}
	for range times {
		f.lengths[f.read] = value
		f.read++
	}
	return false, nil
}

// missing tells a code that has not arrived whole from one that does not exist.
func (f *inflater) missing(used uint) (more bool, err error) {
	if used > f.n || f.n < codeMax {
		return true, nil
	}
	return false, ErrDeflate
}

// symbols decodes literals and back-references until the block ends. A reference
// takes at most 48 bits and is used up whole or not at all.
//
//tidy:long the inner loop, in one place so that its variables stay in registers
func (f *inflater) symbols(out, in []byte, maxBytes int) (_, rest []byte, more bool, err error) {
	lit, dist := &f.lit, &f.dist
	if f.fixed {
		lit, dist = fixedLit, fixedDist
	}
	for {
		if len(in) >= 8 && f.n < 56 {
			// The bits above n become those of the bytes that are taken next.
			f.bits |= binary.LittleEndian.Uint64(in) << f.n
			whole := (63 - f.n) / 8
			in = in[whole:]
			f.n += whole * 8
			f.bits &= 1<<f.n - 1
		} else {
			in = f.fill(in)
		}
		bits := f.bits
		sym, used := lit.decode(bits)
		if used == 0 || used > f.n {
			more, err = f.missing(used)
			return out, in, more, err
		}
		if sym < endOfBlock {
			if len(out) == maxBytes {
				return out, in, false, ErrMessageTooBig
			}
			f.take(used)
			out = append(room(out, 1, maxBytes), byte(sym))
			continue
		}
		if sym == endOfBlock {
			f.take(used)
			f.endBlock()
			return out, in, false, nil
		}
		if sym >= litCodesMax {
			return out, in, false, ErrDeflate
		}
		extra := uint(lengthExtra[sym-257])
		length := int(lengthBase[sym-257]) + int(bits>>used&(1<<extra-1))
		used += extra
		if used > f.n {
			return out, in, true, nil
		}
		distSym, distUsed := dist.decode(bits >> used)
		if distUsed == 0 || used+distUsed > f.n {
			if distUsed == 0 && f.n-used >= codeMax {
				return out, in, false, ErrDeflate
			}
			return out, in, true, nil
		}
		used += distUsed
		if distSym >= distCodesMax {
			return out, in, false, ErrDeflate
		}
		extra = uint(distExtra[distSym])
		back := int(distBase[distSym]) + int(bits>>used&(1<<extra-1))
		used += extra
		if used > f.n {
			return out, in, true, nil
		}
		f.take(used)
		switch {
		case back > len(out):
			return out, in, false, ErrDeflate
		case length > maxBytes-len(out):
			length = maxBytes - len(out)
			return repeat(room(out, length, maxBytes), back, length), in, false, ErrMessageTooBig
		}
		out = repeat(room(out, length, maxBytes), back, length)
	}
}

// repeat appends length bytes that begin back bytes before the end of out, which
// has room for them; they may be bytes that it appends.
func repeat(out []byte, back, length int) []byte {
	end := len(out)
	out = out[:end+length]
	for n := 0; n < length; {
		n += copy(out[end+n:], out[end-back:end+n])
	}
	return out
}
