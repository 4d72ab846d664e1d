package engine

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine/rows"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// appender is a small Machine. A command is log u64, conv u32, body: it appends
// the body and keeps a row per log that counts the entries, and one per
// conversation with its newest sequence.
type appender struct {
	pending [][]acked // per group: applied, not yet flushed
	lives   [][2]int  // per group: Flush calls with live false, true
	// gate, if set, is read once before each Apply: the test holds the applier.
	gate chan struct{}
}

type acked struct {
	waiter *ackWaiter
	seq    godwit.Seq
}

func newAppender(groups int) *appender {
	return &appender{pending: make([][]acked, groups), lives: make([][2]int, groups)}
}

func appendCommand(log LogID, conv uint32, body string) []byte {
	c := binary.BigEndian.AppendUint64(nil, uint64(log))
	c = binary.BigEndian.AppendUint32(c, conv)
	return append(c, body...)
}

func countKey(dst []byte, log LogID) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(log)), "/count"...)
}

// convRow is the key of the conversation's row: the command's head.
func convRow(dst, command []byte) []byte { return append(dst, command[:12]...) }

func (m *appender) Reads(command []byte, add func([]byte)) {
	add(countKey(nil, LogID(binary.BigEndian.Uint64(command))))
	add(convRow(nil, command))
}

func (m *appender) Apply(tx *Tx, command []byte, w Waiter) {
	if m.gate != nil {
		<-m.gate
	}
	log := LogID(binary.BigEndian.Uint64(command))
	var key [16]byte
	k := countKey(key[:0], log)
	var count uint64
	if v, ok := tx.Get(k); ok {
		count = binary.BigEndian.Uint64(v)
	}
	count++
	var convBuf [16]byte
	conv := convRow(convBuf[:0], command)
	prev := godwit.Seq(0)
	if v, ok := tx.Get(conv); ok {
		prev = godwit.Seq(binary.BigEndian.Uint64(v))
	}
	seq := tx.Append(log, Entry{
		Prev: prev, Conv: binary.BigEndian.Uint32(command[8:]), Time: tx.Stamp(),
		Meta: binary.AppendUvarint(nil, count), Body: command[12:],
	})
	if uint64(seq) != count || tx.Head(log) != seq {
		panic(fmt.Sprintf("count %d, sequence %d, head %d", count, seq, tx.Head(log)))
	}
	tx.Put(k, binary.BigEndian.AppendUint64(nil, count))
	tx.Put(conv, binary.BigEndian.AppendUint64(nil, uint64(seq)))
	if a, ok := w.(*ackWaiter); ok && a != nil {
		m.pending[tx.Group()] = append(m.pending[tx.Group()], acked{a, seq})
	}
}

func (m *appender) Flush(group int, live bool) {
	m.lives[group][boolInt(live)]++
	for _, a := range m.pending[group] {
		a.waiter.ack(a.seq)
	}
	m.pending[group] = m.pending[group][:0]
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ackWaiter counts how it was answered; done gets each answer.
type ackWaiter struct {
	acks, fails atomic.Int32
	done        chan answer // capacity 2, so that a second answer shows
}

type answer struct {
	seq godwit.Seq
	err error
}

func newWaiter() *ackWaiter { return &ackWaiter{done: make(chan answer, 2)} }

func (w *ackWaiter) ack(seq godwit.Seq) {
	w.acks.Add(1)
	w.done <- answer{seq: seq}
}

func (w *ackWaiter) Fail(err error) {
	w.fails.Add(1)
	w.done <- answer{err: err}
}

// testConfig is a store on fs with a clock that stands at 1000 ms and WAL files
// so small that they change often.
func testConfig(t testing.TB, fs vfs.FS, groups int) Config {
	return Config{
		FS: fs, Dir: "store", Groups: groups, CheckReads: true, walFileBytes: 64 << 10,
		Clock: func() int64 { return 1000 },
		Fatal: func(err error) { t.Errorf("Fatal: %v", err) },
	}
}

func mustOpen(t testing.TB, cfg Config, m Machine) *Store {
	t.Helper()
	s, err := Open(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// propose sends one command to the group of log and waits for its answer.
func propose(t testing.TB, s *Store, log LogID, conv uint32, body string) godwit.Seq {
	t.Helper()
	w := newWaiter()
	if err := s.Propose(s.Group(log.Partition()), appendCommand(log, conv, body), w); err != nil {
		t.Fatal(err)
	}
	a := <-w.done
	if a.err != nil {
		t.Fatal(a.err)
	}
	return a.seq
}

// logOf gives test log n a partition of its own.
func logOf(n int) LogID {
	return godwit.NewLogID(godwit.Partition(n*131%godwit.Partitions), uint64(n)+1)
}

// bodies returns the whole log through View.
func bodies(s *Store, log LogID) []string {
	v := s.View(s.Group(log.Partition()))
	defer v.Close()
	var out []string
	for i, e := range v.Since(log, 0, 1<<30, 1<<30, nil) {
		if e.Seq != godwit.Seq(i+1) {
			panic(fmt.Sprintf("entry %d has sequence %d", i, e.Seq))
		}
		out = append(out, string(e.Body))
	}
	return out
}

// eachGroupCount runs f with 1 and with 8 groups.
func eachGroupCount(t *testing.T, f func(t *testing.T, groups int)) {
	for _, groups := range []int{1, 8} {
		t.Run(fmt.Sprintf("groups=%d", groups), func(t *testing.T) { f(t, groups) })
	}
}

func digest(t testing.TB, s *Store, group int) uint64 {
	t.Helper()
	d, err := s.Digest(group)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// newTestGroup is a group outside of a store.
func newTestGroup(t testing.TB) *group {
	t.Helper()
	db, err := rows.Open(rows.Config{FS: vfs.NewMem(), Dir: "rows"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	g := &group{state: state{rows: rows.NewOverlay(db, 0), active: newLayer(1), live: newVersion(nil)}}
	g.tx = Tx{state: &g.state, segments: new(atomic.Uint64)}
	return g
}
