package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/godwit-im/godwit/harness/result"
)

// benchSummary is the line scripts read. Counts and latencies are of operations
// that were due in the measure stage.
type benchSummary struct {
	Scenario string          `json:"scenario"`
	Valid    bool            `json:"valid"`
	Invalid  string          `json:"invalid,omitempty"` // why
	Sessions int             `json:"sessions"`
	SDK      int             `json:"sdk_sessions"` // beside sessions; none of what follows but the checks is theirs
	Edges    *edgeSummary    `json:"edges,omitempty"`
	Sweep    *sweepLines     `json:"sweep,omitempty"`
	Targets  []result.Target `json:"targets,omitempty"`
	Missed   int             `json:"missed"` // targets
	Slow     *slowSummary    `json:"slow,omitempty"`
	Flap     *flapSummary    `json:"flap,omitempty"`

	Offered    uint64 `json:"offered"`
	Acked      uint64 `json:"acked"`
	Delivered  uint64 `json:"delivered"`
	Refused    uint64 `json:"refused"`
	Unknown    uint64 `json:"unknown"`
	Late       uint64 `json:"late"`
	Lost       uint64 `json:"lost"`
	Duplicated uint64 `json:"duplicated"`
	Reordered  uint64 `json:"reordered"`
	Gaps       uint64 `json:"gaps"`
	Foreign    uint64 `json:"foreign"`
	ReadBack   uint64 `json:"read_back"`

	AckP50     float64 `json:"ack_p50_ms"`
	AckP99     float64 `json:"ack_p99_ms"`
	DeliverP50 float64 `json:"deliver_p50_ms"`
	DeliverP99 float64 `json:"deliver_p99_ms"`

	ServerCPU      float64 `json:"server_cpu_us_per_message"`
	ServerCores    float64 `json:"server_cpu_cores"` // in the measure stage
	GeneratorCores float64 `json:"generator_cpu_cores"`
	RSSPerSession  float64 `json:"rss_per_session,omitempty"` // bytes
	FsyncP50       float64 `json:"fsync_p50_us"`
	FileSystem     string  `json:"filesystem"`
}

// slowSummary is what became of slow consumers, and of the others beside them.
type slowSummary struct {
	Silent     int               `json:"silent"`
	Asking     int               `json:"asking"`
	WindowFull int               `json:"window_full"`
	CutOff     int               `json:"cut_off"`
	CloseCodes map[string]uint64 `json:"close_codes"`
	BeforeP50  float64           `json:"others_before_p50_ms"`
	BesideP50  float64           `json:"others_beside_p50_ms"`
	BeforeP99  float64           `json:"others_before_p99_ms"`
	BesideP99  float64           `json:"others_beside_p99_ms"`
}

// flapSummary is what flapping users cost the others.
type flapSummary struct {
	Turns         uint64  `json:"turns"`
	Skipped       uint64  `json:"skipped"`
	Frames        uint64  `json:"frames"`
	FramesPerSMax uint64  `json:"frames_per_s_max"`
	QuietP50      float64 `json:"quiet_p50_ms"`
	FlappingP50   float64 `json:"flapping_p50_ms"`
	QuietP99      float64 `json:"quiet_p99_ms"`
	FlappingP99   float64 `json:"flapping_p99_ms"`
	QuietCores    float64 `json:"quiet_cores"`
	FlappingCores float64 `json:"flapping_cores"`
}

func summarize(run *result.Run) benchSummary {
	v := &run.Verify
	s := benchSummary{
		Scenario: run.Scenario, Valid: run.Invalid == "" && v.OK(), Invalid: run.Invalid, Sessions: run.Settings.Sessions,
		SDK: run.Settings.SDKSessions, Targets: run.Targets, Missed: len(run.Missed()), Edges: summarizeEdges(run), Sweep: summarizeSweep(run),
		Lost: v.Lost, Duplicated: v.Duplicated, Reordered: v.Reordered, Gaps: v.Gaps, Foreign: v.Foreign, ReadBack: v.ReadBack,
		ServerCPU: run.Usage.ServerCPUPerMessage, RSSPerSession: run.Usage.BytesPerConnection,
		FsyncP50: run.Host.FsyncP50US, FileSystem: run.Host.FileSystem,
	}
	if w := run.Slow; w != nil {
		s.Slow = &slowSummary{
			w.Silent, w.Asking, w.WindowFull, w.CutOff, w.CloseCodes,
			w.OthersBefore.P50 / 1000, w.OthersBeside.P50 / 1000, w.OthersBefore.P99 / 1000, w.OthersBeside.P99 / 1000,
		}
	}
	if f := run.Flap; f != nil {
		s.Flap = &flapSummary{
			f.Turns, f.Skipped, f.Frames, f.FramesPerSMax, f.Quiet.P50 / 1000, f.Flapping.P50 / 1000, f.Quiet.P99 / 1000, f.Flapping.P99 / 1000,
			f.QuietCores, f.FlappingCores,
		}
	}
	for _, stage := range run.Stages {
		if stage.Name == "measure" {
			if stage.Seconds > 0 {
				s.ServerCores, s.GeneratorCores = run.Usage.ServerCPUSeconds/stage.Seconds, run.Usage.GeneratorCPUSeconds/stage.Seconds
			}
			s.Offered, s.Refused, s.Unknown, s.Late = stage.Scheduled, stage.Refused, stage.Unknown, stage.Late
		}
	}
	stored, delivered := run.Latencies["send→stored"], run.Latencies["send→delivered"]
	s.Acked, s.AckP50, s.AckP99 = stored.Count, stored.P50/1000, stored.P99/1000
	s.Delivered, s.DeliverP50, s.DeliverP99 = delivered.Count, delivered.P50/1000, delivered.P99/1000
	if run.Slow != nil {
		s.Delivered += run.Slow.ToSlow.Count // their latency is their own doing
	}
	return s
}

// benchPrint prints the summary: one line of JSON, or a few for people.
func (a *app) benchPrint(run *result.Run) error {
	s := summarize(run)
	if a.json {
		return a.printJSON(s)
	}
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(a.stdout, format+"\n", args...) }
	p("%s: %d sessions, %s loop, payloads of %d/%d/%d bytes (p50/p99/max)", s.Scenario, s.Sessions, run.Settings.Loop, run.Settings.BodyP50, run.Settings.BodyP99, run.Settings.BodyMax)
	printEdges(p, s.Edges)
	if s.Offered > 0 {
		p("offered %d, refused %d, unknown %d, late %d", s.Offered, s.Refused, s.Unknown, s.Late)
	}
	for _, name := range slices.Sorted(maps.Keys(run.Latencies)) {
		l := run.Latencies[name]
		p("%-22s %8d  p50 %.3f ms  p99 %.3f ms  p99.99 %.3f ms  max %.3f ms", name, l.Count, l.P50/1000, l.P99/1000, l.P9999/1000, l.Max/1000)
	}
	if s.ServerCPU > 0 {
		p("server CPU %.1f µs per operation", s.ServerCPU)
	}
	if s.ServerCores > 0 {
		p("CPU while measuring: server %.3f cores, generator %.3f cores", s.ServerCores, s.GeneratorCores)
	}
	if s.RSSPerSession > 0 {
		p("server memory %.0f bytes per session (R² %.4f)", s.RSSPerSession, run.Usage.BytesPerConnectionR2)
	}
	printSweep(p, s.Sweep)
	if sdk := run.SDK; sdk != nil {
		p("beside them %d sessions of the Go SDK by %s: offered %d, acked %d, delivered %d, %d connections cut, %d reconnects", sdk.Sessions, cmp.Or(sdk.Transport, "websocket"), sdk.Offered, sdk.Acked, sdk.Delivered, sdk.Cut, sdk.Reconnects)
	}
	if w := s.Slow; w != nil {
		p("slow: %d silent, %d asking; %d held back at the window, %d cut off, closes by code %v", w.Silent, w.Asking, w.WindowFull, w.CutOff, w.CloseCodes)
		p("the others' send→delivered: p50 %.3f ms, p99 %.3f ms before; p50 %.3f ms, p99 %.3f ms beside the slow ones", w.BeforeP50, w.BeforeP99, w.BesideP50, w.BesideP99)
	}
	if f := s.Flap; f != nil {
		p("flapping: %d times somebody came or went (%d left out); %d frames of presence, at most %d in a second", f.Turns, f.Skipped, f.Frames, f.FramesPerSMax)
		p("the others' send→delivered: p50 %.3f ms, p99 %.3f ms while nobody flaps; p50 %.3f ms, p99 %.3f ms beside it; server %.2f and %.2f cores", f.QuietP50, f.QuietP99, f.FlappingP50, f.FlappingP99, f.QuietCores, f.FlappingCores)
	}
	p("fsync p50 %.0f µs on %s", s.FsyncP50, s.FileSystem)
	p("verified: lost %d, duplicated %d, reordered %d, gaps %d, foreign %d; %d entries read back", s.Lost, s.Duplicated, s.Reordered, s.Gaps, s.Foreign, s.ReadBack)
	for _, problem := range run.Verify.Problems {
		p("  %s", problem)
	}
	for _, t := range run.Targets {
		word := "met   "
		if !t.Met {
			word = "MISSED"
		}
		p("%s  %s: %s", word, t.Text, t.Measured)
	}
	if run.Invalid != "" {
		p("INVALID: %s", run.Invalid)
	}
	return nil
}
