package load

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// TestSweepFindsTheLinesOfItsPoints: slopes per session and intercepts of what
// each process would have without any.
func TestSweepFindsTheLinesOfItsPoints(t *testing.T) {
	before := record.Memory{AvailableBytes: 1e10, KernelBytes: 1e8}
	s := sweep{held: true}
	for _, n := range []float64{5000, 10000, 15000, 20000} {
		s.add(&observation{
			sessions: int(n), connect: time.Second, held: 2 * time.Second,
			server: [2]record.Usage{{CPUSeconds: 7}, {CPUSeconds: 7 + 2*(0.01+n*1e-6), RSSBytes: 5e7 + 900*n}},
			client: [2]record.Usage{{CPUSeconds: 3}, {CPUSeconds: 5, RSSBytes: 2e7 + 300*n}},
			memory: record.Memory{AvailableBytes: 1e10 - 1e7 - 9000*n, KernelBytes: 1e8 + 7800*n},
		}, before)
	}
	all := s.conclude()
	f := func(name string, l result.Line, slope, intercept float64) {
		t.Helper()
		if math.Abs(l.Slope-slope) > 1e-6*slope || math.Abs(l.Intercept-intercept) > 1e-6*intercept+1e-3 || l.R2 < 0.999999 {
			t.Errorf("%s: %+v, want %v and %v", name, l, slope, intercept)
		}
	}
	f("user", all.User, 900, 5e7)
	f("kernel", all.Kernel, 7800, 0)
	f("client", all.Client, 300, 2e7)
	f("all", all.All, 9000, 1e7)
	if all.CPU == nil {
		t.Fatal("no CPU")
	}
	f("CPU", *all.CPU, 1e-6, 0.01)
	if p := all.Points[0]; p.ClientCores != 1 || p.ConnectSeconds != 1 || p.Sessions != 5000 {
		t.Errorf("%+v", p)
	}
	if text := s.last(); !strings.Contains(text, "generator 1.00 cores") {
		t.Error(text)
	}
}

func TestSweepOfTwoPointsHasNoLine(t *testing.T) {
	s := sweep{}
	if s.conclude() != nil {
		t.Error("a run without points has a sweep")
	}
	for n := range 2 {
		s.add(&observation{sessions: n + 1, server: [2]record.Usage{{}, {RSSBytes: 1}}}, record.Memory{})
	}
	if all := s.conclude(); all.User != (result.Line{}) || all.CPU != nil || len(all.Points) != 2 {
		t.Errorf("%+v", all)
	}
}

func TestRampStopsBeforeTheNextStepGoesTooFar(t *testing.T) {
	const gib = 1 << 30
	good := bounds{reached: 500_000, next: 50_000, used: 6 * gib, usedMax: 20 * gib, available: 17 * gib, elapsed: 3 * time.Minute, elapsedMax: 10 * time.Minute}
	f := func(want string, change func(b *bounds)) {
		t.Helper()
		b := good
		change(&b)
		if why := b.refusal(); (why == "") != (want == "") || !strings.Contains(why, want) {
			t.Errorf("%+v: %q, want %q", b, why, want)
		}
	}
	f("", func(*bounds) {})
	f("its time of 10m0s was over", func(b *bounds) { b.elapsed = 10 * time.Minute })
	f("", func(b *bounds) { b.elapsed, b.elapsedMax = time.Hour, 0 })
	f("would go beyond 20480 MiB", func(b *bounds) { b.used = 19 * gib })
	f("", func(b *bounds) { b.used = 18 * gib; b.available = 6 * gib })
	f("", func(b *bounds) { b.used, b.usedMax = 19*gib, 0 })
	f("would leave less than 1536 MiB", func(b *bounds) { b.available = 2 * gib })
	f("would leave less than 1536 MiB", func(b *bounds) { b.used, b.available, b.usedMax = 30*gib, 4*gib, 0 })
	f("", func(b *bounds) { b.used = -gib }) // others gave memory back
}

func TestTargetsAreJudgedByWhatWasMeasured(t *testing.T) {
	good := func() *result.Run {
		run := &result.Run{
			Settings:  result.Settings{Sessions: 100},
			Stages:    []result.Stage{{Name: "ramp", Seconds: 34}},
			Latencies: map[string]result.Latency{"send→delivered": {Count: 1000, P99: 99_000}, "resume": {Count: 100, Max: 29e6}},
			Edges:     &result.Edges{Crossed: 67, Within: 33},
			Sweep:     &result.Sweep{User: result.Line{Slope: 1000, R2: 0.99}, Kernel: result.Line{Slope: 8000, R2: 0.95}},
		}
		return run
	}
	targets := scenario.Targets{
		Sessions: 100, Ramp: scenario.Duration(time.Minute), Messages: 1000, DeliverP99: scenario.Duration(100 * time.Millisecond),
		Resume: scenario.Duration(30 * time.Second), Crossed: 0.5, SessionBytes: 1024, Straight: 0.95,
	}
	f := func(want string, reached int, change func(run *result.Run)) {
		t.Helper()
		run := good()
		change(run)
		run.Targets = judgeTargets(&targets, run, reached)
		var missed []string
		for _, m := range run.Missed() {
			missed = append(missed, m.Text+": "+m.Measured)
		}
		if len(run.Targets) != 8 || want == "" && len(missed) != 0 || want != "" && (len(missed) != 1 || !strings.Contains(missed[0], want)) {
			t.Errorf("missed %q of %d, want %q", missed, len(run.Targets), want)
		}
	}
	f("", 100, func(*result.Run) {})
	f("100 in 1m1s", 100, func(r *result.Run) { r.Stages[0].Seconds = 61 })
	f("while measuring: 999", 100, func(r *result.Run) {
		l := r.Latencies["send→delivered"]
		l.Count = 999
		r.Latencies["send→delivered"] = l
	})
	f("the delivery at most 100ms: 101ms", 100, func(r *result.Run) { r.Latencies["send→delivered"] = result.Latency{Count: 1000, P99: 101_000} })
	f("cross edge processes: 50.0 %", 100, func(r *result.Run) { r.Edges.Crossed = 33 })
	f("nothing was delivered", 100, func(r *result.Run) { r.Edges = nil })
	f("the last after 31s", 100, func(r *result.Run) { r.Latencies["resume"] = result.Latency{Count: 100, Max: 31e6} })
	f("99 of 100", 100, func(r *result.Run) { r.Latencies["resume"] = result.Latency{Count: 99, Max: 1e6} })
	f("1025 bytes", 100, func(r *result.Run) { r.Sweep.User.Slope = 1025 })
	f("not measured", 100, func(r *result.Run) { r.Sweep.User.Slope = 0 })
	f("kernel 0.9400", 100, func(r *result.Run) { r.Sweep.Kernel.R2 = 0.94 })
	f("server 0.9400", 100, func(r *result.Run) { r.Sweep.User.R2 = 0.94 })
	if none := judgeTargets(&scenario.Targets{}, good(), 0); len(none) != 0 {
		t.Errorf("nothing was asked for: %+v", none)
	}
	only := scenario.Targets{Sessions: 500_000}
	if judged := judgeTargets(&only, good(), 499_999); judged[0].Met {
		t.Error("499,999 sessions are taken for half a million")
	}
}
