package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// keeps sets a rule for a conversation, of a group without a user.
func (s *served) keeps(user godwit.UserID, conv string, d time.Duration) {
	s.t.Helper()
	if err := s.service.SetRetention(context.Background(), user, godwit.ConversationID(conv), d, "root"); err != nil {
		s.t.Fatal(err)
	}
}

// item is a conversation in its owner's list.
func (s *served) item(user godwit.UserID, conv string) (item godwit.ConversationItem, listed bool) {
	s.t.Helper()
	r := s.ask(user, &godwit.ClientFrame{Kind: godwit.KindConversations})
	for _, item := range r.Conversations.Items {
		if string(item.Conv) == conv {
			return item, true
		}
	}
	return item, false
}

// wantWhole: the log of a user has no holes for who reads it.
func (s *served) wantWhole(user godwit.UserID) {
	s.t.Helper()
	next := godwit.Seq(1)
	entries := s.syncAll(user)
	for i := range entries {
		e := &entries[i]
		if e.Seq != next {
			s.t.Errorf("%s gets %d after %d", user, e.Seq, next-1)
		}
		if next = e.Seq + 1; e.IsSkip() {
			next = e.SkipTo + 1
		}
	}
}

// wantReplay: a replay of all commands gives the same state.
func (s *served) wantReplay() {
	s.t.Helper()
	if before := s.store.digests(); !slices.Equal(s.store.replica().digests(), before) {
		s.t.Error("a replay gives another state")
	}
}

const days = 24 * time.Hour

func TestAConversationIsKeptForItsOwnTime(t *testing.T) {
	for _, groups := range []int{1, 8} {
		ruled(t, groups, func(*Config) {}, func(s *served, hours func(int, int64)) {
			alice, bob, _ := usersApart(8)
			ab, ba := "u:"+string(bob), "u:"+string(alice)
			s.keeps(bob, ba, 2*days)
			for day := range 3 {
				s.send(alice, string(bob), fmt.Sprint("c", day), fmt.Sprint("day ", day))
				s.send(bob, string(alice), fmt.Sprint("d", day), fmt.Sprint("echo ", day))
				s.send(alice, "carol", fmt.Sprint("e", day), fmt.Sprint("carol ", day))
				hours(24, anHour)
			}
			hours(2, anHour) // day 1 is more than 48 hours old for two looks
			for _, side := range []struct {
				user, peer godwit.UserID
				conv       string
			}{{alice, bob, ab}, {bob, alice, ba}} {
				if got := s.history(side.user, side.conv); !slices.Equal(got, []string{"day 2", "echo 2"}) {
					t.Errorf("%s kept %q", side.user, got)
				}
				if n := s.unread(side.user, side.peer); n != 1 {
					t.Errorf("%s has %d unread, of one that is left", side.user, n)
				}
				s.wantWhole(side.user)
			}
			if got := s.history(alice, "u:carol"); len(got) != 3 || s.unread("carol", alice) != 3 {
				t.Errorf("the conversation without a rule: %q", got)
			}
			hours(25, anHour)
			if got := s.history(bob, ba); len(got) != 0 || s.unread(bob, alice) != 0 {
				t.Errorf("%q and %d unread after three days", got, s.unread(bob, alice))
			}
			s.send(alice, string(bob), "c9", "new")
			s.settle()
			if got := s.history(bob, ba); !slices.Equal(got, []string{"new"}) || s.unread(bob, alice) != 1 {
				t.Errorf("after it: %q", got)
			}
			s.wantReplay()
		})
	}
}

// A rule outlives a restart, ends when it is taken back, and does not shorten what
// is kept for all.
func TestARuleEndsWhenItIsTakenBack(t *testing.T) {
	ruled(t, 8, func(*Config) {}, func(s *served, hours func(int, int64)) {
		alice, bob, _ := usersApart(8)
		ba := "u:" + string(alice)
		s.keeps(alice, "u:"+string(bob), days)
		s.send(alice, string(bob), "c1", "first")
		hours(20, anHour)
		now := s.service.cfg.Now
		s.close()
		s.store = s.store.replica()
		s.start(func(c *Config) { c.Now = now })
		hours(5, anHour)
		if got := s.history(bob, ba); len(got) != 1 {
			t.Errorf("kept: %q: the looks of a new leader agree on 24 hours only now", got)
		}
		hours(1, anHour)
		if got := s.history(bob, ba); len(got) != 0 {
			t.Errorf("kept: %q: the rule did not outlive the restart", got)
		}
		s.send(alice, string(bob), "c2", "second")
		s.settle()
		s.keeps(bob, ba, 0)
		hours(50, anHour)
		if got := s.history(bob, ba); !slices.Equal(got, []string{"second"}) || len(s.history(alice, "u:"+string(bob))) != 1 {
			t.Errorf("kept: %q without a rule", got)
		}
		for _, g := range s.store.groups {
			for key := range g.rows {
				if key[2] == rowKept {
					t.Errorf("row %q is left", key)
				}
			}
		}
	})
}

// The rules go by the same looks as retention for all.
func TestAJumpOfTheClockErasesNothingThatIsKept(t *testing.T) {
	ruled(t, 1, func(*Config) {}, func(s *served, hours func(int, int64)) {
		year := 365 * 24 * anHour
		s.keeps("alice", "u:bob", days)
		s.send("alice", "bob", "c1", "kept")
		g := s.createGroup("alice", "g1", "club", "bob")
		conv := "g:" + string(g.Group)
		s.keeps("", conv, days)
		s.send("alice", conv, "c2", "kept")
		s.tick(2 * fannedTicks)
		f := func(what string, n int, clock int64, want int) {
			t.Helper()
			hours(n, clock)
			if got, club := len(s.history("bob", "u:alice")), len(s.readable("bob", conv)); got != want || club != 3*want && club != 2*want {
				t.Errorf("%s: %d messages, %d entries of the group", what, got, club)
			}
		}
		f("as usual", 3, anHour, 1)
		f("a jump", 1, year, 1)
		f("a jump back", 1, -year, 1)
		f("as usual", 5, anHour, 1)
		f("a jump", 1, year, 1)
		f("one look after", 1, anHour, 1)
		f("two looks", 1, anHour, 0)
	})
}

// A group's log loses what is old, and so do members' and former members' logs;
// what came later stays, and nobody waits at a hole.
func TestAGroupIsKeptForItsOwnTime(t *testing.T) {
	for _, groups := range []int{1, 8} {
		ruled(t, groups, func(*Config) {}, func(s *served, hours func(int, int64)) {
			users := manyUsers(100) // more than a step looks at
			g := s.createGroup("alice", "g1", "club", append(users, "eve")...)
			id, conv := string(g.Group), "g:"+string(g.Group)
			s.keeps("", conv, days)
			s.send("alice", conv, "c1", "old")
			s.send(godwit.UserID(users[0]), "alice", "x1", "aside")
			s.send(godwit.UserID(users[0]), conv, "c2", "old, too")
			s.mustGroup(s.askGroup("alice", godwit.GroupRemove, id, withUsers("eve")))
			hours(20, anHour)
			s.send("alice", conv, "c3", "new")
			s.tick(2 * fannedTicks)
			s.service.retention.due <- struct{}{} // for the look of the first tick, at the same hour
			s.settle()
			hours(7, anHour)
			s.tick(3)
			for _, user := range append(users, "alice") {
				user := godwit.UserID(user)
				if got := s.readable(user, conv); !slices.Equal(got, []string{"new"}) {
					t.Errorf("%s reads %q", user, got)
				}
				want := uint64(1)
				if user == "alice" {
					want = 0
				}
				if item, _ := s.item(user, conv); item.Unread != want {
					t.Errorf("%s has %d unread, not %d", user, item.Unread, want)
				}
				s.wantWhole(user)
			}
			if got := s.readable("eve", conv); len(got) != 0 {
				t.Errorf("eve, who left, reads %q", got)
			}
			if row, _ := conversationOf(s.store.View(s.store.Group(godwit.UserID("eve").Partition())), "eve", []byte(conv)); row.unread(0) != 0 {
				t.Errorf("eve, who left, has %d unread", row.unread(0))
			}
			if got := s.readable("alice", "u:"+users[0]); len(got) != 1 {
				t.Errorf("the conversation without a rule: %q", got)
			}
			s.wantReplay()
		})
	}
}

// In a channel nothing is written for each member, and still what is gone is not
// counted.
func TestAChannelIsKeptForItsOwnTime(t *testing.T) {
	ruled(t, 8, func(c *Config) { c.Policy.ChannelAbove = 3 }, func(s *served, hours func(int, int64)) {
		g := s.createGroup("alice", "g1", "news", manyUsers(9)...)
		conv := "g:" + string(g.Group)
		s.keeps("", conv, days)
		for i := range 4 {
			s.send("alice", conv, fmt.Sprint("c", i), fmt.Sprint("old ", i))
		}
		s.tick(2 * fannedTicks)
		hours(12, anHour)
		s.send("alice", conv, "c8", "new")
		s.settle()
		reader := godwit.UserID(manyUsers(9)[4])
		if item, _ := s.item(reader, conv); !item.Channel || item.Unread != 5 {
			t.Fatalf("before: %+v", item)
		}
		head := s.ask(reader, &godwit.ClientFrame{Kind: godwit.KindSync}).Sync.Head
		hours(14, anHour)
		if item, _ := s.item(reader, conv); item.Unread != 1 || string(item.Last.Msg.Body) != "new" {
			t.Errorf("%d unread, last %q", item.Unread, item.Last.Msg.Body)
		}
		if got := s.readable(reader, conv); !slices.Equal(got, []string{"new"}) {
			t.Errorf("he reads %q", got)
		}
		if now := s.ask(reader, &godwit.ClientFrame{Kind: godwit.KindSync}).Sync.Head; now != head {
			t.Errorf("his log went from %d to %d", head, now)
		}
		s.wantWhole(reader)
		s.wantReplay()
	})
}

// What a lane or the fan-out has yet to deliver is read from the log, so it stays.
func TestUndeliveredEntriesOfAKeptConversationStay(t *testing.T) {
	ruled(t, 8, func(*Config) {}, func(s *served, hours func(int, int64)) {
		alice, bob, lane := usersApart(8)
		g := s.createGroup(alice, "g0", "club", string(bob))
		for i := 1; s.store.Group(groupOfID([]byte(g.Group)).Partition()) == s.store.Group(lane.dst); i++ { // ids are random
			g = s.createGroup(alice, fmt.Sprint("g", i), "club", string(bob))
		}
		conv := "g:" + string(g.Group)
		s.keeps(alice, "u:"+string(bob), days)
		s.keeps("", conv, days)
		s.tick(2 * fannedTicks)
		thaw := s.freeze(s.store.Group(lane.dst))
		s.send(alice, string(bob), "c1", "on its way")
		s.ask(alice, sendFrame(conv, "c2", "to the club"))
		hours(40, anHour)
		if got := s.history(alice, "u:"+string(bob)); len(got) != 1 {
			t.Error("a message went while its lane held it")
		}
		thaw()
		s.tick(60)
		if got := s.sync(bob); !strings.Contains(fmt.Sprint(got), "on its way") || !strings.Contains(fmt.Sprint(got), "to the club") {
			t.Errorf("bob got %q", got)
		}
		hours(3, anHour)
		s.tick(2)
		for _, user := range []godwit.UserID{alice, bob} {
			if got := s.sync(user); strings.Contains(fmt.Sprint(got), "on its way") || strings.Contains(fmt.Sprint(got), "to the club") {
				t.Errorf("%s still reads %q", user, got)
			}
		}
	})
}

// A sweep looks at so many logs and goes on with the next tick.
func TestASweepGoesOnWithTheNextTick(t *testing.T) {
	ruled(t, 8, func(*Config) {}, func(s *served, hours func(int, int64)) {
		const n = sweepStep + 10
		s.tick(1) // its look is the first
		for i := range n {
			s.keeps("alice", fmt.Sprint("u:u", i), days)
			s.send("alice", fmt.Sprint("u", i), "c", "old")
		}
		left := func() (left int) {
			for i := range n {
				left += len(s.history("alice", fmt.Sprint("u:u", i))) + len(s.history(godwit.UserID(fmt.Sprint("u", i)), "u:alice"))
			}
			return left
		}
		hours(25, anHour)
		if got := left(); got != 2*n {
			t.Errorf("%d of %d messages are left after a day", got, 2*n)
		}
		for steps := 0; ; steps++ {
			if steps == 0 {
				hours(1, anHour)
			} else {
				s.tick(1)
			}
			if got, want := left(), max(0, 2*n-(steps+1)*sweepStep); got != want {
				t.Fatalf("after %d steps %d are left, not %d", steps+1, got, want)
			} else if want == 0 {
				break
			}
		}
	})
}

// The group's log goes by what its row says when the command is applied.
func TestARuleIsJudgedAgainWhenAGroupExpires(t *testing.T) {
	ruled(t, 1, func(*Config) {}, func(s *served, hours func(int, int64)) {
		g := s.createGroup("alice", "g1", "club", "bob")
		s.send("alice", "g:"+string(g.Group), "c1", "hi")
		s.tick(2 * fannedTicks)
		s.keeps("", "g:"+string(g.Group), days)
		row := groupOfStore(t, s.store, string(g.Group))
		now := s.service.cfg.Now()
		good := keepCommand{op: keepExpired, id: []byte(g.Group), kept: days.Milliseconds(), before: now - days.Milliseconds(), upTo: row.fanned, ordinal: 1}
		for name, change := range map[string]func(*keepCommand){
			"another rule":        func(c *keepCommand) { c.kept-- },
			"what is not old":     func(c *keepCommand) { c.before++ },
			"what is not fanned":  func(c *keepCommand) { c.upTo++ },
			"more than there are": func(c *keepCommand) { c.ordinal = 2 },
		} {
			c, before := good, s.store.digests()
			change(&c)
			if _, err := s.service.run(context.Background(), g.Group.Partition(), c.append(nil, 0)); !errors.Is(err, godwit.ErrFrameInvalid) {
				t.Errorf("%s: %v", name, err)
			}
			if !slices.Equal(before, s.store.digests()) {
				t.Errorf("%s was refused and changed the state", name)
			}
		}
		if _, err := s.service.run(context.Background(), g.Group.Partition(), good.append(nil, 0)); err != nil {
			t.Error(err)
		}
		if row := groupOfStore(t, s.store, string(g.Group)); row.expired != good.upTo || row.gone != 1 {
			t.Errorf("the row says %+v", row)
		}
		for conv, want := range map[string]error{"g:none": godwit.ErrNotMember, "g:": godwit.ErrBadConv, "u:": godwit.ErrBadConv, "x:y": godwit.ErrBadConv} {
			if err := s.service.SetRetention(context.Background(), "bob", godwit.ConversationID(conv), days, "root"); !errors.Is(err, want) {
				t.Errorf("%q: %v", conv, err)
			}
		}
		for _, d := range []time.Duration{-1, time.Minute, RetentionMax + 1} {
			if err := s.service.SetRetention(context.Background(), "bob", "u:alice", d, "root"); !errors.Is(err, godwit.ErrFrameInvalid) {
				t.Errorf("%s: %v", d, err)
			}
		}
	})
}
