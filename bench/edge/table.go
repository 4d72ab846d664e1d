package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// target is one figure of the summary and what the design wants of it.
type target struct {
	name  string
	value figure
	bound float64
	least bool // bound is the least, else the most
}

func (t target) hit() bool {
	switch {
	case t.value == nil: // what was not measured hits nothing
		return false
	case t.least:
		return *t.value >= t.bound
	}
	return *t.value <= t.bound
}

func (t target) String() string {
	sign, verdict := "≤", "MISS"
	if t.least {
		sign = "≥"
	}
	if t.hit() {
		verdict = "hit"
	}
	return fmt.Sprintf("%s\t%s\t%s %g\t%s", t.name, show(t.value), sign, t.bound, verdict)
}

func show(f figure) string {
	if f == nil {
		return "null"
	}
	return fmt.Sprintf("%g", *f)
}

// allocationsMost: the target is none by a message; the process's own business
// in the background and the questions of this program make a few.
const allocationsMost = 0.01

// targets are those of the design, for this run.
func targets(s *summary) []target {
	list := []target{
		{"rss_per_idle_session", s.RSSIdle, 1024, false},
		{figurePoll, s.RSSPoll, 1280, false},
		{"gc_ms", s.Collect, 10, false},
		{"echo_vs_floor", s.EchoFloor, 1.2, false},
		{"echo_vs_gws", s.EchoGws, 0.85, false},
		{"pipelined16_vs_gws", s.PipelinedGws, 0.2, false},
		{"allocs_per_message", s.Allocations, allocationsMost, false},
		{"copied_per_byte", s.CopiedPerByte, 0.02, false},
		{"push_flood_vs_gws", s.FloodGws, 4, true},
		{"push_p50_vs_gws", s.PacedP50Gws, 2, false},
		{"push_p99_vs_gws", s.PacedP99Gws, 1, false},
		{"broadcast_vs_gws", s.BroadcastGws, 0.8, false},
	}
	if s.MostActive > 0 {
		list = append(list,
			target{"echo_vs_floor_most_active", s.MostEchoFloor, 1.2, false},
			target{"echo_vs_gws_most_active", s.MostEchoGws, 0.85, false})
	}
	if s.Full {
		list = append(list,
			target{"rss_last_step_vs_first", s.RSSBend, 1.1, false},
			target{"rss_poll_last_step_vs_first", s.PollBend, 1.1, false})
	}
	return list
}

// writeTables prints everything that was measured, for people.
func writeTables(w io.Writer, r *runner, s summary) {
	fmt.Fprintf(w, "\n%d interleaved rounds, medians; server and client on a core each\n\n", s.Rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "server\tactive\tpipelined\techo/s\tCPU µs/msg\tlow\thigh\tcalls/msg\t")
	for _, c := range r.echoCases() {
		for _, name := range r.servers {
			rounds := r.measured.echo[c][name]
			if len(rounds) == 0 {
				continue
			}
			cpu, calls := spreadOf(values(rounds, echoResult.cpuMicros)), "—"
			if v, ok := r.measured.calls[name]; ok && c == r.echoCases()[0] {
				calls = fmt.Sprintf("%.2f", v)
			}
			fmt.Fprintf(t, "%s\t%d\t%d\t%.0f\t%.2f\t%.2f\t%.2f\t%s\t\n", name, c.Active, c.Pipelined,
				spreadOf(values(rounds, echoResult.perSecond)).Median, cpu.Median, cpu.Low, cpu.High, calls)
		}
	}
	_ = t.Flush()
	writeMemory(w, r)
	writePushes(w, r)
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "figure\tvalue\ttarget\t\tlow–high")
	for _, x := range targets(&s) {
		low := ""
		if sp := s.Spread[x.name]; sp != nil {
			low = fmt.Sprintf("%g–%g", sp.Low, sp.High)
		}
		if why := s.Reasons[x.name]; x.value == nil && why != "" {
			low = why
		}
		fmt.Fprintf(t, "%s\t%s\n", x, low)
	}
	_ = t.Flush()
}

func writeMemory(w io.Writer, r *runner) {
	fmt.Fprintln(w, "\nUser-space memory of the server's process:")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "server\tconnections\tB each\tlast step/first\tMiB with the most\t")
	for _, name := range r.servers {
		for _, k := range []kind{kindSession, kindPoll, kindEcho, kindRaw} {
			points := r.measured.memory[memoryName(name, k)]
			if len(points) == 0 {
				continue
			}
			last := points[len(points)-1]
			fmt.Fprintf(t, "%s\t%d %s\t%.0f\t%.2f\t%.1f\t\n", name, last.Connections, k, slope(points), bend(points), float64(last.Resident)/(1<<20))
		}
	}
	_ = t.Flush()
}

func writePushes(w io.Writer, r *runner) {
	fmt.Fprintf(w, "\nPushes of %d bytes to %d sessions; latency from when each was due:\n", eventBytes, r.sessions)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "server\tpush\tdelivered/s\tCPU µs each\tp50 µs\tp99 µs\tp99.9 µs\t")
	for _, op := range []string{opFlood, opBroadcast, opPaced} {
		for _, name := range r.servers {
			rounds := r.measured.push[op][name]
			if len(rounds) == 0 {
				continue
			}
			latencies := "—\t—\t—"
			if slices.ContainsFunc(rounds, func(p pushRound) bool { return p.Arrived.Stamped > 0 }) {
				p := func(f func(pushRound) float64) float64 { return spreadOf(values(rounds, f)).Median }
				latencies = fmt.Sprintf("%.0f\t%.0f\t%.0f", p(func(p pushRound) float64 { return p.Arrived.Due.P50 }),
					p(func(p pushRound) float64 { return p.Arrived.Due.P99 }), p(func(p pushRound) float64 { return p.Arrived.Due.P999 }))
			}
			fmt.Fprintf(t, "%s\t%s\t%.0f\t%.2f\t%s\t\n", name, op, spreadOf(values(rounds, pushRound.perSecond)).Median,
				spreadOf(values(rounds, pushRound.cpuMicros)).Median, latencies)
		}
	}
	_ = t.Flush()
}
