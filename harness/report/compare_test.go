package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/godwit-im/godwit/harness/result"
)

func TestStudentQuantilesMatchTheTables(t *testing.T) {
	f := func(confidence, freedom, want float64) {
		t.Helper()
		if got := tQuantile(confidence, freedom); math.Abs(got-want) > 1e-4*want {
			t.Errorf("t(%v, %v) is %v, want %v", confidence, freedom, got, want)
		}
	}
	f(0.95, 1, 12.7062)
	f(0.95, 2, 4.30265)
	f(0.95, 5, 2.57058)
	f(0.95, 10, 2.22814)
	f(0.95, 30, 2.04227)
	f(0.99, 4, 4.60409)
	f(0.90, 8, 1.85955)
	f(0.95, 1e6, 1.95997)
}

// An interval that claims 95 % must hold the true ratio 95 times in 100, also
// for few runs and for sides that are noisy to different degrees.
func TestIntervalHoldsTheTrueRatioAsOftenAsItClaims(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	f := func(runsA, runsB int, noiseA, noiseB float64) {
		t.Helper()
		const rounds, truth = 2000, 1.3
		held := 0
		for range rounds {
			sample := func(n int, center, noise float64) (values []float64) {
				for range n {
					values = append(values, center*math.Exp(noise*random.NormFloat64()))
				}
				return values
			}
			row := compareRow(measured{name: "p99", unit: "µs"}, sample(runsA, 1000, noiseA), sample(runsB, 1000*truth, noiseB))
			if row.Interval.Low <= truth && truth <= row.Interval.High {
				held++
			}
		}
		if share := float64(held) / rounds; share < 0.93 || share > 0.985 {
			t.Errorf("%d and %d runs: the interval holds the ratio %.1f %% of the time", runsA, runsB, 100*share)
		}
	}
	f(5, 5, 0.1, 0.1)
	f(3, 8, 0.05, 0.3)
	f(10, 10, 0.2, 0.02)
}

// By hand: logs 1 2 3 4 and 2 4 6 differ by 1.5 in the mean, with the variance
// 5/3/4 + 4/3 = 1.75 and 3.2347 degrees of freedom, for which t is 3.0557.
func TestIntervalIsWelchs(t *testing.T) {
	e := math.E
	row := compareRow(measured{}, []float64{e, e * e, e * e * e, e * e * e * e}, []float64{e * e, math.Exp(4), math.Exp(6)})
	if low, high := math.Log(row.Interval.Low), math.Log(row.Interval.High); math.Abs(low-(1.5-4.04233)) > 1e-4 || math.Abs(high-(1.5+4.04233)) > 1e-4 {
		t.Errorf("the interval of the logs is %v … %v", low, high)
	}
}

// repeated makes n runs whose p99 is spread around a center.
func repeated(n int, p99 float64) (all []*result.Run) {
	for i := range n {
		run := sampleRun()
		run.RunID = strconv.Itoa(i) + "-" + strconv.Itoa(int(p99))
		l := run.Latencies["send→delivered"]
		l.P99 = p99 * (1 + 0.01*float64(i%3))
		run.Latencies["send→delivered"] = l
		all = append(all, run)
	}
	return all
}

func compareSides(t *testing.T, a, b []*result.Run) *Comparison {
	t.Helper()
	c, err := Compare(Side{"old", a}, Side{"new", b})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func row(t *testing.T, c *Comparison, figure string) ComparisonRow {
	t.Helper()
	at := slices.IndexFunc(c.Rows, func(r ComparisonRow) bool { return r.Figure == figure })
	if at < 0 {
		t.Fatalf("no row %q", figure)
	}
	return c.Rows[at]
}

func TestCompareTellsBetterFromWorse(t *testing.T) {
	f := func(a, b []*result.Run, want Verdict, interval bool) {
		t.Helper()
		r := row(t, compareSides(t, a, b), "send→delivered p99")
		if r.Verdict != want || (r.Interval != nil) != interval {
			t.Errorf("got %q with interval %v, want %q", r.Verdict, r.Interval, want)
		}
	}
	f(repeated(4, 6000), repeated(4, 3000), Better, true)
	f(repeated(4, 3000), repeated(4, 6000), Worse, true)
	f(repeated(4, 6000), repeated(4, 6010), NoneShown, true)
	f(repeated(1, 6000), repeated(4, 3000), NoInterval, false)
	f(repeated(4, 6000), repeated(1, 3000), NoInterval, false)

	// Two runs that agree to the last digit kept are no proof of a difference in that digit.
	equal := func(p99 float64) []*result.Run { return append(repeated(1, p99), repeated(1, p99)...) }
	f(equal(6000), equal(6001), NoneShown, true)
	f(equal(6000), equal(6100), Worse, true)

	slow, fast := repeated(3, 6000), repeated(3, 6001)
	for _, run := range slow {
		run.Stages[2].Succeeded = 45_000
	}
	if got := row(t, compareSides(t, slow, fast), "succeeded").Verdict; got != Better {
		t.Errorf("twice the rate is %q", got)
	}
}

func TestCompareRefusesWhatIsNotComparable(t *testing.T) {
	f := func(change func(*result.Run)) {
		t.Helper()
		b := sampleRun()
		change(b)
		if _, err := Compare(Side{"a", []*result.Run{sampleRun()}}, Side{"b", []*result.Run{b}}); !errors.Is(err, ErrNotComparable) {
			t.Errorf("got %v", err)
		}
	}
	f(func(r *result.Run) { r.Scenario = "connect-storm" })
	f(func(r *result.Run) { r.Invalid = "generator fell behind" })
	f(func(r *result.Run) { r.Verify.Lost = 1 })
	if _, err := Compare(Side{Name: "a"}, Side{"b", []*result.Run{sampleRun()}}); !errors.Is(err, ErrNoRuns) {
		t.Errorf("no runs: %v", err)
	}
}

func TestCompareWarnsOfDifferentConditions(t *testing.T) {
	f := func(want string, change func(*result.Run)) {
		t.Helper()
		b := repeated(1, 7000)
		change(b[0])
		c := compareSides(t, repeated(1, 6000), b)
		if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], want) {
			t.Errorf("warnings %q, want one of %q", c.Warnings, want)
		}
	}
	f("the rate differs", func(r *result.Run) { r.Settings.Rate = 500 })
	f("the store differs", func(r *result.Run) { r.Server.Store = "segments" })
	f("the CPU differs", func(r *result.Run) { r.Host.CPU = "other" })
	f("fsync p50 between", func(r *result.Run) { r.Host.FsyncP50US = 4000 })
	f("given twice", func(r *result.Run) { r.RunID = "0-6000" })
	f("connect p50 is left out", func(r *result.Run) {
		l := r.Latencies["connect"]
		l.P50 = 0
		r.Latencies["connect"] = l
	})
	if c := compareSides(t, repeated(1, 6000), repeated(1, 7000)); len(c.Warnings) != 0 {
		t.Errorf("warnings %q of equal conditions", c.Warnings)
	}
}

func TestCompareAsText(t *testing.T) {
	var many, single bytes.Buffer
	if err := compareSides(t, repeated(4, 6000), repeated(4, 3000)).WriteText(&many); err != nil {
		t.Fatal(err)
	}
	golden(t, "compare.txt", many.Bytes())
	if err := compareSides(t, repeated(1, 6000), repeated(1, 3000)).WriteText(&single); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(single.String(), "No interval can be given") || strings.Contains(single.String(), "better\n") {
		t.Errorf("single runs are judged:\n%s", single.String())
	}
}

func TestCompareOfWildRunsIsJSON(t *testing.T) {
	a, b := repeated(2, 1), repeated(2, 1)
	for i, p99 := range []float64{1e-9, 1e14} {
		l := a[i].Latencies["send→delivered"]
		l.P99 = p99
		a[i].Latencies["send→delivered"] = l
		b[i].Usage.ServerRSSBytes = math.NaN()
	}
	if _, err := json.Marshal(compareSides(t, a, b)); err != nil {
		t.Fatal(err)
	}
}

func TestBenchstatLines(t *testing.T) {
	var b bytes.Buffer
	if err := WriteBenchstat(&b, Side{"old", repeated(2, 6000)}, Side{"new", repeated(2, 3000)}); err != nil {
		t.Fatal(err)
	}
	golden(t, "benchstat.txt", b.Bytes())

	b.Reset()
	named := sampleRun() // hostile names, but figures that are printed
	named.Scenario = hostileRun().Scenario
	named.Latencies = map[string]result.Latency{named.Scenario: sampleLatency(100, 10)}
	if err := WriteBenchstat(&b, Side{"h\nBenchmarkEvil 1 1 ns/op", []*result.Run{hostileRun(), named}}); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "\nBenchmark") != 2 {
		t.Errorf("want two benchmark lines:\n%s", b.String())
	}
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		fields := strings.Fields(line)
		if !strings.HasPrefix(line, "Unit ") && !strings.HasPrefix(line, "side: ") && (!strings.HasPrefix(line, "BenchmarkScenario=") || len(fields)%2 != 0 || strings.Count(fields[0], "/") > 1) {
			t.Errorf("line %q is neither metadata nor a benchmark", line)
		}
	}
}
