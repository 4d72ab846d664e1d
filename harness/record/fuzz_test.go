package record

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// FuzzMetrics: whatever is parsed is finite, and is parsed from its own lines to
// the same again.
func FuzzMetrics(f *testing.F) {
	f.Add("# HELP a b\n# TYPE a counter\na 1\n")
	f.Add(`godwit_edge_closes_total{code="4202"} 3 1700000000` + "\nx NaN\ny +Inf\n")
	f.Add("a{b=\"}\\\"\"} 1e3\r\n a 2\n")
	f.Add("a{b=\"")
	f.Fuzz(func(t *testing.T, text string) {
		metrics, err := ParseMetrics(text)
		if err != nil {
			return
		}
		var written strings.Builder
		for name, v := range metrics {
			if v-v != 0 {
				t.Fatalf("%q is %v", name, v)
			}
			fmt.Fprintf(&written, "%s %v\n", name, v)
		}
		again, err := ParseMetrics(written.String())
		if err != nil || len(again) != len(metrics) {
			t.Fatalf("%d of %d, %v from %q", len(again), len(metrics), err, written.String())
		}
		for name, v := range metrics {
			if again[name] != v {
				t.Fatalf("%q was %v and is %v", name, v, again[name])
			}
		}
	})
}

// FuzzDistribution: what an agent sends is refused, or can be merged and shown.
func FuzzDistribution(f *testing.F) {
	r, err := NewRecorder(Config{Latencies: []string{"a"}})
	if err != nil {
		f.Fatal(err)
	}
	r.SetMeasure(0, time.Hour)
	shard := r.Shard()
	for i := range 100 {
		shard.Record(0, 0, time.Duration(i*i)*time.Millisecond)
	}
	text, err := json.Marshal(r.Distributions()["a"])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"histogram":""}`))
	f.Add([]byte(`{"histogram":"HISTFAAAAAJ42gEAAP//AAAAAQ=="}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d := new(Distribution)
		if json.Unmarshal(text, d) != nil || d.histogram == nil {
			return
		}
		sum := NewDistribution()
		sum.Merge(d)
		sum.ToLatency()
	})
}
