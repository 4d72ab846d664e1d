package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/godwit-im/godwit/engine/wal"
)

// walFiles knows what each file of the WAL is still needed for: the newest raft
// index of each group in it, and where each group's newest hard state stands.
type walFiles struct {
	files []walFile // ascending; the last one is or was written last
	hard  map[uint32]writtenHardState
}

type walFile struct {
	sequence uint64
	newest   map[uint32]uint64 // by group
}

// writtenHardState is a group's newest hard state in the WAL.
type writtenHardState struct {
	file  uint64
	state hardState
}

// note takes a record that was written to, or read from, a file.
func (w *walFiles) note(file uint64, r *wal.Record) {
	if n := len(w.files); n == 0 || w.files[n-1].sequence != file {
		w.files = append(w.files, walFile{sequence: file, newest: map[uint32]uint64{}})
	}
	switch r.Kind {
	case recordEntry:
		newest := w.files[len(w.files)-1].newest
		newest[r.Group] = max(newest[r.Group], r.Index)
	case recordHardState:
		if h, ok := parseHardState(r); ok {
			if w.hard == nil {
				w.hard = map[uint32]writtenHardState{}
			}
			w.hard[r.Group] = writtenHardState{file, h}
		}
	}
}

// releasable returns the newest file of those, from the oldest on, in which every
// group is past its entries, 0 if there is none; never the current one.
func (w *walFiles) releasable(groups []*group, current uint64) (upTo uint64) {
	for _, f := range w.files {
		if f.sequence >= current {
			break
		}
		upTo = f.sequence - 1 // also a file in which nothing was written
		for id, newest := range f.newest {
			if newest > groups[id].checkpointed.Load() {
				return upTo
			}
		}
	}
	return current - 1
}

// laggards returns the groups that keep the oldest file that is kept. Older ones
// may be there: a crash can bring released files back.
func (w *walFiles) laggards(groups []*group) (keep []*group) {
	for _, f := range w.files {
		for _, id := range slices.Sorted(maps.Keys(f.newest)) {
			if f.newest[id] > groups[id].checkpointed.Load() {
				keep = append(keep, groups[id])
			}
		}
		if len(keep) > 0 {
			break
		}
	}
	return keep
}

// hardStatesUpTo appends the newest hard states that stand in files up to this
// one: they have to stand in a newer one before those go.
func (w *walFiles) hardStatesUpTo(file uint64, dst []wal.Record) []wal.Record {
	for _, id := range slices.Sorted(maps.Keys(w.hard)) {
		if h := w.hard[id]; h.file <= file {
			dst = append(dst, h.state.record(id))
		}
	}
	return dst
}

func (w *walFiles) drop(upTo uint64) {
	n := 0
	for n < len(w.files) && w.files[n].sequence <= upTo {
		n++
	}
	w.files = slices.Delete(w.files, 0, n)
}

func (h hardState) record(group uint32) wal.Record {
	return wal.Record{
		Group: group, Kind: recordHardState, Term: h.term, Index: h.commit,
		Payload: binary.LittleEndian.AppendUint64(nil, h.vote),
	}
}

func parseHardState(r *wal.Record) (h hardState, ok bool) {
	if len(r.Payload) != 8 {
		return h, false
	}
	return hardState{term: r.Term, vote: binary.LittleEndian.Uint64(r.Payload), commit: r.Index}, true
}

// trimSoon tells the committer that a group has got further. Any goroutine.
func (c *committer) trimSoon() {
	c.trimming.Store(true)
	wake(c.kick)
}

// beyond reports whether the WAL's files take more than that and some can go:
// a large frame makes a large file. Any goroutine.
func (c *committer) beyond(bytes int64) bool {
	st := c.log.Stats()
	return st.LiveBytes > bytes && st.OldestFile < c.current.Load()
}

// laggards returns the groups that keep the oldest file of the WAL. Any goroutine.
func (c *committer) laggards() []*group {
	c.filesMu.Lock()
	defer c.filesMu.Unlock()
	return c.files.laggards(c.groups)
}

// trim lets go of the files that no group needs, after it has carried over the
// hard states that stand in them: a group that is silent must not forget its
// vote.
func (c *committer) trim() error {
	c.filesMu.Lock()
	upTo := c.files.releasable(c.groups, c.log.File())
	var records []wal.Record
	if upTo > 0 && !c.bugs.forgetHardState() {
		records = c.files.hardStatesUpTo(upTo, nil)
	}
	c.filesMu.Unlock()
	if upTo < c.log.Stats().OldestFile {
		return nil
	}
	if len(records) > 0 {
		if err := c.append(records); err != nil {
			return err
		}
		if err := c.sync(); err != nil {
			return err
		}
	}
	if err := c.log.Release(upTo); errors.Is(err, wal.ErrNoSpace) {
		return nil // with the next checkpoint
	} else if err != nil {
		return fmt.Errorf("release files of the WAL: %w", err)
	}
	c.filesMu.Lock()
	c.files.drop(upTo)
	c.filesMu.Unlock()
	c.current.Store(c.log.File())
	c.freed()
	return nil
}

// walRequest is what the eraser wants of the committer.
type walRequest struct {
	forget bool       // go on in a fresh file; else let go of what can go
	file   uint64     // the answer: the newest file from before, or the oldest now
	failed error      // it had no effect
	done   chan error // capacity 1
}

// forget makes the WAL go on in a fresh file and unlink the older ones instead
// of using them again. It returns the newest of those.
func (c *committer) forget() (last uint64, err error) { return c.ask(true) }

// trimNow lets go of the files that no group needs and returns the oldest one
// that is left.
func (c *committer) trimNow() (oldest uint64, err error) { return c.ask(false) }

func (c *committer) ask(forget bool) (file uint64, err error) {
	r := &walRequest{forget: forget, done: make(chan error, 1)}
	c.filesMu.Lock()
	c.requests = append(c.requests, r)
	c.filesMu.Unlock()
	wake(c.kick)
	select {
	case err := <-r.done:
		return r.file, err
	case <-c.stopped:
		return 0, errStopped
	case <-c.loop.failing:
		return 0, errStopped
	}
}

// serve answers the eraser between frames, and trims when a checkpoint ended.
func (c *committer) serve() error {
	c.filesMu.Lock()
	requests := c.requests
	c.requests = nil
	c.filesMu.Unlock()
	trim := c.trimming.Swap(false)
	for _, r := range requests {
		if r.forget {
			r.file = c.log.File()
			if err := c.log.Forget(); errors.Is(err, wal.ErrNoSpace) {
				r.failed = err
				continue
			} else if err != nil {
				return fmt.Errorf("forget files of the WAL: %w", err)
			}
			if c.log.File() == r.file {
				r.file-- // it held no frame
			}
		}
		trim = trim || !r.forget
	}
	if trim {
		if err := c.trim(); err != nil {
			return err
		}
	}
	for _, r := range requests {
		if !r.forget {
			r.file = c.log.Stats().OldestFile
		}
		r.done <- r.failed
	}
	return nil
}

// opened notes that recovery may have moved the last records on to this file.
func (w *walFiles) opened(file uint64) {
	n := len(w.files)
	if n > 0 && w.files[n-1].sequence < file {
		w.files = append(w.files, walFile{sequence: file, newest: maps.Clone(w.files[n-1].newest)})
	}
}
