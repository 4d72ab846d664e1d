package report

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"

	"github.com/godwit-im/godwit/harness/result"
)

// Bounds of the tables of the HTML file; the result file has the rest.
const (
	secondsMax  = 600
	metricsMax  = 400
	problemsMax = 50
)

// runView is a run as the template shows it: text only, but for the charts.
type runView struct {
	ID        string
	Title     string
	Started   string
	RunID     string
	Commit    string
	Command   string
	Verdict   *verdict
	Headline  []figure
	Facts     []table
	Charts    []chartView
	About     string
	Latencies *table
	Special   []*table
	Stages    *table
	Verify    *table
	Problems  []string
	Seconds   *table
	Metrics   *table
}

// figure is one number of the headline.
type figure struct{ Label, Value, Note string }

// table has a header cell at the start of each row.
type table struct {
	Caption string
	Head    []string
	Rows    [][]string
	Note    string
}

// chartView holds markup that this package drew itself, its text escaped.
type chartView struct {
	Title   string
	SVG     template.HTML
	Missing string // instead of the chart
}

// viewRun prepares a run; number tells the runs of a page apart.
func viewRun(run *result.Run, number int) *runView {
	v := &runView{
		ID: fmt.Sprintf("run-%d", number), Title: text(run.Scenario), Started: text(run.Started), RunID: text(run.RunID),
		Commit: text(run.Commit), Command: clean(run.Command, 4000), Verdict: judge(run),
		Headline: headline(run), Facts: []table{settingsTable(run), machineTable(run), serverTable(run)},
		About: clean(run.About, 600), Latencies: latencyTable(run), Special: specialTables(run), Stages: stageTable(run), Verify: verifyTable(run),
		Seconds: secondsTable(run), Metrics: metricsTable(run),
	}
	for _, problem := range run.Verify.Problems[:min(len(run.Verify.Problems), problemsMax)] {
		v.Problems = append(v.Problems, clean(problem, 600))
	}
	charts := append([]*chart{percentileChart(run)}, timeCharts(run)...)
	if run.Usage.BytesPerConnection > 0 {
		charts = append(charts, sessionMemoryChart(run))
	}
	for _, name := range drawnLatencies(run) {
		charts = append(charts, histogramChart(run, name))
	}
	for i, c := range charts {
		view := chartView{Title: c.title}
		if c.empty() {
			view.Missing = c.missing
		} else {
			view.SVG = template.HTML(c.svgInline(fmt.Sprintf("%s-chart-%d", v.ID, i))) //nolint:gosec // drawn here, text escaped
		}
		v.Charts = append(v.Charts, view)
	}
	return v
}

// headline picks the figures a reader asks for first.
func headline(run *result.Run) []figure {
	figures := []figure{{"Sessions", integer(run.Settings.Sessions), "asked for"}}
	if measure, _ := stage(run, "measure"); measure.Scheduled > 0 {
		figures = append(figures,
			figure{"Offered", perSecond(measure.Scheduled, measure.Seconds), "operations due, " + loop(run)},
			figure{"Done", perSecond(measure.Succeeded, measure.Seconds), fmt.Sprintf("%s refused, %s unknown", count(measure.Refused), count(measure.Unknown))})
	}
	for _, name := range drawnLatencies(run)[:min(2, len(run.Latencies))] {
		l := run.Latencies[name]
		figures = append(figures, figure{clean(name, 40) + " p99", latencyCell(l, l.P99), "p50 " + latencyCell(l, l.P50) + ", max " + latencyCell(l, l.Max)})
	}
	return append(append(figures, specialFigures(run)...),
		figure{"Lost", count(run.Verify.Lost), fmt.Sprintf("of %s acknowledged; %s doubled, %s out of order", count(run.Verify.Acked), count(run.Verify.Duplicated), count(run.Verify.Reordered))},
		figure{"Server CPU", recorded(run.Usage.ServerCPUPerMessage, micros), "per message"},
		figure{"Server memory", recorded(run.Usage.ServerRSSBytes, size), "per session " + recorded(run.Usage.BytesPerConnection, size)},
		figure{"fsync p50", recorded(run.Host.FsyncP50US, micros), "on " + text(run.Host.FileSystem)},
	)
}

func loop(run *result.Run) string {
	switch run.Settings.Loop {
	case "open", "closed":
		return run.Settings.Loop + " loop"
	}
	return "loop not recorded"
}

// latencyCell is a percentile of a distribution, of which an empty one has none.
func latencyCell(l result.Latency, us float64) string {
	if l.Count == 0 {
		return absent
	}
	return micros(us)
}

func positive(n int) string {
	if n <= 0 {
		return absent
	}
	return integer(n)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func settingsTable(run *result.Run) table {
	s := &run.Settings
	return table{Caption: "Settings", Rows: [][]string{
		{"Loop", text(s.Loop)},
		{"Arrivals", text(s.Arrivals)},
		{"Seed", strconv.FormatUint(s.Seed, 10)},
		{"Sessions", integer(s.Sessions)},
		{"Sessions of the Go SDK beside them", integer(s.SDKSessions)},
		{"Edge processes", integer(s.Edges)},
		{"Transport", text(cmp.Or(s.Transport, "websocket"))},
		{"Seconds between pings", recorded(s.PingSeconds, significant)},
		{"Operations per second", recorded(s.Rate, significant)},
		{"Encoding", text(s.Encoding)},
		{"Agents", integer(s.Agents)},
		{"Corpus", text(s.Corpus)},
		{"Body p50 / p99 / max", fmt.Sprintf("%s / %s / %s", size(float64(s.BodyP50)), size(float64(s.BodyP99)), size(float64(s.BodyMax)))},
		{"Generator on the server's machine", yesNo(s.SameMachine)},
		{"Generator's priority (nice)", integer(s.Nice)},
	}}
}

func machineTable(run *result.Run) table {
	h := &run.Host
	t := table{Caption: "Machine of the generator", Rows: [][]string{
		{"CPU", text(h.CPU)},
		{"Cores", positive(h.Cores)},
		{"Memory", recorded(float64(h.MemoryMiB)*(1<<20), size)},
		{"Kernel", text(h.Kernel)},
		{"Go", text(h.Go)},
		{"GOMAXPROCS", positive(h.GOMAXPROCS)},
		{"Open files", count(h.OpenFiles)},
		{"File system", text(h.FileSystem)},
		{"fsync p50 of 4 KiB", recorded(h.FsyncP50US, micros)},
	}}
	for _, key := range slices.Sorted(maps.Keys(h.Sysctl)) {
		t.Rows = append(t.Rows, []string{text(key), text(h.Sysctl[key])})
	}
	return t
}

func serverTable(run *result.Run) table {
	u := &run.Usage
	return table{Caption: "Server and cost", Rows: [][]string{
		{"URL", text(run.Server.URL)},
		{"Version", text(run.Server.Version)},
		{"Store", text(run.Server.Store)},
		{"Groups", integer(run.Server.Groups)},
		{"CPU seconds, server, measure", recorded(u.ServerCPUSeconds, significant)},
		{"CPU per message, server", recorded(u.ServerCPUPerMessage, micros)},
		{"RSS at the end of measure, server", recorded(u.ServerRSSBytes, size)},
		{"RSS per session (slope)", recorded(u.BytesPerConnection, size)},
		{"R² of the slope", recorded(u.BytesPerConnectionR2, func(v float64) string { return strconv.FormatFloat(v, 'f', 4, 64) })},
		{"CPU seconds, generator", recorded(u.GeneratorCPUSeconds, significant)},
		{"RSS, generator", recorded(u.GeneratorRSSBytes, size)},
	}}
}

func latencyTable(run *result.Run) *table {
	if len(run.Latencies) == 0 {
		return nil
	}
	t := &table{Caption: "Latency of the measure stage, " + loop(run), Head: []string{"Latency", "Count", "Mean", "p50", "p90", "p99", "p99.9", "p99.99", "Max"}}
	for _, name := range latencyNames(run) {
		l := run.Latencies[name]
		row := []string{text(name), count(l.Count)}
		for _, us := range []float64{l.Mean, l.P50, l.P90, l.P99, l.P999, l.P9999, l.Max} {
			row = append(row, latencyCell(l, us))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func stageTable(run *result.Run) *table {
	if len(run.Stages) == 0 {
		return nil
	}
	t := &table{Caption: "Stages", Head: []string{"Stage", "Seconds", "Scheduled", "Started", "Late", "Latest", "Succeeded", "Refused", "Unknown"}}
	for _, s := range run.Stages {
		t.Rows = append(t.Rows, []string{
			text(s.Name), significant(s.Seconds), count(s.Scheduled), count(s.Started), count(s.Late),
			recorded(s.LateMaxMS*1000, micros), count(s.Succeeded), count(s.Refused), count(s.Unknown),
		})
	}
	return t
}

func verifyTable(run *result.Run) *table {
	v := &run.Verify
	return &table{Caption: "Verification", Rows: [][]string{
		{"Acknowledged", count(v.Acked)},
		{"Delivered", count(v.Delivered)},
		{"Read back from history", count(v.ReadBack)},
		{"Lost", count(v.Lost)},
		{"Duplicated", count(v.Duplicated)},
		{"Reordered", count(v.Reordered)},
		{"Gaps", count(v.Gaps)},
		{"Foreign", count(v.Foreign)},
	}}
}

func secondsTable(run *result.Run) *table {
	if len(run.Series) == 0 {
		return nil
	}
	t := &table{Caption: "Every second", Head: []string{"At", "Stage", "Scheduled", "Sent", "Stored", "Delivered", "Sessions", "p50", "p99", "Max", "RSS", "CPU s"}}
	for _, s := range run.Series[:min(len(run.Series), secondsMax)] {
		t.Rows = append(t.Rows, []string{
			significant(s.At), text(s.Stage), count(s.Scheduled), count(s.Sent), count(s.Stored), count(s.Delivered), integer(s.Sessions),
			recorded(s.P50US, micros), recorded(s.P99US, micros), recorded(s.MaxUS, micros), recorded(s.ServerRSS, size), recorded(s.ServerCPU, significant),
		})
	}
	t.Note = beyond(len(run.Series), secondsMax, "seconds")
	return t
}

// metricsTable shows what moved between the two scrapes.
func metricsTable(run *result.Run) *table {
	t := &table{Caption: "Metrics of the server that changed during measure", Head: []string{"Metric", "Before", "After", "Difference"}}
	write := func(v float64) string {
		if !plausible(v) && !plausible(-v) {
			return absent
		}
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	for _, name := range slices.Sorted(maps.Keys(run.Usage.After)) {
		before, after := run.Usage.Before[name], run.Usage.After[name]
		if before != after {
			t.Rows = append(t.Rows, []string{text(name), write(before), write(after), write(after - before)})
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	t.Note = beyond(len(t.Rows), metricsMax, "metrics")
	t.Rows = t.Rows[:min(len(t.Rows), metricsMax)]
	return t
}

// beyond says what a table leaves out.
func beyond(n, shown int, what string) string {
	if n <= shown {
		return ""
	}
	return fmt.Sprintf("The first %s of %s %s; the result file has all.", integer(shown), integer(n), what)
}
