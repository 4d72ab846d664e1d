package router_test

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/router/local"
)

// verdict is what d makes of the edge of a name.
func verdict(t *testing.T, d *router.Directory, name string) router.Verdict {
	t.Helper()
	for _, e := range d.View().Edges {
		if e.Name == name {
			return e.Verdict
		}
	}
	t.Fatalf("edge %s is not in the view", name)
	return 0
}

func TestEdgeIsDeadSixSecondsAfterItsLastBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFaulty()
		reader := open(t, s, router.Config{})
		edge, err := router.Open(router.Config{Store: s})
		must(t, err)
		claim(t, edge, "a", nil)
		other := open(t, s, router.Config{})
		claim(t, other, "b", nil)
		time.Sleep(20500 * time.Millisecond)
		if v := verdict(t, reader, "a"); v != router.Alive {
			t.Fatalf("an edge that beats is %s", v)
		}
		must(t, edge.Close()) // no beat any more, and no farewell
		time.Sleep(5 * time.Second)
		if v := verdict(t, reader, "a"); v != router.Alive {
			t.Fatalf("5 s after its last beat an edge is %s", v)
		}
		time.Sleep(4 * time.Second)
		if v := verdict(t, reader, "a"); v != router.Dead {
			t.Fatalf("9 s after its last beat an edge is %s", v)
		}
		if v := verdict(t, reader, "b"); v != router.Alive {
			t.Fatalf("the other edge is %s", v)
		}
	})
}

// Verdicts are by the reader's own monotonic clock: neither the store's clock nor
// anybody's calendar has a part in it.
func TestClocksThatJumpKillNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFaulty()
		reader := open(t, s, router.Config{})
		edge, err := router.Open(router.Config{Store: s})
		must(t, err)
		claim(t, edge, "a", nil)
		time.Sleep(2500 * time.Millisecond) // between a beat and a look
		s.jumpMS.Store(3600_000)
		for range 20 {
			time.Sleep(500 * time.Millisecond)
			if v := verdict(t, reader, "a"); v != router.Alive {
				t.Fatalf("after the store's clock jumped ahead the edge is %s", v)
			}
		}
		s.jumpMS.Store(-3600_000)
		must(t, edge.Close())
		time.Sleep(10 * time.Second)
		if v := verdict(t, reader, "a"); v != router.Dead {
			t.Fatalf("after the clock jumped back an edge without a beat is %s", v)
		}
	})
}

func TestOutageOfTheStoreFreezesVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFaulty()
		reader := open(t, s, router.Config{})
		edge := open(t, s, router.Config{})
		l := claim(t, edge, "a", nil)
		gone, err := router.Open(router.Config{Store: s})
		must(t, err)
		claim(t, gone, "dead", nil)
		time.Sleep(3 * time.Second)
		must(t, gone.Close())
		time.Sleep(10 * time.Second)
		s.away.Store(true)
		time.Sleep(time.Minute)
		if err := reader.Refresh(t.Context()); !errors.Is(err, router.ErrUnavailable) {
			t.Fatalf("a scan of a store that is away is answered %v", err)
		}
		want := func(when string) {
			t.Helper()
			if a, d := verdict(t, reader, "a"), verdict(t, reader, "dead"); a != router.Alive || d != router.Dead {
				t.Fatalf("%s the edges are %s and %s", when, a, d)
			}
		}
		want("during the outage")
		s.away.Store(false)
		for range 40 { // before and after the edge can beat again
			time.Sleep(250 * time.Millisecond)
			want("after the outage")
		}
		select {
		case <-l.Superseded():
			t.Fatal("an outage supersedes an edge")
		default:
		}
		_, epoch := l.ID()
		if e := reader.View().Edges[0]; e.Name != "a" || e.Epoch != epoch {
			t.Fatalf("after the outage the lease is %+v", e)
		}
	})
}

// readerOfOneWhoStopped looks when it is told, by the clock now, and has seen edge a,
// which beats no more.
func readerOfOneWhoStopped(t *testing.T, s router.Store, now *time.Duration) *router.Directory {
	t.Helper()
	reader := open(t, s, router.Config{
		ScanEvery: time.Hour, BeatEvery: time.Hour, DeadAfter: 8 * time.Hour, Monotonic: func() time.Duration { return *now },
	})
	for reader.Stats().Scans == 0 { // its own first look: the others are the test's
		runtime.Gosched()
	}
	edge, err := router.Open(router.Config{Store: s})
	must(t, err)
	claim(t, edge, "a", nil)
	must(t, edge.Close())
	must(t, reader.Refresh(t.Context()))
	return reader
}

// A reader that was stopped for long does not take the others for dead: one look
// after it is not enough.
func TestStoppedReaderJudgesNobodyAtOnce(t *testing.T) {
	var now time.Duration
	s := newFaulty()
	reader := readerOfOneWhoStopped(t, s, &now)
	now += 1000 * time.Hour
	must(t, reader.Refresh(t.Context()))
	if v := verdict(t, reader, "a"); v != router.Alive {
		t.Fatalf("one look after a long stop makes an edge %s", v)
	}
	for range 3 {
		now += 2 * time.Hour
		must(t, reader.Refresh(t.Context()))
	}
	if v := verdict(t, reader, "a"); v != router.Dead {
		t.Fatalf("four looks after it the edge is %s", v)
	}
}

func TestLeaseIsClaimedWhenTheStoreComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFaulty()
		s.away.Store(true)
		d := open(t, s, router.Config{})
		l, err := d.ClaimEdge(router.Member{Name: "a"}, nil)
		must(t, err)
		time.Sleep(time.Minute)
		if number, epoch := l.ID(); number != 0 || epoch != 0 {
			t.Fatalf("without a store the edge is %d of epoch %d", number, epoch)
		}
		if err := l.Beat(t.Context()); !errors.Is(err, router.ErrUnavailable) {
			t.Fatalf("a beat to a store that is away is answered %v", err)
		}
		s.away.Store(false)
		<-l.Claimed()
		if number, epoch := l.ID(); number != 1 || epoch != 1 {
			t.Fatalf("the edge is %d of epoch %d", number, epoch)
		}
	})
}

func TestBeatsTellLoadAndStateOfAnEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFaulty()
		d := open(t, s, router.Config{})
		var sessions atomic.Uint64
		sessions.Store(7)
		l := claim(t, d, "a", func() router.Load { return router.Load{Sessions: sessions.Load(), Capacity: 100} })
		time.Sleep(2 * time.Second)
		if e := d.View().Edges[0]; e.Sessions != 7 || e.Capacity != 100 || e.State != router.StateUp || e.URL != "wss://a" {
			t.Fatalf("the edge is %+v", e)
		}
		sessions.Store(8)
		must(t, l.Drain(t.Context()))
		must(t, d.Refresh(t.Context()))
		if e := d.View().Edges[0]; e.Sessions != 8 || e.State != router.StateDraining {
			t.Fatalf("the edge that drains is %+v", e)
		}
		must(t, l.Release(t.Context()))
		must(t, l.Release(t.Context()))
		must(t, d.Refresh(t.Context()))
		if e := d.View().Edges[0]; e.State != router.StateGone || e.Verdict != router.Dead {
			t.Fatalf("the edge that ended is %+v", e)
		}
		if err := l.Beat(t.Context()); err == nil {
			t.Fatal("a lease that ended beats")
		}
	})
}

func TestNodesAreWatchedAsEdgesAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFaulty()
		reader := open(t, s, router.Config{})
		d, err := router.Open(router.Config{Store: s})
		must(t, err)
		l, err := d.ClaimNode(router.Member{Name: "n1", Address: "10.0.0.1:7000", Version: "1"})
		must(t, err)
		<-l.Claimed()
		time.Sleep(10 * time.Second)
		v := reader.View()
		if len(v.Nodes) != 1 || len(v.Edges) != 0 || v.Nodes[0].Address != "10.0.0.1:7000" || v.Nodes[0].Verdict != router.Alive {
			t.Fatalf("the view is %+v", v)
		}
		reader.Refused(0, "n1")
		if v := reader.View().Nodes[0].Verdict; v != router.Suspect {
			t.Fatalf("a node that refused a connection is %s", v)
		}
		time.Sleep(5 * time.Second)
		if v := reader.View().Nodes[0].Verdict; v != router.Alive {
			t.Fatalf("a node that beat since is %s", v)
		}
		must(t, d.Close())
		time.Sleep(10 * time.Second)
		if v := reader.View().Nodes[0].Verdict; v != router.Dead {
			t.Fatalf("a node without a beat is %s", v)
		}
	})
}

// What a process costs at rest: one scan in each ScanEvery, one read and one write in
// each BeatEvery.
func TestRestCostsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFaulty()
		d := open(t, s, router.Config{})
		claim(t, d, "a", nil)
		time.Sleep(time.Second / 2)
		scans, writes := s.counted(local.OpScan), s.counted(local.OpCommit)
		time.Sleep(time.Minute)
		if n := s.counted(local.OpScan) - scans; n != 60 {
			t.Errorf("%d scans in a minute", n)
		}
		if n := s.counted(local.OpCommit) - writes; n != 30 {
			t.Errorf("%d beats in a minute", n)
		}
	})
}

// While scans fail now and then nobody is judged: who could not beat either is not
// dead for it.
func TestFlappingStoreKillsNobody(t *testing.T) {
	var now time.Duration
	s := newFaulty()
	reader := readerOfOneWhoStopped(t, s, &now)
	look := func(away bool) {
		t.Helper()
		now += time.Hour
		s.away.Store(away)
		if err := reader.Refresh(t.Context()); (err != nil) != away {
			t.Fatal(err)
		}
	}
	for range 20 {
		look(true)
		look(false)
		if v := verdict(t, reader, "a"); v != router.Alive {
			t.Fatalf("while the store comes and goes an edge is %s", v)
		}
	}
	for range 9 {
		look(false)
	}
	if v := verdict(t, reader, "a"); v != router.Dead {
		t.Fatalf("an edge without a beat is %s", v)
	}
}
