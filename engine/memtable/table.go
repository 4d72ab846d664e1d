package memtable

import (
	"bytes"
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/godwit-im/godwit"
)

// Table is one group's entries since a checkpoint. It holds no pointer per
// entry or log, so the garbage collector has next to nothing to mark.
//
// Writers are serialised against readers by the owner; a table that is no
// longer appended to may be read without a lock. Records it returns alias its
// memory: they never change and stay valid as long as they are referenced.
type Table struct {
	arena arena
	heads slots // ref of the newest record << 32 | number of records in the table
	n     int
	last  body // of the previous Append
}

type body struct {
	ref   ref
	bytes []byte
}

// NewTable returns an empty table, which costs next to nothing.
func NewTable() *Table { return &Table{} }

// Append stores r as the next entry of log: r.Seq is one more than that of the
// log's newest entry in the table, if there is one. Meta and Body are copied; a
// Body equal to that of the previous Append is stored once.
func (t *Table) Append(log godwit.LogID, r godwit.Record) {
	if r.Seq == 0 || r.Seq > SeqMax || r.Prev >= r.Seq || len(r.Meta) >= pieceMax || len(r.Body) >= pieceMax {
		panic(fmt.Sprintf("BUG: append to log %#x: sequence %d after %d in its conversation, %d and %d bytes",
			uint64(log), r.Seq, r.Prev, len(r.Meta), len(r.Body)))
	}
	head := t.heads.at(uint64(log))
	older, n := splitHead(*head)
	var jump ref
	if older != 0 {
		newest := t.header(older)
		if newest.seq() != r.Seq-1 {
			panic(fmt.Sprintf("BUG: log %#x goes on with sequence %d after %d", uint64(log), r.Seq, newest.seq()))
		}
		jump = older
		if last, before := ranks(n); last == before {
			jump = t.header(newest.jump()).jump()
		}
	}
	at := t.put(older, jump, &r)
	*head = joinHead(at, n+1)
	t.n++
}

func splitHead(v uint64) (newest ref, n uint32) { return ref(v >> 32), uint32(v) }

func joinHead(newest ref, n uint32) uint64 { return uint64(newest)<<32 | uint64(n) }

// put writes a record and, unless it is there already, its body.
func (t *Table) put(older, jump ref, r *godwit.Record) ref {
	if len(r.Body) > 0 && !bytes.Equal(r.Body, t.last.bytes) {
		at, piece := t.arena.alloc(len(r.Body))
		t.last = body{at, piece[:copy(piece, r.Body)]}
	}
	at, piece := t.arena.alloc(headerBytes + len(r.Meta))
	h := (*header)(piece)
	h.set(older, jump, r)
	if len(r.Body) > 0 {
		h.setBody(t.last.ref)
	}
	copy(piece[headerBytes:], r.Meta)
	return at
}

// ranks returns those of the last two terms of n in skew binary: n is a sum of
// terms 2^rank - 1, the largest first, where only the last two may be equal. The
// jump pointer of a log's n-th record skips as many records as the last term:
// so the record k further back is O(log n) steps away (Myers 1983).
func ranks(n uint32) (last, before int) {
	for rest := uint64(n); rest > 0; {
		before = last
		last = bits.Len64(rest+1) - 1
		rest -= 1<<last - 1
	}
	return last, before
}

// seek returns the record number want (from 1), given number n at r.
func (t *Table) seek(r ref, n, want uint32) ref {
	var terms [2 * 33]uint8 // ranks, the last one on top; a split adds one per rank
	top := 0
	for rest := uint64(n); rest > 0; top++ {
		terms[top] = uint8(bits.Len64(rest+1) - 1)
		rest -= 1<<terms[top] - 1
	}
	for n > want {
		h := t.header(r)
		rank := terms[top-1]
		if skip := uint32(1<<rank - 1); n-want >= skip {
			r, n, top = h.jump(), n-skip, top-1
			continue
		}
		r, n = h.older(), n-1
		terms[top-1], terms[top] = rank-1, rank-1
		top++
	}
	return r
}

// First returns the lowest sequence of log in the table.
func (t *Table) First(log godwit.LogID) (godwit.Seq, bool) {
	newest, n := splitHead(t.heads.get(uint64(log)))
	if n == 0 {
		return 0, false
	}
	return t.header(newest).seq() - godwit.Seq(n) + 1, true
}

// Head returns the newest sequence of log in the table.
func (t *Table) Head(log godwit.LogID) (godwit.Seq, bool) {
	newest, n := splitHead(t.heads.get(uint64(log)))
	if n == 0 {
		return 0, false
	}
	return t.header(newest).seq(), true
}

// Entry returns an entry of log.
func (t *Table) Entry(log godwit.LogID, seq godwit.Seq) (godwit.Record, bool) {
	newest, n := splitHead(t.heads.get(uint64(log)))
	if n == 0 {
		return godwit.Record{}, false
	}
	head := t.header(newest).seq()
	if seq > head || head-seq >= godwit.Seq(n) {
		return godwit.Record{}, false
	}
	return t.record(t.seek(newest, n, n-uint32(head-seq))), true
}

// Len returns the number of entries.
func (t *Table) Len() int { return t.n }

// Logs returns the number of logs.
func (t *Table) Logs() int { return t.heads.n }

// Bytes returns the memory held.
func (t *Table) Bytes() int64 {
	return int64(unsafe.Sizeof(*t)) + t.arena.bytes() + t.heads.bytes()
}
