package routertest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/godwit-im/godwit/router"
)

func testRegistrar(t *testing.T, s router.Store) {
	const users = 300
	p := open(t, s, unique())
	l := p.edge(t, "a")
	number, epoch := l.ID()
	p.look(t)
	r, err := p.NewRegistrar(router.RegistrarConfig{Lease: l, Rate: 100_000})
	must(t, err)
	defer r.Close()
	names := make([]string, users)
	for i := range names {
		names[i] = unique()
		r.Add(names[i], router.Route{Device: "phone", Conn: uint64(i), Stamp: router.Timestamp(i + 1)})
	}
	must(t, r.Settled(bounded(t)))
	found, err := p.Lookup(bounded(t), names)
	must(t, err)
	for i := range found {
		want := router.Route{Device: "phone", Edge: number, Epoch: epoch, Conn: uint64(i), Stamp: router.Timestamp(i + 1)}
		if len(found[i].Routes) != 1 || found[i].Routes[0] != want {
			t.Fatalf("user %d is at %+v, want %+v", i, found[i].Routes, want)
		}
		r.Remove(names[i], router.Route{Device: "phone", Conn: uint64(i)})
	}
	must(t, r.Settled(bounded(t)))
	found, err = p.Lookup(bounded(t), names)
	must(t, err)
	for i := range found {
		if len(found[i].Routes) != 0 || found[i].LastSeenMS == 0 {
			t.Fatalf("user %d, who has gone, is %+v", i, found[i])
		}
	}
	if st := r.Stats(); st.Registered != users || st.Removed != users || st.Refused != 0 || st.Queued+st.Dirty != 0 {
		t.Errorf("the counters are %+v", st)
	}
}

// testRegistrarChurn: devices come and go at several edges at once, and the session
// that a newer one replaces is ended. In the end each device stands where its newest
// connection is, if that has not ended, and nowhere otherwise.
func testRegistrarChurn(t *testing.T, s router.Store) {
	const edgeCount, users, rounds = 3, 8, 60
	cluster := unique()
	reader := open(t, s, cluster)
	var mu sync.Mutex
	superseded := map[router.Timestamp]bool{}
	var registrars []*router.Registrar
	for i := range edgeCount {
		p := open(t, s, cluster)
		l := p.edge(t, fmt.Sprint("edge-", i))
		r, err := p.NewRegistrar(router.RegistrarConfig{Lease: l, Rate: 100_000, Superseded: func(_ string, c router.Route) {
			mu.Lock()
			superseded[c.Stamp] = true
			mu.Unlock()
		}})
		must(t, err)
		defer r.Close()
		registrars = append(registrars, r)
	}
	reader.look(t)
	newest := make([]router.Route, users)
	stands := make([]bool, users)
	at := make([]*router.Registrar, users)
	stamp := router.Timestamp(0)
	for range rounds {
		user := rand.IntN(users)
		name := fmt.Sprintf("%s-%d", cluster, user)
		stamp++
		c := router.Route{Device: "phone", Conn: uint64(stamp), Stamp: stamp}
		r := registrars[rand.IntN(edgeCount)]
		r.Add(name, c)
		if old := newest[user]; stands[user] {
			at[user].Remove(name, old)
		}
		at[user] = r
		stands[user] = rand.IntN(2) == 0
		if !stands[user] {
			if rand.IntN(2) == 0 {
				must(t, r.Settled(bounded(t)))
			}
			r.Remove(name, c)
		}
		newest[user] = c
	}
	for _, r := range registrars {
		must(t, r.Settled(bounded(t)))
	}
	for user := range users {
		found, err := reader.Lookup(bounded(t), []string{fmt.Sprintf("%s-%d", cluster, user)})
		must(t, err)
		routes := found[0].Routes
		if !stands[user] && len(routes) != 0 {
			t.Errorf("user %d has gone, and is at %+v", user, routes)
		}
		if stands[user] && (len(routes) != 1 || routes[0].Stamp != newest[user].Stamp) {
			t.Errorf("user %d is at %+v, want stamp %d", user, routes, newest[user].Stamp)
		}
		mu.Lock()
		if superseded[newest[user].Stamp] {
			t.Errorf("the newest connection of user %d is told that it is superseded", user)
		}
		mu.Unlock()
	}
}
