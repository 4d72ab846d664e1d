package main

import "slices"

// summary is the line of JSON at the end. A figure that was not measured is
// null, and Reasons says why. Ratios are medians of the rounds' ratios; those of
// echoes are of the server's CPU time per message.
type summary struct {
	Rounds         int    `json:"rounds"`
	Sessions       int    `json:"sessions"` // of each server
	Active         int    `json:"active"`   // of those, in the echo rounds
	RSSIdle        figure `json:"rss_per_idle_session"`
	RSSPoll        figure `json:"rss_per_held_poll"`
	EchoFloor      figure `json:"echo_vs_floor"`
	EchoGws        figure `json:"echo_vs_gws"`
	PipelinedGws   figure `json:"pipelined16_vs_gws"`
	FloodGws       figure `json:"push_flood_vs_gws"`
	PacedP50Gws    figure `json:"push_p50_vs_gws"`
	PacedP99Gws    figure `json:"push_p99_vs_gws"`
	BroadcastGws   figure `json:"broadcast_vs_gws"`
	Allocations    figure `json:"allocs_per_message"`
	CopiedPerByte  figure `json:"copied_per_byte"`
	CallsPerEcho   figure `json:"syscalls_per_message"`
	Collect        figure `json:"gc_ms"`
	CollectedWith  int    `json:"gc_sessions"`
	MostActive     int    `json:"most_active,omitempty"` // full runs only, as the rest
	MostEchoFloor  figure `json:"echo_vs_floor_most_active,omitempty"`
	MostEchoGws    figure `json:"echo_vs_gws_most_active,omitempty"`
	RSSBend        figure `json:"rss_last_step_vs_first,omitempty"`
	PollBend       figure `json:"rss_poll_last_step_vs_first,omitempty"`
	Full           bool   `json:"full,omitempty"`
	PushedPerEvent int    `json:"push_bytes"` // of one pushed message with its event, for all

	Spread  map[string]*spread `json:"spread"`
	Reasons map[string]string  `json:"reasons,omitempty"`
}

// Names of figures that may be missing for a reason of their own.
const (
	figurePoll  = "rss_per_held_poll"
	figureCalls = "syscalls_per_message"
)

func summarize(r *runner) summary {
	m := &r.measured
	s := summary{
		Sessions: r.sessions, Active: r.active[0], Full: r.full, PushedPerEvent: eventBytes,
		CollectedWith: slices.Max(r.memorySteps), Spread: map[string]*spread{}, Reasons: m.reasons,
	}
	keep := func(name string, of *spread) figure {
		if of == nil {
			s.Reasons[name] = "no round measured it"
			return nil
		}
		s.Spread[name] = of
		return of.figure()
	}
	echo := func(name string, c echoCase, against string) figure {
		by := m.echo[c]
		return keep(name, spreadOf(ratios(by[nameEdge], by[against], echoResult.cpuMicros)))
	}
	one, many := echoCase{r.active[0], 1}, echoCase{r.active[0], pipelined}
	s.Rounds = len(m.echo[one][nameEdge])
	s.EchoFloor = echo("echo_vs_floor", one, nameFloor)
	s.EchoGws = echo("echo_vs_gws", one, nameGws)
	s.PipelinedGws = echo("pipelined16_vs_gws", many, nameGws)
	if most := r.active[len(r.active)-1]; most != r.active[0] {
		s.MostActive = most
		s.MostEchoFloor = echo("echo_vs_floor_most_active", echoCase{most, 1}, nameFloor)
		s.MostEchoGws = echo("echo_vs_gws_most_active", echoCase{most, 1}, nameGws)
	}
	push := func(name, op string, f func(pushRound) float64) figure {
		by := m.push[op]
		return keep(name, spreadOf(ratios(by[nameEdge], by[nameGws], f)))
	}
	s.FloodGws = push("push_flood_vs_gws", opFlood, pushRound.perSecond)
	s.PacedP50Gws = push("push_p50_vs_gws", opPaced, func(p pushRound) float64 { return p.Arrived.Due.P50 })
	s.PacedP99Gws = push("push_p99_vs_gws", opPaced, func(p pushRound) float64 { return p.Arrived.Due.P99 })
	s.BroadcastGws = push("broadcast_vs_gws", opBroadcast, pushRound.cpuMicros)
	s.Collect = keep("gc_ms", spreadOf(m.collect))
	s.memory(r)
	s.perMessage(r)
	return s
}

// memory sets what one connection takes.
func (s *summary) memory(r *runner) {
	idle, polls := r.measured.memory[memoryName(nameEdge, kindSession)], r.measured.memory[memoryName(nameEdge, kindPoll)]
	s.RSSIdle, s.RSSPoll = of(slope(idle)), of(slope(polls))
	if r.full {
		s.RSSBend, s.PollBend = of(bend(idle)), of(bend(polls))
	}
}

// perMessage sets what the edge alone was asked.
func (s *summary) perMessage(r *runner) {
	m := &r.measured
	s.Allocations = of(over(float64(m.allocations), float64(m.messages)))
	if m.messages == 0 {
		s.Allocations, s.Reasons["allocs_per_message"] = nil, "no message was counted"
	}
	s.CopiedPerByte = of(over(float64(m.bytesCopied), float64(m.bytesIn)))
	if m.bytesIn == 0 {
		s.CopiedPerByte, s.Reasons["copied_per_byte"] = nil, "the edge counted no bytes"
	}
	if v, ok := m.calls[nameEdge]; ok {
		s.CallsPerEcho = of(v)
	}
}
