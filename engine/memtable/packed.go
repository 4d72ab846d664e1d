package memtable

import (
	"encoding/binary"
	"slices"

	"github.com/godwit-im/godwit"
)

// packed is what Recent keeps of one log, in one piece that never changes:
//
//	 0  head: newest sequence it knows of, u64
//	 8  from: no record of the sequences from to head is missing, u64
//	16  time of the oldest record, i64
//	24  number of records, u32, then 4 bytes of 0
//	32  per record, ascending: sequence, 40 bits; where it begins, 24 bits
//	    the records: conversation, sequence - Prev, time - oldest (zigzag), length
//	    of Meta, length of Body, all varints; Meta; Body
type packed []byte

const (
	packedHeader = 32
	packedIndex  = 8
	// packedMax bounds a packed log: an index entry has 24 bits for a place.
	packedMax = 1<<24 - 1
	// recordOverhead is the most that a record takes besides Meta and Body.
	recordOverhead = packedIndex + binary.MaxVarintLen32 + 6 + binary.MaxVarintLen64 + 2*4
)

// appendPacked appends the packed form of records, which come newest first.
func appendPacked(dst []byte, head, from godwit.Seq, newestFirst []godwit.Record) []byte {
	start, n := len(dst), len(newestFirst)
	dst = append(dst, make([]byte, packedHeader+n*packedIndex)...)
	binary.LittleEndian.PutUint64(dst[start:], uint64(head))
	binary.LittleEndian.PutUint64(dst[start+8:], uint64(from))
	binary.LittleEndian.PutUint32(dst[start+24:], uint32(n))
	if n == 0 {
		return dst
	}
	oldest := newestFirst[n-1].Time
	binary.LittleEndian.PutUint64(dst[start+16:], uint64(oldest))
	index := start + packedHeader
	for _, r := range slices.Backward(newestFirst) {
		binary.LittleEndian.PutUint64(dst[index:], uint64(r.Seq)|uint64(len(dst)-start)<<seqBits)
		index += packedIndex
		dst = binary.AppendUvarint(dst, uint64(r.Conv))
		dst = binary.AppendUvarint(dst, uint64(r.Seq-r.Prev))
		dst = binary.AppendVarint(dst, r.Time-oldest)
		dst = binary.AppendUvarint(dst, uint64(len(r.Meta)))
		dst = binary.AppendUvarint(dst, uint64(len(r.Body)))
		dst = append(dst, r.Meta...)
		dst = append(dst, r.Body...)
	}
	return dst
}

func (p packed) head() godwit.Seq { return godwit.Seq(binary.LittleEndian.Uint64(p)) }
func (p packed) from() godwit.Seq { return godwit.Seq(binary.LittleEndian.Uint64(p[8:])) }
func (p packed) len() int         { return int(binary.LittleEndian.Uint32(p[24:])) }

func (p packed) seq(i int) godwit.Seq {
	return godwit.Seq(binary.LittleEndian.Uint64(p[packedHeader+i*packedIndex:])) & SeqMax
}

// search returns the first record with at least this sequence.
func (p packed) search(seq godwit.Seq) int {
	lo, hi := 0, p.len()
	for lo < hi {
		mid := (lo + hi) / 2
		if p.seq(mid) < seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// record returns record i. Its slices alias p.
func (p packed) record(i int) godwit.Record {
	entry := binary.LittleEndian.Uint64(p[packedHeader+i*packedIndex:])
	src := p[entry>>seqBits:]
	next := func() uint64 {
		v, n := binary.Uvarint(src)
		src = src[n:]
		return v
	}
	r := godwit.Record{Seq: godwit.Seq(entry) & SeqMax, Conv: uint32(next())}
	r.Prev = r.Seq - godwit.Seq(next())
	delta, n := binary.Varint(src)
	src = src[n:]
	r.Time = int64(binary.LittleEndian.Uint64(p[16:])) + delta
	meta, body := next(), next()
	if meta > 0 {
		r.Meta = src[:meta:meta]
	}
	if body > 0 {
		r.Body = src[meta : meta+body : meta+body]
	}
	return r
}
