//go:build !seededbugs

package engine

// seededBugs are planted faults that the tests must catch. This build has
// none: the methods are constants and the compiler removes their branches.
type seededBugs struct{}

func loadSeededBugs() seededBugs { return seededBugs{} }

func (seededBugs) ackBeforeWALWrite() bool { return false }
func (seededBugs) ackBeforeFsync() bool    { return false }
func (seededBugs) forgetHardState() bool   { return false }
func (seededBugs) appliedApart() bool      { return false }
func (seededBugs) rowsAhead() bool         { return false }
