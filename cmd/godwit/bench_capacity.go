package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/harness/capacity"
	"github.com/godwit-im/godwit/harness/load"
	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// capacityFlags are what bench capacity can be told.
type capacityFlags struct {
	benchFlags
	search  capacity.Config
	slo     string
	latency string
	trial   time.Duration
}

// inShort are the changes to a scenario for one trial: short, and without what
// has nothing to do with the rate.
func (f *capacityFlags) inShort() []string {
	changes := []string{"sdk_sessions: 0"}
	if f.trial > 0 {
		changes = append(changes, fmt.Sprintf("stages: {warm_up: 1s, measure: %s, cool_down: 500ms, verify: 20s}", f.trial))
	}
	return changes
}

func (a *app) benchCapacityCommand() *cobra.Command {
	var flags capacityFlags
	c := &cobra.Command{
		Use:   "capacity [SCENARIO]",
		Short: "Find the highest rate that keeps an SLO",
		Long: `Search the highest rate of a scenario (dm-chat unless named) that keeps every
condition of --slo: doubling from the scenario's rate to the first failure, then
bisection, then three confirmations in a row. Each trial runs the scenario, its
measure stage cut to --trial, on a server of its own with a fresh directory.

Conditions bound ` + capacity.Metrics + `.

The result of the last confirmation is kept like that of bench run, with every
trial. When the generator falls behind, the trial is repeated up to twice; when it
gives out before the server does, the verdict is "generator-limited", and the rate
only a lower bound.`,
		Example: `  godwit bench capacity --slo 'p99<200ms,loss=0'
  godwit bench capacity dm-chat --slo 'p99<20ms,loss=0' --limit 5m
  godwit bench capacity dm-chat --quick --slo 'p99<50ms,loss=0,refused<=0.1%' --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: work(func(c *cobra.Command, args []string) error {
			name := "dm-chat"
			if len(args) > 0 {
				name = args[0]
			}
			return a.benchCapacity(c.Context(), name, &flags)
		}),
	}
	f := c.Flags()
	f.StringVar(&flags.slo, "slo", "p99<200ms,loss=0", "`CONDITIONS` a rate must keep")
	f.StringVar(&flags.latency, "latency", "send→delivered", "`NAME` of the latency the SLO bounds")
	f.Float64Var(&flags.search.Start, "start", 0, "first `RATE` tried, per second (default the scenario's)")
	f.Float64Var(&flags.search.Max, "max", 0, "highest `RATE` tried (default 10,000 times the first)")
	f.Float64Var(&flags.search.Precision, "precision", 0.05, "relative `WIDTH` at which the search ends")
	f.DurationVar(&flags.search.Budget, "limit", 5*time.Minute, "`TIME` of the whole search, up to the last trial; bisection ends early for it")
	f.DurationVar(&flags.trial, "trial", 5*time.Second, "`TIME` of each trial's measure stage; 0 for the scenario's stages")
	f.BoolVar(&flags.quick, "quick", false, "the short form of the scenario for each trial")
	f.StringArrayVar(&flags.set, "set", nil, "change `FIELD: VALUE`s of the scenario, in YAML; may be repeated")
	f.StringVar(&flags.data, "data", "", "`DIR`ectory in which each trial's server gets its own")
	f.StringVar(&flags.out, "out", "", "`FILE` of the last confirmation's result (default a new one in "+benchResults+"/)")
	return c
}

// capacitySummary is the line scripts read. Rates are operations per second.
type capacitySummary struct {
	Scenario string          `json:"scenario"`
	SLO      string          `json:"slo"`
	Latency  string          `json:"latency"`
	Rate     float64         `json:"rate_per_s"`
	Failed   float64         `json:"failed_per_s,omitempty"`
	Verdict  string          `json:"verdict"`            // capacity, generator-limited, disturbed or bounded
	AtLeast  string          `json:"at_least,omitempty"` // why the server may sustain more
	Trials   []capacityTrial `json:"trials"`
}

type capacityTrial struct {
	Phase capacity.Phase `json:"phase"`
	Rate  float64        `json:"rate_per_s"`
	P99   float64        `json:"p99_ms"`
	Lost  uint64         `json:"lost"`
	Unmet []string       `json:"unmet"` // empty: kept
}

func (a *app) benchCapacity(ctx context.Context, name string, flags *capacityFlags) error {
	slo, err := capacity.ParseSLO(flags.slo)
	if err != nil {
		return err
	}
	command := capacityCommandLine(name, flags)
	flags.set = append(flags.inShort(), flags.set...)
	s, err := scenario.Open(name, flags.quick, flags.set...)
	if err != nil {
		return err
	}
	if s.Loop != scenario.LoopOpen || s.Rate <= 0 {
		return fmt.Errorf("the scenario %s has no rate of an open loop to be varied; try dm-chat", s.Name)
	}
	if flags.search.Start == 0 {
		flags.search.Start = s.Rate
	}
	progress := record.NewProgress(a.stderr, time.Now)
	var last *result.Run
	probe := func(ctx context.Context, rate float64) (capacity.Outcome, error) {
		run, err := a.capacityTrial(ctx, name, flags.benchFlags, rate, progress)
		if run == nil {
			return capacity.Outcome{}, err
		}
		last = run
		return capacityOutcome(run, flags.latency)
	}
	watchParent()
	found, err := capacity.Find(ctx, flags.search, slo, probe, func(t capacity.Trial) { progress.Say(trialLine(t)) })
	if err != nil {
		return err
	}
	summary := capacitySummary{Scenario: s.Name, SLO: slo.String(), Latency: flags.latency}
	last.Scenario, last.Command = s.Name+"-capacity", command
	last.Capacity = capacityResult(&summary, found)
	if err := a.benchWrite(last, flags.out); err != nil {
		return err
	}
	return a.capacityPrint(summary, found)
}

// capacityTrial runs the scenario at a rate on a server of its own. A run that
// failed its checks is an outcome, not an error.
func (a *app) capacityTrial(ctx context.Context, name string, flags benchFlags, rate float64, progress *record.Progress) (run *result.Run, err error) {
	flags.set = append(slices.Clone(flags.set), fmt.Sprintf("rate_per_s: %.6g", rate))
	s, err := scenario.Open(name, flags.quick, flags.set...)
	if err != nil {
		return nil, err
	}
	server, err := startServer(ctx, flags.data, &s)
	if err != nil {
		return nil, err
	}
	defer server.close()
	cfg := load.Config{
		Scenario: s, Command: benchCommandLine(name, &flags), Progress: progress,
		Server: result.ServerFacts{Version: version, Store: "wal+memory"},
	}
	server.configure(&cfg)
	if cfg.Program, err = os.Executable(); err != nil {
		return nil, err
	}
	cfg.ProgramArgs = agentArgs
	run, err = load.Run(ctx, cfg)
	if errors.Is(err, load.ErrFailed) || errors.Is(err, load.ErrMissed) {
		err = nil
	}
	return run, err
}

// capacityCommandLine is how to repeat a search.
func capacityCommandLine(name string, flags *capacityFlags) string {
	line := strings.Replace(benchCommandLine(name, &flags.benchFlags), "bench run", "bench capacity", 1)
	return fmt.Sprintf("%s --slo '%s' --limit %s --trial %s", line, flags.slo, flags.search.Budget, flags.trial)
}

// capacityResult is the search as the result file has it.
func capacityResult(s *capacitySummary, found capacity.Found) *result.Capacity {
	c := &result.Capacity{SLO: s.SLO, Latency: s.Latency, Rate: found.Rate, Failed: found.Failed, Verdict: found.Verdict, Why: found.AtLeast}
	for _, t := range found.Trials {
		l := &t.Outcome.Latency
		c.Trials = append(c.Trials, result.CapacityTrial{Phase: string(t.Phase), Rate: t.Rate, P50: l.P50, P99: l.P99, Lost: t.Outcome.Lost, Unmet: t.Unmet})
	}
	return c
}

// othersMax is the share of other processes in the machine's CPU time above
// which a rate that fails is not held against the server.
const othersMax = 0.1

// capacityOutcome reads what an SLO can bound from a run.
func capacityOutcome(run *result.Run, latency string) (capacity.Outcome, error) {
	l, ok := run.Latencies[latency]
	if !ok {
		return capacity.Outcome{}, fmt.Errorf("no latency %q was measured; there are %q", latency, slices.Sorted(maps.Keys(run.Latencies)))
	}
	v := &run.Verify
	o := capacity.Outcome{Latency: l, Lost: v.Lost + v.Gaps, Duplicated: v.Duplicated, Reordered: v.Reordered, Invalid: run.Invalid}
	for _, stage := range run.Stages {
		if stage.Name == "measure" {
			o.Due, o.Refused, o.Unknown, o.Late = stage.Scheduled, stage.Refused, stage.Unknown, stage.Late
		}
	}
	if share := run.Usage.OthersCPUShare; share > othersMax {
		o.Disturbed = fmt.Sprintf("other processes took %.0f %% of the CPU time", 100*share)
	}
	switch counted := o.Lost + o.Duplicated + o.Reordered; {
	case v.Foreign > 0:
		o.Broken = fmt.Sprintf("%d messages nobody sent were delivered", v.Foreign)
	case counted == 0 && len(v.Problems) > 0:
		o.Broken = v.Problems[0]
	}
	return o, nil
}

func trialLine(t capacity.Trial) string {
	verdict := "kept"
	if len(t.Unmet) > 0 {
		verdict = "broken: " + strings.Join(t.Unmet, "; ")
	}
	return fmt.Sprintf("%-7s  %9.6g/s  p50 %.3f ms  p99 %.3f ms  %s", t.Phase, t.Rate, t.Outcome.Latency.P50/1000, t.Outcome.Latency.P99/1000, verdict)
}

func (a *app) capacityPrint(s capacitySummary, found capacity.Found) error {
	s.Rate, s.Failed, s.Verdict, s.AtLeast = found.Rate, found.Failed, found.Verdict, found.AtLeast
	for _, t := range found.Trials {
		s.Trials = append(s.Trials, capacityTrial{t.Phase, t.Rate, t.Outcome.Latency.P99 / 1000, t.Outcome.Lost, append([]string{}, t.Unmet...)})
	}
	if a.json {
		return a.printJSON(s)
	}
	text := fmt.Sprintf("%s sustains %.6g operations/s under %s of %s", s.Scenario, s.Rate, s.SLO, s.Latency)
	if s.AtLeast != "" {
		text = fmt.Sprintf("%s, no capacity: %s sustains at least %.6g operations/s under %s of %s: %s", s.Verdict, s.Scenario, s.Rate, s.SLO, s.Latency, s.AtLeast)
	}
	_, err := fmt.Fprintln(a.stdout, text)
	return err
}
