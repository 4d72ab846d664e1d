package main

import (
	"fmt"

	"github.com/godwit-im/godwit/harness/result"
)

// edgeSummary is what each process of a server with edge processes used, and what
// went on between them.
type edgeSummary struct {
	Processes []processSummary `json:"processes"`
	Crossed   uint64           `json:"crossed"` // deliveries between sessions on different edge processes
	Within    uint64           `json:"within"`
	Share     float64          `json:"crossed_share"`
}

type processSummary struct {
	Name     string  `json:"name"`
	Sessions int     `json:"sessions"`
	CPU      float64 `json:"cpu_cores"` // in the measure stage
	RSS      float64 `json:"rss_bytes"` // at its end
}

func summarizeEdges(run *result.Run) *edgeSummary {
	e := run.Edges
	if e == nil {
		return nil
	}
	s := &edgeSummary{Crossed: e.Crossed, Within: e.Within, Share: e.CrossedShare(), Processes: []processSummary{}}
	seconds := 0.0
	for _, stage := range run.Stages {
		if stage.Name == "measure" {
			seconds = stage.Seconds
		}
	}
	for _, p := range run.Usage.Processes {
		one := processSummary{Name: p.Name, Sessions: p.Sessions, RSS: p.RSSBytes}
		if seconds > 0 {
			one.CPU = p.CPUSeconds / seconds
		}
		s.Processes = append(s.Processes, one)
	}
	return s
}

// processesMax is how many processes are printed one by one.
const processesMax = 8

func sumOfEdges(edges []processSummary) processSummary {
	sum := processSummary{Name: fmt.Sprintf("%d edges", len(edges))}
	for _, one := range edges {
		sum.Sessions, sum.CPU, sum.RSS = sum.Sessions+one.Sessions, sum.CPU+one.CPU, sum.RSS+one.RSS
	}
	return sum
}

func printEdges(p func(string, ...any), s *edgeSummary) {
	if s == nil {
		return
	}
	shown := s.Processes
	if len(shown) > processesMax {
		shown = append(shown[:1:1], sumOfEdges(shown[1:]))
	}
	for _, one := range shown {
		p("%-16s %8d sessions  RSS %7.1f MiB  CPU %.3f cores", one.Name, one.Sessions, one.RSS/(1<<20), one.CPU)
	}
	if s.Crossed+s.Within == 0 {
		return
	}
	p("share of deliveries that crossed processes: %.1f %% (%d of %d)", 100*s.Share, s.Crossed, s.Crossed+s.Within)
}

// sweepLines is what a session costs, as straight lines over the steps of the ramp.
type sweepLines struct {
	Reached int          `json:"reached"` // sessions
	Stopped string       `json:"stopped,omitempty"`
	User    result.Line  `json:"user_bytes"`
	Kernel  result.Line  `json:"kernel_bytes"`
	Client  result.Line  `json:"client_bytes"`
	All     result.Line  `json:"machine_bytes"`
	CPU     *result.Line `json:"cpu_cores,omitempty"`
	InAll   float64      `json:"memory_bytes"` // with all sessions: what the machine has less than before
}

func summarizeSweep(run *result.Run) *sweepLines {
	s := run.Sweep
	if s == nil || len(s.Points) == 0 {
		return nil
	}
	last := s.Points[len(s.Points)-1]
	return &sweepLines{Reached: last.Sessions, Stopped: s.Stopped, User: s.User, Kernel: s.Kernel, Client: s.Client, All: s.All, CPU: s.CPU, InAll: last.MachineBytes}
}

func printSweep(p func(string, ...any), s *sweepLines) {
	if s == nil {
		return
	}
	p("reached %d sessions, %.2f GiB of the machine's memory in all", s.Reached, s.InAll/(1<<30))
	if s.Stopped != "" {
		p("%s", s.Stopped)
	}
	line := func(name string, l result.Line, scale float64, unit string) {
		p("%-28s %s per session, %s without any, R² %.4f", name, fmt.Sprintf("%.4g %s", l.Slope*scale, unit), fmt.Sprintf("%.4g %s", l.Intercept*scale, unit), l.R2)
	}
	line("server's processes", s.User, 1, "B")
	line("kernel, of this machine", s.Kernel, 1, "B")
	line("generator's processes", s.Client, 1, "B")
	line("in all", s.All, 1, "B")
	if s.CPU != nil {
		line("server's CPU a second", *s.CPU, 1e6, "µs")
	}
}
