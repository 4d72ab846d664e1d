package engine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"go.etcd.io/raft/v3"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine/memtable"
	"github.com/godwit-im/godwit/engine/rows"
	"github.com/godwit-im/godwit/engine/segment"
	"github.com/godwit-im/godwit/engine/wal"
)

// Store is the durable logs of one node. Its methods may be called
// concurrently.
type Store struct {
	cfg     Config
	machine Machine
	groups  []*group
	voters  int
	life    uint64 // random number of this Open; tells own batches from others'
	lock    io.Closer

	counters  counters
	memory    memory
	rows      *rows.DB
	blocks    *segment.Cache
	recent    *memtable.Recent
	log       *wal.Log
	loop      *raftLoop
	committer *committer
	appliers  []*applier

	// disk is held by a checkpoint; a merge passes it now and then.
	disk         sync.Mutex
	merging      sync.Mutex      // held while the set of segments is made smaller
	damaged      map[uint64]bool // under merging: ids of segments that can't be read, left alone
	avail        atomic.Int64    // bytes free on the disk when last looked, less the reserve
	erasing      sync.Mutex      // one pass at a time
	backingUp    sync.Mutex      // one backup at a time
	guests       guests          // who makes one
	restored     uint64          // see Restored
	checkpointer *worker
	merger       *worker
	eraser       *worker
	scrubber     *worker
	scrub        scrub
	space        *worker
	room         atomic.Int32 // a roomState
	nextSegment  atomic.Uint64

	running    sync.WaitGroup // loop, committer, appliers
	background sync.WaitGroup // checkpointer, merger: they end last
	closeOnce  sync.Once
	closeErr   error
}

// group is one raft group. Each part has its own owner or lock.
type group struct {
	id        int
	proposals proposals
	replica   // of the raft loop
	state     state
	tx        Tx // of the applier, under state.mu

	checkpointed     atomic.Uint64 // raft index of the newest checkpoint
	checkpointWanted atomic.Bool
	heldBytes        atomic.Int64 // see memory
	freezing         *freezing    // under Store.disk
}

// Open recovers the store in cfg.Dir, or makes it, and starts it. It returns
// when every group leads and has applied what was in the WAL.
func Open(cfg Config, m Machine) (*Store, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := makeDirAll(&cfg); err != nil {
		return nil, err
	}
	lock, err := cfg.FS.Lock(cfg.FS.PathJoin(cfg.Dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrLocked, cfg.Dir, err)
	}
	s := &Store{cfg: cfg, machine: m, lock: lock, life: randomLife()}
	s.memory.store, s.memory.freed.L = s, &s.memory.mu
	s.loop = newRaftLoop(s)
	s.checkpointer = newWorker("checkpoint", s.checkpointTurn)
	s.merger = newWorker("merge", s.mergeTurn)
	s.eraser = newWorker("erase", s.eraseTurn)
	s.eraser.every = eraseEvery
	s.scrubber = newWorker("scrub", s.scrubTurn)
	s.scrubber.every = scrubEvery
	s.guests.leaving = make(chan struct{})
	s.space = newWorker("look at the disk", s.lookAtRoom)
	s.space.every = roomEvery
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	return s, nil
}

func (s *Store) open() error {
	walDir := s.cfg.FS.PathJoin(s.cfg.Dir, "wal")
	sb, err := openSuperblock(&s.cfg, walDir)
	if err != nil {
		return err
	}
	s.voters, s.restored = len(sb.voters), sb.restored
	r := &recovery{store: s, groups: make([]recovering, s.cfg.Groups)}
	if err := s.openCheckpoints(r); err != nil {
		return fmt.Errorf("recover %s: %w", s.cfg.Dir, err)
	}
	walConfig := wal.Config{FS: s.cfg.FS, Dir: walDir, Logger: s.cfg.Logger, PoolBytesMax: 2 * s.cfg.MemtableBytes}
	walConfig.FirstFileBytes, walConfig.MaxFileBytes = s.cfg.walFileSizes()
	if s.log, err = wal.Open(walConfig, r.replay); err != nil {
		return fmt.Errorf("recover %s: %w", s.cfg.Dir, err)
	}
	r.files.opened(s.log.File())
	if sb.hasLog && r.records == 0 {
		return fmt.Errorf("%w: %s holds no records, but it did: files are missing", ErrFormat, walDir)
	}
	if err := s.removeOrphans(r.live); err != nil {
		return fmt.Errorf("recover %s: %w", s.cfg.Dir, err)
	}
	if _, err := s.lookAtRoom(); err != nil {
		return err
	}
	if err := s.start(r, sb); err != nil {
		return err
	}
	if !sb.hasLog {
		sb.hasLog = true
		if err := writeSuperblock(&s.cfg, sb); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	s.cfg.Logger.Info("engine open", "dir", s.cfg.Dir, "groups", s.cfg.Groups, "records", r.records)
	return nil
}

// start runs the goroutines and waits for the election of every group.
func (s *Store) start(r *recovery, sb superblock) error {
	for i, g := range s.groups {
		g.storage = r.groups[i].storage(sb.voters)
		g.hard, g.applied, g.stamp = r.groups[i].hard, g.storage.applied, g.state.stamp
		node, err := raft.NewRawNode(&raft.Config{
			ID: s.cfg.Node, ElectionTick: electionTicks, HeartbeatTick: heartbeatTicks,
			Storage: g.storage, Applied: g.storage.applied, AsyncStorageWrites: true,
			MaxSizePerMsg: messageBytes, MaxCommittedSizePerReady: applyBytesMax, MaxInflightMsgs: inflightMax,
			CheckQuorum: true, PreVote: true, ReadOnlyOption: raft.ReadOnlySafe,
			DisableProposalForwarding: true, Logger: raftLogger{s.cfg.Logger},
		})
		if err != nil {
			return fmt.Errorf("start raft group %d: %w", i, err)
		}
		g.node = node
	}
	s.loop.unready = len(s.groups)
	s.committer = newCommitter(s, r.files, loadSeededBugs())
	s.loop.committer = s.committer
	for range min(len(s.groups), runtime.GOMAXPROCS(0)) {
		a := newApplier(s)
		s.appliers = append(s.appliers, a)
		s.running.Go(a.run)
	}
	s.loop.appliers = s.appliers
	s.background.Go(func() { s.checkpointer.run(s) })
	s.background.Go(func() { s.merger.run(s) })
	s.background.Go(func() { s.eraser.run(s) })
	s.background.Go(func() { s.scrubber.run(s) })
	s.background.Go(func() { s.space.run(s) })
	s.running.Go(s.runCommitter)
	s.running.Go(s.runLoop)
	select {
	case <-s.loop.ready:
		return nil
	case <-s.loop.failing:
		err := s.Close()
		return fmt.Errorf("elect: %w", err)
	}
}

func (s *Store) runCommitter() {
	if err := s.committer.run(); err != nil {
		s.loop.fail(err)
	}
}

// runLoop ends the other goroutines after the loop, which feeds them.
func (s *Store) runLoop() {
	err := s.loop.run()
	s.memory.close()
	for _, a := range s.appliers {
		close(a.stopped)
	}
	close(s.committer.stopped)
	if err == nil {
		return
	}
	if errors.Is(err, errStopped) {
		return // Close returns it
	}
	s.cfg.Logger.Error("engine stops", "err", err)
	select {
	case <-s.loop.ready:
		s.cfg.Fatal(err)
	default: // Open returns it
	}
}

// Close refuses new commands, finishes what is in flight or fails its waiters,
// writes the WAL's trailer and ends all goroutines. Further calls return the
// same error: the failure that stopped the store, if one did.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		for _, g := range s.groups {
			g.proposals.close(ErrClosed)
		}
		s.memory.close() // on a full disk there would never be room for what is queued
		s.loop.close()
		close(s.committer.closing)
		s.running.Wait()
		s.guests.close()
		close(s.checkpointer.stop)
		close(s.merger.stop)
		close(s.eraser.stop)
		close(s.scrubber.stop)
		close(s.space.stop)
		s.background.Wait()
		s.closeErr = errors.Join(s.loop.failure, s.closeFiles())
	})
	return s.closeErr
}

func (s *Store) closeFiles() error {
	var err error
	// Stats may still be asked, so nothing that it reads becomes nil.
	if s.log != nil {
		if err = s.log.Close(); err != nil {
			err = fmt.Errorf("close the WAL: %w", err)
		}
	}
	for _, g := range s.groups {
		g.state.live.release()
	}
	if s.blocks != nil {
		s.blocks.Close()
	}
	if s.rows != nil {
		if closeErr := s.rows.Close(); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("close the rows: %w", closeErr))
		}
		s.rows = nil
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
		s.lock = nil
	}
	return err
}

// Group returns the raft group that owns a partition.
func (s *Store) Group(p godwit.Partition) int { return int(p) * len(s.groups) / godwit.Partitions }

// Groups returns the number of raft groups.
func (s *Store) Groups() int { return len(s.groups) }

// Propose queues a copy of command. With an error (ErrUnavailable: the queue is
// full; ErrDiskFull; ErrCommandTooLarge; ErrClosed) there is no effect and w is not called.
// Otherwise w, if not nil, goes to Machine.Apply or its Fail is called. Propose
// never blocks for I/O.
func (s *Store) Propose(group int, command []byte, w Waiter) error {
	if len(command) > s.cfg.CommandBytesMax {
		return ErrCommandTooLarge
	}
	if !s.roomFor(roomLow) {
		s.counters.refused.Add(1)
		return ErrDiskFull
	}
	g := s.groups[group]
	cost := int64(len(command) + commandOverhead)
	if s.counters.queueBytes.Add(cost) > int64(s.cfg.QueueBytesMax) {
		s.counters.queueBytes.Add(-cost)
		s.counters.refused.Add(1)
		return ErrUnavailable
	}
	wake, err := g.proposals.add(command, w, cost, s.cfg.BatchBytesMax)
	if err != nil {
		s.counters.queueBytes.Add(-cost)
		return err
	}
	s.counters.proposals.Add(1)
	if wake {
		s.loop.enqueue(g)
	}
	return nil
}

// ReadIndex calls done once, when everything acknowledged before the call is
// visible to View, or with an error. done runs on a goroutine of the engine and
// must not block; only if the read is refused at once (too many wait, or the
// store is closed) it runs before ReadIndex returns. ReadIndex never blocks.
func (s *Store) ReadIndex(group int, done func(error)) {
	g := s.groups[group]
	wake, err := g.proposals.addRead(done)
	if err != nil {
		done(err)
		return
	}
	if wake {
		s.loop.enqueue(g)
	}
}

// Digest hashes the state of a group: its stamp, all rows in key order and the
// heads of its logs. Equal logs give equal digests. It reads every row.
func (s *Store) Digest(group int) (uint64, error) { return s.groups[group].state.digest() }

func makeDirAll(cfg *Config) error {
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", cfg.Dir, err)
	}
	// The parent must know the directory, or a power loss takes it all.
	if err := syncDir(cfg.FS, cfg.FS.PathDir(cfg.Dir)); err != nil {
		return fmt.Errorf("sync the parent of %s: %w", cfg.Dir, err)
	}
	return nil
}

func randomLife() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return binary.LittleEndian.Uint64(b[:])
}
