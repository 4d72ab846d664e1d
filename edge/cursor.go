package edge

import (
	"bytes"
	"strconv"

	"github.com/godwit-im/godwit"
)

// A cursor of GET /v1/poll is an epoch, a point, and a sequence in base 36: all
// that is needed to go on, so that any edge can serve any poll.

func appendCursor(dst []byte, epoch string, seq godwit.Seq) []byte {
	dst = append(dst, epoch...)
	dst = append(dst, '.')
	return strconv.AppendUint(dst, uint64(seq), 36)
}

// parseCursor takes exactly what appendCursor writes. epoch aliases c.
func parseCursor(c []byte) (epoch []byte, seq godwit.Seq, ok bool) {
	point := bytes.LastIndexByte(c, '.')
	if point < 1 || point > godwit.IDBytesMax || len(c)-point-1 > seqChars {
		return nil, 0, false
	}
	n, err := strconv.ParseUint(string(c[point+1:]), 36, 64)
	if err != nil || godwit.Seq(n) > godwit.SeqMax {
		return nil, 0, false
	}
	var again [seqChars]byte
	if !bytes.Equal(strconv.AppendUint(again[:0], n, 36), c[point+1:]) {
		return nil, 0, false
	}
	return c[:point], godwit.Seq(n), true
}

// seqChars holds every sequence in base 36.
const seqChars = 11
