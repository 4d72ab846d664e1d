package wal

import (
	"errors"
	"sync/atomic"
)

// spare is the next file. At most one goroutine at a time makes it while the
// present file is in use; the log's owner calls every method here.
type spare struct {
	cfg     *Config
	ready   *logFile         // durable and unused, nil if there is none
	err     error            // why the last try in the background gave none
	running chan spareResult // nil while no goroutine runs; holds one result
	stop    atomic.Bool
}

type spareResult struct {
	file *logFile
	err  error
}

// start makes the file after this one in the background.
func (s *spare) start(after *logFile) {
	sequence, sizeBytes := after.sequence+1, s.sizeAfter(after, 0)
	result := make(chan spareResult, 1)
	s.running, s.err = result, nil
	go func() {
		file, err := createFile(s.cfg, sequence, sizeBytes, &s.stop, nil)
		result <- spareResult{file, err}
	}()
}

// poll takes over a file that was finished; it never waits.
func (s *spare) poll() bool {
	select {
	case r := <-s.running:
		s.ready, s.err, s.running = r.file, r.err, nil
		return true
	default:
		return false
	}
}

// take returns the file after this one with room for a frame. It waits for the
// background; a file that is missing or too small is made here and now.
func (s *spare) take(after *logFile, payload int64) (*logFile, error) {
	if s.running != nil {
		r := <-s.running
		s.ready, s.err, s.running = r.file, r.err, nil
	}
	if errors.Is(s.err, ErrSyncFailed) {
		return nil, s.err
	}
	next := s.ready
	if next != nil && next.sizeBytes >= bytesFor(payload, next.blockBytes) {
		return next, nil
	}
	if next != nil {
		s.ready = nil
		if err := next.file.Close(); err != nil {
			return nil, err
		}
	}
	return createFile(s.cfg, after.sequence+1, s.sizeAfter(after, payload), nil, nil)
}

// close ends the goroutine and closes an unused file, which stays for the next Open.
func (s *spare) close() {
	s.stop.Store(true)
	if s.running != nil {
		r := <-s.running
		s.ready, s.running = r.file, nil
	}
	if s.ready != nil {
		_ = s.ready.file.Close() // nothing was written to it
		s.ready = nil
	}
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
