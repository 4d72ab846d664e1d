package result

import (
	"bytes"
	"testing"
)

// FuzzResult: whatever is decoded is in order, and is written to a text that
// stays the same.
func FuzzResult(f *testing.F) {
	run := &Run{
		Format: Format, Scenario: "dm-chat", RunID: "1", Started: "2026-11-23T12:00:00Z", Settings: Settings{Loop: "open", Arrivals: "poisson"},
		Stages:    []Stage{{Name: "measure", Seconds: 1, Scheduled: 2, Started: 2, Succeeded: 2}},
		Latencies: map[string]Latency{"connect": {Count: 2, Mean: 1, P50: 1, P90: 2, P99: 2, P999: 2, P9999: 2, Max: 2, Buckets: [][2]float64{{1, 1}, {2, 1}}}},
		Slow:      &Slow{CloseCodes: map[string]uint64{"4202": 1}}, SDK: &SDK{Sessions: 2}, Capacity: &Capacity{Verdict: VerdictCapacity, Trials: []CapacityTrial{{}}},
	}
	whole, err := Encode(run)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"format":"godwit-bench/v2"}`))
	f.Add(bytes.Replace(whole, []byte(`"lost": 0`), []byte(`"lost": -1`), 1))
	f.Add(bytes.Replace(whole, []byte(`"mean_us": 1`), []byte(`"mean_us": 1e999`), 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		run, err := Decode(text)
		if err != nil {
			return
		}
		if err := run.Validate(); err != nil {
			t.Fatalf("decoded, and then: %v", err)
		}
		first, err := Encode(run)
		if err != nil {
			t.Fatalf("decoded and not encoded: %v", err)
		}
		again, err := Decode(first)
		if err != nil {
			t.Fatalf("its own text is refused: %v\n%s", err, first)
		}
		second, err := Encode(again)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("the text changes (%v):\n%s\n%s", err, first, second)
		}
	})
}
