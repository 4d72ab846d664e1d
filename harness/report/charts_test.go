package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit/harness/result"
)

// allCharts is every chart of a run.
func allCharts(run *result.Run) []*chart {
	charts := append([]*chart{percentileChart(run), sessionMemoryChart(run)}, timeCharts(run)...)
	for _, name := range drawnLatencies(run) {
		charts = append(charts, histogramChart(run, name))
	}
	return charts
}

func TestPlotsAreTheSameEachTime(t *testing.T) {
	second := allCharts(sampleRun())
	for i, c := range allCharts(sampleRun()) {
		got := c.svgFile()
		if !bytes.Equal(got, second[i].svgFile()) {
			t.Errorf("two plots %s of one run differ", c.name)
		}
		if c.name == "percentiles" || c.name == "latency" {
			golden(t, c.name+".svg", got)
		}
	}
}

func TestPlotsHoldHostileRuns(t *testing.T) {
	runs := map[string]*result.Run{"hostile": hostileRun(), "empty": {}, "one second": {Series: []result.Second{{}}}}
	for name, run := range runs {
		for _, c := range allCharts(run) {
			svg := c.svgFile()
			if bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) || len(svg) > 100_000 {
				t.Errorf("%s: %s has %d bytes or numbers that are none", name, c.name, len(svg))
			}
			decoder := xml.NewDecoder(bytes.NewReader(svg))
			for {
				token, err := decoder.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s: %s: %v", name, c.name, err)
				}
				if start, ok := token.(xml.StartElement); ok && start.Name.Local == "script" {
					t.Fatalf("%s: %s holds a script", name, c.name)
				}
			}
		}
	}
}

func TestThinKeepsSpikesAndDips(t *testing.T) {
	points := make([]point, 86_400)
	for i := range points {
		points[i] = point{X: float64(i), Y: 1000}
	}
	points[12_345].Y, points[54_321].Y = 9e6, 1
	thinned := thin(slices.Clone(points), 600)
	if len(thinned) > 600 {
		t.Fatalf("%d points left", len(thinned))
	}
	if !slices.Contains(thinned, points[12_345]) || !slices.Contains(thinned, points[54_321]) {
		t.Error("a spike or a dip is lost")
	}
	if !slices.IsSortedFunc(thinned, func(a, b point) int { return compareFloats(a.X, b.X) }) {
		t.Error("the points are out of order")
	}
}

func TestPercentilesFollowTheBuckets(t *testing.T) {
	got := percentiles(result.Latency{Count: 1000, Buckets: [][2]float64{{100, 500}, {200, 400}, {300, 99}, {900, 1}}})
	// Half lasts longer than 100 µs, a tenth longer than 200, one longer than 300; the last is half a rank from the end.
	want := []point{{X: math.Log10(2), Y: 100}, {X: 1, Y: 200}, {X: 3, Y: 300}, {X: math.Log10(2000), Y: 900}}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if math.Abs(got[i].X-want[i].X) > 1e-9 || got[i].Y != want[i].Y {
			t.Errorf("point %d is %v, want %v", i, got[i], want[i])
		}
	}
	named := percentiles(result.Latency{Count: 10, P50: 5, P90: 6, P99: 7, P999: 8, P9999: 9})
	if len(named) != 5 || named[2].X != 2 || named[2].Y != 7 {
		t.Errorf("without buckets: %v", named)
	}
}

func TestHistogramCountsEveryOperation(t *testing.T) {
	run := sampleRun()
	c := histogramChart(run, "connect")
	drawn, recorded := 0.0, 0.0
	for i := 0; i < len(c.lines[0].points); i += 2 {
		drawn += c.lines[0].points[i].Y
	}
	for _, b := range run.Latencies["connect"].Buckets {
		recorded += b[1]
	}
	if drawn != recorded || drawn == 0 {
		t.Errorf("the bars hold %v operations, the run %v", drawn, recorded)
	}
}

func TestSlopeIsDrawnThroughTheMeasurements(t *testing.T) {
	run := &result.Run{Usage: result.Usage{BytesPerConnection: 2 << 20}}
	for at := range 4 {
		run.Series = append(run.Series, result.Second{At: float64(at), Stage: "ramp", Sessions: 10 * at, ServerRSS: float64((100 + 20*at) << 20)})
	}
	run.Series = append(run.Series, result.Second{At: 4, Stage: "measure", Sessions: 30, ServerRSS: 1 << 30}) // no longer the ramp
	lines := sessionMemoryChart(run).lines
	if len(lines) != 2 || len(lines[0].points) != 4 {
		t.Fatalf("lines %+v", lines)
	}
	if fit := lines[1].points; fit[0] != (point{X: 0, Y: 100}) || fit[1] != (point{X: 30, Y: 160}) {
		t.Errorf("the slope runs from %v to %v", fit[0], fit[1])
	}
}

func TestFiguresAreReadable(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(micros(0.5), "0.5 µs")
	f(micros(412), "412 µs")
	f(micros(1234), "1.23 ms")
	f(micros(2.5e6), "2.5 s")
	f(micros(math.NaN()), absent)
	f(micros(-1), absent)
	f(micros(math.Inf(1)), absent)
	f(size(2048), "2 KiB")
	f(size(1890), "1.85 KiB")
	f(significant(1234567), "1,234,567")
	f(significant(999.5), "1,000")
	f(significant(0.00123), "0.00123")
	f(count(51000), "51,000")
	f(integer(-1234), "-1,234")
	f(integer(-123), "-123")
	f(recorded(0, size), absent)
	f(perSecond(10, 0), absent)
	f(perSecond(90_000, 90), "1,000/s")
	f(clean("a\x00b\nc\u202ed", 10), "ab cd")
	f(clean(strings.Repeat("é", 9), 3), "ééé…")
	f(slug("send→delivered"), "send-to-delivered")
	f(slug("../../etc/passwd"), "etc-passwd")
}
