//go:build seededbugs

package engine

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestSeededBugsAreCaught runs the power-loss test in a process of its own with
// each planted fault: it must fail there, by its own check.
func TestSeededBugsAreCaught(t *testing.T) {
	if os.Getenv("GODWIT_SEEDED_BUG") != "" {
		t.Skip("this is the run with the fault")
	}
	for _, bug := range []string{"ack-before-fsync", "ack-before-wal-write"} {
		t.Run(bug, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestPowerLossKeepsEveryAckedCommandOnceInOrder$")
			cmd.Env = append(os.Environ(), "GODWIT_SEEDED_BUG="+bug)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the power-loss test passed with the fault:\n%s", out)
			}
			if !strings.Contains(string(out), "were acknowledged and") {
				t.Fatalf("the power-loss test failed for another reason:\n%s", out)
			}
		})
	}
}

// Without a fault chosen, the build with faults must pass.
func TestSeededBuildIsSoundWithoutAFault(t *testing.T) {
	if os.Getenv("GODWIT_SEEDED_BUG") != "" {
		t.Skip("this is the run with the fault")
	}
	crashLives(t, 1, 4, 1, func(rng *rand.Rand) int64 { return 1 + rng.Int64N(500) })
}
