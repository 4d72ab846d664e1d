package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/harness/result"
)

// runBench runs a command line below `bench`, without the rest of the tree.
func runBench(t *testing.T, asJSON bool, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	a := &app{stdout: &out, stderr: &out, json: asJSON}
	root := &cobra.Command{Use: "bench", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(a.benchReportCommand(), a.benchCompareCommand(), a.benchPageCommand())
	root.SetArgs(args)
	root.SetOut(&out)
	err = root.ExecuteContext(t.Context())
	return out.String(), err
}

// writeRun stores a small valid run and returns its file.
func writeRun(t *testing.T, dir, id string, p99 float64) string {
	t.Helper()
	run := &result.Run{
		Format: result.Format, Scenario: "dm-chat", RunID: id, Started: "2026-11-23T12:00:00Z", Command: "godwit bench run dm-chat", Commit: "0123456789ab",
		Settings: result.Settings{Loop: "open", Sessions: 200, Rate: 1000},
		Stages:   []result.Stage{{Name: "measure", Seconds: 20, Scheduled: 20000, Started: 20000, Succeeded: 20000}},
		Latencies: map[string]result.Latency{"send→delivered": {
			Count: 3, Mean: p99 / 2, P50: p99 / 2, P90: p99, P99: p99, P999: p99, P9999: p99, Max: p99,
			Buckets: [][2]float64{{p99 / 2, 2}, {p99, 1}},
		}},
		Verify: result.Verify{Acked: 20000, Delivered: 20000, ReadBack: 20000},
	}
	file := filepath.Join(dir, id+".json")
	if err := result.Write(file, run); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestBenchReportWritesOneFile(t *testing.T) {
	dir := t.TempDir()
	run, page := writeRun(t, dir, "a", 5000), filepath.Join(dir, "report.html")
	out, err := runBench(t, false, "report", run, "-o", page)
	if err != nil || out != page+"\n" {
		t.Fatalf("%q, %v", out, err)
	}
	written, err := os.ReadFile(page)
	if err != nil || !bytes.HasPrefix(written, []byte("<!DOCTYPE html>")) {
		t.Fatalf("%.40q, %v", written, err)
	}
	if out, err := runBench(t, false, "report", run, "-o", "-"); err != nil || out != string(written) {
		t.Errorf("standard output differs from the file (%v)", err)
	}
	if _, err := runBench(t, false, "report", filepath.Join(dir, "missing.json")); err == nil {
		t.Error("a missing file was reported about")
	}
}

func TestBenchCompareTakesRepeatedRuns(t *testing.T) {
	dir := t.TempDir()
	side := func(name string, p99 float64) string {
		var files []string
		for i := range 3 {
			files = append(files, writeRun(t, dir, name+strconv.Itoa(i), p99+float64(i)*10))
		}
		return strings.Join(files, ",")
	}
	slow, fast := side("slow", 6000), side("fast", 3000)
	out, err := runBench(t, true, "compare", slow, fast)
	var comparison struct {
		RunsA int `json:"runs_a"`
		Rows  []struct{ Figure, Verdict string }
	}
	if err != nil || json.Unmarshal([]byte(out), &comparison) != nil || comparison.RunsA != 3 || len(comparison.Rows) == 0 {
		t.Fatalf("%s, %v", out, err)
	}
	for _, row := range comparison.Rows {
		if row.Figure == "send→delivered p99" && row.Verdict != "better" {
			t.Errorf("half the latency is %q", row.Verdict)
		}
	}
	single, _, _ := strings.Cut(slow, ",")
	if out, err := runBench(t, false, "compare", single, fast); err != nil || !strings.Contains(out, "No interval can be given") {
		t.Errorf("%s, %v", out, err)
	}
	if out, err := runBench(t, false, "compare", "--benchstat", single); err != nil || !strings.Contains(out, "BenchmarkScenario=dm-chat/latency=send→delivered 3 ") {
		t.Errorf("%s, %v", out, err)
	}
	if _, err := runBench(t, false, "compare", single); err == nil {
		t.Error("one side was compared with nothing")
	}
}

func TestBenchPageChecksAndWritesOnce(t *testing.T) {
	results := filepath.Join(t.TempDir(), "results")
	if err := os.Mkdir(results, 0o755); err != nil {
		t.Fatal(err)
	}
	writeRun(t, results, "a", 5000)
	page := []string{"page", "--results", results, "-o", filepath.Join(results, "..", "BENCHMARKS.md")}
	if _, err := runBench(t, false, append(page, "--check")...); err == nil {
		t.Error("a page that does not exist is up to date")
	}
	if out, err := runBench(t, false, page...); err != nil || strings.Count(out, "\n") != 2 {
		t.Errorf("%q, %v; want the page and the plot of percentiles", out, err)
	}
	if out, err := runBench(t, false, page...); err != nil || out != "" {
		t.Errorf("written again: %q, %v", out, err)
	}
	if out, err := runBench(t, true, append(page, "--check")...); err != nil || out != `{"changed":[]}`+"\n" {
		t.Errorf("%q, %v", out, err)
	}
}
