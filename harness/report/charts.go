package report

import (
	"math"
	"slices"
	"strings"

	"github.com/godwit-im/godwit/harness/result"
)

// Bounds of what is drawn; the tables beside the charts have the rest.
const (
	pointsMax    = 600 // of a line: more than there are pixels shows nothing more
	latenciesMax = 8   // distributions in the percentile chart, and histograms
	binsADecade  = 10  // of a histogram
)

// logMin is the least value on a logarithmic axis: a nanosecond in µs. It bounds
// the decades, and so the ticks, of whatever stands in a file.
const logMin = 1e-3

// scale says how an axis maps values to places.
type scale int

const (
	linear      scale = iota // from 0
	logarithmic              // values over 0 only
	nines                    // values are log10(1/(1-p)) of a percentile p
)

// point is a value at a place of the x axis.
type point struct{ X, Y float64 }

type axis struct {
	label string
	scale scale
	write func(float64) string // a tick's value; nil: significant
}

// line is a curve, or with area set the outline of bars down to the axis.
type line struct {
	name   string
	points []point
	area   bool
}

// chart is what is to be drawn, free of how.
type chart struct {
	name    string // unique within a run; part of ids and file names
	title   string
	x, y    axis
	lines   []line
	stages  []span // shown as bands
	missing string // why there is nothing to see
}

// span is a stage on the time axis, in seconds.
type span struct {
	name     string
	from, to float64
}

// empty reports whether no line has a point.
func (c *chart) empty() bool {
	return !slices.ContainsFunc(c.lines, func(l line) bool { return len(l.points) > 0 })
}

// timeCharts draws the per-second series.
func timeCharts(run *result.Run) []*chart {
	over := func(name, title string, y axis, lines ...line) *chart {
		for i := range lines {
			lines[i].points = thin(known(lines[i].points), pointsMax)
		}
		return &chart{
			name: name, title: title, x: axis{label: "time (s)"}, y: y, lines: lines,
			stages: spans(run.Series), missing: "The run recorded none of this over time.",
		}
	}
	curve := func(name string, y scale, value func(*result.Second) float64) line {
		return line{name: name, points: series(run.Series, y, value)}
	}
	return []*chart{
		over("rates", "Operations per second", axis{label: "per second"},
			curve("scheduled", linear, func(s *result.Second) float64 { return float64(s.Scheduled) }),
			curve("sent", linear, func(s *result.Second) float64 { return float64(s.Sent) }),
			curve("stored", linear, func(s *result.Second) float64 { return float64(s.Stored) }),
			curve("delivered", linear, func(s *result.Second) float64 { return float64(s.Delivered) })),
		over("latency", "Latency of each second", axis{label: "latency", scale: logarithmic, write: micros},
			curve("max", logarithmic, func(s *result.Second) float64 { return s.MaxUS }),
			curve("p99", logarithmic, func(s *result.Second) float64 { return s.P99US }),
			curve("p50", logarithmic, func(s *result.Second) float64 { return s.P50US })),
		over("sessions", "Sessions", axis{label: "open sessions"},
			curve("sessions", linear, func(s *result.Second) float64 { return float64(s.Sessions) })),
		over("rss", "Memory of the server", axis{label: "resident set (MiB)"},
			line{name: "RSS", points: series(run.Series, linear, func(s *result.Second) float64 { return s.ServerRSS / (1 << 20) })}),
		over("cpu", "CPU time of the server", axis{label: "cores in use"},
			line{name: "cores", points: slope(run.Series)}),
	}
}

// sessionMemoryChart sets the server's memory against its sessions while they
// were opened, and beside it the slope that the run reports.
func sessionMemoryChart(run *result.Run) *chart {
	c := &chart{
		name: "session-memory", title: "Memory of the server by sessions",
		x: axis{label: "open sessions"}, y: axis{label: "resident set (MiB)"},
		missing: "The run recorded no memory while it opened sessions.",
	}
	var points []point
	meanX, meanY := 0.0, 0.0
	for _, s := range run.Series {
		if p := (point{X: float64(s.Sessions), Y: s.ServerRSS / (1 << 20)}); s.Stage == "ramp" && plausible(p.X) && plausible(p.Y) && p.Y > 0 {
			points = append(points, p)
			meanX, meanY = meanX+p.X, meanY+p.Y
		}
	}
	perSession := run.Usage.BytesPerConnection / (1 << 20)
	if len(points) < 2 || !plausible(perSession) {
		return c
	}
	slices.SortStableFunc(points, func(a, b point) int { return compareFloats(a.X, b.X) })
	meanX, meanY = meanX/float64(len(points)), meanY/float64(len(points))
	c.lines = []line{{name: "measured", points: thin(points, pointsMax)}}
	if first, last := points[0].X, points[len(points)-1].X; meanY+(first-meanX)*perSession >= 0 {
		c.lines = append(c.lines, line{name: size(run.Usage.BytesPerConnection) + " per session", points: []point{
			{X: first, Y: meanY + (first-meanX)*perSession}, {X: last, Y: meanY + (last-meanX)*perSession},
		}})
	}
	return c
}

// series collects one value of every second that has a plausible one. An idle
// second has no latency, so that zeros have no place on a logarithmic axis.
func series(seconds []result.Second, y scale, value func(*result.Second) float64) []point {
	var points []point
	for i := range seconds {
		at, v := seconds[i].At, value(&seconds[i])
		if !plausible(at) || !plausible(v) || y == logarithmic && v < logMin {
			continue
		}
		points = append(points, point{X: at, Y: v})
	}
	slices.SortStableFunc(points, func(a, b point) int { return compareFloats(a.X, b.X) })
	return points
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// known drops a series of nothing but zeros: nothing happened or nobody measured.
func known(points []point) []point {
	if !slices.ContainsFunc(points, func(p point) bool { return p.Y > 0 }) {
		return nil
	}
	return points
}

// slope turns CPU seconds since the start into cores in use.
func slope(seconds []result.Second) []point {
	total := series(seconds, linear, func(s *result.Second) float64 { return s.ServerCPU })
	var points []point
	for i := 1; i < len(total); i++ {
		span, used := total[i].X-total[i-1].X, total[i].Y-total[i-1].Y
		if span > 0 && used >= 0 && plausible(used/span) {
			points = append(points, point{X: total[i].X, Y: used / span})
		}
	}
	return points
}

// thin keeps the lowest and the highest point of each stretch of a long line,
// so that neither a spike nor a dip is lost.
func thin(points []point, pointsMax int) []point {
	if len(points) <= pointsMax {
		return points
	}
	kept := make([]point, 0, pointsMax)
	stretches := pointsMax / 2
	for s := range stretches {
		stretch := points[s*len(points)/stretches : (s+1)*len(points)/stretches]
		low, high := 0, 0
		for i, p := range stretch {
			if p.Y < stretch[low].Y {
				low = i
			}
			if p.Y > stretch[high].Y {
				high = i
			}
		}
		kept = append(kept, stretch[min(low, high)])
		if low != high {
			kept = append(kept, stretch[max(low, high)])
		}
	}
	return kept
}

// spans finds where the stages begin and end in the series.
func spans(seconds []result.Second) []span {
	var all []span
	for _, s := range seconds {
		if !plausible(s.At) {
			continue
		}
		if n := len(all); n > 0 && all[n-1].name == s.Stage {
			all[n-1].to = max(all[n-1].to, s.At)
			continue
		}
		all = append(all, span{name: s.Stage, from: s.At, to: s.At})
	}
	for i := 1; i < len(all); i++ {
		all[i-1].to = max(all[i-1].to, all[i].from)
	}
	return all
}

// percentileChart draws every distribution over the percentiles.
func percentileChart(run *result.Run) *chart {
	c := &chart{
		name: "percentiles", title: "Latency by percentile",
		x: axis{label: "percentile", scale: nines}, y: axis{label: "latency", scale: logarithmic, write: micros},
		missing: "The run recorded no latencies.",
	}
	for _, name := range drawnLatencies(run) {
		c.lines = append(c.lines, line{name: clean(name, 40), points: thin(percentiles(run.Latencies[name]), pointsMax)})
	}
	return c
}

func drawnLatencies(run *result.Run) []string {
	names := latencyNames(run)
	return names[:min(len(names), latenciesMax)]
}

// percentiles is the curve of a distribution: from its buckets, or where it has
// none from the percentiles that the file names.
func percentiles(l result.Latency) []point {
	var points []point
	add := func(rest, us float64) { // rest: the share of operations that took longer
		x := -math.Log10(rest)
		if us >= logMin && plausible(us) && plausible(x) && (len(points) == 0 || x >= points[len(points)-1].X) {
			points = append(points, point{X: x, Y: us})
		}
	}
	buckets := usable(l.Buckets)
	total := 0.0
	for _, b := range buckets {
		total += b[1]
	}
	if total == 0 {
		add(0.5, l.P50)
		add(0.1, l.P90)
		add(0.01, l.P99)
		add(0.001, l.P999)
		add(0.0001, l.P9999)
		return points
	}
	below := 0.0
	for _, b := range buckets {
		below += b[1]
		// The longest operation has nothing above it: it stands at half a rank from the end.
		add(max(total-below, 0.5)/total, b[0])
	}
	return points
}

// usable keeps the buckets that can be: ascending bounds, counts over 0.
func usable(buckets [][2]float64) [][2]float64 {
	var kept [][2]float64
	for _, b := range buckets {
		if b[0] >= logMin && plausible(b[0]) && b[1] > 0 && plausible(b[1]) && (len(kept) == 0 || b[0] > kept[len(kept)-1][0]) {
			kept = append(kept, b)
		}
	}
	return kept
}

// histogramChart draws one distribution as bars of equal width on a log axis.
func histogramChart(run *result.Run, name string) *chart {
	c := &chart{
		name: "histogram-" + slug(name), title: "Distribution of " + clean(name, 40),
		x: axis{label: "latency", scale: logarithmic, write: micros}, y: axis{label: "operations", write: significant},
		missing: "The run recorded no histogram of this latency.",
	}
	bins := map[int]float64{}
	for _, b := range usable(run.Latencies[name].Buckets) {
		bins[int(math.Ceil(math.Log10(b[0])*binsADecade-1e-9))-1] += b[1]
	}
	if len(bins) == 0 {
		return c
	}
	edge := func(bin int) float64 { return math.Pow(10, float64(bin)/binsADecade) }
	var outline []point
	first, last := math.MaxInt, math.MinInt
	for bin := range bins {
		first, last = min(first, bin), max(last, bin)
	}
	for bin := first; bin <= last; bin++ {
		outline = append(outline, point{X: edge(bin), Y: bins[bin]}, point{X: edge(bin + 1), Y: bins[bin]})
	}
	c.lines = []line{{name: clean(name, 40), points: outline, area: true}}
	return c
}

// slug makes a name fit for ids and file names; it may map two names to one.
func slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ReplaceAll(strings.ToLower(name), "→", "-to-") {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
		if b.Len() == 48 {
			break
		}
	}
	return strings.Trim(b.String(), "-")
}
