package segment

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// failAt lets the k-th matching operation fail, once.
func failAt(fs vfs.FS, k int, match func(errorfs.Op) bool) (vfs.FS, *int) {
	seen := 0
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !match(op) {
			return nil
		}
		if seen++; seen == k {
			return errorfs.ErrInjected
		}
		return nil
	})), &seen
}

func writing(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpRename, errorfs.OpCreate, errorfs.OpOpenDir, errorfs.OpFileClose:
		return true
	}
	return false
}

func TestEveryFailedWriteLeavesNoSegment(t *testing.T) {
	m := chatModel(seeded(5), 300, 20, 700)
	source := testConfig(t)
	source.Codec = CodecNone
	r := m.mustOpen(t, source, testMeta(1, 5, 5), nil)
	defer r.Release()
	f := func(name string, make func(cfg Config) (Meta, error)) {
		for k := 1; ; k++ {
			cfg := testConfig(t)
			cfg.Codec, cfg.SyncBytes = CodecNone, 512<<10
			clean := cfg.FS
			var seen *int
			cfg.FS, seen = failAt(clean, k, writing)
			made, err := make(cfg)
			if *seen < k {
				must(t, err)
				if k < 10 {
					t.Fatalf("%s: only %d operations: the test proves little", name, k-1)
				}
				return
			}
			names, listErr := clean.List(testDir)
			must(t, listErr)
			if err == nil {
				// Only the close of the synced folder may fail unnoticed; it does not here.
				t.Fatalf("%s: operation %d failed and nobody said so (%v)", name, k, made)
			}
			if !errors.Is(err, errorfs.ErrInjected) {
				t.Fatalf("%s: operation %d: %v", name, k, err)
			}
			for _, left := range names {
				if !strings.HasSuffix(left, tempSuffix) {
					t.Fatalf("%s: operation %d: %v is named as a segment", name, k, names)
				}
			}
		}
	}
	f("write", func(cfg Config) (Meta, error) { return m.write(cfg, testMeta(1, 5, 5)) })
	f("merge", func(cfg Config) (Meta, error) { return Merge(cfg, testMeta(2, 5, 5), []*Reader{r}, nil, nil) })
}

func TestEveryFailedReadIsReported(t *testing.T) {
	cfg, m, made, _ := smallSegment(t, CodecZstd)
	clean := cfg.FS
	reading := func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileReadAt || op.Kind == errorfs.OpOpen }
	for k := 1; ; k++ {
		var seen *int
		cfg.FS, seen = failAt(clean, k, reading)
		r, err := Open(cfg, made, nil)
		if err == nil {
			err = m.check(r)
			must(t, r.Release())
		}
		if *seen < k {
			must(t, err)
			if k < 10 {
				t.Fatalf("only %d reads", k-1)
			}
			return
		}
		if !errors.Is(err, errorfs.ErrInjected) || errors.Is(err, ErrCorrupt) {
			t.Fatalf("read %d: %v", k, err)
		}
	}
}
