package rows

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
)

// DB holds the rows, checkpoints and segment lists of all groups as of their
// last checkpoints. Its methods may be called concurrently, but for Close: the
// owner ends all other calls first.
type DB struct {
	cfg    Config
	gate   *gate
	pebble *pebble.DB
	lock   *pebble.Lock
	opened atomic.Bool
	closed atomic.Bool
	keys   sync.Pool // *[]byte, internal keys
	point  pebble.IterOptions
}

// Open opens the database in cfg.Dir, or makes one.
func Open(cfg Config) (*DB, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	db := &DB{cfg: cfg, point: pebble.IterOptions{UseL6Filters: true}}
	db.keys.New = func() any { return new([]byte) }
	db.gate = &gate{FS: cfg.FS, dir: cfg.Dir, report: db.report}
	if err := db.open(); err != nil {
		return nil, fmt.Errorf("open rows in %s: %w", cfg.Dir, err)
	}
	db.opened.Store(true)
	if err := db.gate.err(); err != nil { // failed just before opened was set
		_ = db.Close()
		return nil, fmt.Errorf("open rows in %s: %w", cfg.Dir, err)
	}
	return db, nil
}

func (db *DB) open() (err error) {
	fs, dir := db.cfg.FS, db.cfg.Dir
	if err := makeDir(fs, dir); err != nil {
		return err
	}
	if db.lock, err = pebble.LockDirectory(dir, fs); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = db.release()
		}
	}()
	if err := checkPebbleFormat(fs, dir); err != nil {
		return err
	}
	if err := checkManifestMarker(fs, dir); err != nil {
		return err
	}
	if db.gate.guard, err = openGuard(fs, dir); err != nil {
		return err
	}
	options := pebbleOptions(&db.cfg, db.gate)
	options.Lock = db.lock
	options.Cache = pebble.NewCache(db.cfg.CacheBytes + memTablesCached*int64(db.cfg.memTableBytes))
	defer options.Cache.Unref() // Pebble holds its own reference
	db.pebble, err = pebble.Open(dir, options)
	if failed := db.gate.err(); failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	return db.checkFormat()
}

// makeDir makes dir durable.
func makeDir(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syncDir(fs, fs.PathDir(dir))
}

// release closes what is open.
func (db *DB) release() (err error) {
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	if db.pebble != nil {
		keep(db.pebble.Close())
	}
	if db.gate.guard != nil {
		keep(db.gate.guard.close())
	}
	keep(db.lock.Close())
	return err
}

// report is the gate's.
func (db *DB) report(reason error) {
	if !db.opened.Load() {
		return // Open returns it
	}
	db.cfg.Logger.Error("rows: failed, nothing is written any more", "error", reason)
	if db.cfg.Fatal != nil {
		db.cfg.Fatal(reason)
	}
}

// checkPebbleFormat tells a store of a newer Pebble from a damaged one.
func checkPebbleFormat(fs vfs.FS, dir string) error {
	marker, value, err := atomicfs.LocateMarker(fs, dir, "format-version")
	if err != nil {
		return err
	}
	defer marker.Close() //nolint:errcheck // a directory that was only read
	if value == "" {
		return nil
	}
	version, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: Pebble format %q", ErrCorrupt, value)
	}
	if version > uint64(pebbleFormat) {
		return fmt.Errorf("%w: Pebble format %d, this program knows %d", ErrVersion, version, pebbleFormat)
	}
	return nil
}

// checkManifestMarker refuses tables without the marker that names their manifest:
// Pebble would begin a new database and serve what its logs hold.
func checkManifestMarker(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	tables, marked := false, false
	for _, name := range names {
		tables = tables || strings.HasSuffix(name, ".sst")
		marked = marked || strings.HasPrefix(name, "marker.manifest.")
	}
	if tables && !marked {
		return fmt.Errorf("%w: the marker of the manifest is missing", ErrCorrupt)
	}
	return nil
}

// checkFormat compares the version of the key layout, or writes it to a new
// database.
func (db *DB) checkFormat() error {
	key := []byte{kindFormat}
	value, closer, err := db.pebble.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		if err := db.pebble.Set(key, seal(key, []byte{formatVersion}), pebble.Sync); err != nil {
			return err
		}
		return db.gate.err()
	}
	if err != nil {
		return err
	}
	defer closer.Close() //nolint:errcheck // frees a block
	_, err = unseal("format", key, value, formatVersion, formatBytes)
	return err
}

// Close releases everything. A second Close does nothing. After a failure it
// still releases everything, and returns nil.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	failed := db.gate.err()
	if err := db.release(); err != nil && failed == nil {
		return fmt.Errorf("close rows: %w", err)
	}
	return nil
}

// Err returns why the database failed, nil while it works.
func (db *DB) Err() error { return db.gate.err() }

func (db *DB) usable() error {
	if db.closed.Load() {
		return ErrClosed
	}
	return db.gate.err()
}

// Get appends a row's value to dst. It returns dst unchanged if there is none.
func (db *DB) Get(group uint32, key, dst []byte) (value []byte, ok bool, err error) {
	internal := db.keys.Get().(*[]byte)
	*internal = appendRowKey((*internal)[:0], group, key)
	dst, ok, err = db.get(*internal, dst)
	db.keys.Put(internal)
	return dst, ok, err
}

func (db *DB) get(key, dst []byte) ([]byte, bool, error) {
	if err := db.usable(); err != nil {
		return dst, false, fmt.Errorf("get row: %w", err)
	}
	start := len(dst)
	// Not pebble's Get: that does without the filters of the largest level, reads
	// a block for each absent key and takes longer even if it is cached.
	it, err := db.pebble.NewIter(&db.point)
	if err != nil {
		return dst, false, fmt.Errorf("get row %x: %w", key, err)
	}
	ok := it.SeekPrefixGE(key)
	if ok {
		var value []byte
		value, err = it.ValueAndErr()
		dst = append(dst, value...)
	}
	if closed := it.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return dst[:start], false, fmt.Errorf("get row %x: %w", key, err)
	}
	return dst, ok, nil
}

// Checkpoint returns the group's newest checkpoint.
func (db *DB) Checkpoint(group uint32) (Checkpoint, bool, error) {
	key := appendGroupKey(nil, kindCheckpoint, group)
	value, ok, err := db.get(key, nil)
	if err != nil || !ok {
		return Checkpoint{}, false, err
	}
	c, err := parseCheckpoint(key, value)
	return c, err == nil, err
}

// Segments calls fn for the segments of the group's manifest, ids ascending.
// meta is valid during the call. An error of fn ends it and is returned.
func (db *DB) Segments(group uint32, fn func(id uint64, meta []byte) error) error {
	return db.ascend(appendGroupKey(nil, kindSegment, group), func(key, value []byte) (bool, error) {
		id, meta, err := parseSegment(key, value)
		if err == nil {
			err = fn(id, meta)
		}
		return err == nil, err
	})
}

// HasRows tells whether the group has any row.
func (db *DB) HasRows(group uint32) (has bool, err error) {
	err = db.ascend(appendGroupKey(nil, kindRow, group), func(_, _ []byte) (bool, error) {
		has = true
		return false, nil
	})
	return has, err
}

// ascend calls fn for all internal keys with prefix until it returns false.
func (db *DB) ascend(prefix []byte, fn func(key, value []byte) (bool, error)) error {
	if err := db.usable(); err != nil {
		return fmt.Errorf("scan rows: %w", err)
	}
	it, err := db.pebble.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(nil, prefix)})
	if err != nil {
		return fmt.Errorf("scan rows: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			ok, err = fn(it.Key(), value)
		}
		if err != nil || !ok {
			_ = it.Close()
			return err
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("scan rows: %w", err)
	}
	return nil
}

// CheckpointTo makes a copy of the database as it is now in dir, which must not
// exist, mostly of hard links. Open can read it.
func (db *DB) CheckpointTo(dir string) error {
	if err := db.usable(); err != nil {
		return fmt.Errorf("copy rows: %w", err)
	}
	// Until the first flush of its life Pebble has no manifest of its own, and copies
	// an empty one: the format is written again so that there is something to flush.
	key := []byte{kindFormat}
	err := db.pebble.Set(key, seal(key, []byte{formatVersion}), pebble.Sync)
	if err == nil {
		err = db.pebble.Flush()
	}
	if err == nil {
		err = db.pebble.Checkpoint(dir, pebble.WithFlushedWAL())
	}
	if err == nil {
		err = guardCopy(db.cfg.FS, dir)
	}
	if failed := db.usable(); failed != nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("copy rows to %s: %w", dir, err)
	}
	return nil
}
