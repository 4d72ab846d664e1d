package main

import (
	"fmt"
	"time"
)

const awaitLimit = time.Minute

// measurePush lets the edge and gws write to idle sessions: as fast as they can,
// singly at a steady rate, and one message to all.
func (r *runner) measurePush() error {
	seats, err := r.sitAll([]string{nameEdge, nameGws}, r.sessions, func(name string) kind {
		if name == nameEdge {
			return kindSession
		}
		return kindEcho
	})
	defer func() {
		for _, s := range seats {
			r.leave(s)
		}
	}()
	if err != nil {
		return err
	}
	return r.rounds(r.pushShare, seats, func(round int, seats []*seat) error {
		for _, op := range []string{opBroadcast, opFlood, opPaced} {
			for _, s := range seats {
				if err := r.pushTimes(s, round, op); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (r *runner) pushTimes(s *seat, round int, op string) error {
	times := 1
	if op == opBroadcast {
		times = r.broadcasts
	}
	var sum pushRound
	for range times {
		one, err := r.pushOnce(s, op)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", s.name, op, err)
		}
		sum.Delivered += one.Delivered
		sum.Seconds += one.Seconds
		sum.CPU += one.CPU
		sum.Arrived = one.Arrived
	}
	if r.measured.push[op] == nil {
		r.measured.push[op] = map[string][]pushRound{}
	}
	r.measured.push[op][s.name] = append(r.measured.push[op][s.name], sum)
	line := fmt.Sprintf("round %2d  %-9s  %-8s %9.0f/s  %6.2f µs CPU", round+1, op, s.name, sum.perSecond(), sum.cpuMicros())
	if op == opPaced {
		line += fmt.Sprintf("  p50 %.0f µs  p99 %.0f µs", sum.Arrived.Due.P50, sum.Arrived.Due.P99)
	}
	r.logf("%s", line)
	return nil
}

// pushOnce has one push made and waits until all of it has arrived.
func (r *runner) pushOnce(s *seat, op string) (p pushRound, err error) {
	stamped := op == opPaced
	if _, err = s.client.call(request{Op: opWatch, Await: awaitSpec{Stamped: stamped}}); err != nil {
		return p, err
	}
	before, err := cpuOf(s.pid())
	if err != nil {
		return p, err
	}
	spec := pushSpec{Time: r.flood, Workers: floodWorkers}
	if stamped {
		spec = pushSpec{Time: r.paced, PerSecond: pacedPerSecond}
	}
	pushed, err := s.server.call(request{Op: op, Push: spec})
	if err != nil {
		return p, err
	}
	if pushed.Push.Lost != 0 {
		return p, fmt.Errorf("the server gave up %d messages", pushed.Push.Lost)
	}
	a, err := s.client.call(request{Op: opAwait, Await: awaitSpec{Count: pushed.Push.Sent, Limit: awaitLimit, Stamped: stamped}})
	if err != nil {
		return p, err
	}
	after, err := cpuOf(s.pid())
	if err != nil {
		return p, err
	}
	_, err = s.server.call(request{Op: opLevel}) // nobody counts what comes of it
	return pushRound{
		Delivered: a.Arrived.Received, CPU: (after - before).Seconds(), Arrived: a.Arrived,
		Seconds: float64(a.Arrived.Last-pushed.Push.Began) / 1e9,
	}, err
}

func (p pushRound) perSecond() float64 { return over(float64(p.Delivered), p.Seconds) }

func (p pushRound) cpuMicros() float64 { return over(p.CPU*1e6, float64(p.Delivered)) }
