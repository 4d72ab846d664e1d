package load

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
)

// Header is what every message of a run carries in its text.
type Header struct {
	Run    uint64 // random: messages of another run are foreign
	Sender uint32 // number of the user within the run
	Number uint32 // 0, 1, 2 … within the sender's messages
	Due    int64  // ns on the generator's monotonic clock: when it was due
}

// The text of a message: the mark, 48 hex digits of the header, 8 of the
// CRC-32C over header and body, a space, the body.
const (
	payloadMark     = "gwb1:"
	headerBytes     = 24
	payloadOverhead = len(payloadMark) + 2*headerBytes + 8 + 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendPayload writes the text of a message.
func appendPayload(dst []byte, h Header, body string) []byte {
	var raw [headerBytes + 4]byte
	binary.BigEndian.PutUint64(raw[0:], h.Run)
	binary.BigEndian.PutUint32(raw[8:], h.Sender)
	binary.BigEndian.PutUint32(raw[12:], h.Number)
	binary.BigEndian.PutUint64(raw[16:], uint64(h.Due))
	sum := crc32.Update(0, castagnoli, raw[:headerBytes])
	sum = crc32.Update(sum, castagnoli, []byte(body))
	binary.BigEndian.PutUint32(raw[headerBytes:], sum)
	dst = append(dst, payloadMark...)
	dst = hex.AppendEncode(dst, raw[:])
	dst = append(dst, ' ')
	return append(dst, body...)
}

// parsePayload reads the text of a message; ok is false for anything that
// appendPayload did not write, damaged bodies included.
func parsePayload(text []byte) (h Header, ok bool) {
	if len(text) < payloadOverhead || string(text[:len(payloadMark)]) != payloadMark || text[payloadOverhead-1] != ' ' {
		return h, false
	}
	var raw [headerBytes + 4]byte
	digits := text[len(payloadMark) : payloadOverhead-1]
	for _, c := range digits {
		if c >= 'A' && c <= 'F' { // one message has one text
			return h, false
		}
	}
	if _, err := hex.Decode(raw[:], digits); err != nil {
		return h, false
	}
	sum := crc32.Update(0, castagnoli, raw[:headerBytes])
	sum = crc32.Update(sum, castagnoli, text[payloadOverhead:])
	if binary.BigEndian.Uint32(raw[headerBytes:]) != sum {
		return h, false
	}
	return Header{
		Run:    binary.BigEndian.Uint64(raw[0:]),
		Sender: binary.BigEndian.Uint32(raw[8:]),
		Number: binary.BigEndian.Uint32(raw[12:]),
		Due:    int64(binary.BigEndian.Uint64(raw[16:])),
	}, true
}
