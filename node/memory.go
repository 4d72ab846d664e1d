package node

import (
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// memoryRoom is what this process may use at most: the machine's memory, or the
// least limit of the control groups it is in. 0 where the system does not say.
func memoryRoom(root fs.FS) (bytes int64) {
	bytes = math.MaxInt64
	info, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(info)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			if kB, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 53); err == nil {
				bytes = kB << 10
			}
		}
	}
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		switch {
		case len(fields) < 3:
		case fields[1] == "":
			bytes = min(bytes, groupLimit(root, "sys/fs/cgroup", fields[2], "memory.max"))
		case strings.Contains(","+fields[1]+",", ",memory,"):
			bytes = min(bytes, groupLimit(root, "sys/fs/cgroup/memory", fields[2], "memory.limit_in_bytes"))
		}
	}
	if bytes == math.MaxInt64 {
		return 0
	}
	return bytes
}

// groupLimit is the least limit on the way from a control group to the top; a
// container may not see its own path, but it sees the top.
func groupLimit(root fs.FS, top, group, file string) int64 {
	limit := int64(math.MaxInt64)
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		text, err := fs.ReadFile(root, path.Join(top, dir, file))
		if err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
				limit = min(limit, n)
			}
		}
		if dir == "/" {
			return limit
		}
	}
}

// memoryMin is the least budget that is taken as one.
const memoryMin = 64 << 20

// memoryBudget is the budget in effect; 0: none is known.
func (cfg *Config) memoryBudget() int64 {
	if cfg.Edge.Memory > 0 {
		return int64(cfg.Edge.Memory)
	}
	room := memoryRoom(os.DirFS("/"))
	if room == 0 {
		return 0
	}
	return max(memoryMin, room-room/4)
}

// boundHeap has the collector keep garbage below where newcomers are refused,
// unless GOMEMLIMIT says otherwise.
func boundHeap(budget int64, logger *slog.Logger) {
	if budget == 0 || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(budget - budget/5)
	logger.Debug("memory budget", "bytes", budget)
}
