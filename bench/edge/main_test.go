package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// parentFlag makes the test binary a parent that starts a client, tells its pid
// and waits for its own end.
const parentFlag = "-test-parent"

// TestMain also is the child of the tests that run the whole program.
func TestMain(m *testing.M) {
	lockThread()
	if len(os.Args) == 3 && os.Args[1] == childFlag {
		os.Exit(childMain(os.Args[2]))
	}
	if len(os.Args) == 2 && os.Args[1] == parentFlag {
		c, err := startChild(clientName, clientCore)
		if err != nil {
			panic(err)
		}
		fmt.Println(c.pid())
		select {}
	}
	os.Exit(m.Run())
}

func skipWithout(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not here", tool)
		}
	}
}

// tinyPlan runs every part of the program in a few seconds.
func tinyPlan(t *testing.T, args ...string) *plan {
	t.Helper()
	p, err := parsePlan(args, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	p.roundsMin, p.roundsMax = 3, 3
	p.memorySteps, p.connections, p.sessions = []int{100, 200, 300}, 60, 60
	p.active = p.active[:1]
	p.active[0] = 40
	if p.full {
		p.active = append(p.active, 60)
	}
	p.warm, p.measure = 5*time.Millisecond, 20*time.Millisecond
	p.flood, p.paced, p.calls = 10*time.Millisecond, 20*time.Millisecond, false
	return p
}

func runPlan(t *testing.T, p *plan) (*runner, string) {
	t.Helper()
	skipWithout(t, "gcc")
	lockThread() // see startChild
	t.Setenv("TMPDIR", t.TempDir())
	var progress bytes.Buffer
	r := newRunner(p, &progress)
	if err := r.run(); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	if left, _ := os.ReadDir(os.TempDir()); len(left) != 0 {
		t.Errorf("%d files are left behind", len(left))
	}
	if len(r.processes) != 0 {
		t.Errorf("%d processes are left behind", len(r.processes))
	}
	return r, progress.String()
}

// quickKeys are the surface for scripts.
var quickKeys = []string{
	"rounds", "sessions", "rss_per_idle_session", "rss_per_held_poll", "echo_vs_floor", "echo_vs_gws", "pipelined16_vs_gws",
	"push_flood_vs_gws", "push_p50_vs_gws", "allocs_per_message", "copied_per_byte", "gc_ms",
}

func TestQuickRunHasEveryFigureOrAReason(t *testing.T) {
	r, progress := runPlan(t, tinyPlan(t, "-quick"))
	s := summarize(r)
	line, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(line, &members); err != nil {
		t.Fatal(err)
	}
	for _, key := range quickKeys {
		value, there := members[key]
		switch {
		case !there:
			t.Errorf("%s is missing in %s", key, line)
		case value == nil && s.Reasons[key] == "":
			t.Errorf("%s is null without a reason", key)
		}
	}
	if s.Rounds != 3 || s.Sessions != 60 || s.EchoFloor == nil || s.FloodGws == nil || s.PacedP50Gws == nil || s.BroadcastGws == nil || s.Collect == nil {
		t.Errorf("not everything was measured: %s\n%s", line, progress)
	}
	if s.CopiedPerByte == nil || *s.CopiedPerByte > 0.02 {
		t.Errorf("%s bytes were copied per byte", show(s.CopiedPerByte))
	}
	var table bytes.Buffer
	writeTables(&table, r, s)
	if n := strings.Count(table.String(), "  hit") + strings.Count(table.String(), "  MISS"); n != len(targets(&s)) {
		t.Errorf("the table has %d verdicts of %d:\n%s", n, len(targets(&s)), &table)
	}
}

func TestFullRunLeavesAFile(t *testing.T) {
	p := tinyPlan(t, "-full", "-servers", strings.Join(allPeers, ","))
	r, _ := runPlan(t, p)
	s := summarize(r)
	path, err := writeResult(filepath.Join(t.TempDir(), "results"), r, s, []string{"-full"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var read result
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if read.Format != resultFormat || len(read.Servers) != 2+len(allPeers) || len(read.Targets) != len(targets(&s)) || read.Command != "go run ./bench/edge -full" {
		t.Errorf("the file is %.300s", text)
	}
	for _, server := range read.Servers {
		if len(server.Echo) != 3 || len(server.Echo[0].CPU) != 3 || slices.Min(server.Echo[0].CPU) <= 0 {
			t.Errorf("the echo rounds of %s are %+v", server.Name, server.Echo)
		}
		if len(server.Memory) == 0 != (server.Name == nameFloor) {
			t.Errorf("the memory of %s is %+v", server.Name, server.Memory)
		}
		if len(server.Push) != 3 && (server.Name == nameEdge || server.Name == nameGws) {
			t.Errorf("the pushes of %s are %+v", server.Name, server.Push)
		}
	}
}

func TestRefusesWhatItCannotDo(t *testing.T) {
	for _, args := range [][]string{
		{"-quick", "-full"},
		{"-rounds", "2"},
		{"-sessions", "5"},
		{"-servers", "nginx"},
		{"more"},
	} {
		if _, err := parsePlan(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	if err := checkFiles(1 << 40); err == nil || !strings.Contains(err.Error(), "ulimit") {
		t.Errorf("a limit of files that is too low: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := buildFloor(t.TempDir()); !errors.Is(err, errNoCompiler) {
		t.Errorf("without gcc: %v", err)
	}
	var usage bytes.Buffer
	if _, err := parsePlan([]string{"-h"}, &usage); err == nil || !strings.Contains(usage.String(), "-quick -json") {
		t.Errorf("-h prints %q, %v", &usage, err)
	}
}

func TestChildDiesWithItsParent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(self, parentFlag)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	deadline := time.Now().Add(time.Minute) // only a failing test waits so long
	for alive(pid) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlived its parent", pid)
		}
	}
}

// alive is false for a process that ended and that nobody has waited for.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}
