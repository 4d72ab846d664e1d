package segment

import "encoding/binary"

// input reads varints until one is cut off or over 64 bits: then bad stays true
// and zeros come.
type input struct {
	b   []byte
	at  int
	bad bool
}

func (in *input) uvarint() uint64 {
	if in.at < len(in.b) && in.b[in.at] < 0x80 {
		in.at++
		return uint64(in.b[in.at-1])
	}
	return in.long()
}

func (in *input) long() uint64 {
	v, n := binary.Uvarint(in.b[in.at:])
	if n <= 0 {
		in.bad, in.at = true, len(in.b)
		return 0
	}
	in.at += n
	return v
}

func (in *input) varint() int64 {
	v := in.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// skip passes over n varints.
func (in *input) skip(n int) {
	for ; n > 0 && in.at < len(in.b); in.at++ {
		if in.b[in.at] < 0x80 {
			n--
		}
	}
	if n > 0 {
		in.bad = true
	}
}

func (in *input) rest() int { return len(in.b) - in.at }
