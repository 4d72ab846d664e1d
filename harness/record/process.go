package record

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Usage is what processes have used.
type Usage struct {
	CPUSeconds float64 // user and system, all threads, since their start
	RSSBytes   float64 // resident now
}

// ticksPerSecond is Linux's USER_HZ, which is 100 wherever Go runs.
const ticksPerSecond = 100

const procRoot = "/proc"

// Process returns what a process has used. It fails once the process is gone.
func Process(pid int) (Usage, error) { return processUsage(procRoot, pid) }

// Processes sums over several processes: the generators. It fails when one is
// gone, since a sum without it would fall.
func Processes(pids ...int) (Usage, error) { return processesUsage(procRoot, pids) }

// Self returns what this process has used.
func Self() (Usage, error) { return processUsage(procRoot, os.Getpid()) }

func processesUsage(root string, pids []int) (sum Usage, err error) {
	for _, pid := range pids {
		used, err := processUsage(root, pid)
		if err != nil {
			return Usage{}, err
		}
		sum.CPUSeconds += used.CPUSeconds
		sum.RSSBytes += used.RSSBytes
	}
	return sum, nil
}

func processUsage(root string, pid int) (Usage, error) {
	if pid <= 0 {
		return Usage{}, fmt.Errorf("usage of process %d: no process has this id", pid)
	}
	folder := filepath.Join(root, strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(folder, "stat"))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	// The command's name may hold spaces and parentheses: fields count from its end.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return Usage{}, fmt.Errorf("usage of process %d: stat has %d fields", pid, len(fields))
	}
	if state := string(fields[0]); state == "Z" || state == "X" {
		return Usage{}, fmt.Errorf("usage of process %d: it has ended", pid)
	}
	user, err := strconv.ParseUint(string(fields[11]), 10, 64)
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: user time: %w", pid, err)
	}
	system, err := strconv.ParseUint(string(fields[12]), 10, 64)
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: system time: %w", pid, err)
	}
	rss, err := residentBytes(filepath.Join(folder, "status"))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	return Usage{CPUSeconds: float64(user+system) / ticksPerSecond, RSSBytes: rss}, nil
}

// MachineCPUSeconds returns the CPU time of everything on this machine since it
// was started, waiting excepted.
func MachineCPUSeconds() (float64, error) { return machineCPUSeconds(procRoot) }

func machineCPUSeconds(root string) (float64, error) {
	stat, err := os.ReadFile(filepath.Join(root, "stat"))
	if err != nil {
		return 0, fmt.Errorf("CPU time of the machine: %w", err)
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := strings.Fields(string(line)) // cpu user nice system idle iowait irq softirq …
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("CPU time of the machine: %.100q", line)
	}
	ticks := uint64(0)
	for i, field := range fields[1:8] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time of the machine: %w", err)
		}
		if i != 3 && i != 4 {
			ticks += n
		}
	}
	return float64(ticks) / ticksPerSecond, nil
}

// residentBytes reads VmRSS, which unlike statm is in a unit of its own.
func residentBytes(path string) (float64, error) {
	status, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return lineKiB(string(status), "VmRSS:")
}
