package engine

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/godwit-im/godwit/engine/wal"
)

// Kinds of WAL records. Term and Index of recordEntry are the entry's, its
// payload is the batch (empty: raft's own). Term and Index of recordHardState
// are raft's term and commit index, its payload is the vote, u64 LE.
const (
	recordEntry     wal.Kind = 1
	recordHardState wal.Kind = 2
)

const (
	idleAfter        = 50 * time.Millisecond
	frameBytesTarget = 32 << 20 // jobs beyond it wait for the next frame; the WAL takes about 64 MiB
	recordOverhead   = 64       // generous: what a record costs in a frame beside its payload
	gatherFrames     = 4        // seeded bug ackBeforeWALWrite
)

// appendJob is one MsgStorageAppend. It goes back to the loop when it and all
// before it are durable.
type appendJob struct {
	group     *group
	entries   []*pb.Entry
	hard      hardState // zero: unchanged
	responses []*pb.Message
	durable   bool // entries, a term or a vote: must be synced before the answer
}

func (j *appendJob) sizeBytes() int {
	n := 0
	for _, e := range j.entries {
		n += len(e.Data) + recordOverhead
	}
	return n
}

// hardState is raft's durable state of a group, by value.
type hardState struct{ term, vote, commit uint64 }

// committer owns the WAL. It takes what all groups queued during the last sync,
// writes one frame, syncs it, and only then answers.
type committer struct {
	groups   []*group
	freed    func()      // tells the loop that files of the WAL went
	trimming atomic.Bool // a checkpoint ended: files may go
	filesMu  sync.Mutex
	files    walFiles
	current  atomic.Uint64 // file that was written last
	requests []*walRequest
	log      *wal.Log
	loop     *raftLoop
	counters *counters
	bugs     seededBugs
	kick     chan struct{} // capacity 1
	stopped  chan struct{} // closed by the owner: finish and return
	closing  chan struct{} // closed by the owner before: don't wait for room

	mu sync.Mutex
	// jobs is bounded by what the groups have in flight, Config.QueueBytesMax.
	jobs []appendJob
	// lazy holds states that need no sync of their own (the commit index moved)
	// and are newer than any in jobs. They ride in the next frame. One per group.
	lazy map[uint32]hardState

	// Owned by run.
	records  []wal.Record
	hard     map[uint32]hardState // of the frame being made
	unsynced bool                 // seeded bugs only: a frame was answered but not synced
	gathered [][]wal.Record
}

func newCommitter(s *Store, files walFiles, bugs seededBugs) *committer {
	return &committer{
		groups: s.groups, freed: func() { wake(s.loop.kick) }, files: files,
		log: s.log, loop: s.loop, counters: &s.counters, bugs: bugs,
		kick: make(chan struct{}, 1), stopped: make(chan struct{}), closing: make(chan struct{}),
		lazy: map[uint32]hardState{}, hard: map[uint32]hardState{},
	}
}

// submit queues jobs. Called by the loop. One that moves only the commit index
// is answered in its turn, but its hard state is lazy: losing it costs nothing.
func (c *committer) submit(jobs []appendJob) {
	c.mu.Lock()
	before := len(c.jobs)
	for _, j := range jobs {
		id := uint32(j.group.id)
		if !j.durable {
			if j.hard != (hardState{}) {
				c.lazy[id] = j.hard
			}
			j.hard = hardState{}
		} else if j.hard != (hardState{}) {
			delete(c.lazy, id) // older
		}
		if j.durable || len(j.responses) > 0 {
			c.jobs = append(c.jobs, j)
		}
	}
	urgent := len(c.jobs) > before
	c.mu.Unlock()
	if urgent {
		wake(c.kick)
	}
}

// take moves the queued work of about one frame to dst.
func (c *committer) take(dst []appendJob) []appendJob {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, bytes := 0, 0
	for n < len(c.jobs) && (n == 0 || bytes < frameBytesTarget) {
		bytes += c.jobs[n].sizeBytes()
		n++
	}
	dst = append(dst, c.jobs[:n]...)
	rest := copy(c.jobs, c.jobs[n:])
	clear(c.jobs[rest:])
	c.jobs = c.jobs[:rest]
	if rest > 0 {
		wake(c.kick)
	}
	c.records = c.records[:0]
	clear(c.hard)
	for i := range dst {
		c.addEntries(&dst[i])
		if dst[i].hard != (hardState{}) {
			c.hard[uint32(dst[i].group.id)] = dst[i].hard
		}
	}
	// A lazy commit index may name an entry of the jobs left over. Alone it is
	// not worth a frame.
	if rest == 0 && len(c.records)+len(c.hard) > 0 {
		c.takeLazyLocked()
	}
	c.addHardStates()
	return dst
}

func (c *committer) addEntries(j *appendJob) {
	for _, e := range j.entries {
		c.records = append(c.records, wal.Record{
			Group: uint32(j.group.id), Kind: recordEntry,
			Term: e.GetTerm(), Index: e.GetIndex(), Payload: e.Data,
		})
	}
}

func (c *committer) takeLazyLocked() {
	maps.Copy(c.hard, c.lazy)
	clear(c.lazy)
}

// addHardStates comes after the entries: a commit index must not precede what
// it commits.
func (c *committer) addHardStates() {
	for g, h := range c.hard {
		c.records = append(c.records, h.record(g))
	}
}

// run commits until stopped is closed or the disk fails; a failure goes to the
// loop and is final.
func (c *committer) run() error {
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	var jobs []appendJob
	for {
		select {
		case <-c.kick:
			idle.Stop()
			jobs = c.take(jobs[:0])
			if err := c.commit(jobs); err != nil {
				return err
			}
			clear(jobs)
			if err := c.serve(); err != nil {
				return err
			}
			idle.Reset(idleAfter)
		case <-idle.C:
			if err := c.idle(); err != nil {
				return err
			}
		case <-c.stopped:
			return c.idle()
		}
	}
}

// commit makes one frame durable, then answers its jobs.
func (c *committer) commit(jobs []appendJob) error {
	if len(c.records) == 0 {
		c.loop.persisted(jobs)
		return nil
	}
	if c.bugs.ackBeforeWALWrite() || c.bugs.ackBeforeFsync() {
		return c.commitSeeded(jobs)
	}
	if err := c.append(c.records); err != nil {
		return err
	}
	if err := c.sync(); err != nil {
		return err
	}
	c.loop.persisted(jobs)
	return nil
}

func (c *committer) append(records []wal.Record) error {
	if len(records) == 0 {
		return nil
	}
	bytes := 0
	for i := range records {
		bytes += len(records[i].Payload)
	}
	err := c.log.Append(records)
	for errors.Is(err, wal.ErrNoSpace) && c.waitForRoom() {
		err = c.log.Append(records)
	}
	if errors.Is(err, wal.ErrNoSpace) {
		err = fmt.Errorf("%w: %w", errStopped, err)
	}
	if err != nil {
		return fmt.Errorf("append to the WAL: %w", err)
	}
	c.filesMu.Lock()
	for i := range records {
		c.files.note(c.log.File(), &records[i])
	}
	c.filesMu.Unlock()
	c.current.Store(c.log.File())
	c.counters.frames.Add(1)
	c.counters.walBytes.Add(uint64(bytes))
	return nil
}

// roomRetry is how often a frame for which no file can be made is tried again.
const roomRetry = 100 * time.Millisecond

// waitForRoom waits a moment while the disk is full. Nothing is answered
// meanwhile; the loop goes on, and so do reads. It reports false when the store
// closes or has failed.
func (c *committer) waitForRoom() bool {
	c.counters.diskFull.Add(1)
	select {
	case <-time.After(roomRetry):
		return true
	case <-c.closing:
	case <-c.loop.failing:
	}
	return false
}

func (c *committer) sync() error {
	start := time.Now()
	if err := c.log.Sync(); err != nil {
		return fmt.Errorf("sync the WAL: %w", err)
	}
	c.counters.synced(time.Since(start))
	return nil
}

// idle writes what needed no sync and lets the WAL confirm its last frame.
func (c *committer) idle() error {
	if err := c.flushSeeded(); err != nil {
		return err
	}
	c.records = c.records[:0]
	clear(c.hard)
	c.mu.Lock()
	if len(c.jobs) == 0 {
		c.takeLazyLocked()
	}
	c.mu.Unlock()
	c.addHardStates()
	if len(c.records) > 0 {
		if err := c.append(c.records); err != nil {
			return err
		}
		if err := c.sync(); err != nil {
			return err
		}
	}
	if err := c.log.Idle(); err != nil && !errors.Is(err, wal.ErrNoSpace) { // the next frame says it
		return fmt.Errorf("write the WAL's trailer: %w", err)
	}
	return nil
}

// commitSeeded is commit with one of the planted faults.
func (c *committer) commitSeeded(jobs []appendJob) error {
	if c.bugs.ackBeforeFsync() {
		if err := c.append(c.records); err != nil {
			return err
		}
		c.loop.persisted(jobs)
		c.unsynced = true
		return nil
	}
	c.loop.persisted(jobs)
	c.gathered = append(c.gathered, append([]wal.Record(nil), c.records...))
	if len(c.gathered) < gatherFrames {
		return nil
	}
	return c.flushSeeded()
}

// flushSeeded makes durable what a planted fault left behind.
func (c *committer) flushSeeded() error {
	for _, records := range c.gathered {
		c.unsynced = true
		if err := c.append(records); err != nil {
			return err
		}
	}
	c.gathered = c.gathered[:0]
	if !c.unsynced {
		return nil
	}
	c.unsynced = false
	return c.sync()
}

// wake fills a channel of capacity 1 unless it is full.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
