package engine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A run with a planted bug ends when it is caught, so that both bounds count only
// where it is not. The rarest one shows in some seed of six, of 45 points each.
const (
	plantedMax    = 10 * time.Minute
	plantedPoints = 20_000
)

// TestCrashPlanted is the run with a planted bug: it must fail. Without one it
// does nothing; see plantedBugs.
func TestCrashPlanted(t *testing.T) {
	if os.Getenv("GODWIT_SEEDED_BUG") == "" {
		t.Skip("no bug is planted")
	}
	var done lifeCounts
	points, err := crashLineages(plantedPoints, 60, &done)
	if err == nil {
		t.Fatalf("not caught: points=%d %s", points, &done)
	}
	t.Fatalf("caught: %v", err)
}

// plantedBugs builds the tests with planted bugs and runs them with each one. It
// returns how many were caught, and of how many.
func plantedBugs(t *testing.T) (caught, planted int) {
	binary := filepath.Join(t.TempDir(), "planted.test")
	build := exec.Command("go", "test", "-c", "-tags", "seededbugs", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the tests with planted bugs: %v\n%s", err, out)
	}
	names, err := exec.Command(binary, "-test.run=^TestSeededBugNames$", "-test.v").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(names)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "bug: ")
		if !ok {
			continue
		}
		planted++
		t.Run(name, func(t *testing.T) {
			what, ok := runPlanted(t, binary, name)
			if ok {
				caught++
			}
			t.Log(what)
		})
	}
	return caught, planted
}

// runPlanted reports whether the run was stopped by a check of the tests.
func runPlanted(t *testing.T, binary, name string) (what string, caught bool) {
	ctx, cancel := context.WithTimeout(context.Background(), plantedMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run=^TestCrashPlanted$", "-test.v")
	cmd.Env = append(os.Environ(), "GODWIT_SEEDED_BUG="+name)
	out, err := cmd.CombinedOutput()
	text := string(out)
	// The store's own checks may be the first to notice.
	for _, sign := range []string{"caught: seed ", "panic: BUG: "} {
		if !caught {
			_, what, caught = strings.Cut(text, sign)
		}
	}
	caught = caught && err != nil && ctx.Err() == nil
	if !caught {
		t.Errorf("the bug was not caught: %v\n%s", err, text[max(0, len(text)-2000):])
		return fmt.Sprint(err), false
	}
	what, _, _ = strings.Cut(what, "\n")
	return what, true
}
