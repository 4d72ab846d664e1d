package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/godwit-im/godwit/harness/record"
)

// driveDelay is the moment between the order to begin and the first operation,
// so that all agents begin together.
const driveDelay = 200 * time.Millisecond

// agentHandle is the coordinator's end of an agent.
type agentHandle struct {
	client   *rpc.Client
	sessions int
	end      func() // waits until the agent is gone
}

// openAgents starts the agents and gives each its share: whole pairs.
func (c *coordinator) openAgents(ctx context.Context, run uint64, tokens []string) error {
	s := &c.Scenario
	_, n := s.Processes()
	if len(c.Remote) > 0 {
		n = len(c.Remote)
	}
	if n > (s.Sessions+1)/2 {
		return fmt.Errorf("%d agents are too many for %d sessions: each needs a pair", n, s.Sessions)
	}
	pairs, slow := (s.Sessions+1)/2, s.SlowSessions()
	for k := range n {
		from, to := 2*(pairs*k/n), min(2*(pairs*(k+1)/n), s.Sessions)
		handle, err := c.openAgent(ctx, k, n)
		if err != nil {
			return err
		}
		handle.sessions = to - from
		c.agents = append(c.agents, handle)
		mySlow := slow*(k+1)/n - slow*k/n
		plan := Plan{
			Scenario: *s, URL: c.Endpoint.URL, RunID: run, First: uint32(from), Sessions: to - from, Prefix: c.prefix, Secret: c.TokenSecret,
			Rate: (s.Rate-s.SlowRate*float64(slow))/float64(n) + s.SlowRate*float64(mySlow), Connect: s.ConnectRate / float64(n), Seed: s.Seed + uint64(k),
			Slow: mySlow, Hinder: c.hinder, Fair: c.fair,
		}
		if len(tokens) > 0 {
			plan.Tokens = tokens[from:to]
		}
		if err := handle.client.Call("Agent.Prepare", &plan, &None{}); err != nil {
			return fmt.Errorf("agent %d: %w", k+1, err)
		}
	}
	return nil
}

// openAgent makes agent k: on the host that was named, in a process of its own,
// or in this one if no program is known.
func (c *coordinator) openAgent(ctx context.Context, k, n int) (*agentHandle, error) {
	if len(c.Remote) > 0 {
		conn, err := DialAgent(ctx, c.Remote[k], c.Secret)
		if err != nil {
			return nil, err
		}
		return &agentHandle{client: jsonrpc.NewClient(conn), end: func() {}}, nil
	}
	if c.Program == "" {
		near, far := net.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() { _ = ServeAgent(far) })
		return &agentHandle{client: jsonrpc.NewClient(near), end: serving.Wait}, nil
	}
	return startAgent(c.Program, c.ProgramArgs...)
}

// stdio joins a child's pipes into one connection.
type stdio struct {
	io.ReadCloser
	io.WriteCloser
}

func (s stdio) Close() error { return errors.Join(s.WriteCloser.Close(), s.ReadCloser.Close()) }

// startAgent runs an agent as a child that dies with this process.
func startAgent(program string, args ...string) (*agentHandle, error) {
	child := exec.Command(program, args...)
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	to, err := child.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start an agent: %w", err)
	}
	from, err := child.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start an agent: %w", err)
	}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // see StartServer
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := child.Start()
		started <- err
		if err == nil {
			_, _ = child.Process.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start an agent: %w", err)
	}
	return &agentHandle{client: jsonrpc.NewClient(stdio{from, to}), end: func() { _ = child.Process.Kill(); <-ended }}, nil
}

func (c *coordinator) closeAgents() {
	for _, a := range c.agents {
		_ = a.client.Close()
		a.end()
	}
}

func (c *coordinator) halt() {
	for _, a := range c.agents {
		a.client.Go("Agent.Halt", &None{}, &None{}, make(chan *rpc.Call, 1))
	}
}

// each lets every agent do its part and waits for all; the first that fails
// stops the others.
func (c *coordinator) each(method string, args any) error {
	return c.eachAgent(func(a *agentHandle) error { return a.client.Call("Agent."+method, args, &None{}) })
}

func (c *coordinator) eachAgent(work func(a *agentHandle) error) error {
	return c.allAgents(func(a *agentHandle) error {
		err := work(a)
		if err != nil {
			c.halt()
		}
		return err
	})
}

// allAgents is eachAgent for work after whose failure the run may go on.
func (c *coordinator) allAgents(work func(a *agentHandle) error) error {
	errs := make([]error, len(c.agents))
	var all sync.WaitGroup
	for i, a := range c.agents {
		all.Go(func() { errs[i] = work(a) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (c *coordinator) generatorUsage() (sum record.Usage, err error) {
	for _, a := range c.agents {
		var used record.Usage
		if err := a.client.Call("Agent.Usage", &None{}, &used); err != nil {
			return sum, fmt.Errorf("an agent is gone: %w", err)
		}
		sum.CPUSeconds += used.CPUSeconds
		sum.RSSBytes += used.RSSBytes
	}
	if c.sdk != nil && (c.Program != "" || len(c.Remote) > 0) { // else the agent is this process
		own, err := record.Self()
		if err != nil {
			return sum, err
		}
		sum.CPUSeconds, sum.RSSBytes = sum.CPUSeconds+own.CPUSeconds, sum.RSSBytes+own.RSSBytes
	}
	return sum, nil
}

// sample adds every agent's last second to the series. One that is gone is
// noticed by those who wait for it.
func (c *coordinator) sample(at int) {
	for _, a := range c.agents {
		var sample record.Sample
		if a.client.Call("Agent.Second", &None{}, &sample) == nil {
			_ = c.series.Add(at, stageNames[c.stage.Load()], sample)
		}
	}
}

// collect takes the agents' reports.
func (c *coordinator) collect() error {
	for _, a := range c.agents {
		var r Report
		if err := a.client.Call("Agent.Finish", &None{}, &r); err != nil {
			return fmt.Errorf("an agent's report: %w", err)
		}
		c.reports = append(c.reports, r)
	}
	return nil
}
