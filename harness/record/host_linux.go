package record

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// fileSystem names the file system a folder lies on.
func fileSystem(dir string) (string, error) {
	var facts unix.Statfs_t
	if err := unix.Statfs(dir, &facts); err != nil {
		return "", fmt.Errorf("file system of %s: %w", dir, err)
	}
	return fileSystemName(int64(facts.Type)), nil
}

// openFilesLimit returns how many files this process may have open.
func openFilesLimit() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	return limit.Cur, nil
}

// syncData makes a file's content durable as the store's log does.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// columns returns the width of the terminal, 0 when the file is none.
func columns(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	if size.Col == 0 {
		return 80 // a terminal that doesn't know its width
	}
	return int(size.Col)
}
