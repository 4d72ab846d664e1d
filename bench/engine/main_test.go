package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// parentFlag makes the test binary a parent that starts a child, tells its pid
// and waits for its own end.
const parentFlag = "-test-parent"

// TestMain also is the child of the tests that run the whole program.
func TestMain(m *testing.M) {
	runtime.LockOSThread()
	for name, fault := range plants {
		openers[name] = func(o openOptions) (peer, error) {
			p, err := openPebble(o)
			return faulty{p, fault}, err
		}
	}
	if len(os.Args) == 3 && os.Args[1] == childFlag {
		os.Exit(childMain(os.Args[2]))
	}
	if len(os.Args) == 2 && os.Args[1] == parentFlag {
		c, err := startChild(peerEmpty)
		if err != nil {
			panic(err)
		}
		fmt.Println(c.cmd.Process.Pid)
		select {}
	}
	os.Exit(m.Run())
}

// tinyPlan runs every part of the program in a few seconds.
func tinyPlan(t *testing.T, peers ...string) *plan {
	t.Helper()
	p, err := parsePlan([]string{"-quick", "-dir", t.TempDir()}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	p.rounds, p.roundUsers, p.fillUsers, p.fillMessages = 3, 300, 300, 4000
	p.roundMessages = map[int]uint64{64: 300, 1024: 600}
	p.roundDeadline, p.fillDeadline, p.budget = time.Minute, time.Minute, 0
	p.settle, p.ownCaches = time.Second, true
	p.quiet, p.pages, p.sample = time.Millisecond, 50, 300
	p.peers = append([]string{peerEngine}, peers...)
	return p
}

func runPlan(t *testing.T, p *plan) (*runner, string, error) {
	t.Helper()
	runtime.LockOSThread() // see startChild
	defer runtime.UnlockOSThread()
	var progress bytes.Buffer
	r := &runner{plan: p, progress: &progress}
	err := r.run()
	if left, _ := os.ReadDir(p.dir); len(left) != 0 {
		t.Errorf("%d files are left behind", len(left))
	}
	if len(r.children) != 0 {
		t.Errorf("%d children are left behind", len(r.children))
	}
	return r, progress.String(), err
}

func TestRunMeasuresEveryFigure(t *testing.T) {
	for _, fresh := range []bool{false, true} {
		p := tinyPlan(t, peerPebble, peerLog)
		p.fresh = fresh
		if fresh {
			p.full, p.large = true, largePlan{firstUsers: 300, users: 900, messages: 2000, deadline: time.Minute}
		}
		r, progress, err := runPlan(t, p)
		if err != nil {
			t.Fatalf("%v\n%s", err, progress)
		}
		s := summarize(r)
		if s.Rounds != 3 || !s.ThroughRaft || !s.Compression || s.Filesystem == "" {
			t.Errorf("summary is %+v", s)
		}
		if want := uint64(4000); !fresh && s.Messages != want {
			t.Errorf("%d messages, want %d", s.Messages, want)
		}
		for _, x := range targets(s) {
			if x.value == 0 && !slices.Contains([]string{"cpu_vs_pebble", "bytes_per_user"}, x.name) { // too short to tell
				t.Errorf("%s was not measured", x.name)
			}
		}
		var table bytes.Buffer
		writeTables(&table, r, s)
		if n := strings.Count(table.String(), "hit") + strings.Count(table.String(), "MISS"); n != len(targets(s)) {
			t.Errorf("the table has %d verdicts:\n%s", n, &table)
		}
		if fresh {
			checkResultFile(t, r, s)
		}
	}
}

func checkResultFile(t *testing.T, r *runner, s summary) {
	t.Helper()
	path, err := writeResult(filepath.Join(t.TempDir(), "results"), r, s, []string{"-full"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out result
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if !out.Full || out.BytesPerUser == nil || out.ReopenPerGB == nil || len(out.Stores) != 3 || len(out.Stores[0].Rounds) != 3 || out.Large.Users != 900 {
		t.Errorf("the file holds %s", text)
	}
}

// The names are an interface for scripts.
func TestLineForScriptsHasEveryField(t *testing.T) {
	names := strings.Fields(`filesystem fsync_p50_us through_raft compression messages rounds pebble_64_per_s
		pebble_1024_per_s ratio_vs_pebble_64 ratio_vs_pebble_1024 p50_vs_pebble_64 p99_vs_pebble_64 cpu_vs_pebble
		write_amplification write_amplification_vs_pebble disk_bytes_per_message page_warm_us page_cold_us page_cold_vs_pebble`)
	f := func(s summary, want []string) {
		t.Helper()
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		got := slices.Sorted(maps.Keys(fields))
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("fields %q, want %q", got, want)
		}
	}
	f(summary{}, slices.Clone(names))
	zero := 0.0
	f(summary{BytesPerUser: &zero, ReopenPerGB: &zero, Full: true}, append(slices.Clone(names), "bytes_per_user", "reopen_s_per_gb", "full"))
}

func TestRunFailsForWrongData(t *testing.T) {
	_, progress, err := runPlan(t, tinyPlan(t, "loses a message"))
	if !errors.As(err, new(errWrongData)) {
		t.Errorf("the run ended with %v\n%s", err, progress)
	}
}

// interrupter interrupts the run at its first round.
type interrupter struct{ r *runner }

func (i *interrupter) Write(text []byte) (int, error) {
	if bytes.Contains(text, []byte("round 1")) {
		i.r.interrupt()
	}
	return len(text), nil
}

func TestInterruptedRunLeavesNothing(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := tinyPlan(t, peerPebble)
	r := &runner{plan: p}
	r.progress = &interrupter{r}
	if err := r.run(); !errors.Is(err, errInterrupted) {
		t.Fatalf("the run ended with %v", err)
	}
	if left, _ := os.ReadDir(p.dir); len(left) != 0 {
		t.Errorf("%d files are left behind", len(left))
	}
	if len(r.children) != 0 {
		t.Errorf("%d children are left behind", len(r.children))
	}
}

// A parent that is killed can't clean up; its children must end all the same.
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
	var child int
	if _, err := fmt.Fscan(out, &child); err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	for deadline := time.Now().Add(time.Minute); syscall.Kill(child, 0) == nil && !isZombie(child); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("child %d lives", child)
		}
	}
}

// isZombie: dead, but nobody here waits for orphans.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

func TestPlanRefusesWhatCantBeMeasured(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if _, err := parsePlan(args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one about %s", args, err, want)
		}
	}
	f("-rounds is at least 3", "-rounds", "2")
	f("exclude", "-quick", "-full")
	f("not one of", "-peers", "leveldb")
	f("unexpected", "quick")
	f("out of range", "-cache", "0")
	p, err := parsePlan([]string{"-full"}, &bytes.Buffer{})
	if err != nil || !slices.Equal(slices.Sorted(slices.Values(p.peers)), slices.Sorted(slices.Values(allPeers))) {
		t.Errorf("a full run takes %q, %v", p.peers, err)
	}
}
