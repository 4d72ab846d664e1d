package router_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/router/local"
)

// rough is a store that is slow and fails at random, until it is healed.
type rough struct {
	mu     sync.Mutex
	dice   *rand.Rand
	healed bool
	mood   int // 0: it works, mostly; 1: away; 2: nobody learns of commits, 3: of which none takes effect
}

func (f *rough) fault(_ context.Context, op local.Op) error {
	f.mu.Lock()
	slow, err := time.Duration(f.dice.IntN(60))*time.Millisecond, f.faultLocked(op)
	f.mu.Unlock()
	time.Sleep(slow)
	return err
}

func (f *rough) faultLocked(op local.Op) error {
	if f.healed {
		return nil
	}
	if f.dice.IntN(40) == 0 {
		f.mood = f.dice.IntN(4)
	}
	n := f.dice.IntN(20)
	switch commit := op == local.OpCommit || op == local.OpCommitted; {
	case commit && (n == 0 || n%2 == 0 && f.mood == 2 || f.mood == 3), op == local.OpCommitted && f.mood == 2:
		return router.ErrUnknown
	case op == local.OpCommitted:
	case f.mood == 1, n == 1:
		return router.ErrUnavailable
	case n == 2 && op == local.OpCommit:
		return router.ErrConflict
	}
	return nil
}

func (f *rough) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.healed = true
}

// holder is where a device's newest connection is.
type holder struct {
	edge   int
	route  router.Route
	stands bool
}

// Devices come and go at three edges while the store fails in all ways that it may:
// in the end the store has exactly what stands.
func TestRegistrarsAgreeWithTheSessionsThereAre(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { roughRun(t, seed) }) })
	}
}

func roughRun(t *testing.T, seed uint64) {
	const edges, users, steps = 3, 6, 120
	dice := rand.New(rand.NewPCG(seed, 1))
	faults := &rough{dice: rand.New(rand.NewPCG(seed, 2))}
	s := local.Open(local.Config{Fault: faults.fault})
	var registrars []*router.Registrar
	var reader *router.Directory
	for i := range edges {
		reader = open(t, s, router.Config{})
		l, err := reader.ClaimEdge(router.Member{Name: fmt.Sprint("edge-", i)}, nil)
		must(t, err)
		r, err := reader.NewRegistrar(router.RegistrarConfig{Lease: l})
		must(t, err)
		registrars = append(registrars, r)
	}
	type device struct{ user, name string }
	at := map[device]holder{}
	type late struct {
		holder
		user string
	}
	var ends []late // that are told later
	tell := func() {
		end := ends[0]
		ends = ends[1:]
		registrars[end.edge].Remove(end.user, end.route)
	}
	for n := 1; n <= steps; n++ {
		d := device{fmt.Sprint("user-", dice.IntN(users)), fmt.Sprint(dice.IntN(2))}
		was := at[d]
		if was.stands {
			ends = append(ends, late{was, d.user})
		}
		if was.stands && dice.IntN(2) == 0 {
			was.stands = false
			at[d] = was
		} else {
			now := holder{dice.IntN(edges), router.Route{Device: d.name, Conn: uint64(n), Stamp: router.Timestamp(n)}, true}
			registrars[now.edge].Add(d.user, now.route)
			at[d] = now
		}
		for len(ends) > 0 && dice.IntN(3) > 0 {
			tell()
		}
		if dice.IntN(4) == 0 {
			time.Sleep(time.Duration(dice.IntN(300)) * time.Millisecond)
		}
	}
	for len(ends) > 0 {
		tell()
	}
	faults.heal()
	for _, r := range registrars {
		must(t, r.Settled(t.Context()))
	}
	must(t, reader.Refresh(t.Context()))
	for d, want := range at {
		found, err := reader.Lookup(t.Context(), []string{d.user})
		must(t, err)
		var got []router.Timestamp
		for _, r := range found[0].Routes {
			if r.Device == d.name {
				got = append(got, r.Stamp)
			}
		}
		if want.stands && fmt.Sprint(got) != fmt.Sprint([]router.Timestamp{want.route.Stamp}) || !want.stands && len(got) != 0 {
			t.Errorf("device %s of %s is at %v, want %v (stands: %v)", d.name, d.user, got, want.route.Stamp, want.stands)
		}
	}
}
