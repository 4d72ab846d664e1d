package record

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// memoryRoot writes what a kernel shows of its memory.
func memoryRoot(t *testing.T, meminfo, sockstat string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"meminfo": meminfo, "net/sockstat": sockstat} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	goodMeminfo  = "MemTotal: 24684084 kB\nMemFree: 1000 kB\nMemAvailable: 77 kB\nBuffers: 20 kB\nCached:  300 kB\nShmem: 100 kB\nSlab:             20 kB\nSReclaimable: 7 kB\n"
	goodSockstat = "sockets: used 17\nTCP: inuse 1 orphan 0 tw 42 alloc 1 mem 3\nUDP: inuse 0 mem 9\n"
)

func TestMemoryOfTheMachineIsSlabAndTCP(t *testing.T) {
	m, err := machineMemory(memoryRoot(t, goodMeminfo, goodSockstat), 4096)
	if err != nil || m.AvailableBytes != 1220<<10 || m.KernelBytes != 20<<10+3*4096 {
		t.Errorf("%+v, %v", m, err)
	}
	f := func(meminfo, sockstat string) {
		t.Helper()
		if m, err := machineMemory(memoryRoot(t, meminfo, sockstat), 4096); err == nil {
			t.Errorf("%q and %q are read as %+v", meminfo, sockstat, m)
		}
	}
	for _, line := range []string{"MemFree: 1000 kB", "Buffers: 20 kB", "\nCached:  300 kB", "Shmem: 100 kB", "Slab:             20 kB"} {
		f(strings.Replace(goodMeminfo, line, "", 1), goodSockstat)
	}
	f(strings.Replace(goodMeminfo, "1000", "many", 1), goodSockstat)
	f(goodMeminfo, "UDP: inuse 0 mem 9\n")
	f(goodMeminfo, "TCP: inuse 0 mem x\n")
	if _, err := machineMemory(t.TempDir(), 4096); err == nil {
		t.Error("no file is no error")
	}
}

func TestMemoryOfThisMachineIsRead(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	if m, err := MachineMemory(); err != nil || m.AvailableBytes <= 0 || m.KernelBytes <= 0 {
		t.Errorf("%+v, %v", m, err)
	}
}
