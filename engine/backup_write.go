package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

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
