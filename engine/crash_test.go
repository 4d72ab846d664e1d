package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/godwit-im/godwit"
)

const crashProposers = 6

// crashRun is one life of a store whose power fails at one file operation. The
// proposers go on a little: what they see then must not matter.
type crashRun struct {
	mem     *vfs.MemFS
	rng     *rand.Rand // of the clone only: used once, under once
	percent int

	ops     atomic.Int64
	crashAt int64
	once    sync.Once

	acked    [crashProposers]atomic.Int64 // entries acknowledged, per log
	proposed [crashProposers]atomic.Int64

	// What was true at the crash.
	clone    *vfs.MemFS
	promised [crashProposers]int64
}

// MaybeError counts an operation and crashes before the chosen one.
func (r *crashRun) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && r.ops.Add(1) == r.crashAt {
		r.crash()
	}
	return nil
}

func (r *crashRun) String() string { return "crash" }

// crash takes the acknowledgements first: each of them must be in the clone.
func (r *crashRun) crash() {
	r.once.Do(func() {
		// Let an acknowledgement that runs ahead of this operation arrive.
		for range 500 {
			runtime.Gosched()
		}
		for i := range r.promised {
			r.promised[i] = r.acked[i].Load()
		}
		r.clone = r.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.percent, RNG: r.rng})
	})
}

// crashBody is the i-th entry of proposer p's log, over all lives.
func crashBody(p int, i int64, size int) string {
	return fmt.Sprintf("%d/%d/", p, i) + strings.Repeat(".", size)
}

// live opens the store, checks the log against what was promised before, and
// lets the proposers run until the crash.
func (r *crashRun) live(t *testing.T, groups int, promised, proposed [crashProposers]int64) {
	t.Helper()
	cfg := testConfig(t, errorfs.Wrap(r.mem, r), groups)
	s := mustOpen(t, cfg, newAppender(groups))
	defer mustClose(t, s)
	for p := range crashProposers {
		got := bodies(s, logOf(p))
		for i, body := range got {
			if !strings.HasPrefix(body, crashBody(p, int64(i), 0)) {
				t.Fatalf("log %d, sequence %d holds %q: lost, repeated or out of order", p, i+1, body)
			}
		}
		if n := int64(len(got)); n < promised[p] || n > proposed[p] {
			t.Fatalf("log %d: %d entries, %d were acknowledged and %d proposed", p, n, promised[p], proposed[p])
		}
		r.acked[p].Store(int64(len(got)))
		r.proposed[p].Store(int64(len(got)))
	}
	var wg sync.WaitGroup
	for p := range crashProposers {
		wg.Go(func() { r.proposer(t, s, p) })
	}
	wg.Wait()
	r.crash() // at the latest
}

// proposer keeps a few commands in flight until shortly after the crash.
func (r *crashRun) proposer(t *testing.T, s *Store, p int) {
	const window = 4
	inFlight := make(chan *ackWaiter, window)
	finish := func(w *ackWaiter) {
		a := <-w.done
		if a.err != nil || a.seq != godwit.Seq(r.acked[p].Load()+1) {
			t.Errorf("log %d: answer %+v after %d", p, a, r.acked[p].Load())
		}
		r.acked[p].Add(1)
	}
	for range 100 {
		if r.ops.Load() > r.crashAt+20 {
			break
		}
		w := newWaiter()
		body := crashBody(p, r.proposed[p].Add(1)-1, int(r.proposed[p].Load()%40)*30)
		if err := s.Propose(s.Group(logOf(p).Partition()), appendCommand(logOf(p), 1, body), w); err != nil {
			t.Errorf("propose: %v", err)
			return
		}
		inFlight <- w
		if len(inFlight) == window {
			finish(<-inFlight)
		}
	}
	for len(inFlight) > 0 {
		finish(<-inFlight)
	}
}

// crashLives runs lives of one store, each from the clone of the crash before.
// It returns false when a check failed.
func crashLives(t *testing.T, groups, lives int, seed int64, crashAt func(rng *rand.Rand) int64) {
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	mem := vfs.NewCrashableMem()
	var promised, proposed [crashProposers]int64
	for life := range lives {
		r := &crashRun{mem: mem, rng: rand.New(rand.NewPCG(rng.Uint64(), 0)), percent: rng.IntN(101), crashAt: crashAt(rng)}
		r.live(t, groups, promised, proposed)
		if t.Failed() {
			t.Fatalf("seed %d, life %d, crash before operation %d, %d %% of unsynced data kept", seed, life, r.crashAt, r.percent)
		}
		mem, promised = r.clone, r.promised
		for p := range proposed {
			proposed[p] = r.proposed[p].Load()
		}
	}
}

func TestPowerLossKeepsEveryAckedCommandOnceInOrder(t *testing.T) {
	eachGroupCount(t, func(t *testing.T, groups int) {
		for seed := range 1 + 5/faultStep() {
			crashLives(t, groups, 10, seed, func(rng *rand.Rand) int64 { return 1 + rng.Int64N(600) })
		}
	})
}

// The first operations are those of Open: directories, superblock, WAL, votes.
func TestPowerLossAtEachOperationOfOpen(t *testing.T) {
	eachGroupCount(t, func(t *testing.T, groups int) {
		for op := int64(1); op <= 80; op++ {
			crashLives(t, groups, 2, op, func(*rand.Rand) int64 { return op })
		}
	})
}

func TestTornTailIsCutAndTheRestKept(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s := mustOpen(t, testConfig(t, mem, 1), newAppender(1))
	for i := range 50 {
		propose(t, s, logOf(0), 1, fmt.Sprint("acked ", i))
	}
	// Nothing unsynced survives: the tail ends inside what was pre-written.
	clone := mem.CrashClone(vfs.CrashCloneCfg{})
	mustClose(t, s)
	m := newAppender(1)
	s = mustOpen(t, testConfig(t, clone, 1), m)
	defer mustClose(t, s)
	// The newest commit index was not yet written: the election commits the rest.
	if m.lives[0][0] != 50 || m.lives[0][1] != 0 {
		t.Fatalf("%d batches applied at the start, and %d as if they were live", m.lives[0][0], m.lives[0][1])
	}
	if got := bodies(s, logOf(0)); len(got) != 50 || got[49] != "acked 49" {
		t.Fatalf("%d entries, the last is %q", len(got), got[len(got)-1])
	}
	if seq := propose(t, s, logOf(0), 1, "after"); seq != 51 {
		t.Fatalf("the next sequence is %d", seq)
	}
}

var errInjected = errors.New("injected")

// failingFS fails every sync from the k-th on, or every write.
type failingFS struct {
	writes bool
	after  int64
	count  atomic.Int64
	armed  atomic.Bool
}

func (f *failingFS) String() string { return "failing" }

func (f *failingFS) MaybeError(op errorfs.Op) error {
	hit := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
	if f.writes {
		hit = op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileWriteAt
	}
	if f.armed.Load() && hit && f.count.Add(1) > f.after {
		return errInjected
	}
	return nil
}

func TestDiskErrorStopsTheStoreAndAnswersEveryone(t *testing.T) {
	eachGroupCount(t, func(t *testing.T, groups int) {
		for _, writes := range []bool{false, true} {
			for after := range int64(8) {
				diskError(t, groups, &failingFS{writes: writes, after: after})
			}
		}
	})
}

func diskError(t *testing.T, groups int, disk *failingFS) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	cfg := testConfig(t, errorfs.Wrap(mem, disk), groups)
	fatal := make(chan error, 2)
	cfg.Fatal = func(err error) { fatal <- err }
	s := mustOpen(t, cfg, newAppender(groups))
	disk.armed.Store(true)
	var ackedMu sync.Mutex
	acked := map[LogID][]godwit.Seq{}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for {
				w := newWaiter()
				if err := s.Propose(s.Group(logOf(n).Partition()), appendCommand(logOf(n), 1, "x"), w); err != nil {
					if !errors.Is(err, ErrUnavailable) {
						t.Errorf("Propose after the failure: %v", err)
					}
					return
				}
				a := <-w.done
				switch {
				case a.err == nil:
					ackedMu.Lock()
					acked[logOf(n)] = append(acked[logOf(n)], a.seq)
					ackedMu.Unlock()
				case !errors.Is(a.err, ErrUnknown) && !errors.Is(a.err, ErrUnavailable):
					t.Errorf("answer %v", a.err)
				}
			}
		})
	}
	wg.Wait()
	if err := <-fatal; !errors.Is(err, errInjected) {
		t.Fatalf("Fatal got %v", err)
	}
	read := make(chan error, 1)
	s.ReadIndex(0, func(err error) { read <- err })
	if err := <-read; err == nil {
		t.Fatal("a read succeeded after the failure")
	}
	clone := mem.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); !errors.Is(err, errInjected) {
		t.Fatalf("Close returned %v", err)
	}
	if len(fatal) > 0 {
		t.Fatal("Fatal was called twice")
	}
	s = mustOpen(t, testConfig(t, clone, groups), newAppender(groups))
	defer mustClose(t, s)
	for log, seqs := range acked {
		if got := len(bodies(s, log)); got < len(seqs) {
			t.Fatalf("%d entries, %d were acknowledged", got, len(seqs))
		}
	}
}

func TestDiskErrorDuringOpenIsReturned(t *testing.T) {
	for after := range int64(12) {
		disk := &failingFS{after: after}
		disk.armed.Store(true)
		cfg := testConfig(t, errorfs.Wrap(vfs.NewMem(), disk), 1)
		s, err := Open(cfg, newAppender(1))
		if err == nil {
			// All syncs of Open succeeded; a later one fails, which is another test.
			disk.armed.Store(false)
			mustClose(t, s)
			if after == 0 {
				t.Fatal("Open ignored the first sync's error")
			}
			continue
		}
		if !errors.Is(err, errInjected) {
			t.Fatalf("sync %d: %v", after, err)
		}
	}
}

// Two elections of one node must never share a term: then the vote of the first
// was forgotten.
func TestPowerLossForgetsNoVote(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var last uint64
	for life := range 5 {
		s := mustOpen(t, testConfig(t, mem, 8), newAppender(8))
		clone := mem.CrashClone(vfs.CrashCloneCfg{})
		mustClose(t, s)
		for _, g := range s.groups {
			st := g.node.BasicStatus()
			if term := st.GetTerm(); term != last+1 || st.GetVote() != 1 {
				t.Fatalf("life %d, group %d: term %d, vote %d after term %d", life, g.id, term, st.GetVote(), last)
			}
		}
		last, mem = last+1, clone
	}
}
