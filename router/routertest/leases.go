package routertest

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit/router"
)

func testEpochs(t *testing.T, s router.Store) {
	cluster := unique()
	p := open(t, s, cluster)
	number, epoch := p.edge(t, "a").ID()
	if number == 0 || epoch == 0 {
		t.Fatalf("the first claim is edge %d, epoch %d", number, epoch)
	}
	other, _ := p.edge(t, "b").ID()
	if other == number {
		t.Fatalf("two edges have number %d", number)
	}
	for range 3 {
		before := epoch
		again, next := open(t, s, cluster).edge(t, "a").ID()
		if again != number || next <= before {
			t.Fatalf("edge %d of epoch %d is claimed as edge %d of epoch %d", number, before, again, next)
		}
		epoch = next
	}
	// Another cluster in the same store knows nothing of it.
	q := open(t, s, unique())
	if v := q.View(); !v.Read || len(v.Edges) != 0 {
		t.Fatalf("another cluster sees %+v", v.Edges)
	}
}

func testSuperseded(t *testing.T, s router.Store) {
	cluster := unique()
	p, q := open(t, s, cluster), open(t, s, cluster)
	older := p.edge(t, "a")
	beat(t, older)
	newer := q.edge(t, "a")
	err := insist(func() error { return older.Beat(bounded(t)) })
	wantError(t, err, router.ErrSuperseded)
	<-older.Superseded()
	wantError(t, older.Beat(bounded(t)), router.ErrSuperseded)
	beat(t, newer)
	select {
	case <-newer.Superseded():
		t.Fatal("the newer is superseded")
	default:
	}
	// The older one ends, and does not end the newer's lease.
	must(t, older.Release(bounded(t)))
	p.look(t)
	number, epoch := newer.ID()
	if e, ok := p.View().Edge(number); !ok || e.Epoch != epoch || e.State != router.StateUp {
		t.Fatalf("the lease is %+v", e)
	}
}

func testReleased(t *testing.T, s router.Store) {
	p := open(t, s, unique())
	l := p.edge(t, "a")
	number, epoch := l.ID()
	user := unique()
	r := router.Route{Device: "phone", Edge: number, Epoch: epoch, Conn: 1, Stamp: 7}
	must(t, insist(func() error { return p.Register(bounded(t), user, r) }))
	must(t, insist(func() error { return l.Drain(bounded(t)) }))
	p.look(t)
	if e, _ := p.View().Edge(number); e.State != router.StateDraining || e.Verdict != router.Alive {
		t.Fatalf("a draining edge is %+v", e)
	}
	must(t, insist(func() error { return l.Serve(bounded(t), "wss://a.example/v1/ws") }))
	p.look(t)
	if e, _ := p.View().Edge(number); e.State != router.StateUp || e.URL != "wss://a.example/v1/ws" || e.Epoch != epoch {
		t.Fatalf("an edge that serves again is %+v", e)
	}
	wantRoutes(bounded(t), t, p, user, r)
	must(t, insist(func() error { return l.Release(bounded(t)) }))
	p.look(t)
	if e, _ := p.View().Edge(number); e.Verdict != router.Dead {
		t.Fatalf("a released edge is %+v", e)
	}
	if w := wantRoutes(bounded(t), t, p, user); w.LastSeenMS == 0 {
		t.Error("nobody knows when the user was seen last")
	}
}

func testDeath(t *testing.T, s router.Store) {
	const users = 50
	cluster := unique()
	p, reader := open(t, s, cluster), open(t, s, cluster)
	at := edges(t, p, 2)
	names := make([]string, users)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", cluster, i)
		for j := range at {
			r := at[j]
			r.Device, r.Conn, r.Stamp = fmt.Sprint(j), uint64(i), router.Timestamp(i+1)
			must(t, insist(func() error { return p.Register(bounded(t), names[i], r) }))
		}
	}
	reader.look(t)
	count := func(want int) {
		t.Helper()
		found, err := reader.Lookup(bounded(t), names)
		must(t, err)
		routes := 0
		for i := range found {
			routes += len(found[i].Routes)
		}
		if routes != want {
			t.Fatalf("%d routes are there, want %d", routes, want)
		}
	}
	count(2 * users)
	open(t, s, cluster).edge(t, "edge-0") // begins anew: one key is written
	reader.look(t)
	count(users)
}

func testStillBeat(t *testing.T, s router.Store) {
	cluster := unique()
	p, reader := open(t, s, cluster), open(t, s, cluster)
	l, other := p.edge(t, "a"), p.edge(t, "b")
	number, epoch := l.ID()
	user := unique()
	r := router.Route{Device: "phone", Edge: number, Epoch: epoch, Conn: 1, Stamp: 7}
	must(t, insist(func() error { return p.Register(bounded(t), user, r) }))
	want := func(want router.Verdict) {
		t.Helper()
		if e, ok := reader.View().Edge(number); !ok || e.Verdict != want {
			t.Fatalf("the edge is %+v, want %s", e, want)
		}
	}
	reader.look(t)
	want(router.Alive)
	reader.pass(t, deadAfter/2)
	beat(t, other)
	want(router.Alive)
	wantRoutes(bounded(t), t, reader, user, r)
	reader.pass(t, deadAfter/2)
	want(router.Dead)
	if o, _ := reader.View().Edge(number + 1); o != nil && o.Verdict != router.Alive {
		t.Errorf("the edge that beat is %s", o.Verdict)
	}
	wantRoutes(bounded(t), t, reader, user)
	beat(t, l)
	reader.look(t)
	want(router.Alive)
	wantRoutes(bounded(t), t, reader, user, r)
	reader.Refused(number, "")
	want(router.Suspect)
	reader.look(t)
	want(router.Suspect)
	wantRoutes(bounded(t), t, reader, user, r)
	beat(t, l)
	reader.look(t)
	want(router.Alive)
}

// testForgotten: an edge that was forgotten never has its number again, so that its
// routes stay dead, unless it lives and takes it back.
func testForgotten(t *testing.T, s router.Store) {
	cluster := unique()
	p, reader := open(t, s, cluster), open(t, s, cluster)
	l := p.edge(t, "a")
	other := p.edge(t, "b") // has a larger number
	number, epoch := l.ID()
	user := unique()
	r := router.Route{Device: "phone", Edge: number, Epoch: epoch, Conn: 1, Stamp: 7}
	must(t, insist(func() error { return p.Register(bounded(t), user, r) }))
	reader.look(t)
	collect := func() {
		t.Helper()
		for range 2 {
			beat(t, other)
			reader.pass(t, deadAfter/2)
		}
		last, err := s.Now(bounded(t))
		must(t, err)
		for now := last; now.Milliseconds() <= last.Milliseconds()+1; { // ForgetAfter, by the store's clock
			now, err = s.Now(bounded(t))
			must(t, err)
		}
		var lock *router.Lock
		must(t, insist(func() (err error) { lock, err = reader.Collection(bounded(t), "collector"); return err }))
		must(t, insist(func() error { return reader.Collect(bounded(t), lock) }))
		reader.look(t)
		if _, ok := reader.View().Edge(number); ok {
			t.Fatal("a dead edge is not forgotten")
		}
	}
	collect()
	wantRoutes(bounded(t), t, reader, user)
	beat(t, l) // it was only slow
	reader.look(t)
	wantRoutes(bounded(t), t, reader, user, r)
	collect()
	again, _ := open(t, s, cluster).edge(t, "a").ID()
	if again == number {
		t.Fatalf("number %d is given twice", number)
	}
	err := insist(func() error { return l.Beat(bounded(t)) })
	wantError(t, err, router.ErrSuperseded)
	reader.look(t)
	wantRoutes(bounded(t), t, reader, user)
}
