package engine

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// A command passes four goroutines:
//
//	caller     Propose copies it into the group's open batch        proposals.go
//	raft loop  seals the batch, proposes it, hands raft's append on  this file
//	committer  one frame of all groups' appends, one sync, answers   committer.go
//	raft loop  steps the answers, hands committed entries on
//	applier    Machine.Apply under the group's lock, then Flush      applier.go
//
// The loop owns every RawNode and raftStorage.

const (
	tickEvery      = 100 * time.Millisecond
	electionTicks  = 10
	heartbeatTicks = 1
	inflightMax    = 256      // append messages to one follower
	messageBytes   = 1 << 20  // of one append message
	applyBytesMax  = 16 << 20 // committed entries of a group given to its applier and not yet applied
)

// replica is the part of a group that the loop owns.
type replica struct {
	node    *raft.RawNode
	storage *raftStorage
	leader  bool
	ready   bool // leader, and everything of earlier terms is applied
	stamp   int64
	applied uint64
	hard    hardState // newest given to the committer
	touched bool      // on the loop's list for Ready

	readNumber uint64 // context of the newest ReadIndex
	reads      []readBatch
}

// readBatch is one ReadIndex: its callers wait until index is applied.
type readBatch struct {
	number uint64
	index  uint64 // 0: raft has not answered
	done   []func(error)
}

// event is an answer of the committer or of an applier.
type event struct {
	group    *group
	messages []*pb.Message
	// entries became durable.
	entries []*pb.Entry
	// applied and stamp: the applier reached this index, whose term is term.
	applied, term uint64
	stamp         int64
	job           bool // one appendJob of the committer is done
}

type raftLoop struct {
	store     *Store
	committer *committer
	appliers  []*applier
	kick      chan struct{} // capacity 1
	ready     chan struct{} // closed when every group is ready
	failing   chan struct{} // closed when the store must stop

	mu sync.Mutex
	// queued: groups whose proposals have work, each once.
	queued []*group
	// events is bounded: two per group for each batch in flight.
	events  []event
	failure error
	closing bool

	// Owned by run.
	held     []*group // groups with open batches that wait for the committer
	touched  []*group
	jobs     []appendJob
	jobsOut  int // given to the committer and not answered
	applying int // given to appliers and not answered
	unready  int
	ending   bool // everything goes on now, even beyond the WAL's bound
	full     bool // the WAL is beyond its bound
	batches  []*openBatch
}

func newRaftLoop(s *Store) *raftLoop {
	return &raftLoop{
		store: s, unready: len(s.groups),
		kick: make(chan struct{}, 1), ready: make(chan struct{}), failing: make(chan struct{}),
	}
}

// enqueue puts g on the list of groups with work. Any goroutine.
func (l *raftLoop) enqueue(g *group) {
	if g.proposals.markQueued() {
		l.mu.Lock()
		l.queued = append(l.queued, g)
		l.mu.Unlock()
	}
	wake(l.kick)
}

// persisted answers jobs that are durable. Called by the committer.
func (l *raftLoop) persisted(jobs []appendJob) {
	l.mu.Lock()
	for _, j := range jobs {
		l.events = append(l.events, event{group: j.group, messages: j.responses, entries: j.entries, job: true})
	}
	l.mu.Unlock()
	wake(l.kick)
}

// appliedTo answers an applyJob. Called by an applier.
func (l *raftLoop) appliedTo(e event) {
	l.mu.Lock()
	l.events = append(l.events, e)
	l.mu.Unlock()
	wake(l.kick)
}

// fail stops the store with the first error it is given. Any goroutine.
func (l *raftLoop) fail(err error) {
	l.mu.Lock()
	if l.failure == nil {
		l.failure = err
		close(l.failing)
	}
	l.mu.Unlock()
	wake(l.kick)
}

// close lets run end as soon as nothing is in flight.
func (l *raftLoop) close() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	wake(l.kick)
}

// run serves all groups until it is closed and idle, or has failed. It returns
// the failure.
func (l *raftLoop) run() error {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for _, g := range l.store.groups {
		if err := g.node.Campaign(); err != nil {
			l.fail(fmt.Errorf("campaign: %w", err))
		}
		l.touch(g)
	}
	l.flushReady()
	var events []event
	for {
		select {
		case <-l.kick:
		case <-ticker.C:
			for _, g := range l.store.groups {
				g.node.Tick()
				l.touch(g)
			}
		}
		l.mu.Lock()
		failure, closing := l.failure, l.closing
		events, l.events = l.events, events[:0]
		l.held = append(l.held, l.queued...)
		l.queued = l.queued[:0]
		l.mu.Unlock()
		if failure != nil {
			l.failWaiters()
			return failure
		}
		l.ending = closing
		for i := range events {
			l.handle(&events[i])
		}
		clear(events)
		l.serveHeld()
		l.flushReady()
		if closing && l.idle() {
			return nil
		}
	}
}

// idle reports, when no command or read can come any more, that none is left.
func (l *raftLoop) idle() bool {
	if l.jobsOut > 0 || l.applying > 0 {
		return false
	}
	for _, g := range l.store.groups {
		if !g.leader {
			l.stepDown(g)
		}
		if !g.proposals.idle() || len(g.replica.reads) > 0 {
			return false
		}
	}
	return true
}

// touch notes that g may have a Ready.
func (l *raftLoop) touch(g *group) {
	if !g.touched {
		g.touched = true
		l.touched = append(l.touched, g)
	}
}

func (l *raftLoop) handle(e *event) {
	g := e.group
	g.storage.append(e.entries)
	if e.job {
		l.jobsOut--
	}
	for _, m := range e.messages {
		// Messages to other nodes would leave here: a lone voter sends none.
		if m.GetTo() == l.store.cfg.Node {
			l.step(g, m)
		}
	}
	if e.applied > 0 {
		l.applying--
		l.handleApplied(g, e)
	}
	l.touch(g)
}

func (l *raftLoop) handleApplied(g *group, e *event) {
	g.applied = e.applied
	g.stamp = max(g.stamp, e.stamp)
	g.storage.appliedTo(e.applied)
	if !g.ready && g.leader && e.term == g.node.BasicStatus().GetTerm() {
		g.ready = true
		if l.unready--; l.unready == 0 {
			close(l.ready)
		}
	}
	l.finishReads(g)
}

// step gives raft a message of this node's own storage, which it can't refuse.
func (l *raftLoop) step(g *group, m *pb.Message) {
	if err := g.node.Step(m); err != nil {
		panic(fmt.Sprintf("BUG: raft refuses %v: %v", m.GetType(), err))
	}
}

// serveHeld proposes and asks for the groups whose callers queued something.
func (l *raftLoop) serveHeld() {
	kept := l.held[:0]
	idle := l.jobsOut == 0
	l.boundWAL()
	for _, g := range l.held {
		l.askReads(g)
		switch openBytes := g.proposals.unqueue(); {
		case openBytes == 0:
		case !l.full && l.mayPropose(idle, openBytes):
			l.propose(g)
		default:
			kept = append(kept, g)
		}
	}
	clear(l.held[len(kept):])
	l.held = kept
}

// boundWAL holds everything back while the WAL is beyond its bound: checkpoints
// of what is applied make it shrink. Callers see the queue fill.
func (l *raftLoop) boundWAL() {
	full := !l.ending && l.store.walBeyond(l.store.cfg.WALBytesMax)
	if full && !l.full {
		l.store.memory.stalls.Add(1)
	}
	if full {
		l.store.checkpointer.soon()
		l.committer.trimSoon() // a file may have become old since the last checkpoint
	}
	l.full = full
}

// mayPropose is the rule of group commit. While the disk syncs, a small batch
// goes on growing: proposed now it would wait for the same sync and the next
// frame would hold less. A large one is proposed at once, so that raft's and
// the WAL's work overlaps the sync; so is everything when there are followers,
// who write in parallel.
func (l *raftLoop) mayPropose(idle bool, openBytes int) bool {
	return idle || openBytes >= pipelineMinBytes || l.store.voters > 1
}

// propose gives all open batches of g to raft.
func (l *raftLoop) propose(g *group) {
	l.batches = g.proposals.takeOpen(l.batches[:0])
	for _, b := range l.batches {
		g.stamp = max(g.stamp, l.store.cfg.Clock())
		// raft copies the data, so b's buffer is free again after Propose.
		err := raft.ErrProposalDropped
		if g.ready {
			err = g.node.Propose(b.seal(l.store.life, g.stamp))
		}
		if err != nil {
			g.proposals.remove(b)
			l.store.failBatch(g, b, ErrUnavailable)
			continue
		}
		l.store.counters.batches.Add(1)
	}
	clear(l.batches)
	l.touch(g)
}

// askReads turns the reads that queued into one ReadIndex.
func (l *raftLoop) askReads(g *group) {
	done := g.proposals.takeReads(nil)
	if len(done) == 0 {
		return
	}
	if !g.ready {
		failReads(done, ErrUnavailable)
		return
	}
	g.readNumber++
	g.replica.reads = append(g.replica.reads, readBatch{number: g.readNumber, done: done})
	g.node.ReadIndex(binary.LittleEndian.AppendUint64(nil, g.readNumber))
	l.touch(g)
}

func (l *raftLoop) readStates(g *group, states []raft.ReadState) {
	for _, s := range states {
		number := binary.LittleEndian.Uint64(s.RequestCtx)
		for i := range g.replica.reads {
			if r := &g.replica.reads[i]; r.number == number {
				r.index = max(s.Index, 1)
			}
		}
	}
	l.finishReads(g)
}

// finishReads answers the reads whose index is applied, in the order they came.
func (l *raftLoop) finishReads(g *group) {
	reads := g.replica.reads
	n := 0
	for n < len(reads) && reads[n].index > 0 && reads[n].index <= g.applied {
		failReads(reads[n].done, nil)
		n++
	}
	g.replica.reads = append(reads[:0], reads[n:]...)
	clear(reads[len(reads)-n:])
}

func failReads(done []func(error), err error) {
	for _, fn := range done {
		fn(err)
	}
}

// flushReady takes what raft wants done for the touched groups.
func (l *raftLoop) flushReady() {
	for _, g := range l.touched {
		g.touched = false
		for g.node.HasReady() {
			l.takeReady(g)
		}
	}
	l.touched = l.touched[:0]
	if len(l.jobs) > 0 {
		l.committer.submit(l.jobs)
		clear(l.jobs)
		l.jobs = l.jobs[:0]
	}
	for _, a := range l.appliers {
		a.flush()
	}
}

func (l *raftLoop) takeReady(g *group) {
	rd := g.node.Ready()
	if rd.SoftState != nil {
		g.leader = rd.SoftState.RaftState == raft.StateLeader
		if !g.leader {
			l.stepDown(g)
		}
	}
	for _, m := range rd.Messages {
		switch m.GetTo() {
		case raft.LocalAppendThread:
			l.append(g, m)
		case raft.LocalApplyThread:
			l.applying++
			l.appliers[g.id%len(l.appliers)].add(applyJob{group: g, message: m, live: g.ready})
		}
	}
	l.readStates(g, rd.ReadStates)
}

func (l *raftLoop) append(g *group, m *pb.Message) {
	j := appendJob{group: g, entries: m.GetEntries(), responses: m.GetResponses(), durable: len(m.GetEntries()) > 0}
	if m.Vote != nil {
		j.hard = hardState{term: m.GetTerm(), vote: m.GetVote(), commit: m.GetCommit()}
		j.durable = j.durable || j.hard.term != g.hard.term || j.hard.vote != g.hard.vote
		g.hard = j.hard
	}
	for _, e := range j.entries {
		if e.GetType() != pb.EntryNormal {
			panic("BUG: raft entry of type " + e.GetType().String())
		}
	}
	if j.durable || len(j.responses) > 0 {
		l.jobsOut++
	}
	l.jobs = append(l.jobs, j)
}

// stepDown fails what only a leader can answer: its batches may still be
// committed by another.
func (l *raftLoop) stepDown(g *group) {
	g.ready = false
	for _, b := range g.proposals.takeFlight() {
		l.store.failBatch(g, b, ErrUnknown)
	}
	for _, r := range g.replica.reads {
		failReads(r.done, ErrUnavailable)
	}
	g.replica.reads = nil
}

// failWaiters answers everything that waits after a failure: no acknowledgement
// may follow. Batches that an applier holds are applied, they were durable.
func (l *raftLoop) failWaiters() {
	for _, g := range l.store.groups {
		g.proposals.close(ErrUnavailable)
		flight := g.proposals.takeFlight()
		for _, b := range g.proposals.takeOpen(nil) {
			l.store.failBatch(g, b, ErrUnavailable)
		}
		g.proposals.takeFlight() // the open ones, which takeOpen moved there
		for _, b := range flight {
			l.store.failBatch(g, b, ErrUnknown)
		}
		failReads(g.proposals.takeReads(nil), ErrUnavailable)
		for _, r := range g.replica.reads {
			failReads(r.done, ErrUnavailable)
		}
		g.replica.reads = nil
	}
}
