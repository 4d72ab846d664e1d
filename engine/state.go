package engine

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/godwit-im/godwit"
)

// state is what the log of one group has come to: rows and entries. The
// group's applier writes it, readers hold mu for reading.
type state struct {
	mu sync.RWMutex
	rows
	memtable
	// index is that of the newest applied batch; raft's own entries do not
	// count, so that a restart alone changes nothing.
	index uint64
	stamp int64 // of that batch; never goes back
}

// digest hashes everything that Apply can see or change.
func (s *state) digest() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := xxhash.New()
	var num []byte
	sum := func(vs ...uint64) {
		num = num[:0]
		for _, v := range vs {
			num = binary.LittleEndian.AppendUint64(num, v)
		}
		_, _ = h.Write(num)
	}
	sum(s.index, uint64(s.stamp))
	s.tree.Scan(func(key string, r *row) bool {
		sum(uint64(len(key)), uint64(len(r.value)))
		_, _ = h.WriteString(key)
		_, _ = h.Write(r.value)
		return true
	})
	heads := make([][2]uint64, 0, len(s.heads))
	for i := range s.heads {
		heads = append(heads, [2]uint64{uint64(s.heads[i].id), uint64(len(s.heads[i].positions))})
	}
	slices.SortFunc(heads, func(a, b [2]uint64) int { return slices.Compare(a[:], b[:]) })
	for _, head := range heads {
		sum(head[0], head[1])
	}
	return h.Sum64()
}

// Tx is what Machine.Apply sees and changes of its group. It is valid during
// that call only.
type Tx struct {
	group   int
	index   uint64
	stamp   int64
	state   *state
	command []byte
	source  []byte // the raft entry that command lies in
	buffer  uint32 // source's index in the memtable, once it has one

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
// and must not be changed.
func (tx *Tx) Get(key []byte) ([]byte, bool) {
	if tx.reads != nil {
		if _, ok := tx.reads[string(key)]; !ok {
			panic("BUG: Apply gets a row that Reads did not name: " + string(key))
		}
	}
	return tx.state.get(key)
}

// Put sets a row. Both slices are copied.
func (tx *Tx) Put(key, value []byte) { tx.state.put(key, value) }

// Delete removes a row if it exists.
func (tx *Tx) Delete(key []byte) { tx.state.delete(key) }

// Head returns the newest sequence of log, 0 if it has no entry.
func (tx *Tx) Head(log LogID) godwit.Seq { return tx.state.head(log) }

// Append stores e as the next entry of log and returns its sequence; e.Seq is
// ignored. Meta is copied. Body must lie in the command given to Apply, which
// is kept.
func (tx *Tx) Append(log LogID, e Entry) godwit.Seq {
	if len(e.Body) > 0 {
		offsetIn(tx.command, e.Body)
	}
	var seq godwit.Seq
	seq, tx.buffer = tx.state.append(log, e, tx.source, tx.buffer)
	return seq
}

// Entry returns an entry of log.
func (tx *Tx) Entry(log LogID, seq godwit.Seq) (Entry, bool) { return tx.state.entry(log, seq) }

// begin points tx at one command and, to check it, asks m what it reads.
func (tx *Tx) begin(command []byte, m Machine) {
	tx.command = command
	if tx.reads == nil {
		return
	}
	clear(tx.reads)
	m.Reads(command, func(key []byte) { tx.reads[string(key)] = struct{}{} })
}
