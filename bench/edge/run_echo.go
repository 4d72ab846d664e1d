package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// echoCases are those of the plan: so many active, one message at a time, and
// one case with many messages in one write.
func (p *plan) echoCases() (cases []echoCase) {
	for _, active := range p.active {
		cases = append(cases, echoCase{active, 1})
	}
	return append(cases, echoCase{p.active[0], pipelined})
}

// measureEcho runs all cases in every round, for one server after the other.
func (r *runner) measureEcho() error {
	seats, err := r.sitAll(r.servers, r.connections, func(name string) kind {
		if name == nameFloor || name == nameGnet {
			return kindRaw
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
	err = r.rounds(r.echoShare, seats, func(round int, seats []*seat) error {
		for _, c := range r.echoCases() {
			for _, s := range seats {
				if err := r.echoRound(s, round, c); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil || !r.calls {
		r.measured.reasons[figureCalls] = "not counted in this kind of run"
		return err
	}
	delete(r.measured.reasons, figureCalls)
	for _, s := range seats {
		if err := r.countCalls(s); err != nil {
			r.measured.reasons[figureCalls] = err.Error()
			r.logf("system calls of %s were not counted: %v", s.name, err)
		}
	}
	return nil
}

func (r *runner) sitAll(names []string, count int, kindOf func(string) kind) (seats []*seat, err error) {
	for _, name := range names {
		s, err := r.sit(name, kindOf(name), count)
		if s != nil {
			seats = append(seats, s)
		}
		if err != nil {
			return seats, err
		}
	}
	return seats, nil
}

func (r *runner) echoRound(s *seat, round int, c echoCase) error {
	own := s.name == nameEdge
	asked, err := r.countersOf(s, own)
	if err != nil {
		return err
	}
	before, err := r.countersOf(s, own) // again: now it is known what asking allocates
	if err != nil {
		return err
	}
	a, err := s.client.call(request{Op: opEcho, Echo: echoSpec{
		Active: c.Active, Pipelined: c.Pipelined, Warm: r.warm, Measure: r.measure, PID: s.pid(),
	}})
	if err != nil {
		return err
	}
	after, err := r.countersOf(s, own)
	if err != nil {
		return err
	}
	m := &r.measured
	if own {
		m.bytesIn += after.BytesIn - before.BytesIn
		m.bytesCopied += after.BytesCopied - before.BytesCopied
	}
	if own && round > 0 && c.Pipelined == 1 { // the first round warms pools up
		asking := before.Allocations - asked.Allocations
		m.allocations += after.Allocations - before.Allocations - min(asking, after.Allocations-before.Allocations)
		m.messages += a.Echo.Total
	}
	if m.echo[c] == nil {
		m.echo[c] = map[string][]echoResult{}
	}
	m.echo[c][s.name] = append(m.echo[c][s.name], a.Echo)
	r.logf("round %2d  %5d active × %2d  %-8s %9.0f/s  %6.2f µs CPU", round+1, c.Active, c.Pipelined, s.name, a.Echo.perSecond(), a.Echo.cpuMicros())
	return nil
}

// countersOf asks the edge; for other servers it does nothing.
func (r *runner) countersOf(s *seat, own bool) (counters, error) {
	if !own {
		return counters{}, nil
	}
	a, err := s.server.call(request{Op: opCounters})
	return a.Counters, err
}

func (e echoResult) perSecond() float64 { return over(float64(e.Messages), e.Seconds) }

// cpuMicros is the server's CPU time per message.
func (e echoResult) cpuMicros() float64 { return over(e.CPU*1e6, float64(e.Messages)) }

// Times of countCalls: perf must have attached before the first message.
const (
	callsAttach = 500 * time.Millisecond
	callsTime   = time.Second
)

// countCalls has perf count the server's system calls from before the first
// message of an echo until after the last.
func (r *runner) countCalls(s *seat) error {
	path, err := exec.LookPath("perf")
	if err != nil {
		return errors.New("perf is missing")
	}
	var out bytes.Buffer
	perf := exec.Command(path, "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", strconv.Itoa(s.pid()))
	perf.Stderr = &out
	if err := startPinned(perf, clientCore); err != nil {
		return err
	}
	if err := r.living(perf); err != nil {
		return err
	}
	defer r.gone(perf)
	time.Sleep(callsAttach)
	a, err := s.client.call(request{Op: opEcho, Echo: echoSpec{Active: r.active[0], Pipelined: 1, Measure: callsTime, PID: s.pid()}})
	_ = perf.Process.Signal(os.Interrupt) // it prints what it counted
	perfErr := perf.Wait()
	if err != nil {
		return err
	}
	count, err := parsePerf(out.String())
	if err != nil {
		return errors.Join(err, perfErr)
	}
	r.measured.calls[s.name] = over(count, float64(a.Echo.Total))
	r.logf("system calls  %-8s %5.2f per message", s.name, r.measured.calls[s.name])
	return nil
}

// parsePerf reads the line "count,unit,event,…" that perf stat -x , writes.
func parsePerf(out string) (count float64, err error) {
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if len(fields) > 2 && fields[2] == "raw_syscalls:sys_enter" {
			count, err := strconv.ParseFloat(fields[0], 64)
			if err != nil {
				return 0, fmt.Errorf("perf counted nothing: %q", line)
			}
			return count, nil
		}
	}
	return 0, fmt.Errorf("perf says %q", firstLine([]byte(out)))
}
