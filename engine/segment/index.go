package segment

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// index finds blocks by (log, sequence): 18 bytes a block, no pointers. Entry i
// is the first position in block i: a log and a sequence, 0 if that run is empty.
type index struct {
	logs    []uint64
	seqs    []uint32 // low 32 bits
	offsets []uint32 // low 32 bits
	high    []uint16 // 8 bits of seq, 7 of offset, then: the run began in an earlier block
	end     int64    // of the last block
}

// indexEntryBytesMin: three varints.
const (
	indexEntryBytesMin  = 3
	indexBytesPerBlock  = 8 + 4 + 4 + 2
	indexHighContinued  = 1 << 15
	indexHighOffsetMask = 0x7f
)

func (x *index) len() int { return len(x.logs) }

func (x *index) log(i int) godwit.LogID { return godwit.LogID(x.logs[i]) }

func (x *index) seq(i int) godwit.Seq {
	return godwit.Seq(x.high[i]&0xff)<<32 | godwit.Seq(x.seqs[i])
}

func (x *index) continued(i int) bool { return x.high[i]&indexHighContinued != 0 }

// span returns where block i lies.
func (x *index) span(i int) (offset int64, n int) {
	offset = x.offset(i)
	if i+1 < len(x.logs) {
		return offset, int(x.offset(i+1) - offset)
	}
	return offset, int(x.end - offset)
}

func (x *index) offset(i int) int64 {
	return int64(x.high[i]>>8&indexHighOffsetMask)<<32 | int64(x.offsets[i])
}

func (x *index) add(log godwit.LogID, seq godwit.Seq, continued bool, offset int64) {
	high := uint16(seq>>32)&0xff | uint16(offset>>32)&indexHighOffsetMask<<8
	if continued {
		high |= indexHighContinued
	}
	x.logs = append(x.logs, uint64(log))
	x.seqs = append(x.seqs, uint32(seq))
	x.offsets = append(x.offsets, uint32(offset))
	x.high = append(x.high, high)
}

// find returns the last block that begins at or before (log, seq), -1 if none does.
func (x *index) find(log godwit.LogID, seq godwit.Seq) int {
	low, high := 0, len(x.logs) // block low-1 begins at or before, block high after
	for low < high {
		mid := int(uint(low+high) >> 1)
		if l := x.log(mid); l < log || l == log && x.seq(mid) <= seq {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low - 1
}

// appendTo writes the index section. Blocks lie one after the other from
// headerBytes, so that lengths say where.
func (x *index) appendTo(dst []byte) []byte {
	last := uint64(0)
	for i, log := range x.logs {
		_, n := x.span(i)
		seq := uint64(x.seq(i)) << 1
		if x.continued(i) {
			seq |= 1
		}
		dst = binary.AppendUvarint(dst, log-last)
		dst = binary.AppendUvarint(dst, seq)
		dst = binary.AppendUvarint(dst, uint64(n))
		last = log
	}
	return dst
}

// parseIndex reads a section of a known number of blocks that end at end.
func parseIndex(src []byte, blocks uint64, end int64) (x index, err error) {
	if blocks > uint64(len(src))/indexEntryBytesMin {
		return x, errBlock("the index is too short for its blocks")
	}
	x = index{
		logs: make([]uint64, 0, blocks), seqs: make([]uint32, 0, blocks),
		offsets: make([]uint32, 0, blocks), high: make([]uint16, 0, blocks), end: end,
	}
	in := input{b: src}
	log, lastSeq, offset := uint64(0), godwit.Seq(0), int64(headerBytes)
	for i := range blocks {
		delta, seq, n := in.uvarint(), in.uvarint(), in.uvarint()
		continued := seq&1 != 0
		seq >>= 1
		switch {
		case in.bad:
			return x, errBlock("the index is cut off")
		case delta > ^uint64(0)-log, seq > seqMax, n == 0, n > uint64(end-offset), offset > offsetMax:
			return x, errBlock("an index entry is out of bounds")
		case i > 0 && delta == 0 && godwit.Seq(seq) <= lastSeq:
			return x, errBlock("the index is not in order")
		}
		log, lastSeq = log+delta, godwit.Seq(seq)
		x.add(godwit.LogID(log), lastSeq, continued, offset)
		offset += int64(n)
	}
	if in.at != len(src) || offset != end {
		return x, errBlock("the index does not end where the blocks end")
	}
	return x, nil
}
