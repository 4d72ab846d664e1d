package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/godwit-im/godwit/harness/result"
)

// specialFigures are the headline of scenarios that ask something of their own.
func specialFigures(run *result.Run) (figures []figure) {
	if c := run.Capacity; c != nil {
		limit := clean(c.SLO, 80) + " of " + clean(c.Latency, 40)
		if c.Verdict == result.VerdictCapacity {
			figures = append(figures, figure{"Capacity", recorded(c.Rate, significant) + "/s", limit + "; " + recorded(c.Failed, significant) + "/s broke it"})
		} else {
			figures = append(figures, figure{"No capacity: " + clean(c.Verdict, 40), "at least " + recorded(c.Rate, significant) + "/s", limit + "; " + clean(c.Why, 300)})
		}
	}
	if s := run.SDK; s != nil {
		figures = append(figures, figure{
			"Go SDK beside them", integer(s.Sessions) + " sessions by " + clean(cmp.Or(s.Transport, "websocket"), 20),
			fmt.Sprintf("%s sent, %s delivered to both sides; %s connections cut, %s reconnects", count(s.Offered), count(s.Delivered), count(s.Cut), count(s.Reconnects)),
		})
	}
	figures = append(figures, edgeFigures(run)...)
	if f := run.Flap; f != nil {
		figures = append(figures,
			figure{"Frames of presence", count(f.Frames), fmt.Sprintf("at most %s in a second, of %s times that somebody came or went", count(f.FramesPerSMax), count(f.Turns))},
			figure{
				"The others' p99 beside them", latencyCell(f.Flapping, f.Flapping.P99),
				fmt.Sprintf("while nobody flaps %s; p50 %s, while nobody flaps %s; the server used %s, while nobody flaps %s", latencyCell(f.Quiet, f.Quiet.P99), latencyCell(f.Flapping, f.Flapping.P50), latencyCell(f.Quiet, f.Quiet.P50), recorded(f.FlappingCores, cores), recorded(f.QuietCores, cores)),
			})
	}
	if s := run.Slow; s != nil {
		figures = append(figures,
			figure{"Slow sessions cut off", integer(s.CutOff), fmt.Sprintf("of %s that kept asking and %s silent; %s held back at the window; closes by code: %s", integer(s.Asking), integer(s.Silent), integer(s.WindowFull), codes(s.CloseCodes))},
			figure{
				"The others' p99 beside them", latencyCell(s.OthersBeside, s.OthersBeside.P99),
				fmt.Sprintf("before %s; p50 %s, before %s", latencyCell(s.OthersBefore, s.OthersBefore.P99), latencyCell(s.OthersBeside, s.OthersBeside.P50), latencyCell(s.OthersBefore, s.OthersBefore.P50)),
			})
	}
	return figures
}

// codes lists how often which close code was sent.
func codes(all map[string]uint64) string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(all)) {
		if len(parts) == 10 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, clean(code, 8)+": "+count(all[code]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// trialsMax bounds the rows of a search.
const trialsMax = 100

// specialTables are what such scenarios show beside the latencies.
func specialTables(run *result.Run) (tables []*table) {
	if c := run.Capacity; c != nil {
		t := &table{Caption: "Trials of the search", Head: []string{"Phase", "Rate", "p50", "p99", "Lost", "Verdict"}}
		for _, trial := range c.Trials[:min(len(c.Trials), trialsMax)] {
			kept := "kept"
			if len(trial.Unmet) > 0 {
				kept = clean(strings.Join(trial.Unmet, "; "), 300)
			}
			t.Rows = append(t.Rows, []string{text(trial.Phase), recorded(trial.Rate, significant) + "/s", recorded(trial.P50, micros), recorded(trial.P99, micros), count(trial.Lost), kept})
		}
		t.Note = beyond(len(c.Trials), trialsMax, "trials")
		tables = append(tables, t)
	}
	return append(append(tables, sweepTables(run)...), processTables(run)...)
}
