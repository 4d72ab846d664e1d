package capacity

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/godwit-im/godwit/harness/result"
)

// queue models a server as a queue with one worker: up to its capacity it
// answers after service/(1-load), above it work piles up for the whole trial.
type queue struct {
	capacity  float64 // operations per second
	generator float64 // the rate at which the generator falls behind; 0: never
	noise     func() float64
	disturbed string
	tried     []float64
}

// p99 is in µs: 4.6 times the mean of an exponential waiting time.
func (q *queue) p99(rate float64) float64 {
	load := rate / q.capacity
	if load >= 1 {
		return 10e6 * (1 + load)
	}
	return 4.6 * 1e6 / q.capacity / (1 - load)
}

func (q *queue) probe(_ context.Context, rate float64) (Outcome, error) {
	q.tried = append(q.tried, rate)
	p99 := q.p99(rate)
	if q.noise != nil {
		p99 *= q.noise()
	}
	due := uint64(rate * 10)
	o := Outcome{Due: due, Disturbed: q.disturbed, Latency: result.Latency{Count: due, P50: p99 / 6, P99: p99, Max: p99 * 3}}
	if rate > 3*q.capacity {
		o.Refused = due / 2
	}
	if q.generator > 0 && rate > q.generator {
		o.Invalid = "the generator fell behind"
	}
	return o, nil
}

// limit is the true highest rate with a p99 under the bound, in µs.
func (q *queue) limit(boundUS float64) float64 {
	return q.capacity * (1 - 4.6*1e6/q.capacity/boundUS)
}

func mustSLO(text string) SLO {
	slo, err := ParseSLO(text)
	if err != nil {
		panic(err)
	}
	return slo
}

func TestFindComesCloseFromBelow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := &queue{capacity: rapid.Float64Range(1000, 200_000).Draw(t, "capacity")}
		config := Config{Start: rapid.Float64Range(500, 50_000).Draw(t, "start"), Precision: rapid.Float64Range(0.005, 0.2).Draw(t, "precision")}
		found, err := Find(context.Background(), config, mustSLO("p99<200ms,loss=0"), q.probe, nil)
		limit := q.limit(200_000)
		if err != nil || found.Rate > limit || found.Rate*(1+config.Precision) < limit || found.Failed < limit || found.AtLeast != "" {
			t.Fatalf("found %.1f (failed %.1f, %s), %v; the limit is %.1f", found.Rate, found.Failed, found.AtLeast, err, limit)
		}
	})
}

func TestFindConfirmsThreeTimesInARow(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		q := &queue{capacity: 10_000, noise: func() float64 { return math.Exp(random.NormFloat64() * 0.8) }}
		found, err := Find(context.Background(), Config{Start: 1000, ProbesMax: 200}, mustSLO("p99<20ms"), q.probe, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, trial := range found.Trials[len(found.Trials)-3:] {
			if trial.Phase != PhaseConfirm || trial.Rate != found.Rate || len(trial.Unmet) > 0 {
				t.Fatalf("seed %d: %.1f/s is called confirmed after %+v", seed, found.Rate, found.Trials)
			}
		}
		if found.Failed <= found.Rate {
			t.Fatalf("seed %d: %.1f/s is confirmed, although %.1f/s failed", seed, found.Rate, found.Failed)
		}
		if len(q.tried) != len(found.Trials) {
			t.Fatalf("seed %d: %d trials reported, %d run", seed, len(found.Trials), len(q.tried))
		}
	}
}

func TestAFailedConfirmationRefutesTheRate(t *testing.T) {
	// Between 1,000 and 1,200 the server keeps the SLO twice, then no more.
	times := map[bool]int{}
	probe := func(_ context.Context, rate float64) (Outcome, error) {
		o := Outcome{Due: 100, Latency: result.Latency{Count: 100, P99: 1000}}
		flaky := rate > 1000 && rate <= 1200
		times[flaky]++
		if rate > 1200 || flaky && times[true] > 2 {
			o.Latency.P99 = 1e6
		}
		return o, nil
	}
	found, err := Find(context.Background(), Config{Start: 900}, mustSLO("p99<200ms"), probe, nil)
	if err != nil || found.Rate > 1000 || found.Rate < 900 || found.Failed <= found.Rate {
		t.Errorf("found %v, failed %v, %v", found.Rate, found.Failed, err)
	}
}

func TestFindGoesDownFromAStartThatIsTooHigh(t *testing.T) {
	q := &queue{capacity: 1000}
	found, err := Find(context.Background(), Config{Start: 50_000, Min: 10}, mustSLO("p99<200ms"), q.probe, nil)
	if limit := q.limit(200_000); err != nil || found.Rate > limit || found.Rate*1.05 < limit {
		t.Errorf("%v, %v; the limit is %v", found.Rate, err, limit)
	}
	found, err = Find(context.Background(), Config{Start: 50_000, Min: 2000}, mustSLO("p99<200ms"), q.probe, nil)
	if !errors.Is(err, ErrNone) || found.Rate != 0 || len(found.Trials) == 0 || found.Trials[len(found.Trials)-1].Rate != 2000 {
		t.Errorf("%v, %v, %v", found.Rate, err, found.Trials)
	}
}

func TestFindSaysWhenTheServerWasNotTheLimit(t *testing.T) {
	q := &queue{capacity: 100_000, generator: 7000}
	found, err := Find(context.Background(), Config{Start: 1000}, mustSLO("p99<200ms"), q.probe, nil)
	if err != nil || !strings.Contains(found.AtLeast, "the generator fell behind") || found.Rate > 7000 || found.Rate < 6500 {
		t.Errorf("a weak generator: %v, %q, %v", found.Rate, found.AtLeast, err)
	}
	q.generator = 0
	found, err = Find(context.Background(), Config{Start: 1000, Max: 5000}, mustSLO("p99<200ms"), q.probe, nil)
	if err != nil || found.Rate != 5000 || found.Failed != 0 || !strings.Contains(found.AtLeast, "5000/s, kept") {
		t.Errorf("a low maximum: %v, %q, %v", found.Rate, found.AtLeast, err)
	}
}

func TestABusyMomentDoesNotCountAgainstTheServer(t *testing.T) {
	calm := &queue{capacity: 10_000}
	want, err := Find(context.Background(), Config{Start: 1000}, mustSLO("p99<200ms"), calm.probe, nil)
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{capacity: 10_000}
	got, err := Find(context.Background(), Config{Start: 1000}, mustSLO("p99<200ms"), func(ctx context.Context, rate float64) (Outcome, error) {
		o, err := q.probe(ctx, rate)
		if len(q.tried)%3 != 0 {
			o.Invalid = "the generator fell behind"
		}
		return o, err
	}, nil)
	if err != nil || got.Rate != want.Rate || got.Failed != want.Failed || got.AtLeast != "" || len(q.tried) != 3*len(calm.tried) {
		t.Errorf("busy: %v (failed %v, %q) in %d trials, %v; calm: %v in %d", got.Rate, got.Failed, got.AtLeast, len(q.tried), err, want.Rate, len(calm.tried))
	}
}

func TestABrokenPromiseFailsTheRateWhateverTheSLO(t *testing.T) {
	q := &queue{capacity: 1e6}
	found, err := Find(context.Background(), Config{Start: 1000}, mustSLO("p99<200ms"), func(ctx context.Context, rate float64) (Outcome, error) {
		o, err := q.probe(ctx, rate)
		if rate > 3000 {
			o.Broken = "history could not be read"
		}
		return o, err
	}, nil)
	if err != nil || found.Rate > 3000 || found.Rate*1.05 < 3000 || found.AtLeast != "" {
		t.Errorf("%v, %q, %v", found.Rate, found.AtLeast, err)
	}
}

func TestFindIsBoundedAndStops(t *testing.T) {
	coin := 0
	unsteady := func(context.Context, float64) (Outcome, error) {
		coin++
		o := Outcome{Due: 1, Latency: result.Latency{Count: 1, P99: float64(coin % 2 * 1e6)}}
		return o, nil
	}
	found, err := Find(context.Background(), Config{Start: 1000, Min: 1e-9, ProbesMax: 30}, mustSLO("p99<1ms"), unsteady, nil)
	if !errors.Is(err, ErrUnsettled) || len(found.Trials) != 30 {
		t.Errorf("%d trials, %v", len(found.Trials), err)
	}
	broken := errors.New("connection refused")
	if _, err := Find(context.Background(), Config{Start: 1000}, mustSLO("p99<1ms"), func(context.Context, float64) (Outcome, error) { return Outcome{}, broken }, nil); !errors.Is(err, broken) {
		t.Errorf("a probe that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	q := &queue{capacity: 1e6}
	_, err = Find(ctx, Config{Start: 1000}, mustSLO("p99<200ms"), q.probe, func(trial Trial) {
		if trial.Rate == 4000 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || len(q.tried) != 3 {
		t.Errorf("cancelled after %v: %v", q.tried, err)
	}
}

func TestAnOutcomeOfNothingIsNoSuccess(t *testing.T) {
	_, err := Find(context.Background(), Config{Start: 100}, mustSLO("p99<200ms,loss=0"), func(context.Context, float64) (Outcome, error) { return Outcome{}, nil }, nil)
	if !errors.Is(err, ErrNone) {
		t.Errorf("a server that answers nothing: %v", err)
	}
}

func TestFindRefusesSenselessBounds(t *testing.T) {
	q := &queue{capacity: 1000}
	for _, config := range []Config{
		{},
		{Start: -1},
		{Start: math.NaN()},
		{Start: math.Inf(1)},
		{Start: 10, Min: 20},
		{Start: 10, Max: 5},
		{Start: 10, Precision: 0.9},
		{Start: 10, Precision: math.NaN()},
		{Start: 10, Confirm: -1},
		{Start: 10, Confirm: 9, ProbesMax: 8},
	} {
		if found, err := Find(context.Background(), config, mustSLO("p99<200ms"), q.probe, nil); err == nil {
			t.Errorf("%+v found %v", config, found.Rate)
		}
	}
	if _, err := Find(context.Background(), Config{Start: 10}, nil, q.probe, nil); err == nil {
		t.Error("an empty SLO was taken")
	}
	if len(q.tried) > 0 {
		t.Errorf("tried %v", q.tried)
	}
}

func TestParseSLORefusesWhatItCannotJudge(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if slo, err := ParseSLO(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", text, slo, err, want)
		}
	}
	f("", "a condition is like")
	f("p99", "a condition is like")
	f("p99<200ms,", "a condition is like")
	f("loss=0", "bounds no latency")
	f("p98<1s", `"p98" is not measured`)
	f("p99>1s", "a condition is like")
	f("p99=1s", "bounded from above")
	f("p99<200", "bounded from above")
	f("p99<-1s", "bounded from above")
	f("p99<1s,loss<0", "nothing is below 0")
	f("p99<1s,loss=1", "= stands with 0 only")
	f("p99<1s,loss<NaN", "neither a count")
	f("p99<1s,loss<=101%", "neither a count")
	f("p99<1s,loss<=1ms", "neither a count")
	if got := mustSLO(" p99 < 200ms , loss=0").String(); got != "p99 < 200ms,loss=0" {
		t.Errorf("as written: %q", got)
	}
}

func TestUnmetNamesEveryBrokenCondition(t *testing.T) {
	outcome := Outcome{
		Latency: result.Latency{Count: 10, Mean: 1000, P50: 1000, P90: 2000, P99: 3000, P999: 4000, P9999: 5000, Max: 6000},
		Due:     1000, Lost: 1, Duplicated: 2, Reordered: 3, Refused: 4, Unknown: 5, Late: 6,
	}
	f := func(text string, want ...string) {
		t.Helper()
		if got := mustSLO(text).Unmet(&outcome); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	f("p99<3001us")
	f("p99<3ms", "p99 is 3ms, want p99<3ms")
	f("p99<=3ms")
	f("mean<=1ms,p50<=1ms,p90<=2ms,p99<=3ms,p99.9<=4ms,p99.99<=5ms,max<=6ms")
	f("mean<1ms,p50<1ms,p90<2ms,p99<3ms,p99.9<4ms,p99.99<5ms,max<6ms",
		"mean is 1ms, want mean<1ms", "p50 is 1ms, want p50<1ms", "p90 is 2ms, want p90<2ms", "p99 is 3ms, want p99<3ms",
		"p99.9 is 4ms, want p99.9<4ms", "p99.99 is 5ms, want p99.99<5ms", "max is 6ms, want max<6ms")
	f("max<1s,loss=0", "loss is 1, want loss=0")
	f("max<1s,loss<=1,duplicates<=2,disorder<=3,refused<=4,unknown<=5,late<=6")
	f("max<1s,duplicates<2,disorder<3,refused<0.4%,unknown<=0.5%,late<0.5%",
		"duplicates is 2, want duplicates<2", "disorder is 3, want disorder<3", "refused is 0.4%, want refused<0.4%", "late is 0.6%, want late<0.5%")
}

func TestFindHasAVerdict(t *testing.T) {
	f := func(q *queue, config Config, want string) {
		t.Helper()
		found, err := Find(t.Context(), config, mustSLO("p99<20ms"), q.probe, nil)
		if err != nil || found.Verdict != want || (found.AtLeast == "") != (want == result.VerdictCapacity) {
			t.Errorf("verdict %q (%s), %v; want %q", found.Verdict, found.AtLeast, err, want)
		}
	}
	f(&queue{capacity: 5000}, Config{Start: 1000}, result.VerdictCapacity)
	f(&queue{capacity: 50_000, generator: 5000}, Config{Start: 1000}, result.VerdictGenerator)
	f(&queue{capacity: 50_000}, Config{Start: 1000, Max: 4000}, result.VerdictBounded)
	f(&queue{capacity: 5000, disturbed: "somebody compiled"}, Config{Start: 1000}, result.VerdictDisturbed)
}

// TestFindKeepsItsBudget: bisection ends early enough for the confirmations, and
// what can't be confirmed in time is no result.
func TestFindKeepsItsBudget(t *testing.T) {
	const each = 10 * time.Second
	f := func(budget time.Duration) (found Found, took time.Duration, err error) {
		q := &queue{capacity: 5000}
		var now time.Time
		begun := now
		probe := func(ctx context.Context, rate float64) (Outcome, error) {
			now = now.Add(each)
			return q.probe(ctx, rate)
		}
		config := Config{Start: 1000, Precision: 0.001, Budget: budget, Now: func() time.Time { return now }}
		found, err = Find(t.Context(), config, mustSLO("p99<20ms"), probe, nil)
		return found, now.Sub(begun), err
	}
	found, took, err := f(2 * time.Minute)
	if err != nil || took > 2*time.Minute || found.Verdict != result.VerdictCapacity || found.Rate < 4000 {
		t.Errorf("%+v in %s, %v", found, took, err)
	}
	bisected := 0
	for _, trial := range found.Trials {
		if trial.Phase == PhaseBisect {
			bisected++
		}
	}
	if bisected == 0 || bisected > 6 {
		t.Errorf("%d steps of bisection in two minutes of trials of %s", bisected, each)
	}
	if _, took, err := f(45 * time.Second); !errors.Is(err, ErrUnsettled) || took > 45*time.Second+each {
		t.Errorf("a budget that is too small ends after %s with %v", took, err)
	}
}
