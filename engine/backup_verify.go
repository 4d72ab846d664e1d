package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit/engine/rows"
	"github.com/godwit-im/godwit/engine/segment"
)

// ListedBackup is a directory that holds a backup, or part of one.
type ListedBackup struct {
	Name    string
	Partial bool // a backup that is being made, or was broken off
	Backup  Backup
	Err     error // why its manifest can't be read
}

// ListBackups returns the backups in dir, oldest first. fs may be nil.
func ListBackups(fs vfs.FS, dir string) (list []ListedBackup, err error) {
	fs = orDefault(fs)
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		if strings.HasSuffix(name, partialSuffix) {
			list = append(list, ListedBackup{Name: name, Partial: true})
			continue
		}
		if _, err := fs.Stat(fs.PathJoin(path, backupManifestName)); err != nil {
			continue // something else
		}
		b, err := readBackup(fs, path)
		list = append(list, ListedBackup{Name: name, Backup: b, Err: err})
	}
	slices.SortFunc(list, func(a, b ListedBackup) int {
		return cmp.Or(a.Backup.Created.Compare(b.Backup.Created), strings.Compare(a.Name, b.Name))
	})
	return list, nil
}

func orDefault(fs vfs.FS) vfs.FS {
	if fs == nil {
		return vfs.Default
	}
	return fs
}

// problems collects what is wrong with a backup.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// VerifyBackup reads the whole backup in dir and says all it finds wrong. err is
// about reading it at all. To open the rows it makes links beside dir; where that
// is not possible it says so in a note. fs may be nil.
func VerifyBackup(ctx context.Context, fs vfs.FS, dir string, report func(Progress)) (b Backup, bad, notes []string, err error) {
	fs = orDefault(fs)
	w := newFileWork(ctx, fs, report)
	b, p, err := verifyFiles(w, dir)
	if err != nil || len(p) > 0 {
		return b, p, nil, err
	}
	w.begin("rows", 0, 0)
	scratch := strings.TrimSuffix(dir, "/") + ".verify" // not partial: a backup made meanwhile leaves it alone
	defer func() { err = errors.Join(err, fs.RemoveAll(scratch)) }()
	if err := copyRows(w, &b, dir, scratch); err != nil {
		if ctx.Err() != nil {
			return b, p, nil, ctx.Err()
		}
		return b, p, []string{fmt.Sprintf("the rows were not opened, for that %s must be writable: %v", fs.PathDir(dir), err)}, nil
	}
	err = verifyRows(fs, &b, &p, scratch, fs.PathJoin(dir, backupSegments))
	return b, p, nil, err
}

// verifyFiles holds every file against the manifest.
func verifyFiles(w *fileWork, dir string) (b Backup, p problems, err error) {
	b, err = readBackup(w.fs, dir)
	if errors.Is(err, ErrBackup) {
		p.add("%v", err)
		return b, p, nil
	}
	if err != nil {
		return b, p, err
	}
	w.begin("files", len(b.Files), b.Bytes())
	listed := map[string]bool{backupManifestName: true}
	for _, f := range b.Files {
		listed[f.Name] = true
		if err := verifyFile(w, dir, f, &p); err != nil {
			return b, p, err
		}
	}
	for _, sub := range []string{"", backupSegments, backupRows} {
		names, err := w.fs.List(w.fs.PathJoin(dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return b, p, err
		}
		slices.Sort(names)
		for _, name := range names {
			if sub != "" {
				name = sub + "/" + name
			}
			if !listed[name] && (sub != "" || name != backupSegments && name != backupRows) {
				p.add("%s: the manifest does not name it", name)
			}
		}
	}
	return b, p, nil
}

func verifyFile(w *fileWork, dir string, f BackupFile, p *problems) error {
	path, before := localPath(w.fs, dir, f.Name), w.at.Bytes
	size, sum, err := w.sum(path)
	defer func() { w.done(max(0, f.Size-(w.at.Bytes-before))) }()
	switch {
	case w.ctx.Err() != nil:
		return w.ctx.Err()
	case errors.Is(err, os.ErrNotExist):
		p.add("%s: it is missing", f.Name)
	case err != nil:
		p.add("%s: it can't be read: %v", f.Name, err)
	case size != f.Size:
		p.add("%s: it has %d bytes, the manifest says %d", f.Name, size, f.Size)
	case sum != f.SHA256:
		p.add("%s: its SHA-256 is not the manifest's", f.Name)
	case strings.HasPrefix(f.Name, backupSegments+"/"):
		found, err := segment.Check(w.fs, path)
		for _, text := range found {
			p.add("%s: %s", f.Name, text)
		}
		return err
	}
	return nil
}

// copyRows makes the rows of a backup a database of its own: links where files
// never change, copies elsewhere.
func copyRows(w *fileWork, b *Backup, dir, to string) error {
	if err := w.fs.RemoveAll(to); err != nil {
		return err
	}
	if err := w.fs.MkdirAll(w.fs.PathJoin(to, backupRows), 0o700); err != nil {
		return err
	}
	for i := range b.Files {
		if f := &b.Files[i]; strings.HasPrefix(f.Name, backupRows+"/") {
			if err := w.bring(f, dir, to, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// bring links or copies a file of a backup to the same name below to.
func (w *fileWork) bring(f *BackupFile, dir, to string, links bool) error {
	src, dst := localPath(w.fs, dir, f.Name), localPath(w.fs, to, f.Name)
	if links && f.immutable() {
		if linked, err := w.link(src, dst); linked || err != nil {
			return err
		}
	}
	_, sum, err := w.copy(src, dst)
	if err == nil && sum != f.SHA256 {
		err = fmt.Errorf("%w: %s changed while it was copied", ErrBackup, f.Name)
	}
	return err
}

// verifyRows opens the rows in dir and holds what they say of groups and segments
// against the manifest and the files.
func verifyRows(fs vfs.FS, b *Backup, p *problems, dir, segments string) (err error) {
	db, err := rows.Open(rows.Config{FS: fs, Dir: fs.PathJoin(dir, backupRows)})
	var disk syscall.Errno
	if errors.As(err, &disk) {
		return err
	}
	if err != nil {
		p.add("rows: %v", err)
		return nil
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	unclaimed := map[string]BackupFile{}
	for _, f := range b.Files {
		if name, ok := strings.CutPrefix(f.Name, backupSegments+"/"); ok {
			unclaimed[name] = f
		}
	}
	for _, g := range b.Groups {
		point, ok, err := db.Checkpoint(uint32(g.Group))
		switch {
		case err != nil:
			p.add("rows: checkpoint of group %d: %v", g.Group, err)
		case !ok || point.Applied != g.Applied || point.Term != g.Term || point.Stamp != g.Stamp:
			p.add("rows: group %d is at index %d, term %d; the manifest says %d, %d", g.Group, point.Applied, point.Term, g.Applied, g.Term)
		}
		n := 0
		err = db.Segments(uint32(g.Group), func(id uint64, raw []byte) error {
			n++
			verifySegment(fs, p, segments, g.Group, id, raw, unclaimed)
			return nil
		})
		if err != nil {
			p.add("rows: segments of group %d: %v", g.Group, err)
		} else if n != g.Segments {
			p.add("rows: group %d has %d segments, the manifest says %d", g.Group, n, g.Segments)
		}
	}
	for name := range unclaimed {
		p.add("segments/%s: no group has it", name)
	}
	return nil
}

func verifySegment(fs vfs.FS, p *problems, dir string, group int, id uint64, raw []byte, unclaimed map[string]BackupFile) {
	name := segment.FileName(id)
	meta, err := segment.ParseMeta(raw)
	if err != nil {
		p.add("rows: segment %d of group %d: %v", id, group, err)
		return
	}
	if _, ok := unclaimed[name]; !ok {
		p.add("segments/%s: group %d has it, the manifest does not", name, group)
		return
	}
	delete(unclaimed, name)
	r, err := segment.Open(segment.Config{FS: fs, Dir: dir}, meta, nil)
	if err != nil {
		p.add("segments/%s: group %d: %v", name, group, err)
		return
	}
	_ = r.Release() // was read
}
