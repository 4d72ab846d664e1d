package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
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
	if err := s.copyRows(fs.PathJoin(c.staging, backupRows)); err != nil {
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

// copyRows returns what Pebble panics with when it can't sync the copy: the store
// itself has not failed.
func (s *Store) copyRows(dir string) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		cause, ok := p.(error)
		if _, bug := p.(runtime.Error); bug || !ok {
			panic(p)
		}
		err = fmt.Errorf("copy rows to %s: %w", dir, cause)
	}()
	return s.rows.CheckpointTo(dir)
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
