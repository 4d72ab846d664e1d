//tidy:apply

package chat

import (
	"encoding/binary"
	"unsafe"

	"github.com/godwit-im/godwit"
)

// reader takes fields off the front of a byte slice. The first field that does
// not fit sets bad, and every later one is zero: callers check bad once.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// millis takes a time in ms, which must fit a positive int64.
func (r *reader) millis() int64 {
	v := r.uvarint()
	if v > 1<<62 {
		r.bad = true
		return 0
	}
	return int64(v)
}

// seq takes a sequence, which must not pass godwit.SeqMax.
func (r *reader) seq() godwit.Seq {
	v := r.uvarint()
	if v > uint64(godwit.SeqMax) {
		r.bad = true
		return 0
	}
	return godwit.Seq(v)
}

func (r *reader) partition() godwit.Partition {
	v := r.u16()
	if v >= godwit.Partitions {
		r.bad = true
		return 0
	}
	return godwit.Partition(v)
}

// short takes a string of at most 255 bytes behind its length.
func (r *reader) short() []byte { return r.take(int(r.u8())) }

// done reports whether everything was taken and nothing was missing.
func (r *reader) done() bool { return !r.bad && len(r.b) == 0 }

func appendShort(dst, s []byte) []byte { return append(append(dst, byte(len(s))), s...) }

func appendPartition(dst []byte, p godwit.Partition) []byte {
	return binary.BigEndian.AppendUint16(dst, uint16(p))
}

// stringOf views immutable bytes (a command, or a key built for one call) as a
// string without a copy. The bytes must not change while the string is in use.
func stringOf[T ~string](b []byte) T {
	return T(unsafe.String(unsafe.SliceData(b), len(b)))
}

func userOf(b []byte) godwit.UserID { return stringOf[godwit.UserID](b) }

// bytesOf views a string as bytes that nobody may write.
func bytesOf[T ~string](s T) []byte { return unsafe.Slice(unsafe.StringData(string(s)), len(s)) }
