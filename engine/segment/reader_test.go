package segment

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/godwit-im/godwit"
)

func TestFileGoesOnlyWithTheLastReference(t *testing.T) {
	cfg := testConfig(t)
	m := chatModel(seeded(6), 5, 5, 20)
	exists := func(r *Reader) bool {
		_, err := cfg.FS.Stat(r.path)
		return err == nil
	}
	r := m.mustOpen(t, cfg, testMeta(1, 5, 5), nil)
	r.Acquire()
	r.Obsolete()
	must(t, r.Release())
	if !exists(r) {
		t.Fatal("removed under a reader")
	}
	must(t, m.check(r))
	must(t, r.Release())
	if exists(r) {
		t.Fatal("an obsolete file stays")
	}
	r = m.mustOpen(t, cfg, testMeta(2, 5, 5), nil)
	must(t, r.Release())
	if !exists(r) {
		t.Fatal("a live file was removed")
	}
	for name, call := range map[string]func(){"Acquire": r.Acquire, "Release": func() { _ = r.Release() }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s after the last Release does not panic", name)
				}
			}()
			call()
		}()
	}
}

func TestReaderServesManyAtOnce(t *testing.T) {
	cfg := testConfig(t)
	m := chatModel(seeded(8), 60, 30, 80)
	cache := NewCache(20_000) // small: evictions all the time
	defer cache.Close()
	r := m.mustOpen(t, cfg, testMeta(1, 5, 5), cache)
	var group sync.WaitGroup
	for range 4 {
		r.Acquire()
		group.Go(func() {
			defer r.Release()
			for range 3 {
				if err := m.check(r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	r.Obsolete()
	must(t, r.Release())
	group.Wait()
	if _, err := cfg.FS.Stat(r.path); err == nil {
		t.Error("an obsolete file stays")
	}
}

// Records must outlive the cursor, the cache and the reader.
func TestRecordsStayValid(t *testing.T) {
	cfg := testConfig(t)
	m := chatModel(seeded(9), 50, 10, 80)
	cache := NewCache(4000)
	r := m.mustOpen(t, cfg, testMeta(1, 5, 5), cache)
	var c Cursor
	got := map[godwit.LogID]godwit.Record{}
	for log, want := range m {
		e, ok, err := r.Entry(&c, log, want.head)
		if must(t, err); !ok {
			t.Fatal("no head")
		}
		got[log] = e
	}
	must(t, r.Release())
	cache.Close()
	runtime.GC()
	for log, want := range m {
		if !same(got[log], want.records[len(want.records)-1]) {
			t.Errorf("log %d changed", log)
		}
	}
}

// countingFS counts the reads of blocks.
func countingFS(fs vfs.FS, reads *int) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt {
			*reads++
		}
		return nil
	}))
}

func TestPageCostsOneReadPerBlock(t *testing.T) {
	cfg := testConfig(t)
	cfg.BlockBytes = 16 << 10
	m := chatModel(seeded(10), 400, 50, 128)
	reads := 0
	cfg.FS = countingFS(cfg.FS, &reads)
	r := m.mustOpen(t, cfg, testMeta(1, 5, 5), nil)
	defer r.Release()
	total, pages := 0, 0
	for _, log := range m.logs() {
		var c Cursor
		reads = 0
		_, last, _, ok, err := r.Run(&c, log)
		if must(t, err); !ok || reads != 1 {
			t.Fatalf("log %d: the run took %d reads", log, reads)
		}
		want := m[log].records
		for i := len(want) - 1; i >= max(0, len(want)-50); i-- {
			if _, ok, err := r.Entry(&c, log, last-godwit.Seq(len(want)-1-i)); !ok || err != nil {
				t.Fatalf("log %d: %t %v", log, ok, err)
			}
		}
		if reads > 2 {
			t.Errorf("log %d: a page of %d entries took %d reads", log, len(want), reads)
		}
		total, pages = total+reads, pages+1
	}
	if total > pages*13/10 {
		t.Errorf("%d pages took %d reads", pages, total)
	}
	reads = 0
	var c Cursor
	for log := range m { // all in one block or two: the cursor has it already
		if i := r.index.find(log, seqMax); i == 0 {
			if _, _, _, ok, err := r.Run(&c, log); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	}
	if reads != 1 {
		t.Errorf("the runs of one block took %d reads", reads)
	}
	reads = 0
	unknown := 0
	for log := m.logs()[0] + 1; unknown < 300; log += 3 {
		if m[log] == nil {
			unknown++
			if _, _, _, ok, err := r.Run(&c, log); ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	}
	if reads > 20 {
		t.Errorf("%d unknown logs took %d reads: the filter is of no use", unknown, reads)
	}
}

func TestWarmPageAllocatesNothing(t *testing.T) {
	cfg := testConfig(t)
	cfg.BlockBytes = 16 << 10
	m := chatModel(seeded(10), 50, 50, 128)
	cache := NewCache(1 << 20)
	defer cache.Close()
	r := m.mustOpen(t, cfg, testMeta(1, 5, 5), cache)
	defer r.Release()
	var c Cursor
	page := make([]godwit.Record, 0, 100)
	logs := m.logs()
	i := 0
	n := testing.AllocsPerRun(200, func() {
		log := logs[i%len(logs)]
		i++
		page = page[:0]
		_ = r.Ascend(&c, log, 1, func(e *godwit.Record) bool {
			page = append(page, *e)
			return true
		})
	})
	if len(page) == 0 || n >= 1 {
		t.Errorf("%v allocations for %d entries", n, len(page))
	}
}

func TestMemoryIsAFewBytesPerBlock(t *testing.T) {
	cfg := testConfig(t)
	m := chatModel(seeded(13), 3000, 3, 100)
	r := m.mustOpen(t, cfg, testMeta(1, 5, 5), nil)
	defer r.Release()
	blocks, logs := int64(r.index.len()), int64(len(m))
	if got, most := r.MemoryBytes(), blocks*20+logs*10/8+2048; got > most {
		t.Errorf("%d blocks and %d logs take %d bytes, expected at most %d", blocks, logs, got, most)
	}
	heads := r.foot.bloomOffset - r.foot.directoryOffset
	if heads > 6*logs {
		t.Errorf("the directory has %d bytes for %d logs", heads, logs)
	}
}

func TestBloomKnowsItsLogsAndFewOthers(t *testing.T) {
	const n = 20_000
	f := make(bloom, bloomBytes(n))
	for i := range godwit.LogID(n) {
		f.add(godwit.NewLogID(7, uint64(i)*3))
	}
	wrong := 0
	for i := range godwit.LogID(n) {
		if !f.mayContain(godwit.NewLogID(7, uint64(i)*3)) {
			t.Fatalf("log %d is denied", i)
		}
		if f.mayContain(godwit.NewLogID(7, uint64(i)*3+1)) {
			wrong++
		}
	}
	if wrong > n*2/100 {
		t.Errorf("%d of %d other logs are taken for its own", wrong, n)
	}
}

func TestIndexFindsTheLastBlockNotAfter(t *testing.T) {
	x := index{end: 1 << 39}
	type key struct {
		log godwit.LogID
		seq godwit.Seq
	}
	keys := []key{{1, 5}, {1, 1 << 35}, {2, 0}, {1 << 60, seqMax}, {^godwit.LogID(0), 3}}
	for i, k := range keys {
		x.add(k.log, k.seq, i == 1, int64(headerBytes+i*(1<<36)))
	}
	for i, k := range keys {
		if x.log(i) != k.log || x.seq(i) != k.seq || x.continued(i) != (i == 1) || x.offset(i) != int64(headerBytes+i*(1<<36)) {
			t.Errorf("entry %d comes back as %d %d %t %d", i, x.log(i), x.seq(i), x.continued(i), x.offset(i))
		}
	}
	for _, probe := range append(slices.Clone(keys), key{0, 9}, key{1, 4}, key{1, 6}, key{2, 1}, key{3, 0}, key{1 << 60, 1}) {
		want := -1
		for i, k := range keys {
			if k.log < probe.log || k.log == probe.log && k.seq <= probe.seq {
				want = i
			}
		}
		if got := x.find(probe.log, probe.seq); got != want {
			t.Errorf("%v: block %d, want %d", probe, got, want)
		}
	}
}

func TestCacheHoldsWhatItSays(t *testing.T) {
	const bytesMax = 8 << 20
	c := NewCache(bytesMax)
	defer c.Close()
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	before := heap()
	for i := range 40_000 {
		c.add(1, i, make([]byte, 1024))
	}
	_, _, held := c.Stats()
	grown := heap() - before
	if held > bytesMax || held < bytesMax/2 {
		t.Errorf("it says that it holds %d of %d bytes", held, bytesMax)
	}
	if grown > bytesMax*11/10 {
		t.Errorf("%d bytes allowed, the heap grew by %d", bytesMax, grown)
	}
	t.Logf("%d bytes allowed, %d said, %d on the heap", bytesMax, held, grown)
	c.add(2, 0, []byte("x"))
	if raw, ok := c.get(2, 0); ok && string(raw) != "x" {
		t.Error("another block came back")
	}
	if _, ok := c.get(3, 0); ok {
		t.Error("a block of a reader that never was")
	}
}

func TestOpenAfterReopenDoesNotMeetOldBlocks(t *testing.T) {
	cfg := testConfig(t)
	cache := NewCache(1 << 20)
	defer cache.Close()
	a, b := chatModel(seeded(20), 9, 9, 40), chatModel(seeded(21), 9, 9, 40)
	r := a.mustOpen(t, cfg, testMeta(1, 5, 5), cache)
	must(t, a.check(r))
	r.Obsolete()
	must(t, r.Release())
	_, misses, _ := cache.Stats()
	r = b.mustOpen(t, cfg, testMeta(1, 5, 5), cache)
	for range 3 {
		must(t, b.check(r))
	}
	hits, all, held := cache.Stats()
	if got, want := all-misses, uint64(r.index.len()); got != want || hits < 3*want || held == 0 {
		t.Errorf("%d blocks, %d misses and %d hits, %d bytes", want, got, hits, held)
	}
	must(t, r.Release())
}

func TestConfigIsValidated(t *testing.T) {
	for _, bad := range []Config{
		{},
		{Dir: "x", BlockBytes: 100},
		{Dir: "x", BlockBytes: 2 << 20},
		{Dir: "x", Codec: 2},
		{Dir: "x", Level: 4},
		{Dir: "x", SyncBytes: 1},
	} {
		if bad.FS = vfs.NewMem(); bad.validate() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	if _, err := Open(Config{FS: vfs.NewMem(), Dir: "x"}, Meta{ID: 1}, nil); err == nil || errors.Is(err, ErrCorrupt) {
		t.Errorf("a missing file: %v", err)
	}
}
