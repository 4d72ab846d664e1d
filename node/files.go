package node

import (
	"fmt"
	"log/slog"
	"syscall"
)

// filesFew is the number of open files under which a warning is due: each
// connection takes one.
const filesFew = 4096

// raiseFiles lifts the soft limit of open files to the hard one.
func raiseFiles(logger *slog.Logger) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Cur < limit.Max {
		limit.Cur = limit.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return fmt.Errorf("raise the limit of open files to %d: %w", limit.Max, err)
		}
	}
	if limit.Cur < filesFew {
		logger.Warn("few open files are allowed, so few connections can be held; raise ulimit -n", "files", limit.Cur)
	}
	return nil
}
