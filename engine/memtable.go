package engine

import (
	"slices"
	"unsafe"

	"github.com/godwit-im/godwit"
)

// memtable holds the entries of a group's logs, all of them for now: segments
// will take the older ones over behind the same methods. It keeps the raft
// entries' own bytes and indexes them without a pointer per entry, so that the
// garbage collector has next to nothing to mark. Guarded by state.mu.
type memtable struct {
	logs  map[LogID]uint32 // slot in heads
	heads []logHead
	convs map[convKey]uint32 // slot in convSeqs

	// convSeqs are the sequences of one conversation of a log, ascending.
	// 32 bits: what a memtable holds of one log stays below 2^32 entries.
	convSeqs [][]uint32

	records recordTable
	buffers [][]byte // raft entries that records point into
	meta    metaArena

	bodyBytes int64 // of all entries, Meta included
}

// logHead is one log: positions[i] is the record of sequence i+1.
type logHead struct {
	id        LogID
	positions []uint32
}

type convKey struct{ slot, conv uint32 }

// record is one entry without pointers. Its sequence is its place in positions.
type record struct {
	time      int64
	conv      uint32
	buffer    uint32 // index into buffers
	bodyOff   uint32
	bodyBytes uint32
	metaChunk uint32
	metaOff   uint32
	metaBytes uint32
}

func newMemtable() memtable {
	return memtable{logs: map[LogID]uint32{}, convs: map[convKey]uint32{}}
}

func (m *memtable) head(log LogID) godwit.Seq {
	slot, ok := m.logs[log]
	if !ok {
		return 0
	}
	return godwit.Seq(len(m.heads[slot].positions))
}

// append stores e as the next entry of log. source is the raft entry that
// e.Body lies in; the memtable keeps it. buffer is its index, or noBuffer for
// the first append from it; the index comes back.
func (m *memtable) append(log LogID, e Entry, source []byte, buffer uint32) (godwit.Seq, uint32) {
	r := record{time: e.Time, conv: e.Conv, buffer: noBuffer, bodyBytes: uint32(len(e.Body)), metaBytes: uint32(len(e.Meta))}
	if len(e.Body) > 0 {
		r.bodyOff = offsetIn(source, e.Body)
		if buffer == noBuffer {
			buffer = uint32(len(m.buffers))
			m.buffers = append(m.buffers, source)
		}
		r.buffer = buffer
	}
	r.metaChunk, r.metaOff = m.meta.add(e.Meta)
	m.bodyBytes += int64(len(e.Body) + len(e.Meta))

	slot, ok := m.logs[log]
	if !ok {
		slot = uint32(len(m.heads))
		m.logs[log] = slot
		m.heads = append(m.heads, logHead{id: log})
	}
	h := &m.heads[slot]
	h.positions = append(h.positions, m.records.add(r))
	seq := uint32(len(h.positions))

	key := convKey{slot, e.Conv}
	c, ok := m.convs[key]
	if !ok {
		c = uint32(len(m.convSeqs))
		m.convs[key] = c
		m.convSeqs = append(m.convSeqs, nil)
	}
	m.convSeqs[c] = append(m.convSeqs[c], seq)
	return godwit.Seq(seq), buffer
}

const noBuffer = ^uint32(0)

// offsetIn returns where part begins in whole; part must be a piece of it.
func offsetIn(whole, part []byte) uint32 {
	off := uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
	if off > uintptr(len(whole)) || uintptr(len(part)) > uintptr(len(whole))-off {
		panic("BUG: Tx.Append: Entry.Body does not lie in the command given to Apply")
	}
	return uint32(off)
}

func (m *memtable) entry(log LogID, seq godwit.Seq) (Entry, bool) {
	slot, ok := m.logs[log]
	if !ok || seq == 0 || seq > godwit.Seq(len(m.heads[slot].positions)) {
		return Entry{}, false
	}
	return m.at(&m.heads[slot], uint32(seq)), true
}

func (m *memtable) at(h *logHead, seq uint32) Entry {
	r := m.records.at(h.positions[seq-1])
	e := Entry{Seq: godwit.Seq(seq), Conv: r.conv, Time: r.time, Meta: m.meta.at(r.metaChunk, r.metaOff, r.metaBytes)}
	if r.bodyBytes > 0 {
		end := r.bodyOff + r.bodyBytes
		e.Body = m.buffers[r.buffer][r.bodyOff:end:end]
	}
	return e
}

// size returns what entry seq counts against a page's bytes.
func (m *memtable) size(h *logHead, seq uint32) int {
	r := m.records.at(h.positions[seq-1])
	return int(r.bodyBytes) + int(r.metaBytes)
}

// since appends to dst the entries after a sequence: up to limit and bytesMax,
// but at least one if there is one.
func (m *memtable) since(log LogID, after godwit.Seq, limit, bytesMax int, dst []Entry) []Entry {
	slot, ok := m.logs[log]
	if !ok {
		return dst
	}
	h := &m.heads[slot]
	if after >= godwit.Seq(len(h.positions)) {
		return dst
	}
	first, bytes := uint32(after)+1, 0
	for seq := first; seq <= uint32(len(h.positions)); seq++ {
		bytes += m.size(h, seq)
		if seq > first && (int(seq-first) >= limit || bytes > bytesMax) {
			break
		}
		dst = append(dst, m.at(h, seq))
	}
	return dst
}

// conversation appends a page of one conversation to dst; see View.Conversation.
func (m *memtable) conversation(log LogID, conv uint32, p Page, dst []Entry) (_ []Entry, more bool) {
	slot, ok := m.logs[log]
	if !ok {
		return dst, false
	}
	c, ok := m.convs[convKey{slot, conv}]
	if !ok {
		return dst, false
	}
	h, seqs := &m.heads[slot], m.convSeqs[c]
	lo, hi := 0, len(seqs)
	if p.Forward {
		lo, _ = slices.BinarySearch(seqs, clampSeq(p.After)+1)
	} else if p.Before > 0 {
		hi, _ = slices.BinarySearch(seqs, clampSeq(p.Before))
	}
	if lo >= hi {
		return dst, false
	}
	seqs = seqs[lo:hi]
	n, bytes := 0, 0
	for ; n < len(seqs); n++ {
		i := n
		if !p.Forward {
			i = len(seqs) - 1 - n
		}
		bytes += m.size(h, seqs[i])
		if n > 0 && (n >= p.Limit || bytes > p.BytesMax) {
			break
		}
	}
	page := seqs[:n]
	if !p.Forward {
		page = seqs[len(seqs)-n:]
	}
	for _, seq := range page {
		dst = append(dst, m.at(h, seq))
	}
	return dst, n < len(seqs)
}

// clampSeq brings a client's sequence into the range of convSeqs, with room
// for + 1.
func clampSeq(s godwit.Seq) uint32 { return uint32(min(s, 1<<32-2)) }

// recordTable is an array of records in chunks, so that growth copies nothing.
type recordTable struct {
	chunks [][]record
	n      uint32
}

const recordsPerChunk = 1024

func (t *recordTable) add(r record) uint32 {
	if t.n == ^uint32(0) {
		panic("BUG: a memtable of 2^32 records")
	}
	if t.n%recordsPerChunk == 0 {
		// The first chunk grows by append: most groups of a small store are tiny.
		room := recordsPerChunk
		if t.n == 0 {
			room = 16
		}
		t.chunks = append(t.chunks, make([]record, 0, room))
	}
	last := &t.chunks[len(t.chunks)-1]
	*last = append(*last, r)
	t.n++
	return t.n - 1
}

func (t *recordTable) at(i uint32) *record {
	return &t.chunks[i/recordsPerChunk][i%recordsPerChunk]
}

// metaArena holds the Meta of entries in chunks that are written once.
type metaArena struct{ chunks [][]byte }

const (
	metaChunkMinBytes = 1 << 10
	metaChunkMaxBytes = 256 << 10
)

// add copies meta and returns its place.
func (a *metaArena) add(meta []byte) (chunk, off uint32) {
	if len(meta) == 0 {
		return 0, 0
	}
	n := len(a.chunks)
	if n == 0 || cap(a.chunks[n-1])-len(a.chunks[n-1]) < len(meta) {
		size := metaChunkMinBytes
		if n > 0 {
			size = min(2*cap(a.chunks[n-1]), metaChunkMaxBytes)
		}
		a.chunks = append(a.chunks, make([]byte, 0, max(size, len(meta))))
		n++
	}
	last := &a.chunks[n-1]
	off = uint32(len(*last))
	*last = append(*last, meta...)
	return uint32(n - 1), off
}

func (a *metaArena) at(chunk, off, size uint32) []byte {
	if size == 0 {
		return nil
	}
	return a.chunks[chunk][off : off+size : off+size]
}
