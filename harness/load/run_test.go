package load

import (
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// runOnFake runs a scenario against a fake server that does everything right.
func runOnFake(t *testing.T, changes ...string) *result.Run {
	t.Helper()
	return runOnFaulty(t, faultNone, nil, changes...)
}

// runOnFaulty runs one against a fake server whose fault the run must survive, on a
// machine whose memory nobody else takes or gives back.
func runOnFaulty(t *testing.T, wrong fault, tune func(*Config), changes ...string) *result.Run {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("load is generated on Linux only")
	}
	s, err := scenario.Parse([]byte(trialScenario), false, changes...)
	if err != nil {
		t.Fatal(err)
	}
	server, err := startFakeServer(wrong)
	if err != nil {
		t.Fatal(err)
	}
	defer server.close()
	cfg := Config{
		Scenario: s, Endpoint: Endpoint{URL: server.url(), Edges: server.edges(), PID: os.Getpid()}, Dir: t.TempDir(), fair: true,
		Tokens:      func(users []string) ([]string, error) { return users, nil },
		TokenSecret: []byte("a secret of the test, 32 bytes on"),
		Progress:    record.NewProgress(io.Discard, time.Now),
		memory: func() (record.Memory, error) {
			return record.Memory{AvailableBytes: 8 << 30, KernelBytes: 1 << 20}, nil
		},
	}
	if tune != nil {
		tune(&cfg)
	}
	run, err := Run(t.Context(), cfg)
	if err != nil {
		if run != nil {
			t.Fatalf("%v: %+v", err, run.Verify)
		}
		t.Fatal(err)
	}
	if err := run.Validate(); err != nil {
		t.Errorf("the result is not in order: %v", err)
	}
	return run
}

func TestClosedLoopIsLabelledAndComplete(t *testing.T) {
	t.Parallel() // waits for its stages most of the time
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
	t.Parallel() // waits for its stages most of the time
	run := runOnFake(t, "kind: history", "prefill: 120", "rate_per_s: 100", "stages: {measure: 1s}")
	if n := run.Latencies["history"].Count; n == 0 || n != run.Stages[stageMeasure].Succeeded {
		t.Errorf("%d pages measured, stage %+v", n, run.Stages[stageMeasure])
	}
	if want := uint64(20 * 60); run.Verify.Acked != want || run.Verify.Delivered != 2*want {
		t.Errorf("prefilled %d, delivered %d, want %d and twice that", run.Verify.Acked, run.Verify.Delivered, want)
	}
}

func TestIdleSessionsMustAnswerAtTheEnd(t *testing.T) {
	t.Parallel() // waits for its stages most of the time
	run := runOnFake(t, "kind: idle", "rate_per_s: 0", "sessions: 31", "stages: {measure: 1s}")
	if verify := run.Stages[stageVerify]; verify.Succeeded != 31 || run.Stages[stageRamp].Succeeded != 31 {
		t.Errorf("of 31 sessions %d were connected and %d answered", run.Stages[stageRamp].Succeeded, verify.Succeeded)
	}
}

// TestEdgeProcessesAreListedWithTheirShare: sessions, CPU time and memory of the
// engine and of each edge process.
func TestEdgeProcessesAreListedWithTheirShare(t *testing.T) {
	t.Parallel() // waits for its stages most of the time
	run := runOnFake(t, "kind: resume", "edges: 2", "cut: end", "stages: {measure: 1s, cool_down: 1s}", "sdk_sessions: 4", "targets: {sessions: 20, resume: 20s, ramp: 20s, deliver_p99: 20s}")
	u := &run.Usage
	if len(u.Processes) != 3 || u.Processes[0].Name != "engine" || u.Processes[1].Name != fakeNodes[0] || u.Processes[2].Name != fakeNodes[1] {
		t.Fatalf("processes: %+v", u.Processes)
	}
	sum := 0.0
	for _, p := range u.Processes {
		sum += p.RSSBytes
	}
	if u.Processes[1].Sessions+u.Processes[2].Sessions != 20 || u.Processes[1].Sessions == 0 || u.Processes[2].Sessions == 0 || u.Processes[1].RSSBytes == 0 || u.ServerRSSBytes != sum {
		t.Errorf("shares: %+v of %v", u.Processes, u.ServerRSSBytes)
	}
	if run.Edges.Crossed+run.Edges.Within == 0 || run.Edges.Crossed+run.Edges.Within > run.Verify.Delivered/2 {
		t.Errorf("%+v of %d deliveries", run.Edges, run.Verify.Delivered)
	}
	if len(run.Targets) != 4 || len(run.Missed()) != 0 {
		t.Errorf("targets: %+v", run.Targets)
	}
	if run.Latencies["resume"].Count != 20 {
		t.Errorf("%d sessions resumed", run.Latencies["resume"].Count)
	}
}

// TestSweepTakesAPointAtEachStep: and minted tokens are not asked for.
func TestSweepTakesAPointAtEachStep(t *testing.T) {
	t.Parallel() // waits for its stages most of the time
	run := runOnFake(t, "kind: idle", "sessions: 30", "rate_per_s: 20", "tokens: hs256", "steps: 4", "hold: 300ms", "stages: {measure: 1s, ramp: 1m}", "memory_mib: 65536")
	s := run.Sweep
	if s == nil || len(s.Points) != 4 || s.CPU == nil || s.Stopped != "" || run.Settings.Tokens != scenario.TokensHS256 {
		t.Fatalf("%+v", s)
	}
	for i, want := range []int{6, 14, 22, 30} {
		if s.Points[i].Sessions != want || s.Points[i].UserBytes == 0 || s.Points[i].ClientBytes == 0 {
			t.Errorf("point %d: %+v, want %d sessions", i, s.Points[i], want)
		}
	}
	if verify := run.Stages[stageVerify]; verify.Succeeded < 30 {
		t.Errorf("%d sessions answered", verify.Succeeded)
	}
}

// TestRampEndsWhereMemoryDoes: the run goes on with the sessions it has.
func TestRampEndsWhereMemoryDoes(t *testing.T) {
	t.Parallel() // waits for its stages most of the time
	var taken atomic.Int64
	shrinking := func(c *Config) { // each look finds a MiB less, and one is allowed
		c.memory = func() (record.Memory, error) {
			return record.Memory{AvailableBytes: float64(8<<30 - taken.Add(1<<20)), KernelBytes: 1 << 20}, nil
		}
	}
	run := runOnFaulty(t, faultNone, shrinking, "kind: idle", "sessions: 40", "steps: 4", "rate_per_s: 20", "memory_mib: 1", "stages: {measure: 1s}", "targets: {sessions: 10}")
	if run.Sweep == nil || !strings.Contains(run.Sweep.Stopped, "would go beyond 1 MiB") || len(run.Sweep.Points) != 1 || run.Stages[stageRamp].Succeeded != 10 {
		t.Errorf("%+v, %+v", run.Sweep, run.Stages[stageRamp])
	}
	if verify := run.Stages[stageVerify]; verify.Scheduled < 10 || verify.Scheduled > 30 || run.Verify.Acked == 0 {
		t.Errorf("verify %+v, acked %d", verify, run.Verify.Acked)
	}
}

func TestAScenarioWithEdgesNeedsTheirList(t *testing.T) {
	s, err := scenario.Parse([]byte(trialScenario), false, "edges: 2")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), Config{
		Scenario: s, Dir: t.TempDir(), Progress: record.NewProgress(io.Discard, time.Now),
		Tokens: func(users []string) ([]string, error) { return users, nil },
	})
	if err == nil || runtime.GOOS == "linux" && !strings.Contains(err.Error(), "wants 2 edge processes") {
		t.Errorf("no list of edge processes: %v", err)
	}
}

// TestRampEndsWhereTheServerIsFull: with the sessions of the last whole step, and
// the rest is gone.
func TestRampEndsWhereTheServerIsFull(t *testing.T) {
	t.Parallel()                                                       // waits for its stages most of the time
	impatient := func(c *Config) { c.stepPatience = 10 * time.Second } // enough for those who are let in
	run := runOnFaulty(t, faultFull, impatient, "kind: idle", "sessions: 40", "steps: 4", "rate_per_s: 20", "stages: {measure: 1s}", "targets: {sessions: 20}")
	if run.Sweep == nil || !strings.Contains(run.Sweep.Stopped, "ended with 20 sessions: 5 of 10 sessions could be connected") || len(run.Sweep.Points) != 2 {
		t.Errorf("%+v", run.Sweep)
	}
	if ramp := run.Stages[stageRamp]; ramp.Succeeded != 20 || run.Verify.Acked == 0 || run.Verify.Delivered != 2*run.Verify.Acked {
		t.Errorf("ramp %+v, verify %+v", ramp, run.Verify)
	}
}
