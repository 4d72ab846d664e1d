package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The core of every server, and that of every client.
const (
	serverCore = 0
	clientCore = 1
)

// onCore runs fn with the calling thread pinned to a core of this machine; a
// process that fn starts inherits it. The caller is locked to its thread.
func onCore(core int, fn func() error) error {
	var was, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		return fmt.Errorf("read the cores of this process: %w", err)
	}
	cores := coresOf(&was)
	if len(cores) < 2 {
		return errors.New("server and client need a core each: this process has one")
	}
	one.Set(cores[core])
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("pin to core %d: %w", cores[core], err)
	}
	return errors.Join(fn(), unix.SchedSetaffinity(0, &was))
}

func coresOf(set *unix.CPUSet) (cores []int) {
	for core := range len(set) * 64 {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return cores
}

// cpuOf is the CPU time a process has used, all threads, user and system.
func cpuOf(pid int) (time.Duration, error) {
	var ts unix.Timespec
	const scheduled = 2 // see clock_getcpuclockid(3)
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &ts); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// monotonic is a clock that all processes share.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("BUG: no monotonic clock: " + err.Error())
	}
	return ts.Nano()
}

// residentBytes is this process's user-space memory, counted exactly, unlike
// VmRSS.
func residentBytes() (int64, error) {
	data, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte("Rss:")); ok {
			words := strings.Fields(string(rest))
			if len(words) == 2 {
				kib, err := strconv.ParseInt(words[0], 10, 64)
				return kib << 10, err
			}
		}
	}
	return 0, errors.New("/proc/self/smaps_rollup has no Rss")
}

// checkFiles says whether a process may hold so many files.
func checkFiles(need int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Max < uint64(need) {
		return fmt.Errorf("a process may hold %d open files here, this run needs %d: raise the hard limit (ulimit -Hn), or ask for fewer sessions", limit.Max, need)
	}
	return nil
}

// cpuModel names the processor, for the result file.
func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown " + runtime.GOARCH
}

// kernelRelease is what uname says.
func kernelRelease() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}
