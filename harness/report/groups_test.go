package report

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-im/godwit/harness/groups"
)

// groupsSample is what `godwit bench groups --quick` writes.
func groupsSample(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "groups.json"))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func groupsInput(t *testing.T, path string, change func(*groups.Result)) GroupsInput {
	t.Helper()
	r, err := decodeGroups(groupsSample(t))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	return GroupsInput{Path: path, Result: r}
}

func groupsPage(t *testing.T, inputs ...GroupsInput) string {
	t.Helper()
	page, err := BuildPage(Inputs{Groups: inputs}, "plots")
	if err != nil {
		t.Fatal(err)
	}
	if row := uneven(string(page.Markdown)); row != "" {
		t.Errorf("a row has other cells than its table: %s", row)
	}
	return string(page.Markdown)
}

func TestGroupsSectionShowsTheWholeMeasurement(t *testing.T) {
	page := groupsPage(t, groupsInput(t, "bench/results/groups.json", nil))
	golden(t, "benchmarks-groups.md", []byte(page))
	for _, want := range []string{
		"## Groups and channels\n",
		"| 10 | 10 | 6,030 | 11 | — | 2.75 µs | — | 27.5 µs | 1.07 ms | 7.02 ms | 70,826 |\n",
		"| 1,000 | 1,000 | 90 | 1,001 | 0.989 B | 1.28 µs | — | 1.28 ms | 18.8 ms | 79.4 ms | 79,151 |\n",
		"| 4,000, a channel | 1,000 | 90 | 1.13 | — |",
		"| 1,000 | 3 | 1.28 µs | 1.18 µs – 2.24 µs | -53.3 % | MISS | -32.6 % | MISS |\n",
		"**From 10 to 1,000 members the cost of a delivery changes by -53.3 %; wanted is ±15 %: MISS.**",
		"**From 100 to 1,000 members the cost of a delivery changes by -32.6 %; wanted is ±15 %: MISS.**",
		"```sh\ngodwit bench groups --quick\n```",
		"Commit `0123456789ab`, 2026-11-24T10:20:30Z, [result file](bench/results/groups.json)\n",
		"these have 10 to 1,000", "the median of 5 rounds; these are 3",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// flat gives the groups costs in µs, so many rounds of each.
func flat(rounds int, costs ...float64) func(*groups.Result) {
	return func(r *groups.Result) {
		r.Rounds, r.Groups = rounds, nil
		for i, members := range []int{10, 100, 1000, 10000}[:len(costs)] {
			c := groups.Cell{Members: members, Online: members, CPU: costs[i]}
			for range rounds {
				c.CPUPerDelivery = append(c.CPUPerDelivery, costs[i])
			}
			r.Groups = append(r.Groups, c)
		}
	}
}

// TestSlopesAreHitOrMissedOnBothSides: a delivery that costs much less is not flat.
func TestSlopesAreHitOrMissedOnBothSides(t *testing.T) {
	page := groupsPage(t, groupsInput(t, "x.json", flat(5, 2, 1.5, 1.71, 1.724)))
	for _, want := range []string{
		"| 100 | 5 | 1.5 µs | 1.5 µs – 1.5 µs | -25 % | MISS | — | — |\n",
		"| 1,000 | 5 | 1.71 µs | 1.71 µs – 1.71 µs | -14.5 % | HIT | +14 % | HIT |\n",
		"From 10 to 10,000 members the cost of a delivery changes by -13.8 %; wanted is ±15 %: HIT.",
		"From 100 to 10,000 members the cost of a delivery changes by +14.9 %; wanted is ±15 %: HIT.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(page, "the target is about") {
		t.Error("the run is as the target wants it")
	}
	page = groupsPage(t, groupsInput(t, "x.json", flat(5, 1, 1, 1, 1.2)))
	if n := strings.Count(page, "+20 %; wanted is ±15 %: MISS"); n != 2 {
		t.Errorf("a cost that grows is called a miss %d times", n)
	}
	if page = groupsPage(t, groupsInput(t, "x.json", flat(5, 1))); strings.Count(page, "There is no larger group to compare with") != 2 {
		t.Error("a single size has a slope")
	}
}

func TestGroupsSectionOfNothingNamesTheCommand(t *testing.T) {
	if page := groupsPage(t); !strings.Contains(page, "## Groups and channels\n\nNo measurement is recorded yet: `godwit bench groups` makes one.\n") {
		t.Error(page)
	}
}

// TestLostDeliveriesLeaveNoFigures, even of the newest run.
func TestLostDeliveriesLeaveNoFigures(t *testing.T) {
	bad := groupsInput(t, "bad.json", func(r *groups.Result) { r.Started, r.Groups[1].Lost, r.Channel.Repeated = "2026-11-26T08:00:00Z", 3, 2 })
	page := groupsPage(t, bad)
	for _, want := range []string{"No valid measurement is recorded.", "- Invalid, without figures: 2026-11-26T08:00:00Z, 3 deliveries lost, 2 repeated, [result file](bad.json)\n"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if page = groupsPage(t, groupsInput(t, "good.json", nil), bad); !strings.Contains(page, "(good.json)\n") || !strings.Contains(page, "(bad.json)") {
		t.Error("the valid run is not shown beside the invalid one")
	}
}

func TestGroupsSectionIsOfTheNewestWhateverTheOrder(t *testing.T) {
	inputs := []GroupsInput{
		groupsInput(t, "b.json", func(r *groups.Result) { r.Started, r.Commit = "2026-11-25T08:00:00Z", "bbbbbbbbbbbb-dirty" }),
		groupsInput(t, "c.json", func(r *groups.Result) { r.Started, r.Commit = "2026-11-25T08:00:00Z", "cccccccccccc" }), // the same moment
		groupsInput(t, "a.json", func(r *groups.Result) { r.Started, r.Commit = "2026-11-24T23:59:59Z", "" }),
	}
	want := groupsPage(t, inputs...)
	if !strings.Contains(want, "Commit `bbbbbbbbbbbb-dirty`") || !strings.Contains(want, "(b.json); older results not shown: 2") || !strings.Contains(want, "uncommitted changes") {
		t.Error("the section is not of the newest result")
	}
	if page := groupsPage(t, inputs[2]); !strings.Contains(page, "Commit `unknown`") || !strings.Contains(page, "the commit was not recorded") {
		t.Error("a commit that nobody recorded is not called so")
	}
	rapid.Check(t, func(rt *rapid.T) {
		if groupsPage(t, rapid.Permutation(inputs).Draw(rt, "inputs")...) != want {
			rt.Error("the page depends on the order of the files")
		}
	})
}

func TestDecodeGroupsRefusesWhatIsNotOne(t *testing.T) {
	sample := string(groupsSample(t))
	f := func(old, changed, want string) {
		t.Helper()
		content := strings.Replace(sample, old, changed, 1)
		if content == sample {
			t.Fatalf("the sample has no %q", old)
		}
		if _, err := decodeGroups([]byte(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", changed, err, want)
		}
	}
	f("groups/v1", "groups/v2", `"godwit-bench-groups/v2", this godwit reads "godwit-bench-groups/v1" only`)
	f("{", "[", "no JSON of a measurement")
	f(`"cpus": 2`, `"cpus": "two"`, "no result of the format")
	f("2026-11-24T10:20:30Z", "2026-11-24T10:20:30+01:00", "started")
	f(`"0123456789ab"`, `"HEAD"`, "commit")
	f(`"groups": [`, `"others": [`, "there are no groups")
	f(`"members": 10,`, `"members": 100,`, "comes after")
	f(`"members": 10,`, `"members": 0,`, "comes after")
	f(`"online": 10,`, `"online": 11,`, "11 of its members")
	f(`"lost": 0`, `"lost": -1`, "-1 lost")
	f(`"cpu_us_per_delivery_rounds"`, `"others"`, "no rounds")
	f(`"cpu_us_per_delivery": 2.`, `"cpu_us_per_delivery": 3.`, "not the median")
	f(`"slope": -0.3`, `"slope": -0.1`, "not what the groups give")
	f(`"slope_all": -0.5`, `"slope_all": 0.5`, "not what the groups give")
	if _, err := decodeGroups([]byte(strings.Replace(sample, "{", `{"later": {"x": [1]},`, 1))); err != nil {
		t.Errorf("a member of a later program: %v", err)
	}
}

// TestGroupsSectionHoldsAnyContent puts odd values in place of the sample's.
func TestGroupsSectionHoldsAnyContent(t *testing.T) {
	const evil = "\"><script>alert(1)</script> | `x` [a](javascript:b) \x1b[31m\n# heading"
	sample := groupsSample(t)
	odd := []float64{-1, 0, 1e300, 1e-300, math.MaxFloat64, 5}
	shown := 0
	rapid.Check(t, func(rt *rapid.T) {
		r := new(groups.Result)
		if err := json.Unmarshal(sample, r); err != nil {
			rt.Fatal(err)
		}
		number := func() float64 { return rapid.SampledFrom(odd).Draw(rt, "number") }
		whole := func() int { return rapid.SampledFrom([]int{math.MinInt, -1, 0, math.MaxInt}).Draw(rt, "whole") }
		r.Command, r.CPU, r.CPUs, r.Rounds, r.Online = evil, evil, whole(), whole(), whole()
		for i := range r.Groups {
			c := &r.Groups[i]
			c.Messages, c.Deliveries, c.Entries, c.Bytes, c.CPUPerMessage = whole(), whole(), number(), number(), number()
			c.PerSecond, c.P50, c.P99 = number(), number(), number()
			for at := range c.CPUPerDelivery {
				c.CPUPerDelivery[at] = number()
			}
			c.CPU = median(c.CPUPerDelivery)
		}
		r.Slope, r.SlopeAll = slopeFrom(r, slopeLeast), slopeFrom(r, 0)
		if math.IsInf(r.Slope, 0) || math.IsInf(r.SlopeAll, 0) {
			return // JSON has no infinity
		}
		content, err := json.Marshal(r)
		if err != nil {
			rt.Fatal(err)
		}
		if r, err = decodeGroups(content); err != nil {
			return
		}
		shown++
		page, err := BuildPage(Inputs{Groups: []GroupsInput{{"x.json", r}}}, "plots")
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

func TestSiteShowsTheGroupsToo(t *testing.T) {
	dir := t.TempDir()
	site := Site{Page: filepath.Join(dir, "BENCHMARKS.md"), Results: dir}
	if err := os.WriteFile(filepath.Join(dir, "groups-a.json"), groupsSample(t), 0o644); err != nil {
		t.Fatal(err)
	}
	page, err := site.Build()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page.Markdown, []byte("[result file](groups-a.json)")) {
		t.Error("the page does not show the measurement")
	}
	if err := os.WriteFile(filepath.Join(dir, "groups-b.json"), []byte(`{"format":"godwit-bench-groups/v9"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := site.Build(); err == nil || !strings.Contains(err.Error(), "groups-b.json") {
		t.Errorf("a file of a later format: %v", err)
	}
}
