package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit/engine/wal"
)

// RestoreConfig says what to restore, and where.
type RestoreConfig struct {
	// FS holds both directories. Default vfs.Default.
	FS vfs.FS
	// From is one backup's directory.
	From string
	// Dir becomes the directory of a store: Config.Dir. It must not exist, or be
	// empty.
	Dir string
	// Copy makes the store's files copies. Default: those that never change are
	// links to the backup's where the file system lets it.
	Copy bool
	// Progress, if set, is called now and then.
	Progress func(Progress)
}

// restoringSuffix is behind a directory that is not whole yet.
const restoringSuffix = ".restoring"

// ErrNotEmpty: there is something where a store shall be restored.
var ErrNotEmpty = errors.New("engine: the directory is not empty")

// Restore makes a store of a backup, which it verifies first. After an error, or
// a crash, there is no store. The new one is another incarnation (see
// Store.Restored): what came after the backup will be numbered again.
func Restore(ctx context.Context, cfg RestoreConfig) (Backup, error) {
	fs := orDefault(cfg.FS)
	w := newFileWork(ctx, fs, cfg.Progress)
	b, err := restore(w, cfg)
	if err != nil {
		return b, fmt.Errorf("restore %s to %s: %w", cfg.From, cfg.Dir, err)
	}
	return b, nil
}

func restore(w *fileWork, cfg RestoreConfig) (b Backup, err error) {
	if err := mustBeFree(w.fs, cfg.Dir); err != nil {
		return b, err
	}
	b, bad, err := verifyFiles(w, cfg.From)
	if err = errors.Join(err, bad.err()); err != nil {
		return b, err
	}
	raw, err := readSmall(w.fs, w.fs.PathJoin(cfg.From, superblockName))
	if err != nil {
		return b, err
	}
	sb, err := parseSuperblock(raw)
	if err != nil {
		return b, err
	}
	if sb.groups != len(b.Groups) || sb.node != b.Node {
		return b, fmt.Errorf("%w: the superblock is of %d groups and node %d, the manifest of %d and %d", ErrBackup, sb.groups, sb.node, len(b.Groups), b.Node)
	}
	if err := makeDirs(w.fs, w.fs.PathDir(cfg.Dir)); err != nil {
		return b, err
	}
	temp := cfg.Dir + restoringSuffix
	if err = w.fill(&b, cfg, sb, temp); err != nil {
		return b, errors.Join(err, w.fs.RemoveAll(temp))
	}
	if err := putInPlace(w.fs, temp, cfg.Dir); err != nil {
		return b, errors.Join(err, w.fs.RemoveAll(temp), w.fs.RemoveAll(cfg.Dir))
	}
	return b, nil
}

// putInPlace gives what was restored its name, for good.
func putInPlace(fs vfs.FS, temp, dir string) error {
	if err := fs.RemoveAll(dir); err != nil { // it holds nothing
		return err
	}
	if err := fs.Rename(temp, dir); err != nil {
		return err
	}
	return syncDir(fs, fs.PathDir(dir))
}

func mustBeFree(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "LOCK" }) // of an Open that found nothing
	if len(names) > 0 {
		return fmt.Errorf("%w: %s", ErrNotEmpty, dir)
	}
	return nil
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrBackup, strings.Join(p, "; "))
}

// fill makes a whole, durable store in temp, its name aside.
func (w *fileWork) fill(b *Backup, cfg RestoreConfig, sb superblock, temp string) error {
	if err := w.fs.RemoveAll(temp); err != nil { // a crash left it
		return err
	}
	dirs := []string{w.fs.PathJoin(temp, backupSegments), w.fs.PathJoin(temp, backupRows), temp}
	for _, dir := range dirs {
		if err := w.fs.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	w.begin("restore", len(b.Files), b.Bytes())
	for i := range b.Files {
		f, before := &b.Files[i], w.at.Bytes
		if f.Name != superblockName {
			if err := w.bring(f, cfg.From, temp, !cfg.Copy); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
		}
		w.done(max(0, f.Size-(w.at.Bytes-before)))
	}
	// The rows are opened only now: what they say is what Open will find.
	var bad problems
	if err := verifyRows(w.fs, b, &bad, temp, dirs[0]); err != nil || len(bad) > 0 {
		return errors.Join(err, bad.err())
	}
	if err := w.freshLog(b, w.fs.PathJoin(temp, "wal")); err != nil {
		return err
	}
	sb.hasLog, sb.restored = true, randomLife()|1
	if err := w.writeSmall(w.fs.PathJoin(temp, superblockName), sb.appendTo(nil)); err != nil {
		return err
	}
	return syncDirs(w.fs, dirs...)
}

// restoredWALBytes is enough for the hard states of 1024 groups.
const restoredWALBytes = 256 << 10

// freshLog makes a WAL that begins where the checkpoints end. A group's vote in
// its last term is not known: it is alone, and begins a new term.
func (w *fileWork) freshLog(b *Backup, dir string) error {
	unexpected := func(uint64, wal.Record) error { return errors.New("BUG: a new WAL holds records") }
	log, err := wal.Open(wal.Config{FS: w.fs, Dir: dir, FirstFileBytes: restoredWALBytes, MaxFileBytes: restoredWALBytes}, unexpected)
	if err != nil {
		return err
	}
	var records []wal.Record
	for _, g := range b.Groups {
		records = append(records, hardState{term: g.Term, commit: g.Applied}.record(uint32(g.Group)))
	}
	if err = log.Append(records); err == nil {
		err = log.Sync()
	}
	return errors.Join(err, log.Close())
}

// Restored returns the random number of the incarnation that a restore from a
// backup began, 0 if none did. What is numbered in logs since is not what had
// these numbers in the incarnation before.
func (s *Store) Restored() uint64 { return s.restored }
