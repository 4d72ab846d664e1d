package wal

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt: the log is damaged where it was known to be synced. Open
	// changed nothing and gives no log.
	ErrCorrupt = errors.New("wal: corrupt")
	// ErrVersion: a file was written by a newer version of this program.
	ErrVersion = errors.New("wal: unknown format version")
	// ErrTooLarge: the records need a frame over Config.FrameBytesMax. No effect.
	ErrTooLarge = errors.New("wal: frame too large")
	// ErrSyncFailed: an fsync failed. What was not synced before is lost or not,
	// nobody can tell; the log is dead and the process must stop.
	ErrSyncFailed = errors.New("wal: fsync failed")
	// ErrWriteFailed: a write failed half-way. The log is dead like after ErrSyncFailed.
	ErrWriteFailed = errors.New("wal: write failed")
	// ErrNoSpace: the disk has no room for the next file. No effect: try again when
	// there is.
	ErrNoSpace = errors.New("wal: no room for the next file")
	// ErrRename: a released file could not be renamed. The next Release tries again.
	ErrRename = errors.New("wal: a released file can't be renamed")
	// ErrClosed: the log was closed. No effect.
	ErrClosed = errors.New("wal: closed")
)

// errStopped ends a pre-write because the log closes; nobody outside sees it.
var errStopped = errors.New("wal: pre-write stopped")

const corruptAdvice = "Do not delete or edit it: acknowledged records are at stake. " +
	"Keep a copy of the directory, check the disk, then rebuild this node from its peers or a backup"

// corrupt returns ErrCorrupt with the place, the cause and what to do. lsn is
// the frame that should have been there, 0 if that is not known.
func corrupt(name string, offset int64, lsn uint64, cause string) error {
	frame := ""
	if lsn != 0 {
		frame = fmt.Sprintf(", frame %d", lsn)
	}
	return fmt.Errorf("%w: file %s, byte %d%s: %s. %s", ErrCorrupt, name, offset, frame, cause, corruptAdvice)
}
