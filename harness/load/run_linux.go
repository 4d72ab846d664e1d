package load

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// coordinator is one run: it owns the loops and reads their counters.
type coordinator struct {
	Config
	run      *result.Run
	agents   []*agentHandle
	series   record.Series
	begun    time.Time
	reports  []Report
	sdk      *sdkGroup // nil: the scenario has no such sessions
	stage    atomic.Int32
	prefix   string // of the users' names; their numbers follow
	sweep    sweep
	measured measurement
	// measureFrom is when the measure stage begins.
	measureFrom time.Duration
	// processes are the server's: itself, then its edge processes.
	processes []process
	broken    atomic.Pointer[error] // why the coordinator ended the run itself
}

// Run makes the load of a scenario and returns what was measured and found. The
// result is complete with ErrFailed, too; with any other error it is nil.
func Run(ctx context.Context, cfg Config) (*result.Run, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.memory == nil {
		cfg.memory = record.MachineMemory
	}
	c := &coordinator{Config: cfg}
	defer c.closeAgents()
	defer c.closeSDK()
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, c.halt)
	defer stop()
	watched, unwatch := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { c.watch(watched) })
	err := c.stagesInTurn(ctx)
	unwatch()
	watcher.Wait()
	c.Progress.Finish()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("the run was broken off: %w", ctx.Err())
	}
	if why := c.broken.Load(); why != nil {
		return nil, fmt.Errorf("the run was broken off: %w", *why)
	}
	if err != nil {
		return nil, err
	}
	if err := c.collect(); err != nil {
		return nil, err
	}
	c.conclude()
	if !c.run.Verify.OK() {
		return c.run, ErrFailed
	}
	if len(c.run.Missed()) > 0 {
		return c.run, ErrMissed
	}
	return c.run, nil
}

// prepare gathers facts, users and tokens, and makes the loops.
func (c *coordinator) prepare(ctx context.Context) error {
	s := &c.Scenario
	to, err := parseTarget(c.Endpoint.URL)
	if err != nil {
		return err
	}
	corpus, err := ReadCorpus(s.Corpus)
	if err != nil {
		return err
	}
	var id [8]byte
	_, _ = rand.Read(id[:])
	run := hex.EncodeToString(id[:])
	c.prefix = "bench-" + run + "-"
	first := 0
	if s.Tokens == scenario.TokensHS256 {
		first = s.Sessions // the agents mint theirs
	} else {
		c.TokenSecret = nil
	}
	names := make([]string, s.Sessions+s.SDKSessions-first)
	for i := range names {
		names[i] = c.prefix + strconv.Itoa(first+i)
	}
	tokens, err := c.Tokens(names)
	if err != nil {
		return err
	}
	host, err := record.HostFacts(c.Dir)
	if err != nil {
		c.Progress.Say("note: " + err.Error())
	}
	if !c.fair {
		if host.FsyncP50US, err = record.FsyncProbe(ctx, c.Dir); err != nil {
			return err
		}
	}
	c.begun = time.Now()
	c.run = &result.Run{
		Format: result.Format, Scenario: s.Name, About: s.About, RunID: run, Started: c.begun.UTC().Format(time.RFC3339), Command: c.Command,
		Commit: record.Commit(), Settings: settings(s, corpus), Host: host, Server: c.Server,
	}
	c.run.Server.URL = c.Endpoint.URL
	c.run.Settings.SameMachine = to.address.Addr().IsLoopback()
	if err := c.openProcesses(ctx); err != nil {
		return err
	}
	if c.Before == (record.Memory{}) && s.Steps > 1 {
		if c.Before, err = c.memory(); err != nil {
			return err
		}
	}
	number := binary.BigEndian.Uint64(id[:])
	if err := c.openSDK(number, corpus, tokens[s.Sessions-first:]); err != nil {
		return err
	}
	return c.openAgents(ctx, number, tokens[:s.Sessions-first])
}

// openSDK makes the clients of the users after the mass; they connect meanwhile.
func (c *coordinator) openSDK(run uint64, corpus *Corpus, tokens []string) error {
	if len(tokens) == 0 {
		return nil
	}
	first := c.Scenario.Sessions // even: they work in pairs
	c.sdk = newSDKGroup(run, uint32(first), corpus, c.now, c.Scenario.SDKTransport)
	for i, token := range tokens {
		user := first + i
		if err := c.sdk.add(c.Endpoint.URL, c.prefix+strconv.Itoa(user), c.prefix+strconv.Itoa(user^1), token); err != nil {
			return err
		}
	}
	return nil
}

func (c *coordinator) closeSDK() {
	if c.sdk != nil {
		c.sdk.close()
	}
}

func (c *coordinator) now() time.Duration { return time.Since(c.begun) }

func (c *coordinator) enter(stage int) {
	c.stage.Store(int32(stage))
	c.Progress.Say(fmt.Sprintf("%s: %s", c.Scenario.Name, stageNames[stage]))
}

// stagesInTurn is the run: ramp, warm-up, measure, cool-down, verify.
func (c *coordinator) stagesInTurn(ctx context.Context) error {
	s := &c.Scenario
	c.enter(stageRamp)
	if err := c.ramp(ctx); err != nil {
		return err
	}
	ramped := c.now()
	if err := c.matchNodes(ctx); err != nil {
		return err
	}
	if c.sdk != nil {
		if err := c.sdk.open(ctx); err != nil {
			return err
		}
	}
	if s.Prefill > 0 {
		if err := c.each("Prefill", &None{}); err != nil {
			return err
		}
	}
	base := c.now() + driveDelay
	from := base + time.Duration(s.Stages.WarmUp)
	c.measureFrom = from
	to := from + time.Duration(s.Stages.Measure)
	end := to + time.Duration(s.Stages.CoolDown)
	var noter sync.WaitGroup
	noting, done := context.WithCancel(ctx)
	noter.Go(func() { c.note(noting, base, from, to) })
	if c.sdk != nil {
		c.sdk.recorder.SetMeasure(from, to)
		cuts := c.sdk.cuttings(s.Kind == scenario.KindResume, from, to)
		noter.Go(func() {
			// Answers that are late have until the end of the verify stage's patience.
			limited, cancel := context.WithTimeout(noting, end-c.now()+time.Duration(s.Stages.Verify))
			defer cancel()
			c.sdk.drive(limited, base, end, cuts, s.Seed)
		})
	}
	err := c.each("Drive", driveDelay)
	if err != nil {
		done()
	}
	noter.Wait()
	done()
	if err = errors.Join(err, c.measured.err); err != nil {
		return err
	}
	c.enter(stageVerify)
	if c.sdk != nil {
		noter.Go(func() { c.sdk.verify(ctx, time.Duration(s.Stages.Verify)) })
	}
	err = c.each("Verify", &None{})
	noter.Wait()
	c.lengths(ramped, c.now()-end)
	return err
}

// lengths notes how long the stages took.
func (c *coordinator) lengths(ramped, verified time.Duration) {
	st := &c.Scenario.Stages
	all := [stagesCount]time.Duration{ramped, time.Duration(st.WarmUp), time.Duration(st.Measure), time.Duration(st.CoolDown), verified}
	for i, d := range all {
		c.run.Stages = append(c.run.Stages, result.Stage{Name: stageNames[i], Seconds: d.Seconds()})
	}
}

// note takes the server's and the generator's figures where the measure stage
// begins and ends.
func (c *coordinator) note(ctx context.Context, base, from, to time.Duration) {
	for i, at := range []struct {
		time  time.Duration
		stage int
	}{{base, stageWarmUp}, {from, stageMeasure}, {to, stageCoolDown}} {
		select {
		case <-time.After(at.time - c.now()):
		case <-ctx.Done():
			return
		}
		c.enter(at.stage)
		if i == 0 {
			continue
		}
		if err := c.takeUsage(ctx, i-1); err != nil {
			c.measured.err = err
			c.halt()
			return
		}
	}
}

// watch adds a row to the series every second and shows it.
func (c *coordinator) watch(ctx context.Context) {
	var cpu float64
	pids := c.pids()
	if used, err := record.Processes(pids...); err == nil {
		cpu = used.CPUSeconds
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for at := 0; ; at++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		c.sample(at)
		if memory, err := c.memory(); err == nil && memory.AvailableBytes < memoryLeftMin {
			c.breakOff(fmt.Errorf("the machine has only %.0f MiB of memory left", memory.AvailableBytes/(1<<20)))
		}
		if used, err := record.Processes(pids...); pids != nil && err == nil {
			_ = c.series.AddServer(at, used, cpu)
		}
		if row, ok := c.series.Row(at); ok {
			c.Progress.Update(record.ProgressLine(row))
		}
	}
}

// conclude judges the run and completes the result.
func (c *coordinator) conclude() {
	var book stageBook
	var crossings result.Edges
	latencies := map[string]*record.Distribution{}
	for i := range c.reports {
		r := &c.reports[i]
		book.merge(&stageBook{rows: r.Stages})
		addVerify(&c.run.Verify, &r.Verify)
		crossings.Crossed, crossings.Within = crossings.Crossed+r.Edges.Crossed, crossings.Within+r.Edges.Within
		c.run.Settings.Nice = r.Nice
		for name, d := range r.Latencies {
			if latencies[name] == nil {
				latencies[name] = record.NewDistribution()
			}
			latencies[name].Merge(d)
		}
		if r.Lost > 0 {
			c.Progress.Say(fmt.Sprintf("note: %d connections ended unasked and were resumed; the last because: %s", r.Lost, r.Reason))
		}
	}
	if c.sdk != nil {
		sdk, found := c.sdk.finish()
		c.run.SDK = &sdk
		maps.Copy(latencies, c.sdk.recorder.Distributions())
		addVerify(&c.run.Verify, &found)
	}
	for i, row := range book.rows {
		row.Name, row.Seconds = c.run.Stages[i].Name, c.run.Stages[i].Seconds
		c.run.Stages[i] = row
	}
	if c.Scenario.Kind != scenario.KindIdle {
		c.run.Invalid = book.invalid()
	}
	if c.Scenario.Kind == scenario.KindSlow {
		c.run.Slow = c.concludeSlow(latencies)
	}
	c.run.Series = c.series.Rows()
	if c.Scenario.Kind == scenario.KindFlap {
		c.run.Flap = c.concludeFlap(latencies)
	}
	c.run.Latencies = map[string]result.Latency{}
	for name, d := range latencies {
		c.run.Latencies[name] = d.ToLatency()
	}
	messages := book.rows[stageMeasure].Succeeded
	if c.Scenario.Kind == scenario.KindIdle {
		messages = 0 // the server's CPU time is that of the sessions
	}
	c.measured.fill(c.run, c.processes, messages)
	if c.pids() != nil && len(c.Remote) == 0 {
		c.run.Usage.OthersCPUShare = c.measured.others(&c.run.Usage, time.Duration(c.Scenario.Stages.Measure).Seconds()*float64(c.run.Host.Cores))
	}
	if c.run.Sweep = c.sweep.conclude(); c.run.Sweep != nil {
		c.run.Usage.BytesPerConnection, c.run.Usage.BytesPerConnectionR2 = max(c.run.Sweep.User.Slope, 0), c.run.Sweep.User.R2
	}
	if len(c.processes) > 1 {
		c.run.Edges = &crossings
	}
	c.run.Verify.Problems = append(c.run.Verify.Problems, c.sweep.problems...)
	c.run.Settings.Agents = len(c.agents)
	c.run.Targets = judgeTargets(&c.Scenario.Targets, c.run, c.sweep.reached)
}

// breakOff ends the run for a reason of the coordinator's own.
func (c *coordinator) breakOff(why error) {
	if c.broken.CompareAndSwap(nil, &why) {
		c.Progress.Say("note: " + why.Error())
		c.halt()
	}
}

func addVerify(to, v *result.Verify) {
	to.Acked, to.Delivered, to.ReadBack = to.Acked+v.Acked, to.Delivered+v.Delivered, to.ReadBack+v.ReadBack
	to.Lost, to.Duplicated, to.Reordered = to.Lost+v.Lost, to.Duplicated+v.Duplicated, to.Reordered+v.Reordered
	to.Gaps, to.Foreign, to.Problems = to.Gaps+v.Gaps, to.Foreign+v.Foreign, append(to.Problems, v.Problems...)
}
