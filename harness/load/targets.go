package load

import (
	"fmt"
	"time"

	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// judgeTargets holds a run to what its scenario was to reach; reached is how many
// sessions were open at the end of the ramp.
func judgeTargets(t *scenario.Targets, run *result.Run, reached int) (judged []result.Target) {
	add := func(met bool, text, measured string) {
		judged = append(judged, result.Target{Text: text, Measured: measured, Met: met})
	}
	delivered, resumed := run.Latencies["send→delivered"], run.Latencies["resume"]
	if t.Sessions > 0 {
		add(reached >= t.Sessions, fmt.Sprintf("at least %d sessions open at the same time", t.Sessions), fmt.Sprint(reached))
	}
	if t.Ramp > 0 {
		took := seconds(run.Stages[stageRamp].Seconds)
		add(reached >= run.Settings.Sessions && took <= time.Duration(t.Ramp), fmt.Sprintf("all sessions open within %s", t.Ramp), fmt.Sprintf("%d in %s", reached, shown(took)))
	}
	if t.Messages > 0 {
		add(delivered.Count >= uint64(t.Messages), fmt.Sprintf("at least %d messages delivered while measuring", t.Messages), fmt.Sprint(delivered.Count))
	}
	if t.DeliverP99 > 0 {
		p99 := seconds(delivered.P99 / 1e6)
		add(delivered.Count > 0 && p99 <= time.Duration(t.DeliverP99), fmt.Sprintf("p99 from the due time to the delivery at most %s", t.DeliverP99), shown(p99))
	}
	if t.Crossed > 0 {
		share, measured := 0.0, "nothing was delivered"
		if e := run.Edges; e != nil && e.Crossed+e.Within > 0 {
			share, measured = e.CrossedShare(), fmt.Sprintf("%.1f %% of %d", 100*e.CrossedShare(), e.Crossed+e.Within)
		}
		add(share > t.Crossed, fmt.Sprintf("more than %g %% of the deliveries cross edge processes", 100*t.Crossed), measured)
	}
	if t.Resume > 0 {
		slowest := seconds(resumed.Max / 1e6)
		add(resumed.Count >= uint64(reached) && reached > 0 && slowest <= time.Duration(t.Resume), fmt.Sprintf("every session back within %s of the cut", t.Resume),
			fmt.Sprintf("%d of %d, the last after %s", resumed.Count, reached, shown(slowest)))
	}
	if t.SessionBytes > 0 {
		slope, measured := 0.0, "not measured"
		if run.Sweep != nil && run.Sweep.User.Slope > 0 {
			slope = run.Sweep.User.Slope
			measured = fmt.Sprintf("%.0f bytes (R² %.4f)", slope, run.Sweep.User.R2)
		}
		add(slope > 0 && slope <= float64(t.SessionBytes), fmt.Sprintf("at most %d bytes of the server's memory per session", t.SessionBytes), measured)
	}
	if t.Straight > 0 {
		user, kernel := 0.0, 0.0
		if run.Sweep != nil {
			user, kernel = run.Sweep.User.R2, run.Sweep.Kernel.R2
		}
		add(min(user, kernel) >= t.Straight, fmt.Sprintf("each session costs as much as the others: R² of memory over sessions at least %g", t.Straight), fmt.Sprintf("server %.4f, kernel %.4f", user, kernel))
	}
	return judged
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// shown is a duration for people: three digits or so.
func shown(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
