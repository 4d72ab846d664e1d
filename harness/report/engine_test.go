package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-im/godwit/harness/result"
)

// engineSample is what a full run of bench/engine writes; some targets of it
// are missed.
func engineSample(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "engine.json"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func engineInput(t *testing.T, path string, change func(*EngineResult)) EngineInput {
	t.Helper()
	r, err := decodeEngine(engineSample(t))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	return EngineInput{Path: path, Result: r}
}

func enginePage(t *testing.T, inputs ...EngineInput) string {
	t.Helper()
	page, err := BuildPage(Inputs{Engines: inputs}, "plots")
	if err != nil {
		t.Fatal(err)
	}
	if row := uneven(string(page.Markdown)); row != "" {
		t.Errorf("a row has other cells than its table: %s", row)
	}
	return string(page.Markdown)
}

func TestEngineSectionShowsTheWholeComparison(t *testing.T) {
	page := enginePage(t, engineInput(t, "bench/results/engine.json", nil))
	golden(t, "benchmarks-engine.md", []byte(page))
	f := func(want string) {
		t.Helper()
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	f("## Storage engine against its peers\n")
	f("| godwit | 5 | 141,300 | 398 µs | 1.13 ms | 3.4 µs |\n") // medians; the harness' 0.92 µs subtracted
	f("| jetstream | 5 | 2,010 | 498 ms | 911 ms | 171 µs |\n")
	f("| godwit | 5,000,000 | 361,400 | 2.31 µs | 66.4 B | 2.31 | 2.44 | 383 MiB | 487 MiB | 61.3 ms | 186 µs | 540 µs | 41.2 µs | 112 µs |\n")
	f("| 10,000,000 | 33.1 B | 572 MiB | 160,000,000 | 11.4 GB | 0.805 GB | 151 ms | 14.2 ms | 380 MiB |\n")
	f("```sh\ngo run ./bench/engine -full\n```")
	f("Example CPU at 2.6 GHz, 2 cores, go1.26.8, ext4 with fdatasync of 4 KiB p50 128 µs")
	f("github.com/cockroachdb/pebble/v2 v2.1.7")
	f("Commit `0123456789ab`, 2026-11-24T09:15:02Z, [result file](bench/results/engine.json)\n")
	if strings.Count(page, "\n| log |") != 3 {
		t.Error("the log is in the fill, in which it took no part, or not in the three tables of the rounds")
	}
}

func TestEngineTargetsAreCalledHitOrMissed(t *testing.T) {
	page := enginePage(t, engineInput(t, "engine.json", func(r *EngineResult) {
		r.Targets = append(r.Targets,
			EngineTarget{Name: "page_cold_us", Bound: 200},
			EngineTarget{Name: "ratio_vs_pebble_64", Value: 1.996, Bound: 2},
			EngineTarget{Name: "page_cold_us", Value: 200.1, Bound: 200},
			EngineTarget{Name: "new_one", Value: 3, Bound: 4},
			EngineTarget{Name: "new_two", Value: 4, Bound: 3, Hit: true})
	}))
	f := func(row string) {
		t.Helper()
		if !strings.Contains(page, "\n| "+row+" |\n") {
			t.Errorf("no row %q in the table of targets", row)
		}
	}
	f("durable messages per second against Pebble's, 64 appenders | 1.9× | at least 2× | MISS")
	f("durable messages per second against Pebble's, 1,024 appenders | 2.43× | at least 2× | hit")
	f("warm page p50 | 41.2 µs | at most 30 µs | MISS")
	f("cold page p50 | 186 µs | at most 200 µs | hit")
	f("cold page p50 | — | at most 200 µs | MISS") // not measured
	f("durable messages per second against Pebble's, 64 appenders | 2×, a little less | at least 2× | MISS")
	f("cold page p50 | 200 µs, a little more | at most 200 µs | MISS")
	f("disk per message | 66.4 B | at most 70 B | hit")
	f("reopening, per GB | 14.2 ms | at most 20 ms | hit")
	f(`new\_one | 3 | 4 | MISS`)
	f(`new\_two | 4 | 3 | hit`)
	if !strings.Contains(page, "**12 of 18 targets are hit.**") {
		t.Error("the hits are not counted")
	}
}

func TestEngineSectionOfNothingNamesTheCommand(t *testing.T) {
	page := enginePage(t)
	if !strings.Contains(page, "## Storage engine against its peers\n\nNo comparison is recorded yet: `go run ./bench/engine -full` makes one.\n") {
		t.Error(page)
	}
}

func TestEngineSectionIsOfTheNewestWhateverTheOrder(t *testing.T) {
	inputs := []EngineInput{
		engineInput(t, "b.json", func(r *EngineResult) { r.Started, r.Commit = "2026-11-25T08:00:00Z", "bbbbbbbbbbbb" }),
		engineInput(t, "c.json", func(r *EngineResult) { r.Started, r.Commit = "2026-11-25T08:00:00Z", "cccccccccccc" }), // the same moment
		engineInput(t, "a.json", func(r *EngineResult) { r.Started, r.Commit = "2026-11-24T23:59:59Z", "aaaaaaaaaaaa" }),
	}
	want := enginePage(t, inputs...)
	if !strings.Contains(want, "Commit `bbbbbbbbbbbb`") || !strings.Contains(want, "(b.json); older results not shown: 2") || strings.Contains(want, "aaaaaaaaaaaa") {
		t.Error("the section is not of the newest result")
	}
	rapid.Check(t, func(rt *rapid.T) {
		if enginePage(t, rapid.Permutation(inputs).Draw(rt, "inputs")...) != want {
			rt.Error("the page depends on the order of the files")
		}
	})
}

func TestEngineSectionSaysWhatIsDoubtful(t *testing.T) {
	page := enginePage(t, engineInput(t, "engine.json", func(r *EngineResult) {
		r.Commit, r.Compression, r.ThroughRaft, r.Large, r.Harness = "0123456789ab-dirty", false, false, EngineLarge{}, nil
	}))
	for _, want := range []string{"uncommitted changes", "did not go through raft", "did not compress", "no large run", "| godwit | 5 | 141,300 | 398 µs | 1.13 ms | — |"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(page, "Resident per user") {
		t.Error("a large run that there was not is shown")
	}
}

func TestDecodeEngineRefusesWhatIsNotOne(t *testing.T) {
	sample := string(engineSample(t))
	f := func(old, changed, want string) {
		t.Helper()
		text := strings.Replace(sample, old, changed, 1)
		if text == sample {
			t.Fatalf("the sample has no %q", old)
		}
		if _, err := decodeEngine([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", changed, err, want)
		}
	}
	f("engine/v1", "engine/v2", `"godwit-bench-engine/v2", this godwit reads "godwit-bench-engine/v1" only`)
	f("{", "[", "no JSON of an engine comparison")
	f(`"cpus": 2`, `"cpus": "two"`, "no result of the format")
	f("2026-11-24T09:15:02Z", "2026-11-24T09:15:02+01:00", "started")
	f(`"0123456789ab"`, `"HEAD"`, "commit")
	f(`"stores"`, `"others"`, "0 stores")
	f(`"targets"`, `"others"`, "0 targets")
	f(`"name": "pebble"`, `"name": "godwit"`, "stands twice")
	f(`"rounds": [`, `"others": [`, "it has no rounds")
	f(`"hit": false`, `"hit": true`, "targets, ratio_vs_pebble_64: hit is true, which 1.904 against 2 is not")
	if _, err := decodeEngine([]byte(strings.Replace(sample, "{", `{"later": {"x": [1]},`, 1))); err != nil {
		t.Errorf("a member of a later harness: %v", err)
	}
}

// TestEngineSectionHoldsAnyContent puts odd values in place of the sample's.
func TestEngineSectionHoldsAnyContent(t *testing.T) {
	const evil = "\"><script>alert(1)</script> | `x` [a](javascript:b) \x1b[31m\n# heading"
	sample := engineSample(t)
	shown := 0
	rapid.Check(t, func(rt *rapid.T) {
		var tree any
		if err := json.Unmarshal(sample, &tree); err != nil {
			rt.Fatal(err)
		}
		damage(rt, tree, []any{evil, -1.0, 0.0, 1e300, 1e-300, nil, map[string]any{evil: evil}, []any{}})
		text, err := json.Marshal(tree)
		if err != nil {
			rt.Fatal(err)
		}
		r, err := decodeEngine(text)
		if err != nil {
			return
		}
		shown++
		page, err := BuildPage(Inputs{Engines: []EngineInput{{"x.json", r}}}, "plots")
		if err != nil {
			rt.Fatal(err)
		}
		text = page.Markdown
		if row := uneven(string(text)); row != "" {
			rt.Errorf("a row has other cells than its table: %s", row)
		}
		for _, bad := range []string{"<script", "\x1b", "NaN", "Inf", "\n# heading"} {
			if bytes.Contains(bytes.ReplaceAll(text, []byte("```sh\n\"><script"), nil), []byte(bad)) {
				rt.Errorf("the page contains %q", bad)
			}
		}
	})
	if shown == 0 {
		t.Error("nothing was shown: nothing was tested")
	}
}

// damage replaces one to four values somewhere in a JSON tree.
func damage(rt *rapid.T, tree any, values []any) {
	for range rapid.IntRange(1, 4).Draw(rt, "damages") {
		for node := tree; node != nil; {
			value := values[rapid.IntRange(0, len(values)-1).Draw(rt, "value")]
			if object, ok := value.(map[string]any); ok {
				value = maps.Clone(object) // or a later damage might put it into itself
			}
			stop := rapid.Bool().Draw(rt, "stop")
			var child any
			switch node := node.(type) {
			case map[string]any:
				if len(node) == 0 {
					break
				}
				key := rapid.SampledFrom(sortedKeys(node)).Draw(rt, "key")
				if child = node[key]; isLeaf(child) || stop {
					node[key], child = value, nil
				}
			case []any:
				if len(node) == 0 {
					break
				}
				at := rapid.IntRange(0, len(node)-1).Draw(rt, "at")
				if child = node[at]; isLeaf(child) || stop {
					node[at], child = value, nil
				}
			}
			node = child
		}
	}
}

func isLeaf(node any) bool {
	switch node.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

func sortedKeys(node map[string]any) (keys []string) {
	for key := range node {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func TestSiteTellsResultsApartByTheirFormat(t *testing.T) {
	dir := t.TempDir()
	site := Site{Page: filepath.Join(dir, "BENCHMARKS.md"), Results: filepath.Join(dir, "results")}
	if err := os.MkdirAll(site.Results, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := result.Write(filepath.Join(site.Results, "dm-chat.json"), sampleRun()); err != nil {
		t.Fatal(err)
	}
	put := func(name string, text []byte) string {
		t.Helper()
		path := filepath.Join(site.Results, name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	older := put("engine-a.json", engineSample(t))
	newest := put("a-name-of-its-own.json", bytes.Replace(engineSample(t), []byte("2026-11-24T09"), []byte("2026-11-24T10"), 1))
	first, err := site.Build()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"### dm-chat", "2026-11-24T10:15:02Z, [result file](results/a-name-of-its-own.json); older results not shown: 1"} {
		if !bytes.Contains(first.Markdown, []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if _, err := site.Write(first); err != nil {
		t.Fatal(err)
	}
	site.Files = []string{older, newest, filepath.Join(site.Results, "dm-chat.json")} // the glob gives another order
	again, err := site.Build()
	if err != nil {
		t.Fatal(err)
	}
	if changes, err := site.Changes(again); err != nil || len(changes) != 0 {
		t.Errorf("the page made again changes %q: %v", changes, err)
	}
	site.Files = nil
	for format, want := range map[string]string{
		"k6":                     `"k6" is no load-test result's`,
		"godwit-bench/v9":        `this godwit reads "godwit-bench/v1" only`,
		"godwit-bench-engine/v9": `this godwit reads "godwit-bench-engine/v1" only`,
		"":                       "names no format",
	} {
		unknown := put("unknown.json", fmt.Appendf(nil, `{"format":%q,"series":7}`, format))
		if _, err := site.Build(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Base(unknown)) {
			t.Errorf("format %q: %v, want %q and the file's name", format, err, want)
		}
	}
}
