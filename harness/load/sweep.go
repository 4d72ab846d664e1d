package load

import (
	"fmt"
	"time"

	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
)

// sweep is the ramp's findings.
type sweep struct {
	points   []result.SweepPoint
	held     bool // each point was held, so its CPU time means something
	reached  int  // sessions that are part of the run
	stopped  string
	problems []string
}

// observation is what one step of the ramp found: usages at the begin and the end
// of the rest.
type observation struct {
	sessions       int
	connect, held  time.Duration
	server, client [2]record.Usage
	memory         record.Memory
}

// add turns an observation into a point; before is the machine before the run.
func (s *sweep) add(o *observation, before record.Memory) {
	p := result.SweepPoint{
		Sessions: o.sessions, ConnectSeconds: o.connect.Seconds(), UserBytes: o.server[1].RSSBytes, ClientBytes: o.client[1].RSSBytes,
		KernelBytes: max(o.memory.KernelBytes-before.KernelBytes, 0), MachineBytes: max(before.AvailableBytes-o.memory.AvailableBytes, 0),
	}
	if s.held && o.held > 0 {
		p.CPUCores = max(o.server[1].CPUSeconds-o.server[0].CPUSeconds, 0) / o.held.Seconds()
		p.ClientCores = max(o.client[1].CPUSeconds-o.client[0].CPUSeconds, 0) / o.held.Seconds()
	}
	s.points = append(s.points, p)
}

// last is the newest point for people.
func (s *sweep) last() string {
	const mib = 1 << 20
	p := &s.points[len(s.points)-1]
	text := fmt.Sprintf("connected in %.1f s; server %.0f MiB, kernel %.0f MiB, generator %.0f MiB, in all %.0f MiB",
		p.ConnectSeconds, p.UserBytes/mib, p.KernelBytes/mib, p.ClientBytes/mib, p.MachineBytes/mib)
	if s.held {
		text += fmt.Sprintf("; CPU: server %.2f, generator %.2f cores", p.CPUCores, p.ClientCores)
	}
	return text
}

// conclude lays lines through the points; nil: there were none.
func (s *sweep) conclude() *result.Sweep {
	if len(s.points) == 0 {
		return nil
	}
	line := func(of func(p *result.SweepPoint) float64) result.Line {
		var x, y []float64
		for i := range s.points {
			x, y = append(x, float64(s.points[i].Sessions)), append(y, of(&s.points[i]))
		}
		l, err := record.Regression(x, y)
		if err != nil {
			return result.Line{} // fewer than three points
		}
		return result.Line{Slope: l.Slope, Intercept: l.Intercept, R2: l.R2}
	}
	all := &result.Sweep{
		Points: s.points, Stopped: s.stopped,
		User:   line(func(p *result.SweepPoint) float64 { return p.UserBytes }),
		Kernel: line(func(p *result.SweepPoint) float64 { return p.KernelBytes }),
		Client: line(func(p *result.SweepPoint) float64 { return p.ClientBytes }),
		All:    line(func(p *result.SweepPoint) float64 { return p.MachineBytes }),
	}
	if s.held {
		cpu := line(func(p *result.SweepPoint) float64 { return p.CPUCores })
		all.CPU = &cpu
	}
	return all
}

// What the ramp leaves of the machine's memory whatever the scenario allows, and
// where a run is broken off that has taken more all the same.
const (
	memoryLeft    = 1536 << 20
	memoryLeftMin = 512 << 20
)

// bounds decide about the next step of the ramp.
type bounds struct {
	reached, next       int     // sessions open, and of the next step
	used, usedMax       float64 // bytes the run has taken of the machine; 0: no bound
	available           float64
	elapsed, elapsedMax time.Duration // of the ramp; 0: no bound
}

// refusal says why the next step is not begun, "" if it may be. It takes as much
// memory for each session as those before it did.
func (b *bounds) refusal() string {
	const mib = 1 << 20
	need := max(b.used, 0) / float64(max(b.reached, 1)) * float64(b.next)
	switch {
	case b.elapsedMax > 0 && b.elapsed >= b.elapsedMax:
		return fmt.Sprintf("the ramp ended with %d sessions: its time of %s was over", b.reached, b.elapsedMax)
	case b.usedMax > 0 && b.used+need > b.usedMax:
		return fmt.Sprintf("the ramp ended with %d sessions: they take %.0f MiB, and the next step would go beyond %.0f MiB", b.reached, b.used/mib, b.usedMax/mib)
	case b.available-need < memoryLeft:
		return fmt.Sprintf("the ramp ended with %d sessions: %.0f MiB are available, and the next step would leave less than %d MiB", b.reached, b.available/mib, memoryLeft/mib)
	}
	return ""
}
