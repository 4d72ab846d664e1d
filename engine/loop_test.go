package engine

import (
	"testing"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/godwit-im/godwit/engine/wal"
)

func TestReadWaitsUntilItsIndexIsApplied(t *testing.T) {
	l, g := &raftLoop{}, &group{}
	var answered []int
	for i := range 3 {
		g.replica.reads = append(g.replica.reads, readBatch{
			number: uint64(i + 1),
			done:   []func(error){func(error) { answered = append(answered, i) }},
		})
	}
	state := func(number byte, index uint64) raft.ReadState {
		return raft.ReadState{Index: index, RequestCtx: []byte{number, 0, 0, 0, 0, 0, 0, 0}}
	}
	f := func(want int) {
		t.Helper()
		if len(answered) != want {
			t.Fatalf("%d reads answered, want %d", len(answered), want)
		}
	}
	g.applied = 4
	l.readStates(g, []raft.ReadState{state(1, 5), state(2, 7)})
	f(0)
	g.applied = 5
	l.finishReads(g)
	f(1)
	g.applied = 100 // raft has not answered the third
	l.finishReads(g)
	f(2)
	l.readStates(g, []raft.ReadState{state(3, 0)})
	f(3)
}

func TestTermAndVoteAreDurableAndCommitIsLazy(t *testing.T) {
	l, g := &raftLoop{}, &group{}
	f := func(term, vote, commit uint64, entries int, want bool) {
		t.Helper()
		m := &pb.Message{
			Term: new(term), Vote: new(vote), Commit: new(commit),
			Responses: []*pb.Message{{}},
		}
		for range entries {
			m.Entries = append(m.Entries, &pb.Entry{})
		}
		l.append(g, m)
		if j := l.jobs[len(l.jobs)-1]; j.durable != want {
			t.Fatalf("term %d, vote %d, commit %d, %d entries: durable is %v", term, vote, commit, entries, j.durable)
		}
	}
	f(1, 0, 0, 0, true)  // a new term
	f(1, 1, 0, 0, true)  // a vote
	f(1, 1, 5, 0, false) // the commit index
	f(1, 1, 6, 1, true)  // an entry
	if l.jobsOut != 4 {
		t.Fatalf("%d jobs to be answered, want 4", l.jobsOut)
	}

	c := newCommitter(&Store{loop: newRaftLoop(&Store{})}, walFiles{}, seededBugs{})
	c.submit(l.jobs[2:3])
	jobs := c.take(nil)
	if len(jobs) != 1 || len(c.records) != 0 || len(c.lazy) != 1 {
		t.Fatalf("a lone commit index made %d records", len(c.records))
	}
	c.submit(l.jobs[3:4])
	c.submit(l.jobs[1:2])
	c.take(nil)
	last := c.records[len(c.records)-1]
	if len(c.records) != 2 || c.records[0].Kind != recordEntry || last.Kind != recordHardState || last.Term != 1 || last.Index != 0 {
		t.Fatalf("records %+v: want the entry, then the newest durable state", c.records)
	}
}

func TestRecoveryHandsRaftTheTermsOfTheLog(t *testing.T) {
	s := &Store{machine: newAppender(1), groups: []*group{newTestGroup(t)}}
	r := &recovery{store: s, groups: make([]recovering, 1)}
	f := func(kind wal.Kind, term, index uint64) {
		t.Helper()
		rec := wal.Record{Kind: kind, Term: term, Index: index}
		if kind == recordHardState {
			rec.Payload = []byte{1, 0, 0, 0, 0, 0, 0, 0}
		}
		if err := r.replay(1, rec); err != nil {
			t.Fatal(err)
		}
	}
	f(recordEntry, 1, 1)
	f(recordEntry, 2, 2)
	f(recordHardState, 2, 2)
	f(recordEntry, 2, 3)
	f(recordEntry, 2, 4)
	f(recordEntry, 3, 4) // another leader's
	f(recordHardState, 3, 2)
	st := r.groups[0].storage([]uint64{1})
	want := map[uint64]uint64{2: 2, 3: 2, 4: 3}
	for index, term := range want {
		if got, err := st.Term(index); err != nil || got != term {
			t.Errorf("term of %d is %d, %v, want %d", index, got, err, term)
		}
	}
	if last, _ := st.LastIndex(); last != 4 || st.applied != 2 {
		t.Errorf("last %d, applied %d", last, st.applied)
	}
	hard, conf, _ := st.InitialState()
	if hard.GetTerm() != 3 || hard.GetVote() != 1 || hard.GetCommit() != 2 || len(conf.GetVoters()) != 1 {
		t.Errorf("hard state %v, configuration %v", hard, conf)
	}
}
