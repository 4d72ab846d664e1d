package load

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A run's temporary data stands in a directory of its own, whose lock file is
// held for as long as the process lives: the kernel lets go of it however that
// ends. So a directory with a lock that nobody holds was left behind.
const (
	dataPattern = "godwit-bench-*"
	lockName    = "lock"
)

// DataDir is a directory for the servers of a run.
type DataDir struct {
	Path string
	lock *os.File
}

// NewDataDir removes what runs that were killed left in parent ("": the
// system's directory for temporary files), and makes a new one there.
func NewDataDir(parent string) (*DataDir, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	if err := removeStale(parent); err != nil {
		return nil, fmt.Errorf("remove data of runs that were killed: %w", err)
	}
	path, err := os.MkdirTemp(parent, dataPattern)
	if err != nil {
		return nil, err
	}
	d := &DataDir{Path: path}
	// Locked before it has its name: nobody must find it there unlocked.
	unnamed := filepath.Join(path, lockName+".new")
	if d.lock, err = os.Create(unnamed); err == nil {
		if err = syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			err = os.Rename(unnamed, filepath.Join(path, lockName))
		}
	}
	if err != nil {
		return nil, errors.Join(err, d.Remove())
	}
	return d, nil
}

// Remove removes the directory.
func (d *DataDir) Remove() error {
	err := os.RemoveAll(d.Path)
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	return err
}

// removeStale removes directories of ours whose process has ended.
func removeStale(parent string) error {
	paths, err := filepath.Glob(filepath.Join(parent, dataPattern))
	if err != nil {
		return err
	}
	var failed []error
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || !ownedByUs(info) {
			continue
		}
		lock, err := os.Open(filepath.Join(path, lockName))
		if err != nil {
			continue // somebody is just making it, or it isn't ours
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			failed = append(failed, os.RemoveAll(path))
		}
		_ = lock.Close()
	}
	return errors.Join(failed...)
}

func ownedByUs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}
