package wal

import (
	"errors"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
)

func TestFailedFsyncIsFinal(t *testing.T) {
	fs := newCrashFS()
	l, _ := mustOpen(t, smallConfig(fs))
	must(t, l.Append([]Record{testRecord(1, 10)}))
	must(t, l.Sync())
	must(t, l.Append([]Record{testRecord(2, 10)}))
	setFailure(fs, func(name string) bool { return strings.HasPrefix(path.Base(name), fileName(1)) })
	if err := l.Sync(); !errors.Is(err, ErrSyncFailed) {
		t.Fatalf("got %v", err)
	}
	setFailure(fs, nil) // the next fsync would succeed
	syncs := l.Stats().Syncs
	for _, err := range []error{l.Sync(), l.Append([]Record{testRecord(3, 10)}), l.Idle(), l.Close()} {
		if !errors.Is(err, ErrSyncFailed) {
			t.Errorf("got %v", err)
		}
	}
	if l.Stats().Syncs != syncs || l.SyncedLSN() != 1 {
		t.Errorf("%d syncs after the failure, synced %d", l.Stats().Syncs-syncs, l.SyncedLSN())
	}
}

func setFailure(fs *crashFS, fail func(string) bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.failSync = fail
}

// After a failed fsync the cache has what the disk has not, and a restarted
// process reads the cache. What it recovers must reach the disk for good.
func TestRecoveryAfterFailedFsyncDoesNotTrustTheCache(t *testing.T) {
	onlyCached := 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		fs := newCrashFS()
		l, _ := mustOpen(t, smallConfig(fs))
		left := rng.IntN(30)
		setFailure(fs, func(string) bool { left--; return left < 0 })
		acked, err := appendUntil(l, rng, 100, nil)
		if !errors.Is(err, ErrSyncFailed) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		_ = l.Close()
		setFailure(fs, nil)

		l, got := mustOpen(t, smallConfig(fs)) // the process restarts, the cache stays
		if err := samePrefix(acked, got); err != nil {
			t.Fatalf("seed %d: acknowledged records are gone: %v", seed, err)
		}
		onlyCached += len(got) - len(acked)
		want, err := appendUntil(l, rng, rng.IntN(10), got)
		must(t, err)
		if rng.IntN(2) == 0 {
			must(t, l.Close())
		}
		image := fs.powerFailure(rng) // only the disk counts now
		_ = l.Close()
		got, err = openQuietly(t, image)
		if err != nil || samePrefix(got, want) != nil || len(got) != len(want) {
			t.Fatalf("seed %d: %d of %d records, %v", seed, len(got), len(want), err)
		}
	}
	if onlyCached == 0 {
		t.Error("the test does not test: no record was in the cache only")
	}
}

// appendUntil appends n synced records to those the log has, or until it fails.
func appendUntil(l *Log, rng *rand.Rand, n int, acked []Record) ([]Record, error) {
	for range n {
		r := testRecord(int(rng.Uint32()), rng.IntN(700))
		if err := l.Append([]Record{r}); err != nil {
			return acked, err
		}
		if err := l.Sync(); err != nil {
			return acked, err
		}
		acked = append(acked, r)
		if rng.IntN(4) == 0 {
			if err := l.Idle(); err != nil {
				return acked, err
			}
		}
	}
	return acked, nil
}

func TestFailedPreWriteIsTriedAgainWhenTheFileIsNeeded(t *testing.T) {
	fs := newCrashFS()
	l, _ := mustOpen(t, smallConfig(fs))
	must(t, l.spare.finish())
	must(t, l.spare.discard())
	must(t, fs.Remove(filePath(2)))
	for i := range 20 {
		must(t, l.Append([]Record{testRecord(i, 10)}))
	}
	must(t, l.Close())
	if got, err := openQuietly(t, fs); err != nil || len(got) != 20 {
		t.Errorf("%d records, %v", len(got), err)
	}
}

// The process is killed between the rename of a new file and the sync of the
// directory. Its next life finds the file, uses it, and then the power fails.
func TestNamesInTheCacheOnlyAreMadeDurableBeforeUse(t *testing.T) {
	fs := newCrashFS()
	var killed *crashFS
	fs.before = func() {
		if killed == nil && fs.renamed == filePath(2) {
			killed = fs.kill()
		}
	}
	l, _ := mustOpen(t, oneSizeConfig(fs))
	must(t, l.spare.finish())
	must(t, l.Close())
	cfg := oneSizeConfig(killed)
	release := make(chan struct{})
	cfg.FileID = func() uint64 { <-release; return randomID() } // no third file syncs the directory
	l, _ = mustOpen(t, cfg)
	must(t, l.Append(records(0, 1)))
	must(t, l.Roll())
	must(t, l.Append(records(1, 1)))
	must(t, l.Sync())
	for seed := range uint64(20) {
		got, err := openQuietly(t, killed.powerFailure(rand.New(rand.NewPCG(seed, 5))))
		if err != nil || len(got) != 2 {
			t.Errorf("seed %d: %d of 2 records, %v", seed, len(got), err)
		}
	}
	close(release)
	must(t, l.Close())
}
