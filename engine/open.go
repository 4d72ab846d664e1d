package engine

import (
	"fmt"
	"slices"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine/memtable"
	"github.com/godwit-im/godwit/engine/rows"
	"github.com/godwit-im/godwit/engine/segment"
)

// openCheckpoints opens rows and segments and sets the groups up as their last
// checkpoints left them. The WAL's records come on top.
func (s *Store) openCheckpoints(r *recovery) error {
	fs, dir := s.cfg.FS, s.segmentDir()
	if err := s.mustHaveRows(); err != nil {
		return err
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	if err := syncDir(fs, s.cfg.Dir); err != nil {
		return fmt.Errorf("sync %s: %w", s.cfg.Dir, err)
	}
	var err error
	s.rows, err = rows.Open(rows.Config{
		FS: fs, Dir: fs.PathJoin(s.cfg.Dir, "rows"), CacheBytes: s.cfg.RowCacheBytes, Logger: s.cfg.Logger,
		Fatal: func(err error) { s.loop.fail(err) },
	})
	if err != nil {
		return err
	}
	s.blocks = segment.NewCache(s.cfg.CacheBytes)
	if s.recent, err = memtable.NewRecent(memtable.RecentConfig{
		BytesMax: max(s.cfg.RecentBytes, 0), Conversations: WarmConversations, PerConversation: warmKept,
	}); err != nil {
		return err
	}
	s.nextSegment.Store(1)
	r.live = map[uint64]bool{}
	for i := range s.cfg.Groups {
		if err := s.openGroup(&r.groups[i], i, r.live); err != nil {
			return fmt.Errorf("group %d: %w", i, err)
		}
	}
	s.memory.setLimit()
	return nil
}

// mustHaveRows refuses a directory whose segments nobody can name: their names
// are rows.
func (s *Store) mustHaveRows() error {
	dir := s.cfg.FS.PathJoin(s.cfg.Dir, "rows")
	if names, err := s.cfg.FS.List(dir); err == nil && len(names) > 0 {
		return nil
	}
	names, err := s.cfg.FS.List(s.segmentDir())
	if err != nil {
		return nil // made below
	}
	for _, name := range names {
		if _, temp, ok := segment.ParseFileName(name); ok && !temp {
			return fmt.Errorf("%w: %s is missing or empty, but there are segments", ErrFormat, dir)
		}
	}
	return nil
}

func (s *Store) openGroup(r *recovering, id int, live map[uint64]bool) error {
	g := &group{id: id, state: state{rows: rows.NewOverlay(s.rows, uint32(id))}}
	st := &g.state
	g.tx = Tx{group: id, state: st, segments: &s.nextSegment}
	if s.cfg.CheckReads {
		g.tx.reads = map[string]struct{}{}
	}
	st.live = newVersion(nil)
	s.groups = append(s.groups, g)
	point, _, err := s.rows.Checkpoint(uint32(id))
	if err != nil {
		return err
	}
	segments, err := s.openSegments(g, live)
	if err != nil {
		return err
	}
	st.live.release()
	st.live = newVersion(segments)
	for _, reader := range segments {
		_ = reader.Release() // the version has its own reference
		generation := reader.Meta().LastGeneration
		if generation > point.Generation {
			return fmt.Errorf("%w: segment %s is of generation %d, the checkpoint of %d",
				ErrFormat, segment.FileName(reader.Meta().ID), generation, point.Generation)
		}
		err := reader.Heads(func(log LogID, seq godwit.Seq) error {
			st.heads.Raise(log, seq, generation)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := st.loadErasures(); err != nil {
		return err
	}
	s.nextSegment.Store(max(s.nextSegment.Load(), point.NextSegment))
	st.index, st.term, st.stamp = point.Applied, point.Term, point.Stamp
	st.active = newLayer(point.Generation + 1)
	g.checkpointed.Store(point.Applied)
	r.checkpointed, r.applied, r.appliedTerm = point.Applied, point.Applied, point.Term
	return nil
}

// openSegments opens those of the group's manifest, oldest first.
func (s *Store) openSegments(g *group, live map[uint64]bool) (segments []*segment.Reader, err error) {
	err = s.rows.Segments(uint32(g.id), func(id uint64, raw []byte) error {
		meta, err := segment.ParseMeta(raw)
		if err != nil {
			return err
		}
		if meta.ID != id || meta.Group != uint32(g.id) {
			return fmt.Errorf("%w: the manifest names segment %d of group %d as %d of %d", ErrFormat, meta.ID, meta.Group, id, g.id)
		}
		reader, err := s.openSegment(meta)
		if err != nil {
			return err
		}
		live[id] = true
		s.nextSegment.Store(max(s.nextSegment.Load(), id+1))
		segments = append(segments, reader)
		return nil
	})
	slices.SortFunc(segments, func(a, b *segment.Reader) int {
		return int(int64(a.Meta().FirstGeneration) - int64(b.Meta().FirstGeneration))
	})
	for i := 1; i < len(segments) && err == nil; i++ {
		if a, b := segments[i-1].Meta(), segments[i].Meta(); a.LastGeneration >= b.FirstGeneration {
			err = fmt.Errorf("%w: segments %d and %d overlap", ErrFormat, a.ID, b.ID)
		}
	}
	if err != nil {
		for _, reader := range segments {
			_ = reader.Release() // nothing was written to it
		}
		return nil, err
	}
	return segments, nil
}

// removeOrphans removes what a crash left: segments that were not committed, or
// no longer, and those being written. It comes when the WAL was read, too, so
// that a directory that can't be opened stays as it is.
func (s *Store) removeOrphans(live map[uint64]bool) error {
	if err := s.cfg.FS.RemoveAll(s.cfg.FS.PathJoin(s.cfg.Dir, stagingName)); err != nil {
		return fmt.Errorf("remove what a backup left: %w", err)
	}
	names, err := s.cfg.FS.List(s.segmentDir())
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	for _, name := range names {
		id, temp, ok := segment.ParseFileName(name)
		if !ok || live[id] && !temp {
			continue
		}
		s.nextSegment.Store(max(s.nextSegment.Load(), id+1))
		if err := s.cfg.FS.Remove(s.cfg.FS.PathJoin(s.segmentDir(), name)); err != nil {
			return fmt.Errorf("remove a segment without a name in the manifest: %w", err)
		}
	}
	return nil
}

func (s *Store) segmentDir() string { return s.cfg.FS.PathJoin(s.cfg.Dir, "segments") }

// mergedBlockBytes: what lies long compresses better in larger blocks, and a page
// of it lies in fewer; see docs/formats/segment.md.
const mergedBlockBytes = 32 << 10

// segmentConfig is how segments of a tier are written.
func (s *Store) segmentConfig(tier uint8) segment.Config {
	c := segment.Config{FS: loadSeededBugs().segmentFS(s.cfg.FS), Dir: s.segmentDir(), Codec: segment.CodecZstd}
	if tier > 0 {
		c.BlockBytes = mergedBlockBytes
	}
	if s.cfg.NoCompression {
		c.Codec = segment.CodecNone
	}
	return c
}
