package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine/segment"
)

// The eraser takes from the disk what a batch erased. Marks gather until the
// oldest is half of Config.EraseWithin old, so that one pass serves many:
//
//	forget     the WAL goes on in a fresh file; older ones will not be recycled
//	checkpoint all groups, so that those files go; what is erased is left out
//	rewrite    each segment that is older than a mark and may hold its log
//	drop       the marks that were there when the pass began
//
// A crash in between leaves the marks, and the pass begins anew.

// eraseEvery is how often the eraser looks for marks that are due.
const eraseEvery = time.Second

// eraseTurn runs one pass if a mark is due.
func (s *Store) eraseTurn() (did bool, err error) {
	now := s.cfg.Clock()
	due := false
	if !s.roomFor(roomLow) {
		return false, nil
	}
	for _, g := range s.groups {
		if oldest := g.oldestErasure(); oldest != 0 && now-oldest >= s.cfg.EraseWithin.Milliseconds()/2 {
			due = true
		}
	}
	if !due {
		return false, nil
	}
	return true, s.EraseNow()
}

// oldestErasure is the stamp of the group's oldest mark, 0 if it has none.
func (g *group) oldestErasure() (stamp int64) {
	g.state.mu.RLock()
	e := g.state.erased
	g.state.mu.RUnlock()
	if e == nil {
		return 0
	}
	older := func(m eraseMark) {
		if stamp == 0 || m.stamp < stamp {
			stamp = max(m.stamp, 1)
		}
	}
	for _, m := range e.marks {
		older(m)
	}
	if e.expiredMark.before != 0 {
		older(e.expiredMark)
	}
	return stamp
}

// EraseNow takes from the disk all that was erased before the call, without
// waiting for the deadline.
func (s *Store) EraseNow() error {
	s.erasing.Lock()
	defer s.erasing.Unlock()
	if !s.roomFor(roomLow) {
		return ErrDiskFull
	}
	var passes []*erasures
	any := false
	for _, g := range s.groups {
		g.state.mu.RLock()
		passes = append(passes, g.state.erased)
		g.state.mu.RUnlock()
		any = any || passes[len(passes)-1].pending()
	}
	if !any {
		return nil
	}
	last, err := s.committer.forget()
	if err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	// What was written to those files and not applied then takes another turn, and
	// they are unlinked in the background.
	for gone := false; !gone; runtime.Gosched() {
		if err := s.Checkpoint(); err != nil {
			return fmt.Errorf("erase: %w", err)
		}
		oldest, err := s.committer.trimNow()
		if err == nil && oldest > last {
			gone, err = s.log.Unlinked()
		}
		if err != nil {
			return fmt.Errorf("erase: %w", err)
		}
	}
	for i, g := range s.groups {
		if !passes[i].pending() {
			continue
		}
		if loadSeededBugs().marksFirst() {
			if err := s.dropMarks(g, passes[i]); err != nil {
				return err
			}
		}
		if err := s.eraseSegments(g, passes[i]); err != nil {
			return fmt.Errorf("erase: %w", err)
		}
	}
	for i, g := range s.groups {
		if passes[i] != nil {
			if err := s.dropMarks(g, passes[i]); err != nil {
				return fmt.Errorf("erase: %w", err)
			}
		}
	}
	s.counters.erasures.Add(1)
	return nil
}

// pending reports whether something of it may still be on disk.
func (e *erasures) pending() bool {
	return e != nil && (len(e.marks) > 0 || e.expiredMark.before != 0)
}

// eraseSegments rewrites what may hold something of pass, one by one.
func (s *Store) eraseSegments(g *group, pass *erasures) error {
	for {
		s.merging.Lock() // segments do not change under the pass
		g.state.mu.RLock()
		v := g.state.live
		v.acquire()
		g.state.mu.RUnlock()
		var err error
		found := false
		for _, r := range v.segments {
			if pass.mayHold(r) {
				found = true
				meta := *r.Meta()
				meta.ID, meta.Created = s.nextSegment.Add(1)-1, s.cfg.Clock()
				err = s.rewrite(g, []*segment.Reader{r}, meta)
				break
			}
		}
		v.release()
		s.merging.Unlock()
		if err != nil || !found {
			return err
		}
	}
}

// mayHold reports whether a segment was begun before something in it was erased.
func (e *erasures) mayHold(r *segment.Reader) bool {
	m := r.Meta()
	if m.Entries == 0 {
		return false
	}
	if m.ID < e.expiredMark.before && m.MinTime < e.expired {
		return true
	}
	for key, mark := range e.marks {
		if m.ID < mark.before && r.MayContain(key.log) {
			return true
		}
	}
	return false
}

// dropMarks forgets the marks of pass that have not grown since: nothing on
// disk is left of them. The time before which all is expired stays, its mark
// goes.
func (s *Store) dropMarks(g *group, pass *erasures) error {
	s.disk.Lock() // a checkpoint could write a newer mark before the batch deletes its row
	defer s.disk.Unlock()
	for key := range pass.marks {
		s.recent.Drop(key.log)
	}
	batch := s.rows.NewBatch()
	defer batch.Close()
	st := &g.state
	st.mu.Lock()
	left := st.erased.clone()
	for key, mark := range pass.marks {
		if left.marks[key] == mark {
			delete(left.marks, key)
			batch.Delete(uint32(g.id), key.row())
		}
	}
	if left.expiredMark == pass.expiredMark && left.expired != 0 {
		left.expiredMark = eraseMark{stamp: left.expiredMark.stamp}
		batch.Put(uint32(g.id), expiredRow(), left.expiredMark.append(binary.BigEndian.AppendUint64(nil, uint64(left.expired))))
	}
	if len(left.marks) == 0 && left.expired == 0 {
		left = nil
	}
	st.erased = left
	st.mu.Unlock()
	if err := batch.Commit(); err != nil && !errors.Is(err, errStopped) {
		return fmt.Errorf("forget marks of group %d: %w", g.id, err)
	}
	return nil
}

// Keep finds up to where to erase a conversation of which count entries, and
// those from a time on (ms since the Unix epoch), shall stay: the newest entry
// that is beyond either bound, 0 if none is. A bound of 0 does not count.
func (v *View) Keep(log LogID, conv uint32, newest godwit.Seq, count int, since int64) godwit.Seq {
	v.touch(log)
	seq := min(newest, v.walk.head)
	for n := 0; seq != 0; n++ {
		e, ok := v.find(seq)
		if !ok || e.Conv != conv || v.erased.has(log, &e) {
			return 0
		}
		if count > 0 && n >= count || e.Time < since {
			return seq
		}
		seq = e.Prev
	}
	return 0
}
