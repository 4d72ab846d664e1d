package wal

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const sectorBytes = 512

// crashFS is a file system in memory that knows what a power failure may leave:
// of a sector written since the last sync of its file any version, a torn one or
// garbage; of a name changed since the last sync of the directory any binding.
// Operations the log does not use panic (the embedded interface is nil).
type crashFS struct {
	vfs.FS
	// before runs ahead of every change, with mu held; nil for none.
	before func()
	// failSync says whether this sync fails: the sectors count as clean, the disk
	// keeps the old ones and reads still give the new ones, as Linux does it.
	failSync func(name string) bool
	// lies says that this sync does nothing and reports success; mu is held.
	lies    func(kind syncKind, name string) bool
	renamed string // the target of the last rename
	// written sees each write; mu is held.
	written func(name string, p []byte)
	// failWrite says whether this write fails half-way; mu is held.
	failWrite func(name string) error

	mu      sync.Mutex
	names   map[string]*inode
	history map[string][]*inode // bindings since the last directory sync, the durable one first
}

type syncKind int

const (
	syncData syncKind = iota // for frames
	syncFull                 // for new files
	syncDirectory
)

type inode struct {
	data  []byte
	sizes []int              // sizes since the last sync, the durable one first
	dirty map[int64][][]byte // sector -> versions since the last sync, the durable one first
	lost  map[int64][]byte   // sector -> what the disk holds since a sync failed; data is in the cache only
}

func newInode(data []byte) *inode {
	return &inode{data: data, sizes: []int{len(data)}, dirty: map[int64][][]byte{}, lost: map[int64][]byte{}}
}

func newCrashFS() *crashFS {
	return &crashFS{names: map[string]*inode{}, history: map[string][]*inode{}}
}

func (fs *crashFS) change() {
	if fs.before != nil {
		fs.before()
	}
}

// rebind changes what a name means; mu is held.
func (fs *crashFS) rebind(name string, n *inode) {
	if _, ok := fs.history[name]; !ok {
		fs.history[name] = []*inode{fs.names[name]}
	}
	fs.history[name] = append(fs.history[name], n)
	if n == nil {
		delete(fs.names, name)
	} else {
		fs.names[name] = n
	}
}

func (fs *crashFS) open(name string, create bool) (vfs.File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.names[name]
	if n == nil {
		if !create {
			return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
		}
		fs.change()
		n = newInode(nil)
		fs.rebind(name, n)
	}
	return &crashFile{fs: fs, n: n, name: name}, nil
}

func (fs *crashFS) Open(name string, _ ...vfs.OpenOption) (vfs.File, error) {
	return fs.open(name, false)
}

func (fs *crashFS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	return fs.open(name, true)
}

func (fs *crashFS) OpenDir(name string) (vfs.File, error) {
	return &crashFile{fs: fs, name: name}, nil
}

func (fs *crashFS) Remove(name string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.names[name] == nil {
		return os.ErrNotExist
	}
	fs.change()
	fs.rebind(name, nil)
	return nil
}

func (fs *crashFS) Rename(from, to string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.change()
	n := fs.names[from]
	fs.rebind(from, nil)
	fs.rebind(to, n)
	fs.renamed = to
	return nil
}

func (fs *crashFS) MkdirAll(string, os.FileMode) error { return nil }
func (fs *crashFS) PathJoin(elements ...string) string { return path.Join(elements...) }
func (fs *crashFS) PathDir(name string) string         { return path.Dir(name) }
func (fs *crashFS) List(directory string) ([]string, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var names []string
	for name := range fs.names {
		if rest, ok := strings.CutPrefix(name, directory+"/"); ok {
			names = append(names, rest)
		}
	}
	return names, nil
}

func (fs *crashFS) powerFailure(rng *rand.Rand) *crashFS {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.crash(rng)
}

// crash returns a file system as a power failure at this moment may leave it;
// mu is held.
func (fs *crashFS) crash(rng *rand.Rand) *crashFS {
	image := newCrashFS()
	mode := rng.IntN(5)
	put := func(name string, n *inode) {
		if n != nil {
			image.names[name] = newInode(n.crash(rng, mode))
		}
	}
	names := slices.Sorted(maps.Keys(fs.names))
	for _, name := range names {
		if fs.history[name] == nil {
			put(name, fs.names[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fs.history)) {
		put(name, fs.history[name][rng.IntN(len(fs.history[name]))])
	}
	return image
}

// kill returns what the process finds when it alone is killed and restarted: the
// cache, with all that is not on the disk yet; mu is held.
func (fs *crashFS) kill() *crashFS {
	image := newCrashFS()
	copies := map[*inode]*inode{nil: nil}
	of := func(n *inode) *inode {
		c, ok := copies[n]
		if !ok {
			c = &inode{bytes.Clone(n.data), slices.Clone(n.sizes), map[int64][][]byte{}, maps.Clone(n.lost)}
			for s, versions := range n.dirty {
				c.dirty[s] = slices.Clone(versions)
			}
			copies[n] = c
		}
		return c
	}
	for name, n := range fs.names {
		image.names[name] = of(n)
	}
	for name, bindings := range fs.history {
		for _, n := range bindings {
			image.history[name] = append(image.history[name], of(n))
		}
	}
	return image
}

// crash chooses a size and, for each dirty sector, what is on the disk. Modes:
// nothing new, all new, old or new, anything, all new but one garbled.
func (n *inode) crash(rng *rand.Rand, mode int) []byte {
	size := n.sizes[rng.IntN(len(n.sizes))]
	switch mode {
	case 0:
		size = n.sizes[0]
	case 1, 4:
		size = n.sizes[len(n.sizes)-1]
	}
	data := make([]byte, max(size, len(n.data)))
	copy(data, n.data)
	for s, old := range n.lost {
		copy(data[s*sectorBytes:], old)
	}
	sectors := slices.Sorted(maps.Keys(n.dirty))
	spoiled := -1
	if mode == 4 && len(sectors) > 0 {
		spoiled = rng.IntN(len(sectors))
	}
	for i, s := range sectors {
		versions := n.dirty[s]
		sector := data[s*sectorBytes : min((s+1)*sectorBytes, int64(len(data)))]
		newest := versions[len(versions)-1]
		switch {
		case mode == 0:
			copy(sector, versions[0])
		case mode == 1 || mode == 4 && i != spoiled:
			copy(sector, newest)
		case mode == 2 || mode == 3 && rng.IntN(2) == 0:
			copy(sector, versions[rng.IntN(len(versions))])
		case rng.IntN(2) == 0: // torn
			copy(sector, versions[rng.IntN(len(versions))])
			copy(sector, newest[:rng.IntN(len(newest))])
		default:
			garble(rng, sector)
		}
	}
	return data[:size]
}

func garble(rng *rand.Rand, p []byte) {
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
}

// crashFile is an open file, or a directory if n is nil.
type crashFile struct {
	vfs.File
	fs   *crashFS
	n    *inode
	name string
}

func (f *crashFile) Close() error { return nil }

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return bytes.NewReader(f.n.data).ReadAt(p, off)
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.change()
	if f.fs.written != nil {
		f.fs.written(f.name, p)
	}
	var failure error
	if f.fs.failWrite != nil {
		if failure = f.fs.failWrite(f.name); failure != nil {
			p = p[:len(p)/2]
		}
	}
	n := f.n
	end := int(off) + len(p)
	if end > len(n.data) {
		n.data = append(n.data, make([]byte, end-len(n.data))...)
		n.sizes = append(n.sizes, end)
	}
	first, last := off/sectorBytes, (int64(end)+sectorBytes-1)/sectorBytes
	for s := first; s < last; s++ {
		if n.dirty[s] == nil {
			n.dirty[s] = [][]byte{n.sector(s)}
			if old, ok := n.lost[s]; ok {
				n.dirty[s][0] = old
				delete(n.lost, s)
			}
		}
	}
	copy(n.data[off:], p)
	for s := first; s < last; s++ {
		n.dirty[s] = append(n.dirty[s], n.sector(s))
	}
	return len(p), failure
}

func (n *inode) sector(s int64) []byte {
	return bytes.Clone(n.data[s*sectorBytes : min((s+1)*sectorBytes, int64(len(n.data)))])
}

func (f *crashFile) SyncData() error { return f.sync(syncData) }

func (f *crashFile) Sync() error {
	if f.n == nil {
		return f.sync(syncDirectory)
	}
	return f.sync(syncFull)
}

func (f *crashFile) sync(kind syncKind) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.change()
	if f.fs.lies != nil && f.fs.lies(kind, f.name) {
		return nil
	}
	failed := f.fs.failSync != nil && f.fs.failSync(f.name)
	switch {
	case f.n == nil && failed:
		return syscall.EIO
	case f.n == nil:
		maps.DeleteFunc(f.fs.history, func(name string, _ []*inode) bool { return path.Dir(name) == f.name })
	case failed:
		for s, versions := range f.n.dirty {
			f.n.lost[s] = versions[0]
		}
		clear(f.n.dirty)
		return syscall.EIO
	default:
		clear(f.n.dirty)
		f.n.sizes = []int{len(f.n.data)}
	}
	return nil
}

func (f *crashFile) Stat() (vfs.FileInfo, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return fileSize{size: int64(len(f.n.data))}, nil
}

// fileSize is all that the log asks a FileInfo for.
type fileSize struct {
	vfs.FileInfo
	size int64
}

func (s fileSize) Size() int64 { return s.size }
