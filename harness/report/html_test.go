package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/godwit-im/godwit/harness/result"
)

func page(t *testing.T, runs ...*result.Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteHTML(&b, runs); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReportIsTheSameEachTime(t *testing.T) {
	first := page(t, sampleRun())
	if first != page(t, sampleRun()) {
		t.Fatal("two reports of one run differ")
	}
	golden(t, "report.html", []byte(first))
}

func TestReportShowsInvalidRunsAsInvalid(t *testing.T) {
	f := func(want string, change func(*result.Run)) {
		t.Helper()
		run := sampleRun()
		change(run)
		got := page(t, run)
		if !strings.Contains(got, `class="banner invalid"`) || strings.Contains(got, `class="banner valid"`) || !strings.Contains(got, want) {
			t.Errorf("a run with %q is not shown as invalid", want)
		}
	}
	f("generator fell behind by 3 %", func(r *result.Run) { r.Invalid = "generator fell behind by 3 %" })
	f("1 lost", func(r *result.Run) { r.Verify.Lost = 1 })
	f("2 duplicated", func(r *result.Run) { r.Verify.Duplicated = 2 })
	f("1 problems", func(r *result.Run) { r.Verify.Problems = []string{"history ends early"} })
	f("nothing was measured", func(r *result.Run) { *r = result.Run{Format: result.Format, Scenario: "empty"} })
	if got := page(t, sampleRun()); !strings.Contains(got, `class="banner valid"`) || strings.Contains(got, `class="banner invalid"`) {
		t.Error("a valid run is not shown as valid")
	}
}

func TestReportSaysWhatIsMissing(t *testing.T) {
	run := sampleRun()
	run.Latencies, run.Series, run.Usage = nil, nil, result.Usage{}
	got := page(t, run)
	for _, want := range []string{"No latencies were recorded.", "The run recorded none of this over time.", "The run recorded no latencies.", "no latencies were recorded"} {
		if !strings.Contains(got, want) {
			t.Errorf("no word of %q", want)
		}
	}
	if strings.Contains(got, "<svg") {
		t.Error("a chart of nothing was drawn")
	}
}

func TestReportShowsNoFiguresOfAnEmptyLatency(t *testing.T) {
	run := &result.Run{Latencies: map[string]result.Latency{"resume": {}}}
	for _, row := range latencyTable(run).Rows {
		for _, cell := range row[2:] {
			if cell != absent {
				t.Errorf("nothing took %s", cell)
			}
		}
	}
}

func TestReportBoundsItsTables(t *testing.T) {
	run := sampleRun()
	run.Series = make([]result.Second, 86_400)
	for i := range run.Series {
		run.Series[i] = result.Second{At: float64(i), Stage: "measure", Sent: uint64(1000 + i%7)}
	}
	got := page(t, run)
	if !strings.Contains(got, "The first 600 of 86,400 seconds") || len(got) > 600_000 {
		t.Errorf("a day makes a page of %d bytes", len(got))
	}
}

// A report must fetch nothing and run nothing, whatever the result file says.
var active = regexp.MustCompile(`(?i)<script|<iframe|<object|<link|<img|\son\w+=|(?:src|href)="(?:[^#"]|#")|url\(|@import`)

func TestReportHoldsHostileText(t *testing.T) {
	got := page(t, hostileRun(), sampleRun())
	if found := active.FindString(got); found != "" {
		t.Errorf("the page contains %q", found)
	}
	for _, bad := range []string{"\x00", "\x1b", "\u202e", "NaN", "Inf"} {
		if strings.Contains(got, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	if !strings.Contains(got, "&lt;script&gt;") {
		t.Error("the hostile text is not there at all: nothing was tested")
	}
	if !active.MatchString(`<p onclick="x">`) || !active.MatchString(`<a href="//evil.example">`) || active.MatchString(`<a href="#run-1">`) {
		t.Error("the check of active content does not work")
	}
}

func TestReportIsBalancedMarkup(t *testing.T) {
	markup := regexp.MustCompile(`<meta [^>]*>`).ReplaceAllString(page(t, hostileRun(), sampleRun()), "") // the only element without an end
	decoder := xml.NewDecoder(strings.NewReader(markup))
	ids := map[string]bool{}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			for _, a := range start.Attr {
				if a.Name.Local == "id" && ids[a.Value] {
					t.Errorf("id %q stands twice", a.Value)
				} else if a.Name.Local == "id" {
					ids[a.Value] = true
				}
			}
		}
	}
	if len(ids) < 10 {
		t.Errorf("found %d ids only", len(ids))
	}
}

func TestReportOfNoRunsIsRefused(t *testing.T) {
	if err := WriteHTML(io.Discard, nil); !errors.Is(err, ErrNoRuns) {
		t.Fatal(err)
	}
}
