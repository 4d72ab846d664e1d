package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Progress is how far a backup, a check or a restore has come.
type Progress struct {
	What       string `json:"what"` // "checkpoint", "files", "rows"
	Files      int    `json:"files"`
	FilesTotal int    `json:"files_total"`
	Bytes      int64  `json:"bytes"`
	BytesTotal int64  `json:"bytes_total"`
}

// fileWork reads, copies and links files, and tells how far it is.
type fileWork struct {
	ctx    context.Context
	fs     vfs.FS
	report func(Progress) // may be nil
	at     Progress
	told   int64
	buf    []byte
}

const (
	fileWorkBytes = 1 << 20
	// reportBytes is how much is read between two reports.
	reportBytes = 64 << 20
)

func newFileWork(ctx context.Context, fs vfs.FS, report func(Progress)) *fileWork {
	return &fileWork{ctx: ctx, fs: fs, report: report, buf: make([]byte, fileWorkBytes)}
}

// begin starts a step of so many files.
func (w *fileWork) begin(what string, files int, bytes int64) {
	w.at, w.told = Progress{What: what, FilesTotal: files, BytesTotal: bytes}, 0
	w.tell()
}

func (w *fileWork) tell() {
	w.told = w.at.Bytes
	if w.report != nil {
		w.report(w.at)
	}
}

func (w *fileWork) passed(n int) {
	if w.at.Bytes += int64(n); w.at.Bytes-w.told >= reportBytes {
		w.tell()
	}
}

// done ends one file, of which so much was not read.
func (w *fileWork) done(rest int64) {
	w.at.Files++
	w.at.Bytes += rest
	if w.at.Files == w.at.FilesTotal || w.at.Bytes-w.told >= reportBytes {
		w.tell()
	}
}

// pump reads src to its end into dst.
func (w *fileWork) pump(dst io.Writer, src io.Reader) (size int64, err error) {
	for {
		if err := w.ctx.Err(); err != nil {
			return size, err
		}
		n, err := src.Read(w.buf)
		if n > 0 {
			if _, err := dst.Write(w.buf[:n]); err != nil {
				return size, err
			}
			size += int64(n)
			w.passed(n)
		}
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
}

// sum reads a file and returns its size and SHA-256.
func (w *fileWork) sum(name string) (size int64, sum string, err error) {
	f, err := w.fs.Open(name, vfs.SequentialReadsOption)
	if err != nil {
		return 0, "", err
	}
	h := sha256.New()
	size, err = w.pump(h, f)
	return size, sumText(h), errors.Join(err, f.Close())
}

func sumText(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// copy makes a durable copy, its name aside, and sums it.
func (w *fileWork) copy(src, dst string) (size int64, sum string, err error) {
	from, err := w.fs.Open(src, vfs.SequentialReadsOption)
	if err != nil {
		return 0, "", err
	}
	defer from.Close() //nolint:errcheck // was read
	to, err := w.fs.Create(dst, vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, "", err
	}
	h := sha256.New()
	size, err = w.pump(io.MultiWriter(h, to), from) // summed first: a vfs.File may change what it is given
	if err == nil {
		err = to.Sync()
	}
	return size, sumText(h), errors.Join(err, to.Close())
}

// link makes another name of src; false: the file systems do not let it.
func (w *fileWork) link(src, dst string) (bool, error) {
	err := w.fs.Link(src, dst)
	for _, cause := range []error{syscall.EXDEV, syscall.EPERM, syscall.EMLINK, syscall.ENOTSUP, syscall.ENOSYS} {
		if errors.Is(err, cause) {
			return false, nil
		}
	}
	return err == nil, err
}

// writeSmall makes a durable file, its name aside.
func (w *fileWork) writeSmall(name string, data []byte) error {
	f, err := w.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// makeDirs makes a directory and everything above it durable.
func makeDirs(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := fs.PathDir(dir)
	if parent != dir {
		if err := makeDirs(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(fs, parent)
}

// syncDirs makes the names in directories durable.
func syncDirs(fs vfs.FS, dirs ...string) error {
	for _, dir := range dirs {
		if err := syncDir(fs, dir); err != nil {
			return fmt.Errorf("sync %s: %w", dir, err)
		}
	}
	return nil
}
