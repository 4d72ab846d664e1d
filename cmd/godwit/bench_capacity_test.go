package main

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/harness/capacity"
	"github.com/godwit-im/godwit/harness/result"
)

func TestCapacityOutcomeReadsEveryCheckOfTheRun(t *testing.T) {
	run := &result.Run{
		Latencies: map[string]result.Latency{"send→delivered": {Count: 9, P99: 7}, "send→stored": {Count: 10, P99: 5}},
		Stages: []result.Stage{
			{Name: "warm-up", Scheduled: 99, Refused: 99},
			{Name: "measure", Scheduled: 20, Started: 20, Late: 4, Refused: 2, Unknown: 3},
		},
		Verify:  result.Verify{Lost: 1, Gaps: 10, Duplicated: 5, Reordered: 6, Problems: []string{"1 was lost"}},
		Invalid: "the generator fell behind",
	}
	got, err := capacityOutcome(run, "send→delivered")
	want := capacity.Outcome{Latency: run.Latencies["send→delivered"], Due: 20, Lost: 11, Duplicated: 5, Reordered: 6, Refused: 2, Unknown: 3, Late: 4, Invalid: run.Invalid}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	run.Verify = result.Verify{Problems: []string{"history could not be read"}}
	if got, err := capacityOutcome(run, "send→stored"); err != nil || got.Broken != "history could not be read" || got.Latency.P99 != 5 {
		t.Errorf("a check that counts nothing: %+v, %v", got, err)
	}
	run.Verify = result.Verify{Foreign: 2}
	if got, err := capacityOutcome(run, "send→stored"); err != nil || !strings.Contains(got.Broken, "2 messages nobody sent") {
		t.Errorf("foreign messages: %+v, %v", got, err)
	}
	if _, err := capacityOutcome(run, "resume"); err == nil || !strings.Contains(err.Error(), `no latency "resume"`) {
		t.Errorf("a latency that was not measured: %v", err)
	}
}

func TestCapacityRefusesBeforeItStartsAnything(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		a := &app{stdout: &out, stderr: &out}
		root := &cobra.Command{Use: "bench", SilenceErrors: true, SilenceUsage: true}
		root.AddCommand(a.benchCapacityCommand())
		root.SetArgs(append([]string{"capacity"}, args...))
		if err := root.ExecuteContext(context.Background()); err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%v: %v, printed %q; want %q", args, err, out.String(), want)
		}
	}
	f("bounds no latency", "--slo", "loss=0")
	f("nothing-like-it", "nothing-like-it")
	f("has no rate", "idle-connections")
	f("accepts at most 1 arg", "a", "b")
}

func TestCapacityPrintsOneLineForScripts(t *testing.T) {
	found := capacity.Found{Rate: 1500, Failed: 1575, Verdict: result.VerdictCapacity, Trials: []capacity.Trial{
		{Phase: capacity.PhaseStep, Rate: 1000, Outcome: capacity.Outcome{Latency: result.Latency{P99: 2500}}},
		{Phase: capacity.PhaseBisect, Rate: 1575, Outcome: capacity.Outcome{Lost: 3}, Unmet: []string{"loss is 3, want loss=0"}},
	}}
	var out bytes.Buffer
	a := &app{stdout: &out, json: true}
	if err := a.capacityPrint(capacitySummary{Scenario: "dm-chat", SLO: "p99<200ms"}, found); err != nil {
		t.Fatal(err)
	}
	var got capacitySummary
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		t.Fatalf("%v: %s", err, out.String())
	}
	want := capacitySummary{Scenario: "dm-chat", SLO: "p99<200ms", Rate: 1500, Failed: 1575, Verdict: result.VerdictCapacity, Trials: []capacityTrial{
		{capacity.PhaseStep, 1000, 2.5, 0, []string{}},
		{capacity.PhaseBisect, 1575, 0, 3, []string{"loss is 3, want loss=0"}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	a.json = false
	out.Reset()
	found.Verdict, found.AtLeast = result.VerdictGenerator, "the generator fell behind"
	if err := a.capacityPrint(capacitySummary{Scenario: "dm-chat"}, found); err != nil || !strings.Contains(out.String(), "at least 1500 operations/s") || !strings.Contains(out.String(), found.AtLeast) || !strings.HasPrefix(out.String(), "generator-limited, no capacity") {
		t.Errorf("%q, %v", out.String(), err)
	}
}
