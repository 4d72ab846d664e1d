package chat

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
)

// benchTx is the cheapest store: rows in a map whose values are overwritten in
// place, logs that only count. New dedup rows are dropped, so that what is
// measured is apply alone.
type benchTx struct {
	rows  map[string][]byte
	heads map[godwit.LogID]godwit.Seq
	stamp int64
}

func (t *benchTx) Group() int   { return 0 }
func (t *benchTx) Stamp() int64 { t.stamp++; return t.stamp }

func (t *benchTx) Get(key []byte) ([]byte, bool) {
	v, ok := t.rows[string(key)]
	return v, ok
}

func (t *benchTx) Put(key, value []byte) {
	if key[2] == rowDedup || key[2] == rowOutbox {
		return
	}
	if v, ok := t.rows[string(key)]; ok && cap(v) >= len(value) {
		if len(v) == len(value) {
			copy(v, value)
			return
		}
	}
	t.rows[string(key)] = append(make([]byte, 0, len(value)+8), value...)
}

func (t *benchTx) Delete(key []byte) { delete(t.rows, string(key)) }

func (t *benchTx) Append(log godwit.LogID, _ godwit.Record) godwit.Seq {
	t.heads[log]++
	return t.heads[log]
}

func (t *benchTx) Erase(godwit.LogID, godwit.Seq)                     {}
func (t *benchTx) EraseConversation(godwit.LogID, uint32, godwit.Seq) {}
func (t *benchTx) ExpireBefore(int64)                                 {}

func newBenchTx(m *Machine, groups int) *benchTx {
	tx := &benchTx{rows: map[string][]byte{}, heads: map[godwit.LogID]godwit.Seq{}, stamp: 1_700_000_000_000}
	c := genesisCommand{settings: testSettings(groups)}
	m.Apply(tx, c.append(nil, 0), nil)
	return tx
}

// benchUser returns a user whose partition lies in the group.
func benchUser(groups, group, i int) godwit.UserID {
	for n := 0; ; n++ {
		if u := godwit.UserID(fmt.Sprintf("user-%d-%d", i, n)); groupOf(u.Partition(), groups) == group {
			return u
		}
	}
}

func benchSend(groups int, from, to godwit.UserID) []byte {
	body := make([]byte, 128)
	return appendBlock(appendSendHead(nil, 0, 0), []byte(from), []byte(to), []byte("01JDC7Q0V8"), nil, body, true)
}

func BenchmarkApplySend(b *testing.B) {
	f := func(name string, groups, recipientGroup int) {
		b.Run(name, func(b *testing.B) {
			m := NewMachine(1)
			tx := newBenchTx(m, groups)
			var commands [][]byte
			for i := range 1024 {
				commands = append(commands, benchSend(groups, benchUser(groups, 0, i), benchUser(groups, recipientGroup, i+1)))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Apply(tx, commands[i%1024], nil)
				m.Flush(0, false)
			}
		})
	}
	f("both logs", 1, 0)
	f("to the outbox", 8, 7)
}

func TestApplyOfASendDoesNotAllocate(t *testing.T) {
	m := NewMachine(1)
	tx := newBenchTx(m, 1)
	command := benchSend(1, "alice", "bob")
	for range 300 { // rows and scratch grow to their size
		m.Apply(tx, command, nil)
		m.Flush(0, false)
	}
	if n := testing.AllocsPerRun(100, func() {
		m.Apply(tx, command, nil)
		m.Flush(0, false)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecordToEntry(b *testing.B) {
	ids, err := newMessageIDs([16]byte{1})
	if err != nil {
		b.Fatal(err)
	}
	m := meta{incoming: true, ordinal: 3, origin: godwit.NewLogID(5, 6), originSeq: 7}
	r := &godwit.Record{Seq: 4, Time: 5, Meta: m.append(nil), Body: sampleBlock()}
	e := new(godwit.Entry)
	b.ReportAllocs()
	for b.Loop() {
		ids.entry(e, 1, r)
	}
}

// BenchmarkConvertPage makes entries of a page of 100 messages of 5 conversations.
func BenchmarkConvertPage(b *testing.B) {
	w := newWorld(b, 1, nil)
	for i := range 100 {
		w.send("alice", godwit.UserID(fmt.Sprint("peer", i%5)), fmt.Sprint("c", i), "a message of some usual length")
	}
	s := &Service{cfg: Config{Store: w.store}}
	s.ids.Store(&w.ids)
	rw := &readWorker{service: s}
	v := rw.open(0)
	defer rw.shut()
	u, _ := userOfView(v, "alice")
	log := u.logID("alice")
	b.ReportAllocs()
	for b.Loop() {
		rw.records = v.Since(log, 0, 100, 1<<20, rw.records[:0])
		var refusal *godwit.Error
		if rw.page, refusal = rw.convert(v, "alice", log, rw.records, rw.page[:0]); refusal != nil || len(rw.page) != 100 {
			b.Fatal(refusal)
		}
	}
}
