package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Config says where the log lies and how it grows. Only Dir must be given.
type Config struct {
	// FS holds the files. Default: the operating system's.
	FS vfs.FS
	// Dir is the log's own directory, made if missing. The caller keeps other
	// processes out of it.
	Dir string
	// FirstFileBytes is the size of the first file and of one made by a recovery
	// (default 4 MiB). Small: a store starts at once. Large: fewer files early on.
	FirstFileBytes int64
	// MaxFileBytes ends the doubling of file sizes (default 128 MiB). Only a frame
	// that needs more makes a larger file.
	MaxFileBytes int64
	// PoolBytesMax bounds the released files kept to be used again (default: four
	// files of MaxFileBytes; negative: none). It should hold what is released at
	// once, else new files are zero-written all the time; more only takes room.
	PoolBytesMax int64
	// FrameBytesMax bounds the payload of a frame, and so the memory of Append and
	// of Open (default and limit 64 MiB).
	FrameBytesMax int64
	// BlockBytes is what frames are padded to (default 4096; 512 to 65536, a power
	// of two). It should be the unit the disk may garble when power fails while it
	// writes: a synced frame never shares a block with a later one.
	BlockBytes int64
	// FileID gives a new file its random identity, never 0 (default: crypto/rand).
	// The background goroutine calls it, too, but never at the same time.
	FileID func() uint64
	// Logger gets a warning for a cut tail. Default: discarded.
	Logger *slog.Logger
}

// fileBlocksMin: header, one frame, and the block kept free for the seal, twice.
const fileBlocksMin = 4

// frameBytesLimit is the largest FrameBytesMax; a reader trusts no longer frame.
const frameBytesLimit = 64 << 20

// validate fills in defaults and refuses what cannot work.
func (c *Config) validate() error {
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.FirstFileBytes == 0 {
		c.FirstFileBytes = 4 << 20
	}
	if c.MaxFileBytes == 0 {
		c.MaxFileBytes = max(128<<20, c.FirstFileBytes)
	}
	if c.PoolBytesMax == 0 {
		c.PoolBytesMax = 4 * c.MaxFileBytes
	}
	if c.FrameBytesMax == 0 {
		c.FrameBytesMax = frameBytesLimit
	}
	if c.BlockBytes == 0 {
		c.BlockBytes = 4096
	}
	if c.FileID == nil {
		c.FileID = randomID
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Dir == "":
		return errors.New("wal: Config.Dir is empty")
	case !validBlock(c.BlockBytes):
		return fmt.Errorf("wal: Config.BlockBytes is %d; it must be a power of two from %d to %d", c.BlockBytes, blockBytesMin, blockBytesMax)
	case c.FirstFileBytes < fileBlocksMin*c.BlockBytes || c.FirstFileBytes%c.BlockBytes != 0:
		return fmt.Errorf("wal: Config.FirstFileBytes is %d; it must be a multiple of %d and at least %d", c.FirstFileBytes, c.BlockBytes, fileBlocksMin*c.BlockBytes)
	case c.MaxFileBytes < c.FirstFileBytes || c.MaxFileBytes%c.BlockBytes != 0:
		return fmt.Errorf("wal: Config.MaxFileBytes is %d; it must be a multiple of %d and at least FirstFileBytes", c.MaxFileBytes, c.BlockBytes)
	case c.FrameBytesMax < recordHeaderBytes || c.FrameBytesMax > frameBytesLimit:
		return fmt.Errorf("wal: Config.FrameBytesMax is %d; it must be from %d to %d", c.FrameBytesMax, recordHeaderBytes, frameBytesLimit)
	}
	return nil
}

// randomID is unguessable, so that no payload can pretend to be a frame.
func randomID() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails; see crypto/rand
		if id := binary.LittleEndian.Uint64(b[:]); id != 0 {
			return id
		}
	}
}
