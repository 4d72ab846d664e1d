//go:build seededbugs

package engine

import "os"

// seededBugs are planted faults that the tests must catch, switched on by the
// environment variable GODWIT_SEEDED_BUG, read once by Open.
type seededBugs struct{ name string }

func loadSeededBugs() seededBugs { return seededBugs{name: os.Getenv("GODWIT_SEEDED_BUG")} }

// ackBeforeWALWrite: storage answers before the frame is written, and the write
// waits until a few frames have gathered or the log is idle.
func (b seededBugs) ackBeforeWALWrite() bool { return b.name == "ack-before-wal-write" }

// ackBeforeFsync: storage answers after the write; the sync comes with a later
// frame or when the log is idle.
func (b seededBugs) ackBeforeFsync() bool { return b.name == "ack-before-fsync" }

// forgetHardState: files of the WAL go with the only record of a group's vote.
func (b seededBugs) forgetHardState() bool { return b.name == "forget-hard-state" }

// appliedApart: a checkpoint's index is committed after its rows, not with them.
func (b seededBugs) appliedApart() bool { return b.name == "applied-apart" }

// rowsAhead: a checkpoint's rows are those of now, not those of its index.
func (b seededBugs) rowsAhead() bool { return b.name == "rows-ahead" }
