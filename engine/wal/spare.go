package wal

import (
	"slices"
	"sync"
	"sync/atomic"
)

// spare is the next file, made ahead while the present one is in use, and what
// released files become: a bounded pool the next spare is taken from, or nothing.
//
// The log's owner calls the methods; one goroutine at a time does the work. It
// runs while there is some and is started by what asks for it.
type spare struct {
	cfg *Config

	// The owner's.
	ready   *logFile // durable and unused, nil if there is none
	changed atomic.Bool
	stop    atomic.Bool // ends the zero-writing under way
	group   sync.WaitGroup

	// For Stats.
	poolBytes atomic.Int64
	recycled  atomic.Uint64

	mu      sync.Mutex
	done    sync.Cond // something below was finished
	running bool      // the goroutine runs
	closing bool      // no more files are made
	fatal   error     // a failed fsync; final, nothing is done any more

	wanted    bool // a spare is to be made
	making    bool // it is being made
	sequence  uint64
	sizeBytes int64    // at least
	made      *logFile // what came of it, for poll

	// Both are bounded by the number of files. released: those that still have
	// their names, ascending. blocked: the first could not be renamed; the next
	// Release tries again. trash: names of files to unlink.
	released []releasedFile
	blocked  bool
	trash    []string
	pool     []pooledFile // bounded by Config.PoolBytesMax; what is too much is trash
}

// releasedFile is a file the log durably does without.
type releasedFile struct {
	sequence  uint64
	sizeBytes int64
	forget    bool // it may not be used again
}

// pooledFile waits under its pool name. It may become the next spare.
type pooledFile struct {
	name      string
	sizeBytes int64
}

func (s *spare) init(c *Config) {
	s.cfg = c
	s.done.L = &s.mu
}

// start has the file after this one made in the background.
func (s *spare) start(after *logFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted, s.sequence, s.sizeBytes = true, after.sequence+1, s.sizeAfter(after, 0)
	s.pool = slices.DeleteFunc(s.pool, func(f pooledFile) bool {
		if f.sizeBytes >= s.sizeBytes {
			return false
		}
		s.trash = append(s.trash, f.name)
		s.poolBytes.Add(-f.sizeBytes)
		return true
	})
	s.kick()
}

// poll takes over a file that was finished. It never waits. The error is final.
func (s *spare) poll() error {
	if !s.changed.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.collect()
}

// collect is poll with mu held.
func (s *spare) collect() error {
	s.changed.Store(false)
	if s.made != nil {
		s.ready, s.made = s.made, nil
	}
	return s.fatal
}

// take returns the file after this one with room for a frame. It waits for the
// background; a file that is missing or too small is made here and now.
func (s *spare) take(after *logFile, payload int64) (*logFile, error) {
	if err := s.finish(); err != nil {
		return nil, err
	}
	if s.ready != nil && s.ready.sizeBytes >= bytesFor(payload, s.ready.blockBytes) {
		return s.ready, nil
	}
	if err := s.discard(); err != nil {
		return nil, err
	}
	return createFile(s.cfg, after.sequence+1, s.sizeAfter(after, payload), nil, nil)
}

// takeFresh returns a file after this one that never held anything but zeros,
// and has the bytes of all released files unlinked. It waits for no zero-writing
// but that of a file of the first size.
func (s *spare) takeFresh(after *logFile) (*logFile, error) {
	s.stop.Store(true)
	err := s.finish()
	s.stop.Store(false)
	s.forget()
	if err != nil || s.ready != nil && !s.ready.used {
		return s.ready, err
	}
	if err := s.discard(); err != nil {
		return nil, err
	}
	return createFile(s.cfg, after.sequence+1, s.cfg.FirstFileBytes, nil, nil)
}

// finish waits for the spare under way.
func (s *spare) finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.wanted || s.making {
		s.done.Wait()
	}
	return s.collect()
}

// discard gives up an unused file; another one will replace its name.
func (s *spare) discard() error {
	f := s.ready
	if f == nil {
		return nil
	}
	s.ready = nil
	return f.file.Close()
}

// release takes files that the log durably does without, in ascending order.
func (s *spare) release(files []releasedFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = append(s.released, files...)
	s.blocked = false
	s.kick()
}

// idle reports whether nothing is left to do with released files.
func (s *spare) idle() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.fatal != nil:
		return false, s.fatal
	case s.blocked:
		return false, ErrRename
	}
	return !s.running && len(s.released) == 0 && len(s.trash) == 0, nil
}

// forget has everything released so far unlinked.
func (s *spare) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.released {
		s.released[i].forget = true
	}
	for _, f := range s.pool {
		s.trash = append(s.trash, f.name)
	}
	s.pool = nil
	s.poolBytes.Store(0)
	s.kick()
}

// close gives released files their last way, ends the goroutine and closes an
// unused file, which stays for the next Open. So does the pool, to be removed.
func (s *spare) close() error {
	s.stop.Store(true)
	s.mu.Lock()
	s.closing, s.wanted = true, false
	s.mu.Unlock()
	s.group.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.collect()
	if closeErr := s.discard(); closeErr != nil && err == nil {
		err = closeErr // nothing was written to it
	}
	return err
}

// sizeAfter doubles the size of a file up to the maximum, or more for a frame.
func (s *spare) sizeAfter(after *logFile, payload int64) int64 {
	size := min(max(2*after.sizeBytes, s.cfg.FirstFileBytes), s.cfg.MaxFileBytes)
	size &^= s.cfg.BlockBytes - 1
	return max(size, bytesFor(payload, s.cfg.BlockBytes))
}

// bytesFor is the size of a file with room for one frame: header, frame, seal
// and, because the format wants it, at least fileBlocksMin blocks.
func bytesFor(payload, blockBytes int64) int64 {
	return max(frameBytes(payload, blockBytes)+2*blockBytes, fileBlocksMin*blockBytes)
}
