package wal

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestOpenGivesBackWhatWasAppended(t *testing.T) {
	f := func(name string, payloads []int, reopenEvery int) {
		t.Run(name, func(t *testing.T) {
			cfg := smallConfig(newMem(t))
			l, _ := mustOpen(t, cfg)
			var want []Record
			for i, n := range payloads {
				batch := []Record{testRecord(2*i, n), testRecord(2*i+1, n/2)}
				must(t, l.Append(batch))
				must(t, l.Sync())
				want = append(want, batch...)
				if i%reopenEvery == reopenEvery-1 {
					must(t, l.Close())
					var got []Record
					l, got = mustOpen(t, cfg)
					if err := samePrefix(got, want); err != nil || len(got) != len(want) {
						t.Fatalf("after %d frames: %d of %d records, %v", i+1, len(got), len(want), err)
					}
				}
			}
			must(t, l.Close())
		})
	}
	f("empty payloads", make([]int, 40), 7)
	f("one block", []int{1, 100, 200, 250, 3, 7, 9, 11, 200, 200, 200, 200, 1, 2, 3}, 4)
	f("many blocks", []int{1000, 2000, 1500, 700, 10, 3000, 400, 5000}, 3)
	f("larger than the largest file", []int{10, 20000, 10, 40000, 30, 17000}, 2)
	f("reopened each time", []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1000, 12, 13, 14}, 1)
}

func TestLogOnTheRealDisk(t *testing.T) {
	cfg := Config{Dir: t.TempDir() + "/wal", FirstFileBytes: 1 << 20, MaxFileBytes: 4 << 20}
	var want []Record
	for range 4 {
		l, got := mustOpen(t, cfg)
		if err := samePrefix(got, want); err != nil || len(got) != len(want) {
			t.Fatalf("%d of %d records, %v", len(got), len(want), err)
		}
		for i := range 20 {
			want = append(want, testRecord(i, i*9000))
			must(t, l.Append(want[len(want)-1:]))
			must(t, l.Sync())
		}
		must(t, l.Close())
	}
}

func TestLSNAndStatsCountFrames(t *testing.T) {
	l, _ := mustOpen(t, smallConfig(newMem(t)))
	must(t, l.Append([]Record{testRecord(1, 10)}))
	if l.LSN() != 1 || l.SyncedLSN() != 0 {
		t.Fatalf("after Append: LSN %d, synced %d", l.LSN(), l.SyncedLSN())
	}
	must(t, l.Sync())
	must(t, l.Sync()) // nothing to do
	must(t, l.Append(nil))
	if s := l.Stats(); l.SyncedLSN() != 1 || s.Frames != 1 || s.Syncs != 1 || s.Bytes != 512 {
		t.Fatalf("after Sync: synced %d, %+v", l.SyncedLSN(), s)
	}
	must(t, l.Close())
	must(t, l.Close())
	for _, err := range []error{l.Append([]Record{{}}), l.Sync(), l.Idle()} {
		if !errors.Is(err, ErrClosed) {
			t.Fatalf("after Close: %v", err)
		}
	}
}

func TestFilesDoubleUpToTheMaximum(t *testing.T) {
	fs := newMem(t)
	cfg := smallConfig(fs)
	l, _ := mustOpen(t, cfg)
	for i := range 100 {
		must(t, l.Append([]Record{testRecord(i, 10)}))
		must(t, l.Sync())
	}
	must(t, l.Close())
	want := []int64{8, 16, 32, 32, 32}
	for i, blocks := range want {
		info, err := fs.Stat(fs.PathJoin(testDir, fileName(uint64(i+1))))
		must(t, err)
		if info.Size() != blocks*512 {
			t.Errorf("file %d has %d blocks, want %d", i+1, info.Size()/512, blocks)
		}
	}
}

func TestAppendRefusesATooLargeFrameWithoutEffect(t *testing.T) {
	cfg := smallConfig(newMem(t))
	cfg.FrameBytesMax = 1000
	l, _ := mustOpen(t, cfg)
	must(t, l.Append([]Record{testRecord(1, 1000-recordHeaderBytes)}))
	if err := l.Append([]Record{testRecord(2, 1001-recordHeaderBytes)}); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	must(t, l.Append([]Record{testRecord(3, 10)}))
	must(t, l.Close())
	l, got := mustOpen(t, cfg)
	must(t, l.Close())
	if len(got) != 2 || got[1].Index != 3 {
		t.Fatalf("recovered %d records", len(got))
	}
}

func TestIdleWritesOneTrailerAndOnlyIfNeeded(t *testing.T) {
	l, _ := mustOpen(t, smallConfig(newMem(t)))
	must(t, l.Idle())
	if l.LSN() != 0 {
		t.Fatal("a trailer in an empty log")
	}
	must(t, l.Append([]Record{testRecord(1, 10)}))
	must(t, l.Idle())
	must(t, l.Idle())
	if l.LSN() != 2 || l.SyncedLSN() != 2 || l.covered != 1 {
		t.Fatalf("LSN %d, synced %d, covered %d", l.LSN(), l.SyncedLSN(), l.covered)
	}
	must(t, l.Close())
}

func TestReopenAfterCloseDoesNotGrowTheLog(t *testing.T) {
	cfg := smallConfig(newMem(t))
	l, _ := mustOpen(t, cfg)
	must(t, l.Append([]Record{testRecord(1, 10)}))
	must(t, l.Close())
	for range 20 {
		l, got := mustOpen(t, cfg)
		if len(got) != 1 || l.LSN() != 2 || l.current.sequence != 1 {
			t.Fatalf("%d records, LSN %d, file %d", len(got), l.LSN(), l.current.sequence)
		}
		must(t, l.Close())
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	cfg := smallConfig(newMem(t))
	cfg.FirstFileBytes, cfg.MaxFileBytes = 4<<20, 4<<20
	l, _ := mustOpen(t, cfg)
	must(t, l.spare.finish()) // the goroutine allocates
	batch := []Record{testRecord(1, 300), testRecord(2, 300)}
	allocs := testing.AllocsPerRun(200, func() {
		if l.Append(batch) != nil || l.Sync() != nil {
			t.Fatal("append failed")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per Append", allocs)
	}
	must(t, l.Close())
}

func TestConfigRefusesWhatCannotWork(t *testing.T) {
	f := func(change func(*Config)) {
		t.Helper()
		cfg := smallConfig(vfs.NewMem())
		change(&cfg)
		if l, err := Open(cfg, nil); err == nil {
			_ = l.Close()
			t.Error("accepted")
		}
	}
	f(func(c *Config) { c.Dir = "" })
	f(func(c *Config) { c.BlockBytes = 100 })
	f(func(c *Config) { c.BlockBytes = 768 })
	f(func(c *Config) { c.FirstFileBytes = 512 })
	f(func(c *Config) { c.FirstFileBytes = 8*512 + 1 })
	f(func(c *Config) { c.MaxFileBytes = 512 })
	f(func(c *Config) { c.FrameBytesMax = 1 })
	f(func(c *Config) { c.FrameBytesMax = 1 << 40 })
}
