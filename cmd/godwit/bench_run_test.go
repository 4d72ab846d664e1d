package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// benchBinary builds this program; the load test starts its server from it.
func benchBinary(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("load is generated on Linux only")
	}
	path := filepath.Join(t.TempDir(), "godwit")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
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

// TestServerDiesWithTheBench kills the bench without warning: its server must
// not stay behind.
func TestServerDiesWithTheBench(t *testing.T) {
	c := exec.Command(benchBinary(t), "bench", "run", "dm-chat", "--quick", "--data", t.TempDir(), "--out", filepath.Join(t.TempDir(), "r.json"))
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
	children, err := os.ReadFile("/proc/" + strconv.Itoa(c.Process.Pid) + "/task/" + strconv.Itoa(c.Process.Pid) + "/children")
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(c.Process.Pid) + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		more, _ := os.ReadFile(task)
		children = append(append(children, ' '), more...)
	}
	fields := strings.Fields(string(children))
	if len(fields) == 0 {
		t.Fatal("the bench has no server to be killed with")
	}
	server, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	// A handle on the process itself: its number may be given to another.
	handle, err := os.FindProcess(server)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	for handle.Signal(syscall.Signal(0)) == nil { // ends by the test's deadline otherwise
		runtime.Gosched()
		if stat, err := os.ReadFile("/proc/" + strconv.Itoa(server) + "/stat"); errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") Z ") {
			break
		}
	}
}
