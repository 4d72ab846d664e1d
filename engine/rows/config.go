package rows

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Config configures a DB. The zero value of every field but Dir means its
// default.
type Config struct {
	// FS is where the files live. Default vfs.Default.
	FS vfs.FS
	// Dir holds the database and nothing else. It is made if it is missing; what
	// it lies in must exist.
	Dir string
	// CacheBytes bounds the cache of decompressed blocks. Default 64 MiB; less
	// re-reads more.
	CacheBytes int64
	// Logger gets failures and slow disks at Warn, Pebble's own lines at Debug.
	// Default: discard.
	Logger *slog.Logger
	// Fatal is called once, from any goroutine, when a write or a sync failed or
	// Pebble found its data damaged: the node must stop, and every call returns
	// ErrFailed from then on. It must not call the DB. Default: nothing more.
	Fatal func(error)

	// memTableBytes overrides the size of Pebble's memtables; tests make them small.
	memTableBytes uint64
}

const (
	cacheBytesDefault = 64 << 20
	cacheBytesMin     = 1 << 20
)

// validate fills in defaults and refuses what can't work.
func (c *Config) validate() error {
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = cacheBytesDefault
	}
	if c.memTableBytes == 0 {
		c.memTableBytes = memTableBytes
	}
	if c.Dir == "" {
		return errors.New("rows: Dir is not set")
	}
	if c.CacheBytes < cacheBytesMin {
		return fmt.Errorf("rows: CacheBytes is %d, want at least %d", c.CacheBytes, cacheBytesMin)
	}
	return nil
}
