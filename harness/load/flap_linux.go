package load

import (
	"math"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// flapPart is a loop's share of a scenario with flapping users: its last sessions,
// who write to nobody and come and go in every second phase of measure. The first
// ones watch them.
type flapPart struct {
	flappers int
	every    time.Duration // between two changes of one of them
	from     time.Duration // when measure begins
	phase    time.Duration // of measure: the first is quiet, the next is not, and so on
	active   bool
	since    time.Duration // of the present phase
	turned   int           // changes since then
	away     []bool        // by flapper
	second   time.Duration // of frames
	frames   uint64        // of presence in that second
	found    result.Flap
}

// flapSettle is how much of a phase is left out of the figures: those who are away
// come back, and the server's delays pass.
const flapSettle = 2 * time.Second

func (l *loop) prepareFlaps(s *scenario.Scenario) {
	l.flap = flapPart{
		flappers: s.Flappers, every: time.Duration(s.FlapEvery), phase: time.Duration(s.Phase), away: make([]bool, s.Flappers),
		from: l.stages.from[stageMeasure],
	}
	first := len(l.sessions) - s.Flappers
	for w := range s.Watchers {
		f := godwit.ClientFrame{ID: askIDs + 1, Kind: godwit.KindPresence}
		f.Presence.HasWatch = true
		for k := range s.WatchEach {
			f.Presence.Watch = append(f.Presence.Watch, l.appendName(nil, uint32(first+(w*s.WatchEach+k)%s.Flappers)))
		}
		l.request(uint32(w), &f)
	}
}

// flapPhases pumps through measure, phase by phase.
func (l *loop) flapPhases(until time.Duration) error {
	f := &l.flap
	if err := l.pump(f.from, nil); err != nil {
		return err
	}
	for at := f.from; at < until; at += f.phase {
		f.active, f.since, f.turned = f.flaps(at), l.now(), 0
		if err := l.pump(min(at+f.phase, until), nil); err != nil {
			return err
		}
		f.active = false
		for k, away := range f.away {
			if away {
				l.turn(k)
			}
		}
	}
	return nil
}

// flaps tells whether they come and go at a time within measure.
func (f *flapPart) flaps(at time.Duration) bool { return (at-f.from)/f.phase%2 == 1 }

// flapOn lets those come or go whose turn it is: one after the other, each once
// in every.
func (l *loop) flapOn(now time.Duration) {
	f := &l.flap
	if !f.active {
		return
	}
	for due := int(int64(now-f.since) * int64(f.flappers) / int64(f.every)); f.turned < due; f.turned++ {
		l.turn(f.turned % f.flappers)
	}
}

// next is when the next one comes or goes.
func (f *flapPart) next() time.Duration {
	if !f.active {
		return math.MaxInt64
	}
	return f.since + time.Duration(int64(f.turned+1)*int64(f.every)/int64(f.flappers)) + 1
}

// turn lets a flapper go, or come back. One who is just on his way is left alone.
func (l *loop) turn(k int) {
	i := uint32(len(l.sessions) - l.flap.flappers + k)
	s := &l.sessions[i]
	switch {
	case l.flap.away[k]:
		l.flap.away[k] = false
		l.connect(i, l.now())
		l.flap.found.Turns++
	case s.state == stateOpen:
		s.replaced = true
		l.leave(i)
		l.flap.away[k] = true
		l.flap.found.Turns++
	default:
		l.flap.found.Skipped++
	}
}

// heard counts a frame of presence by the second in which it came.
func (l *loop) heard(now time.Duration) {
	f := &l.flap
	if second := now / time.Second; second != f.second {
		f.second, f.frames = second, 0
	}
	f.frames++
	f.found.Frames++
	f.found.FramesPerSMax = max(f.found.FramesPerSMax, f.frames)
}

// inPhase records the latency of a message apart for either kind of phase.
func (l *loop) inPhase(due, now time.Duration) {
	f := &l.flap
	if due < f.from || due >= l.stages.from[stageCoolDown] || (due-f.from)%f.phase < flapSettle {
		return
	}
	name := latencyQuiet
	if f.flaps(due) {
		name = latencyFlapping
	}
	l.shard.Record(name, due, now)
}

// concludeFlap sums what the agent found, takes its latencies from the rest, and
// the server's CPU time of either kind of phase from the series.
func (c *coordinator) concludeFlap(latencies map[string]*record.Distribution) *result.Flap {
	sum := &result.Flap{}
	for i := range c.reports {
		f := &c.reports[i].Flap
		sum.Turns, sum.Skipped, sum.Frames = sum.Turns+f.Turns, sum.Skipped+f.Skipped, sum.Frames+f.Frames
		sum.FramesPerSMax += f.FramesPerSMax
	}
	for name, to := range map[string]*result.Latency{nobodyFlaps: &sum.Quiet, besideFlaps: &sum.Flapping} {
		if d := latencies[name]; d != nil {
			*to = d.ToLatency()
			delete(latencies, name)
		}
	}
	const sent = "godwit_presence_frames_total"
	sum.Sent = uint64(max(0, c.measured.after[sent]-c.measured.before[sent]))
	f := flapPart{from: c.measureFrom, phase: time.Duration(c.Scenario.Phase)}
	to := c.measureFrom + time.Duration(c.Scenario.Stages.Measure)
	var cpu, seconds [2]float64
	for i := 1; i < len(c.run.Series); i++ {
		a, b := &c.run.Series[i-1], &c.run.Series[i]
		from, until := time.Duration(a.At*float64(time.Second)), time.Duration(b.At*float64(time.Second))
		if from < f.from || until > to || (from-f.from)%f.phase < flapSettle || (from-f.from)/f.phase != (until-f.from)/f.phase {
			continue
		}
		kind := 0
		if f.flaps(from) {
			kind = 1
		}
		cpu[kind], seconds[kind] = cpu[kind]+b.ServerCPU-a.ServerCPU, seconds[kind]+b.At-a.At
	}
	if seconds[0] > 0 && seconds[1] > 0 {
		sum.QuietCores, sum.FlappingCores = cpu[0]/seconds[0], cpu[1]/seconds[1]
	}
	return sum
}
