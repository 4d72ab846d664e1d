package ws

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// CloseReasonMaxBytes is what a close frame holds beside its code.
const CloseReasonMaxBytes = controlMaxBytes - 2

// AppendHeader appends the header of an unmasked frame, the server's kind, with
// the shortest form of the length (RFC 6455 section 5.2).
func AppendHeader(dst []byte, fin bool, op Opcode, payloadLen int) []byte {
	return appendHeader(dst, fin, op, payloadLen, 0)
}

func appendHeader(dst []byte, fin bool, op Opcode, payloadLen int, mask byte) []byte {
	if op.Control() && (payloadLen > controlMaxBytes || !fin) {
		panic("BUG: control frame too long or fragmented")
	}
	first := byte(op)
	if fin {
		first |= finBit
	}
	switch {
	case payloadLen < length16:
		return append(dst, first, mask|byte(payloadLen))
	case payloadLen <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, first, mask|length16), uint16(payloadLen))
	default:
		return binary.BigEndian.AppendUint64(append(dst, first, mask|length64), uint64(payloadLen))
	}
}

// AppendFrame appends a whole unmasked frame: a message in one frame, or a ping
// or pong of at most 125 bytes (RFC 6455 sections 5.5 and 5.6).
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	return append(AppendHeader(dst, true, op, len(payload)), payload...)
}

// AppendMasked appends a frame as clients send it; key is the four bytes of the
// wire read as little endian and must not be predictable (RFC 6455 section 5.3).
// The payload is not modified.
func AppendMasked(dst []byte, fin bool, op Opcode, key uint32, payload []byte) []byte {
	dst = appendHeader(dst, fin, op, len(payload), maskBit)
	dst = binary.LittleEndian.AppendUint32(dst, key)
	start := len(dst)
	dst = append(dst, payload...)
	Mask(key, dst[start:])
	return dst
}

// AppendClose appends an unmasked close frame. CodeNoStatus makes it empty. A
// reason over CloseReasonMaxBytes is cut before the rune that does not fit; one
// that is not UTF-8 is left out (RFC 6455 sections 5.5.1 and 7.4).
func AppendClose(dst []byte, code CloseCode, reason string) []byte {
	if code == CodeNoStatus {
		return AppendHeader(dst, true, Close, 0)
	}
	if !code.OnWire() {
		panic("BUG: close code not allowed on the wire")
	}
	if !utf8.ValidString(reason) {
		reason = ""
	}
	if len(reason) > CloseReasonMaxBytes {
		end := CloseReasonMaxBytes
		for !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	dst = AppendHeader(dst, true, Close, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(dst, uint16(code)), reason...)
}
