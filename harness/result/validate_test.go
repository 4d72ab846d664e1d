package result

import (
	"math"
	"strings"
	"testing"
)

func TestValidateSaysWhatIsWrong(t *testing.T) {
	if err := filledRun().Validate(); err != nil {
		t.Fatalf("the filled run: %v", err)
	}
	f := func(want string, change func(r *Run)) {
		t.Helper()
		run := filledRun()
		change(run)
		err := run.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		} else if strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("one fault, several sentences: %v", err)
		}
	}
	latency := func(change func(l *Latency)) func(r *Run) {
		return func(r *Run) {
			l := r.Latencies["send→stored"]
			change(&l)
			r.Latencies["send→stored"] = l
		}
	}
	f("format", func(r *Run) { r.Format = "godwit-bench/v0" })
	f("scenario", func(r *Run) { r.Scenario = "Dm Chat" })
	f("run_id", func(r *Run) { r.RunID = "" })
	f("started", func(r *Run) { r.Started = "2026-03-01T10:20:30+02:00" })
	f("started", func(r *Run) { r.Started = "" })
	f("commit", func(r *Run) { r.Commit = "main" })
	f("loop", func(r *Run) { r.Settings.Loop = "" })
	f("arrivals", func(r *Run) { r.Settings.Arrivals = "fast" })
	f(`"lunch" is no stage`, func(r *Run) { r.Stages[0].Name = "lunch" })
	f("ramp stands after measure", func(r *Run) { r.Stages[0], r.Stages[1] = r.Stages[1], r.Stages[0] })
	f("measure stands after measure", func(r *Run) { r.Stages[0].Name = "measure" })
	f("11 operations were begun, 10 were due", func(r *Run) { r.Stages[1].Started = 11 })
	f("began late", func(r *Run) { r.Stages[1].Late = 10 })
	f("10 operations ended, 9 were begun", func(r *Run) { r.Stages[1].Unknown = 3 })
	f("send→stored: the percentiles", latency(func(l *Latency) { l.P50 = 3.5 }))
	f("send→stored: the percentiles", latency(func(l *Latency) { l.Max = 2.5 }))
	f("the mean is over", latency(func(l *Latency) { l.Mean = 3.5 }))
	f("bucket 1 stands after bucket 1", latency(func(l *Latency) { l.Buckets = [][2]float64{{1, 1}, {1, 2}} }))
	f("the buckets hold 1 values", latency(func(l *Latency) { l.Buckets = l.Buckets[:1] }))
	f("second 1 stands after second 1", func(r *Run) { r.Series[0].At = 1 })
	f("settings.rate_per_s", func(r *Run) { r.Settings.Rate = math.Inf(1) })
	f("settings.sessions", func(r *Run) { r.Settings.Sessions = -1 })
	f("series[1].p50_us", func(r *Run) { r.Series[1].P50US = math.NaN() })
	f("usage.server_cpu_s", func(r *Run) { r.Usage.ServerCPUSeconds = -1 })
	f("usage.metrics_after[x]", func(r *Run) { r.Usage.After = map[string]float64{"x": math.NaN()} })
}

func TestValidateListsEveryFault(t *testing.T) {
	run := filledRun()
	run.RunID, run.Settings.Loop = "", "round"
	if err := run.Validate(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two faults: %v", err)
	}
}

func TestVerifyOKOnlyWithoutFaults(t *testing.T) {
	ok := Verify{Acked: 5, Delivered: 50, ReadBack: 5}
	if !ok.OK() {
		t.Error("a clean run is not OK")
	}
	for _, bad := range []Verify{{Lost: 1}, {Duplicated: 1}, {Reordered: 1}, {Gaps: 1}, {Foreign: 1}, {Problems: []string{"history could not be read"}}} {
		if bad.OK() {
			t.Errorf("%+v is OK", bad)
		}
	}
}
