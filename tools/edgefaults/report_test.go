package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func good() *result {
	r := newResult(options{Edges: 3, Sessions: 200, Rate: 1000, Router: routerTiKV})
	r.findings = findings{Sent: 10, Acked: 10, Delivered: 20}
	return r
}

func TestTheLineForScriptsHasWhatTheyAskFor(t *testing.T) {
	var got map[string]any
	line := good().line()
	if err := json.Unmarshal([]byte(line), &got); err != nil || strings.Contains(line, "\n") {
		t.Fatal(err, line)
	}
	for _, field := range []string{
		"edges", "sessions", "acked", "delivered", "lost", "duplicated", "reordered", "faults", "back_p99_ms", "tikv_ops_per_delivered", "passed",
	} {
		if _, there := got[field]; !there {
			t.Errorf("%s is missing", field)
		}
	}
	faults := got["faults"].(map[string]any)
	for _, fault := range []string{"kill_edge", "tikv_outage", "tikv_slow"} {
		if _, there := faults[fault]; !there {
			t.Errorf("faults.%s is missing", fault)
		}
	}
	if got["sessions"] != 600.0 || got["passed"] != true {
		t.Error(line)
	}
}

func TestARunFailsByEachBrokenPromise(t *testing.T) {
	f := func(name string, spoil func(r *result)) {
		t.Helper()
		r := good()
		spoil(r)
		var b strings.Builder
		r.write(&b)
		if r.Passed() || !strings.Contains(b.String(), "FAILED") || !strings.Contains(r.line(), `"passed":false`) {
			t.Errorf("%s: passed", name)
		}
	}
	f("lost", func(r *result) { r.Lost = 1 })
	f("duplicated", func(r *result) { r.Duplicated = 1 })
	f("reordered", func(r *result) { r.Reordered = 1 })
	f("foreign", func(r *result) { r.Foreign = 1 })
	f("a bound", func(r *result) { r.unless(1 > 2, "one is more than two") })
	f("nothing delivered", func(r *result) { r.Delivered = 0 })
	if r := good(); !r.Passed() {
		t.Error("a good run failed")
	}
}

func TestQuantiles(t *testing.T) {
	f := func(q, want float64, values ...float64) {
		t.Helper()
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %g of %v is %g, want %g", q, values, got, want)
		}
	}
	f(0.99, 0)
	f(0.99, 7, 7)
	f(0.5, 2, 1, 2, 3, 4)
	f(1, 4, 1, 2, 3, 4)
}
