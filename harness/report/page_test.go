package report

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-im/godwit/harness/result"
)

// TestBenchmarksPageIsHeldToItsInputs fails when BENCHMARKS.md or a plot is not
// what `make benchmarks` makes of bench/results and the template.
func TestBenchmarksPageIsHeldToItsInputs(t *testing.T) {
	site := Site{Page: "../../BENCHMARKS.md", Results: "../../bench/results"}
	page, err := site.Build()
	if err != nil {
		t.Fatal(err)
	}
	changes, err := site.Changes(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range changes {
		t.Errorf("%s is not what is generated: run `godwit bench page` in the root", filepath.ToSlash(file))
	}
}

const sampleStages = `goos: linux
goarch: amd64
commit: 0123456789ab
date: 2026-11-23
pkg: github.com/godwit-im/godwit/engine/wal
cpu: Example CPU
BenchmarkAppendSync/records=1-2     100   150000 ns/op   16 B/op   0 allocs/op
BenchmarkAppendSync/records=1-2     100   170000 ns/op   16 B/op   0 allocs/op
BenchmarkAppendSync/records=1-2     100   160000 ns/op   16 B/op   0 allocs/op
PASS
ok  	github.com/godwit-im/godwit/engine/wal	3.1s
pkg: github.com/godwit-im/godwit
BenchmarkFrames/Parse|Send-2     5000000   240.5 ns/op   1224.3 MB/s
--- BENCH: BenchmarkFrames
    some_test.go:3: a log line
PASS
`

// sampleInputs are two scenarios, one with an older and a newer invalid run.
func sampleInputs() []PageInput {
	older, invalid, idle := sampleRun(), sampleRun(), sampleRun()
	older.Started, older.RunID = "2026-11-22T12:00:00Z", "older"
	older.Latencies = map[string]result.Latency{"send→delivered": {Count: 1, P50: 777777}}
	invalid.Started, invalid.RunID, invalid.Invalid = "2026-11-24T12:00:00Z", "bad", "the generator fell behind: 3.1 % | late"
	invalid.Latencies = map[string]result.Latency{"send→delivered": {Count: 1, P50: 888888}}
	idle.Scenario, idle.RunID, idle.Settings.Sessions, idle.Settings.SameMachine = "idle-connections", "idle", 5000, false
	newest := sampleRun()
	newest.Usage.BytesPerConnection = 0
	return []PageInput{
		{"bench/results/a.json", newest},
		{"bench/results/b.json", older},
		{"bench/results/c.json", invalid},
		{"bench/results/d.json", idle},
	}
}

func build(t *testing.T, inputs []PageInput, stages string) *Page {
	t.Helper()
	page, err := BuildPage(Inputs{Runs: inputs, Stages: []byte(stages)}, "bench/results/plots")
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestPageDoesNotDependOnTheOrderOfItsInputs(t *testing.T) {
	first := build(t, sampleInputs(), sampleStages)
	golden(t, "benchmarks.md", first.Markdown)
	inputs := sampleInputs()
	slices.Reverse(inputs)
	second := build(t, inputs, sampleStages)
	if !bytes.Equal(first.Markdown, second.Markdown) {
		t.Error("the page depends on the order of the files")
	}
	if len(first.Plots) != 5 || len(second.Plots) != len(first.Plots) {
		t.Errorf("%d plots, then %d, want 5", len(first.Plots), len(second.Plots))
	}
	for name, svg := range first.Plots {
		if !bytes.Equal(svg, second.Plots[name]) {
			t.Errorf("plot %s depends on the order of the files", name)
		}
		if !bytes.Contains(first.Markdown, []byte("bench/results/plots/"+name)) {
			t.Errorf("plot %s is not on the page", name)
		}
	}
}

func TestPageShowsTheNewestValidRunAndListsInvalidOnes(t *testing.T) {
	text := string(build(t, sampleInputs(), "").Markdown)
	f := func(want string, times int) {
		t.Helper()
		if got := strings.Count(text, want); got != times {
			t.Errorf("%q stands %d times, want %d", want, got, times)
		}
	}
	f("### dm-chat", 1)
	f("run `r5k2q9`", 1)
	f("older valid runs not shown: 1", 1)
	f("778 ms", 0) // of the older run
	f("889 ms", 0) // of the invalid run
	f(`the generator fell behind: 3.1 % \| late`, 1)
	f("godwit bench run dm-chat --rate 1000", 2)
	f("Commit `0123456789abcdef`, 2026-11-23T12:00:00Z", 2)
	f("**on the same machine**", 1)
	f("on different machines", 1)
	f("durable send→delivered p50 under 3 ms. Measured: 1.9 ms at 1,000 operations/s. **met**", 1)
	f("Measured: 1.85 KiB at 5,000 sessions. **missed**", 1)
	f("## Stages of a message", 0)
}

func TestPageOfNothingSaysSo(t *testing.T) {
	if text := string(build(t, nil, "").Markdown); !strings.Contains(text, "No valid run is recorded yet.") || strings.Contains(text, "Invalid runs") {
		t.Error(text)
	}
}

func TestPageHoldsHostileText(t *testing.T) {
	hostile, valid := hostileRun(), hostileRun()
	hostile.Scenario, valid.Scenario = "hostile", "valid"
	valid.Invalid, valid.Verify = "", result.Verify{}
	text := string(build(t, []PageInput{{"x.json", hostile}, {"y.json", valid}}, "").Markdown)
	outsideCode := regexp.MustCompile("(?s)(`+)[^`].*?[^`]`+|```.*?```").ReplaceAllString(text, "")
	for _, bad := range []string{"<script", "\x1b", "\u202e", "NaN", "](javascript", "\n# heading"} {
		if strings.Contains(strings.ReplaceAll(outsideCode, `\]`, ""), bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	if !strings.Contains(text, "&lt;script&gt;") {
		t.Error("the hostile text is not there at all: nothing was tested")
	}
	if row := uneven(text); row != "" {
		t.Errorf("a row has other cells than its table: %s", row)
	}
	for _, scenario := range []string{"", "../x", "a b", "<b>"} {
		hostile.Scenario = scenario
		if _, err := BuildPage(Inputs{Runs: []PageInput{{"x.json", hostile}}}, "plots"); err == nil {
			t.Errorf("scenario %q is taken for a file name", scenario)
		}
	}
}

// uneven returns the first row of a table that has more or fewer cells than the
// row above it.
func uneven(page string) string {
	columns := 0
	for _, line := range strings.Split(page, "\n") {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := strings.Count(line, "|") - strings.Count(line, `\|`)
		if columns != 0 && n != columns {
			return line
		}
		columns = n
	}
	return ""
}

func TestStagesAreMediansOfTheirRuns(t *testing.T) {
	packages, err := parseStages([]byte(sampleStages), module)
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) != 2 || packages[0].Path != "" || packages[1].Path != "engine/wal" || len(packages[1].Rows) != 1 {
		t.Fatalf("packages %+v", packages)
	}
	row := packages[1].Rows[0]
	if row.Name != "AppendSync/records=1" || row.Runs() != 3 || row.Time() != "160 µs ± 6 %" || row.Memory() != "16 B, 0" || row.Others() != "" {
		t.Errorf("%s: %d runs, %s, %s, %s", row.Name, row.Runs(), row.Time(), row.Memory(), row.Others())
	}
	if row := packages[0].Rows[0]; row.Time() != "240 ns" || row.Memory() != absent || row.Others() != "1,224 MB/s" {
		t.Errorf("%s: %s, %s, %s", row.Name, row.Time(), row.Memory(), row.Others())
	}
	for _, bad := range []string{"BenchmarkX 1 2", "BenchmarkX one 2 ns/op", "BenchmarkX 1 fast ns/op", "BenchmarkX 1 NaN ns/op", "BenchmarkX 1 +Inf ns/op"} {
		if _, err := parseStages([]byte(bad), module); err == nil {
			t.Errorf("%q is taken for a benchmark", bad)
		}
	}
}

func TestStagesTakeAnyText(t *testing.T) {
	pieces := rapid.SampledFrom([]string{"Benchmark", "BenchmarkX-2", " ", "\t", "1", "1e308", "-1", "ns/op", "B/op", "allocs/op", "\n", ":", "pkg: ", "|", "`", "\xff", "<b>"})
	rapid.Check(t, func(t *rapid.T) {
		output := []byte(strings.Join(rapid.SliceOfN(pieces, 0, 40).Draw(t, "pieces"), ""))
		page, err := BuildPage(Inputs{Stages: output}, "plots")
		if err == nil && (uneven(string(page.Markdown)) != "" || !bytes.HasPrefix(page.Markdown, []byte("# Benchmarks\n"))) {
			t.Fatalf("page of %q:\n%s", output, page.Markdown)
		}
	})
}

func TestSiteWritesOnceAndRemovesStalePlots(t *testing.T) {
	dir := t.TempDir()
	site := Site{Page: filepath.Join(dir, "BENCHMARKS.md"), Results: filepath.Join(dir, "bench", "results")}
	stale, foreign := filepath.Join(site.plots(), "gone-latency.svg"), filepath.Join(site.plots(), "notes.txt")
	if err := os.MkdirAll(site.plots(), 0o755); err != nil {
		t.Fatal(err)
	}
	run := sampleRun()
	if err := result.Write(filepath.Join(site.Results, "run (1).json"), run); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{stale, foreign} {
		if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write := func() []string {
		t.Helper()
		page, err := site.Build()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(page.Markdown, []byte("(bench/results/run%20%281%29.json)")) {
			t.Error("the link to the result file is broken")
		}
		changed, err := site.Write(page)
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	if changed := write(); len(changed) != 5 || !slices.Contains(changed, stale) {
		t.Errorf("changed %q, want the page, three plots and the stale one", changed)
	}
	if changed := write(); len(changed) != 0 {
		t.Errorf("writing again changes %q", changed)
	}
	if err := os.WriteFile(site.Page, []byte("edited by hand\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if changed := write(); len(changed) != 1 || changed[0] != site.Page {
		t.Errorf("an edited page: changed %q", changed)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Error("a file that is no plot was removed")
	}
	if err := os.WriteFile(filepath.Join(site.Results, "broken.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := site.Build(); err == nil {
		t.Error("a damaged result is left out in silence")
	}
}
