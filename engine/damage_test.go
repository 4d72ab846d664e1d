package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit/engine/segment"
)

// damageSegment flips bytes in the first block of the n-th segment file.
func damageSegment(t *testing.T, fs vfs.FS, n int) {
	t.Helper()
	names := segmentNames(t, fs)
	f, err := fs.OpenReadWrite("store/segments/"+names[n], vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage damage damage"), 120); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func segmentNames(t *testing.T, fs vfs.FS) (names []string) {
	t.Helper()
	all, err := fs.List("store/segments")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if _, _, ok := segment.ParseFileName(name); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// checkpoints writes n segments of one log each.
func checkpoints(t *testing.T, s *Store, n int) {
	t.Helper()
	for i := range n {
		for range 20 {
			propose(t, s, logOf(i), 1, strings.Repeat("text ", 100))
		}
		if err := s.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamagedSegmentIsLeftAloneAndTheStoreGoesOn(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testConfig(t, fs, 1), newAppender(1))
	checkpoints(t, s, 3)
	damageSegment(t, fs, 1)
	checkpoints(t, s, 1) // the worker meets it, too: whoever comes first
	for range 2 {
		if _, err := s.mergeTurn(); err != nil && !errors.Is(err, segment.ErrCorrupt) {
			t.Fatal(err)
		}
	}
	s.merging.Lock()
	damaged := len(s.damaged)
	s.merging.Unlock()
	if damaged != 1 {
		t.Errorf("%d segments are left alone, want 1", damaged)
	}
	checkpoints(t, s, 8) // neighbours of it merge
	for {
		did, err := s.mergeTurn()
		if err != nil {
			t.Fatal(err)
		}
		if !did {
			break
		}
	}
	if st := s.Stats(); st.Merges == 0 || st.Segments > 6 {
		t.Errorf("merges stopped at a damaged segment: %+v", st)
	}
	if seq := propose(t, s, logOf(0), 1, "after"); seq == 0 {
		t.Error("nothing can be written")
	}
	v := s.View(0)
	if got := v.Since(logOf(1), 0, 5, 1<<20, nil); v.Err() == nil && len(got) > 0 && got[0].Seq == 1 {
		t.Errorf("the damaged block was served: %+v", got)
	}
	v.Close()
	mustClose(t, s)
	s = mustOpen(t, testConfig(t, fs, 1), newAppender(1)) // the next life is no worse
	defer mustClose(t, s)
	propose(t, s, logOf(0), 1, "again")
}

func TestMissingRowsOrSuperblockRefuseToOpenAndChangeNothing(t *testing.T) {
	for _, missing := range [][]string{{"rows"}, {"SUPERBLOCK", "wal"}, {"SUPERBLOCK", "wal", "rows"}} {
		fs := vfs.NewMem()
		s := mustOpen(t, testConfig(t, fs, 1), newAppender(1))
		checkpoints(t, s, 2)
		mustClose(t, s)
		before := segmentNames(t, fs)
		for _, name := range missing {
			if err := fs.RemoveAll("store/" + name); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := Open(testConfig(t, fs, 1), newAppender(1)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), missing[0]+" is missing") {
			t.Errorf("without %v: %v, %v", missing, s, err)
		}
		if after := segmentNames(t, fs); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("without %v: segments %v became %v", missing, before, after)
		}
	}
}

func TestStatsAfterCloseDoNotPanic(t *testing.T) {
	s := mustOpen(t, testConfig(t, vfs.NewMem(), 8), newAppender(8))
	propose(t, s, logOf(0), 1, "x")
	mustClose(t, s)
	if st := s.Stats(); st.Entries != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestExpiryOutlivesARestartButNotItsPass(t *testing.T) {
	fs := vfs.NewMem()
	cfg := testConfig(t, fs, 1)
	s := mustOpen(t, cfg, newLedger(1))
	ledgerDo(t, s, logOf(0), ledgerOp{kind: 'a', conv: 1, body: "old"})
	ledgerDo(t, s, logOf(0), ledgerOp{kind: 'x', upTo: 2000})
	if s.Stats().OldestErasure == 0 {
		t.Fatal("nothing waits to be erased")
	}
	if err := s.EraseNow(); err != nil {
		t.Fatal(err)
	}
	for life := range 2 {
		if oldest := s.Stats().OldestErasure; oldest != 0 {
			t.Errorf("life %d: the pass is done, but %d waits", life, oldest)
		}
		if e := s.groups[0].state.erased; e == nil || e.expired != 2000 {
			t.Errorf("life %d: the expiry is forgotten: %+v", life, e)
		}
		mustClose(t, s)
		s = mustOpen(t, cfg, newLedger(1))
	}
	mustClose(t, s)
}

func TestErasePassWaitsForRoom(t *testing.T) {
	s := mustOpen(t, testConfig(t, vfs.NewMem(), 1), newLedger(1))
	defer mustClose(t, s)
	ledgerDo(t, s, logOf(0), ledgerOp{kind: 'a', conv: 1, body: "x"})
	ledgerDo(t, s, logOf(0), ledgerOp{kind: 'e', upTo: 1})
	s.room.Store(int32(roomLow))
	if err := s.EraseNow(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("with little room: %v", err)
	}
	s.room.Store(int32(roomEnough))
	if err := s.EraseNow(); err != nil {
		t.Error(err)
	}
}
