package live

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/godwit-im/godwit"
)

func newRouter(t *testing.T, cfg Config) *Router {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sessions(r *Router, user godwit.UserID) []godwit.SessionID {
	s := r.Sessions(user, nil)
	slices.Sort(s)
	return s
}

func TestRegisterReplacesTheSameDeviceOnly(t *testing.T) {
	r := newRouter(t, Config{})
	if _, why := r.Register("bob", "phone", 1, 0); why != 0 {
		t.Error("first session replaced one")
	}
	if _, why := r.Register("bob", "web", 2, 0); why != 0 {
		t.Error("another device replaced one")
	}
	if old, why := r.Register("bob", "phone", 3, 0); why != godwit.CloseReplaced || old != 1 {
		t.Errorf("replaced %d, %v, want 1", old, why)
	}
	if got := sessions(r, "bob"); !slices.Equal(got, []godwit.SessionID{2, 3}) {
		t.Errorf("sessions %v", got)
	}
	if got := sessions(r, "alice"); len(got) != 0 {
		t.Errorf("alice has %v", got)
	}
}

func TestTheOldestSessionGivesWay(t *testing.T) {
	r := newRouter(t, Config{SessionsMax: 3})
	f := func(device string, s, gone godwit.SessionID, why godwit.CloseCode, left ...godwit.SessionID) {
		t.Helper()
		if g, w := r.Register("bob", device, s, 0); g != gone || w != why {
			t.Errorf("%s: session %d gives way for %d, want %d for %d", device, g, w, gone, why)
		}
		if got := sessions(r, "bob"); !slices.Equal(got, left) {
			t.Errorf("%s: sessions %v, want %v", device, got, left)
		}
	}
	f("a", 1, 0, 0, 1)
	f("b", 2, 0, 0, 1, 2)
	f("c", 3, 0, 0, 1, 2, 3)
	f("a", 4, 1, godwit.CloseReplaced, 2, 3, 4) // a is the newest now
	f("d", 5, 2, godwit.CloseSessions, 3, 4, 5)
	r.Unregister("bob", "b", 2) // its close arrives
	f("e", 6, 3, godwit.CloseSessions, 4, 5, 6)
	r.Unregister("bob", "d", 5)
	f("f", 7, 0, 0, 4, 6, 7)
}

func TestUnregisterOfAnOldSessionKeepsTheNewerOne(t *testing.T) {
	r := newRouter(t, Config{})
	r.Register("bob", "phone", 1, 0)
	r.Register("bob", "phone", 2, 0)
	r.Unregister("bob", "phone", 1)
	r.Unregister("bob", "web", 2)
	r.Unregister("alice", "phone", 2)
	if got := sessions(r, "bob"); !slices.Equal(got, []godwit.SessionID{2}) {
		t.Errorf("sessions %v, want [2]", got)
	}
	if online, _ := r.Presence("bob"); !online {
		t.Error("bob went offline by an old session's end")
	}
}

func TestPresenceIsTrueOfLiveSessions(t *testing.T) {
	now := int64(1000)
	r := newRouter(t, Config{Clock: func() int64 { return now }})
	f := func(wantOnline bool, wantSeen int64) {
		t.Helper()
		if online, seen := r.Presence("bob"); online != wantOnline || seen != wantSeen {
			t.Errorf("presence %v %d, want %v %d", online, seen, wantOnline, wantSeen)
		}
	}
	f(false, 0)
	r.Register("bob", "phone", 1, 0)
	r.Register("bob", "web", 2, 0)
	now = 2000
	f(true, 2000)
	r.Unregister("bob", "web", 2)
	f(true, 2000)
	now = 3000
	r.Unregister("bob", "phone", 1)
	now = 4000
	f(false, 3000)
	r.Unregister("bob", "phone", 1) // a second time
	f(false, 3000)
	r.Register("bob", "phone", 3, 0)
	f(true, 4000)
}

func TestLastSeenForgetsTheOldestDeparture(t *testing.T) {
	l := newLastSeen(3)
	for i, user := range []godwit.UserID{"a", "b", "a", "c", "a", "b"} {
		l.add(user, int64(i+1))
	}
	l.add("d", 7)
	for user, want := range map[godwit.UserID]int64{"a": 5, "b": 6, "c": 0, "d": 7} {
		if got := l.get(user); got != want {
			t.Errorf("%s seen at %d, want %d", user, got, want)
		}
	}
	for i := range 10000 {
		l.add(godwit.UserID([]string{"a", "b", "c", "d", "e"}[i%5]), int64(i))
		if i%7 == 0 {
			l.remove("c")
		}
		if len(l.at) > 3 || len(l.order) > 7 {
			t.Fatalf("table of %d holds %d users in %d places", l.max, len(l.at), len(l.order))
		}
	}
}

func TestConcurrentDevicesEndWithTheirNewestSession(t *testing.T) {
	r := newRouter(t, Config{LastSeenMax: 64})
	const users, devices, rounds = 8, 3, 200
	var next atomic.Uint64
	var wg sync.WaitGroup
	for u := range users {
		user := godwit.UserID(fmt.Sprint("user", u))
		for d := range devices {
			device := fmt.Sprint("device", d)
			wg.Go(func() {
				for range rounds {
					s := godwit.SessionID(next.Add(1))
					if old, why := r.Register(user, device, s, 0); why != 0 {
						r.Unregister(user, device, old)
					}
					if got := r.Sessions(user, nil); !slices.Contains(got, s) || len(got) > devices {
						t.Errorf("%s has %v without %d", user, got, s)
					}
					r.Presence(user)
					if s%2 == 0 {
						r.Unregister(user, device, s)
					}
				}
				r.Unregister(user, device, 0)
			})
		}
	}
	wg.Wait()
	for u := range users {
		if got := r.Sessions(godwit.UserID(fmt.Sprint("user", u)), nil); len(got) > devices {
			t.Errorf("user %d has %d sessions", u, len(got))
		}
	}
}

func TestSessionsDoesNotAllocate(t *testing.T) {
	r := newRouter(t, Config{})
	r.Register("bob", "phone", 1, 0)
	dst := make([]godwit.SessionID, 0, 4)
	if n := testing.AllocsPerRun(100, func() { dst = r.Sessions("bob", dst[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestUnregisterEdgeRemovesAllOfItsSessionsAndNoOthers(t *testing.T) {
	now := int64(1000)
	r := newRouter(t, Config{Clock: func() int64 { return now }})
	at := func(edge, session int) godwit.SessionID {
		return godwit.SessionID(edge)<<godwit.SessionEdgeShift | godwit.SessionID(session)
	}
	for i := range 500 { // users over all shards
		user := godwit.UserID(fmt.Sprint("u", i))
		r.Register(user, "phone", at(3, i), 0)
		if i%2 == 0 {
			r.Register(user, "web", at(i%3, i), 0)
			r.Register(user, "tv", at(3, 1000+i), 0)
		}
	}
	now = 2000
	r.UnregisterEdge(3)
	for i := range 500 {
		user := godwit.UserID(fmt.Sprint("u", i))
		online, seen := r.Presence(user)
		if i%2 == 0 {
			if got := sessions(r, user); !online || !slices.Equal(got, []godwit.SessionID{at(i%3, i)}) {
				t.Fatalf("%s: online %v, sessions %v", user, online, got)
			}
		} else if online || seen != 2000 {
			t.Fatalf("%s: online %v, last seen %d, want offline since the edge's end", user, online, seen)
		}
	}
	r.Unregister("u1", "phone", at(3, 1)) // late: nothing is left of it
	r.Register("u1", "phone", at(4, 1), 0)
	r.UnregisterEdge(3)
	if online, _ := r.Presence("u1"); !online {
		t.Error("a session of another edge went with edge 3")
	}
}

// TestChangesAreToldInOrder: a user's first session and the end of his last, be it
// that of a dead edge process, and nothing between.
func TestChangesAreToldInOrder(t *testing.T) {
	var told []string
	now := int64(0)
	r, err := New(Config{Clock: func() int64 { now++; return now }, SessionsMax: 2, Changed: func(user godwit.UserID, online bool, nowMS int64) {
		told = append(told, fmt.Sprint(string(user), online, nowMS))
	}})
	if err != nil {
		t.Fatal(err)
	}
	remote := godwit.SessionID(3) << godwit.SessionEdgeShift
	r.Register("bob", "a", 1, 0)      // 1
	r.Register("bob", "a", 2, 0)      // 2: the same device
	r.Register("bob", "b", remote, 0) // 3
	r.Register("bob", "c", 4, 0)      // 4: a gives way
	r.Unregister("bob", "a", 2)       // 5: it is gone already
	r.Unregister("bob", "c", 4)       // 6
	if device, ok := r.Device("bob", remote); !ok || device != "b" || r.Session("bob", "b") != remote || r.Session("bob", "c") != 0 {
		t.Errorf("%q %v", device, ok)
	}
	if device, ok := r.Device("bob", 4); ok {
		t.Errorf("a session that ended is of %q", device)
	}
	r.UnregisterEdge(2)          // 7
	r.UnregisterEdge(3)          // 8
	r.Register("bob", "a", 5, 0) // 9
	r.Unregister("bob", "a", 5)  // 10
	if want := []string{"bobtrue 1", "bobfalse 8", "bobtrue 9", "bobfalse 10"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
