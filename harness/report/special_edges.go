package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/godwit-im/godwit/harness/result"
)

// edgeFigures are the headline of servers with edge processes, and of ramps.
func edgeFigures(run *result.Run) (figures []figure) {
	if e := run.Edges; e != nil && e.Crossed+e.Within > 0 {
		figures = append(figures, figure{"Deliveries across edge processes", percent(e.CrossedShare()), fmt.Sprintf("of %s; %s edge processes", count(e.Crossed+e.Within), integer(run.Settings.Edges))})
	}
	if s := run.Sweep; s != nil && len(s.Points) > 0 {
		last := s.Points[len(s.Points)-1]
		note := "both ends of each, " + recorded(last.MachineBytes, size) + " of memory in all"
		if !run.Settings.SameMachine {
			note = "the generator is elsewhere"
		}
		if s.Stopped != "" {
			note += "; " + clean(s.Stopped, 300)
		}
		figures = append(figures, figure{"Sessions reached", integer(last.Sessions), note})
	}
	return figures
}

func percent(share float64) string {
	if !plausible(share) {
		return absent
	}
	return significant(100*share) + " %"
}

// rowsMax bounds the processes that a table lists one by one.
const rowsMax = 8

// processTables are the engine and the edge processes; of many edge processes
// their sum.
func processTables(run *result.Run) []*table {
	all := run.Usage.Processes
	if len(all) == 0 {
		return nil
	}
	measure, _ := stage(run, "measure")
	t := &table{Caption: "Each process of the server during measure", Head: []string{"Process", "Sessions", "CPU seconds", "CPU", "RSS at the end"}}
	row := func(name string, p result.ProcessUsage) {
		share := absent
		if measure.Seconds > 0 {
			share = percent(p.CPUSeconds / measure.Seconds)
		}
		t.Rows = append(t.Rows, []string{name, positive(p.Sessions), recorded(p.CPUSeconds, significant), share, recorded(p.RSSBytes, size)})
	}
	if len(all) <= rowsMax {
		for _, p := range all {
			row(clean(p.Name, 60), p)
		}
	} else {
		var sum result.ProcessUsage
		least, most := all[1].RSSBytes, all[1].RSSBytes
		for _, p := range all[1:] {
			sum.Sessions, sum.CPUSeconds, sum.RSSBytes = sum.Sessions+p.Sessions, sum.CPUSeconds+p.CPUSeconds, sum.RSSBytes+p.RSSBytes
			least, most = min(least, p.RSSBytes), max(most, p.RSSBytes)
		}
		row(clean(all[0].Name, 60), all[0])
		row(integer(len(all)-1)+" edge processes together", sum)
		t.Note = fmt.Sprintf("The smallest edge process has %s of RSS, the largest %s.", recorded(least, size), recorded(most, size))
	}
	return []*table{t}
}

// sweepTables are what sessions cost, as lines and as the points of them.
func sweepTables(run *result.Run) []*table {
	s := run.Sweep
	if s == nil || len(s.Points) == 0 {
		return nil
	}
	lines := &table{Caption: "Cost of an idle session, by least squares over the steps", Head: []string{"Of what", "Per session", "Without any", "R²"}}
	row := func(name string, l result.Line, one, all func(float64) string) {
		if l.Slope != 0 { // else too few points, or none above what was there before
			lines.Rows = append(lines.Rows, []string{name, signed(l.Slope, one), signed(l.Intercept, all), recorded(l.R2, ratio)})
		}
	}
	bytes := func(v float64) string { return significant(v) + " B" }
	row("Server's processes, resident", s.User, bytes, size)
	ends := "Kernel, slab and TCP buffers"
	if run.Settings.SameMachine {
		ends += ", both ends"
	}
	row(ends, s.Kernel, bytes, size)
	row("Generator's processes, resident", s.Client, bytes, size)
	row("Machine's memory in all", s.All, bytes, size)
	if s.CPU != nil {
		second := func(cores float64) string { return micros(cores * 1e6) }
		row("Server's CPU per second", *s.CPU, second, second)
	}
	lines.Note = "Resident memory counts pages that processes share, such as the program, once for each; that is in the column without sessions."
	points := &table{Caption: "Steps of the ramp, at rest", Head: []string{"Sessions", "Connected in", "Server", "Kernel", "Generator", "In all", "CPU server", "CPU generator"}}
	for _, p := range s.Points[:min(len(s.Points), trialsMax)] {
		points.Rows = append(points.Rows, []string{
			integer(p.Sessions), recorded(p.ConnectSeconds*1e6, micros), recorded(p.UserBytes, size), recorded(p.KernelBytes, size), recorded(p.ClientBytes, size),
			recorded(p.MachineBytes, size), recorded(p.CPUCores, cores), recorded(p.ClientCores, cores),
		})
	}
	points.Note = beyond(len(s.Points), trialsMax, "steps")
	if len(lines.Rows) == 0 {
		return []*table{points}
	}
	return []*table{lines, points}
}

func cores(v float64) string { return significant(v) + " cores" }

func ratio(v float64) string { return strconv.FormatFloat(v, 'f', 4, 64) }

// signed writes what may be below zero: the end of a line that was laid through
// points.
func signed(v float64, write func(float64) string) string {
	if v < 0 && !math.IsInf(v, 0) {
		return "-" + strings.TrimPrefix(write(-v), "-")
	}
	return write(v)
}
