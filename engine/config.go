package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

// Config configures a Store. The zero value of every field but Dir means its
// default.
type Config struct {
	// FS is where everything durable lives. Default vfs.Default.
	FS vfs.FS
	// Dir holds LOCK, SUPERBLOCK, wal/, segments/ and rows/. It is made if it is missing.
	Dir string
	// Groups is the number of raft groups: a power of two up to 1024, default 1.
	// Fixed when the directory is made. More groups apply in parallel; fewer
	// batch better.
	Groups int
	// Node is the raft id of this node. Default 1. Fixed like Groups.
	Node uint64
	// Clock gives ms since the Unix epoch and stamps batches. It may jump: the
	// stamps of a group never go back. Default: the wall clock.
	Clock func() int64
	// QueueBytesMax bounds the commands of all groups that are not yet applied,
	// 16 bytes of overhead each included. Default 64 MiB. Overflow: ErrUnavailable.
	QueueBytesMax int
	// CommandBytesMax bounds one command. Default 1 MiB.
	CommandBytesMax int
	// BatchBytesMax bounds one raft entry, unless a single command is larger.
	// Default 1 MiB: a larger batch holds the group's write lock longer.
	BatchBytesMax int
	// MemtableBytes is what entries and rows may take in memory, all groups
	// together, before the group with most of it is checkpointed. At twice as much
	// nothing is applied until there is room. Default 64 MiB.
	MemtableBytes int64
	// WALBytesMax bounds the files of the WAL: at half of it groups that hold it
	// back are checkpointed, beyond it nothing new is proposed until it has shrunk.
	// Default 768 MiB.
	WALBytesMax int64
	// CacheBytes bounds the cache of decompressed segment blocks. Default 64 MiB.
	CacheBytes int64
	// RecentBytes bounds the cache of the newest messages of users who are or were
	// online; see View.Warm. Default 64 MiB, negative: none.
	RecentBytes int64
	// RowCacheBytes bounds the cache of rows on disk. Default 32 MiB.
	RowCacheBytes int64
	// EraseWithin bounds how long what was erased stays on disk, invisible.
	// Default one hour.
	EraseWithin time.Duration
	// ScrubBytesPerSecond is the rate at which segments are read again to find
	// damage on disk. Default 4 MiB; negative: they are not.
	ScrubBytesPerSecond int64
	// ScrubEvery is how long a segment rests after it was read. Default 7 days.
	ScrubEvery time.Duration
	// DiskReserveBytes is how much of the disk stays free: below it nothing new is
	// taken, Propose returns ErrDiskFull. At most 5 % of the disk. Default 512 MiB.
	DiskReserveBytes int64
	// NoCompression leaves segments as they are. Default: zstd.
	NoCompression bool
	// CheckReads makes Tx.Get panic for a row that Machine.Reads did not name.
	// For tests: it calls Reads before each Apply.
	CheckReads bool
	// Logger gets lifecycle events at Info, raft's own at Debug. Default: discard.
	Logger *slog.Logger
	// Fatal is called once, from a goroutine of the engine, when the disk failed
	// or the log can't be applied: the node must stop. All waiters were failed
	// before. It must not call Close itself. Default: panic.
	Fatal func(error)

	// walFileBytes overrides the size of all WAL files; tests make them small.
	walFileBytes int64
}

const (
	groupsMax       = godwit.Partitions
	commandBytesCap = 8 << 20 // ceiling of CommandBytesMax and BatchBytesMax: entries must fit a WAL frame
)

// Sizes of the WAL's first and largest files keep what is written ahead of need
// small: a store's first files are zeros before they are records, and a
// checkpoint frees several.
const (
	walFirstFileBytes = 4 << 20
	walMaxFileBytes   = 16 << 20
	walMinFileBytes   = 256 << 10
	walFilesMin       = 6 // so many fit into WALBytesMax, or one file alone would exceed it
)

// walFileSizes are the sizes of the WAL's first and largest files.
func (c *Config) walFileSizes() (first, most int64) {
	if c.walFileBytes != 0 {
		return c.walFileBytes, c.walFileBytes
	}
	most = min(walMaxFileBytes, max(walMinFileBytes, c.WALBytesMax/walFilesMin&^(walMinFileBytes-1)))
	return min(walFirstFileBytes, most), most
}

// validate fills in defaults and refuses what can't work.
func (c *Config) validate() error {
	c.setDefaults()
	if c.Dir == "" {
		return errors.New("engine: Dir is not set")
	}
	if c.Groups < 1 || c.Groups > groupsMax || c.Groups&(c.Groups-1) != 0 {
		return fmt.Errorf("engine: Groups is %d, want a power of two from 1 to %d", c.Groups, groupsMax)
	}
	if c.Node > 1<<63 {
		return fmt.Errorf("engine: Node %d is too large for a raft id", c.Node)
	}
	if c.CommandBytesMax < 1 || c.CommandBytesMax > commandBytesCap {
		return fmt.Errorf("engine: CommandBytesMax is %d, want 1 to %d", c.CommandBytesMax, commandBytesCap)
	}
	if c.BatchBytesMax < 1 || c.BatchBytesMax > commandBytesCap {
		return fmt.Errorf("engine: BatchBytesMax is %d, want 1 to %d", c.BatchBytesMax, commandBytesCap)
	}
	if c.MemtableBytes < 1 || c.WALBytesMax < 1 || c.CacheBytes < 1 || c.RowCacheBytes < 1 {
		return errors.New("engine: MemtableBytes, WALBytesMax, CacheBytes and RowCacheBytes must be positive")
	}
	if c.QueueBytesMax < 1 {
		return fmt.Errorf("engine: QueueBytesMax is %d, want at least 1", c.QueueBytesMax)
	}
	return nil
}

func (c *Config) setDefaults() {
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Groups == 0 {
		c.Groups = 1
	}
	if c.Node == 0 {
		c.Node = 1
	}
	if c.Clock == nil {
		c.Clock = func() int64 { return time.Now().UnixMilli() }
	}
	if c.QueueBytesMax == 0 {
		c.QueueBytesMax = 64 << 20
	}
	if c.CommandBytesMax == 0 {
		c.CommandBytesMax = 1 << 20
	}
	if c.BatchBytesMax == 0 {
		c.BatchBytesMax = 1 << 20
	}
	if c.MemtableBytes == 0 {
		c.MemtableBytes = 64 << 20
	}
	if c.WALBytesMax == 0 {
		c.WALBytesMax = 768 << 20
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 64 << 20
	}
	if c.DiskReserveBytes == 0 {
		c.DiskReserveBytes = 512 << 20
	}
	if c.EraseWithin == 0 {
		c.EraseWithin = time.Hour
	}
	if c.RecentBytes == 0 {
		c.RecentBytes = 64 << 20
	}
	if c.ScrubBytesPerSecond == 0 {
		c.ScrubBytesPerSecond = 4 << 20
	}
	if c.ScrubEvery == 0 {
		c.ScrubEvery = 7 * 24 * time.Hour
	}
	if c.RowCacheBytes == 0 {
		c.RowCacheBytes = 32 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Fatal == nil {
		c.Fatal = func(err error) { panic(err) }
	}
}
