package ws

import "encoding/binary"

const (
	finBit      = 0x80
	deflateBit  = 0x40 // RSV1
	reservedBit = 0x70
	opcodeBits  = 0x0F
	maskBit     = 0x80
	lengthBits  = 0x7F

	length16 = 126 // the length follows in 2 bytes
	length64 = 127 // the length follows in 8 bytes

	controlMaxBytes = 125
)

// HeaderMaxBytes is the longest frame header: 2 bytes, a 64-bit length, a key.
const HeaderMaxBytes = 14

// header has four fields: the compiler keeps no larger struct in registers.
type header struct {
	length uint64
	key    uint32 // 0 when the frame is not masked
	op     Opcode
	flags  flags // finFlag; deflatedFlag: begins a compressed message (RFC 7692 section 6)
}

// parseHeader reads the header at the start of b, which takes size bytes. If b
// is too short, size is greater than len(b): so many bytes are needed to go on
// (RFC 6455 section 5.2).
func parseHeader(b []byte, cfg *Config) (h header, size int, err error) {
	if len(b) < 2 {
		return h, 2, nil
	}
	wantMask := !cfg.Client
	h.op = Opcode(b[0] & opcodeBits)
	if b[0]&finBit != 0 {
		h.flags = finFlag
	}
	if b[0]&reservedBit != 0 {
		if !cfg.Deflate || b[0]&reservedBit != deflateBit || h.op != Text && h.op != Binary {
			return h, 0, ErrReservedBits
		}
		h.flags |= deflatedFlag
	}
	if !h.op.defined() {
		return h, 0, ErrReservedOpcode
	}
	if masked := b[1]&maskBit != 0; masked != wantMask {
		if masked {
			return h, 0, ErrMasked
		}
		return h, 0, ErrUnmasked
	}
	h.length = uint64(b[1] & lengthBits)
	if h.op.Control() {
		if h.length > controlMaxBytes {
			return h, 0, ErrControlLong
		}
		if h.flags&finFlag == 0 {
			return h, 0, ErrControlSplit
		}
	}
	if h, size, err = extendLength(h, b); err != nil || size > len(b) {
		return h, size, err
	}
	if !wantMask {
		return h, size, nil
	}
	if len(b) >= size+4 {
		h.key = binary.LittleEndian.Uint32(b[size:])
	}
	return h, size + 4, nil
}

// extendLength replaces the 7-bit length by the 16- or 64-bit one it announces;
// size is the header's size so far (section 5.2, "Payload length").
func extendLength(h header, b []byte) (_ header, size int, err error) {
	switch h.length {
	case length16:
		if len(b) < 4 {
			return h, 4, nil
		}
		h.length = uint64(binary.BigEndian.Uint16(b[2:]))
		if h.length < length16 {
			return h, 0, ErrLengthForm
		}
		return h, 4, nil
	case length64:
		if len(b) < 10 {
			return h, 10, nil
		}
		h.length = binary.BigEndian.Uint64(b[2:])
		if h.length > 1<<63-1 {
			return h, 0, ErrLengthRange
		}
		if h.length <= 0xFFFF {
			return h, 0, ErrLengthForm
		}
		return h, 10, nil
	}
	return h, 2, nil
}
