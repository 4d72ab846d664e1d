package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errFilesystem: a directory whose file system is no disk.
var errFilesystem = errors.New("results from here would say nothing about a disk; name a directory on a real file system with -dir")

// checkFilesystem returns the file system's name, or why not to measure on it:
// tmpfs loses what it was given, overlay copies files before it writes.
func checkFilesystem(dir string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", fmt.Errorf("file system of %s: %w", dir, err)
	}
	return nameFilesystem(dir, int64(st.Type))
}

func nameFilesystem(dir string, magic int64) (string, error) {
	switch magic {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return "", fmt.Errorf("%s lies in memory (tmpfs): %w", dir, errFilesystem)
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "", fmt.Errorf("%s lies on an overlay: %w", dir, errFilesystem)
	case unix.EXT4_SUPER_MAGIC: // ext2 and ext3 as well
		return "ext4", nil
	case unix.XFS_SUPER_MAGIC:
		return "xfs", nil
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", nil
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs", nil
	case 0x2fc12fc1:
		return "zfs", nil
	}
	return fmt.Sprintf("%#x", magic), nil
}

// makeWorkDir makes the run's own directory in dir, or, if dir is empty, in
// $TMPDIR or the current directory, the first that is on a disk.
func makeWorkDir(dir string) (path, filesystem string, err error) {
	parents := []string{dir}
	if dir == "" {
		parents = []string{os.Getenv("TMPDIR"), "."}
		parents = slices.DeleteFunc(parents, func(p string) bool { return p == "" })
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	var refused []error
	for _, parent := range parents {
		filesystem, err := checkFilesystem(parent)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		path, err := os.MkdirTemp(parent, "godwit-bench-")
		if err != nil {
			return "", "", err
		}
		path, err = filepath.Abs(path)
		return path, filesystem, err
	}
	return "", "", errors.Join(refused...)
}

// Shape of probeSync: what a small group commit asks of the disk.
const (
	probeSyncs = 200
	probeBytes = 4096
)

// probeSync returns the median time of writing 4 KiB over a pre-written file
// and syncing it.
func probeSync(dir string) (p50 time.Duration, err error) {
	f, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, probeBytes)
	if _, err := f.Write(make([]byte, probeSyncs*probeBytes)); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	took := make([]time.Duration, probeSyncs)
	for i := range took {
		start := time.Now()
		if _, err := f.WriteAt(block, int64(i*probeBytes)); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// dropCaches makes the next read of dir's files come from the disk: for all
// files of the machine as root, else only for those of dir. how says which.
// own: for those in any case.
func dropCaches(dir string, own bool) (how string, err error) {
	if own {
		return "fadvise", dropOwnCaches(dir)
	}
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0o200); err == nil {
		return "drop_caches", nil
	}
	return "fadvise", dropOwnCaches(dir)
}

func dropOwnCaches(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a store at work removes files
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		err = errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
		return errors.Join(err, f.Close())
	})
}

// cpuModel names the processor, for the result file.
func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
