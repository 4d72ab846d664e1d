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
	}
	return nil
}
