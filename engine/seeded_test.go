//go:build seededbugs

package engine

import (
	"fmt"
	"os"
	"testing"
)

// TestSeededBugNames prints the planted bugs for TestCrashAnywhereWithEverythingOn.
func TestSeededBugNames(t *testing.T) {
	for _, name := range seededBugNames {
		fmt.Println("bug:", name)
	}
	if len(seededBugNames) == 0 {
		t.Fatal("there are none")
	}
}

// TestSeededBugsAreCaught runs the crash test in a process of its own with each
// planted bug: it must fail there, by its own check.
func TestSeededBugsAreCaught(t *testing.T) {
	if os.Getenv("GODWIT_SEEDED_BUG") != "" {
		t.Skip("this is the run with the fault")
	}
	if caught, planted := plantedBugs(t); caught != planted || planted != len(seededBugNames) {
		t.Fatalf("%d of %d planted bugs were caught", caught, planted)
	}
}

// Without a fault chosen, the build with faults must pass.
func TestSeededBuildIsSoundWithoutAFault(t *testing.T) {
	if os.Getenv("GODWIT_SEEDED_BUG") != "" {
		t.Skip("this is the run with the fault")
	}
	var done lifeCounts
	if _, err := crashLineages(100, 60, &done); err != nil {
		t.Fatal(err)
	}
}
