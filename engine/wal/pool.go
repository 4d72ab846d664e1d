package wal

import (
	"errors"
	"fmt"
	"slices"
)

// task is one step of the spare's goroutine.
type task int

const (
	taskNone    task = iota
	taskRecycle      // make the spare of a file of the pool
	taskRetire       // take the name of the first released file
	taskCreate       // make the spare of nothing
	taskUnlink       // remove one file of the trash
)

// kick starts the goroutine if there is work and it does not run; mu is held.
func (s *spare) kick() {
	if s.running || s.next() == taskNone {
		return
	}
	s.running = true
	s.group.Go(s.work)
}

// work runs in the background until nothing is left to do.
func (s *spare) work() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		t := s.next()
		if t == taskNone {
			s.running = false
			return
		}
		if err := s.run(t); errors.Is(err, ErrSyncFailed) {
			s.fatal, s.wanted = err, false
		} else if err != nil && !errors.Is(err, errStopped) {
			s.cfg.Logger.Warn("wal: file work in the background failed", "error", err)
		}
		s.changed.Store(true)
		s.done.Broadcast()
	}
}

// next chooses: what the commits may wait for first, then what is quick, unlinking
// last, as it may take long for a large file. mu is held.
func (s *spare) next() task {
	switch {
	case s.fatal != nil:
		return taskNone
	case s.wanted && s.fitting() >= 0:
		return taskRecycle
	case len(s.released) > 0 && !s.blocked:
		return taskRetire
	case s.wanted:
		return taskCreate
	case len(s.trash) > 0:
		return taskUnlink
	}
	return taskNone
}

// run does one step. mu is held when it begins and ends, not while it does I/O.
func (s *spare) run(t task) error {
	switch t {
	case taskRetire:
		return s.retire()
	case taskUnlink:
		return s.unlink()
	}
	var from pooledFile
	if t == taskRecycle {
		i := s.fitting()
		from = s.pool[i]
		s.pool = slices.Delete(s.pool, i, i+1)
		s.poolBytes.Add(-from.sizeBytes)
	}
	sequence, sizeBytes := s.sequence, s.sizeBytes
	s.wanted, s.making = false, true
	s.mu.Unlock()
	var file *logFile
	var err error
	if t == taskRecycle {
		file, err = recycleFile(s.cfg, from, sequence)
	} else {
		file, err = createFile(s.cfg, sequence, sizeBytes, &s.stop, nil)
	}
	s.mu.Lock()
	s.making, s.made = false, file
	if t == taskRecycle && err == nil {
		s.recycled.Add(1)
	} else if t == taskRecycle && !errors.Is(err, ErrSyncFailed) {
		s.trash = append(s.trash, from.name) // its state is unknown
		s.wanted = !s.closing
	}
	return err
}

// fitting is the first pooled file that is large enough for the spare, or -1.
func (s *spare) fitting() int {
	return slices.IndexFunc(s.pool, func(f pooledFile) bool { return f.sizeBytes >= s.sizeBytes })
}

// retire takes the name of the oldest released file, durably before the next one
// loses its own (no gap among the names) and before its header changes. Then the
// file goes to the pool, or to the trash if it is too much, smaller than what is
// wanted from now on, or may not be used again.
func (s *spare) retire() error {
	name := fileName(s.released[0].sequence)
	pooled := name + poolSuffix
	s.mu.Unlock()
	err := s.cfg.FS.Rename(s.cfg.FS.PathJoin(s.cfg.Dir, name), s.cfg.FS.PathJoin(s.cfg.Dir, pooled))
	if err != nil {
		err = fmt.Errorf("wal: rename %s: %w", name, err)
	} else {
		err = syncDir(s.cfg.FS, s.cfg.Dir)
	}
	s.mu.Lock()
	if err != nil {
		s.blocked = true
		return err
	}
	f := s.released[0] // Forget may have marked it meanwhile
	s.released = slices.Delete(s.released, 0, 1)
	if f.forget || s.closing || f.sizeBytes < s.sizeBytes || s.poolBytes.Load()+f.sizeBytes > s.cfg.PoolBytesMax {
		s.trash = append(s.trash, pooled)
		return nil
	}
	s.pool = append(s.pool, pooledFile{pooled, f.sizeBytes})
	s.poolBytes.Add(f.sizeBytes)
	return nil
}

// unlink removes one file. If that fails, the next Open tries again.
func (s *spare) unlink() error {
	name := s.trash[0]
	s.trash = slices.Delete(s.trash, 0, 1)
	s.mu.Unlock()
	defer s.mu.Lock()
	if err := s.cfg.FS.Remove(s.cfg.FS.PathJoin(s.cfg.Dir, name)); err != nil {
		return fmt.Errorf("wal: remove %s: %w", name, err)
	}
	return nil
}

// recycleFile makes a file of the pool the file of this sequence: a new header,
// durable under the old name, then the new name. Frames of its former life stay
// and carry the old id. Its size stays, too.
func recycleFile(c *Config, from pooledFile, sequence uint64) (*logFile, error) {
	f := &logFile{
		fileHeader: fileHeader{id: c.FileID(), sequence: sequence, sizeBytes: from.sizeBytes, blockBytes: c.BlockBytes},
		name:       fileName(sequence),
		used:       true,
	}
	pooled := c.FS.PathJoin(c.Dir, from.name)
	var err error
	if f.file, err = c.FS.OpenReadWrite(pooled, diskCategory); err != nil {
		return nil, fmt.Errorf("wal: open %s: %w", from.name, err)
	}
	if err = f.writeAt(f.appendTo(make([]byte, 0, c.BlockBytes))[:c.BlockBytes], 0); err == nil {
		err = f.sync(f.file.Sync)
	}
	if err == nil {
		err = f.takeName(c, pooled)
	}
	if err != nil {
		_ = f.file.Close()
		return nil, err
	}
	return f, nil
}
