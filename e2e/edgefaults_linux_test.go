package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// faultsFound is what the tests read of its line for scripts.
type faultsFound struct {
	Sessions, Acked, Delivered, Lost, Duplicated, Reordered, Foreign int
	Faults                                                           map[string]int
	Passed                                                           bool
}

func edgeFaults(t *testing.T, program string, args ...string) (found faultsFound, code int) {
	t.Helper()
	cmd := exec.Command(program, append([]string{"-quick", "-json", "-dir", t.TempDir(), "-godwit", binary(t, "")}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &found); err != nil {
		t.Fatalf("the last line is no result: %v\n%s%s", err, out.String(), errs.String())
	}
	if testing.Verbose() {
		t.Logf("%s", errs.String())
	}
	return found, cmd.ProcessState.ExitCode()
}

// TestEdgeFaultsLoseNothing runs the campaign in small. Its bounds of time are not
// judged here: other things run on this machine.
func TestEdgeFaultsLoseNothing(t *testing.T) {
	t.Parallel()
	got, _ := edgeFaults(t, tool(t, "edgefaults"), "-devtikv", tool(t, "devtikv"), "-sessions", "40", "-rate", "300", "-steady", "2s", "-outage", "3s", "-slow-for", "2s")
	if got.Lost+got.Duplicated+got.Reordered+got.Foreign != 0 || got.Acked < 300 || got.Delivered < 2*got.Acked {
		t.Errorf("%+v", got)
	}
	for _, fault := range []string{"kill_edge", "tikv_outage", "tikv_slow"} {
		if got.Faults[fault] != 1 {
			t.Errorf("%s was done %d times", fault, got.Faults[fault])
		}
	}
}

func TestEdgeFaultsFindWhatIsPlanted(t *testing.T) {
	t.Parallel()
	program := tool(t, "edgefaults")
	f := func(plant string, found func(faultsFound) int) {
		t.Run(plant, func(t *testing.T) {
			t.Parallel()
			got, code := edgeFaults(t, program, "-router", "none", "-edges", "2", "-sessions", "10", "-rate", "300", "-steady", "1s", "-plant", plant)
			if found(got) == 0 || got.Passed || code != 1 {
				t.Errorf("exit code %d, %+v", code, got)
			}
		})
	}
	f("lose", func(got faultsFound) int { return got.Lost })
	f("dup", func(got faultsFound) int { return got.Duplicated })
	f("reorder", func(got faultsFound) int { return got.Reordered })
}

// TestEdgeFaultsLeaveNoProcessBehind kills the program in the middle.
func TestEdgeFaultsLeaveNoProcessBehind(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(tool(t, "edgefaults"), "-router", "none", "-edges", "2", "-sessions", "4", "-steady", "10m", "-dir", dir, "-godwit", binary(t, ""))
	errs := &tail{}
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the campaign is under way", func() bool { return strings.Contains(errs.String(), "steady\n") })
	if n := len(processesOf(t, dir)); n != 3 {
		t.Errorf("%d servers run, want an engine and two edges", n)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	until(t, "its children have died", func() bool { return len(processesOf(t, dir)) == 0 })
}

// processesOf lists the servers whose command line names a directory.
func processesOf(t *testing.T, dir string) (pids []string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		line, _ := os.ReadFile(path) // it may have ended
		if bytes.Contains(line, []byte(dir)) && bytes.Contains(line, []byte("\x00serve\x00")) {
			pids = append(pids, path)
		}
	}
	return pids
}
