package load

import (
	"fmt"
	"strings"

	"github.com/godwit-im/godwit/harness/result"
)

// edgeTrials are faults of a server with edge processes, and faults that strike
// among sessions of which most have nothing to do.
func edgeTrials() []trial {
	edges := []string{"edges: 2", "targets: {crossed: 0.5}"}
	idle := []string{"kind: idle", "sessions: 800", "rate_per_s: 120"}
	polls := []string{"kind: idle", "rate_per_s: 0", "transport: longpoll", "wait: 1s", "stages: {verify: 15s}"}
	return []trial{
		{name: "held polls, nothing wrong", change: polls, judge: func(run *result.Run) (string, bool) {
			return fmt.Sprintf("%d answered again", run.Stages[stageVerify].Succeeded), run.Verify.OK() && run.Stages[stageVerify].Succeeded == 20
		}},
		{name: string(faultDeafPoll), fault: faultDeafPoll, change: polls, judge: func(run *result.Run) (string, bool) {
			return strings.Join(run.Verify.Problems, "; "), len(run.Verify.Problems) == 1
		}},
		{name: "two edge processes, nothing wrong", change: edges, judge: func(run *result.Run) (string, bool) {
			return fmt.Sprintf("%.0f %% of %d deliveries crossed", 100*run.Edges.CrossedShare(), run.Edges.Crossed+run.Edges.Within), run.Verify.OK() && len(run.Targets) == 1 && len(run.Missed()) == 0
		}},
		{name: string(faultNode), fault: faultNode, change: edges, judge: func(run *result.Run) (string, bool) {
			return strings.Join(run.Verify.Problems, "; "), len(run.Verify.Problems) == 2
		}},
		{name: string(faultOneNode), fault: faultOneNode, change: edges, judge: func(run *result.Run) (string, bool) {
			if missed := run.Missed(); run.Verify.OK() && len(missed) == 1 {
				return "missed: " + missed[0].Text + ": " + missed[0].Measured, true
			}
			return "", false
		}},
		{name: "idle sessions that get a few messages, nothing wrong", change: idle, judge: func(run *result.Run) (string, bool) {
			v := &run.Verify
			return fmt.Sprintf("%d delivered, %d read back, no complaint", v.Delivered, v.ReadBack), v.OK() && v.ReadBack == v.Delivered && v.Delivered == 2*v.Acked && v.Acked > faultAt
		}},
		{name: "among idle sessions " + string(faultLoss), fault: faultLoss, change: idle, judge: func(run *result.Run) (string, bool) {
			return strings.Join(run.Verify.Problems, "; "), run.Verify.Lost > 0
		}},
		{name: "among idle sessions " + string(faultStray), fault: faultStray, change: idle, judge: func(run *result.Run) (string, bool) {
			return strings.Join(run.Verify.Problems, "; "), run.Verify.Lost+run.Verify.Gaps > 0
		}},
	}
}
