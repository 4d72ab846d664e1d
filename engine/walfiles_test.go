package engine

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// One file of the WAL must not be larger than all of them may be.
func TestWALOfAFewMiBStaysWithinItsBound(t *testing.T) {
	cfg := testConfig(t, vfs.NewMem(), 1)
	cfg.walFileBytes, cfg.WALBytesMax = 0, 3<<20
	s := mustOpen(t, cfg, newAppender(1))
	defer mustClose(t, s)
	body := strings.Repeat("b", 256<<10)
	for range 24 { // 6 MiB
		propose(t, s, logOf(0), 1, body)
	}
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.committer.trimNow(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.WAL.LiveBytes > cfg.WALBytesMax {
		t.Fatalf("the WAL has %d bytes, at most %d were wanted", st.WAL.LiveBytes, cfg.WALBytesMax)
	}
}

func TestWALFileSizes(t *testing.T) {
	f := func(bound, first, most int64) {
		t.Helper()
		if a, b := (&Config{WALBytesMax: bound}).walFileSizes(); a != first || b != most {
			t.Errorf("%d: %d and %d, want %d and %d", bound, a, b, first, most)
		}
	}
	f(768<<20, 4<<20, 16<<20)
	f(48<<20, 4<<20, 8<<20)
	f(3<<20, 512<<10, 512<<10)
	f(1, 256<<10, 256<<10)
}
