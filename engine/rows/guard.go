package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guard remembers in a file of its own what Pebble's logs and manifests held
// when they were last synced, and Open compares.
//
// Why: Pebble takes damage in the last block of its log, and anywhere in its
// manifest, for the torn tail of a crash and drops what follows in silence:
// one flipped bit would lose a committed checkpoint.
type guard struct {
	fs  vfs.FS
	dir string

	mu    sync.Mutex
	file  vfs.File
	count uint64             // writes of the file; the newest slot has it
	files map[string]guarded // by name in dir
	slot  []byte             // reused
}

// guarded is the beginning of a file that is durable.
type guarded struct {
	bytes int64
	crc   uint32 // CRC32C
}

const (
	guardName    = "GUARD"
	guardMagic   = "GWRG"
	guardVersion = 1
	// Two slots, written in turn, so that a torn write leaves the one before.
	guardSlotBytes   = 16 << 10
	guardHeaderBytes = 4 + 4 + 4 + 4 + 8
	guardEntryBytes  = 1 + 8 + 4 // and the name
)

// isGuarded tells whether Pebble only appends to the file and trusts its end.
func isGuarded(name string) bool {
	return strings.HasSuffix(name, ".log") || strings.HasPrefix(name, "MANIFEST-")
}

// openGuard opens the guard of a directory, which exists, and checks the files
// there, or makes one if there is no database yet.
func openGuard(fs vfs.FS, dir string) (*guard, error) {
	g := &guard{fs: fs, dir: dir, files: map[string]guarded{}, slot: make([]byte, guardSlotBytes)}
	names, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	if err := g.load(); err != nil {
		isNew := !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "MANIFEST-") })
		if !isNew || errors.Is(err, ErrVersion) {
			return nil, err
		}
		return g, g.create()
	}
	for name, want := range g.files {
		got, err := digestFile(fs, fs.PathJoin(dir, name), want.bytes)
		if err == nil && got != want {
			err = fmt.Errorf("%w: the first %d bytes of %s changed", ErrCorrupt, want.bytes, name)
		}
		if err != nil {
			return nil, err
		}
	}
	return g, g.open()
}

// load reads the newest slot.
func (g *guard) load() error {
	f, err := g.fs.Open(g.fs.PathJoin(g.dir, guardName))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: %s is missing", ErrCorrupt, guardName)
		}
		return err
	}
	defer f.Close() //nolint:errcheck // was read
	found := false
	for i := range int64(2) {
		n, err := f.ReadAt(g.slot, i*guardSlotBytes)
		if err != nil && err != io.EOF { //nolint:errorlint // never wrapped
			return err
		}
		count, files, err := parseGuard(g.slot[:n])
		if errors.Is(err, ErrVersion) {
			return err
		}
		if err == nil && (!found || count > g.count) {
			g.count, g.files, found = count, files, true
		}
	}
	if !found {
		return fmt.Errorf("%w: %s has no whole slot", ErrCorrupt, guardName)
	}
	return nil
}

// create makes the file, with no file guarded.
func (g *guard) create() error {
	var err error
	g.file, err = g.fs.Create(g.fs.PathJoin(g.dir, guardName), vfs.WriteCategoryUnspecified)
	if err == nil {
		err = g.write()
	}
	if err == nil {
		err = syncDir(g.fs, g.dir)
	}
	if err != nil {
		_ = g.close()
	}
	return err
}

// open makes sure that the newest slot is on disk before the older one is
// overwritten.
func (g *guard) open() error {
	var err error
	g.file, err = g.fs.OpenReadWrite(g.fs.PathJoin(g.dir, guardName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if err := g.file.Sync(); err != nil {
		_ = g.close()
		return err
	}
	return nil
}

// synced notes the durable beginning of a file. Called before anyone relies on it.
func (g *guard) synced(name string, state guarded) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	old, ok := g.files[name]
	if old == state {
		return nil
	}
	if !ok { // its name must be on disk before it is missed
		if err := syncDir(g.fs, g.dir); err != nil {
			return err
		}
	}
	g.files[name] = state
	return g.write()
}

// forget is called before a file is removed, renamed or made anew.
func (g *guard) forget(name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.files[name]; !ok {
		return nil
	}
	delete(g.files, name)
	return g.write()
}

// write writes and syncs the next slot.
func (g *guard) write() error {
	g.count++
	slot := appendGuard(g.slot[:0], g.count, g.files)
	if len(slot) > guardSlotBytes {
		return fmt.Errorf("rows: %d files are too many to guard", len(g.files))
	}
	if _, err := g.file.WriteAt(slot, int64(g.count%2)*guardSlotBytes); err != nil {
		return err
	}
	return g.file.SyncData()
}

func (g *guard) close() error {
	if g.file == nil {
		return nil
	}
	f := g.file
	g.file = nil
	return f.Close()
}

// guardCopy makes the guard of a copied database, whose files are at rest.
func guardCopy(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	g := &guard{fs: fs, dir: dir, files: map[string]guarded{}}
	for _, name := range names {
		if !isGuarded(name) {
			continue
		}
		stat, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			return err
		}
		if g.files[name], err = digestFile(fs, fs.PathJoin(dir, name), stat.Size()); err != nil {
			return err
		}
	}
	if err := g.create(); err != nil {
		return err
	}
	return g.close()
}

func appendGuard(dst []byte, count uint64, files map[string]guarded) []byte {
	start := len(dst)
	dst = append(dst, guardMagic...)
	dst = append(dst, 0, 0, 0, 0) // CRC, below
	dst = binary.LittleEndian.AppendUint32(dst, guardVersion)
	dst = append(dst, 0, 0, 0, 0) // length, below
	dst = binary.LittleEndian.AppendUint64(dst, count)
	for name, f := range files {
		dst = append(append(dst, byte(len(name))), name...)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(f.bytes))
		dst = binary.LittleEndian.AppendUint32(dst, f.crc)
	}
	slot := dst[start:]
	binary.LittleEndian.PutUint32(slot[12:], uint32(len(slot)-guardHeaderBytes))
	binary.LittleEndian.PutUint32(slot[4:], crc32.Checksum(slot[8:], castagnoli))
	return dst
}

func parseGuard(slot []byte) (count uint64, files map[string]guarded, err error) {
	corrupt := fmt.Errorf("%w: slot of %s", ErrCorrupt, guardName)
	if len(slot) < guardHeaderBytes || string(slot[:4]) != guardMagic {
		return 0, nil, corrupt
	}
	length := binary.LittleEndian.Uint32(slot[12:])
	if uint64(length) > uint64(len(slot)-guardHeaderBytes) {
		return 0, nil, corrupt
	}
	slot = slot[:guardHeaderBytes+int(length)]
	if crc32.Checksum(slot[8:], castagnoli) != binary.LittleEndian.Uint32(slot[4:]) {
		return 0, nil, corrupt
	}
	if v := binary.LittleEndian.Uint32(slot[8:]); v != guardVersion {
		return 0, nil, fmt.Errorf("%w: %s has version %d, this program knows %d", ErrVersion, guardName, v, guardVersion)
	}
	count = binary.LittleEndian.Uint64(slot[16:])
	files = map[string]guarded{}
	for rest := slot[guardHeaderBytes:]; len(rest) > 0; {
		nameEnd := 1 + int(rest[0])
		if len(rest) < guardEntryBytes+int(rest[0]) {
			return 0, nil, corrupt
		}
		f := guarded{int64(binary.LittleEndian.Uint64(rest[nameEnd:])), binary.LittleEndian.Uint32(rest[nameEnd+8:])}
		if f.bytes < 0 || !isGuarded(string(rest[1:nameEnd])) {
			return 0, nil, corrupt
		}
		files[string(rest[1:nameEnd])] = f
		rest = rest[nameEnd+12:]
	}
	return count, files, nil
}

// digestFile reads the first n bytes of a file, fewer if it has no more.
func digestFile(fs vfs.FS, name string, n int64) (guarded, error) {
	f, err := fs.Open(name, vfs.SequentialReadsOption)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		return guarded{}, err
	}
	defer f.Close() //nolint:errcheck // was read
	h := crc32.New(castagnoli)
	read, err := io.CopyBuffer(h, io.LimitReader(f, n), make([]byte, 256<<10))
	return guarded{read, h.Sum32()}, err
}

// syncDir makes the names in dir durable.
func syncDir(fs vfs.FS, dir string) error {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
