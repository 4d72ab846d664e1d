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
