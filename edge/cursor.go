package edge

import (
	"bytes"
	"strconv"

	"github.com/godwit-im/godwit"
)

// A cursor of GET /v1/poll is an epoch, a point, a sequence in base 36, and the
// places in channels, sorted by name: all that is needed to go on, so that any
// edge can serve any poll.

// cursorBytesMax leaves room for the rest of a request's head beside a cursor
// whose commas and colons are escaped. Places beyond it are left out.
const cursorBytesMax = 4 << 10

func appendCursor(dst []byte, epoch string, seq godwit.Seq, channels []godwit.ChannelPlace) []byte {
	start := len(dst)
	dst = append(dst, epoch...)
	dst = append(dst, '.')
	dst = strconv.AppendUint(dst, uint64(seq), 36)
	for i := range channels {
		before := len(dst)
		if dst = appendPlaces(dst, channels[i:i+1], 36); len(dst)-start > cursorBytesMax {
			return dst[:before]
		}
	}
	return dst
}

// parseCursor takes exactly what appendCursor writes. epoch aliases c.
func parseCursor(c []byte) (epoch []byte, seq godwit.Seq, channels []godwit.ChannelPlace, ok bool) {
	log, list := c, []byte(nil)
	if i := bytes.IndexByte(c, ','); i >= 0 {
		log, list = c[:i], c[i:]
	}
	point := bytes.LastIndexByte(log, '.')
	if point < 1 || point > godwit.IDBytesMax || len(log)-point-1 > seqChars || len(c) > cursorBytesMax {
		return nil, 0, nil, false
	}
	n, err := strconv.ParseUint(string(log[point+1:]), 36, 64)
	if err != nil || godwit.Seq(n) > godwit.SeqMax {
		return nil, 0, nil, false
	}
	var again [seqChars]byte
	if !bytes.Equal(strconv.AppendUint(again[:0], n, 36), log[point+1:]) {
		return nil, 0, nil, false
	}
	channels, ok = parsePlaces(list, 36)
	return log[:point], godwit.Seq(n), channels, ok && isAscending(channels)
}

// seqChars holds every sequence in base 36.
const seqChars = 11
