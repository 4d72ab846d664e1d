package record

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// plantProcess writes a process into a /proc of the test's own.
func plantProcess(t *testing.T, root string, pid int, stat, status string) {
	t.Helper()
	folder := filepath.Join(root, strconv.Itoa(pid))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"stat": stat, "status": status} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// statOf has 11 in every field but state, user and system time.
func statOf(command, state string, user, system int) string {
	return "7 (" + command + ") " + state + strings.Repeat(" 11", 10) + " " + strconv.Itoa(user) + " " + strconv.Itoa(system) + strings.Repeat(" 11", 20) + "\n"
}

func TestMachineTimeLeavesOutWaiting(t *testing.T) {
	root := t.TempDir()
	f := func(stat string, want float64) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, "stat"), []byte(stat), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := machineCPUSeconds(root); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v; want %v", stat, got, err, want)
		}
	}
	f("cpu  100 200 300 9999 8888 400 500 0 0 0\ncpu0 1 2 3 4 5 6 7\n", 15)
	f("cpu  100 200\n", 0)
	f("cpu  100 200 300 x 8888 400 500\n", 0)
	f("intr 1 2 3 4 5 6 7 8\n", 0)
}

func TestUsageIsSummedOverProcesses(t *testing.T) {
	root := t.TempDir()
	plantProcess(t, root, 7, statOf("godwit", "S", 250, 50), "Name:\tgodwit\nVmHWM:\t  999 kB\nVmRSS:\t  100 kB\nRssAnon:\t 1 kB\n")
	plantProcess(t, root, 8, statOf("a) R (9 ", "R", 1, 0), "VmRSS:\t20 kB\n")
	got, err := processesUsage(root, []int{7, 8})
	if want := (Usage{CPUSeconds: 3.01, RSSBytes: 120 << 10}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if got, err := processesUsage(root, nil); err != nil || got != (Usage{}) {
		t.Errorf("no process: %+v, %v", got, err)
	}
	if got, err := processesUsage(root, []int{7, 9}); err == nil || got != (Usage{}) {
		t.Errorf("with a process that is gone: %+v, %v", got, err)
	}
}

func TestUsageOfNoProcessIsAnError(t *testing.T) {
	root := t.TempDir()
	f := func(stat, status, want string) {
		t.Helper()
		plantProcess(t, root, 7, stat, status)
		if got, err := processUsage(root, 7); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %q", stat, got, err, want)
		}
	}
	const memory = "VmRSS:\t1 kB\n"
	f(statOf("a", "Z", 1, 1), memory, "has ended")
	f("", memory, "0 fields")
	f("7 (a) S 1 2", memory, "fields")
	f(strings.Replace(statOf("a", "S", 77, 78), " 77 ", " x ", 1), memory, "user time")
	f(strings.Replace(statOf("a", "S", 77, 78), " 78 ", " x ", 1), memory, "system time")
	f(statOf("a", "S", 1, 1), "Name: a\n", "no line VmRSS")
	f(statOf("a", "S", 1, 1), "VmRSS:\tmuch\n", "invalid syntax")
	for _, pid := range []int{0, -1, 6} {
		if got, err := processUsage(root, pid); err == nil {
			t.Errorf("process %d: %+v", pid, got)
		}
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/proc is Linux's")
	}
	self, err := Self()
	if err != nil || self.RSSBytes < 1<<20 {
		t.Errorf("self: %+v, %v", self, err)
	}
	twice, err := Processes(os.Getpid(), os.Getpid()) // the sum is TestUsageIsSummedOverProcesses
	if err != nil || twice.RSSBytes < 2<<20 || twice.CPUSeconds < self.CPUSeconds {
		t.Errorf("twice: %+v, once %+v, %v", twice, self, err)
	}
	if one, err := Process(os.Getpid()); err != nil || one.CPUSeconds < self.CPUSeconds {
		t.Errorf("later: %+v, before %+v, %v", one, self, err)
	}
}
