package router_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-im/godwit/router"
)

// registrarWorld is an edge with a registrar over a store that a test breaks.
type registrarWorld struct {
	*faulty
	d     *router.Directory
	lease *router.Lease
	r     *router.Registrar
	gone  []router.Route // that were superseded
}

func newRegistrarWorld(t *testing.T, cfg router.RegistrarConfig) *registrarWorld {
	t.Helper()
	w := &registrarWorld{faulty: newFaulty()}
	w.d = open(t, w.faulty, router.Config{})
	w.lease = claim(t, w.d, "a", nil)
	cfg.Lease = w.lease
	cfg.Superseded = func(_ string, c router.Route) { w.gone = append(w.gone, c) }
	var err error
	w.r, err = w.d.NewRegistrar(cfg)
	must(t, err)
	t.Cleanup(w.r.Close)
	synctest.Wait()
	return w
}

func conn(n int) router.Route {
	return router.Route{Device: "phone", Conn: uint64(n), Stamp: router.Timestamp(n)}
}

// stamps are the stamps of a user's routes in the store.
func (w *registrarWorld) stamps(t *testing.T, user string) (stamps []router.Timestamp) {
	t.Helper()
	found, err := w.d.Lookup(t.Context(), []string{user})
	must(t, err)
	for _, r := range found[0].Routes {
		stamps = append(stamps, r.Stamp)
	}
	return stamps
}

func TestOneConnectionIsRegisteredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRegistrarWorld(t, router.RegistrarConfig{})
		began := time.Now()
		w.r.Add("alice", conn(1))
		must(t, w.r.Settled(t.Context()))
		if d := time.Since(began); d != 0 {
			t.Errorf("a lone connection waits %v", d)
		}
		if got := fmt.Sprint(w.stamps(t, "alice")); got != "[1]" {
			t.Errorf("the routes are %s", got)
		}
	})
}

// A storm costs at most three operations for each user, at the bucket's pace.
func TestStormCostsFewOperations(t *testing.T) {
	const users, rate = 20000, 2000
	synctest.Test(t, func(t *testing.T) {
		w := newRegistrarWorld(t, router.RegistrarConfig{Rate: rate})
		before, began := w.operations(), time.Now()
		for i := range users {
			w.r.Add(fmt.Sprint("user-", i), conn(i+1))
		}
		must(t, w.r.Settled(t.Context()))
		took := time.Since(began)
		if want := users * time.Second / rate; took > want || took < want*9/10 {
			t.Errorf("%d connections at %d/s take %v", users, rate, took)
		}
		n := float64(w.operations()-before) / users
		t.Logf("%.3f operations of the store for each user", n)
		if n > 3 {
			t.Errorf("%.2f operations of the store for each user", n)
		}
		for _, i := range []int{0, users / 2, users - 1} {
			if got := w.stamps(t, fmt.Sprint("user-", i)); len(got) != 1 {
				t.Errorf("user %d has routes %v", i, got)
			}
		}
	})
}

func TestNewcomersAreSentAwayWhenTheQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRegistrarWorld(t, router.RegistrarConfig{Rate: 100, QueueMax: 500})
		var after time.Duration
		for i := 0; ; i++ { // some are told meanwhile
			var full bool
			if after, full = w.r.Full(); full {
				if i < 500 {
					t.Fatalf("full with %d", i)
				}
				break
			}
			if i == 1000 {
				t.Fatalf("not full: %+v", w.r.Stats())
			}
			w.r.Add(fmt.Sprint("user-", i), conn(i+1))
		}
		if after < 5*time.Second || after > 10*time.Second {
			t.Fatalf("with 500 waiting at 100/s newcomers are told to come back in %v", after)
		}
		time.Sleep(after)
		if _, full := w.r.Full(); full {
			t.Fatalf("still full after %v: %+v", after, w.r.Stats())
		}
	})
}

func TestSessionsAreKeptDirtyWhileTheStoreIsAway(t *testing.T) {
	const users = 3000
	synctest.Test(t, func(t *testing.T) {
		w := newRegistrarWorld(t, router.RegistrarConfig{Rate: 1000, QueueMax: 100})
		w.r.Add("before", conn(1))
		must(t, w.r.Settled(t.Context()))
		w.away.Store(true)
		w.r.Remove("before", conn(1))
		time.Sleep(time.Second)
		for i := range users {
			w.r.Add(fmt.Sprint("user-", i), conn(i+1))
			if _, full := w.r.Full(); full {
				t.Fatal("newcomers are sent away while the store is away")
			}
		}
		// Who comes and goes meanwhile leaves nothing behind.
		for i := range 10 * users {
			w.r.Add(fmt.Sprint("guest-", i), conn(i+1))
			w.r.Remove(fmt.Sprint("guest-", i), conn(i+1))
		}
		time.Sleep(time.Minute)
		if s := w.r.Stats(); !s.Away || s.Dirty < users || s.Dirty > users+2 || s.Queued != 0 {
			t.Fatalf("the counters are %+v", s)
		}
		before := w.operations()
		time.Sleep(20 * time.Second)
		if n := w.operations() - before; n > 60 { // scans, beats and its own attempts
			t.Errorf("%d operations in 20 s on a store that is away", n)
		}
		w.away.Store(false)
		began := time.Now()
		must(t, w.r.Settled(t.Context()))
		if took := time.Since(began); took > 2*time.Second+users*time.Second/1000 {
			t.Errorf("they are registered %v after the outage", took)
		}
		if got := w.stamps(t, "before"); len(got) != 0 {
			t.Errorf("who left meanwhile is at %v", got)
		}
		for _, i := range []int{0, users - 1} {
			if got := w.stamps(t, fmt.Sprint("user-", i)); len(got) != 1 {
				t.Errorf("user %d has routes %v", i, got)
			}
		}
		if s := w.r.Stats(); s.Dirty != 0 || s.Away || s.Registered != users+1 {
			t.Errorf("the counters are %+v", s)
		}
	})
}

// An edge that starts while the store is away registers its sessions when it comes.
func TestSessionsWaitForTheClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFaulty()
		s.away.Store(true)
		d := open(t, s, router.Config{})
		l, err := d.ClaimEdge(router.Member{Name: "a"}, nil)
		must(t, err)
		r, err := d.NewRegistrar(router.RegistrarConfig{Lease: l, QueueMax: 1})
		must(t, err)
		for i := range 10 {
			r.Add(fmt.Sprint("user-", i), conn(i+1))
		}
		time.Sleep(time.Minute)
		if s := r.Stats(); s.Dirty != 10 || !s.Away {
			t.Fatalf("the counters are %+v", s)
		}
		if _, full := r.Full(); full {
			t.Fatal("newcomers are sent away by an edge that could not claim")
		}
		s.away.Store(false)
		must(t, r.Settled(t.Context()))
		found, err := d.Lookup(t.Context(), []string{"user-9"})
		must(t, err)
		if number, epoch := l.ID(); len(found[0].Routes) != 1 || found[0].Routes[0].Edge != number || found[0].Routes[0].Epoch != epoch {
			t.Errorf("the routes are %+v", found[0].Routes)
		}
	})
}

func TestNewerConnectionElsewhereIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRegistrarWorld(t, router.RegistrarConfig{})
		other := claim(t, w.d, "b", nil)
		number, epoch := other.ID()
		newer := router.Route{Device: "phone", Edge: number, Epoch: epoch, Conn: 1, Stamp: 50}
		must(t, w.d.Register(t.Context(), "alice", newer))
		w.r.Add("alice", conn(40))
		must(t, w.r.Settled(t.Context()))
		synctest.Wait()
		if len(w.gone) != 1 || w.gone[0].Conn != 40 {
			t.Fatalf("superseded are %+v", w.gone)
		}
		if got := fmt.Sprint(w.stamps(t, "alice")); got != "[50]" {
			t.Errorf("the routes are %s", got)
		}
		w.r.Add("alice", conn(60))
		must(t, w.r.Settled(t.Context()))
		if got := fmt.Sprint(w.stamps(t, "alice")); got != "[60]" || len(w.gone) != 1 {
			t.Errorf("the routes are %s, superseded are %+v", got, w.gone)
		}
	})
}

// What happens to a device before the store hears of it is one change.
func TestChangesOfADeviceAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRegistrarWorld(t, router.RegistrarConfig{})
		w.r.Add("alice", conn(1))
		must(t, w.r.Settled(t.Context()))
		w.away.Store(true)
		for n := 2; n <= 40; n++ { // each replaces the one before, which ends
			w.r.Add("alice", conn(n))
			w.r.Remove("alice", conn(n-1))
		}
		w.r.Add("bob", conn(1))
		w.r.Remove("bob", conn(1))
		w.away.Store(false)
		must(t, w.r.Settled(t.Context()))
		if got := fmt.Sprint(w.stamps(t, "alice")); got != "[40]" {
			t.Errorf("the routes are %s", got)
		}
		w.r.Add("alice", conn(41))
		w.r.Remove("alice", conn(41)) // the store has 40 still
		w.r.Remove("alice", conn(40))
		must(t, w.r.Settled(t.Context()))
		if got := w.stamps(t, "alice"); len(got) != 0 {
			t.Errorf("who has gone is at %v", got)
		}
		if s := w.r.Stats(); s.Registered != 2 || s.Dropped != 0 {
			t.Errorf("the counters are %+v", s)
		}

		w.r.Add("carol", conn(1))
		must(t, w.r.Settled(t.Context()))
		for n := 2; n <= 40; n++ {
			w.r.Add("carol", conn(n))
			w.r.Remove("carol", conn(n-1)) // the first was registered, the others not
		}
		w.r.Remove("carol", conn(40))
		must(t, w.r.Settled(t.Context()))
		if got := w.stamps(t, "carol"); len(got) != 0 {
			t.Errorf("who has gone is at %v", got)
		}
	})
}
