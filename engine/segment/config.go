package segment

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Codec says how blocks are compressed. It is part of the format.
type Codec uint8

const (
	CodecNone Codec = 0
	CodecZstd Codec = 1
)

func (c Codec) String() string {
	switch c {
	case CodecNone:
		return "none"
	case CodecZstd:
		return "zstd"
	}
	return "codec " + strconv.Itoa(int(c))
}

// Config says where segments lie and how new ones are written. Only FS and Dir
// matter to a Reader: a file says itself how it was written.
type Config struct {
	// FS holds the files. Default: the operating system's.
	FS vfs.FS
	// Dir is the folder of the segments. It must exist.
	Dir string
	// BlockBytes is where a block is cut, before compression (default 16 KiB; 512
	// to 1 MiB). Large: better compression, a smaller index. Small: a cold read
	// decodes less. docs/formats/segment.md has measurements.
	BlockBytes int
	// Codec compresses blocks; one that does not shrink is stored as it is.
	Codec Codec
	// Level is zstd's effort: 1 fastest, 2 default, 3 better (default 1).
	Level int
	// SyncBytes is how much is written between two fdatasyncs (default 1 MiB). It
	// bounds the dirty bytes another file's fdatasync may have to wait for.
	SyncBytes int
}

const (
	blockBytesMin = 512
	blockBytesMax = 1 << 20
	// writeBytes is the least a Writer gives to a write, readBytes what a
	// sequential reader asks for.
	writeBytes = 256 << 10
	readBytes  = 256 << 10
)

// RecordBytesMax bounds Meta and Body of one record together.
const RecordBytesMax = 16 << 20

// validate fills in defaults and refuses what cannot work.
func (c *Config) validate() error {
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.BlockBytes == 0 {
		c.BlockBytes = 16 << 10
	}
	if c.Level == 0 {
		c.Level = 1
	}
	if c.SyncBytes == 0 {
		c.SyncBytes = 1 << 20
	}
	switch {
	case c.Dir == "":
		return errors.New("segment: Config.Dir is empty")
	case c.BlockBytes < blockBytesMin || c.BlockBytes > blockBytesMax:
		return fmt.Errorf("segment: Config.BlockBytes is %d; it must be from %d to %d", c.BlockBytes, blockBytesMin, blockBytesMax)
	case c.Codec > CodecZstd:
		return fmt.Errorf("segment: Config.Codec is %d; there are none (0) and zstd (1)", c.Codec)
	case c.Level < 1 || c.Level > 3:
		return fmt.Errorf("segment: Config.Level is %d; it must be from 1 to 3", c.Level)
	case c.SyncBytes < writeBytes:
		return fmt.Errorf("segment: Config.SyncBytes is %d; it must be at least %d", c.SyncBytes, writeBytes)
	}
	return nil
}

const (
	suffix     = ".seg"
	tempSuffix = ".tmp" // behind suffix while a file is being written
)

// FileName returns the name of a segment's file.
func FileName(id uint64) string { return fmt.Sprintf("%016x", id) + suffix }

// ParseFileName returns whose file name is. temp says that it is one being
// written, or left by a crash: it can be removed when no Writer has it.
func ParseFileName(name string) (id uint64, temp, ok bool) {
	if rest, found := strings.CutSuffix(name, tempSuffix); found {
		name, temp = rest, true
	}
	digits, found := strings.CutSuffix(name, suffix)
	if !found || len(digits) != 16 {
		return 0, false, false
	}
	id, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || FileName(id) != name {
		return 0, false, false
	}
	return id, temp, true
}
