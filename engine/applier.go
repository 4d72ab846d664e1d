package engine

import (
	"fmt"
	"sync"

	pb "go.etcd.io/raft/v3/raftpb"
)

// applyJob is one MsgStorageApply.
type applyJob struct {
	group   *group
	message *pb.Message
	live    bool
}

// applier applies committed entries of the groups it serves, one job at a time
// in order. A group always has the same applier.
type applier struct {
	store   *Store
	kick    chan struct{} // capacity 1
	stopped chan struct{} // closed by the owner

	pending []applyJob // owned by the loop until flush

	mu sync.Mutex
	// jobs is bounded by applyBytesMax per group: raft gives no more.
	jobs []applyJob

	lost []*openBatch // owned by run
}

func newApplier(s *Store) *applier {
	return &applier{store: s, kick: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// add and flush are called by the loop: all jobs of one round are handed over
// at once.
func (a *applier) add(j applyJob) { a.pending = append(a.pending, j) }

func (a *applier) flush() {
	if len(a.pending) == 0 {
		return
	}
	a.mu.Lock()
	a.jobs = append(a.jobs, a.pending...)
	a.mu.Unlock()
	clear(a.pending)
	a.pending = a.pending[:0]
	wake(a.kick)
}

// run applies until stopped is closed or an entry can't be applied.
func (a *applier) run() {
	var jobs []applyJob
	for {
		select {
		case <-a.kick:
		case <-a.stopped:
			return
		}
		a.mu.Lock()
		jobs, a.jobs = a.jobs, jobs[:0]
		a.mu.Unlock()
		for i := range jobs {
			if err := a.apply(&jobs[i]); err != nil {
				a.store.loop.fail(err)
				return
			}
		}
		clear(jobs)
	}
}

func (a *applier) apply(j *applyJob) error {
	var last *pb.Entry
	for _, e := range j.message.GetEntries() {
		last = e
		if len(e.Data) == 0 {
			j.group.state.passed(e.GetIndex(), e.GetTerm()) // raft's own, at the start of a term
			continue
		}
		a.store.memory.wait()
		if err := a.applyEntry(j.group, e, j.live); err != nil {
			return err
		}
	}
	a.store.loop.appliedTo(event{
		group: j.group, messages: j.message.GetResponses(),
		applied: last.GetIndex(), term: last.GetTerm(), stamp: j.group.state.stamp,
	})
	return nil
}

func (a *applier) applyEntry(g *group, e *pb.Entry, live bool) error {
	b, err := parseBatch(e.Data)
	if err != nil {
		return fmt.Errorf("group %d, index %d: %w", g.id, e.GetIndex(), err)
	}
	var own *openBatch
	if b.life == a.store.life {
		a.lost = a.lost[:0]
		own, a.lost = g.proposals.applied(b.number, a.lost)
		for _, l := range a.lost {
			a.store.failBatch(g, l, ErrUnknown)
		}
		if own != nil && len(own.waiters) != b.count {
			panic(fmt.Sprintf("BUG: batch %d has %d commands and %d waiters", b.number, b.count, len(own.waiters)))
		}
	}
	var waiters []Waiter
	if own != nil {
		waiters = own.waiters
	}
	if err := a.store.applyBatch(g, e, b, waiters, live); err != nil {
		for _, w := range waiters {
			if w != nil {
				w.Fail(ErrUnknown)
			}
		}
		return err
	}
	if own != nil {
		a.store.counters.queueBytes.Add(-own.costBytes)
		g.proposals.recycle(own)
	}
	return nil
}

// applyBatch runs the commands of b, which lies in e, against g's state. Called
// by the group's applier, and by recovery before that runs. After an error the
// state is wrong: the store must stop, and no command was answered.
func (s *Store) applyBatch(g *group, e *pb.Entry, b batch, waiters []Waiter, live bool) error {
	if err := s.fetch(g, b); err != nil {
		return fmt.Errorf("group %d, index %d: %w", g.id, e.GetIndex(), err)
	}
	st := &g.state
	st.mu.Lock()
	st.stamp = max(st.stamp, b.stamp)
	st.index, st.term = e.GetIndex(), e.GetTerm()
	tx := &g.tx
	tx.index, tx.stamp = st.index, st.stamp
	for i, rest := 0, b.commands; i < b.count; i++ {
		var command []byte
		command, rest, _ = cutCommand(rest)
		var w Waiter
		if waiters != nil {
			w = waiters[i]
		}
		tx.begin(command, s.machine)
		s.machine.Apply(tx, command, w)
	}
	if tx.erased != nil {
		st.erased = tx.erased
	}
	tx.command, tx.erased = nil, nil
	st.rows.Clear()
	err := st.failed
	st.mu.Unlock()
	if err != nil {
		return fmt.Errorf("group %d, index %d: %w", g.id, e.GetIndex(), err)
	}
	s.memory.account(g)
	s.counters.applied.Add(1)
	s.counters.commands.Add(uint64(b.count))
	s.machine.Flush(g.id, live)
	return nil
}

// fetch reads the rows that the batch will get, before the lock is taken.
func (s *Store) fetch(g *group, b batch) error {
	if g.state.rows.Empty() {
		return nil
	}
	var err error
	add := func(key []byte) {
		if err == nil {
			err = g.state.rows.Fetch(key)
		}
	}
	for i, rest := 0, b.commands; i < b.count; i++ {
		var command []byte
		command, rest, _ = cutCommand(rest)
		s.machine.Reads(command, add)
	}
	return err
}

// failBatch answers every waiter of b, which is off the flight, and frees its
// place in the queue.
func (s *Store) failBatch(g *group, b *openBatch, err error) {
	for _, w := range b.waiters {
		if w != nil {
			w.Fail(err)
		}
	}
	s.counters.queueBytes.Add(-b.costBytes)
	g.proposals.recycle(b)
}
