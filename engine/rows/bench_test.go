package rows

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// benchKey looks like a conversation's: partition, letter, tenant, user, peer.
// Odd users are never written.
func benchKey(dst []byte, user int) []byte {
	dst = append(dst, byte(user>>10), byte(user), 'c', 0, 0, 10)
	dst = append(dst, "user-"...)
	dst = append(dst, fmt.Sprintf("%08d", user)...)
	return append(dst, "peer-0001"...)
}

func benchValue(dst []byte, rng *rand.Rand) []byte {
	for range 6 {
		dst = binary.AppendUvarint(dst, rng.Uint64N(1<<21))
	}
	return dst
}

func fillBench(b *testing.B, db *DB, rows int) {
	rng := rand.New(rand.NewPCG(1, 2))
	var key, value []byte
	for start := 0; start < rows; start += 100_000 {
		batch := db.NewBatch()
		for i := start; i < min(start+100_000, rows); i++ {
			key, value = benchKey(key[:0], 2*i), benchValue(value[:0], rng)
			batch.Put(1, key, value)
		}
		if err := batch.Commit(); err != nil {
			b.Fatal(err)
		}
		batch.Close()
	}
}

func BenchmarkDBGet(b *testing.B) {
	const rows = 1_000_000
	db, err := Open(Config{Dir: b.TempDir(), CacheBytes: 128 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	fillBench(b, db, rows)
	if err := db.pebble.Compact(b.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		b.Fatal(err)
	}
	for _, odd := range []int{0, 1} {
		b.Run(fmt.Sprintf("hit=%v", odd == 0), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(3, 4))
			var key, value []byte
			b.ReportAllocs()
			for b.Loop() {
				key = benchKey(key[:0], 2*rng.IntN(rows)+odd)
				_, ok, err := db.Get(1, key, value[:0])
				if err != nil || ok != (odd == 0) {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

// BenchmarkCommit writes 600,000 small rows again and again, a tenth of them
// new each time, and reports what that costs on disk.
func BenchmarkCommit(b *testing.B) {
	const rows = 600_000
	db, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	var key, value []byte
	var rowBytes, round int64
	for b.Loop() {
		batch := db.NewBatch()
		for range rows {
			key = benchKey(key[:0], rng.IntN(rows+int(round)*rows/10))
			value = benchValue(value[:0], rng)
			batch.Put(1, key, value)
			rowBytes += int64(len(key) + len(value))
		}
		if err := batch.Commit(); err != nil {
			b.Fatal(err)
		}
		batch.Close()
		round++
	}
	if err := db.pebble.Flush(); err != nil {
		b.Fatal(err)
	}
	for db.pebble.Metrics().Compact.NumInProgress > 0 {
		runtime.Gosched()
	}
	m := db.Metrics()
	b.ReportMetric(float64(m.WrittenLogBytes+m.WrittenFlushBytes+m.WrittenMergeBytes)/float64(rowBytes), "written/rowbyte")
	b.ReportMetric(float64(m.WrittenLogBytes)/float64(rowBytes), "log/rowbyte")
	b.ReportMetric(float64(m.WrittenFlushBytes)/float64(rowBytes), "flush/rowbyte")
	b.ReportMetric(float64(m.DiskBytes)/float64(rowBytes/round), "disk/roundbyte")
	b.ReportMetric(rows, "rows/op")
	b.Logf("%+v", m)
}

func BenchmarkOverlayPutKnown(b *testing.B) {
	o := benchOverlay(b)
	key, value := benchKey(nil, 5), []byte("0123456789")
	o.Put(key, value)
	b.ReportAllocs()
	for b.Loop() {
		value[0]++
		o.Put(key, value)
	}
}

func BenchmarkOverlayGetDirty(b *testing.B) {
	o := benchOverlay(b)
	for i := range 100_000 {
		o.Put(benchKey(nil, i), []byte("0123456789"))
	}
	key := benchKey(nil, 77_777)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := o.Get(key); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkOverlayGetNewStore(b *testing.B) {
	o := benchOverlay(b)
	key := benchKey(nil, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := o.Get(key); ok || err != nil {
			b.Fatal(ok, err)
		}
		if err := o.Fetch(key); err != nil {
			b.Fatal(err)
		}
	}
}

func benchOverlay(b *testing.B) *Overlay {
	db, err := Open(Config{Dir: "rows", FS: vfs.NewMem()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	return NewOverlay(db, 1)
}

// BenchmarkFetch is what a batch of the applier pays for 100 cold rows, half of
// them absent.
func BenchmarkFetch(b *testing.B) {
	db, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	const rows = 300_000
	fillBench(b, db, rows)
	o := NewOverlay(db, 1)
	rng := rand.New(rand.NewPCG(3, 4))
	var key []byte
	b.ReportAllocs()
	for b.Loop() {
		for range 100 {
			key = benchKey(key[:0], rng.IntN(2*rows))
			if err := o.Fetch(key); err != nil {
				b.Fatal(err)
			}
		}
		o.Clear()
	}
}
