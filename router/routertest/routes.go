package routertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/godwit-im/godwit/router"
)

func testNewest(t *testing.T, s router.Store) {
	w := newWorld(t, s, 3)
	w.want(t)
	w.register(t, w.at(0, 1, 50), nil)
	w.register(t, w.at(0, 1, 50), nil) // the same one again
	w.want(t, w.at(0, 1, 50))
	w.register(t, w.at(1, 9, 30), router.ErrNewer)
	w.want(t, w.at(0, 1, 50))
	w.register(t, w.at(2, 5, 70), nil)
	w.want(t, w.at(2, 5, 70))
	w.register(t, w.at(0, 1, 50), router.ErrNewer)
	other := w.at(1, 4, 10)
	other.Device = "tablet"
	w.register(t, other, nil)
	w.want(t, w.at(2, 5, 70), other)
	// An edge that began anew has nothing any more; what it had is remembered, so
	// that a slower, older connection does not take its place.
	again := w.edge(t, "edge-2")
	w.look(t)
	w.want(t, other)
	w.register(t, w.at(1, 8, 60), router.ErrNewer)
	number, epoch := again.ID()
	newer := router.Route{Device: "phone", Edge: number, Epoch: epoch, Conn: 1, Stamp: 80}
	w.register(t, newer, nil)
	w.want(t, newer, other)
}

func testLateRegister(t *testing.T, s router.Store) {
	w := newWorld(t, s, 2)
	w.register(t, w.at(0, 1, 50), nil)
	w.unregister(t, w.at(0, 1, 50))
	found := w.want(t)
	if found.LastSeenMS == 0 {
		t.Error("nobody knows when the user was seen last")
	}
	w.register(t, w.at(0, 1, 50), router.ErrNewer)
	w.register(t, w.at(1, 2, 40), router.ErrNewer)
	w.want(t)
	w.register(t, w.at(1, 3, 60), nil)
	w.want(t, w.at(1, 3, 60))
	// The end may be told before the beginning.
	w.user = unique()
	w.unregister(t, w.at(0, 1, 50))
	w.register(t, w.at(0, 1, 50), router.ErrNewer)
	w.want(t)
}

func testUnregister(t *testing.T, s router.Store) {
	w := newWorld(t, s, 2)
	w.register(t, w.at(0, 1, 50), nil)
	w.register(t, w.at(1, 1, 60), nil)
	for _, wrong := range []router.Route{
		w.at(0, 1, 50), // the older connection of the device
		w.at(1, 2, 60), // another of this edge
		{Device: "phone", Edge: w.edges[1].Edge, Epoch: w.edges[1].Epoch + 1, Conn: 1, Stamp: 60},
		{Device: "tablet", Edge: w.edges[1].Edge, Epoch: w.edges[1].Epoch, Conn: 1, Stamp: 60},
	} {
		w.unregister(t, wrong)
		w.want(t, w.at(1, 1, 60))
	}
	w.unregister(t, w.at(1, 1, 60))
	w.want(t)
}

func testDevices(t *testing.T, s router.Store) {
	w := newWorld(t, s, 1)
	for i := range 40 {
		r := w.at(0, uint64(i), router.Timestamp(100+i))
		r.Device = fmt.Sprint(i)
		w.register(t, r, nil)
	}
	found, err := w.Lookup(bounded(t), []string{w.user})
	must(t, err)
	if routes := found[0].Routes; len(routes) != 32 || routes[0].Device != "39" || routes[31].Device != "8" {
		t.Fatalf("of 40 devices there are %d routes: %+v", len(routes), routes)
	}
}

// testRace: 8 connections of one device to 5 edges at once, in 100 rounds: the
// newest is left, whoever was faster.
func testRace(t *testing.T, s router.Store) {
	const rounds, connections, edgeCount = 100, 8, 5
	w := newWorld(t, s, edgeCount)
	for round := range rounds {
		var all sync.WaitGroup
		newest := w.at(0, 0, 0)
		for i := range connections {
			r := w.at(rand.IntN(edgeCount), uint64(i), router.Timestamp(1000*(round+1)+i))
			if r.Stamp > newest.Stamp {
				newest = r
			}
			all.Go(func() {
				err := insist(func() error { return w.Register(bounded(t), w.user, r) })
				if err != nil && (!errors.Is(err, router.ErrNewer) || i == connections-1) {
					t.Errorf("round %d: the route of stamp %d is answered %v", round, r.Stamp, err)
				}
			})
		}
		all.Wait()
		w.want(t, newest)
	}
}

// testChurn: connections begin and end at once, each in its order: what is left is
// the newest if it still stands, and nothing if it has ended.
func testChurn(t *testing.T, s router.Store) {
	const rounds, connections, edgeCount = 100, 5, 3
	w := newWorld(t, s, edgeCount)
	for round := range rounds {
		var all sync.WaitGroup
		var want []router.Route
		for i := range connections {
			r := w.at(rand.IntN(edgeCount), uint64(round*100+i), router.Timestamp(1000*(round+1)+i))
			ends := rand.IntN(2) == 0
			if i == connections-1 && !ends {
				want = []router.Route{r}
			}
			all.Go(func() {
				err := insist(func() error { return w.Register(bounded(t), w.user, r) })
				if err != nil && !errors.Is(err, router.ErrNewer) {
					t.Error(err)
				}
				if ends || i < connections-1 {
					if err := insist(func() error { return w.Unregister(bounded(t), w.user, r) }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		w.want(t, want...)
	}
}

func testForget(t *testing.T, s router.Store) {
	w := newWorld(t, s, 2)
	forget := func() {
		t.Helper()
		must(t, insist(func() error { return w.Forget(bounded(t), w.user) }))
	}
	unseen := func(routes ...router.Route) {
		t.Helper()
		if found := w.want(t, routes...); found.LastSeenMS != 0 {
			t.Fatalf("the user was seen at %d", found.LastSeenMS)
		}
	}
	forget() // whom nobody knows
	unseen()
	w.register(t, w.at(0, 1, 50), nil)
	w.unregister(t, w.at(0, 1, 50))
	tablet := w.at(1, 2, 60)
	tablet.Device = "tablet"
	w.register(t, tablet, nil)
	forget()
	unseen()
	w.unregister(t, tablet) // that it ended because of the erasure is told late
	w.register(t, tablet, router.ErrNewer)
	unseen()
	w.register(t, w.at(0, 3, 70), nil) // somebody else by that name
	unseen(w.at(0, 3, 70))
	w.unregister(t, w.at(0, 3, 70))
	if found := w.want(t); found.LastSeenMS == 0 {
		t.Error("nobody knows when he was seen")
	}
	if err := w.Forget(bounded(t), ""); err == nil {
		t.Error("nobody is forgotten")
	}
}
