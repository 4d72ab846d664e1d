package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/godwit-im/godwit/harness/result"
)

// confidence of the intervals of a comparison.
const confidence = 0.95

// rounding is the variance of a log that three significant digits leave in any
// case: runs that agree to the digit must not make an interval of no width.
const rounding = 0.001 * 0.001 / 12

// Side is one side of a comparison: repeated runs of the same thing.
type Side struct {
	Name string
	Runs []*result.Run
}

// Comparison is what two sides have in common, the second over the first.
type Comparison struct {
	Scenario string          `json:"scenario"`
	A        string          `json:"a"`
	B        string          `json:"b"`
	RunsA    int             `json:"runs_a"`
	RunsB    int             `json:"runs_b"`
	Warnings []string        `json:"warnings"`
	Rows     []ComparisonRow `json:"rows"`
}

// ComparisonRow is one figure. Its interval is Welch's for the ratio of the
// geometric means, at 95 %; it takes two runs on each side.
type ComparisonRow struct {
	Figure   string    `json:"figure"`
	Unit     string    `json:"unit"`
	A        float64   `json:"a"` // geometric means
	B        float64   `json:"b"`
	Ratio    float64   `json:"ratio"` // B over A
	Interval *Interval `json:"interval,omitempty"`
	Verdict  Verdict   `json:"verdict"`
}

// Interval bounds a ratio.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Verdict is what a row allows one to say.
type Verdict string

// The verdicts.
const (
	Better     Verdict = "better"
	Worse      Verdict = "worse"
	NoneShown  Verdict = "no difference shown"
	NoInterval Verdict = "no interval: too few runs"
)

// measured is one figure of one run.
type measured struct {
	name, unit   string
	value        float64
	moreIsBetter bool
}

// figuresOf lists a run's figures, but those nobody measured.
func figuresOf(run *result.Run) (all []measured) {
	add := func(name, unit string, value float64, moreIsBetter bool) {
		if value > 0 && plausible(value) {
			all = append(all, measured{name, unit, value, moreIsBetter})
		}
	}
	if s, ok := stage(run, "measure"); ok && s.Seconds > 0 {
		add("succeeded", "op/s", float64(s.Succeeded)/s.Seconds, true)
	}
	for _, name := range latencyNames(run) {
		l, short := run.Latencies[name], clean(name, 60)
		if l.Count == 0 {
			continue
		}
		add(short+" p50", "µs", l.P50, false)
		add(short+" p90", "µs", l.P90, false)
		add(short+" p99", "µs", l.P99, false)
		add(short+" p99.9", "µs", l.P999, false)
		add(short+" max", "µs", l.Max, false)
	}
	add("server CPU per message", "µs", run.Usage.ServerCPUPerMessage, false)
	add("server RSS", "B", run.Usage.ServerRSSBytes, false)
	add("RSS per session", "B", run.Usage.BytesPerConnection, false)
	add("generator CPU", "s", run.Usage.GeneratorCPUSeconds, false)
	return all
}

// Compare sets two sides against each other. It refuses runs that are invalid
// or of different scenarios: no interval makes up for that.
func Compare(a, b Side) (*Comparison, error) {
	if len(a.Runs) == 0 || len(b.Runs) == 0 {
		return nil, ErrNoRuns
	}
	first := a.Runs[0]
	for _, side := range []Side{a, b} {
		for i, run := range side.Runs {
			if run.Scenario != first.Scenario {
				return nil, fmt.Errorf("%w: scenarios %q and %q", ErrNotComparable, clean(first.Scenario, 60), clean(run.Scenario, 60))
			}
			if v := judge(run); !v.Valid() {
				return nil, fmt.Errorf("%w: run %d of %s is invalid: %s", ErrNotComparable, i+1, side.Name, v.Reasons[0])
			}
		}
	}
	c := &Comparison{Scenario: clean(first.Scenario, 60), A: a.Name, B: b.Name, RunsA: len(a.Runs), RunsB: len(b.Runs), Warnings: warnings(a, b), Rows: []ComparisonRow{}}
	for _, f := range figuresOf(first) {
		valuesA, valuesB := valuesOf(a, f.name), valuesOf(b, f.name)
		if len(valuesA) == len(a.Runs) && len(valuesB) == len(b.Runs) {
			c.Rows = append(c.Rows, compareRow(f, valuesA, valuesB))
		} else {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s is left out: not every run measured it", f.name))
		}
	}
	for _, f := range figuresOf(b.Runs[0]) {
		if !slices.ContainsFunc(figuresOf(first), func(of measured) bool { return of.name == f.name }) {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s is left out: not every run measured it", f.name))
		}
	}
	return c, nil
}

// valuesOf collects one figure of every run that has it.
func valuesOf(side Side, name string) (values []float64) {
	for _, run := range side.Runs {
		for _, f := range figuresOf(run) {
			if f.name == name {
				values = append(values, f.value)
			}
		}
	}
	return values
}

// compareRow computes a ratio and, given repeated runs, its interval. Latencies
// are skewed and what is asked is a ratio, so that Welch's test looks at logs.
func compareRow(f measured, valuesA, valuesB []float64) ComparisonRow {
	meanA, varianceA := logMoments(valuesA)
	meanB, varianceB := logMoments(valuesB)
	row := ComparisonRow{Figure: f.name, Unit: f.unit, A: math.Exp(meanA), B: math.Exp(meanB), Ratio: math.Exp(meanB - meanA), Verdict: NoInterval}
	if len(valuesA) < 2 || len(valuesB) < 2 {
		return row
	}
	shareA, shareB := max(varianceA, rounding)/float64(len(valuesA)), max(varianceB, rounding)/float64(len(valuesB))
	error2 := shareA + shareB
	freedom := error2 * error2 / (shareA*shareA/float64(len(valuesA)-1) + shareB*shareB/float64(len(valuesB)-1))
	half := tQuantile(confidence, freedom) * math.Sqrt(error2)
	// Two runs that differ by orders of magnitude allow nearly any ratio: bounded, so that JSON can hold it.
	bounded := func(v float64) float64 { return min(max(math.Exp(v), 1e-12), 1e12) }
	row.Interval = &Interval{Low: bounded(meanB - meanA - half), High: bounded(meanB - meanA + half)}
	switch {
	case row.Interval.Low > 1 && f.moreIsBetter, row.Interval.High < 1 && !f.moreIsBetter:
		row.Verdict = Better
	case row.Interval.Low > 1, row.Interval.High < 1:
		row.Verdict = Worse
	default:
		row.Verdict = NoneShown
	}
	return row
}

// logMoments is the mean of the logs and their sample variance.
func logMoments(values []float64) (mean, variance float64) {
	for _, v := range values {
		mean += math.Log(v)
	}
	mean /= float64(len(values))
	if len(values) < 2 {
		return mean, 0
	}
	for _, v := range values {
		variance += (math.Log(v) - mean) * (math.Log(v) - mean)
	}
	return mean, variance / float64(len(values)-1)
}

// warnings says in what else, besides what was changed on purpose, runs differ.
func warnings(a, b Side) []string {
	found := []string{}
	all := slices.Concat(a.Runs, b.Runs)
	differ := func(what string, value func(*result.Run) any) {
		for _, run := range all[1:] {
			if value(run) != value(all[0]) {
				found = append(found, fmt.Sprintf("%s differs: %s and %s", what, clean(fmt.Sprint(value(all[0])), 80), clean(fmt.Sprint(value(run)), 80)))
				return
			}
		}
	}
	differ("the loop", func(r *result.Run) any { return r.Settings.Loop })
	differ("the arrivals", func(r *result.Run) any { return r.Settings.Arrivals })
	differ("the rate", func(r *result.Run) any { return r.Settings.Rate })
	differ("the number of sessions", func(r *result.Run) any { return r.Settings.Sessions })
	differ("the encoding", func(r *result.Run) any { return r.Settings.Encoding })
	differ("the corpus", func(r *result.Run) any { return r.Settings.Corpus })
	differ("the number of agents", func(r *result.Run) any { return r.Settings.Agents })
	differ("the length of measure", func(r *result.Run) any { s, _ := stage(r, "measure"); return math.Round(s.Seconds) })
	differ("sharing the machine", func(r *result.Run) any { return r.Settings.SameMachine })
	differ("the CPU", func(r *result.Run) any { return r.Host.CPU })
	differ("the number of cores", func(r *result.Run) any { return r.Host.Cores })
	differ("GOMAXPROCS", func(r *result.Run) any { return r.Host.GOMAXPROCS })
	differ("the kernel", func(r *result.Run) any { return r.Host.Kernel })
	differ("Go", func(r *result.Run) any { return r.Host.Go })
	differ("the file system", func(r *result.Run) any { return r.Host.FileSystem })
	differ("the store", func(r *result.Run) any { return r.Server.Store })
	differ("the number of groups", func(r *result.Run) any { return r.Server.Groups })
	ids := map[string]bool{}
	for _, run := range all {
		if run.RunID != "" && ids[run.RunID] {
			found = append(found, fmt.Sprintf("run %s is given twice: that is no repetition", clean(run.RunID, 60)))
		}
		ids[run.RunID] = true
	}
	if s, ok := fsyncSpread(all); ok {
		found = append(found, s)
	}
	return found
}

// fsyncSpread notes a disk that was not the same disk, or not at peace.
func fsyncSpread(runs []*result.Run) (string, bool) {
	low, high := math.Inf(1), 0.0
	for _, run := range runs {
		if v := run.Host.FsyncP50US; v > 0 && plausible(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	return fmt.Sprintf("the disk differed: fsync p50 between %s and %s", micros(low), micros(high)), high > 1.5*low
}
