package load

import (
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// runOnFake runs a scenario against a fake server that does everything right.
func runOnFake(t *testing.T, changes ...string) *result.Run {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("load is generated on Linux only")
	}
	s, err := scenario.Parse([]byte(trialScenario), false, changes...)
	if err != nil {
		t.Fatal(err)
	}
	server, err := startFakeServer(faultNone)
	if err != nil {
		t.Fatal(err)
	}
	defer server.close()
	run, err := Run(t.Context(), Config{
		Scenario: s, Servers: []Endpoint{{URL: server.url()}}, Dir: t.TempDir(), fair: true,
		Tokens:   func(_ int, users []string) ([]string, error) { return users, nil },
		Progress: record.NewProgress(io.Discard, time.Now),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Validate(); err != nil {
		t.Errorf("the result is not in order: %v", err)
	}
	return run
}

func TestClosedLoopIsLabelledAndComplete(t *testing.T) {
	run := runOnFake(t, "loop: closed", "in_flight: 2", "rate_per_s: 0", "stages: {measure: 1s}")
	measure := run.Stages[stageMeasure]
	if run.Settings.Loop != scenario.LoopClosed || run.Settings.Arrivals != "" {
		t.Errorf("the run says loop %q, arrivals %q", run.Settings.Loop, run.Settings.Arrivals)
	}
	if measure.Succeeded == 0 || measure.Succeeded != measure.Scheduled || run.Verify.ReadBack != run.Verify.Delivered {
		t.Errorf("measure %+v, verify %+v", measure, run.Verify)
	}
}

func TestHistoryScanReadsWhatWasPrefilled(t *testing.T) {
	run := runOnFake(t, "kind: history", "prefill: 120", "rate_per_s: 100", "stages: {measure: 1s}")
	if n := run.Latencies["history"].Count; n == 0 || n != run.Stages[stageMeasure].Succeeded {
		t.Errorf("%d pages measured, stage %+v", n, run.Stages[stageMeasure])
	}
	if want := uint64(20 * 60); run.Verify.Acked != want || run.Verify.Delivered != 2*want {
		t.Errorf("prefilled %d, delivered %d, want %d and twice that", run.Verify.Acked, run.Verify.Delivered, want)
	}
}

func TestIdleSessionsMustAnswerAtTheEnd(t *testing.T) {
	run := runOnFake(t, "kind: idle", "rate_per_s: 0", "sessions: 31", "stages: {measure: 1s}")
	if verify := run.Stages[stageVerify]; verify.Succeeded != 31 || run.Stages[stageRamp].Succeeded != 31 {
		t.Errorf("of 31 sessions %d were connected and %d answered", run.Stages[stageRamp].Succeeded, verify.Succeeded)
	}
}
