//go:build !seededbugs

package engine

import (
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit/engine/rows"
	"github.com/godwit-im/godwit/engine/segment"
)

// seededBugs are planted faults that the tests must catch. This build has
// none: the methods are constants and the compiler removes their branches.
type seededBugs struct{}

func loadSeededBugs() seededBugs { return seededBugs{} }

func (seededBugs) ackBeforeWALWrite() bool { return false }
func (seededBugs) ackBeforeFsync() bool    { return false }
func (seededBugs) forgetHardState() bool   { return false }
func (seededBugs) marksFirst() bool        { return false }

func (seededBugs) checkpoint(_ *Store, _ *group, b *rows.Batch) (*rows.Batch, error) { return b, nil }
func (seededBugs) segmentFS(fs vfs.FS) vfs.FS                                        { return fs }
func (seededBugs) mergeSources(all []*segment.Reader) []*segment.Reader              { return all }
func (seededBugs) beforeMergeCommit(*Store, []*segment.Reader)                       {}
func (seededBugs) older(generation uint32) uint32                                    { return generation }
