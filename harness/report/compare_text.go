package report

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/godwit-im/godwit/harness/result"
)

// WriteText writes the comparison as a table for a terminal.
func (c *Comparison) WriteText(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: A is %s (%s), B is %s (%s)\n", c.Scenario, clean(c.A, 200), runs(c.RunsA), clean(c.B, 200), runs(c.RunsB))
	for _, warning := range c.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", warning)
	}
	b.WriteByte('\n')
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "figure\tA\tB\tB/A\t95 % interval\tverdict")
	for _, row := range c.Rows {
		interval := absent
		if row.Interval != nil {
			interval = fmt.Sprintf("%.3f … %.3f", row.Interval.Low, row.Interval.High)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%.3f\t%s\t%s\n", row.Figure, inUnit(row.A, row.Unit), inUnit(row.B, row.Unit), row.Ratio, interval, row.Verdict)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("lay out comparison: %w", err)
	}
	if c.RunsA < 2 || c.RunsB < 2 {
		b.WriteString("\nNo interval can be given: that takes two runs on each side, better five. One ratio of two single runs proves nothing.\n")
	} else if len(c.Rows) > 0 {
		fmt.Fprintf(&b, "\nMeans are geometric, intervals Welch's on logs. Of %d figures that do not differ, one in twenty shows a difference by chance.\n", len(c.Rows))
	}
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

func runs(n int) string {
	if n == 1 {
		return "1 run"
	}
	return strconv.Itoa(n) + " runs"
}

func inUnit(v float64, unit string) string {
	switch unit {
	case "µs":
		return micros(v)
	case "B":
		return size(v)
	}
	return significant(v) + " " + unit
}

// WriteBenchstat writes sides in the benchmark format of Go, one line a run, for
// `benchstat -col side`: the key tells sides apart, and needs no second file.
func WriteBenchstat(w io.Writer, sides ...Side) error {
	var b bytes.Buffer
	for _, unit := range []string{"p50-sec/op", "p90-sec/op", "p99-sec/op", "p99.9-sec/op", "max-sec/op", "server-CPU-sec/op", "server-RSS-B", "RSS-B/session"} {
		fmt.Fprintf(&b, "Unit %s better=lower\n", unit)
	}
	b.WriteString("Unit op/s better=higher\n")
	for _, side := range sides {
		fmt.Fprintf(&b, "side: %s\n", clean(side.Name, 200))
		for _, run := range side.Runs {
			appendRun(&b, run)
		}
	}
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("write benchmark lines: %w", err)
	}
	return nil
}

// appendRun writes a line for each latency and one for the rest.
func appendRun(b *bytes.Buffer, run *result.Run) {
	procs := ""
	if run.Host.GOMAXPROCS > 1 {
		procs = "-" + strconv.Itoa(run.Host.GOMAXPROCS)
	}
	line := func(name string, iterations uint64, values string) {
		if iterations > 0 && values != "" {
			fmt.Fprintf(b, "Benchmark%s%s %d%s\n", name, procs, iterations, values)
		}
	}
	value := func(v float64, unit string) string {
		if v <= 0 || !plausible(v) {
			return ""
		}
		return " " + strconv.FormatFloat(v, 'g', 8, 64) + " " + unit
	}
	scenario := "Scenario=" + word(run.Scenario)
	for _, name := range latencyNames(run) {
		l := run.Latencies[name]
		line(scenario+"/latency="+word(name), l.Count, value(l.P50/1e6, "p50-sec/op")+value(l.P90/1e6, "p90-sec/op")+
			value(l.P99/1e6, "p99-sec/op")+value(l.P999/1e6, "p99.9-sec/op")+value(l.Max/1e6, "max-sec/op"))
	}
	measure, _ := stage(run, "measure")
	rate := ""
	if measure.Seconds > 0 {
		rate = value(float64(measure.Succeeded)/measure.Seconds, "op/s")
	}
	line(scenario, max(measure.Succeeded, 1), rate+value(run.Usage.ServerCPUPerMessage/1e6, "server-CPU-sec/op")+
		value(run.Usage.ServerRSSBytes, "server-RSS-B")+value(run.Usage.BytesPerConnection, "RSS-B/session"))
}

// word makes a name one field of a benchmark line, and one part of its name.
func word(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '/' || r == '=' {
			return '_'
		}
		return r
	}, clean(name, 60))
	if name == "" {
		return "unnamed"
	}
	return name
}
