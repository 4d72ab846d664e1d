package main

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine"
)

// conversations is how many a log has.
const conversations = 2

// dedupRows is how many rows a log keeps of its newest entries: each entry adds
// one and deletes one.
const dedupRows = 16

const (
	commandAppend = 'a' // log u64, life u32, n u64, body
	commandErase  = 'x' // log u64, upTo u64
)

func appendCommand(dst []byte, seed, log uint64, id entryID) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, commandAppend), log)
	dst = binary.BigEndian.AppendUint32(dst, id.life)
	dst = binary.BigEndian.AppendUint64(dst, id.n)
	return appendBody(dst, seed, log, id)
}

func eraseCommand(log, upTo uint64) []byte {
	dst := binary.BigEndian.AppendUint64([]byte{commandErase}, log)
	return binary.BigEndian.AppendUint64(dst, upTo)
}

// logRow says what a log holds, so that rows and entries can be compared. It is
// read and written by every command.
//
//	count u64, chain u64, newest u64 of each conversation
type logRow struct {
	count  uint64
	chain  uint64 // over all bodies there ever were
	newest [conversations]uint64
}

func logKey(log uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'l'}, log) }

func dedupPrefix(log uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'d'}, log) }

func dedupKey(log, seq uint64) []byte { return binary.BigEndian.AppendUint64(dedupPrefix(log), seq) }

func (r *logRow) append(dst []byte) []byte {
	for _, v := range [...]uint64{r.count, r.chain, r.newest[0], r.newest[1]} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	return dst
}

func parseLogRow(src []byte) (r logRow, ok bool) {
	if len(src) != 32 {
		return r, false
	}
	be := binary.BigEndian
	return logRow{be.Uint64(src), be.Uint64(src[8:]), [2]uint64{be.Uint64(src[16:]), be.Uint64(src[24:])}}, true
}

// chained goes one entry on.
func chained(chain, hash uint64) uint64 {
	return xxhash.Sum64(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, chain), hash))
}

// entryMeta is the Meta of an entry: its name, and the chain including it.
func entryMeta(id entryID, chain uint64) []byte {
	dst := binary.BigEndian.AppendUint32(nil, id.life)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, id.n), chain)
}

func parseEntryMeta(src []byte) (id entryID, chain uint64, ok bool) {
	if len(src) != 20 {
		return id, 0, false
	}
	be := binary.BigEndian
	return entryID{be.Uint32(src), be.Uint64(src[4:])}, be.Uint64(src[12:]), true
}

// machine is the deterministic state of the child's store.
type machine struct {
	pending [][]answered // per group: applied, not yet flushed
}

type answered struct {
	waiter *waiter
	seq    godwit.Seq
}

func newMachine(groups int) *machine { return &machine{pending: make([][]answered, groups)} }

func (m *machine) Reads(command []byte, add func([]byte)) {
	add(logKey(binary.BigEndian.Uint64(command[1:])))
}

func (m *machine) Apply(tx *engine.Tx, command []byte, w engine.Waiter) {
	log := binary.BigEndian.Uint64(command[1:])
	seq := godwit.Seq(0)
	switch command[0] {
	case commandErase:
		seq = godwit.Seq(binary.BigEndian.Uint64(command[9:]))
		tx.Erase(godwit.LogID(log), seq)
	case commandAppend:
		id := entryID{binary.BigEndian.Uint32(command[9:]), binary.BigEndian.Uint64(command[13:])}
		seq = appendEntry(tx, log, id, command[21:])
	}
	if a, ok := w.(*waiter); ok && a != nil {
		m.pending[tx.Group()] = append(m.pending[tx.Group()], answered{a, seq})
	}
}

func appendEntry(tx *engine.Tx, log uint64, id entryID, body []byte) godwit.Seq {
	key := logKey(log)
	var row logRow
	if v, ok := tx.Get(key); ok {
		row, _ = parseLogRow(v) // a row of another length shows as a wrong count
	}
	hash := xxhash.Sum64(body)
	conv := hash % conversations
	row.chain = chained(row.chain, hash)
	seq := tx.Append(godwit.LogID(log), engine.Entry{
		Conv: uint32(conv) + 1, Prev: godwit.Seq(row.newest[conv]), Time: tx.Stamp(),
		Meta: entryMeta(id, row.chain), Body: body,
	})
	row.count++
	row.newest[conv] = uint64(seq)
	tx.Put(key, row.append(nil))
	tx.Put(dedupKey(log, uint64(seq)), key)
	if seq > dedupRows {
		tx.Delete(dedupKey(log, uint64(seq)-dedupRows))
	}
	return seq
}

func (m *machine) Flush(group int, _ bool) {
	for _, a := range m.pending[group] {
		a.waiter.done <- answer{seq: uint64(a.seq)}
	}
	clear(m.pending[group])
	m.pending[group] = m.pending[group][:0]
}

// waiter is one proposal in flight.
type waiter struct {
	log  uint64
	id   entryID // zero: an erasure
	upTo uint64
	hash uint64
	done chan answer // capacity 1: the engine answers once
}

type answer struct {
	seq uint64
	err error
}

func (w *waiter) Fail(err error) { w.done <- answer{err: err} }
