package report

import (
	"fmt"

	"github.com/godwit-im/godwit/harness/result"
)

// Expectation is a figure that was promised before it was measured. A miss is
// shown as a miss.
type Expectation struct {
	Text     string
	Measured string
	Met      bool
}

// What was expected of the first cut.
const (
	idleSessionBytesMax = 2048
	idleSessions        = 19_000
	deliverP50MaxUS     = 3000
)

// What was expected of presence under attack: 5,000 users who flap once a second
// before 1,000 who watch 50 each, against the same chat without them.
const (
	flapSessions     = 6000
	flapFramesPerS   = 2000 // of one edge process: presence.per_s, unless it was configured
	flapP50TimesMax  = 1.2
	flapP99TimesMax  = 2
	flapSessionsText = ", with 6,000 sessions or more"
)

// Word is for the page.
func (e Expectation) Word() string {
	if e.Met {
		return "met"
	}
	return "missed"
}

// expectationsMax bounds the targets of a run that are shown.
const expectationsMax = 20

// expectations holds a run to what was promised of its scenario, and to the
// targets the scenario has itself.
func expectations(run *result.Run) (all []Expectation) {
	all = promised(run)
	for _, t := range run.Targets[:min(len(run.Targets), expectationsMax)] {
		all = append(all, Expectation{Text: t.Text, Measured: t.Measured, Met: t.Met})
	}
	return all
}

func promised(run *result.Run) []Expectation {
	switch run.Scenario {
	case "idle-connections":
		perSession := run.Usage.BytesPerConnection
		return []Expectation{{
			Text:     fmt.Sprintf("at most %s of server memory per idle session, at %s sessions or more", size(idleSessionBytesMax), integer(idleSessions)),
			Measured: fmt.Sprintf("%s at %s sessions", recorded(perSession, size), integer(run.Settings.Sessions)),
			Met:      perSession > 0 && perSession <= idleSessionBytesMax && run.Settings.Sessions >= idleSessions,
		}}
	case "dm-chat":
		l := run.Latencies["send→delivered"]
		return []Expectation{{
			Text:     fmt.Sprintf("durable send→delivered p50 under %s", micros(deliverP50MaxUS)),
			Measured: fmt.Sprintf("%s at %s operations/s", latencyCell(l, l.P50), recorded(run.Settings.Rate, significant)),
			Met:      l.Count > 0 && l.P50 > 0 && l.P50 < deliverP50MaxUS,
		}}
	case "presence-flap", "presence-churn":
		return promisedFlap(run)
	}
	return nil
}

func promisedFlap(run *result.Run) []Expectation {
	f := run.Flap
	if f == nil {
		return nil
	}
	large := run.Settings.Sessions >= flapSessions
	budget := uint64(flapFramesPerS * max(1, run.Settings.Edges))
	compared := func(name string, with, without, most float64) Expectation {
		e := Expectation{Text: fmt.Sprintf("chat's %s beside flapping at most %s of that without%s", name, times(most), flapSessionsText), Measured: absent}
		if plausible(with) && plausible(without) && with > 0 && without > 0 {
			e.Measured = fmt.Sprintf("%s, %s against %s, at %s sessions", times(with/without), micros(with), micros(without), integer(run.Settings.Sessions))
			e.Met = large && with/without <= most
		}
		return e
	}
	return []Expectation{
		compared("p50", f.Flapping.P50, f.Quiet.P50, flapP50TimesMax),
		compared("p99", f.Flapping.P99, f.Quiet.P99, flapP99TimesMax),
		{
			Text:     fmt.Sprintf("at most %s frames of presence in any second%s", count(budget), flapSessionsText),
			Measured: fmt.Sprintf("%s in the second with most, at %s sessions", count(f.FramesPerSMax), integer(run.Settings.Sessions)),
			Met:      large && f.Turns > 0 && f.FramesPerSMax <= budget,
		},
	}
}
