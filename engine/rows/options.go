package rows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// pebbleFormat is the newest on-disk format of the Pebble this is built with,
// so that a new Pebble does not upgrade stores unasked.
const pebbleFormat = pebble.FormatValueSeparation

const (
	// A checkpoint of one group is often small, so that a memtable takes several;
	// a batch above half of it is flushed on its own.
	memTableBytes = 4 << 20
	// memTablesCached: Pebble takes the memory of its memtables, the one in use and
	// one being flushed, out of the cache.
	memTablesCached = 2
	// walSyncBytes spreads the write-back of a large batch over its writing.
	walSyncBytes    = 1 << 20
	tableBytes      = 8 << 20 // of a flushed table, twice as much per level
	levelBaseBytes  = 64 << 20
	filterBitsPer   = 10
	openFilesMax    = 256
	l0FilesStop     = 24
	l0ReadCompact   = 4
	blockBytes      = 4 << 10
	indexBlockBytes = 32 << 10
)

// pebbleOptions are tuned for rare large synced batches and reads that mostly
// miss or hit a few hot rows.
func pebbleOptions(cfg *Config, g *gate) *pebble.Options {
	log := pebbleLogger{cfg.Logger, g}
	o := &pebble.Options{
		FS:                          g,
		FormatMajorVersion:          pebbleFormat,
		MemTableSize:                cfg.memTableBytes,
		MemTableStopWritesThreshold: 2, // Pebble also keeps one log more than that for recycling
		WALBytesPerSync:             walSyncBytes,
		L0CompactionThreshold:       l0ReadCompact,
		L0StopWritesThreshold:       l0FilesStop,
		LBaseMaxBytes:               levelBaseBytes,
		MaxOpenFiles:                openFilesMax,
		CompactionConcurrencyRange:  func() (lower, upper int) { return 1, 2 },
		Logger:                      log,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { log.background(err) },
			DataCorruption:  func(info pebble.DataCorruptionInfo) { log.corruption(info) },
			DiskSlow: func(info pebble.DiskSlowInfo) {
				cfg.Logger.Warn("rows: disk is slow", "path", info.Path, "operation", info.OpType.String(), "duration", info.Duration)
			},
		},
	}
	o.Levels[0].BlockSize = blockBytes
	o.Levels[0].IndexBlockSize = indexBlockBytes
	o.Levels[0].FilterPolicy = bloom.FilterPolicy(filterBitsPer)
	o.TargetFileSizes[0] = tableBytes
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionBalanced })
	return o
}

// pebbleLogger is Pebble's way to speak. Pebble expects Fatalf not to return;
// here it returns with the gate shut, so that what Pebble does next is lost.
type pebbleLogger struct {
	log  *slog.Logger
	gate *gate
}

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("rows: pebble", "line", fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	if l.gate.err() == nil { // else it is an echo
		l.log.Warn("rows: pebble", "line", fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.gate.shut(fmt.Errorf(format, args...))
}

// background gets what failed in a flush or compaction. Pebble would try again
// for ever; nothing there fails for a reason that passes.
func (l pebbleLogger) background(err error) {
	if !errors.Is(err, pebble.ErrCancelledCompaction) {
		l.gate.shut(fmt.Errorf("in the background: %w", err))
	}
}

func (l pebbleLogger) corruption(info pebble.DataCorruptionInfo) {
	l.gate.shut(fmt.Errorf("%w: %s", ErrCorrupt, info))
}
