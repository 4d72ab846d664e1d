package chat

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

const anHour = int64(time.Hour / time.Millisecond)

// retained is a service whose entries are kept for a day, with a clock that hours
// move: the ticks pass without the cost of 36000 of them.
func retained(t *testing.T, groups int, f func(s *served, hours func(n int, clock int64))) {
	ruled(t, groups, func(c *Config) { c.Retention = 24 * time.Hour }, f)
}

// ruled is retained with a configuration.
func ruled(t *testing.T, groups int, change func(*Config), f func(s *served, hours func(n int, clock int64))) {
	var now atomic.Int64
	now.Store(1_700_000_000_000)
	bubble(t, groups, func(c *Config) {
		c.Now = func() int64 { return now.Load() }
		change(c)
	}, func(s *served) {
		s.store.clock = now.Load()
		hours := func(n int, clock int64) {
			for range n {
				s.store.mu.Lock()
				s.store.clock = max(s.store.clock, now.Add(clock))
				s.store.mu.Unlock()
				s.service.retention.due <- struct{}{}
				s.settle()
			}
		}
		f(s, hours)
	})
}

func TestOldEntriesExpire(t *testing.T) {
	for _, groups := range []int{1, 8} {
		retained(t, groups, func(s *served, hours func(int, int64)) {
			alice, bob, _ := usersApart(8)
			for day := range 3 {
				s.send(alice, string(bob), fmt.Sprint("c", day), fmt.Sprint("day ", day))
				hours(24, anHour)
			}
			// Day 2's message is 24 hours old, which one look has found so far.
			if got := s.history(bob, "u:alice"); !slices.Equal(got, []string{"day 2"}) {
				t.Errorf("kept: %q", got)
			}
			hours(1, anHour)
			if got := s.history(bob, "u:alice"); len(got) != 1 {
				t.Errorf("kept: %q: not older than a day when the look before was made", got)
			}
			hours(1, anHour)
			if got := s.history(alice, "u:"+string(bob)); len(got) != 0 {
				t.Errorf("kept: %q", got)
			}
			before := s.store.digests()
			if r := s.store.replica(); !slices.Equal(r.digests(), before) {
				t.Error("a replay gives another state")
			}
			s.send(alice, string(bob), "c9", "new")
			s.settle()
			if got := s.history(bob, "u:alice"); !slices.Equal(got, []string{"new"}) {
				t.Errorf("after it: %q", got)
			}
		})
	}
}

// A clock that jumps a year ahead erases nothing, whether it comes back or not,
// before looks agree again.
func TestAJumpOfTheClockErasesNothing(t *testing.T) {
	retained(t, 1, func(s *served, hours func(int, int64)) {
		year := 365 * 24 * anHour
		s.send("alice", "bob", "c1", "kept")
		f := func(what string, n int, clock int64, want int) {
			t.Helper()
			hours(n, clock)
			if got := s.history("bob", "u:alice"); len(got) != want {
				t.Errorf("%s: %d messages", what, len(got))
			}
		}
		f("as usual", 3, anHour, 1)
		f("a jump", 1, year, 1)
		f("a jump back", 1, -year, 1)
		f("as usual", 5, anHour, 1)
		f("a jump", 1, year, 1)
		f("one look after", 1, anHour, 1)
		if n := s.service.retention.refused.Load(); n != 2 {
			t.Errorf("%d looks refused", n)
		}
		f("a clock that stays", 1, anHour, 0)
	})
}

func TestAFreshLeaderLooksTwice(t *testing.T) {
	retained(t, 1, func(s *served, hours func(int, int64)) {
		s.send("alice", "bob", "c1", "x")
		hours(1, 30*24*anHour) // the first look of all
		if got := s.history("bob", "u:alice"); len(got) != 1 {
			t.Error("one look was enough")
		}
		hours(1, anHour)
		if got := s.history("bob", "u:alice"); len(got) != 0 {
			t.Error("two looks were not")
		}
	})
}

// What a lane has yet to deliver is rebuilt from the log, so it stays.
func TestUndeliveredEntriesDoNotExpire(t *testing.T) {
	retained(t, 8, func(s *served, hours func(int, int64)) {
		alice, bob, lane := usersApart(8)
		thaw := s.freeze(s.store.Group(lane.dst))
		s.send(alice, string(bob), "c1", "on its way")
		hours(40, anHour)
		if got := s.history(alice, "u:"+string(bob)); len(got) != 1 {
			t.Error("a message went while its lane held it")
		}
		thaw()
		s.tick(40)
		if st := s.service.Stats(); st.OutboxItems != 0 {
			t.Errorf("%d items wait", st.OutboxItems)
		}
		hours(3, anHour) // the first tick of all made a look, an hour too early
		if got := s.history(alice, "u:"+string(bob)); len(got) != 0 {
			t.Error("it did not go after it had arrived")
		}
	})
}

func TestRetentionLooksOnceAnHour(t *testing.T) {
	r := &retention{due: make(chan struct{}, 1)}
	looks := 0
	for range 3 * int(time.Hour/TickInterval) {
		r.tick()
		select {
		case <-r.due:
			looks++
		default:
		}
	}
	if looks != 3 {
		t.Errorf("%d looks in three hours", looks)
	}
}
