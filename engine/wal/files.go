package wal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	fileSuffix = ".wal"
	tempSuffix = ".tmp"  // a file being made: never read, removed by Open
	poolSuffix = ".pool" // a released file: never read, removed by Open

	diskCategory vfs.DiskWriteCategory = "godwit-wal"

	// preWriteBytes is one zero write. It is a page: a larger write makes a larger
	// folio of the page cache, and every later frame would dirty, map and account
	// all of it (Linux 6.16 on, ext4). preSyncBytes bounds what a pre-write leaves
	// dirty, so that a commit's fdatasync does not wait for a whole file.
	preWriteBytes = 4 << 10
	preSyncBytes  = 1 << 20
)

// logFile is an open file of the log.
type logFile struct {
	fileHeader
	name string // without the directory
	file vfs.File
	used bool // there may be bytes in it that this life did not write
}

func fileName(sequence uint64) string { return fmt.Sprintf("%016x%s", sequence, fileSuffix) }

// parseFileName returns the sequence in a file's name.
func parseFileName(name string) (sequence uint64, ok bool) {
	digits, found := strings.CutSuffix(name, fileSuffix)
	if !found {
		return 0, false
	}
	sequence, err := strconv.ParseUint(digits, 16, 64)
	return sequence, err == nil && fileName(sequence) == name
}

// listFiles returns the sequences of the log's files in order, after removing
// what an earlier run left of files being made and of released ones.
func listFiles(c *Config) ([]uint64, error) {
	names, err := c.FS.List(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("wal: list %s: %w", c.Dir, err)
	}
	var sequences []uint64
	for _, name := range names {
		if strings.HasSuffix(name, tempSuffix) || strings.HasSuffix(name, poolSuffix) {
			if err := c.FS.Remove(c.FS.PathJoin(c.Dir, name)); err != nil {
				return nil, fmt.Errorf("wal: remove %s: %w", name, err)
			}
		} else if sequence, ok := parseFileName(name); ok {
			sequences = append(sequences, sequence)
		}
	}
	slices.Sort(sequences)
	return sequences, nil
}

// createFile makes a file under a temporary name: header, zeros to its end and,
// if fill is given, frames. Synced, it gets its name, which replaces an unused
// file; so a file with a log's name is always whole. stop (may be nil) ends it early.
func createFile(c *Config, sequence uint64, sizeBytes int64, stop *atomic.Bool, fill func(*logFile) error) (*logFile, error) {
	name := fileName(sequence)
	temp := c.FS.PathJoin(c.Dir, name+tempSuffix)
	f := &logFile{
		fileHeader: fileHeader{id: c.FileID(), sequence: sequence, sizeBytes: sizeBytes, blockBytes: c.BlockBytes},
		name:       name,
	}
	err := c.FS.Remove(temp) // left by a failed attempt: it may be longer
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("wal: remove %s: %w", temp, err)
	}
	if f.file, err = c.FS.OpenReadWrite(temp, diskCategory); err != nil {
		return nil, fmt.Errorf("wal: create %s: %w", name, err)
	}
	err = f.preWrite(stop)
	if err == nil && fill != nil {
		err = fill(f)
	}
	if err == nil {
		err = f.sync(f.file.Sync)
	}
	if err != nil {
		_ = f.file.Close()
		_ = c.FS.Remove(temp) // what stays is removed by the next Open
		return nil, err
	}
	if err := f.takeName(c, temp); err != nil {
		_ = f.file.Close()
		return nil, err
	}
	return f, nil
}

// takeName gives the synced file at path its durable name in the log.
func (f *logFile) takeName(c *Config, path string) error {
	if err := c.FS.Rename(path, c.FS.PathJoin(c.Dir, f.name)); err != nil {
		return fmt.Errorf("wal: rename %s: %w", f.name, err)
	}
	return syncDir(c.FS, c.Dir)
}

// preWrite writes the header and zeros, so that later writes overwrite written
// blocks and their fdatasync has no metadata to store.
func (f *logFile) preWrite(stop *atomic.Bool) error {
	zeros := make([]byte, min(preWriteBytes, f.sizeBytes))
	f.appendTo(zeros[:0])
	for off := int64(0); off < f.sizeBytes; off += int64(len(zeros)) {
		if stop != nil && stop.Load() {
			return errStopped
		}
		if off > 0 && off%preSyncBytes == 0 {
			if err := f.sync(f.file.SyncData); err != nil {
				return err
			}
		}
		chunk := zeros[:min(int64(len(zeros)), f.sizeBytes-off)]
		if err := f.writeAt(chunk, off); err != nil {
			return err
		}
		if off == 0 {
			clear(zeros[:fileHeaderBytes])
		}
	}
	return nil
}

// openFile opens an existing file for reading and writing, its header known.
func openFile(c *Config, h fileHeader) (*logFile, error) {
	f := &logFile{fileHeader: h, name: fileName(h.sequence), used: true}
	var err error
	if f.file, err = c.FS.OpenReadWrite(c.FS.PathJoin(c.Dir, f.name), diskCategory); err != nil {
		return nil, fmt.Errorf("wal: open %s: %w", f.name, err)
	}
	return f, nil
}

func (f *logFile) writeAt(p []byte, off int64) error {
	if _, err := f.file.WriteAt(p, off); err != nil {
		return fmt.Errorf("%w: %s at byte %d: %w", ErrWriteFailed, f.name, off, err)
	}
	return nil
}

// sync runs the file's Sync or SyncData.
func (f *logFile) sync(fsync func() error) error {
	if err := fsync(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrSyncFailed, f.name, err)
	}
	return nil
}

// syncDir makes names durable.
func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("wal: open directory %s: %w", dir, err)
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("%w: directory %s: %w", ErrSyncFailed, dir, err)
	}
	return nil
}

// makeDir makes the log's directory and its name durable.
func makeDir(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("wal: make directory %s: %w", dir, err)
	}
	return syncDir(fs, fs.PathDir(dir))
}
