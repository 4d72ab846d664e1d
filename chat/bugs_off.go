//go:build !seededbugs

//tidy:apply

package chat

// seededBugs are planted faults that the tests must catch. This build has
// none: the methods are constants and the compiler removes their branches.
type seededBugs struct{}

var seeded seededBugs

func (seededBugs) storeAgain(uint64) bool { return false }
