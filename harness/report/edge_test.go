package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// edgeSample is what a full run of bench/edge writes; some targets of it are
// missed.
func edgeSample(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "edge.json"))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func edgeInput(t *testing.T, path string, change func(*EdgeResult)) EdgeInput {
	t.Helper()
	r, err := decodeEdge(edgeSample(t))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	return EdgeInput{Path: path, Result: r}
}

func edgePage(t *testing.T, inputs ...EdgeInput) string {
	t.Helper()
	page, err := BuildPage(Inputs{Edges: inputs}, "plots")
	if err != nil {
		t.Fatal(err)
	}
	if row := uneven(string(page.Markdown)); row != "" {
		t.Errorf("a row has other cells than its table: %s", row)
	}
	return string(page.Markdown)
}

func TestEdgeSectionShowsTheWholeComparison(t *testing.T) {
	page := edgePage(t, edgeInput(t, "bench/results/edge.json", nil))
	golden(t, "benchmarks-edge.md", []byte(page))
	for _, want := range []string{
		"## Connection edge against its peers\n",
		"1,000 active, one message at a time:\n",
		"1,000 active, 16 messages in one write:\n",
		"| gws | 3 | ",
		"Pushes of 189 bytes to 1,500 sessions:\n",
		"```sh\ngo run ./bench/edge -full -sessions 1500 -rounds 3\n```",
		"github.com/lxzan/gws v1.8.9",
		"Commit `0123456789ab`, 2026-11-24T09:15:02Z, [result file](bench/results/edge.json)\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	// Every server in every table of echoes, all but the floor in that of memory.
	if n := strings.Count(page, "\n| floor |"); n != 2 {
		t.Errorf("the floor stands in %d tables", n)
	}
	if n := strings.Count(page, "\n| coder |"); n != 3 {
		t.Errorf("coder stands in %d tables", n)
	}
}

func TestEdgeTargetsAreCalledHitOrMissed(t *testing.T) {
	value := func(v float64) *float64 { return &v }
	page := edgePage(t, edgeInput(t, "edge.json", func(r *EdgeResult) {
		r.Reasons = map[string]string{"rss_per_held_poll": "the server | answered 404"}
		r.Spread = map[string]EdgeSpread{"echo_vs_floor": {Low: 1.1, High: 1.3, Rounds: 11}}
		r.Targets = []EdgeTarget{
			{Name: "rss_per_held_poll", Bound: 1280},
			{Name: "echo_vs_floor", Value: value(1.1999), Bound: 1.2, Hit: true},
			{Name: "push_flood_vs_gws", Value: value(3.2), Bound: 4},
			{Name: "copied_per_byte", Value: value(0), Bound: 0.02, Hit: true},
			{Name: "gc_ms", Value: value(7.5), Bound: 10, Hit: true},
			{Name: "new_one", Value: value(3), Bound: 4, Hit: true},
		}
	}))
	f := func(row string) {
		t.Helper()
		if !strings.Contains(page, "\n| "+row+" |\n") {
			t.Errorf("no row %q in the table of targets", row)
		}
	}
	f("user-space memory per held long-poll | — | — | at most 1,280 B | MISS")
	f("CPU per echo against the floor's | 1.2×, a little less | 1.1× – 1.3× | at most 1.2× | hit")
	f("deliveries per second of a flood against gws's | 3.2× | — | at least 4× | MISS")
	f("bytes copied on the way in per byte received | 0 | — | at most 0.02 | hit")
	f("a full garbage collection with the most sessions | 7.5 ms | — | at most 10 ms | hit")
	f(`new\_one | 3 | — | 4 | hit`)
	for _, want := range []string{"**4 of 6 targets are hit.**", `Note: rss\_per\_held\_poll was not measured: the server \| answered 404`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestEdgeSectionOfNothingNamesTheCommand(t *testing.T) {
	if page := edgePage(t); !strings.Contains(page, "## Connection edge against its peers\n\nNo comparison is recorded yet: `go run ./bench/edge -full` makes one.\n") {
		t.Error(page)
	}
}

func TestEdgeSectionIsOfTheNewestWhateverTheOrder(t *testing.T) {
	inputs := []EdgeInput{
		edgeInput(t, "b.json", func(r *EdgeResult) { r.Started, r.Commit = "2026-11-25T08:00:00Z", "bbbbbbbbbbbb-dirty" }),
		edgeInput(t, "c.json", func(r *EdgeResult) { r.Started, r.Commit = "2026-11-25T08:00:00Z", "cccccccccccc" }), // the same moment
		edgeInput(t, "a.json", func(r *EdgeResult) { r.Started, r.Commit = "2026-11-24T23:59:59Z", "aaaaaaaaaaaa" }),
	}
	want := edgePage(t, inputs...)
	if !strings.Contains(want, "Commit `bbbbbbbbbbbb-dirty`") || !strings.Contains(want, "(b.json); older results not shown: 2") || !strings.Contains(want, "uncommitted changes") {
		t.Error("the section is not of the newest result")
	}
	rapid.Check(t, func(rt *rapid.T) {
		if edgePage(t, rapid.Permutation(inputs).Draw(rt, "inputs")...) != want {
			rt.Error("the page depends on the order of the files")
		}
	})
}

func TestDecodeEdgeRefusesWhatIsNotOne(t *testing.T) {
	sample := string(edgeSample(t))
	f := func(old, changed, want string) {
		t.Helper()
		content := strings.Replace(sample, old, changed, 1)
		if content == sample {
			t.Fatalf("the sample has no %q", old)
		}
		if _, err := decodeEdge([]byte(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", changed, err, want)
		}
	}
	f("edge/v1", "edge/v2", `"godwit-bench-edge/v2", this godwit reads "godwit-bench-edge/v1" only`)
	f("{", "[", "no JSON of an edge comparison")
	f(`"cpus": 2`, `"cpus": "two"`, "no result of the format")
	f("2026-11-24T09:15:02Z", "2026-11-24T09:15:02+01:00", "started")
	f(`"0123456789ab"`, `"HEAD"`, "commit")
	f(`"servers"`, `"others"`, "0 servers")
	f(`"targets"`, `"others"`, "0 targets")
	f(`"name": "gws"`, `"name": "godwit"`, "stands twice")
	f(`"echo": [`, `"others": [`, "it echoed nothing")
	f(`"per_s": [`, `"others": [`, "rounds of one case")
	f(`"hit": true`, `"hit": false`, "hit is false, which")
	if _, err := decodeEdge([]byte(strings.Replace(sample, "{", `{"later": {"x": [1]},`, 1))); err != nil {
		t.Errorf("a member of a later program: %v", err)
	}
}

// TestEdgeSectionHoldsAnyContent puts odd values in place of the sample's.
func TestEdgeSectionHoldsAnyContent(t *testing.T) {
	const evil = "\"><script>alert(1)</script> | `x` [a](javascript:b) \x1b[31m\n# heading"
	sample := edgeSample(t)
	shown := 0
	rapid.Check(t, func(rt *rapid.T) {
		var tree any
		if err := json.Unmarshal(sample, &tree); err != nil {
			rt.Fatal(err)
		}
		damage(rt, tree, []any{evil, -1.0, 0.0, 1e300, 1e-300, nil, map[string]any{evil: evil}, []any{}})
		content, err := json.Marshal(tree)
		if err != nil {
			rt.Fatal(err)
		}
		r, err := decodeEdge(content)
		if err != nil {
			return
		}
		shown++
		page, err := BuildPage(Inputs{Edges: []EdgeInput{{"x.json", r}}}, "plots")
		if err != nil {
			rt.Fatal(err)
		}
		if row := uneven(string(page.Markdown)); row != "" {
			rt.Errorf("a row has other cells than its table: %s", row)
		}
		for _, bad := range []string{"<script", "\x1b", "NaN", "Inf", "\n# heading"} {
			if bytes.Contains(bytes.ReplaceAll(page.Markdown, []byte("```sh\n\"><script"), nil), []byte(bad)) {
				rt.Errorf("the page contains %q", bad)
			}
		}
	})
	if shown == 0 {
		t.Error("nothing was shown: nothing was tested")
	}
}

func TestSiteShowsTheEdgeToo(t *testing.T) {
	dir := t.TempDir()
	site := Site{Page: filepath.Join(dir, "BENCHMARKS.md"), Results: dir}
	for name, content := range map[string][]byte{"edge-a.json": edgeSample(t), "engine-a.json": engineSample(t)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := site.Build()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"[result file](edge-a.json)", "[result file](engine-a.json)"} {
		if !bytes.Contains(page.Markdown, []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "edge-b.json"), []byte(`{"format":"godwit-bench-edge/v9"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := site.Build(); err == nil || !strings.Contains(err.Error(), "edge-b.json") {
		t.Errorf("a file of a later format: %v", err)
	}
}
