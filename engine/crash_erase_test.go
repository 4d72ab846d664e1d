package engine

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

// ledgerDo proposes one command and waits for its answer.
func ledgerDo(t testing.TB, s *Store, log LogID, op ledgerOp) ledgerAnswer {
	t.Helper()
	w := newLedgerWaiter()
	if err := s.Propose(s.Group(log.Partition()), op.command(log), w); err != nil {
		t.Fatal(err)
	}
	a := <-w.done
	if a.err != nil {
		t.Fatal(a.err)
	}
	return a
}

// A file in which nothing was written has to go like the others, or a pass of the
// eraser that waits for it never ends: a release at the end of a file leaves one.
func TestFilesOfTheWALWithoutRecordsAreReleased(t *testing.T) {
	g := &group{}
	groups := []*group{g}
	f := func(current, want uint64, files ...walFile) {
		t.Helper()
		w := walFiles{files: files}
		if got := w.releasable(groups, current); got != want {
			t.Fatalf("files up to %d may go, want %d", got, want)
		}
	}
	held, past := map[uint32]uint64{0: 7}, map[uint32]uint64{0: 3}
	g.checkpointed.Store(5)
	f(1, 0)
	f(4, 3)
	f(4, 3, walFile{2, past})
	f(4, 3, walFile{2, past}, walFile{4, held})
	f(6, 4, walFile{2, past}, walFile{5, held})
	f(6, 1, walFile{2, held}, walFile{5, past})
}

// After a crash the first files may be ones that were released before.
func TestGroupsThatKeepTheWALAreFoundBehindReleasedFiles(t *testing.T) {
	groups := []*group{{id: 0}, {id: 1}}
	groups[0].checkpointed.Store(5)
	w := walFiles{files: []walFile{{2, map[uint32]uint64{0: 3}}, {3, nil}, {4, map[uint32]uint64{0: 4, 1: 1}}, {5, map[uint32]uint64{0: 9}}}}
	if got := w.laggards(groups); len(got) != 1 || got[0] != groups[1] {
		t.Fatalf("%d groups keep the oldest file", len(got))
	}
	groups[1].checkpointed.Store(1)
	if got := w.laggards(groups); len(got) != 1 || got[0] != groups[0] {
		t.Fatalf("%d groups keep the next file", len(got))
	}
}

func TestErasePassesEndWhenNothingIsWritten(t *testing.T) {
	s := mustOpen(t, testConfig(t, vfs.NewMem(), 1), newLedger(1))
	defer mustClose(t, s)
	ledgerDo(t, s, logOf(0), ledgerOp{kind: 'a', conv: 1, body: "x"})
	for i := range 3 {
		ledgerDo(t, s, logOf(0), ledgerOp{kind: 'x', upTo: godwit.Seq(i + 1)})
		for range 2 { // the second finds nothing to do
			if err := s.EraseNow(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := s.Stats().Erasures; n != 3 {
		t.Fatalf("%d passes, want 3", n)
	}
}
