package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit/engine/segment"
)

// A backup is made while the store runs:
//
//	cut       all groups freeze at one moment and are checkpointed; rows are copied
//	          by links to a staging directory, the segments' versions are pinned
//	files     each is linked or copied into NAME.partial, and summed
//	manifest  written last, then all is synced and NAME.partial becomes NAME
//
// One moment for all groups: a message on its way between two of them is either
// not sent yet, or in the outbox of one, or with the other, never lost or twice.

// BackupConfig says where a backup goes.
type BackupConfig struct {
	// Dir holds backups, each in a directory named by its time. Made if missing.
	Dir string
	// Program is this program's version, for the manifest.
	Program string
	// Progress, if set, is called now and then.
	Progress func(Progress)
}

const (
	partialSuffix = ".partial"
	stagingName   = "backup.staging"
	backupLock    = "LOCK"
	backupStamp   = "20060102T150405.000Z"
)

// guests are callers that work on the store's files from goroutines of their
// own: Close sends them away and waits for them.
type guests struct {
	mu      sync.Mutex
	closed  bool
	inside  sync.WaitGroup
	leaving chan struct{} // closed by Close
}

func (g *guests) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	g.inside.Add(1)
	return nil
}

func (g *guests) close() {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		close(g.leaving)
	}
	g.mu.Unlock()
	g.inside.Wait()
}

// stoppable is a context that also ends when stop is closed.
type stoppable struct {
	context.Context
	stop <-chan struct{}
}

// Err tells of stop at once, before the goroutine of untilStopped does.
func (c stoppable) Err() error {
	select {
	case <-c.stop:
		return context.Canceled
	default:
		return c.Context.Err()
	}
}

// untilStopped returns a context that also ends when stop is closed. end must
// be called.
func untilStopped(parent context.Context, stop <-chan struct{}) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancel(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return stoppable{ctx, stop}, func() {
		cancel()
		<-done
	}
}

// Backup makes a backup of everything acknowledged before the call, and returns
// its name in cfg.Dir. What earlier backups there hold already is shared with
// the newest of them. After an error, or a crash, there is no such name.
func (s *Store) Backup(ctx context.Context, cfg BackupConfig) (name string, b Backup, err error) {
	if err := s.guests.enter(); err != nil {
		return "", b, err
	}
	defer s.guests.inside.Done()
	ctx, end := untilStopped(ctx, s.guests.leaving)
	defer end()
	s.backingUp.Lock()
	defer s.backingUp.Unlock()
	fs := s.cfg.FS
	w := &backupWriter{fileWork: newFileWork(ctx, fs, cfg.Progress), dir: cfg.Dir}
	defer func() {
		if left := w.end(); err == nil {
			err = left
		}
		if err != nil {
			err = fmt.Errorf("back up to %s: %w", cfg.Dir, err)
		}
	}()
	if err := w.start(); err != nil {
		return "", b, err
	}
	w.begin("checkpoint", 0, 0)
	c, err := s.cut()
	if err != nil {
		return "", b, err
	}
	defer func() { err = errors.Join(err, c.release(fs)) }()
	b = c.manifest
	b.Created, b.Program, b.Node = time.UnixMilli(s.cfg.Clock()).UTC(), cfg.Program, s.cfg.Node
	if err := w.write(c, &b); err != nil {
		return "", b, err
	}
	name, err = w.publish(&b)
	return name, b, err
}

// backupCut is what one moment's state lies in.
type backupCut struct {
	manifest Backup // but for the files
	staging  string
	versions []*version
	sources  []backupSource
}

// backupSource is a file that goes into the backup.
type backupSource struct {
	path string
	file BackupFile // SHA256 is not known yet
}

// cut checkpoints all groups as of one moment and keeps the files of it.
func (s *Store) cut() (c *backupCut, err error) {
	s.merging.Lock() // segments stay; taken before disk, as a merge does
	defer s.merging.Unlock()
	s.disk.Lock() // no other checkpoint
	defer s.disk.Unlock()
	if err := s.checkpointTogether(); err != nil {
		s.checkpointer.soon() // it goes on with what is frozen
		return nil, err
	}
	fs := s.cfg.FS
	c = &backupCut{staging: fs.PathJoin(s.cfg.Dir, stagingName)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.release(fs))
		}
	}()
	if err := fs.RemoveAll(c.staging); err != nil {
		return c, err
	}
	if err := s.rows.CheckpointTo(fs.PathJoin(c.staging, backupRows)); err != nil {
		return c, err
	}
	c.manifest.Version = backupVersion
	for _, g := range s.groups {
		if err := s.pin(c, g); err != nil {
			return c, err
		}
	}
	return c, c.addFiles(s)
}

// checkpointTogether freezes all groups under all locks, then checkpoints them.
func (s *Store) checkpointTogether() error {
	for _, g := range s.groups {
		if g.freezing != nil { // begun before, as of another moment
			if err := s.checkpoint(g); err != nil {
				return err
			}
		}
	}
	if err := s.freezeTogether(); err != nil {
		return err
	}
	for _, g := range s.groups {
		if g.freezing != nil {
			if err := s.checkpoint(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// freezeTogether takes all groups' locks in order: who holds one of them for
// reading must not wait for another.
func (s *Store) freezeTogether() error {
	for _, g := range s.groups {
		g.state.mu.Lock()
		defer g.state.mu.Unlock()
	}
	for _, g := range s.groups {
		if err := g.state.failed; err != nil {
			return fmt.Errorf("group %d: %w", g.id, err)
		}
	}
	for _, g := range s.groups {
		g.freezeLocked()
	}
	return nil
}

// pin keeps the segments of a group.
func (s *Store) pin(c *backupCut, g *group) error {
	g.state.mu.RLock()
	v := g.state.live
	v.acquire()
	g.state.mu.RUnlock()
	c.versions = append(c.versions, v)
	point, ok, err := s.rows.Checkpoint(uint32(g.id))
	if err == nil && !ok {
		panic(fmt.Sprintf("BUG: group %d has applied nothing", g.id))
	}
	if err != nil {
		return err
	}
	c.manifest.Groups = append(c.manifest.Groups, BackupGroup{
		Group: g.id, Applied: point.Applied, Term: point.Term, Stamp: point.Stamp, Segments: len(v.segments),
	})
	for _, r := range v.segments {
		m := r.Meta()
		file, content := segment.FileName(m.ID), sha256.Sum256(m.AppendTo(nil))
		c.sources = append(c.sources, backupSource{
			path: s.cfg.FS.PathJoin(s.segmentDir(), file),
			file: BackupFile{Name: backupSegments + "/" + file, Size: m.SizeBytes, Content: hex.EncodeToString(content[:])},
		})
	}
	return nil
}

// addFiles adds what is not a segment.
func (c *backupCut) addFiles(s *Store) error {
	fs, dir := s.cfg.FS, s.cfg.FS.PathJoin(c.staging, backupRows)
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	add := func(path, name string) error {
		info, err := fs.Stat(path)
		if err == nil {
			c.sources = append(c.sources, backupSource{path: path, file: BackupFile{Name: name, Size: info.Size()}})
		}
		return err
	}
	for _, name := range names {
		if err := add(fs.PathJoin(dir, name), backupRows+"/"+name); err != nil {
			return err
		}
	}
	return add(fs.PathJoin(s.cfg.Dir, superblockName), superblockName)
}

func (c *backupCut) release(fs vfs.FS) error {
	for _, v := range c.versions {
		v.release()
	}
	if err := fs.RemoveAll(c.staging); err != nil {
		return fmt.Errorf("remove %s: %w", c.staging, err)
	}
	return nil
}

// backupWriter fills one directory under dir.
type backupWriter struct {
	*fileWork
	dir      string
	lock     io.Closer
	partial  string // the directory while it is not whole
	previous map[string]BackupFile
	before   string // the directory of the previous backup
}

// start takes the directory, clears what a crash left, and finds the newest
// backup to share files with.
func (w *backupWriter) start() error {
	if err := makeDirs(w.fs, w.dir); err != nil {
		return err
	}
	var err error
	if w.lock, err = w.fs.Lock(w.fs.PathJoin(w.dir, backupLock)); err != nil {
		return fmt.Errorf("%w: another backup is being made there: %w", ErrLocked, err)
	}
	list, err := ListBackups(w.fs, w.dir)
	if err != nil {
		return err
	}
	for _, b := range list {
		switch {
		case b.Partial:
			if err := w.fs.RemoveAll(w.fs.PathJoin(w.dir, b.Name)); err != nil {
				return err
			}
		case b.Err == nil:
			w.before, w.previous = w.fs.PathJoin(w.dir, b.Name), map[string]BackupFile{}
			for _, f := range b.Backup.Files {
				w.previous[f.Name] = f
			}
		}
	}
	return nil
}

// end releases the directory, without what is not whole.
func (w *backupWriter) end() error {
	var err error
	if w.partial != "" {
		err = w.fs.RemoveAll(w.partial)
	}
	if w.lock != nil {
		err = errors.Join(err, w.lock.Close())
	}
	return err
}

// write fills NAME.partial but for the manifest.
func (w *backupWriter) write(c *backupCut, b *Backup) error {
	name := b.Created.Format(backupStamp)
	for i := 2; w.exists(name); i++ {
		name = b.Created.Format(backupStamp) + "-" + strconv.Itoa(i)
	}
	w.partial = w.fs.PathJoin(w.dir, name+partialSuffix)
	for _, sub := range []string{backupSegments, backupRows} {
		if err := w.fs.MkdirAll(w.fs.PathJoin(w.partial, sub), 0o700); err != nil {
			return err
		}
	}
	total := int64(0)
	for i := range c.sources {
		total += c.sources[i].file.Size
	}
	w.begin("files", len(c.sources), total)
	for _, src := range c.sources {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		read := w.at.Bytes
		file, err := w.place(src)
		if err != nil {
			return fmt.Errorf("%s: %w", src.file.Name, err)
		}
		w.done(max(0, file.Size-(w.at.Bytes-read)))
		b.Files = append(b.Files, file)
	}
	return nil
}

func (w *backupWriter) exists(name string) bool {
	_, err := w.fs.Stat(w.fs.PathJoin(w.dir, name))
	return !errors.Is(err, os.ErrNotExist)
}

// place brings one file into the backup: by a link to the previous one's, if that
// is the same, by a link to the store's, or by a copy.
func (w *backupWriter) place(src backupSource) (file BackupFile, err error) {
	file = src.file
	dst := localPath(w.fs, w.partial, file.Name)
	if shared, ok, err := w.share(src, dst); err != nil || ok {
		return shared, err
	}
	linked, err := w.link(src.path, dst)
	if err != nil {
		return file, err
	}
	size := int64(0)
	if linked {
		size, file.SHA256, err = w.sum(dst)
		if err == nil && !file.immutable() {
			err = w.syncFile(dst)
		}
	} else {
		size, file.SHA256, err = w.copy(src.path, dst)
	}
	if err == nil && size != file.Size {
		err = fmt.Errorf("%w: it has %d bytes, expected were %d", ErrFormat, size, file.Size)
	}
	return file, err
}

// share links the previous backup's file if it has the same content.
func (w *backupWriter) share(src backupSource, dst string) (old BackupFile, ok bool, err error) {
	old, ok = w.previous[src.file.Name]
	if !ok || !old.immutable() || old.Size != src.file.Size || old.Content != src.file.Content {
		return old, false, nil
	}
	from := localPath(w.fs, w.before, old.Name)
	if info, err := w.fs.Stat(from); err != nil || info.Size() != old.Size {
		return old, false, nil //nolint:nilerr // somebody took it away or cut it: not this backup's trouble
	}
	if old.Content == "" { // an equal name and size is not enough: compare
		if _, sum, err := w.sum(src.path); err != nil || sum != old.SHA256 {
			return old, false, err
		}
	}
	ok, err = w.link(from, dst)
	return old, ok, err
}

func (w *backupWriter) syncFile(name string) error {
	f, err := w.fs.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// publish writes the manifest and gives the backup its name.
func (w *backupWriter) publish(b *Backup) (name string, err error) {
	if err := w.writeSmall(w.fs.PathJoin(w.partial, backupManifestName), b.appendTo(nil)); err != nil {
		return "", err
	}
	err = syncDirs(w.fs, w.fs.PathJoin(w.partial, backupSegments), w.fs.PathJoin(w.partial, backupRows), w.partial)
	if err != nil {
		return "", err
	}
	final := strings.TrimSuffix(w.partial, partialSuffix)
	if err := w.fs.Rename(w.partial, final); err != nil {
		return "", err
	}
	w.partial = ""
	if err := syncDir(w.fs, w.dir); err != nil {
		return "", err
	}
	return w.fs.PathBase(final), nil
}
