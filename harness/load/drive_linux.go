package load

import (
	"cmp"
	"fmt"
	"time"

	"github.com/godwit-im/godwit/harness/scenario"
)

// ramp connects the sessions from…to at an even rate and returns when all are
// open.
func (l *loop) ramp(s *Step, rate float64) error {
	base, from, to := l.now(), s.From, s.To
	next := from
	done := func() bool {
		for now := l.now(); next < to && next-l.open < openingMax; next++ {
			due := base + time.Duration(float64(next-from)*float64(time.Second)/rate)
			if due > now {
				break
			}
			l.stages.rows[stageRamp].Scheduled++
			l.stages.started(due, now)
			l.connect(uint32(next), due)
		}
		return l.open >= to || l.stuck()
	}
	step := 5 * time.Millisecond
	for l.open < to {
		if l.stuck() {
			return fmt.Errorf("sessions could not be connected; %d of %d are: %w", l.open, len(l.sessions), l.reason)
		}
		if s.Patience > 0 && l.now() > base+s.Patience {
			return fmt.Errorf("%d of %d sessions could be connected within %s; the last that failed: %w", max(l.open-from, 0), to-from, s.Patience, cmp.Or(l.reason, errOpening))
		}
		if err := l.pump(l.now()+step, done); err != nil {
			return err
		}
	}
	l.stages.rows[stageRamp].Succeeded = uint64(l.open)
	return nil
}

// stuck reports that some session has been refused again and again.
func (l *loop) stuck() bool {
	for _, i := range l.waiting {
		if l.sessions[i].attempts > attemptsMax {
			return true
		}
	}
	return false
}

// prefill stores count messages of each session in a closed loop.
func (l *loop) prefill(count int, limit time.Duration) error {
	l.again = func(i uint32) {
		if s := &l.sessions[i]; s.remaining > 0 {
			s.remaining--
			now := l.now()
			l.stages.row(now).Scheduled++
			l.stages.started(now, now)
			l.begin(i, opSend, now)
		}
	}
	defer func() { l.again = nil }()
	for i := range l.sessions {
		l.sessions[i].remaining = int32(count)
		for range 8 {
			l.again(uint32(i))
		}
	}
	if err := l.drain(l.now() + limit); err != nil {
		return err
	}
	if !l.quiet() {
		return fmt.Errorf("messages to be read later were not stored within %s: %d of %d operations are open", limit, l.busy, count*len(l.sessions))
	}
	return nil
}

// traffic is what the loop does from warm-up to cool-down.
type traffic struct {
	scenario *scenario.Scenario
	rate     float64 // of this loop
	base     time.Duration
}

// drive runs warm-up, measure and cool-down.
func (l *loop) drive(t traffic) error {
	s, st := t.scenario, &t.scenario.Stages
	warmUp, measure, coolDown := time.Duration(st.WarmUp), time.Duration(st.Measure), time.Duration(st.CoolDown)
	l.base = t.base
	l.stages.plan(t.base, warmUp, measure, coolDown)
	end := l.stages.from[stageVerify]
	l.slow.from = l.stages.from[stageMeasure] + measure/3
	if s.Rate > 0 && s.Loop == scenario.LoopOpen {
		l.planned = 0
		if s.Kind == scenario.KindSlow {
			l.plan = l.planSlow(s.Arrivals, t.rate, s.SlowRate, end-t.base)
		} else {
			l.plan = planArrivals(s.Arrivals, t.rate, end-t.base, len(l.sessions)-s.Flappers, l.seed)
		}
		for _, a := range l.plan {
			l.stages.row(t.base+a.at).Scheduled++
		}
	}
	if s.Kind == scenario.KindFlap {
		l.prepareFlaps(s)
	}
	switch {
	case s.Kind == scenario.KindConnect:
		l.perform = func(_ arrival, due time.Duration) { l.reconnect(due) }
	case s.Kind == scenario.KindHistory:
		l.perform = func(a arrival, due time.Duration) { l.begin(a.actor, opHistory, due) }
	case s.Loop == scenario.LoopClosed:
		l.closeLoop(s.InFlight, end)
	default:
		l.perform = func(a arrival, due time.Duration) { l.begin(a.actor, opSend, due) }
	}
	err := l.segments(s, end)
	l.again = nil
	return err
}

// closeLoop keeps operations of every session in flight until the end.
func (l *loop) closeLoop(inFlight int, end time.Duration) {
	l.again = func(i uint32) {
		now := l.now()
		if now >= end {
			return
		}
		l.stages.row(now).Scheduled++
		l.shard.Scheduled.Add(1)
		l.stages.started(now, now)
		l.begin(i, opSend, now)
	}
	for i := range l.sessions {
		for range inFlight {
			if l.isSlow(uint32(i)) {
				break
			}
			l.again(uint32(i))
		}
	}
}

// segments pumps through the stages and does what happens in between.
func (l *loop) segments(s *scenario.Scenario, end time.Duration) error {
	from := &l.stages.from
	switch s.Kind {
	case scenario.KindResume:
		if err := l.pump(l.stages.cutAt(s.Cut), nil); err != nil {
			return err
		}
		l.cut(min(l.now(), from[stageCoolDown]-1))
	case scenario.KindFlap:
		if err := l.flapPhases(from[stageCoolDown]); err != nil {
			return err
		}
	case scenario.KindSlow:
		if err := l.pump(l.slow.from, nil); err != nil {
			return err
		}
		l.setSlow(true)
		if err := l.pump(from[stageCoolDown], nil); err != nil {
			return err
		}
		l.setSlow(false)
	}
	return l.pump(end, nil)
}

// cut ends every connection, as fast as the system lets go of them, and lets
// it resume. Latency counts from at for all, which is within the measure stage.
func (l *loop) cut(at time.Duration) {
	l.cutAt = at
	for i := range l.sessions {
		l.cuts = append(l.cuts, uint32(i))
	}
}

// cutSome cuts some of them: what falls due meanwhile must not wait for all.
func (l *loop) cutSome() {
	n := min(len(l.cuts), resetsARound)
	for _, i := range l.cuts[:n] {
		if s := &l.sessions[i]; s.state >= stateReplaying {
			s.replaced = true
			l.leave(i)
			l.connect(i, l.cutAt)
		}
	}
	l.cuts = l.cuts[n:]
}

// reconnect lets the next open session go and come again. With none open the
// operation waits for one, and its latency runs.
func (l *loop) reconnect(due time.Duration) {
	l.storm.backlog = append(l.storm.backlog, due)
	l.reconnectSome()
}

func (l *loop) reconnectSome() {
	for range len(l.sessions) {
		if len(l.storm.backlog) == 0 {
			return
		}
		i := uint32(l.storm.next)
		l.storm.next = (l.storm.next + 1) % len(l.sessions)
		if l.sessions[i].state != stateOpen {
			continue
		}
		due := l.storm.backlog[0]
		l.storm.backlog = l.storm.backlog[1:]
		l.leave(i)
		l.connect(i, due)
		l.busy++
		l.sessions[i].storming = true
		l.shard.Sent.Add(1)
	}
}

// quiet reports that everything asked was answered and all promised delivered.
func (l *loop) quiet() bool {
	v := &l.check.found
	return l.busy == 0 && len(l.storm.backlog) == 0 && l.open == len(l.sessions) && v.Delivered >= 2*v.Acked
}

// drain waits until nothing is owed any more, or for the deadline.
func (l *loop) drain(until time.Duration) error { return l.pump(until, l.quiet) }

// giveUp counts what is still unanswered as unknown and forgets it.
func (l *loop) giveUp() {
	l.gaveUp = true
	l.busy = 0
	for i := range l.sessions {
		s := &l.sessions[i]
		for _, o := range append(s.flight, s.queue...) {
			l.stages.row(o.due).Unknown++
		}
		s.flight, s.queue = nil, nil
		if s.storming {
			s.storming = false
			l.stages.row(s.due).Unknown++
		}
	}
	for _, due := range l.storm.backlog {
		l.stages.row(due).Unknown++
	}
	l.storm.backlog = nil
}
