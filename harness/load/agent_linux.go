package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// Agent generates the share of a run that its coordinator gives it. Methods are
// called by JSON-RPC; Second, Usage and Halt while others run, the rest in turn.
// All times are counted from the agent's own start: partners share an agent, so
// clocks of different hosts are never compared.
type Agent struct {
	plan     Plan
	loop     *loop
	recorder *record.Recorder
	running  atomic.Pointer[loop] // loop, for those who end it from outside
	nice     int
}

// Plan is an agent's share of a run.
type Plan struct {
	Scenario scenario.Scenario
	URL      string
	RunID    uint64
	First    uint32 // number of the first user; even
	Sessions int
	Prefix   string // of the users' names; their numbers follow
	Tokens   []string
	Secret   []byte  // mints tokens when there are none, see Minter
	Rate     float64 // operations a second of this agent
	Connect  float64 // connects a second of this agent
	Seed     uint64
	Slow     int // slow consumers among its sessions
	Hinder   time.Duration
	Fair     bool
}

// Step is a part of the ramp: sessions of this agent, and the rest after it.
type Step struct {
	From, To int
	Patience time.Duration // the step fails after it; 0: it may take as long as it takes
}

// Report is what an agent found.
type Report struct {
	Stages    [stagesCount]result.Stage
	Verify    result.Verify
	Latencies map[string]*record.Distribution
	Lost      uint64 // connections that ended unasked
	Reason    string // of the last of them
	Slow      result.Slow
	Flap      result.Flap
	Nice      int // priority of the loop while there was traffic
	Edges     result.Edges
}

// None is what a method without arguments or results takes.
type None struct{}

// ServeAgent is an agent on a connection, until that ends.
func ServeAgent(conn io.ReadWriteCloser) error {
	server, a := rpc.NewServer(), &Agent{}
	if err := server.RegisterName("Agent", &agentCalls{a}); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	server.ServeCodec(&haltingCodec{jsonrpc.NewServerCodec(conn), a})
	a.close()
	return nil
}

// haltingCodec ends the agent's work when nobody is there any more to hear of it.
type haltingCodec struct {
	rpc.ServerCodec
	agent *Agent
}

func (c *haltingCodec) ReadRequestHeader(r *rpc.Request) error {
	err := c.ServerCodec.ReadRequestHeader(r)
	if l := c.agent.running.Load(); err != nil && l != nil {
		l.stop.Store(true)
	}
	return err
}

func (a *Agent) close() {
	if a.loop != nil {
		a.loop.close()
	}
}

// agentCalls are the methods a coordinator may call.
type agentCalls struct{ *Agent }

// Prepare takes the agent's share; everything else comes after it.
func (a *agentCalls) Prepare(p *Plan, _ *None) error {
	if a.loop != nil {
		return errors.New("the agent has a run already")
	}
	if err := p.Scenario.Validate(); err != nil {
		return err
	}
	if p.Sessions < 1 || p.Sessions > p.Scenario.Sessions || p.First%2 != 0 || p.Scenario.Paired() && p.Sessions%2 != 0 {
		return errors.New("the agent's share is not of whole pairs")
	}
	if len(p.Tokens) != p.Sessions && (len(p.Tokens) != 0 || len(p.Secret) == 0) {
		return errors.New("the agent has no tokens for its share")
	}
	if !(p.Rate >= 0 && p.Rate <= p.Scenario.Rate) || !(p.Connect > 0 && p.Connect <= p.Scenario.ConnectRate) || p.Slow < 0 {
		return errors.New("the agent's share is not of the whole")
	}
	if uint64(p.First)+uint64(p.Sessions) > 1<<32 {
		return errors.New("the agent's users have no numbers")
	}
	if 2*p.Slow >= p.Sessions && p.Slow > 0 {
		return errors.New("every pair of the agent's share is slow: use fewer agents")
	}
	to, err := parseTarget(p.URL)
	if err != nil {
		return err
	}
	corpus, err := ReadCorpus(p.Scenario.Corpus)
	if err != nil {
		return err
	}
	a.recorder, err = record.NewRecorder(record.Config{Latencies: latencyNames, Main: mainLatency(p.Scenario.Kind)})
	if err != nil {
		return err
	}
	encoding := godwit.EncodingProto
	if p.Scenario.Encoding == scenario.EncodingJSON {
		encoding = godwit.EncodingJSON
	}
	l, err := newLoop(loopConfig{
		target: to, encoding: encoding, runID: p.RunID, first: p.First, count: p.Sessions, prefix: p.Prefix, tokens: p.Tokens, secret: p.Secret, corpus: corpus,
		shard: a.recorder.Shard(), start: clock(), unixMS: time.Now().UnixMilli(), seed: p.Seed, hinder: p.Hinder,
	})
	if err != nil {
		return err
	}
	l.slow.sessions = p.Slow
	if p.Scenario.Transport == scenario.TransportLongPoll {
		l.wait = int(time.Duration(p.Scenario.Wait) / time.Second)
	}
	a.plan, a.loop = *p, l
	a.running.Store(l)
	return nil
}

// Ramp connects some of the sessions. What that leaves behind is given back, so
// that the process has the size of its sessions.
func (a *agentCalls) Ramp(s *Step, _ *None) error {
	if a.running.Load() == nil {
		return errNotPrepared
	}
	if s.From < 0 || s.To < s.From || s.To > a.plan.Sessions {
		return fmt.Errorf("the agent has %d sessions, not %d to %d", a.plan.Sessions, s.From, s.To)
	}
	err := a.loop.ramp(s, a.plan.Connect)
	debug.FreeOSMemory()
	return err
}

// Rest keeps the sessions alive for a while.
func (a *agentCalls) Rest(d time.Duration, _ *None) error {
	if a.running.Load() == nil {
		return errNotPrepared
	}
	return a.loop.pump(a.loop.now()+min(d, restMax), nil)
}

// Remain ends the ramp with so many sessions; the rest has no part in the run.
func (a *agentCalls) Remain(n int, _ *None) error {
	switch l := a.running.Load(); {
	case l == nil:
		return errNotPrepared
	case n < 1 || n > len(l.sessions) || a.plan.Scenario.Paired() && n%2 != 0 || 2*a.plan.Slow >= n && a.plan.Slow > 0:
		return fmt.Errorf("of the agent's %d sessions %d can't remain", len(l.sessions), n)
	}
	a.loop.remain(n)
	return nil
}

// Nodes returns how many sessions are open on which edge process, as their
// connect replies said.
func (a *agentCalls) Nodes(_ *None, nodes *map[string]int) error {
	if a.running.Load() == nil {
		return errNotPrepared
	}
	*nodes = a.loop.countNodes()
	return nil
}

// Prefill stores what is to be read later.
func (a *agentCalls) Prefill(*None, *None) error {
	if a.running.Load() == nil {
		return errNotPrepared
	}
	s := &a.plan.Scenario
	limit := time.Minute + time.Duration(s.Prefill*s.Sessions/200)*time.Second
	return a.loop.prefill((s.Prefill+1)/2, limit)
}

// Drive goes through warm-up, measure and cool-down, after a moment's delay.
func (a *agentCalls) Drive(delay time.Duration, _ *None) error {
	if a.running.Load() == nil {
		return errNotPrepared
	}
	defer a.prefer()()
	st := &a.plan.Scenario.Stages
	base := a.loop.now() + delay
	from := base + time.Duration(st.WarmUp)
	a.recorder.SetMeasure(from, from+time.Duration(st.Measure))
	return a.loop.drive(traffic{scenario: &a.plan.Scenario, rate: a.plan.Rate, base: base})
}

// Verify waits for what is on its way and reads everything back.
func (a *agentCalls) Verify(*None, *None) error {
	if a.running.Load() == nil {
		return errNotPrepared
	}
	patience := time.Duration(a.plan.Scenario.Stages.Verify)
	if err := a.loop.drain(a.loop.now() + patience); err != nil {
		return err
	}
	a.loop.giveUp()
	if a.loop.wait > 0 {
		return a.loop.verifyPolls(a.loop.now() + max(patience, time.Second))
	}
	return a.loop.verify(a.plan.Scenario.Paired() && a.plan.Scenario.Kind != scenario.KindIdle, a.loop.now()+max(patience, readBackLeast))
}

// Second returns what happened since the last call.
func (a *agentCalls) Second(_ *None, sample *record.Sample) error {
	if a.running.Load() == nil {
		return errNotPrepared
	}
	*sample = a.recorder.Second()
	return nil
}

// Usage returns what the agent's process has used.
func (a *agentCalls) Usage(_ *None, used *record.Usage) (err error) {
	*used, err = record.Self()
	return err
}

// Finish returns what was measured and found.
func (a *agentCalls) Finish(_ *None, r *Report) error {
	if a.running.Load() == nil {
		return errNotPrepared
	}
	*r = Report{Stages: a.loop.stages.rows, Verify: a.loop.check.finish(), Latencies: a.recorder.Distributions(), Lost: a.loop.lost, Slow: a.loop.slow.found, Flap: a.loop.flap.found, Nice: a.nice, Edges: a.loop.edges}
	if a.loop.reason != nil {
		r.Reason = a.loop.reason.Error()
	}
	return nil
}

// Halt breaks the run off.
func (a *agentCalls) Halt(*None, *None) error {
	if l := a.running.Load(); l != nil {
		l.stop.Store(true)
	}
	return nil
}

// restMax bounds how long a coordinator can keep an agent from hearing anything else.
const restMax = 10 * time.Minute

// errNotPrepared answers a coordinator that begins in the middle.
var errNotPrepared = errors.New("the agent has no share of a run yet")

// errHalted is what a loop says that was told to stop.
var errHalted = fmt.Errorf("the generator was told to stop: %w", context.Canceled)
