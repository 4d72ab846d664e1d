package rows

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// gate is the file system that Pebble sees. The first failed change of a file
// in dir shuts it: from then on nothing there is changed any more, and Pebble is
// told that all went well, including that first change.
//
// Why: Pebble answers a failed sync by trying again, and the second try may
// succeed with the data gone; or it panics with its locks held. A shut gate
// keeps the disk as it was at the failure and lets Pebble wind down; Commit and
// all reads ask the gate, so nobody is told a lie but Pebble.
type gate struct {
	vfs.FS
	dir     string
	guard   *guard
	failure atomic.Pointer[error]
	report  func(error) // called once, before the failed change returns
}

// shut closes the gate for ever. The first reason counts.
func (g *gate) shut(reason error) {
	reason = fmt.Errorf("%w: %w", ErrFailed, reason)
	if g.failure.CompareAndSwap(nil, &reason) {
		g.report(reason)
	}
}

// err returns why the gate is shut, nil while it is open.
func (g *gate) err() error {
	if p := g.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// owns tells whether a failure at name is one of the database: a backup to
// another directory may fail without harm.
func (g *gate) owns(name string) bool {
	rest, ok := strings.CutPrefix(name, g.dir)
	return ok && (rest == "" || os.IsPathSeparator(rest[0]))
}

// change does one change of the file system unless the gate is shut.
func (g *gate) change(name string, do func() error) error {
	if !g.owns(name) {
		return do()
	}
	if g.err() != nil {
		return nil
	}
	if err := do(); err != nil {
		g.shut(err)
	}
	return nil
}

// open does a change that gives a file, which is a hole if the gate is shut.
func (g *gate) open(name string, do func() (vfs.File, error)) (vfs.File, error) {
	if !g.owns(name) {
		return do()
	}
	if g.err() == nil {
		base := g.PathBase(name)
		err := g.guard.forget(base)
		var f vfs.File
		if err == nil {
			f, err = do()
		}
		if err == nil {
			return &gatedFile{File: f, gate: g, name: base, guarded: isGuarded(base)}, nil
		}
		g.shut(err)
	}
	return hole{}, nil
}

func (g *gate) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.open(name, func() (vfs.File, error) { return g.FS.Create(name, category) })
}

func (g *gate) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return g.open(name, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, category, opts...) })
}

func (g *gate) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.open(newname, func() (vfs.File, error) {
		if err := g.guard.forget(g.PathBase(oldname)); err != nil {
			return nil, err
		}
		return g.FS.ReuseForWrite(oldname, newname, category)
	})
}

// OpenDir gives a directory, which is opened to be synced.
func (g *gate) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil || !g.owns(name) {
		return f, err
	}
	return &gatedFile{File: f, gate: g}, nil
}

func (g *gate) Link(oldname, newname string) error {
	return g.change(newname, func() error { return g.FS.Link(oldname, newname) })
}

func (g *gate) Rename(oldname, newname string) error {
	return g.change(newname, func() error { return g.FS.Rename(oldname, newname) })
}

func (g *gate) MkdirAll(dir string, perm os.FileMode) error {
	return g.change(dir, func() error { return g.FS.MkdirAll(dir, perm) })
}

// Remove may fail without harm: the file is removed at the next start.
func (g *gate) Remove(name string) error {
	if !g.owns(name) {
		return g.FS.Remove(name)
	}
	if g.err() == nil {
		if err := g.guard.forget(g.PathBase(name)); err != nil {
			g.shut(err)
		}
	}
	if g.err() != nil {
		return nil
	}
	return g.FS.Remove(name)
}

func (g *gate) RemoveAll(name string) error {
	if g.owns(name) && g.err() != nil {
		return nil
	}
	return g.FS.RemoveAll(name)
}

func (g *gate) Unwrap() vfs.FS { return g.FS }

// gatedFile is a file or directory of the database.
type gatedFile struct {
	vfs.File
	gate    *gate
	name    string // in dir
	guarded bool

	mu      sync.Mutex
	written guarded // all that was written, if it is guarded
}

func (f *gatedFile) Write(p []byte) (int, error) {
	if f.gate.err() != nil {
		return len(p), nil
	}
	f.mu.Lock()
	written := f.written
	f.mu.Unlock()
	if f.guarded { // before the write, which may change p
		written.bytes += int64(len(p))
		written.crc = crc32.Update(written.crc, castagnoli, p)
	}
	if _, err := f.File.Write(p); err != nil {
		f.gate.shut(err)
		return len(p), nil
	}
	f.mu.Lock()
	f.written = written
	f.mu.Unlock()
	return len(p), nil
}

func (f *gatedFile) WriteAt(p []byte, at int64) (int, error) {
	if f.guarded {
		panic("BUG: Pebble does not append to " + f.name)
	}
	if f.gate.err() == nil {
		if _, err := f.File.WriteAt(p, at); err != nil {
			f.gate.shut(err)
		}
	}
	return len(p), nil
}

func (f *gatedFile) Preallocate(offset, length int64) error {
	if f.gate.err() == nil {
		if err := f.File.Preallocate(offset, length); err != nil {
			f.gate.shut(err)
		}
	}
	return nil
}

func (f *gatedFile) Sync() error {
	_, _ = f.sync(func() (bool, error) { return true, f.File.Sync() })
	return nil
}

func (f *gatedFile) SyncData() error {
	_, _ = f.sync(func() (bool, error) { return true, f.File.SyncData() })
	return nil
}

func (f *gatedFile) SyncTo(length int64) (fullSync bool, err error) {
	return f.sync(func() (bool, error) { return f.File.SyncTo(length) })
}

// sync tells the guard what is durable after a sync that is a full one.
func (f *gatedFile) sync(do func() (bool, error)) (full bool, err error) {
	if f.gate.err() != nil {
		return true, nil
	}
	f.mu.Lock()
	written := f.written
	f.mu.Unlock()
	full, err = do()
	if err == nil && full && f.guarded {
		err = f.gate.guard.synced(f.name, written)
	}
	if err != nil {
		f.gate.shut(err)
	}
	return full, nil
}

// hole is a file that could not be made: what is written to it is lost.
type hole struct{}

var errHole = errors.New("rows: a file that could not be made")

func (hole) Close() error                           { return nil }
func (hole) Read([]byte) (int, error)               { return 0, errHole }
func (hole) ReadAt([]byte, int64) (int, error)      { return 0, errHole }
func (hole) Write(p []byte) (int, error)            { return len(p), nil }
func (hole) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (hole) Preallocate(_, _ int64) error           { return nil }
func (hole) Stat() (vfs.FileInfo, error)            { return holeInfo{}, nil }
func (hole) Sync() error                            { return nil }
func (hole) SyncTo(int64) (bool, error)             { return false, nil }
func (hole) SyncData() error                        { return nil }
func (hole) Prefetch(_, _ int64) error              { return nil }
func (hole) Fd() uintptr                            { return vfs.InvalidFd }

type holeInfo struct{}

func (holeInfo) Name() string           { return "" }
func (holeInfo) Size() int64            { return 0 }
func (holeInfo) Mode() os.FileMode      { return 0 }
func (holeInfo) ModTime() time.Time     { return time.Time{} }
func (holeInfo) IsDir() bool            { return false }
func (holeInfo) Sys() any               { return nil }
func (holeInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
