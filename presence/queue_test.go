package presence

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

// checkBudget looks at every second that begins with a frame.
func (w *world) checkBudget(t interface {
	Helper()
	Fatalf(string, ...any)
}, perSecond int,
) {
	t.Helper()
	for i, from := 0, 0; i < len(w.frames); i++ {
		for w.frames[i].at-w.frames[from].at >= 1000 {
			from++
		}
		counts := map[int]int{}
		for _, f := range w.frames[from : i+1] {
			if counts[f.edge]++; counts[f.edge] > perSecond {
				t.Fatalf("edge %d got %d frames from %d to %d, of %d a second", f.edge, counts[f.edge], w.frames[from].at, w.frames[i].at, perSecond)
			}
		}
	}
}

// storm is users and watchers who do anything, and what the watchers were told.
type storm struct {
	*world
	r               *rapid.T
	users, watchers int
	told, listed    map[[2]int]bool // watcher, user
}

func target(i int) godwit.UserID  { return godwit.UserID(fmt.Sprint("u", i)) }
func watcher(i int) godwit.UserID { return godwit.UserID(fmt.Sprint("w", i)) }

func sessionOf(i int) godwit.SessionID {
	return godwit.SessionID(i%3)<<godwit.SessionEdgeShift | godwit.SessionID(1000+i)
}

// list gives a watcher a list; its answer shows what is so now.
func (st *storm) list(i int) {
	var targets []godwit.UserID
	for u := range st.users {
		if st.listed[[2]int{i, u}] = rapid.Bool().Draw(st.r, "on the list"); st.listed[[2]int{i, u}] {
			targets = append(targets, target(u))
		}
	}
	delete(st.heard, sessionOf(i))
	st.watch(watcher(i), sessionOf(i), targets...)
	for u := range st.users {
		if st.listed[[2]int{i, u}] {
			st.told[[2]int{i, u}], _ = st.hub.Look(target(u))
		}
	}
}

func (st *storm) hear() {
	for i := range st.watchers {
		for _, text := range st.heard[sessionOf(i)] {
			var u int
			if _, err := fmt.Sscanf(text, "u%d ", &u); err != nil {
				st.r.Fatal(err)
			}
			st.told[[2]int{i, u}] = text == fmt.Sprintf("u%d on", u)
		}
		delete(st.heard, sessionOf(i))
	}
}

func (st *storm) step() {
	u, i := rapid.IntRange(0, st.users-1).Draw(st.r, "user"), rapid.IntRange(0, st.watchers-1).Draw(st.r, "watcher")
	switch rapid.IntRange(0, 5).Draw(st.r, "step") {
	case 0, 1:
		st.in(target(u), "d", godwit.SessionID(1+u))
	case 2:
		if st.Session(target(u), "d") != 0 {
			st.out(target(u), "d")
		}
	case 3:
		st.list(i)
	case 4: // a poll ends, and the next comes
		st.out(watcher(i), "d")
		st.pass(int64(rapid.IntRange(0, 20).Draw(st.r, "ticks")) * 200)
		st.in(watcher(i), "d", sessionOf(i))
	default:
		st.pass(int64(rapid.IntRange(1, 60).Draw(st.r, "ticks")) * 200)
	}
	st.hear()
}

// TestTheBudgetIsNeverExceeded, whatever users and watchers do, and in the end
// every watcher was told what is so.
func TestTheBudgetIsNeverExceeded(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const perSecond = 30
		st := &storm{world: newWorld(t, func(c *Config) { c.PerSecond = perSecond }), r: r, told: map[[2]int]bool{}, listed: map[[2]int]bool{}}
		st.users, st.watchers = rapid.IntRange(1, 20).Draw(r, "users"), rapid.IntRange(1, 20).Draw(r, "watchers")
		for i := range st.watchers {
			st.in(watcher(i), "d", sessionOf(i))
			st.list(i)
		}
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			st.step()
		}
		st.pass(30_000 + int64(st.users*st.watchers)*1000/perSecond*2)
		st.hear()
		st.checkBudget(r, perSecond)
		for pair, listed := range st.listed {
			if online, _ := st.Presence(target(pair[1])); listed && st.told[pair] != online {
				r.Fatalf("watcher %d was told that user %d is online: %v", pair[0], pair[1], st.told[pair])
			}
		}
	})
}

// TestWhatWaitsForTheBudgetIsToldAsItIsThen: a change undone meanwhile costs no frame.
func TestWhatWaitsForTheBudgetIsToldAsItIsThen(t *testing.T) {
	const watchers, perSecond = 400, 60
	w := newWorld(t, func(c *Config) { c.PerSecond = perSecond })
	for i := range watchers {
		s := godwit.SessionID(100 + i)
		user := godwit.UserID(fmt.Sprint("w", i))
		w.in(user, "d", s)
		w.watch(user, s, "bob")
	}
	w.in("bob", "b", 1)
	w.pass(2000)
	sent := w.hub.Stats()
	if sent.Waiting == 0 || sent.Limited == 0 || sent.Sent == 0 {
		t.Fatalf("%+v", sent)
	}
	w.out("bob", "b")
	w.pass(60_000)
	after := w.hub.Stats()
	if after.Waiting != 0 || after.Withdrawn == 0 || after.Sent+after.Withdrawn < watchers {
		t.Errorf("%+v", after)
	}
	for i := range watchers {
		if heard := w.heard[godwit.SessionID(100+i)]; len(heard) != 0 && len(heard) != 2 {
			t.Errorf("watcher %d heard %q", i, heard)
		}
	}
	w.checkBudget(t, perSecond)
}

// TestADeviceThatMovesUsesTheBudgetOfItsNewEdge, also for what waited at the old one.
func TestADeviceThatMovesUsesTheBudgetOfItsNewEdge(t *testing.T) {
	const perSecond, watchers = 60, 200
	w := newWorld(t, func(c *Config) { c.PerSecond = perSecond })
	at := func(edge, i int) godwit.SessionID {
		return godwit.SessionID(edge)<<godwit.SessionEdgeShift | godwit.SessionID(100+i)
	}
	for i := range watchers {
		user := godwit.UserID(fmt.Sprint("w", i))
		w.in(user, "d", at(i%2, i))
		w.watch(user, at(i%2, i), "bob")
	}
	w.in("bob", "b", 1)
	w.pass(1000)
	for i := range watchers { // all gather at edge 1, while half of them wait at edge 0
		w.in(godwit.UserID(fmt.Sprint("w", i)), "d", at(1, 1000+i))
	}
	w.pass(10_000)
	if s := w.hub.Stats(); s.Sent != watchers || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	w.checkBudget(t, perSecond)
}

// TestOneFrameServesAllWatchersOfAnEdge and rights are asked once for each of them.
func TestOneFrameServesAllWatchersOfAnEdge(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 100 {
		user := godwit.UserID(fmt.Sprint("w", i))
		w.in(user, "d", godwit.SessionID(100+i))
		w.watch(user, godwit.SessionID(100+i), "bob")
	}
	w.in("bob", "b", 1)
	w.pass(1400)
	if len(w.frames) != 100 || w.asked != 100 {
		t.Errorf("%d frames, rights asked %d times", len(w.frames), w.asked)
	}
}

// TestQueuesForgetWatchesThatAreGone before they outgrow those that are not, though
// they stand behind some that wait.
func TestQueuesForgetWatchesThatAreGone(t *testing.T) {
	const patient, listLen, rounds = 10, 500, 60
	w := newWorld(t, func(c *Config) { c.PerSecond = perSecondMin })
	list := func(name string) (users []godwit.UserID) {
		for n := range listLen {
			users = append(users, godwit.UserID(fmt.Sprint(name, n)))
		}
		return users
	}
	turn := func(users []godwit.UserID) {
		for n, user := range users {
			if w.Session(user, "d") != 0 {
				w.out(user, "d")
			} else {
				w.in(user, "d", godwit.SessionID(10+n))
			}
		}
	}
	for i := range patient {
		user := godwit.UserID(fmt.Sprint("w", i))
		w.in(user, "d", godwit.SessionID(10_000+i))
		w.watch(user, godwit.SessionID(10_000+i), list("u")...)
	}
	turn(list("u"))
	w.pass(2000)
	w.in("alice", "a", 1)
	most := 0
	for round := range rounds {
		mine := list(fmt.Sprint("v", round%2, "-"))
		w.watch("alice", 1, mine...)
		turn(mine)
		w.pass(5000)
		most = max(most, w.hub.Stats().Waiting)
	}
	if watches := (patient + 1) * listLen; most > 2*watches+goneMin+listLen || most < watches {
		t.Errorf("%d watches waited, there are %d", most, watches)
	}
	w.checkBudget(t, perSecondMin)
}

// BenchmarkFlapping is 5,000 users who come or go once a second while 1,000
// watch 50 each; an op is a second of it. CPU of the hub alone.
func BenchmarkFlapping(b *testing.B) {
	const users, watchers, listLen = 5000, 1000, 50
	for _, c := range []struct {
		name string
		on   int // of how many seconds a user is online
		of   int
	}{{"every-second", 1, 2}, {"every-10-seconds", 10, 20}} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b, nil)
			w.discards = true
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range watchers {
				user := godwit.UserID(fmt.Sprint("w", i))
				w.in(user, "d", godwit.SessionID(10_000+i))
				var list []godwit.UserID
				for range listLen {
					list = append(list, godwit.UserID(fmt.Sprint("u", rng.IntN(users))))
				}
				w.watch(user, godwit.SessionID(10_000+i), list...)
			}
			names := make([]godwit.UserID, users)
			for i := range names {
				names[i] = godwit.UserID(fmt.Sprint("u", i))
			}
			b.ReportAllocs()
			b.ResetTimer()
			for second := range b.N {
				for tick := range 5 {
					for i := tick; i < users; i += 5 {
						if phase := (second + i) % c.of; phase == 0 {
							w.hub.Changed(names[i], true, w.now)
						} else if phase == c.on {
							w.hub.Changed(names[i], false, w.now)
						}
					}
					w.pass(200)
				}
			}
			s := w.hub.Stats()
			b.ReportMetric(float64(s.Sent)/float64(b.N), "frames/s")
			b.ReportMetric(float64(s.Flips)/float64(b.N), "flips/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/users, "ns/user")
		})
	}
}
