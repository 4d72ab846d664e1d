//go:build seededbugs

package engine

import (
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit/engine/rows"
	"github.com/godwit-im/godwit/engine/segment"
)

// seededBugs are planted faults that the tests must catch; one of them is
// switched on by the environment variable GODWIT_SEEDED_BUG.
type seededBugs struct{}

var seededBug = os.Getenv("GODWIT_SEEDED_BUG")

func loadSeededBugs() seededBugs { return seededBugs{} }

// seededBugNames are all of them.
var seededBugNames = []string{
	"ack-before-fsync", "ack-before-wal-write", "forget-hard-state", "applied-apart", "rows-ahead",
	"segment-unsynced", "release-before-commit", "marks-first", "segment-removed-early",
	"merge-loses-newest", "generation-off-by-one",
}

// ackBeforeWALWrite: storage answers before the frame is written, and the write
// waits until a few frames have gathered or the log is idle.
func (seededBugs) ackBeforeWALWrite() bool { return seededBug == "ack-before-wal-write" }

// ackBeforeFsync: storage answers after the write; the sync comes with a later
// frame or when the log is idle.
func (seededBugs) ackBeforeFsync() bool { return seededBug == "ack-before-fsync" }

// forgetHardState: files of the WAL go with the only record of a group's vote.
func (seededBugs) forgetHardState() bool { return seededBug == "forget-hard-state" }

// marksFirst: what is erased is forgotten before it is taken from the segments.
func (seededBugs) marksFirst() bool { return seededBug == "marks-first" }

// checkpoint spoils the batch of a checkpoint, which holds its rows so far.
func (seededBugs) checkpoint(s *Store, g *group, b *rows.Batch) (*rows.Batch, error) {
	switch seededBug {
	case "applied-apart": // the index is committed after its rows, not with them
		return s.rows.NewBatch(), b.Commit()
	case "rows-ahead": // the rows are those of now, not those of the index
		g.state.mu.RLock()
		defer g.state.mu.RUnlock()
		return b, g.state.rows.Scan(nil, func(key, value []byte) bool {
			b.Put(uint32(g.id), key, value)
			return true
		})
	case "release-before-commit": // the WAL goes while it is still needed
		g.checkpointed.Store(g.freezing.point.Applied)
		_, err := s.committer.trimNow()
		return b, err
	}
	return b, nil
}

// segmentFS does not sync segments.
func (seededBugs) segmentFS(fs vfs.FS) vfs.FS {
	if seededBug != "segment-unsynced" {
		return fs
	}
	return unsyncedFS{fs}
}

type unsyncedFS struct{ vfs.FS }

func (fs unsyncedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error                { return nil }
func (unsyncedFile) SyncData() error            { return nil }
func (unsyncedFile) SyncTo(int64) (bool, error) { return false, nil }

// mergeSources leaves out the newest one.
func (seededBugs) mergeSources(all []*segment.Reader) []*segment.Reader {
	if seededBug != "merge-loses-newest" || len(all) < 2 {
		return all
	}
	return all[:len(all)-1]
}

// beforeMergeCommit removes the files that the manifest still names.
func (seededBugs) beforeMergeCommit(s *Store, sources []*segment.Reader) {
	if seededBug != "segment-removed-early" {
		return
	}
	for _, r := range sources {
		_ = s.cfg.FS.Remove(s.cfg.FS.PathJoin(s.segmentDir(), segment.FileName(r.Meta().ID)))
	}
}

// older spoils the pointer to the next older entries of a log.
func (seededBugs) older(generation uint32) uint32 {
	if seededBug != "generation-off-by-one" {
		return generation
	}
	return generation - 1
}
