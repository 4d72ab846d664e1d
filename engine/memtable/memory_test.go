package memtable

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/godwit-im/godwit"
)

// within reports whether got is at most percent away from want.
func within(got, want, percent int64) bool {
	return got*100 >= want*(100-percent) && got*100 <= want*(100+percent)
}

// TestHeadsTakeTwentyBytesPerLog looks at many sizes around a million logs,
// because a size just after growing is the worst, and compares what is counted
// with the heap.
func TestHeadsTakeTwentyBytesPerLog(t *testing.T) {
	before := liveHeap()
	var heads Heads
	for n := int64(1); n <= 1_200_000; n++ {
		heads.Set(godwit.NewLogID(godwit.Partition(n%godwit.Partitions), uint64(n)/godwit.Partitions), 1, 1)
		if n >= 400_000 && n%5000 == 0 && heads.Bytes() > n*20 {
			t.Fatalf("%d logs take %.2f B each", n, float64(heads.Bytes())/float64(n))
		}
		if n%400_000 != 0 && n != 1_000_000 {
			continue
		}
		if held := liveHeap() - before; held > n*20 || !within(heads.Bytes(), held, 2) {
			t.Fatalf("%d logs take %d bytes of the heap, counted are %d", n, held, heads.Bytes())
		}
	}
	runtime.KeepAlive(&heads)
}

// TestTableCountsTheHeapItHolds measures tables of several sizes and shapes.
func TestTableCountsTheHeapItHolds(t *testing.T) {
	f := func(name string, tables, records, logs, bodyBytes int) {
		r, buf := rand.New(rand.NewPCG(1, 2)), make([]byte, bodyBytes)
		next := make([]godwit.Seq, logs)
		all := make([]*Table, tables)
		before := liveHeap()
		counted := int64(0)
		for i := range all {
			table := NewTable()
			all[i] = table
			clear(next)
			for i := range records {
				log := r.IntN(logs)
				next[log]++
				table.Append(godwit.LogID(log), message(buf, next[log], i))
			}
			counted += table.Bytes()
		}
		held := liveHeap() - before
		if !within(counted, held, 5) {
			t.Errorf("%s: %d bytes of the heap, counted are %d", name, held, counted)
		}
		runtime.KeepAlive(all)
		runtime.KeepAlive(next)
	}
	f("one big table", 1, 200_000, 30_000, 128)
	f("many logs", 1, 200_000, 200_000, 16)
	f("large bodies", 1, 500, 10, 50_000)
	f("one entry in each group", 1024, 1, 1, 128)
	f("a few entries in each group", 1024, 20, 5, 300)
}

// TestSmallTablesAreSmall: every one of 1024 groups may have a table.
func TestSmallTablesAreSmall(t *testing.T) {
	table := NewTable()
	if n := table.Bytes(); n > 256 {
		t.Errorf("an empty table holds %d bytes", n)
	}
	table.Append(1, message(make([]byte, 128), 1, 1))
	if n := table.Bytes(); n > 2048 {
		t.Errorf("a table of one entry holds %d bytes", n)
	}
	var heads Heads
	if heads.Bytes() != 0 {
		t.Errorf("an empty head table holds %d bytes", heads.Bytes())
	}
	heads.Set(1, 1, 1)
	if n := heads.Bytes(); n > 256 {
		t.Errorf("one head takes %d bytes", n)
	}
}

// TestRecentHoldsNoMoreThanItMay measures the heap of a full cache.
func TestRecentHoldsNoMoreThanItMay(t *testing.T) {
	const bytesMax = 16 << 20
	before := liveHeap()
	cache := mustRecent(t, RecentConfig{BytesMax: bytesMax})
	records := make([]godwit.Record, 20)
	for i := range records {
		records[i] = message(make([]byte, 50+5*i), godwit.Seq(i+1), i)
	}
	for log := range godwit.LogID(20_000) {
		n := 1 + int(log)%len(records)
		cache.Put(log, 0, 1, godwit.Seq(n), records[:n])
	}
	st, held := cache.Stats(), liveHeap()-before
	if st.Cooled == 0 || st.Bytes > bytesMax || held > bytesMax*105/100 || !within(st.Bytes, held, 10) {
		t.Errorf("%d bytes of the heap, %+v", held, st)
	}
	runtime.KeepAlive(cache)
}

// TestAppendAllocatesChunksOnly: nothing is allocated for an entry.
func TestAppendAllocatesChunksOnly(t *testing.T) {
	table, buf, seq := NewTable(), make([]byte, 128), godwit.Seq(0)
	r := message(buf, 1, 0)
	perRun := testing.AllocsPerRun(50_000, func() {
		seq++
		r.Seq, buf[0] = seq, byte(seq)
		table.Append(godwit.LogID(1), r)
	})
	if perRun != 0 { // it is rounded down: fewer than one per run
		t.Errorf("%v allocations per Append", perRun)
	}
	// 50,000 entries are 9 MB: ten small chunks, nine of 1 MiB, and slices of them.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 50_000 {
		seq++
		r.Seq, buf[0] = seq, byte(seq)
		table.Append(godwit.LogID(1), r)
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > 60 {
		t.Errorf("50,000 Appends make %d allocations", n)
	}
}

// TestAnEqualBodyIsStoredOnce: the copies of a message to a group share it.
func TestAnEqualBodyIsStoredOnce(t *testing.T) {
	table := NewTable()
	body := bytes.Repeat([]byte("x"), 1000)
	for log := range godwit.LogID(1000) {
		table.Append(log, godwit.Record{Seq: 1, Body: body})
	}
	if n := table.Bytes(); n > 150_000 {
		t.Errorf("1000 entries of one body take %d bytes", n)
	}
	first, _ := table.Entry(0, 1)
	last, _ := table.Entry(999, 1)
	if unsafe.SliceData(first.Body) != unsafe.SliceData(last.Body) || !bytes.Equal(last.Body, body) {
		t.Error("the body is stored twice")
	}
	// The caller's memory may be used again: what counts are the bytes.
	body[999] = 'y'
	table.Append(1000, godwit.Record{Seq: 1, Body: body})
	if changed, _ := table.Entry(1000, 1); changed.Body[999] != 'y' || first.Body[999] != 'x' {
		t.Error("a changed body in the same memory is taken for the one before")
	}
}

// TestTableRecordsStayAsTheyWere: what was read is not touched by what follows.
func TestTableRecordsStayAsTheyWere(t *testing.T) {
	table, buf := NewTable(), make([]byte, 100)
	type read struct{ got, want godwit.Record }
	var reads []read
	for i := range 20_000 {
		seq := godwit.Seq(i/3 + 1)
		table.Append(godwit.LogID(i%3), message(buf, seq, i))
		got, _ := table.Entry(godwit.LogID(i%3), seq)
		want := got
		want.Meta, want.Body = bytes.Clone(got.Meta), bytes.Clone(got.Body)
		if cap(got.Meta) != len(got.Meta) || cap(got.Body) != len(got.Body) {
			t.Fatal("an append to a record's slice would write into the table")
		}
		reads = append(reads, read{got, want})
	}
	clear(buf)
	for _, r := range reads {
		if !sameRecord(r.got, r.want) {
			t.Fatalf("record %d changed", r.got.Seq)
		}
	}
}
