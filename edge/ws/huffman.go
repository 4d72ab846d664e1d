package ws

import "math/bits"

const (
	codeMax   = 15  // bits of the longest code
	codesMax  = 288 // the fixed code has two that must not occur
	quickBits = 9   // codes up to this length take one look-up
)

// huffman is a canonical prefix code (RFC 1951 section 3.2.2).
type huffman struct {
	quick   [1 << quickBits]uint16 // by the next bits: symbol and length; 0: longer or no code
	count   [codeMax + 1]uint16    // codes of each length
	symbols [codesMax]uint16       // in the order of their codes
}

const quickLength = 0xF // low bits of quick

// build makes h the code with these lengths, 0 for symbols that do not occur. A
// code must be complete, except that one symbol alone takes one bit and that no
// symbols may occur at all: what zlib writes and decoders at large accept.
func (h *huffman) build(lengths []uint8) bool {
	h.count = [codeMax + 1]uint16{}
	for _, n := range lengths {
		h.count[n]++
	}
	h.count[0] = 0
	var next, at [codeMax + 2]int // first code and first place in symbols, by length
	longest := 0
	for n := 1; n <= codeMax; n++ {
		next[n+1] = (next[n] + int(h.count[n])) << 1
		at[n+1] = at[n] + int(h.count[n])
		if next[n]+int(h.count[n]) > 1<<n {
			return false
		}
		if h.count[n] > 0 {
			longest = n
		}
	}
	used := next[longest] + int(h.count[longest])
	if longest > 0 && used != 1<<longest && (longest != 1 || used != 1) {
		return false
	}
	clear(h.quick[:])
	for sym, n := range lengths {
		if n == 0 {
			continue
		}
		h.symbols[at[n]] = uint16(sym)
		at[n]++
		code := next[n]
		next[n]++
		if n <= quickBits {
			for i := int(bits.Reverse16(uint16(code)) >> (16 - n)); i < len(h.quick); i += 1 << n {
				h.quick[i] = uint16(sym)<<4 | uint16(n)
			}
		}
	}
	return true
}

// decode reads the code at the low end of b and returns its symbol and length;
// 0: no code begins so. The caller checks that so many bits were there.
func (h *huffman) decode(b uint64) (sym int, used uint) {
	if e := h.quick[b&(1<<quickBits-1)]; e != 0 {
		return int(e >> 4), uint(e & quickLength)
	}
	return h.decodeLong(b)
}

// decodeLong goes through the lengths: codes of one length are consecutive.
func (h *huffman) decodeLong(b uint64) (sym int, used uint) {
	code, first, at := 0, 0, 0
	for n := 1; n <= codeMax; n++ {
		code |= int(b & 1)
		b >>= 1
		count := int(h.count[n])
		if code-first < count {
			return int(h.symbols[at+code-first]), uint(n)
		}
		at += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, 0
}

// fixedCodes returns the codes of blocks without a description of theirs (RFC
// 1951 section 3.2.6).
func fixedCodes() (lit, dist *huffman) {
	var lengths [codesMax]uint8
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
	lit, dist = new(huffman), new(huffman)
	lit.build(lengths[:])
	for i := range lengths[:32] {
		lengths[i] = 5
	}
	dist.build(lengths[:32])
	return lit, dist
}
