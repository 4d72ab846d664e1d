package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what this process used so far, and its memory now.
type usage struct {
	CPU                 time.Duration // user and system, all threads
	WriteBytes          int64         // given to block devices; see proc(5), /proc/pid/io
	CancelledWriteBytes int64         // of those, deleted before they reached the disk
	RSSBytes            int64
	PeakRSSBytes        int64
}

func readUsage() (usage, error) {
	u := usage{CPU: processCPU()}
	io, err := readFields("/proc/self/io")
	if err != nil {
		return u, err
	}
	status, err := readFields("/proc/self/status")
	if err != nil {
		return u, err
	}
	u.WriteBytes, u.CancelledWriteBytes = io["write_bytes"], io["cancelled_write_bytes"]
	u.RSSBytes, u.PeakRSSBytes = status["VmRSS"]<<10, status["VmHWM"]<<10
	return u, nil
}

func processCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic("BUG: getrusage: " + err.Error())
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// readFields reads lines "name: number …".
func readFields(path string) (map[string]int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for line := range bytes.Lines(data) {
		name, rest, _ := strings.Cut(string(line), ":")
		if words := strings.Fields(rest); len(words) > 0 {
			if n, err := strconv.ParseInt(words[0], 10, 64); err == nil {
				out[name] = n
			}
		}
	}
	return out, nil
}

// Bounds of waitQuiet.
const (
	quietPoll = 20 * time.Millisecond
	quietCPU  = 0.10 // of one core
)

// waitQuiet returns when the process used next to no CPU and wrote nothing for
// a while, or when stop is closed.
func waitQuiet(stop <-chan struct{}, while time.Duration) error {
	last, err := readUsage()
	if err != nil {
		return err
	}
	for at, since := time.Now(), time.Now(); ; {
		select {
		case <-stop:
			return nil
		case <-time.After(quietPoll):
		}
		u, err := readUsage()
		if err != nil {
			return err
		}
		now := time.Now()
		if float64(u.CPU-last.CPU) > quietCPU*float64(now.Sub(at)) || u.WriteBytes != last.WriteBytes {
			since = now
		}
		if now.Sub(since) >= while {
			return nil
		}
		at, last = now, u
	}
}

// diskUse is what a directory takes on the disk.
type diskUse struct {
	Bytes    int64 // all of it
	WALBytes int64 // of that, the write-ahead log: a fixed pool once the data is settled
}

// data is what the messages take: the log does not count, whose files are a
// pool of fixed size, unless the store keeps its messages there.
func (d diskUse) data(messages uint64) int64 {
	if outside := d.Bytes - d.WALBytes; outside > 8*int64(messages) {
		return outside
	}
	return d.Bytes
}

func readDiskUse(dir string) (diskUse, error) {
	var use diskUse
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // a file the store just removed
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		n := info.Sys().(*syscall.Stat_t).Blocks * 512
		use.Bytes += n
		if isWAL(dir, path) && !d.IsDir() {
			use.WALBytes += n
		}
		return nil
	})
	return use, err
}

// isWAL knows the logs of the engine (wal/), Pebble (*.log) and Badger (*.mem,
// and the value log, which holds nothing here).
func isWAL(dir, path string) bool {
	relative, err := filepath.Rel(dir, path)
	if err != nil {
		return false
	}
	switch filepath.Ext(relative) {
	case ".log", ".mem", ".vlog":
		return true
	}
	first, _, _ := strings.Cut(filepath.ToSlash(relative), "/")
	return first == "wal"
}

// diskWritten is what the device under dir has written since boot, whoever
// wrote it; 0 where that can't be told.
func diskWritten(dir string) int64 {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return 0
	}
	f, err := os.Open("/proc/diskstats")
	if err != nil {
		return 0
	}
	defer f.Close()
	want := fmt.Sprintf("%d %d", unix.Major(st.Dev), unix.Minor(st.Dev))
	for lines := bufio.NewScanner(f); lines.Scan(); {
		w := strings.Fields(lines.Text())
		if len(w) > 9 && w[0]+" "+w[1] == want {
			sectors, _ := strconv.ParseInt(w[9], 10, 64)
			return sectors * 512
		}
	}
	return 0
}
