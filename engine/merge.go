package engine

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/godwit-im/godwit/engine/segment"
)

// Merging keeps a user's entries in few segments. It is tiered and lazy: when
// mergeFanIn neighbours of one tier stand side by side they become one segment
// of the next tier, so an entry is rewritten once per tier.
const (
	mergeFanIn = 4
	// tierMax ends it: segments of the last tier stay.
	tierMax = 8
)

// merging is a merge that is due: neighbours of one group, oldest first. The
// version is pinned for it.
type merging struct {
	group   *group
	sources []*segment.Reader
	version *version
	tier    uint8
}

// mergeDue picks the smallest merge that is due.
func (s *Store) mergeDue() *merging {
	var best *merging
	for _, g := range s.groups {
		g.state.mu.RLock()
		v := g.state.live
		v.acquire()
		g.state.mu.RUnlock()
		at, tier := mergeable(v.segments, s.damaged)
		if at < 0 || best != nil && best.tier <= tier {
			v.release()
			continue
		}
		if best != nil {
			best.version.release()
		}
		best = &merging{group: g, version: v, tier: tier, sources: v.segments[at : at+mergeFanIn]}
	}
	return best
}

// mergeable returns the oldest run of mergeFanIn neighbours of the lowest tier
// that has one, -1 if none has. Damaged ones are left alone.
func mergeable(segments []*segment.Reader, damaged map[uint64]bool) (at int, tier uint8) {
	at, tier = -1, tierMax
	for i, n := 0, 0; i < len(segments); i++ {
		if damaged[segments[i].Meta().ID] {
			n = 0
			continue
		}
		if n > 0 && segments[i].Meta().Tier == segments[i-1].Meta().Tier {
			n++
		} else {
			n = 1
		}
		if t := segments[i].Meta().Tier; n >= mergeFanIn && t < tier {
			at, tier, n = i-mergeFanIn+1, t, 0
		}
	}
	return at, tier
}

// mergeTurn runs one merge that is due.
func (s *Store) mergeTurn() (did bool, err error) {
	s.merging.Lock()
	defer s.merging.Unlock()
	if !s.roomFor(roomLow) {
		return false, nil
	}
	m := s.mergeDue()
	if m == nil {
		return false, nil
	}
	defer m.version.release()
	size := int64(0)
	for _, r := range m.sources {
		size += r.Meta().SizeBytes
	}
	if avail := s.avail.Load(); avail != 0 && size > avail {
		return false, nil // it would take the reserve
	}
	if err = s.merge(m); errors.Is(err, segment.ErrCorrupt) {
		s.leaveDamaged(m.sources)
	}
	return true, err
}

// leaveDamaged finds which of the sources can't be read. If none is found, all
// are left alone.
func (s *Store) leaveDamaged(sources []*segment.Reader) {
	if s.damaged == nil {
		s.damaged = map[uint64]bool{}
	}
	found := false
	for _, r := range sources {
		if err := r.Verify(context.Background(), 0); errors.Is(err, segment.ErrCorrupt) {
			s.damaged[r.Meta().ID] = true
			found = true
		}
	}
	for _, r := range sources {
		if !found {
			s.damaged[r.Meta().ID] = true
		}
	}
}

// yield lets checkpoints go first: commits wait for memory that only they free.
// It also ends a merge when the store closes.
func (s *Store) yield(int) error {
	s.disk.Lock()
	//lint:ignore SA2001 passing the lock is the point
	s.disk.Unlock()
	select {
	case <-s.merger.stop:
		return errStopped
	default:
	}
	if !s.roomFor(roomLow) {
		return fmt.Errorf("merge: %w", syscall.ENOSPC) // given up before the disk is full
	}
	return nil
}

// errStopped: background work was given up because the store closes.
var errStopped = errors.New("engine: the store closes")

// merge replaces the sources by one segment.
func (s *Store) merge(m *merging) error {
	first, last := m.sources[0].Meta(), m.sources[len(m.sources)-1].Meta()
	meta := segment.Meta{
		ID: s.nextSegment.Add(1) - 1, Group: uint32(m.group.id), Tier: m.tier + 1,
		FirstGeneration: first.FirstGeneration, LastGeneration: last.LastGeneration,
		FirstIndex: first.FirstIndex, LastIndex: last.LastIndex, Created: s.cfg.Clock(),
	}
	return s.rewrite(m.group, m.sources, meta)
}

// rewrite replaces neighbouring segments by one without what is erased. The
// caller holds s.merging and took the new segment's id before.
func (s *Store) rewrite(g *group, sources []*segment.Reader, meta segment.Meta) error {
	g.state.mu.RLock()
	erased := g.state.erased
	g.state.mu.RUnlock()
	bugs := loadSeededBugs()
	var keep func(LogID, *Entry) bool
	if erased != nil {
		keep = func(log LogID, e *Entry) bool { return !erased.has(log, e) }
	}
	meta, err := segment.Merge(s.segmentConfig(meta.Tier), meta, bugs.mergeSources(sources), keep, s.yield)
	if err != nil {
		return fmt.Errorf("merge %d segments of group %d: %w", len(sources), g.id, err)
	}
	reader, err := s.openSegment(meta)
	if err != nil {
		return err
	}
	batch := s.rows.NewBatch()
	defer batch.Close()
	batch.AddSegment(uint32(g.id), meta.ID, meta.AppendTo(nil))
	for _, old := range sources {
		batch.RemoveSegment(uint32(g.id), old.Meta().ID)
	}
	bugs.beforeMergeCommit(s, sources)
	if err := batch.Commit(); err != nil {
		_ = reader.Release()
		return fmt.Errorf("merge %d segments of group %d: commit: %w", len(sources), g.id, err)
	}
	g.state.mu.Lock()
	g.state.replace(sources, reader)
	g.state.mu.Unlock()
	for _, old := range sources {
		old.Obsolete()
	}
	s.counters.merges.Add(1)
	s.counters.mergedBytes.Add(uint64(meta.SizeBytes))
	return nil
}
