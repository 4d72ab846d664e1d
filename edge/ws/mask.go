package ws

import (
	"encoding/binary"
	"math/bits"
)

// Mask applies the masking key to b in place; masking twice restores it. The
// key is the four bytes of the wire read as little endian, and the result is
// the key for the byte that follows b, so a payload may be masked in parts
// (RFC 6455 section 5.3).
func Mask(key uint32, b []byte) uint32 {
	if len(b) >= 8 {
		wide := uint64(key)<<32 | uint64(key)
		for len(b) >= 32 {
			part := b[:32]
			binary.LittleEndian.PutUint64(part[0:], binary.LittleEndian.Uint64(part[0:])^wide)
			binary.LittleEndian.PutUint64(part[8:], binary.LittleEndian.Uint64(part[8:])^wide)
			binary.LittleEndian.PutUint64(part[16:], binary.LittleEndian.Uint64(part[16:])^wide)
			binary.LittleEndian.PutUint64(part[24:], binary.LittleEndian.Uint64(part[24:])^wide)
			b = b[32:]
		}
		for len(b) >= 8 {
			binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
			b = b[8:]
		}
	}
	for i := range b {
		b[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
	return key
}
