//go:build seededbugs

package chat

import "os"

// seededBugs are planted faults that the tests must catch, switched on by the
// environment variable GODWIT_SEEDED_BUG, read once at start.
type seededBugs struct{ duplicateApply bool }

var seeded = seededBugs{duplicateApply: os.Getenv("GODWIT_SEEDED_BUG") == "duplicate-apply"}

// storeAgain is the planted duplicate: every third message whose retry or
// repeated forward arrives is stored a second time. number is replicated, so
// that the bug is the same on every replay.
func (b seededBugs) storeAgain(number uint64) bool { return b.duplicateApply && number%3 == 0 }
