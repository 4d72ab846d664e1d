package memtable

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// header is the fixed part of a record in the arena; Meta follows it:
//
//	 0  ref of the log's record before this one, u32
//	 4  ref of the one that the jump pointer names, u32
//	 8  ref of the body, u32, 0: it is empty
//	12  conversation, u32
//	16  time, i64
//	24  sequence, 40 bits; length of Meta, 24 bits
//	32  Prev, 40 bits; length of Body, 24 bits
//
// Little-endian; the bytes never leave the process.
type header [headerBytes]byte

const (
	headerBytes = 40
	seqBits     = 40
	// pieceMax is above the largest Meta and Body.
	pieceMax = 1 << (64 - seqBits)
)

func (h *header) set(older, jump ref, r *godwit.Record) {
	binary.LittleEndian.PutUint32(h[0:], uint32(older))
	binary.LittleEndian.PutUint32(h[4:], uint32(jump))
	binary.LittleEndian.PutUint32(h[12:], r.Conv)
	binary.LittleEndian.PutUint64(h[16:], uint64(r.Time))
	binary.LittleEndian.PutUint64(h[24:], uint64(r.Seq)|uint64(len(r.Meta))<<seqBits)
	binary.LittleEndian.PutUint64(h[32:], uint64(r.Prev)|uint64(len(r.Body))<<seqBits)
}

func (h *header) setBody(r ref) { binary.LittleEndian.PutUint32(h[8:], uint32(r)) }

func (h *header) older() ref { return ref(binary.LittleEndian.Uint32(h[0:])) }
func (h *header) jump() ref  { return ref(binary.LittleEndian.Uint32(h[4:])) }
func (h *header) body() ref  { return ref(binary.LittleEndian.Uint32(h[8:])) }

func (h *header) seq() godwit.Seq {
	return godwit.Seq(binary.LittleEndian.Uint64(h[24:])) & SeqMax
}

func (h *header) metaBytes() int { return int(binary.LittleEndian.Uint64(h[24:]) >> seqBits) }
func (h *header) bodyBytes() int { return int(binary.LittleEndian.Uint64(h[32:]) >> seqBits) }

func (t *Table) header(r ref) *header { return (*header)(t.arena.at(r)) }

// record returns the record at r. Its slices alias the arena.
func (t *Table) record(at ref) godwit.Record {
	piece := t.arena.at(at)
	h := (*header)(piece)
	r := godwit.Record{
		Seq:  h.seq(),
		Conv: binary.LittleEndian.Uint32(h[12:]),
		Prev: godwit.Seq(binary.LittleEndian.Uint64(h[32:])) & SeqMax,
		Time: int64(binary.LittleEndian.Uint64(h[16:])),
	}
	if n := h.metaBytes(); n > 0 {
		r.Meta = piece[headerBytes : headerBytes+n : headerBytes+n]
	}
	if n := h.bodyBytes(); n > 0 {
		r.Body = t.arena.at(h.body())[:n:n]
	}
	return r
}
