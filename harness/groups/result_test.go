package groups

import (
	"context"
	"math"
	"os"
	"strings"
	"testing"
)

// TestTheTextTellsItsCellAndTime, and another's text tells nothing.
func TestTheTextTellsItsCellAndTime(t *testing.T) {
	b := text(7, 1_700_000_000_000_000_001)
	if len(b) != bodyBytes {
		t.Errorf("%d bytes", len(b))
	}
	if cell, sent, ok := parseText([]byte(b)); !ok || cell != 7 || sent != 1_700_000_000_000_000_001 {
		t.Errorf("%d %d %v", cell, sent, ok)
	}
	for _, other := range []string{"", "hello", "7", "7 x ", "x 7 "} {
		if _, _, ok := parseText([]byte(other)); ok {
			t.Errorf("%q is taken for one of ours", other)
		}
	}
}

// TestSlopeComparesTheEnds: the largest group with the smallest of at least so many.
func TestSlopeComparesTheEnds(t *testing.T) {
	r := Result{Groups: []Cell{
		{Members: 10, CPUPerDelivery: []float64{8, 7, 100}},
		{Members: 100, CPUPerDelivery: []float64{4, 4, 4}, Messages: 10, Deliveries: 1000},
		{Members: 1000, CPUPerDelivery: []float64{5, 4, 6}},
	}}
	r.finish()
	if math.Abs(r.Slope-0.25) > 1e-9 || math.Abs(r.SlopeAll-(5.0/8-1)) > 1e-9 || r.Groups[1].CPUPerMessage != 400 {
		t.Errorf("%+v", r)
	}
	if table := r.Table(); !strings.Contains(table, "+25 %") || strings.Count(table, "\n") != 5 {
		t.Errorf("table\n%s", table)
	}
}

func TestQuantileIsTheNearestRank(t *testing.T) {
	v := []float64{1, 2, 3, 4}
	for q, want := range map[float64]float64{0: 1, 0.5: 2, 0.75: 3, 0.99: 4, 1: 4} {
		if got := quantile(v, q); got != want {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
	if median([]float64{3, 1, 2}) != 2 || median([]float64{4, 1, 2, 3}) != 2.5 || quantile(nil, 0.5) != 0 {
		t.Error("median")
	}
}

// TestLostAndRepeatedDeliveriesAreAnError, whatever else was measured.
func TestLostAndRepeatedDeliveriesAreAnError(t *testing.T) {
	if verify([]*Cell{{Members: 10}}) != nil {
		t.Error("nothing was lost")
	}
	for _, c := range []Cell{{Members: 10, Lost: 1}, {Members: 10, Repeated: 2}} {
		if err := verify([]*Cell{{Members: 5}, &c}); err == nil || !strings.Contains(err.Error(), "group of 10") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestCPUOfThisProcessGrows with what it does.
func TestCPUOfThisProcessGrows(t *testing.T) {
	before, err := cpuMicros(os.Getpid())
	if err != nil {
		t.Skip("no /proc here: ", err)
	}
	x := 1.0
	for after := before; after <= before; {
		for range 1_000_000 {
			x = math.Sqrt(x + 1)
		}
		if after, err = cpuMicros(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if x == 0 {
		t.Error("unreachable: the work is kept")
	}
}

func TestConfigsThatCanNotBeMeasuredAreRefused(t *testing.T) {
	good := Quick()
	good.URL, good.Metrics, good.PID = "ws://x/v1/ws", "http://x/metrics", 1
	good.Tokens = func([]string) ([]string, error) { return nil, nil }
	good.Checkpoint = func(context.Context) error { return nil }
	if err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.URL = "" },
		func(c *Config) { c.Sizes = []int{100, 10} },
		func(c *Config) { c.Sizes = nil },
		func(c *Config) { c.Channel = c.Sizes[len(c.Sizes)-1] },
		func(c *Config) { c.Online = 1 },
		func(c *Config) { c.Rounds = 0 },
		func(c *Config) { c.Checkpoint = nil },
	} {
		c := good
		change(&c)
		if c.validate() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
