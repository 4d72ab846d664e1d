package load

import (
	"time"

	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// The stages of a run, in order.
const (
	stageRamp = iota
	stageWarmUp
	stageMeasure
	stageCoolDown
	stageVerify
	stagesCount
)

var stageNames = [stagesCount]string{"ramp", "warm-up", "measure", "cool-down", "verify"}

// lateAfter is when an operation begun after its time is counted as late, and
// lateShareMax the share of them beyond which a run's figures mean nothing.
const (
	lateAfter    = 10 * time.Millisecond
	lateShareMax = 0.01
)

// stageBook counts operations by the stage in which they were due. One goroutine.
type stageBook struct {
	from [stagesCount]time.Duration // since the start of the run; 0: not known yet
	rows [stagesCount]result.Stage
}

// plan sets when warm-up, measure and cool-down begin and when the traffic ends.
func (b *stageBook) plan(base, warmUp, measure, coolDown time.Duration) {
	b.from[stageWarmUp] = base
	b.from[stageMeasure] = base + warmUp
	b.from[stageCoolDown] = base + warmUp + measure
	b.from[stageVerify] = base + warmUp + measure + coolDown
}

// cutAt returns when all sessions are cut.
func (b *stageBook) cutAt(cut string) time.Duration {
	if cut == scenario.CutEnd {
		return b.from[stageCoolDown]
	}
	return (b.from[stageMeasure] + b.from[stageCoolDown]) / 2
}

// of returns the stage in which something was due.
func (b *stageBook) of(due time.Duration) int {
	for stage := stageVerify; stage > stageRamp; stage-- {
		if b.from[stage] > 0 && due >= b.from[stage] {
			return stage
		}
	}
	return stageRamp
}

func (b *stageBook) row(due time.Duration) *result.Stage { return &b.rows[b.of(due)] }

// started counts an operation that begins now and was due then.
func (b *stageBook) started(due, now time.Duration) {
	row := b.row(due)
	row.Started++
	late := now - due
	row.LateMaxMS = max(row.LateMaxMS, float64(late)/float64(time.Millisecond))
	if late > lateAfter {
		row.Late++
	}
}

// merge adds the counts of another loop's book of the same stages.
func (b *stageBook) merge(other *stageBook) {
	b.from = other.from
	for i := range b.rows {
		to, row := &b.rows[i], other.rows[i]
		to.Scheduled += row.Scheduled
		to.Started += row.Started
		to.Late += row.Late
		to.Succeeded += row.Succeeded
		to.Refused += row.Refused
		to.Unknown += row.Unknown
		to.LateMaxMS = max(to.LateMaxMS, row.LateMaxMS)
	}
}

// invalid says why the figures of the measure stage mean nothing, or "".
func (b *stageBook) invalid() string {
	m := &b.rows[stageMeasure]
	if m.Started < m.Scheduled {
		return "the generator did not begin every operation of the schedule"
	}
	if float64(m.Late) > lateShareMax*float64(m.Scheduled) {
		return "the generator fell behind: over 1 % of the operations began more than 10 ms late"
	}
	return ""
}
