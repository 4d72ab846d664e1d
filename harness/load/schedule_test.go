package load

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/godwit-im/godwit/harness/scenario"
)

func TestUniformArrivalsAreEvenlySpaced(t *testing.T) {
	plan := planArrivals(scenario.ArrivalsUniform, 1000, 3*time.Second, 7, 1)
	if len(plan) != 2999 {
		t.Fatalf("%d arrivals in 3 s at 1,000/s, want 2,999: the first after one interval", len(plan))
	}
	for i, a := range plan {
		if a.at != time.Duration(i+1)*time.Millisecond || a.actor >= 7 {
			t.Fatalf("arrival %d is %+v", i, a)
		}
	}
}

func TestPoissonArrivalsHaveTheRateAndItsSpread(t *testing.T) {
	const rate, seconds = 5000, 20
	plan := planArrivals(scenario.ArrivalsPoisson, rate, seconds*time.Second, 10, 7)
	if n := float64(len(plan)); math.Abs(n-rate*seconds) > 4*math.Sqrt(rate*seconds) {
		t.Errorf("%g arrivals, want about %d", n, rate*seconds)
	}
	// The gaps of a Poisson process are exponential: deviation equals mean.
	var sum, squares float64
	for i := 1; i < len(plan); i++ {
		gap := float64(plan[i].at - plan[i-1].at)
		sum += gap
		squares += gap * gap
	}
	mean := sum / float64(len(plan)-1)
	deviation := math.Sqrt(squares/float64(len(plan)-1) - mean*mean)
	if ratio := deviation / mean; ratio < 0.97 || ratio > 1.03 {
		t.Errorf("deviation over mean of the gaps is %.3f, want about 1", ratio)
	}
	var shares [10]int
	for _, a := range plan {
		shares[a.actor]++
	}
	if least := slices.Min(shares[:]); least < 9000 {
		t.Errorf("the actors' shares are %v, want about 10,000 each", shares)
	}
}

func TestTheSeedDecidesTheSchedule(t *testing.T) {
	f := func(seed uint64) []arrival {
		return planArrivals(scenario.ArrivalsPoisson, 100, time.Second, 4, seed)
	}
	if !slices.Equal(f(1), f(1)) || slices.Equal(f(1), f(2)) {
		t.Error("the same seed must give the same schedule, another seed another")
	}
	if !slices.IsSortedFunc(f(1), func(a, b arrival) int { return int(a.at - b.at) }) {
		t.Error("arrivals are out of order")
	}
}

// TestCutsFallIntoTheMiddleOrTheEndOfMeasure: at the end nothing that was due
// before meets the storm.
func TestCutsFallIntoTheMiddleOrTheEndOfMeasure(t *testing.T) {
	var b stageBook
	b.plan(10*time.Second, 5*time.Second, 60*time.Second, 20*time.Second)
	if middle, end := b.cutAt(scenario.CutMiddle), b.cutAt(scenario.CutEnd); middle != 45*time.Second || end != 75*time.Second {
		t.Errorf("%s and %s", middle, end)
	}
}
