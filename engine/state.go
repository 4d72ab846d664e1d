package engine

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine/memtable"
	"github.com/godwit-im/godwit/engine/rows"
)

// state is what the log of one group has come to. The group's applier changes
// it under mu; readers hold mu for reading. What is frozen and what is on disk
// is immutable, so that it may be read without mu by whoever pinned it.
type state struct {
	mu    sync.RWMutex
	rows  *rows.Overlay
	heads memtable.Heads

	// active takes the entries; frozen is on its way to a segment, its table is
	// nil while no checkpoint runs.
	active, frozen layer
	live           *version
	// erased is copied on change; nil: nothing is erased that is still on disk.
	erased *erasures

	// index and term are raft's of the newest applied entry, stamp that of the
	// newest batch; it never goes back.
	index, term uint64
	stamp       int64
	// failed: rows could not be read, so what was applied since is wrong. It must
	// never reach the disk.
	failed error
}

// layer is a memtable and the generation its segment will have. older holds,
// for logs with entries in a segment, the newest generation of those.
type layer struct {
	table      *memtable.Table
	generation uint32
	older      *memtable.Heads // their sequences do not matter
}

func newLayer(generation uint32) layer {
	return layer{table: memtable.NewTable(), generation: generation, older: &memtable.Heads{}}
}

func (st *state) head(log LogID) godwit.Seq {
	seq, _, _ := st.heads.Get(log)
	return seq
}

// append stores e as the next entry of log.
func (st *state) append(log LogID, e *Entry) godwit.Seq {
	var before uint32
	e.Seq, before = st.heads.Next(log, st.active.generation)
	if before != st.active.generation && before != 0 {
		st.active.older.Set(log, 1, loadSeededBugs().older(before))
	}
	st.active.table.Append(log, *e)
	return e.Seq
}

// passed notes a raft entry without a batch.
func (st *state) passed(index, term uint64) {
	st.mu.Lock()
	st.index, st.term = index, term
	st.mu.Unlock()
}

// bytes is what a checkpoint would free.
func (st *state) bytes() int64 { return st.active.bytes() + st.rows.Bytes() }

// bytes is the memory of the layer; 0 if there is none.
func (l *layer) bytes() int64 {
	if l.table == nil {
		return 0
	}
	return l.table.Bytes() + l.older.Bytes()
}

// olderOf returns the newest generation of segments that hold entries of log, 0:
// none does. log has entries in the layer.
func (l *layer) olderOf(log LogID) uint32 {
	_, generation, _ := l.older.Get(log)
	return generation
}

// digest hashes everything that Apply can see or change.
func (st *state) digest() (uint64, error) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	h := xxhash.New()
	var num []byte
	sum := func(vs ...uint64) {
		num = num[:0]
		for _, v := range vs {
			num = binary.LittleEndian.AppendUint64(num, v)
		}
		_, _ = h.Write(num)
	}
	sum(uint64(st.stamp))
	err := st.rows.Scan(nil, func(key, value []byte) bool {
		if len(key) > 0 && key[0] == ownRows {
			return true
		}
		sum(uint64(len(key)), uint64(len(value)))
		_, _ = h.Write(key)
		_, _ = h.Write(value)
		return true
	})
	heads := uint64(0) // a sum: the table has no order
	for log, head := range st.heads.All() {
		num = binary.LittleEndian.AppendUint64(num[:0], uint64(log))
		heads += xxhash.Sum64(binary.LittleEndian.AppendUint64(num, uint64(head.Seq)))
	}
	sum(heads)
	return h.Sum64(), err
}

// ownRows is the first byte of the engine's own rows; a Machine may not use it.
const ownRows = 0xff

// Tx is what Machine.Apply sees and changes of its group. It is valid during
// that call only.
type Tx struct {
	group   int
	index   uint64
	stamp   int64
	state   *state
	command []byte
	// segments counts the ids of segments; erased is what the batch made of
	// state.erased, nil: the same.
	segments *atomic.Uint64
	erased   *erasures

	// reads are the keys Machine.Reads named, when Config.CheckReads is set.
	reads map[string]struct{}
}

// Group returns the raft group of the command.
func (tx *Tx) Group() int { return tx.group }

// Index returns the raft index of the command's batch. Commands of one batch share it.
func (tx *Tx) Index() uint64 { return tx.index }

// Stamp returns the leader's clock for the batch in ms since the Unix epoch.
// It never goes back within a group.
func (tx *Tx) Stamp() int64 { return tx.stamp }

// Get returns a row. The value is valid until the next Put or Delete of key
// and must not be changed. A row that can't be read fails the store: then what
// Apply does is dropped and never acknowledged.
func (tx *Tx) Get(key []byte) ([]byte, bool) {
	if tx.reads != nil {
		if _, ok := tx.reads[string(key)]; !ok {
			panic("BUG: Apply gets a row that Reads did not name: " + string(key))
		}
	}
	value, ok, err := tx.state.rows.Get(key)
	if err != nil && tx.state.failed == nil {
		tx.state.failed = fmt.Errorf("read a row: %w", err)
	}
	return value, ok
}

// Put sets a row. Both slices are copied. The first byte of key is not 0xff.
func (tx *Tx) Put(key, value []byte) {
	checkKey(key)
	tx.state.rows.Put(key, value)
}

// Delete removes a row if it exists.
func (tx *Tx) Delete(key []byte) {
	checkKey(key)
	tx.state.rows.Delete(key)
}

func checkKey(key []byte) {
	if len(key) == 0 || key[0] == ownRows {
		panic("BUG: a row's key is empty or begins with 0xff, which is the engine's")
	}
}

// Head returns the newest sequence of log, 0 if it has no entry.
func (tx *Tx) Head(log LogID) godwit.Seq { return tx.state.head(log) }

// Append stores e as the next entry of log and returns its sequence; e.Seq is
// ignored. Meta and Body are copied; a Body that was that of the Append before
// is stored once. e.Prev must be right: pages of conversations follow it.
func (tx *Tx) Append(log LogID, e Entry) godwit.Seq { return tx.state.append(log, &e) }

// begin points tx at one command and, to check it, asks m what it reads.
func (tx *Tx) begin(command []byte, m Machine) {
	tx.command = command
	if tx.reads == nil {
		return
	}
	clear(tx.reads)
	m.Reads(command, func(key []byte) { tx.reads[string(key)] = struct{}{} })
}
