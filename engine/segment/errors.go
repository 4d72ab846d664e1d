package segment

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt: the bytes are not what the writer wrote. Nothing of them was
	// returned.
	ErrCorrupt = errors.New("segment: corrupt")
	// ErrVersion: the file or the Meta was written by a newer version of this
	// program.
	ErrVersion = errors.New("segment: unknown format version")
	// ErrTooLarge: a record is over RecordBytesMax. No effect.
	ErrTooLarge = errors.New("segment: record too large")
	// ErrOrder: logs and sequences must ascend, pointers must point backwards.
	// The Writer is dead.
	ErrOrder = errors.New("segment: out of order")
	// ErrClosed: the Writer was finished or aborted.
	ErrClosed = errors.New("segment: writer closed")
)

// corrupt returns ErrCorrupt with the place and what is wrong there.
func corrupt(name string, offset int64, cause string) error {
	return fmt.Errorf("%w: file %s, byte %d: %s. Do not edit it: keep a copy and refetch the segment from a peer or a backup", ErrCorrupt, name, offset, cause)
}

// errBlock says what a parser of a block disliked; its caller knows the place.
type errBlock string

func (e errBlock) Error() string { return string(e) }
