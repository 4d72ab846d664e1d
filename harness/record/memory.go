package record

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is what the whole machine has and what its kernel uses.
type Memory struct {
	// AvailableBytes is what is free or a cache of files. The kernel's own estimate,
	// MemAvailable, counts inodes of open sockets as if they could be given back:
	// two gigabytes of a million connections.
	AvailableBytes float64
	KernelBytes    float64 // slab, where sockets, files and timers live, and buffers of TCP
}

// MachineMemory reads both now.
func MachineMemory() (Memory, error) { return machineMemory(procRoot, os.Getpagesize()) }

func machineMemory(root string, pageBytes int) (m Memory, err error) {
	text, err := os.ReadFile(filepath.Join(root, "meminfo"))
	if err != nil {
		return m, fmt.Errorf("memory of the machine: %w", err)
	}
	for name, add := range map[string]func(bytes float64){
		"MemFree:": func(v float64) { m.AvailableBytes += v }, "Buffers:": func(v float64) { m.AvailableBytes += v },
		"Cached:": func(v float64) { m.AvailableBytes += v }, "Shmem:": func(v float64) { m.AvailableBytes -= v }, // cached, and can't be dropped
		"Slab:": func(v float64) { m.KernelBytes += v },
	} {
		v, err := lineKiB(string(text), name)
		if err != nil {
			return m, fmt.Errorf("memory of the machine: %w", err)
		}
		add(v)
	}
	if text, err = os.ReadFile(filepath.Join(root, "net", "sockstat")); err != nil {
		return m, fmt.Errorf("memory of the machine: %w", err)
	}
	pages, err := tcpPages(string(text))
	if err != nil {
		return m, fmt.Errorf("memory of the machine: %w", err)
	}
	m.KernelBytes += float64(pages * pageBytes)
	return m, nil
}

// lineKiB reads "name: 123 kB" as bytes.
func lineKiB(text, name string) (float64, error) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return float64(kib) * 1024, err
		}
	}
	return 0, fmt.Errorf("there is no line %s", name)
}

// tcpPages reads the last of "TCP: inuse 1 orphan 0 tw 42 alloc 1 mem 116".
func tcpPages(text string) (int, error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[0] == "TCP:" && fields[len(fields)-2] == "mem" {
			return strconv.Atoi(fields[len(fields)-1])
		}
	}
	return 0, fmt.Errorf("sockstat has no line TCP with mem")
}
