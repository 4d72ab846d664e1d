package segment

import (
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/godwit-im/godwit"
)

// drawModel makes segments of all shapes: holes, empty and huge bodies, heads alone.
func drawModel(t *rapid.T) model {
	m := model{}
	log := godwit.LogID(rapid.SampledFrom([]uint64{0, 1, 5 << 48, 1023<<48 | 1<<40}).Draw(t, "first log"))
	for range rapid.IntRange(0, 30).Draw(t, "logs") {
		r := &run{older: uint32(rapid.IntRange(0, 6).Draw(t, "older"))}
		seq := godwit.Seq(rapid.SampledFrom([]uint64{1, 2, 200, 1 << 33, seqMax - 4000}).Draw(t, "first"))
		at := rapid.SampledFrom([]int64{0, -5, 1_700_000_000_000, 1 << 62}).Draw(t, "time")
		holes := rapid.IntRange(0, 3).Draw(t, "holes")
		newest := map[uint32]godwit.Seq{}
		for range rapid.SampledFrom([]int{0, 1, 1, 2, 7, 60}).Draw(t, "entries") {
			conv := rapid.Uint32Range(0, 4).Draw(t, "conv") * 0x10000001
			e := godwit.Record{Seq: seq, Conv: conv, Prev: newest[conv], Time: at}
			if rapid.IntRange(0, 9).Draw(t, "odd prev") == 0 {
				e.Prev = godwit.Seq(rapid.Uint64Range(0, uint64(seq-1)).Draw(t, "prev"))
			}
			e.Meta = make([]byte, rapid.SampledFrom([]int{0, 1, 3, 200}).Draw(t, "meta"))
			e.Body = make([]byte, rapid.SampledFrom([]int{0, 1, 30, 128, 700}).Draw(t, "body"))
			fill(e.Meta, uint64(seq))
			fill(e.Body, uint64(seq)*uint64(log+1))
			newest[conv] = seq
			r.records = append(r.records, e)
			r.head = seq
			seq += 1 + godwit.Seq(max(0, rapid.IntRange(-3, holes).Draw(t, "gap")))
			at += rapid.Int64Range(0, 5000).Draw(t, "wait")
		}
		r.head += godwit.Seq(max(0, rapid.IntRange(-2, 3).Draw(t, "dropped")))
		m[log] = r
		log += godwit.LogID(rapid.SampledFrom([]uint64{1, 2, 500, 1 << 40}).Draw(t, "next log"))
	}
	return m
}

func fill(b []byte, seed uint64) {
	for i := range b {
		b[i] = byte(mix(seed+uint64(i/8)) >> (i % 8 * 8))
	}
}

func TestSegmentReturnsWhatWasAdded(t *testing.T) {
	cache := NewCache(1 << 20)
	defer cache.Close()
	rapid.Check(t, func(rt *rapid.T) {
		cfg := testConfig(t)
		cfg.BlockBytes = rapid.SampledFrom([]int{512, 1000, 4096}).Draw(rt, "block")
		cfg.Codec = Codec(rapid.IntRange(0, 1).Draw(rt, "codec"))
		cfg.Level = rapid.IntRange(1, 3).Draw(rt, "level")
		use := cache
		if rapid.Bool().Draw(rt, "no cache") {
			use = nil
		}
		m := drawModel(rt)
		r := m.mustOpen(t, cfg, testMeta(1, 7, 9), use)
		defer r.Release()
		if err := m.check(r); err != nil {
			rt.Fatal(err)
		}
		problems, err := Check(cfg.FS, r.path)
		if err != nil || len(problems) > 0 {
			rt.Fatalf("check: %v %v", problems, err)
		}
		if got := r.Meta(); got.Entries != uint64(m.entries()) || got.Logs != uint64(len(m)) {
			rt.Fatalf("the meta counts %d entries in %d logs, there are %d in %d", got.Entries, got.Logs, m.entries(), len(m))
		}
	})
}

func TestEntryIsAbsentWhereNothingWasAdded(t *testing.T) {
	cfg := testConfig(t)
	m := chatModel(seeded(1), 40, 30, 50)
	r := m.mustOpen(t, cfg, testMeta(1, 5, 5), nil)
	defer r.Release()
	var c Cursor
	absent := func(log godwit.LogID, seq godwit.Seq) {
		t.Helper()
		if e, ok, err := r.Entry(&c, log, seq); ok || err != nil {
			t.Errorf("log %d sequence %d: %v, %t, %v", log, seq, e, ok, err)
		}
	}
	for log, want := range m {
		absent(log, 0)
		absent(log, want.records[0].Seq-1)
		absent(log, want.head+1)
		absent(log, seqMax)
		absent(log, godwit.SeqMax)
		for _, other := range []godwit.LogID{log - 1, log + 1, 0, ^godwit.LogID(0)} {
			if m[other] != nil {
				continue
			}
			absent(other, want.head)
			if _, _, _, ok, err := r.Run(&c, other); ok || err != nil {
				t.Errorf("log %d has a run: %v", other, err)
			}
			must(t, r.Ascend(&c, other, 0, func(*godwit.Record) bool { t.Errorf("log %d has entries", other); return false }))
		}
	}
}

func TestHugeBodiesComeBack(t *testing.T) {
	for _, codec := range []Codec{CodecNone, CodecZstd} {
		cfg := testConfig(t)
		cfg.Codec = codec
		m := model{}
		for seq := range godwit.Seq(6) {
			e := godwit.Record{Seq: seq + 1, Conv: 1, Prev: seq, Body: make([]byte, int(seq%3)<<20)}
			if seq > 3 {
				fill(e.Body, uint64(seq))
			}
			m.add(9, 0, e)
		}
		r := m.mustOpen(t, cfg, testMeta(1, 1, 1), nil)
		must(t, m.check(r))
		must(t, r.Release())
	}
}

func TestWriterRefusesDisorder(t *testing.T) {
	f := func(name string, want error, calls func(w *Writer) error) {
		t.Helper()
		cfg := testConfig(t)
		w, err := Create(cfg, testMeta(1, 5, 6))
		must(t, err)
		must(t, w.Add(7, 2, &godwit.Record{Seq: 10, Conv: 1}))
		if err := calls(w); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
		if _, err := w.Finish(); want == ErrOrder && !errors.Is(err, ErrOrder) {
			t.Errorf("%s: Finish after it says %v", name, err)
		}
		w.Abort()
		if names, _ := cfg.FS.List(testDir); want == ErrOrder && len(names) > 0 {
			t.Errorf("%s: left %v", name, names)
		}
	}
	add := func(log godwit.LogID, older uint32, r godwit.Record) func(w *Writer) error {
		return func(w *Writer) error { return w.Add(log, older, &r) }
	}
	f("same sequence", ErrOrder, add(7, 2, godwit.Record{Seq: 10}))
	f("smaller log", ErrOrder, add(6, 2, godwit.Record{Seq: 11}))
	f("other pointer", ErrOrder, add(7, 3, godwit.Record{Seq: 11}))
	f("pointer into itself", ErrOrder, add(8, 5, godwit.Record{Seq: 11}))
	f("prev ahead", ErrOrder, add(8, 2, godwit.Record{Seq: 11, Prev: 11}))
	f("sequence over 40 bits", ErrOrder, add(8, 2, godwit.Record{Seq: seqMax + 1}))
	f("sequence zero", ErrOrder, add(8, 2, godwit.Record{}))
	f("head of a smaller log", ErrOrder, func(w *Writer) error { return w.AddHead(6, 1, 0) })
	f("head over 40 bits", ErrOrder, func(w *Writer) error { return w.AddHead(8, seqMax+1, 0) })
	f("too large", ErrTooLarge, add(8, 2, godwit.Record{Seq: 11, Body: make([]byte, RecordBytesMax+1)}))
	f("the largest sequence", nil, add(8, 2, godwit.Record{Seq: seqMax}))
}

func TestCreateRefusesAnIDTwice(t *testing.T) {
	cfg := testConfig(t)
	m := chatModel(seeded(2), 3, 3, 20)
	r := m.mustOpen(t, cfg, testMeta(1, 5, 5), nil)
	defer r.Release()
	if _, err := Create(cfg, testMeta(1, 6, 6)); err == nil {
		t.Fatal("a second segment took the name of the first")
	}
	must(t, m.check(r))
}

func TestAbortLeavesNothing(t *testing.T) {
	cfg := testConfig(t)
	w, err := Create(cfg, testMeta(1, 5, 5))
	must(t, err)
	must(t, w.Add(1, 0, &godwit.Record{Seq: 1}))
	w.Abort()
	w.Abort()
	if err := w.Add(1, 0, &godwit.Record{Seq: 2}); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after Abort: %v", err)
	}
	if names, err := cfg.FS.List(testDir); err != nil || len(names) > 0 {
		t.Errorf("left %v %v", names, err)
	}
}

func TestFinishSurvivesPowerLoss(t *testing.T) {
	fs := vfs.NewCrashableMem()
	must(t, fs.MkdirAll(testDir, 0o755))
	for dir := testDir; ; dir = fs.PathDir(dir) {
		must(t, syncDir(fs, dir))
		if dir == fs.PathDir(dir) {
			break
		}
	}
	cfg := Config{FS: fs, Dir: testDir, Codec: CodecZstd}
	m := chatModel(seeded(3), 50, 20, 100)
	made, err := m.write(cfg, testMeta(1, 5, 5))
	must(t, err)
	cfg.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	r, err := Open(cfg, made, nil)
	must(t, err)
	must(t, m.check(r))
	must(t, r.Release())
}

func TestMetaComesBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Meta{
			ID: rapid.Uint64().Draw(t, "id"), Group: rapid.Uint32().Draw(t, "group"),
			FirstGeneration: rapid.Uint32Range(1, 100).Draw(t, "first"), LastGeneration: rapid.Uint32Min(100).Draw(t, "last"),
			Tier: rapid.Uint8().Draw(t, "tier"), Entries: rapid.Uint64().Draw(t, "entries"), Logs: rapid.Uint64().Draw(t, "logs"),
			SizeBytes: rapid.Int64Min(0).Draw(t, "size"), RawBytes: rapid.Int64Min(0).Draw(t, "raw"),
			FirstLog: godwit.LogID(rapid.Uint64Max(1000).Draw(t, "first log")), LastLog: godwit.LogID(rapid.Uint64Min(1000).Draw(t, "last log")),
			MinTime: rapid.Int64Max(0).Draw(t, "min"), MaxTime: rapid.Int64Min(0).Draw(t, "max"),
			FirstIndex: rapid.Uint64().Draw(t, "first index"), LastIndex: rapid.Uint64().Draw(t, "last index"), Created: rapid.Int64().Draw(t, "created"),
		}
		fill(m.SHA256[:], m.ID)
		b := m.AppendTo([]byte("x"))[1:]
		got, err := ParseMeta(b)
		if err != nil || got != m {
			t.Fatalf("got %+v (%v), want %+v", got, err, m)
		}
		if _, err := ParseMeta(b[:len(b)-1]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut off: %v", err)
		}
		b[0]++
		if _, err := ParseMeta(b); !errors.Is(err, ErrVersion) {
			t.Fatalf("newer: %v", err)
		}
	})
}

func TestFileNamesSortAndParse(t *testing.T) {
	names := []string{FileName(0), FileName(1), FileName(10), FileName(1 << 40), FileName(^uint64(0))}
	if !slices.IsSorted(names) {
		t.Errorf("%v", names)
	}
	for _, name := range names {
		if id, temp, ok := ParseFileName(name); !ok || temp || FileName(id) != name {
			t.Errorf("%s: %d %t %t", name, id, temp, ok)
		}
		if id, temp, ok := ParseFileName(name + tempSuffix); !ok || !temp || FileName(id) != name {
			t.Errorf("%s.tmp: %d %t %t", name, id, temp, ok)
		}
	}
	for _, name := range []string{"", "x.seg", "1.seg", "000000000000000A.seg", "0000000000000001.wal", "0000000000000001.seg.tmp.tmp"} {
		if _, _, ok := ParseFileName(name); ok {
			t.Errorf("%q is taken for a segment", name)
		}
	}
}
