package report

import "errors"

// What callers may tell apart.
var (
	// ErrNoRuns: there is nothing to write about.
	ErrNoRuns = errors.New("no runs given")
	// ErrNotComparable: the runs did not do the same, or must not be used.
	ErrNotComparable = errors.New("runs are not comparable")
)
