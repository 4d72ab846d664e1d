package node

import (
	"testing"
	"testing/fstest"
)

func TestMemoryRoomIsTheLeastOfMachineAndGroups(t *testing.T) {
	const meminfo = "MemTotal:       1000 kB\nMemFree:         1 kB\n"
	f := func(name string, want int64, files ...string) {
		t.Helper()
		root := fstest.MapFS{}
		for i := 0; i < len(files); i += 2 {
			root[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
		}
		if got := memoryRoom(root); got != want {
			t.Errorf("%s: %d bytes, want %d", name, got, want)
		}
	}
	f("nothing known", 0)
	f("machine", 1000<<10, "proc/meminfo", meminfo)
	f("no limit", 1000<<10, "proc/meminfo", meminfo, "proc/self/cgroup", "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max", "max\n")
	f("version 2", 5000, "proc/meminfo", meminfo, "proc/self/cgroup", "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max", "5000\n")
	f("a group above", 4000, "proc/meminfo", meminfo, "proc/self/cgroup", "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max", "5000\n", "sys/fs/cgroup/a/memory.max", "4000\n")
	f("inside a container", 6000, "proc/self/cgroup", "0::/gone\n", "sys/fs/cgroup/memory.max", "6000\n")
	f("version 1", 7000, "proc/meminfo", meminfo, "proc/self/cgroup", "5:cpu:/\n4:rdma,memory:/x\n0::/\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "7000\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
	f("garbage", 1000<<10, "proc/meminfo", meminfo, "proc/self/cgroup", "nonsense\n::\n", "sys/fs/cgroup/memory.max", "-1\n")
}

func TestGivenMemoryBudgetWins(t *testing.T) {
	cfg := Default()
	cfg.Edge.Memory = 128 << 20
	if got := cfg.memoryBudget(); got != 128<<20 {
		t.Errorf("budget %d", got)
	}
	cfg.Edge.Memory = 0
	if got := cfg.memoryBudget(); got != 0 && got < memoryMin {
		t.Errorf("budget %d", got)
	}
}
