package edge

import (
	"bytes"
	"strconv"

	"github.com/godwit-im/godwit"
)

// A cursor of GET /v1/poll is an epoch, a point, a sequence in base 36, a tilde and
// the stamp of the poll in base 36 if it has one, and the places in channels, sorted
// by name: all that is needed to go on, so that any edge can serve any poll.

// cursorBytesMax leaves room for the rest of a request's head beside a cursor
// whose commas and colons are escaped. Places beyond it are left out.
const cursorBytesMax = 4 << 10

// pollPlace is what a cursor says.
type pollPlace struct {
	epoch    string
	seq      godwit.Seq
	stamp    uint64 // 0: none
	channels []godwit.ChannelPlace
}

func appendCursor(dst []byte, p *pollPlace) []byte {
	start := len(dst)
	dst = append(dst, p.epoch...)
	dst = strconv.AppendUint(append(dst, '.'), uint64(p.seq), 36)
	if p.stamp != 0 {
		dst = strconv.AppendUint(append(dst, '~'), p.stamp, 36)
	}
	for i := range p.channels {
		before := len(dst)
		if dst = appendPlaces(dst, p.channels[i:i+1], 36); len(dst)-start > cursorBytesMax {
			return dst[:before]
		}
	}
	return dst
}

// parseCursor takes exactly what appendCursor writes. What it returns is its own.
func parseCursor(c []byte) (p pollPlace, ok bool) {
	log, list := c, []byte(nil)
	if i := bytes.IndexByte(c, ','); i >= 0 {
		log, list = c[:i], c[i:]
	}
	point := bytes.LastIndexByte(log, '.')
	if point < 1 || point > godwit.IDBytesMax || len(c) > cursorBytesMax {
		return pollPlace{}, false
	}
	seq, stamp, stamped := bytes.Cut(log[point+1:], []byte{'~'})
	n, isSeq := parseBase36(seq, seqChars)
	p = pollPlace{epoch: string(log[:point]), seq: godwit.Seq(n)}
	if !isSeq || p.seq > godwit.SeqMax {
		return pollPlace{}, false
	}
	if stamped {
		if p.stamp, ok = parseBase36(stamp, stampChars); !ok || p.stamp == 0 {
			return pollPlace{}, false
		}
	}
	p.channels, ok = parsePlaces(list, 36)
	return p, ok && isAscending(p.channels)
}

// parseBase36 takes exactly what AppendUint writes.
func parseBase36(text []byte, charsMax int) (n uint64, ok bool) {
	if len(text) > charsMax {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text), 36, 64)
	var again [stampChars]byte
	return n, err == nil && bytes.Equal(strconv.AppendUint(again[:0], n, 36), text)
}

// seqChars holds every sequence in base 36, stampChars every stamp.
const (
	seqChars   = 11
	stampChars = 13
)
