package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// goodReport is one of a run that passes.
func goodReport() *report {
	r := newReport(&options{Filesystems: []string{"ext4"}, Seed: 1, Commit: "abc"}, "6.1")
	h := heard{acked: 10, proposed: 12}
	for i := range h.stats {
		h.stats[i] = 3
	}
	r.note("round 1, life 1", h)
	r.Total.Rounds, r.Complete = eventfulRounds, true
	r.Controls = []control{{Name: "one", Caught: true}, {Name: "two", Caught: true}}
	return r
}

func TestVerdict(t *testing.T) {
	f := func(change func(*report), want string) {
		t.Helper()
		r := goodReport()
		change(r)
		if passed := r.judge(); passed != (want == "PASSED") || !strings.HasPrefix(r.Verdict, want) {
			t.Errorf("%t, %s, want %s", passed, r.Verdict, want)
		}
	}
	f(func(*report) {}, "PASSED")
	f(func(r *report) { r.note("x", heard{violations: []violation{{kindLost, "gone"}}}) }, "FAILED: the store")
	f(func(r *report) { r.Controls[1].Caught = false }, "FAILED: a planted fault")
	f(func(r *report) { r.Controls = nil }, "FAILED: a planted fault")
	f(func(r *report) { r.Complete = false }, "INCOMPLETE")
	f(func(r *report) { r.Total.Acked = 0 }, "FAILED: these never happened")
	f(func(r *report) { r.Total.Stats[statRecycled] = 0 }, "FAILED: these never happened: recycled_files")
	f(func(r *report) { r.Total.Stats[statRecycled], r.Total.Rounds = 0, 1 }, "PASSED")
}

func TestReportIsSavedAsTextAndJSON(t *testing.T) {
	r := goodReport()
	r.judge()
	path := filepath.Join(t.TempDir(), "reports", "powerloss.txt")
	if err := r.save(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "powerloss: rounds=5 lives=1 acked=10 lost=0 phantom=0 violations=0 controls=2/2\n") {
		t.Errorf("%v\n%s", err, text)
	}
	data, err := os.ReadFile(strings.TrimSuffix(path, ".txt") + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(data, &back); err != nil || back.Verdict != "PASSED" || back.Total.Counters["merges"] != 3 {
		t.Errorf("%v, %+v", err, back)
	}
}
