package engine

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit/engine/segment"
)

// The scrub reads every live segment again at a bounded rate, so that damage on
// disk is found while there is still a backup without it. Readers do not depend
// on it: every block they read is checked. A segment is due Config.ScrubEvery
// after it was written or last read whole.
type scrub struct {
	mu      sync.Mutex
	loaded  bool
	checked map[uint64]int64 // by segment: ms since the Unix epoch
	corrupt map[uint64]bool  // live segments found damaged
	saved   int64            // when checked was written last
}

const (
	// scrubEvery is how often the scrubber looks for segments that are due.
	scrubEvery = time.Minute
	scrubName  = "SCRUB"
	// scrubSaveMS bounds how much is read again after a crash.
	scrubSaveMS      = 60_000
	scrubBytesMax    = 16 << 20
	scrubFileVersion = 1
)

// scrubFile is what SCRUB holds: when segments were read whole. It is only a
// hint: without it the scrub takes segments as of when they were written.
type scrubFile struct {
	Version int              `json:"version"`
	Checked map[uint64]int64 `json:"checked"`
}

// scrubTurn verifies one segment if one is due.
func (s *Store) scrubTurn() (did bool, err error) {
	if s.cfg.ScrubBytesPerSecond < 0 {
		return false, nil
	}
	s.scrub.load(s)
	g, r, at := s.scrubDue()
	if r == nil {
		s.scrub.save(s, scrubSaveMS)
		return false, nil
	}
	defer r.Release() //nolint:errcheck // was read
	if at+s.cfg.ScrubEvery.Milliseconds() > s.cfg.Clock() {
		s.scrub.save(s, scrubSaveMS)
		return false, nil
	}
	ctx, end := untilStopped(context.Background(), s.scrubber.stop)
	defer end()
	err = r.Verify(ctx, s.cfg.ScrubBytesPerSecond)
	if ctx.Err() != nil {
		s.scrub.save(s, 0)
		return false, errStopped
	}
	m := r.Meta()
	s.counters.scrubbedBytes.Add(uint64(m.SizeBytes))
	s.counters.scrubbed.Add(1)
	if err != nil {
		s.cfg.Logger.Error("a segment is damaged: what is damaged in it will not be served; keep the file, restore it from a backup with a copy of the same SHA-256",
			"group", g.id, "segment", m.ID, "file", s.cfg.FS.PathJoin(s.segmentDir(), segment.FileName(m.ID)), "err", err)
	}
	s.scrub.note(m.ID, s.cfg.Clock(), err != nil)
	s.scrub.save(s, scrubSaveMS)
	return true, nil
}

// scrubDue acquires the live segment that was read whole the longest time ago,
// and forgets those that are gone.
func (s *Store) scrubDue() (oldestGroup *group, oldest *segment.Reader, at int64) {
	live := map[uint64]bool{}
	at = math.MaxInt64
	for _, g := range s.groups {
		g.state.mu.RLock()
		for _, r := range g.state.live.segments {
			live[r.Meta().ID] = true
			if t := s.scrub.at(r.Meta()); t < at {
				if oldest != nil {
					_ = oldest.Release() // was read
				}
				r.Acquire()
				oldestGroup, oldest, at = g, r, t
			}
		}
		g.state.mu.RUnlock()
	}
	s.scrub.forget(live)
	return oldestGroup, oldest, at
}

// at is when a segment was known to be whole.
func (c *scrub) at(m *segment.Meta) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(m.Created, c.checked[m.ID])
}

func (c *scrub) note(id uint64, now int64, damaged bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checked[id] = now
	delete(c.corrupt, id)
	if damaged {
		c.corrupt[id] = true
	}
}

func (c *scrub) forget(live map[uint64]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.checked {
		if !live[id] {
			delete(c.checked, id)
			delete(c.corrupt, id)
		}
	}
}

// corruptNow counts the live segments found damaged.
func (c *scrub) corruptNow() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(len(c.corrupt))
}

// load reads SCRUB once.
func (c *scrub) load(s *Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded {
		return
	}
	c.loaded, c.checked, c.corrupt = true, map[uint64]int64{}, map[uint64]bool{}
	raw, err := readAll(s.cfg.FS, s.cfg.FS.PathJoin(s.cfg.Dir, scrubName), scrubBytesMax)
	var f scrubFile
	if err == nil && json.Unmarshal(raw, &f) == nil && f.Version == scrubFileVersion {
		now := s.cfg.Clock()
		for id, at := range f.Checked {
			c.checked[id] = min(at, now) // a clock that was ahead must not stop the scrub
		}
	}
}

// save writes SCRUB unless that was done in the last so many ms. A failure costs
// a segment read again.
func (c *scrub) save(s *Store, everyMS int64) {
	c.mu.Lock()
	now := s.cfg.Clock()
	if !c.loaded || len(c.checked) == 0 || now-c.saved < everyMS && c.saved <= now {
		c.mu.Unlock()
		return
	}
	c.saved = now
	raw, err := json.Marshal(scrubFile{Version: scrubFileVersion, Checked: c.checked})
	c.mu.Unlock()
	fs, path := s.cfg.FS, s.cfg.FS.PathJoin(s.cfg.Dir, scrubName)
	if err == nil {
		err = replaceHint(fs, path, raw)
	}
	if err != nil {
		s.cfg.Logger.Warn("the scrub's progress was not saved", "err", err)
	}
}

// replaceHint replaces a file that may be lost.
func replaceHint(fs vfs.FS, path string, data []byte) error {
	f, err := fs.Create(path+".tmp", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return fs.Rename(path+".tmp", path)
}
