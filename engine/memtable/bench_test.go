package memtable

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// tableBytes is about when a checkpoint begins.
const tableBytes = 128 << 20

func BenchmarkTableAppend(b *testing.B) {
	for _, logs := range []uint64{1, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("logs=%d", logs), func(b *testing.B) {
			buf := make([]byte, 128)
			b.ReportAllocs()
			table, next, r := NewTable(), make([]godwit.Seq, logs), rand.New(rand.NewPCG(1, 2))
			i := 0
			for b.Loop() {
				if table.Bytes() > tableBytes {
					table = NewTable()
					clear(next)
				}
				log := r.Uint64N(logs)
				next[log]++
				table.Append(godwit.LogID(log), message(buf, next[log], i))
				i++
			}
		})
	}
}

func BenchmarkTableEntry(b *testing.B) {
	for _, n := range []int{50, 100_000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			table, buf := NewTable(), make([]byte, 128)
			for i := range n {
				table.Append(1, message(buf, godwit.Seq(i+1), i))
			}
			r := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := table.Entry(1, godwit.Seq(1+r.IntN(n))); !ok {
					b.Fatal("lost")
				}
			}
		})
	}
}

func BenchmarkTableSince(b *testing.B) {
	table, buf := NewTable(), make([]byte, 128)
	for i := range 100_000 {
		table.Append(godwit.LogID(i%100), message(buf, godwit.Seq(i/100+1), i))
	}
	var dst []godwit.Record
	b.ReportAllocs()
	for b.Loop() {
		dst = table.Since(50, 500, 50, 1<<20, dst[:0])
	}
}

// BenchmarkTableAll is the reading of a whole table by a flush, per entry.
func BenchmarkTableAll(b *testing.B) {
	const n, logs = 500_000, 100_000
	table, buf, next, r := NewTable(), make([]byte, 128), [logs]godwit.Seq{}, rand.New(rand.NewPCG(1, 2))
	for i := range n {
		log := r.IntN(logs)
		next[log]++
		table.Append(godwit.LogID(log), message(buf, next[log], i))
	}
	b.ReportAllocs()
	for b.Loop() {
		seen := 0
		for _, records := range table.All() {
			for range records {
				seen++
			}
		}
		if seen != n {
			b.Fatal("lost")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}

// BenchmarkHeads fills a head table of ten million logs and tells what it costs
// per log, and what the garbage collector has of it.
func BenchmarkHeads(b *testing.B) {
	const logs = 10_000_000
	for b.Loop() {
		before := liveHeap()
		var heads Heads
		start := time.Now()
		for i := range uint64(logs) {
			heads.Set(godwit.NewLogID(godwit.Partition(i%godwit.Partitions), i/godwit.Partitions), 1, 1)
		}
		b.ReportMetric(float64(time.Since(start).Nanoseconds())/logs, "ns/Set")
		b.ReportMetric(float64(liveHeap()-before)/logs, "B/log")
		b.ReportMetric(float64(heads.Bytes())/logs, "counted-B/log")
		reportCollection(b)
		r := rand.New(rand.NewPCG(1, 2))
		start = time.Now()
		for range 1_000_000 {
			i := r.Uint64N(logs)
			if _, _, ok := heads.Get(godwit.NewLogID(godwit.Partition(i%godwit.Partitions), i/godwit.Partitions)); !ok {
				b.Fatal("lost")
			}
		}
		b.ReportMetric(float64(time.Since(start).Nanoseconds())/1e6, "ns/Get")
		runtime.KeepAlive(&heads)
	}
}

// reportCollection reports how long a whole collection takes, and its pauses.
func reportCollection(b *testing.B) {
	var before, after debug.GCStats
	debug.ReadGCStats(&before)
	start := time.Now()
	runtime.GC()
	b.ReportMetric(float64(time.Since(start).Microseconds()), "GC-µs")
	debug.ReadGCStats(&after)
	pauses := (after.PauseTotal - before.PauseTotal) / time.Duration(max(1, after.NumGC-before.NumGC))
	b.ReportMetric(float64(pauses.Microseconds()), "GC-pause-µs")
}

// liveHeap returns the bytes of all reachable objects.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkRecent(b *testing.B) {
	const logs = 10_000
	cache := mustRecent(b, RecentConfig{BytesMax: 256 << 20})
	records := make([]godwit.Record, 75)
	for i := range records {
		records[i] = message(make([]byte, 128), godwit.Seq(i+1), i)
		records[i].Conv = uint32(i % 5)
	}
	for log := range godwit.LogID(logs) {
		cache.Put(log, cache.Mark(log), 1, 75, records)
	}
	st := cache.Stats()
	b.Run("Entry", func(b *testing.B) {
		i := 0
		for b.Loop() {
			if _, ok := cache.Entry(godwit.LogID(i*7919%logs), godwit.Seq(i%75+1)); !ok {
				b.Fatal("cold")
			}
			i++
		}
		b.ReportMetric(float64(st.Bytes)/float64(st.Logs), "B/log")
	})
	b.Run("Since", func(b *testing.B) {
		i, dst := 0, []godwit.Record(nil)
		for b.Loop() {
			dst, _ = cache.Since(godwit.LogID(i*7919%logs), 25, 75, 50, 1<<20, dst[:0])
			i++
		}
		if len(dst) != 50 {
			b.Fatal("not exact")
		}
	})
	b.Run("Extend", func(b *testing.B) {
		b.ReportAllocs()
		more, i := message(make([]byte, 128), 76, 0), 0
		newer := func(yield func(godwit.Record) bool) { yield(more) }
		for b.Loop() {
			more.Seq = godwit.Seq(76 + i/logs)
			cache.Extend(godwit.LogID(i%logs), newer)
			i++
		}
	})
}
