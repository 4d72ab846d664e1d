package presence

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
)

// TestOnlineIsToldAfterADelay: a session that ends at once was never there, one
// that stays is seen within 2 s.
func TestOnlineIsToldAfterADelay(t *testing.T) {
	w := newWorld(t, nil)
	w.in("alice", "a", 1)
	w.watch("alice", 1, "bob")
	w.in("bob", "b", 2)
	w.pass(800)
	w.out("bob", "b")
	w.pass(10_000)
	w.hears(1)
	w.in("bob", "b", 3)
	w.pass(800)
	w.hears(1)
	w.pass(400)
	w.hears(1, "bob on")
}

// TestOfflineIsToldOnceItLasts within 5 s, with the time the user was last seen.
func TestOfflineIsToldOnceItLasts(t *testing.T) {
	w := newWorld(t, nil)
	w.in("alice", "a", 1)
	w.in("bob", "b", 2)
	w.watch("alice", 1, "bob")
	w.out("bob", "b")
	left := w.now
	w.pass(3800)
	w.hears(1)
	if online, _ := w.hub.Look("bob"); !online {
		t.Error("bob is offline before others see it")
	}
	w.pass(400)
	w.hears(1, fmt.Sprint("bob off ", left))
	if online, seen := w.hub.Look("bob"); online || seen != left {
		t.Errorf("bob: %v, %d", online, seen)
	}
}

// TestAFlappingClientIsQuiet: short absences are never told; of long ones others
// see two changes at once and then one in 10 s.
func TestAFlappingClientIsQuiet(t *testing.T) {
	w := newWorld(t, nil)
	w.in("alice", "a", 1)
	w.in("bob", "b", 2)
	w.watch("alice", 1, "bob")
	flap := func(times int, off, on int64) {
		for i := range times {
			w.out("bob", "b")
			w.pass(off)
			w.in("bob", "b", godwit.SessionID(3+i))
			w.pass(on)
		}
	}
	flap(100, 600, 400)
	w.hears(1)
	if s := w.hub.Stats(); s.Suppressed != 200 || s.Flips != 0 {
		t.Errorf("%+v", s)
	}
	flap(10, 5000, 5000) // 100 s, 20 changes
	if n := len(w.heard[1]); n < 8 || n > 12 {
		t.Errorf("%d changes of a slow flapper were told in 100 s", n)
	}
	w.pass(20_000)
	if got := w.heard[1]; got[len(got)-1] != "bob on" {
		t.Errorf("in the end alice heard %q", got)
	}
}

// TestAMessageThatFindsNobodyShowsThatTheUserIsGone, before the debounce is over.
func TestAMessageThatFindsNobodyShowsThatTheUserIsGone(t *testing.T) {
	w := newWorld(t, nil)
	w.in("alice", "a", 1)
	w.in("bob", "b", 2)
	w.watch("alice", 1, "bob")
	w.hub.Missed("bob") // he is there: another device got it
	w.out("bob", "b")
	left := w.now
	w.pass(1400)
	w.hears(1)
	w.hub.Missed("bob")
	w.hub.Missed("nobody")
	w.pass(200)
	w.hears(1, fmt.Sprint("bob off ", left))
}

// TestAnEdgeThatDiesTakesItsUsersOffline within 10 s; nobody says goodbye for them.
func TestAnEdgeThatDiesTakesItsUsersOffline(t *testing.T) {
	w := newWorld(t, nil)
	w.in("alice", "a", 1)
	w.in("bob", "b", 2)
	w.in("carol", "c", 3)
	w.watch("alice", 1, "bob")
	w.watch("carol", 3, "alice", "bob")
	w.vanish("bob", "b")
	w.vanish("carol", "c")
	left := w.now
	w.pass(5000)
	w.hears(1, fmt.Sprint("bob off ", left))
	w.pass(13_000) // carol's list was found to have no session, and then dropped
	w.pass(keepAfter + 13_000)
	if s := w.hub.Stats(); s.Lists != 1 || s.Watches != 1 {
		t.Errorf("%+v", s)
	}
}

// TestLookIsDebouncedForWhoIsNotWatched: the gap between two polls is not seen.
func TestLookIsDebouncedForWhoIsNotWatched(t *testing.T) {
	w := newWorld(t, nil)
	look := func(want bool, wantSeen int64) {
		t.Helper()
		if online, seen := w.hub.Look("bob"); online != want || seen != wantSeen {
			t.Errorf("bob: %v, %d; want %v, %d", online, seen, want, wantSeen)
		}
	}
	look(false, 0)
	w.in("bob", "b", 2)
	look(true, w.now)
	w.out("bob", "b")
	left := w.now
	w.pass(3800)
	look(true, w.now)
	w.pass(200)
	look(false, left)
}

// TestAnErasedUsersLastSeenIsNotTold, be he gone or yet to go.
func TestAnErasedUsersLastSeenIsNotTold(t *testing.T) {
	w := newWorld(t, nil)
	w.in("alice", "a", 1)
	w.in("bob", "b", 2)
	w.in("carol", "c", 3)
	w.watch("alice", 1, "bob", "carol")
	w.out("bob", "b")
	w.pass(5000)
	w.heard[1] = nil
	for _, user := range []godwit.UserID{"bob", "carol", "nobody"} {
		w.hub.Forget(user)
	}
	w.out("carol", "c")
	w.pass(5000)
	w.hears(1, "carol off 0")
	for _, user := range []godwit.UserID{"bob", "carol"} {
		if online, seen := w.hub.Look(user); online || seen != 0 {
			t.Errorf("%s: %v, %d", user, online, seen)
		}
	}
	w.in("bob", "b", 4)
	left := w.now
	w.out("bob", "b")
	w.pass(5000)
	if online, seen := w.hub.Look("bob"); online || seen != left {
		t.Errorf("one who comes by that name later: %v, %d", online, seen)
	}
}
