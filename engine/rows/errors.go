package rows

import "errors"

// Errors of this package.
var (
	// ErrFailed: the disk failed or the data is damaged, now or earlier. What was
	// being committed may be there after a restart or not, but never in part.
	ErrFailed = errors.New("rows: failed")
	// ErrCorrupt: bytes are not what was written.
	ErrCorrupt = errors.New("rows: corrupt")
	// ErrVersion: written by a newer program.
	ErrVersion = errors.New("rows: unknown version")
	// ErrClosed: the DB was closed.
	ErrClosed = errors.New("rows: closed")
	// ErrTooLarge: more in one batch than fits.
	ErrTooLarge = errors.New("rows: batch too large")
)
