package engine

import (
	"errors"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

func newEntry(term, index uint64, data []byte) *pb.Entry {
	return &pb.Entry{Type: pb.EntryNormal.Enum(), Term: new(term), Index: new(index), Data: data}
}

// proposeUntilRefused keeps up to 8 commands in flight.
func proposeUntilRefused(t *testing.T, s *Store, n int, started chan<- struct{}) []*ackWaiter {
	var taken []*ackWaiter
	for {
		w := newWaiter()
		err := s.Propose(s.Group(logOf(n).Partition()), appendCommand(logOf(n), 1, "x"), w)
		if err != nil {
			if !errors.Is(err, ErrClosed) && !errors.Is(err, ErrUnavailable) {
				t.Errorf("Propose: %v", err)
			}
			return taken
		}
		taken = append(taken, w)
		if len(taken) == 20 {
			started <- struct{}{}
		}
		if len(taken)%8 == 0 {
			<-w.done
			w.done <- answer{}
		}
	}
}

func TestCloseAnswersEveryWaiterOnce(t *testing.T) {
	eachGroupCount(t, func(t *testing.T, groups int) {
		for range 20 {
			fs := vfs.NewMem()
			s := mustOpen(t, testConfig(t, fs, groups), newAppender(groups))
			var wg sync.WaitGroup
			taken := make([][]*ackWaiter, 8)
			started := make(chan struct{}, len(taken))
			for n := range taken {
				wg.Go(func() { taken[n] = proposeUntilRefused(t, s, n, started) })
			}
			<-started
			reads := make(chan error, 4)
			for g := range min(groups, 4) {
				s.ReadIndex(g, func(err error) { reads <- err })
			}
			mustClose(t, s)
			mustClose(t, s) // again: nothing more happens
			wg.Wait()
			for range min(groups, 4) {
				if err := <-reads; err != nil {
					t.Errorf("a read before Close got %v", err)
				}
			}
			acked := make([]int, len(taken))
			for n := range taken {
				for i, w := range taken[n] {
					if a, f := w.acks.Load(), w.fails.Load(); a+f != 1 {
						t.Fatalf("waiter %d of %d: %d acks and %d fails", i, n, a, f)
					}
					acked[n] += int(w.acks.Load())
				}
			}
			s = mustOpen(t, testConfig(t, fs, groups), newAppender(groups))
			for n := range taken {
				if got := len(bodies(s, logOf(n))); got != acked[n] {
					t.Fatalf("log %d: %d entries, %d acks: an orderly close leaves nothing in doubt", n, got, acked[n])
				}
			}
			mustClose(t, s)
		}
	})
}

func TestClosedStoreRefuses(t *testing.T) {
	s := mustOpen(t, testConfig(t, vfs.NewMem(), 1), newAppender(1))
	mustClose(t, s)
	w := newWaiter()
	if err := s.Propose(0, appendCommand(logOf(0), 1, "x"), w); !errors.Is(err, ErrClosed) {
		t.Fatalf("Propose: %v", err)
	}
	got := make(chan error, 1)
	s.ReadIndex(0, func(err error) { got <- err })
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Fatalf("ReadIndex: %v", err)
	}
	if w.acks.Load()+w.fails.Load() != 0 {
		t.Fatal("the waiter of a refused command was called")
	}
}

// A leader that steps down knows nothing of what it proposed; a late apply of
// the same batch must not answer again.
func TestStepDownLeavesProposalsInDoubtOnce(t *testing.T) {
	m := newAppender(1)
	m.gate = make(chan struct{})
	s := &Store{cfg: Config{BatchBytesMax: 1 << 20}, machine: m, life: 7}
	g := newTestGroup(t)
	s.groups = []*group{g}
	s.memory.store = s
	s.loop = newRaftLoop(s)
	a := newApplier(s)
	close(m.gate)

	var waiters []*ackWaiter
	var entries [][]byte
	for range 3 {
		w := newWaiter()
		waiters = append(waiters, w)
		if _, err := g.proposals.add(appendCommand(logOf(0), 1, "x"), w, 1, 1<<20); err != nil {
			t.Fatal(err)
		}
		for _, b := range g.proposals.takeOpen(nil) {
			entries = append(entries, append([]byte(nil), b.seal(s.life, 5)...))
		}
	}
	// Batch 1 is overtaken: 2 is applied without it. 3 is in doubt when the
	// leader steps down, and applied later all the same.
	if err := a.applyEntry(g, newEntry(1, 1, entries[1]), true); err != nil {
		t.Fatal(err)
	}
	s.loop.stepDown(g)
	if err := a.applyEntry(g, newEntry(1, 2, entries[2]), true); err != nil {
		t.Fatal(err)
	}
	f := func(i int, seq uint64, err error) {
		t.Helper()
		w := waiters[i]
		got := <-w.done
		if uint64(got.seq) != seq || !errors.Is(got.err, err) || w.acks.Load()+w.fails.Load() != 1 {
			t.Fatalf("waiter %d: %+v, %d acks, %d fails", i, got, w.acks.Load(), w.fails.Load())
		}
	}
	f(0, 0, ErrUnknown)
	f(1, 1, nil)
	f(2, 0, ErrUnknown)
	if g.state.head(logOf(0)) != 2 {
		t.Fatalf("head %d, want 2", g.state.head(logOf(0)))
	}
}

func TestStorageServesWhatIsRecentOnly(t *testing.T) {
	s := &raftStorage{}
	for i := range uint64(3000) {
		s.append([]*pb.Entry{newEntry(1, i+1, make([]byte, 10))})
		if i >= 10 {
			s.appliedTo(i + 1 - 10)
		}
	}
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	if last != 3000 || first != 3000-10-recentEntriesMax+1 {
		t.Fatalf("holds %d to %d", first, last)
	}
	if _, err := s.Entries(first-1, last, 1<<30); !errors.Is(err, raft.ErrCompacted) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Term(first - 2); !errors.Is(err, raft.ErrCompacted) {
		t.Fatalf("got %v", err)
	}
	if term, err := s.Term(first - 1); err != nil || term != 1 {
		t.Fatalf("term of the entry before the first: %d, %v", term, err)
	}
	if _, err := s.Entries(first, last+2, 1<<30); !errors.Is(err, raft.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	run, err := s.Entries(first, last+1, 0)
	if err != nil || len(run) != 1 || run[0].GetIndex() != first {
		t.Fatalf("a page of no bytes holds %d entries, %v", len(run), err)
	}
	// An entry of a later term replaces the tail and leaves runs alone.
	run, _ = s.Entries(2995, 3001, 1<<30)
	s.append([]*pb.Entry{newEntry(2, 2996, nil)})
	if run[1].GetTerm() != 1 || s.last() != 2996 {
		t.Fatalf("the run changed: term %d, last %d", run[1].GetTerm(), s.last())
	}
	if term, _ := s.Term(2996); term != 2 {
		t.Fatalf("term %d, want 2", term)
	}
}
