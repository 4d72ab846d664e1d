package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// trial is one thing the harness must notice.
type trial struct {
	name   string
	fault  fault
	stall  bool          // the server stops for stallFor every stallEvery
	hinder time.Duration // the generator stops so long, once a second
	change []string      // to the scenario
	sdk    bool          // the fault strikes sessions of the Go SDK alone
	judge  func(run *result.Run) (finding string, ok bool)
}

// The stalls that must be seen: 2 % of the time, so that an operation at a
// random moment has them in its p99.
const (
	stallEvery = 10 * time.Second
	stallFor   = 200 * time.Millisecond
)

// trialsAtOnce keeps the trials from being each other's slow generator.
const trialsAtOnce = 4

const trialScenario = `{name: selftest, kind: chat, sessions: 20, rate_per_s: 400,
  stages: {warm_up: 200ms, measure: 2s, cool_down: 100ms, verify: 5s}}`

// SelfTest plants every fault the harness is there to find, and prints what it
// found of each. The error names those that went unnoticed.
func SelfTest(ctx context.Context, out io.Writer) error {
	all := trials()
	lines, misses := make([]string, len(all)), make([]error, len(all))
	var running sync.WaitGroup
	lanes := make(chan struct{}, trialsAtOnce)
	for i, t := range all {
		running.Go(func() {
			if !t.stall { // the long one goes beside the others
				lanes <- struct{}{}
				defer func() { <-lanes }()
			}
			finding, err := t.run(ctx)
			verdict := "caught"
			if misses[i] = err; err != nil {
				verdict, finding = "MISSED", err.Error()
			}
			lines[i] = fmt.Sprintf("%-6s  %s: %s", verdict, t.name, finding)
		})
	}
	running.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	caught := 0
	for i, line := range lines {
		if misses[i] == nil {
			caught++
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(out, "%d of %d caught\n", caught, len(all)); err != nil {
		return err
	}
	return errors.Join(misses...)
}

func trials() []trial {
	stalled := []string{"stages: {measure: 20s}", "rate_per_s: 300"}
	all := []trial{
		{name: "nothing wrong", judge: func(run *result.Run) (string, bool) {
			return fmt.Sprintf("%d delivered, no complaint", run.Verify.Delivered), run.Verify.OK() && run.Verify.Delivered > 2*faultAt
		}},
		{name: fmt.Sprintf("a server that stops %s every %s", stallFor, stallEvery), stall: true, change: stalled, judge: func(run *result.Run) (string, bool) {
			p50, p99 := run.Latencies["send→stored"].P50/1000, run.Latencies["send→stored"].P99/1000
			return fmt.Sprintf("open loop: p50 %.2f ms, p99 %.1f ms", p50, p99), p99 >= 40 && (p50 < p99/4 || run.Invalid != "") && run.Verify.OK()
		}},
		{name: "a generator that falls behind", hinder: 100 * time.Millisecond, judge: func(run *result.Run) (string, bool) {
			return run.Invalid, run.Invalid != "" && run.Verify.OK()
		}},
	}
	planted := func(f fault, count func(v *result.Verify) uint64) {
		all = append(all, trial{name: string(f), fault: f, judge: func(run *result.Run) (string, bool) {
			return strings.Join(run.Verify.Problems, "; "), count(&run.Verify) > 0 && !run.Verify.OK()
		}})
	}
	planted(faultLoss, func(v *result.Verify) uint64 { return v.Lost })
	planted(faultRetry, func(v *result.Verify) uint64 { return v.Duplicated })
	planted(faultHalfStored, func(v *result.Verify) uint64 { return v.Lost })
	planted(faultForgotten, func(v *result.Verify) uint64 { return v.Gaps + v.Lost })
	planted(faultDouble, func(v *result.Verify) uint64 { return v.Duplicated })
	planted(faultRepeat, func(v *result.Verify) uint64 { return v.Duplicated })
	planted(faultReorder, func(v *result.Verify) uint64 { return v.Reordered })
	planted(faultGap, func(v *result.Verify) uint64 { return v.Gaps })
	planted(faultForgery, func(v *result.Verify) uint64 { return v.Foreign })
	planted(faultRefusal, func(v *result.Verify) uint64 { return v.Foreign })
	all = append(all, edgeTrials()...)
	resumed := []string{"kind: resume"}
	bySDK := []string{"kind: resume", "sdk_sessions: 8"}
	all = append(all,
		trial{name: string(faultNoAnswer), fault: faultNoAnswer, change: resumed, judge: func(run *result.Run) (string, bool) {
			return fmt.Sprintf("%d delivered, %d cut and resumed, no complaint", run.Verify.Delivered, run.Latencies["resume"].Count), run.Verify.OK() && run.Latencies["resume"].Count > 0
		}},
		trial{name: string(faultResume), fault: faultResume, judge: func(run *result.Run) (string, bool) {
			return strings.Join(run.Verify.Problems, "; "), run.Verify.Gaps > 0 && !run.Verify.OK()
		}},
		trial{name: "the Go SDK: " + string(faultNoAnswer), fault: faultNoAnswer, sdk: true, change: bySDK, judge: func(run *result.Run) (string, bool) {
			s := run.SDK
			return fmt.Sprintf("%d sent, %d connections cut, %d reconnects, no complaint", s.Offered, s.Cut, s.Reconnects), run.Verify.OK() && s.Acked == s.Offered && s.ReadBack == s.Delivered && s.Reconnects >= s.Cut // one more, unless the fault's end and a cut are one
		}},
		trial{name: "the Go SDK: " + string(faultResume), fault: faultResume, sdk: true, change: bySDK, judge: func(run *result.Run) (string, bool) {
			return fmt.Sprintf("%d delivered: it asked for what was missing", run.SDK.Delivered), run.Verify.OK() && run.SDK.Delivered == 2*run.SDK.Offered
		}},
		trial{name: "the Go SDK: " + string(faultLoss), fault: faultLoss, sdk: true, change: bySDK, judge: func(run *result.Run) (string, bool) {
			return strings.Join(run.Verify.Problems, "; "), run.Verify.Lost > 0 && !run.Verify.OK()
		}},
		trial{name: "the Go SDK: " + string(faultForgotten), fault: faultForgotten, sdk: true, change: bySDK, judge: func(run *result.Run) (string, bool) {
			return strings.Join(run.Verify.Problems, "; "), run.Verify.Gaps+run.Verify.Lost > 0 && !run.Verify.OK()
		}},
		trial{name: "the Go SDK: " + string(faultRetry), fault: faultRetry, sdk: true, change: bySDK, judge: func(run *result.Run) (string, bool) {
			return strings.Join(run.Verify.Problems, "; "), run.Verify.Duplicated > 0 && !run.Verify.OK()
		}},
		trial{name: "the Go SDK: " + string(faultForgery), fault: faultForgery, sdk: true, change: bySDK, judge: func(run *result.Run) (string, bool) {
			return strings.Join(run.Verify.Problems, "; "), run.Verify.Foreign > 0 && !run.Verify.OK()
		}})
	return all
}

// sdkFaultAt is the message of the SDK's that goes wrong: they send few.
const sdkFaultAt = 10

// ofSDK reports whether a user of a trial is driven by the Go SDK.
func ofSDK(sessions int) func(user string) bool {
	return func(user string) bool {
		n, ok := numberOf(user)
		return ok && n >= sessions
	}
}

// run lets the harness loose on a fake server and judges what it says.
func (t *trial) run(ctx context.Context) (finding string, err error) {
	s, err := scenario.Parse([]byte(trialScenario), false, t.change...)
	if err != nil {
		return "", err
	}
	server, err := startFakeServer(t.fault)
	if err != nil {
		return "", err
	}
	defer server.close()
	if t.sdk {
		server.at, server.only = sdkFaultAt, ofSDK(s.Sessions)
	}
	if t.stall {
		stalling, stop := context.WithCancel(ctx)
		var staller sync.WaitGroup
		staller.Go(func() { server.stallAgainAndAgain(stalling) })
		defer staller.Wait()
		defer stop()
	}
	run, err := Run(ctx, Config{
		Scenario: s, Endpoint: Endpoint{URL: server.url(), Edges: server.edges()}, Dir: os.TempDir(), Command: "godwit bench selftest",
		Tokens:   func(users []string) ([]string, error) { return users, nil },
		Progress: record.NewProgress(io.Discard, time.Now), fair: true, hinder: t.hinder,
	})
	if run == nil {
		return "", fmt.Errorf("%s: %w", t.name, err)
	}
	if errors.Is(err, ErrFailed) == run.Verify.OK() || errors.Is(err, ErrMissed) != (run.Verify.OK() && len(run.Missed()) > 0) {
		return "", fmt.Errorf("%s: the run ends with %w, and its checks with %+v", t.name, err, run.Verify)
	}
	if t.sdk && !server.struck() {
		return "", fmt.Errorf("%s: the fault was not planted", t.name)
	}
	finding, ok := t.judge(run)
	if !ok {
		return "", fmt.Errorf("%s: not noticed; the run says %q, invalid %q, %+v", t.name, finding, run.Invalid, run.Verify)
	}
	return finding, nil
}

func (s *fakeServer) stallAgainAndAgain(ctx context.Context) {
	ticker := time.NewTicker(stallEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.stall(stallFor)
		case <-ctx.Done():
			return
		}
	}
}
