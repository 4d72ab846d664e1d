package main

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/godwit-im/godwit/harness/load"
)

// run is a campaign under way.
type run struct {
	*cluster
	fleet     *fleet
	result    *result
	newcomers int
}

// campaign does one fault after the other. Its result is there as soon as the
// clients were connected, also with an error.
func campaign(ctx context.Context, o options) (*result, error) {
	data, err := load.NewDataDir(o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = data.Remove() }()
	c, err := open(ctx, o, data.Path)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var edges []edge
	for _, m := range c.edges {
		edges = append(edges, edge{m.name, m.listen})
	}
	r := &run{cluster: c, result: newResult(o), fleet: newFleet(o.Edges*o.Sessions, edges, c.secret, !o.Netns, o.Plant)}
	r.fleet.assign = o.Router != routerNone
	r.describe(ctx)
	defer r.fleet.close()
	if err := c.knowEachOther(ctx, r.fleet.user(0).token); err != nil {
		return nil, err
	}
	say("%d sessions connect", o.Edges*o.Sessions)
	if err := r.fleet.connect(ctx); err != nil {
		return nil, err
	}
	r.settled(ctx, "at first")
	r.fleet.send(ctx, o.Rate)
	err = r.faults(ctx)
	r.fleet.halt()
	if err == nil {
		err = r.fleet.settle(ctx, settlePatience, r.stillness())
	}
	r.result.findings = r.fleet.check.finish()
	for _, s := range r.fleet.stoppedForGood() {
		r.result.missed("%s", s)
	}
	return r.result, err
}

// settlePatience is how long after the last fault all must have come; stillness is
// longer than the servers take to notice that a session lacks something (15 s).
const (
	settlePatience = time.Minute
	stillness      = 25 * time.Second
)

func (r *run) stillness() time.Duration {
	if r.o.Plant != plantNone {
		return time.Second // it will not come
	}
	return stillness
}

// describe notes what the run is made by.
func (r *run) describe(ctx context.Context) {
	if out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		r.result.commit = strings.TrimSpace(string(out))
	}
	r.result.command = "go run ./tools/edgefaults" + r.o.given
	r.result.machine = fmt.Sprintf("%d cores, %s", runtime.NumCPU(), runtime.GOARCH)
}

func (r *run) faults(ctx context.Context) error {
	steps := []func(context.Context) error{r.steady, r.killEdge}
	if r.o.Router == routerTiKV {
		steps = append(steps, r.outage, r.slow)
	}
	if r.o.Netns {
		steps = append(steps, r.cutLink, r.partition)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
		if err := r.died(); err != nil {
			return err
		}
	}
	return nil
}

// during measures a part of the campaign while do lasts.
func (r *run) during(ctx context.Context, name string, do func() error) (*phase, error) {
	say("%s", name)
	before, err := r.counts(ctx)
	if err != nil {
		return nil, err
	}
	r.fleet.look()
	begun := time.Now()
	if err := do(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := phase{Name: name, Seconds: time.Since(begun).Seconds()}
	var delays []float64
	p.Offered, p.Acked, p.Delivered, delays = r.fleet.look()
	p.P50, p.P99, p.Max = quantile(delays, 0.5), quantile(delays, 0.99), quantile(delays, 1)
	after, err := r.counts(ctx)
	if err != nil {
		return nil, err
	}
	p.Kinds, p.Ops = since(before.kv, after.kv)
	_, p.PD = since(before.pd, after.pd)
	r.result.Phases = append(r.result.Phases, p)
	return &r.result.Phases[len(r.result.Phases)-1], nil
}

// wait lets time pass, unless a process ends.
func (r *run) wait(ctx context.Context, d time.Duration) error {
	end := time.After(d)
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return nil
		case <-look.C:
			if err := r.died(); err != nil {
				return err
			}
		}
	}
}

// steady is traffic without a fault.
func (r *run) steady(ctx context.Context) error {
	p, err := r.during(ctx, "steady", func() error { return r.wait(ctx, r.o.Steady) })
	if err != nil {
		return err
	}
	r.goOn(p)
	if r.o.Router != routerNone && p.Delivered > 0 {
		r.result.OpsPerDelivered = float64(p.Ops) / float64(p.Delivered)
		r.result.unless(r.result.OpsPerDelivered < opsPerDelivered, "%.4f operations of the directory per delivered message, want less than %g", r.result.OpsPerDelivered, opsPerDelivered)
	}
	return nil
}

// goOn demands that most of what was offered was acknowledged at once.
func (r *run) goOn(p *phase) {
	r.result.unless(float64(p.Acked) >= sendsGoOn*float64(p.Offered), "%s: of %d messages offered %d were acknowledged", p.Name, p.Offered, p.Acked)
	r.result.unless(p.Delivered > 0, "%s: nothing was delivered", p.Name)
}

// killEdge kills an edge under load, and starts it again when its sessions have
// found others.
func (r *run) killEdge(ctx context.Context) error {
	m := r.edges[0]
	victims := r.fleet.at(m.name)
	if len(victims) == 0 {
		return fmt.Errorf("no session is at %s", m.name)
	}
	told := 0
	p, err := r.during(ctx, "kill_edge", func() (err error) {
		before, err := r.registered(ctx, m)
		if err != nil {
			return err
		}
		at := time.Now()
		m.kill()
		r.result.Faults["kill_edge"]++
		took := r.moved(ctx, victims, m.name, at)
		r.result.BackP99, r.result.BackMax = quantile(took, 0.99), quantile(took, 1)
		r.settled(ctx, "after an edge was killed")
		told, err = r.registered(ctx, m)
		told -= before
		return err
	})
	if err != nil {
		return err
	}
	p.Note = fmt.Sprintf("%d sessions were at %s", len(victims), m.name)
	if r.o.Router != routerNone {
		p.Note += fmt.Sprintf("; the directory was told of %d", told)
		r.result.OpsPerUser = float64(p.Ops) / float64(len(victims))
		r.result.unless(r.result.OpsPerUser <= opsPerUserMax, "%.2f operations of the directory for each of %d users who came back, want at most %d", r.result.OpsPerUser, len(victims), opsPerUserMax)
		r.result.unless(told >= len(victims), "of %d users who came back, the directory was told of %d", len(victims), told)
	}
	_, err = r.during(ctx, "edge_returns", func() error {
		if err := r.startEdge(ctx, m); err != nil {
			return err
		}
		return r.wait(ctx, time.Second)
	})
	return err
}

// movePatience bounds the wait for sessions far above what they may take.
const movePatience = time.Minute

// moved waits until sessions are open elsewhere, and returns how long each took, in ms
// and in order.
func (r *run) moved(ctx context.Context, victims []*user, from string, at time.Time) (took []float64) {
	err := until(ctx, movePatience, "the sessions of "+from+" are open elsewhere", func() bool {
		took = took[:0]
		for _, u := range victims {
			if node, live, since := u.where(); live && node != from && since.After(at) {
				took = append(took, float64(since.Sub(at).Microseconds())/1e3)
			}
		}
		return len(took) == len(victims)
	})
	slices.Sort(took)
	last := quantile(took, 1)
	r.result.unless(err == nil, "%d of %d sessions of %s came back", len(took), len(victims), from)
	r.result.unless(last <= float64(backMax.Milliseconds()), "the last session of %s was back after %.0f ms, want %s", from, last, backMax)
	return took
}

// registered counts the routes that the edges but one have told the directory of.
func (r *run) registered(ctx context.Context, but *member) (int, error) {
	if r.directory == nil {
		return 0, nil
	}
	return r.sum(ctx, but, "godwit_router_routes_registered_total")
}

// settled waits until the directory knows where everybody is.
func (r *run) settled(ctx context.Context, when string) {
	r.result.unless(r.directory == nil || r.told(ctx) || ctx.Err() != nil, "%s: the directory did not know of all sessions within %s", when, toldPatience)
}

// readyz asks a process whether it is ready; degraded: it is, without its directory.
func (r *run) readyz(ctx context.Context, m *member) (ready, degraded bool, body string, err error) {
	status, body, err := r.get(ctx, m.ops+"/readyz")
	return status == http.StatusOK, strings.Contains(body, "degraded"), body, err
}

// servers are the processes of godwit.
func (r *run) servers() []*member { return append([]*member{r.engine}, r.edges...) }
