package routertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit/router"
)

// process is one process of a cluster: its directory, and its own clock, which only
// the test moves. Nothing is scanned or beaten but when the test says so.
type process struct {
	*router.Directory
	clock atomic.Int64
}

const deadAfter = 2 * time.Hour

func open(t *testing.T, s router.Store, cluster string) *process {
	t.Helper()
	p := &process{}
	d, err := router.Open(router.Config{
		Store: s, Cluster: cluster, ScanEvery: time.Hour, BeatEvery: time.Hour, DeadAfter: deadAfter,
		ForgetAfter: time.Millisecond, Timeout: patience,
		Monotonic: func() time.Duration { return time.Duration(p.clock.Load()) },
	})
	must(t, err)
	p.Directory = d
	t.Cleanup(func() { must(t, d.Close()) })
	for ctx := bounded(t); d.Stats().Scans == 0; runtime.Gosched() { // its own first look
		must(t, ctx.Err())
		if d.Stats().ScanFailures > 0 {
			p.look(t)
		}
	}
	return p
}

// pass moves the clock of the process, and lets it look.
func (p *process) pass(t *testing.T, d time.Duration) {
	t.Helper()
	p.clock.Add(int64(d))
	p.look(t)
}

func (p *process) look(t *testing.T) {
	t.Helper()
	must(t, p.Refresh(bounded(t)))
}

// edge claims an edge's lease and waits until it stands.
func (p *process) edge(t *testing.T, name string) *router.Lease {
	t.Helper()
	l, err := p.ClaimEdge(router.Member{Name: name, URL: "wss://" + name}, nil)
	must(t, err)
	beat(t, l)
	return l
}

// beat tries until it is told that the beat took effect.
func beat(t *testing.T, l *router.Lease) {
	t.Helper()
	ctx := bounded(t)
	for {
		err := l.Beat(ctx)
		if err == nil {
			return
		}
		if !transient(err) {
			t.Fatal(err)
		}
	}
}

func transient(err error) bool {
	return errors.Is(err, router.ErrConflict) || errors.Is(err, router.ErrUnknown)
}

// insist repeats what is safe to repeat while others are faster.
func insist(do func() error) error {
	for {
		if err := do(); !transient(err) {
			return err
		}
	}
}

// edges is a process with n edges' leases, for tests in which only routes matter.
func edges(t *testing.T, p *process, n int) []router.Route {
	t.Helper()
	all := make([]router.Route, n)
	for i := range all {
		number, epoch := p.edge(t, fmt.Sprintf("edge-%d", i)).ID()
		all[i] = router.Route{Device: "phone", Edge: number, Epoch: epoch}
	}
	p.look(t)
	return all
}

func (r world) at(edge int, conn uint64, stamp router.Timestamp) router.Route {
	route := r.edges[edge]
	route.Conn, route.Stamp = conn, stamp
	return route
}

// world is a process, edges to have routes at, and a user.
type world struct {
	*process
	edges []router.Route
	user  string
}

func newWorld(t *testing.T, s router.Store, n int) world {
	t.Helper()
	p := open(t, s, unique())
	return world{process: p, edges: edges(t, p, n), user: unique()}
}

func (r world) register(t *testing.T, route router.Route, want error) {
	t.Helper()
	err := insist(func() error { return r.Register(bounded(t), r.user, route) })
	if !errors.Is(err, want) {
		t.Fatalf("registering %+v is answered %v, want %v", route, err, want)
	}
}

func (r world) unregister(t *testing.T, route router.Route) {
	t.Helper()
	must(t, insist(func() error { return r.Unregister(bounded(t), r.user, route) }))
}

// want checks the user's routes, the newest first.
func (r world) want(t *testing.T, want ...router.Route) router.Whereabouts {
	t.Helper()
	return wantRoutes(bounded(t), t, r.process, r.user, want...)
}

func wantRoutes(ctx context.Context, t *testing.T, p *process, user string, want ...router.Route) router.Whereabouts {
	t.Helper()
	found, err := p.Lookup(ctx, []string{user})
	must(t, err)
	if fmt.Sprint(found[0].Routes) != fmt.Sprint(want) {
		t.Fatalf("the routes are %+v, want %+v", found[0].Routes, want)
	}
	return found[0]
}
