package load

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/godwit-im/godwit/harness/record"
)

// settleTime is what a server gets to come to rest after a step of the ramp.
const settleTime = 400 * time.Millisecond

// ramp connects everybody, in as many steps as the scenario has, and takes what
// the sessions cost at each. It ends early when the next step is out of bounds.
func (c *coordinator) ramp(ctx context.Context) error {
	s := &c.Scenario
	steps := max(s.Steps, 1)
	for step := range steps {
		if step > 0 {
			if why := c.mayNotStep(step, steps); why != "" {
				return c.endRamp(why, step, steps)
			}
		}
		began := c.now()
		err := c.allAgents(func(a *agentHandle) error {
			s := Step{From: a.until(step, steps), To: a.until(step+1, steps)}
			if steps > 1 {
				s.Patience = cmp.Or(c.stepPatience, stepPatience)
			}
			return a.client.Call("Agent.Ramp", &s, &None{})
		})
		switch {
		case err != nil && (step == 0 || ctx.Err() != nil || c.broken.Load() != nil):
			return err
		case err != nil:
			first, _, _ := strings.Cut(err.Error(), "\n")
			return c.endRamp(fmt.Sprintf("the ramp ended with %d sessions: %s", c.sweep.reached, first), step, steps)
		}
		took := c.now() - began
		c.sweep.reached = c.connected(step+1, steps)
		if steps > 1 {
			if err := c.takePoint(took); err != nil {
				return err
			}
		}
	}
	return nil
}

// stepPatience bounds a step: a server that lets nobody in any more must not keep
// the run from ending.
const stepPatience = 3 * time.Minute

// endRamp goes on with the sessions of the steps so far.
func (c *coordinator) endRamp(why string, step, steps int) error {
	c.sweep.stopped = why
	c.Progress.Say("note: " + why)
	return c.eachAgent(func(a *agentHandle) error {
		return a.client.Call("Agent.Remain", a.until(step, steps), &None{})
	})
}

// until is how many sessions of the agent the ramp has after so many steps: whole
// pairs, so that nobody's partner is missing when it ends there.
func (a *agentHandle) until(step, steps int) int {
	if step == steps {
		return a.sessions
	}
	return a.sessions * step / steps &^ 1
}

// connected is how many sessions are open after so many steps of the ramp.
func (c *coordinator) connected(step, steps int) (n int) {
	for _, a := range c.agents {
		n += a.until(step, steps)
	}
	return n
}

func (c *coordinator) mayNotStep(step, steps int) string {
	memory, err := c.memory()
	if err != nil {
		return "the machine's memory can't be read: " + err.Error()
	}
	s := &c.Scenario
	b := bounds{
		reached: c.sweep.reached, next: c.connected(step+1, steps) - c.sweep.reached,
		used: c.Before.AvailableBytes - memory.AvailableBytes, usedMax: float64(s.MemoryMiB) * (1 << 20), available: memory.AvailableBytes,
		elapsed: c.now(), elapsedMax: time.Duration(s.Stages.Ramp),
	}
	return b.refusal()
}

// takePoint lets the server rest and takes the cost of the sessions it has.
func (c *coordinator) takePoint(took time.Duration) error {
	pids := c.pids()
	if pids == nil {
		return nil // the server is elsewhere
	}
	if err := c.rest(settleTime); err != nil {
		return err
	}
	// In the first half of the hold pings begin to come to the new sessions.
	half := time.Duration(c.Scenario.Hold) / 2
	if half > 0 {
		if err := c.rest(half); err != nil {
			return err
		}
	}
	p := observation{sessions: c.sweep.reached, connect: took}
	var err error
	if p.server[0], p.client[0], err = c.bothSides(pids); err != nil {
		return err
	}
	from := c.now()
	if half > 0 {
		if err := c.rest(half); err != nil {
			return err
		}
	}
	if p.server[1], p.client[1], err = c.bothSides(pids); err != nil {
		return err
	}
	p.held = c.now() - from
	if p.memory, err = c.memory(); err != nil {
		return err
	}
	c.sweep.held = half > 0
	c.sweep.add(&p, c.Before)
	c.Progress.Say(fmt.Sprintf("%d sessions: %s", p.sessions, c.sweep.last()))
	return nil
}

// rest lets all agents keep their sessions alive for a while.
func (c *coordinator) rest(d time.Duration) error {
	return c.eachAgent(func(a *agentHandle) error { return a.client.Call("Agent.Rest", d, &None{}) })
}

func (c *coordinator) bothSides(pids []int) (server, client record.Usage, err error) {
	if server, err = record.Processes(pids...); err != nil {
		return server, client, fmt.Errorf("a process of the server is gone: %w", err)
	}
	client, err = c.generatorUsage()
	return server, client, err
}
