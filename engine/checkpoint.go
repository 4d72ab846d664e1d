package engine

import (
	"fmt"
	"time"

	"github.com/godwit-im/godwit/engine/rows"
	"github.com/godwit-im/godwit/engine/segment"
)

// A checkpoint of a group moves its memtable and dirty rows to disk, both as of
// one raft index:
//
//	freeze   under the group's lock: active becomes frozen
//	segment  written from the frozen memtable, synced
//	commit   one synced batch: dirty rows, the segment's name, the index
//	publish  under the lock: the segment is live, frozen is dropped
//	trim     the WAL lets go of files that every group is past (committer)
//
// Nothing else writes rows. A crash before the commit leaves an orphan file,
// which Open removes, and the WAL, which still has everything.

// freezing is a checkpoint between freeze and publish. It is kept over a failed
// try: what is frozen stays so.
type freezing struct {
	layer  layer
	erased *erasures
	point  rows.Checkpoint
	id     uint64 // of the segment; taken at the freeze, so that erasures after it know it
	index  uint64 // first raft index that may be in the memtable
}

// freeze begins a checkpoint unless one is under way or nothing has changed.
func (g *group) freeze() bool {
	g.state.mu.Lock()
	defer g.state.mu.Unlock()
	return g.freezeLocked()
}

func (g *group) freezeLocked() bool {
	st := &g.state
	if g.freezing != nil {
		return true
	}
	if st.failed != nil || st.index == g.checkpointed.Load() {
		return false
	}
	g.freezing = &freezing{
		layer: st.active, erased: st.erased, id: g.tx.segments.Add(1) - 1, index: g.checkpointed.Load() + 1,
		point: rows.Checkpoint{
			Applied: st.index, Term: st.term, Stamp: st.stamp, Generation: st.active.generation,
		},
	}
	st.frozen = st.active
	st.active = newLayer(st.active.generation + 1)
	st.rows.Freeze()
	return true
}

// ahead reports whether something was applied since the last checkpoint.
func (g *group) ahead() bool {
	g.state.mu.RLock()
	defer g.state.mu.RUnlock()
	return g.state.failed == nil && g.state.index != g.checkpointed.Load()
}

// checkpoint runs one checkpoint of g to its end. ENOSPC leaves it frozen. The
// caller holds s.disk.
func (s *Store) checkpoint(g *group) error {
	if !g.freeze() {
		g.state.mu.RLock()
		defer g.state.mu.RUnlock()
		return g.state.failed
	}
	s.memory.account(g) // what is frozen still counts
	start := time.Now()
	f := g.freezing
	reader, err := s.writeSegment(g, f)
	if err != nil {
		return fmt.Errorf("checkpoint group %d: %w", g.id, err)
	}
	batch := s.rows.NewBatch()
	defer batch.Close()
	if err = g.state.rows.WriteFrozen(batch); err == nil {
		batch, err = loadSeededBugs().checkpoint(s, g, batch)
	}
	if err == nil {
		f.point.NextSegment = s.nextSegment.Load()
		batch.SetCheckpoint(uint32(g.id), f.point)
		if reader != nil {
			batch.AddSegment(uint32(g.id), reader.Meta().ID, reader.Meta().AppendTo(nil))
		}
		err = batch.Commit()
	}
	if err != nil {
		if reader != nil {
			_ = reader.Release() // never live; only read
		}
		return fmt.Errorf("checkpoint group %d: commit rows: %w", g.id, err)
	}
	s.extendRecent(f)
	g.publish(reader)
	s.memory.account(g)
	s.memory.setLimit()
	s.memory.boundClean(g)
	g.checkpointed.Store(f.point.Applied)
	s.counters.checkpoints.Add(1)
	s.counters.checkpointNanos.Add(uint64(time.Since(start)))
	s.committer.trimSoon()
	s.merger.soon()
	return nil
}

// publish makes the segment live (nil: the memtable was empty) and drops what
// was frozen.
func (g *group) publish(reader *segment.Reader) {
	st := &g.state
	st.mu.Lock()
	defer st.mu.Unlock()
	if reader != nil {
		st.replace(nil, reader)
	}
	st.frozen = layer{}
	st.rows.DropFrozen()
	g.freezing = nil
}

// replace makes a new version. It takes over the caller's reference of one.
func (st *state) replace(old []*segment.Reader, one *segment.Reader) {
	before := st.live
	st.live = newVersion(before.with(old, one))
	if one != nil {
		_ = one.Release() // not the last reference
	}
	before.release()
}

// writeSegment writes what is frozen; nil if no entry is.
func (s *Store) writeSegment(g *group, f *freezing) (*segment.Reader, error) {
	if f.layer.table.Len() == 0 {
		return nil, nil
	}
	w, err := segment.Create(s.segmentConfig(0), segment.Meta{
		ID: f.id, Group: uint32(g.id),
		FirstGeneration: f.layer.generation, LastGeneration: f.layer.generation,
		FirstIndex: f.index, LastIndex: f.point.Applied, Created: s.cfg.Clock(),
	})
	if err != nil {
		return nil, err
	}
	for log, entries := range f.layer.table.All() {
		older := f.layer.olderOf(log)
		for e := range entries {
			if f.erased.has(log, &e) {
				err = w.AddHead(log, e.Seq, older)
			} else {
				err = w.Add(log, older, &e)
			}
			if err != nil {
				w.Abort()
				return nil, err
			}
		}
	}
	meta, err := w.Finish()
	if err != nil {
		w.Abort()
		return nil, err
	}
	s.counters.flushedBytes.Add(uint64(meta.SizeBytes))
	return s.openSegment(meta)
}

func (s *Store) openSegment(meta segment.Meta) (*segment.Reader, error) {
	return segment.Open(s.segmentConfig(meta.Tier), meta, s.blocks)
}

// checkpointDue picks the group to checkpoint next: one that was asked for,
// one whose checkpoint did not end, one that keeps the WAL from shrinking, or,
// when memory is used up, the one that holds most of it.
func (s *Store) checkpointDue() *group {
	for _, g := range s.groups {
		if g.freezing != nil || g.checkpointWanted.Swap(false) {
			return g
		}
	}
	if s.walBeyond(s.cfg.WALBytesMax / 2) {
		for _, g := range s.committer.laggards() {
			if g.ahead() {
				return g
			}
		}
	}
	if s.memory.used() < s.memory.limit.Load() {
		return nil
	}
	var most *group
	for _, g := range s.groups {
		if g.ahead() && (most == nil || g.heldBytes.Load() > most.heldBytes.Load()) {
			most = g
		}
	}
	return most
}

// checkpointTurn runs one checkpoint that is due.
func (s *Store) checkpointTurn() (did bool, err error) {
	s.disk.Lock() // a merge waits
	defer s.disk.Unlock()
	if !s.roomFor(roomOut) {
		return false, nil
	}
	g := s.checkpointDue()
	if g == nil {
		return false, nil
	}
	return true, s.checkpoint(g)
}

// Checkpoint moves everything that is applied now to segments and rows on disk.
// It is never needed for durability: it shortens the next start. It fails when
// the disk is full, and may be called again.
func (s *Store) Checkpoint() error {
	for _, g := range s.groups {
		if err := s.checkpointGroup(g); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) checkpointGroup(g *group) error {
	g.state.mu.RLock()
	index := g.state.index
	g.state.mu.RUnlock()
	for g.checkpointed.Load() < index {
		s.disk.Lock()
		err := s.checkpoint(g)
		s.disk.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
