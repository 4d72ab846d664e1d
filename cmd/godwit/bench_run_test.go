package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// program is this program, built for the first test that wants it; TestMain removes it.
var program struct {
	once sync.Once
	dir  string
	err  error
}

func buildProgram() {
	if program.dir, program.err = os.MkdirTemp("", "godwit-test-"); program.err != nil {
		return
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(program.dir, "godwit"), ".").CombinedOutput(); err != nil {
		program.err = fmt.Errorf("build: %w\n%s", err, out)
	}
}

// benchBinary is this program; the load test starts its server from it. Such a test
// waits for the stages of its run most of the time, so they run beside each other.
func benchBinary(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("load is generated on Linux only")
	}
	t.Parallel()
	if program.once.Do(buildProgram); program.err != nil {
		t.Fatal(program.err)
	}
	return filepath.Join(program.dir, "godwit")
}

// TestQuickChatLosesNothing is the gate for every change: never about speed.
func TestQuickChatLosesNothing(t *testing.T) {
	out := filepath.Join(t.TempDir(), "result.json")
	c := exec.Command(benchBinary(t), "bench", "run", "dm-chat", "--quick", "--json", "--out", out)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	stdout, err := c.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr.String())
	}
	lines := bytes.Split(bytes.TrimSpace(stdout), []byte("\n"))
	var s benchSummary
	if err := json.Unmarshal(lines[len(lines)-1], &s); err != nil {
		t.Fatalf("the last line is no JSON: %v: %q", err, stdout)
	}
	t.Logf("%+v", s)
	if s.Lost+s.Duplicated+s.Reordered+s.Gaps+s.Foreign != 0 {
		t.Errorf("something was lost, doubled or put out of order: %+v", s)
	}
	if s.Sessions < 200 || s.Offered < 20_000 || s.Refused != 0 || s.Unknown != 0 || s.Acked != s.Offered || s.Delivered != s.Offered || s.ReadBack < 2*s.Offered {
		t.Errorf("not everything offered was stored, delivered and read back: %+v", s)
	}
	if _, err := os.Stat(out); err != nil {
		t.Error(err)
	}
}

// TestSlowConsumersMeetTheServersBounds: the bounds of the shipped server, the
// unacknowledged window and the unsent bytes, are really reached.
func TestSlowConsumersMeetTheServersBounds(t *testing.T) {
	c := exec.Command(benchBinary(t), "bench", "run", "slow-consumers", "--quick", "--json", "--out", filepath.Join(t.TempDir(), "r.json"),
		"--set", "stages: {measure: 12s}", "--set", "slow_rate_per_s: 90", "--set", "slow_share: 0.02")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	stdout, err := c.Output()
	var s benchSummary
	if err != nil || json.Unmarshal(stdout, &s) != nil || s.Slow == nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr.String())
	}
	t.Logf("%+v, slow %+v", s, s.Slow)
	if s.Lost+s.Duplicated+s.Reordered+s.Gaps+s.Foreign != 0 || s.Acked != s.Offered || s.Delivered != s.Offered {
		t.Errorf("not everything offered was stored and delivered once: %+v", s)
	}
	if s.Slow.Asking == 0 || s.Slow.CutOff < s.Slow.Asking || s.Slow.CloseCodes["4202"] < uint64(s.Slow.Asking) {
		t.Errorf("who asked without reading was not cut off: %+v", s.Slow)
	}
	if s.Slow.Silent == 0 || s.Slow.WindowFull != s.Slow.Silent {
		t.Errorf("who was silent was not held back at the window: %+v", s.Slow)
	}
}

// TestFlappingUsersAreQuiet: while they come and go every half second, those who
// watch them hear next to nothing, and the chat of the others goes on.
func TestFlappingUsersAreQuiet(t *testing.T) {
	c := exec.Command(benchBinary(t), "bench", "run", "presence-flap", "--quick", "--json", "--out", filepath.Join(t.TempDir(), "r.json"),
		"--set", "flap_every: 500ms", "--set", "flappers: 100", "--set", "sessions: 200", "--set", "stages: {measure: 10s}", "--set", "phase: 5s")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	stdout, err := c.Output()
	var s benchSummary
	if err != nil || json.Unmarshal(stdout, &s) != nil || s.Flap == nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr.String())
	}
	t.Logf("%+v, flap %+v", s, s.Flap)
	if s.Lost+s.Duplicated+s.Reordered+s.Gaps+s.Foreign != 0 || s.Acked != s.Offered || s.Delivered != s.Offered {
		t.Errorf("not everything offered was stored and delivered once: %+v", s)
	}
	// Each of them is on 20 lists. Away for 4 s, and so told of, is only who is late on
	// a machine that stands still: far from one turn in twenty. Without the delay, two
	// changes of each would be told, which is four frames for every turn.
	if s.Flap.Turns < 100 || s.Flap.Frames > s.Flap.Turns || s.Flap.QuietP50 == 0 || s.Flap.FlappingP50 == 0 {
		t.Errorf("%+v", s.Flap)
	}
}

// TestNothingOutlivesTheBench kills the bench without warning: its server, the
// server's edge processes and its generators must not stay behind, and the next run
// removes its data.
func TestNothingOutlivesTheBench(t *testing.T) {
	data := t.TempDir()
	binary := benchBinary(t)
	c := exec.Command(binary, "bench", "run", "dm-chat", "--quick", "--set", "agents: 2", "--set", "edges: 2", "--data", data, "--out", filepath.Join(data, "r.json"))
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), "warm-up") {
	}
	// Handles on the processes themselves: their numbers may be given to others.
	children := map[int]*os.Process{}
	addChildren(t, children, c.Process.Pid)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if len(children) != 5 {
		t.Fatalf("the bench had %d processes below it, want a server, its two edge processes and two generators", len(children))
	}
	for id, handle := range children {
		for handle.Signal(syscall.Signal(0)) == nil { // ends by the test's deadline otherwise
			runtime.Gosched()
			if stat, err := os.ReadFile("/proc/" + strconv.Itoa(id) + "/stat"); errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") Z ") {
				break
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(data, "godwit-bench-*"))
	if err != nil || len(left) != 1 {
		t.Fatalf("%v, %v; want the directory of the killed run", left, err)
	}
	next := exec.Command(binary, "bench", "run", "idle-connections", "--quick", "--set", "sessions: 20", "--set", "stages: {measure: 1s}", "--data", data, "--out", filepath.Join(data, "r.json"))
	if out, err := next.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if left, err := filepath.Glob(filepath.Join(data, "godwit-bench-*")); err != nil || len(left) != 0 {
		t.Errorf("%v, %v; want nothing left behind", left, err)
	}
}

// addChildren adds the children of a process, and theirs.
func addChildren(t *testing.T, all map[int]*os.Process, parent int) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(parent) + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		list, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(list)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			if all[child], err = os.FindProcess(child); err != nil {
				t.Fatal(err)
			}
			addChildren(t, all, child)
		}
	}
}
