package engine

import (
	"errors"
	"syscall"
	"time"

	"github.com/godwit-im/godwit/engine/segment"
	"github.com/godwit-im/godwit/engine/wal"
)

// worker is a goroutine that does what is due when it is told to look.
type worker struct {
	name string
	// turn does one piece of work, if one is due.
	turn func() (did bool, err error)
	kick chan struct{} // capacity 1
	// every, if set, makes it look by itself.
	every time.Duration
	stop  chan struct{} // closed by the owner
}

// diskRetry is how long a worker waits before it tries again what the disk had
// no room for.
const diskRetry = time.Second

// damageRetry is how long work rests that met a damaged segment.
const damageRetry = time.Minute

func newWorker(name string, turn func() (bool, error)) *worker {
	return &worker{name: name, turn: turn, kick: make(chan struct{}, 1), stop: make(chan struct{})}
}

// soon makes the worker look for work. Any goroutine.
func (w *worker) soon() { wake(w.kick) }

// run works until stop is closed. A full disk is waited for, damage in a segment
// is reported: what reads it fails, all else goes on. Any other failure ends the
// store.
func (w *worker) run(s *Store) {
	retry := time.NewTimer(w.every)
	defer retry.Stop()
	for {
		select {
		case <-w.kick:
		case <-retry.C:
		case <-w.stop:
			return
		}
		err := w.work()
		switch {
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, ErrDiskFull):
			s.counters.diskFull.Add(1)
			s.cfg.Logger.Error("the disk is full; free some space, it is tried again every second", "work", w.name, "err", err)
			retry.Reset(diskRetry)
		case errors.Is(err, segment.ErrCorrupt):
			s.counters.damaged.Add(1)
			s.cfg.Logger.Error("a segment is damaged; restore a backup of it or accept its loss", "work", w.name, "err", err)
			retry.Reset(damageRetry)
		case errors.Is(err, wal.ErrRename):
			s.cfg.Logger.Error("a file of the write-ahead log can't be renamed; it is tried again", "work", w.name, "err", err)
			retry.Reset(damageRetry)
		case errors.Is(err, errStopped), err == nil && w.every == 0:
		case err == nil:
			retry.Reset(w.every)
		case err != nil:
			s.loop.fail(err)
			return
		}
	}
}

// work takes turns until nothing is due or the worker is to stop.
func (w *worker) work() error {
	for {
		select {
		case <-w.stop:
			return nil
		default:
		}
		if did, err := w.turn(); err != nil || !did {
			return err
		}
	}
}
