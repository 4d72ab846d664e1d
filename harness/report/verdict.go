package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/godwit-im/godwit/harness/result"
)

// verdict says whether a run's figures may be used at all.
type verdict struct {
	Reasons  []string // why not; empty: valid
	Cautions []string // what a reader of valid figures must know
}

func (v *verdict) Valid() bool { return len(v.Reasons) == 0 }

// othersMin is the share of other processes in the CPU time that is worth a word.
const othersMin = 0.05

// judge looks at what the run says of itself and at what it lacks.
func judge(run *result.Run) *verdict {
	v := &verdict{}
	if run.Invalid != "" {
		v.Reasons = append(v.Reasons, clean(run.Invalid, 600))
	}
	if !run.Verify.OK() {
		v.Reasons = append(v.Reasons, "verification failed: "+findings(&run.Verify))
	}
	measure, measured := stage(run, "measure")
	if len(run.Latencies) == 0 && len(run.Series) == 0 && measure.Started == 0 {
		v.Reasons = append(v.Reasons, "nothing was measured")
		return v
	}
	if !measured {
		v.Cautions = append(v.Cautions, "no measure stage was recorded")
	}
	if len(run.Latencies) == 0 {
		v.Cautions = append(v.Cautions, "no latencies were recorded")
	}
	if measure.Scheduled > 0 && measure.Late > 0 {
		v.Cautions = append(v.Cautions, fmt.Sprintf("%s of %s operations began over 10 ms late, the worst %s (latency counts from the time they were due)",
			count(measure.Late), count(measure.Scheduled), micros(measure.LateMaxMS*1000)))
	}
	if run.Verify.Acked == 0 && run.Verify.ReadBack == 0 {
		v.Cautions = append(v.Cautions, "no message was verified: there was none, or nobody looked")
	}
	if run.Settings.Loop == "closed" {
		v.Cautions = append(v.Cautions, "closed loop: senders wait for answers, so latency leaves out the waiting that a stall causes")
	}
	for _, missed := range run.Missed()[:min(len(run.Missed()), problemsMax)] {
		v.Cautions = append(v.Cautions, fmt.Sprintf("a target was missed: %s; measured: %s", clean(missed.Text, 200), clean(missed.Measured, 200)))
	}
	if run.Settings.Tokens == "hs256" {
		v.Cautions = append(v.Cautions, "tokens were signed with HS256 by the generator as it connected, which costs a fraction of Ed25519 on both sides")
	}
	if c := run.Capacity; c != nil && c.Verdict != result.VerdictCapacity {
		v.Cautions = append(v.Cautions, "the rate is no capacity of the server: "+clean(c.Why, 300))
	}
	if run.Settings.SameMachine {
		v.Cautions = append(v.Cautions, "generator and server shared one machine and took CPU time from each other")
	}
	if share := run.Usage.OthersCPUShare; plausible(share) && share >= othersMin {
		v.Cautions = append(v.Cautions, fmt.Sprintf("the machine was busy with something else: it took %.0f %% of the CPU time during measure, and latencies are longer for it", 100*min(share, 1)))
	}
	if run.Commit == "" || run.Commit == "unknown" {
		v.Cautions = append(v.Cautions, "the commit was not recorded")
	}
	if strings.HasSuffix(run.Commit, "-dirty") {
		v.Cautions = append(v.Cautions, "the source had uncommitted changes")
	}
	return v
}

// findings lists the checks that found something.
func findings(v *result.Verify) string {
	var found []string
	add := func(n uint64, what string) {
		if n > 0 {
			found = append(found, count(n)+" "+what)
		}
	}
	add(v.Lost, "lost")
	add(v.Duplicated, "duplicated")
	add(v.Reordered, "reordered")
	add(v.Gaps, "gaps")
	add(v.Foreign, "foreign")
	if len(found) == 0 {
		return fmt.Sprintf("%d problems", len(v.Problems))
	}
	return strings.Join(found, ", ")
}

// latencyNames lists the run's distributions, the usual ones first.
func latencyNames(run *result.Run) []string {
	names := slices.Sorted(maps.Keys(run.Latencies))
	rank := func(name string) int {
		if at := slices.Index(latencyOrder, name); at >= 0 {
			return at
		}
		return len(latencyOrder)
	}
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}
