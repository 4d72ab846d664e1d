package presence

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

// TestAListReplacesTheOneBefore: who is on it is told of, the others no more.
func TestAListReplacesTheOneBefore(t *testing.T) {
	w := newWorld(t, nil)
	w.in("alice", "a", 1)
	w.watch("alice", 1, "bob", "carol", "bob")
	w.watch("alice", 1, "carol", "dave")
	for i, user := range []godwit.UserID{"bob", "carol", "dave"} {
		w.in(user, "x", godwit.SessionID(10+i))
	}
	w.pass(1400)
	got := w.heard[1]
	slices.Sort(got)
	w.hears(1, "carol on", "dave on")
	if s := w.hub.Stats(); s.Watches != 2 || s.Lists != 1 {
		t.Errorf("%+v", s)
	}
	w.watch("alice", 1)
	w.out("carol", "x")
	w.pass(10_000)
	w.hears(1)
	if s := w.hub.Stats(); s.Watches != 0 || len(w.hub.shard("carol").users) != 0 {
		t.Errorf("%+v", s)
	}
}

// TestTheNewerListCounts whichever request is served first.
func TestTheNewerListCounts(t *testing.T) {
	w := newWorld(t, nil)
	w.in("alice", "a", 1)
	older, newer := w.hub.Order(), w.hub.Order()
	for _, o := range []struct {
		order  uint64
		target godwit.UserID
	}{{newer, "bob"}, {older, "carol"}} {
		device, err := w.hub.Watch(o.order, 1, "alice", "", []godwit.UserID{o.target}, []bool{false})
		if err != nil {
			t.Fatal(err)
		}
		defer w.hub.Answered("alice", device)
	}
	w.in("bob", "b", 2)
	w.in("carol", "c", 3)
	w.pass(2000)
	w.hears(1) // the answers are not out
	w.hub.Answered("alice", "a")
	w.pass(200)
	w.hears(1)
	w.hub.Answered("alice", "a")
	w.pass(200)
	w.hears(1, "bob on")
}

// TestNoChangeIsToldBeforeTheAnswer that shows what was before it.
func TestNoChangeIsToldBeforeTheAnswer(t *testing.T) {
	w := newWorld(t, nil)
	w.in("alice", "a", 1)
	w.in("bob", "b", 2)
	w.watch("alice", 1, "bob") // her second list
	device, err := w.hub.Watch(w.hub.Order(), 1, "alice", "", []godwit.UserID{"bob"}, []bool{false})
	if err != nil {
		t.Fatal(err)
	}
	w.out("bob", "b")
	left := w.now
	w.pass(5000)
	w.hears(1)
	w.hub.Answered("alice", device)
	w.pass(200)
	w.hears(1, fmt.Sprint("bob off ", left))
}

// TestAListOutlivesItsPoll: what changes between two polls is told by the next, and
// a list nobody comes back for goes.
func TestAListOutlivesItsPoll(t *testing.T) {
	w := newWorld(t, nil)
	w.watchAs("alice", 99, "web", "bob") // by a call, before the first poll
	w.in("bob", "b", 2)
	w.pass(1400)
	w.hears(99)
	w.in("alice", "web", 5)
	w.pass(200)
	w.hears(5, "bob on")
	w.out("alice", "web")
	w.out("bob", "b")
	left := w.now
	w.pass(5000)
	w.in("alice", "web", 6)
	w.pass(200)
	w.hears(6, fmt.Sprint("bob off ", left))
	w.in("alice", "web", 7) // a newer poll of the device; the older one ends after it
	w.hub.Detach("alice", "web", 6)
	w.in("bob", "b", 3)
	w.pass(10_000) // it is his third change
	w.hears(7, "bob on")
	w.hears(6)
	w.out("alice", "web")
	w.pass(keepAfter + 20_000)
	if s := w.hub.Stats(); s.Lists != 0 || s.Watches != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAListWithoutADeviceIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.hub.Watch(1, 9, "alice", "", []godwit.UserID{"bob"}, []bool{false}); !errors.Is(err, ErrNoDevice) {
		t.Error(err)
	}
}

// TestListsAreBounded: a list that has no room is refused, and the one before stays.
func TestListsAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.ListMax, c.WatchesMax = 5, 8 })
	many := func(from, n int) (users []godwit.UserID) {
		for i := range n {
			users = append(users, godwit.UserID(fmt.Sprint("u", from+i)))
		}
		return users
	}
	refused := func(s godwit.SessionID, user godwit.UserID, device string, targets []godwit.UserID) {
		t.Helper()
		before := w.hub.Stats()
		if _, err := w.hub.Watch(w.hub.Order(), s, user, device, targets, make([]bool, len(targets))); !errors.Is(err, ErrFull) {
			t.Errorf("%d watches of %s: %v", len(targets), user, err)
		}
		if after := w.hub.Stats(); after.Watches != before.Watches {
			t.Errorf("%+v, before %+v", after, before)
		}
	}
	w.in("alice", "a", 1)
	w.in("bob", "b", 2)
	refused(1, "alice", "", many(0, 6))
	w.watch("alice", 1, many(0, 5)...)
	refused(2, "bob", "", many(0, 4))
	w.watch("bob", 2, many(0, 3)...)
	w.watch("alice", 1, many(0, 2)...)
	w.watch("bob", 2, many(10, 5)...)
	if s := w.hub.Stats(); s.Watches != 7 {
		t.Errorf("%+v", s)
	}

	// One user's devices.
	w.watch("bob", 2)
	for i := range 100 {
		w.watchAs("bob", 2, fmt.Sprint("d", i), "u1")
		w.pass(200)
		w.watchAs("bob", 2, fmt.Sprint("d", i))
	}
	if n := len(w.hub.lists[shardOf("bob")].users["bob"]); n != deviceListsMax {
		t.Errorf("%d lists of one user", n)
	}
	if w.hub.lists[shardOf("bob")].find("bob", "b") == nil {
		t.Error("a list with a session gave way")
	}
}

// TestABlockedWatcherIsToldNoMore: he sees the user go offline, without a time, and
// nothing after it until he may see him again.
func TestABlockedWatcherIsToldNoMore(t *testing.T) {
	w := newWorld(t, nil)
	w.in("alice", "a", 1)
	w.in("carol", "c", 3)
	w.in("bob", "b", 2)
	w.watch("alice", 1, "bob")
	w.watch("carol", 3, "bob")
	w.refuse[[2]godwit.UserID{"bob", "alice"}] = true
	w.hub.Recheck("bob")
	w.hub.Recheck("nobody")
	w.pass(200)
	w.hears(1, "bob off 0")
	w.hears(3)
	for i := range 3 {
		w.pass(30_000)
		w.out("bob", "b")
		w.pass(30_000)
		w.in("bob", "b", godwit.SessionID(10+i))
	}
	w.pass(5000)
	w.hears(1)
	if n := len(w.heard[3]); n != 6 {
		t.Errorf("carol heard of %d changes", n)
	}
	w.watch("alice", 1, "bob") // asking again changes nothing
	w.pass(5000)
	w.hears(1)
	delete(w.refuse, [2]godwit.UserID{"bob", "alice"})
	w.hub.Recheck("bob")
	w.pass(200)
	w.hears(1, "bob on")
	if s := w.hub.Stats(); s.Hidden != 1 {
		t.Errorf("%+v", s)
	}
}

// TestRightsAreAskedBeforeEachFrame: one who lost them in another way than by a
// block is told no more either.
func TestRightsAreAskedBeforeEachFrame(t *testing.T) {
	w := newWorld(t, nil)
	w.in("alice", "a", 1)
	w.watch("alice", 1, "bob")
	w.refuse[[2]godwit.UserID{"bob", "alice"}] = true
	w.in("bob", "b", 2)
	w.pass(60_000)
	w.out("bob", "b")
	w.pass(60_000)
	w.hears(1)
}
