package engine

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/godwit-im/godwit"
)

// mapStore is the plain model: entries by log, in order; erasing is removing.
type mapStore struct {
	logs   map[LogID][]Entry
	groups func(LogID) int
}

func (m *mapStore) drop(log LogID, gone func(*Entry) bool) {
	m.logs[log] = slices.DeleteFunc(slices.Clone(m.logs[log]), func(e Entry) bool { return gone(&e) })
}

func (m *mapStore) do(op ledgerOp, log LogID, seq, prev godwit.Seq, time int64) {
	if op.kind == 'a' {
		e := Entry{Seq: seq, Prev: prev, Conv: op.conv, Time: time, Meta: op.meta, Body: []byte(op.body)}
		m.logs[log] = append(slices.Clip(m.logs[log]), e)
		return
	}
	m.drop(log, func(e *Entry) bool { return e.Seq <= op.upTo && (op.kind == 'e' || e.Conv == op.conv) })
}

func (m *mapStore) expire(group int, before int64) {
	for log := range m.logs {
		if m.groups(log) == group {
			m.drop(log, func(e *Entry) bool { return e.Time < before })
		}
	}
}

func (m *mapStore) since(log LogID, after godwit.Seq, limit int) []Entry {
	out, _ := modelLog(m.logs[log]).page(func(e Entry) bool { return e.Seq > after }, true, limit, 1<<30)
	return out
}

func (m *mapStore) conversation(log LogID, conv uint32, p Page) (entries []Entry, more bool) {
	return modelLog(m.logs[log]).page(func(e Entry) bool {
		if e.Conv != conv || e.Seq > p.Newest {
			return false
		}
		if p.Forward {
			return e.Seq > p.After
		}
		return p.Before == 0 || e.Seq < p.Before
	}, p.Forward, p.Limit, 1<<30)
}

func (m *mapStore) entry(log LogID, seq godwit.Seq) (Entry, bool) {
	for _, e := range m.logs[log] {
		if e.Seq == seq {
			return e, true
		}
	}
	return Entry{}, false
}

// heldRead is a view kept open with what it has to go on showing.
type heldRead struct {
	view *View
	log  LogID
	want []Entry
}

// meta is a store of the metamorphic test with its oracles.
type meta struct {
	t       *rapid.T
	disk    *vfs.MemFS
	options rapidOptions
	store   *Store
	oracles []messageStore
	clock   atomic.Int64
	heads   [metaLogs]godwit.Seq
	counts  [metaLogs]int // commands
	newest  [metaLogs]map[uint32]godwit.Seq
	expired []int64
	held    []heldRead
}

const metaLogs = 4

type rapidOptions struct {
	groups        int
	memtable, wal int64
	cache         int64
	noCompression bool
	within        time.Duration
	fileBytes     int64
}

func drawOptions(r *rapid.T) rapidOptions {
	file := rapid.SampledFrom([]int64{32 << 10, 64 << 10, 256 << 10}).Draw(r, "walFileBytes")
	return rapidOptions{
		groups:   rapid.SampledFrom([]int{1, 2, 8}).Draw(r, "groups"),
		memtable: rapid.SampledFrom([]int64{12 << 10, 32 << 10, 1 << 20}).Draw(r, "MemtableBytes"),
		wal:      file * rapid.Int64Range(4, 16).Draw(r, "files"), fileBytes: file,
		cache:         rapid.SampledFrom([]int64{1, 16 << 10, 1 << 20}).Draw(r, "CacheBytes"),
		noCompression: rapid.Bool().Draw(r, "NoCompression"),
		within:        rapid.SampledFrom([]time.Duration{time.Nanosecond, time.Hour}).Draw(r, "EraseWithin"),
	}
}

func (m *meta) open() {
	o := m.options
	s, err := Open(Config{
		FS: m.disk, Dir: "store", Groups: o.groups, CheckReads: true, walFileBytes: o.fileBytes, WALBytesMax: o.wal,
		MemtableBytes: o.memtable + int64(o.groups)<<11, CacheBytes: o.cache, RowCacheBytes: 1 << 20,
		NoCompression: o.noCompression, EraseWithin: o.within,
		Clock: func() int64 { return m.clock.Add(1) },
		Fatal: func(err error) { panic(err) },
	}, newLedger(o.groups))
	if err != nil {
		m.t.Fatal(err)
	}
	m.store = s
}

func (m *meta) group(log LogID) int { return m.store.Group(log.Partition()) }

func (m *meta) run(n int, op ledgerOp) {
	log := logOf(n)
	m.counts[n]++
	op.meta = binary.AppendUvarint(nil, uint64(m.counts[n]))
	w := newLedgerWaiter()
	if err := m.store.Propose(m.group(log), op.command(log), w); err != nil {
		m.t.Fatal(err)
	}
	a := <-w.done
	prev := m.newest[n][op.conv]
	switch {
	case op.kind == 'a':
		m.heads[n]++
		m.newest[n][op.conv] = m.heads[n]
	case op.kind == 'c' && op.upTo >= prev:
		delete(m.newest[n], op.conv)
	}
	if a.err != nil || a.seq != m.heads[n] {
		m.t.Fatalf("answer %+v, want %d", a, m.heads[n])
	}
	for _, o := range m.oracles {
		o.do(op, log, a.seq, prev, a.stamp)
		if expired := m.expired[m.group(log)]; a.stamp < expired {
			o.expire(m.group(log), expired)
		}
	}
}

func (m *meta) expire(group int, before int64) {
	w := newLedgerWaiter()
	if err := m.store.Propose(group, ledgerCommand('x', 0, 0, uint64(before), ""), w); err != nil {
		m.t.Fatal(err)
	}
	if a := <-w.done; a.err != nil {
		m.t.Fatal(a.err)
	}
	m.expired[group] = max(m.expired[group], before)
	for _, o := range m.oracles {
		o.expire(group, m.expired[group])
	}
}

// read compares what fn reads of a view and of the oracles.
func (m *meta) read(log LogID, what string, view func(v *View) ([]Entry, bool), oracle func(o messageStore) ([]Entry, bool)) {
	v := m.store.View(m.group(log))
	got, gotMore := view(v)
	err := v.Err()
	v.Close()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, o := range m.oracles {
		want, wantMore := oracle(o)
		if gotMore != wantMore || !sameEntries(got, want) {
			m.t.Fatalf("%s of log %x: %s %v, %T says %s %v", what, log, seqsOf(got), gotMore, o, seqsOf(want), wantMore)
		}
	}
}

func (m *meta) letGo() {
	for _, h := range m.held {
		got := h.view.Since(h.log, 0, 1<<30, 1<<40, nil)
		if !sameEntries(got, h.want) || h.view.Err() != nil {
			m.t.Fatalf("a view of log %x held open: %s, want %s: %v", h.log, seqsOf(got), seqsOf(h.want), h.view.Err())
		}
		h.view.Close()
	}
	m.held = nil
}

// TestMetamorphicAgainstMapAndPebble drives a store with random options, a map
// and Pebble with the same steps.
//
//tidy:long one table of steps
func TestMetamorphicAgainstMapAndPebble(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := &meta{t: r, disk: vfs.NewCrashableMem(), options: drawOptions(r)}
		m.expired = make([]int64, m.options.groups)
		m.open()
		defer func() {
			m.letGo()
			if err := m.store.Close(); err != nil {
				r.Fatal(err)
			}
		}()
		groupOf := func(log LogID) int { return int(log.Partition()) * m.options.groups / godwit.Partitions }
		oracle := newPebbleStore(t, groupOf)
		defer oracle.close()
		m.oracles = []messageStore{&mapStore{map[LogID][]Entry{}, groupOf}, oracle}
		for i := range m.newest {
			m.newest[i] = map[uint32]godwit.Seq{}
		}
		pickLog, pickConv := rapid.IntRange(0, metaLogs-1), rapid.Uint32Range(1, ledgerConvs)
		seqs := rapid.Custom(func(r *rapid.T) godwit.Seq {
			return godwit.Seq(rapid.OneOf(rapid.Uint64Range(0, 80), rapid.Uint64()).Draw(r, "seq"))
		})
		limits := rapid.IntRange(1, 12)
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
		many := func(r *rapid.T) {
			n := pickLog.Draw(r, "log")
			for range rapid.IntRange(1, 30).Draw(r, "count") {
				m.run(n, ledgerOp{kind: 'a', conv: pickConv.Draw(r, "conv"), body: strings.Repeat("b", rapid.IntRange(0, 300).Draw(r, "size"))})
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"append":  func(r *rapid.T) { m.t = r; many(r) },
			"append2": func(r *rapid.T) { m.t = r; many(r) },
			"since": func(r *rapid.T) {
				m.t = r
				log, after, limit := logOf(pickLog.Draw(r, "log")), seqs.Draw(r, "after"), limits.Draw(r, "limit")
				m.read(log, "since", func(v *View) ([]Entry, bool) { return v.Since(log, after, limit, 1<<30, nil), false },
					func(o messageStore) ([]Entry, bool) { return o.since(log, after, limit), false })
			},
			"page": func(r *rapid.T) {
				m.t = r
				n, conv := pickLog.Draw(r, "log"), pickConv.Draw(r, "conv")
				p := Page{
					Newest: m.newest[n][conv], Before: seqs.Draw(r, "before"), After: seqs.Draw(r, "after"),
					Forward: rapid.Bool().Draw(r, "forward"), Limit: limits.Draw(r, "limit"), BytesMax: 1 << 30,
				}
				m.read(logOf(n), "page", func(v *View) ([]Entry, bool) { return v.Conversation(logOf(n), conv, p, nil) },
					func(o messageStore) ([]Entry, bool) { return o.conversation(logOf(n), conv, p) })
			},
			"entry": func(r *rapid.T) {
				m.t = r
				log, seq := logOf(pickLog.Draw(r, "log")), seqs.Draw(r, "seq")
				one := func(e Entry, ok bool) ([]Entry, bool) { return []Entry{e}, ok }
				m.read(log, "entry", func(v *View) ([]Entry, bool) { return one(v.Entry(log, seq)) },
					func(o messageStore) ([]Entry, bool) { return one(o.entry(log, seq)) })
			},
			"rows": func(r *rapid.T) {
				m.t = r
				n := pickLog.Draw(r, "log")
				v := m.store.View(m.group(logOf(n)))
				defer v.Close()
				if err := checkConvRows(v, logOf(n), m.newest[n]); err != nil || v.Head(logOf(n)) != m.heads[n] || v.Err() != nil {
					r.Fatal(err, v.Err(), v.Head(logOf(n)), m.heads[n])
				}
			},
			"checkpoint": func(r *rapid.T) {
				if err := m.store.Checkpoint(); err != nil {
					r.Fatal(err)
				}
			},
			"merge": func(r *rapid.T) {
				if _, err := m.store.mergeTurn(); err != nil {
					r.Fatal(err)
				}
			},
			"erase": func(r *rapid.T) {
				m.t = r
				kind := rapid.SampledFrom([]byte{'e', 'c'}).Draw(r, "kind")
				m.run(pickLog.Draw(r, "log"), ledgerOp{kind: kind, conv: pickConv.Draw(r, "conv"), upTo: godwit.Seq(rapid.Uint64Range(1, 60).Draw(r, "upTo"))})
			},
			"expire": func(r *rapid.T) {
				m.t = r
				if rapid.IntRange(0, 3).Draw(r, "seldom") == 0 {
					m.expire(rapid.IntRange(0, m.options.groups-1).Draw(r, "group"), rapid.Int64Range(0, m.clock.Load()).Draw(r, "before"))
				}
			},
			"eraseNow": func(r *rapid.T) {
				if err := m.store.EraseNow(); err != nil {
					r.Fatal(err)
				}
			},
			"hold": func(r *rapid.T) {
				m.t = r
				log := logOf(pickLog.Draw(r, "log"))
				v := m.store.View(m.group(log))
				h := heldRead{v, log, v.Since(log, 0, 1<<30, 1<<40, nil)}
				if len(m.held) > 2 || v.locked { // it would stop the applier
					v.Close()
					return
				}
				m.held = append(m.held, h)
			},
			"let go": func(r *rapid.T) { m.t = r; m.letGo() },
			"crash": func(r *rapid.T) {
				m.t = r
				m.letGo()
				clone := m.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rapid.IntRange(0, 100).Draw(r, "percent"), RNG: random})
				if err := m.store.Close(); err != nil {
					r.Fatal(err)
				}
				m.disk = clone
				m.open()
			},
			"reopen": func(r *rapid.T) {
				m.t = r
				m.letGo()
				before := digest(t, m.store, 0)
				if err := m.store.Close(); err != nil {
					r.Fatal(err)
				}
				m.open()
				if digest(t, m.store, 0) != before {
					r.Fatal("the digest changed over a restart")
				}
			},
		})
	})
}
