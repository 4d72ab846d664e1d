package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

// The store looks at the free space of its disk once a second and stops taking
// commands while some is left: what was taken can then be finished, reads go on,
// and the write that would fail for lack of space, after which a log or a
// database can't be trusted, does not happen.

// ErrDiskFull: not proposed, no effect: the disk has less room than
// Config.DiskReserveBytes. It goes by itself when there is room again.
var ErrDiskFull = fmt.Errorf("engine: the disk is nearly full: %w", godwit.ErrUnavailable)

const roomEvery = time.Second

// roomState says what may still be written.
type roomState int32

const (
	roomEnough roomState = iota
	roomLow              // no new commands, no merges
	roomOut              // no checkpoints either
)

// lookAtRoom is the turn of a worker.
func (s *Store) lookAtRoom() (bool, error) {
	usage, err := s.cfg.FS.GetDiskUsage(s.cfg.Dir)
	if err != nil {
		if errors.Is(err, vfs.ErrUnsupported) {
			return false, nil // a file system in memory
		}
		s.cfg.Logger.Warn("the free space of the disk is not known", "err", err)
		return false, nil
	}
	reserve := min(uint64(s.cfg.DiskReserveBytes), usage.TotalBytes/20)
	s.avail.Store(int64(usage.AvailBytes) - int64(reserve))
	now := roomEnough
	switch {
	case usage.AvailBytes < reserve/2:
		now = roomOut
	case usage.AvailBytes < reserve:
		now = roomLow
	}
	before := roomState(s.room.Swap(int32(now)))
	switch {
	case now > before:
		s.counters.diskFull.Add(1)
		s.cfg.Logger.Error("the disk is nearly full: sends are refused; free some space",
			"dir", s.cfg.Dir, "available", usage.AvailBytes, "reserve", reserve)
	case now == roomEnough && before != roomEnough:
		s.cfg.Logger.Info("there is room on the disk again", "dir", s.cfg.Dir, "available", usage.AvailBytes)
		s.checkpointer.soon()
		s.merger.soon()
	}
	return false, nil
}

// roomFor reports whether the state of the disk allows work that stops at this.
func (s *Store) roomFor(stopsAt roomState) bool { return roomState(s.room.Load()) < stopsAt }
