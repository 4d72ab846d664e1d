package wal

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// BenchmarkAppendSync is one group commit on the real disk.
func BenchmarkAppendSync(b *testing.B) {
	for _, records := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			l, _ := mustOpen(b, Config{FS: vfs.Default, Dir: b.TempDir()})
			benchAppend(b, l, records, l.Sync)
		})
	}
}

// BenchmarkAppendSyncRecycling is one group commit of a log that releases each file
// when it is full: the sum of everything, the background included.
func BenchmarkAppendSyncRecycling(b *testing.B) {
	l, _ := mustOpen(b, Config{FS: vfs.Default, Dir: b.TempDir(), FirstFileBytes: 1 << 20, MaxFileBytes: 1 << 20})
	benchAppend(b, l, 64, func() error {
		if err := l.Sync(); err != nil || l.File() == l.oldest {
			return err
		}
		return l.Release(l.File() - 1)
	})
	b.ReportMetric(float64(l.Stats().Recycled), "recycled")
}

// BenchmarkAppend is the CPU of a group commit: encoding, checksum, one copy.
func BenchmarkAppend(b *testing.B) {
	for _, records := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			l, _ := mustOpen(b, Config{FS: nullFS{vfs.Default}, Dir: b.TempDir()})
			benchAppend(b, l, records, func() error { return nil })
		})
	}
}

func benchAppend(b *testing.B, l *Log, records int, sync func() error) {
	batch := make([]Record, records)
	for i := range batch {
		batch[i] = testRecord(i, 200)
	}
	b.SetBytes(int64(records * (recordHeaderBytes + 200)))
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Append(batch); err != nil {
			b.Fatal(err)
		}
		if err := sync(); err != nil {
			b.Fatal(err)
		}
	}
	must(b, l.Close())
}

// nullFS makes files whose writes and syncs do nothing.
type nullFS struct{ vfs.FS }

func (fs nullFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, opts...)
	return nullFile{f}, err
}

type nullFile struct{ vfs.File }

func (nullFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nullFile) Sync() error                            { return nil }
func (nullFile) SyncData() error                        { return nil }
