package chat

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

func peopleFrame(kind godwit.FrameKind, add, remove []string) *godwit.ClientFrame {
	f := &godwit.ClientFrame{Kind: kind}
	p := &f.Block
	if kind == godwit.KindContact {
		p = &f.Contact
	}
	for _, u := range add {
		p.Add = append(p.Add, []byte(u))
	}
	for _, u := range remove {
		p.Remove = append(p.Remove, []byte(u))
	}
	return f
}

// change changes a list and returns it.
func (s *served) change(user godwit.UserID, kind godwit.FrameKind, add, remove []string) (list []string) {
	s.t.Helper()
	r := s.ask(user, peopleFrame(kind, add, remove))
	if r.Kind != kind {
		s.t.Fatalf("change of a list: %+v", r.Error)
	}
	for _, u := range r.People.Users {
		list = append(list, string(u))
	}
	return list
}

func (s *served) block(user godwit.UserID, others ...string) {
	s.t.Helper()
	s.change(user, godwit.KindBlock, others, nil)
}

func TestListsOfPeopleAreKeptPerUser(t *testing.T) {
	bubble(t, 8, func(c *Config) { c.Policy.PeopleMax = 3 }, func(s *served) {
		f := func(kind godwit.FrameKind, add, remove, want []string) {
			t.Helper()
			if got := s.change("alice", kind, add, remove); !slices.Equal(got, want) {
				t.Errorf("add %q, remove %q: %q, want %q", add, remove, got, want)
			}
		}
		for _, kind := range []godwit.FrameKind{godwit.KindBlock, godwit.KindContact} {
			f(kind, nil, nil, nil)
			f(kind, []string{"bob", "carol", "bob"}, nil, []string{"bob", "carol"})
			f(kind, []string{"bob"}, []string{"dave"}, []string{"bob", "carol"})
			f(kind, []string{"erin"}, []string{"bob"}, []string{"carol", "erin"})
			f(kind, []string{"bob"}, nil, []string{"bob", "carol", "erin"})
			s.wantError(s.ask("alice", peopleFrame(kind, []string{"frank"}, nil)), godwit.ErrListFull)
			f(kind, []string{"frank"}, []string{"erin"}, []string{"bob", "carol", "frank"})
			f(kind, nil, []string{"bob", "carol", "frank", "frank"}, nil)
			f(kind, []string{"bob"}, nil, []string{"bob"})
			if got := s.change("alic", kind, nil, nil); got != nil {
				t.Errorf("another user has %q", got)
			}
			s.wantError(s.ask("alice", peopleFrame(kind, []string{"alice"}, nil)), godwit.ErrBadUser)
			s.wantError(s.ask("alice", peopleFrame(kind, nil, []string{"b b"})), godwit.ErrBadUser)
			var many []string
			for i := range peopleChangeMax + 1 {
				many = append(many, fmt.Sprint("u", i))
			}
			s.wantError(s.ask("alice", peopleFrame(kind, many, nil)), godwit.ErrFrameInvalid)
		}
		s.restart()
		f(godwit.KindBlock, nil, nil, []string{"bob"})
	})
}

func TestMessagesOfTheBlockedAreDroppedSilently(t *testing.T) {
	for _, groups := range []int{1, 8} {
		bubble(t, groups, nil, func(s *served) {
			alice, bob, _ := usersApart(8)
			s.send(alice, string(bob), "c1", "before")
			s.settle()
			s.block(bob, string(alice), "stranger")
			s.service.Connect(21, godwit.Hello{User: bob, Device: "phone"})
			s.settle()
			if r := s.send(alice, string(bob), "c2", "blocked"); r.State != "stored" || r.Seq != 2 {
				t.Errorf("the sender is told %+v", r)
			}
			if r := s.send(alice, string(bob), "c2", "blocked"); !r.Dup {
				t.Errorf("the retry: %+v", r)
			}
			s.send("stranger", string(bob), "c1", "hello")
			s.settle()
			s.wantLog(bob, "1 alice u:alice before")
			if h := s.edge.hints[21]; len(h) != 0 {
				t.Errorf("bob's phone is told %q", h)
			}
			// The other direction is open, and what was dropped stays so.
			s.send(bob, string(alice), "c1", "I can")
			s.change(bob, godwit.KindBlock, nil, []string{string(alice)})
			s.send(alice, string(bob), "c3", "again")
			s.settle()
			s.wantLog(bob, "1 alice u:alice before", fmt.Sprintf("2 %s u:alice I can", bob), "3 alice u:alice again")
			before := s.store.digests()
			s.restart()
			if !slices.Equal(before, s.store.digests()) {
				t.Error("a replay gives another state")
			}
			if u := s.unread(bob, alice); u != 2 {
				t.Errorf("%d unread", u)
			}
		})
	}
}

func (s *served) unread(user, peer godwit.UserID) uint64 {
	s.t.Helper()
	v := s.store.View(s.store.Group(user.Partition()))
	defer v.Close()
	var c conversationRow
	row, ok := v.Get(appendConversationKey(nil, user.Partition(), []byte(user), []byte(peer)))
	if ok && !c.parse(row) {
		s.t.Fatal("conversation row does not parse")
	}
	return c.unread(0)
}

// A lane that holds messages of the blocked moves on all the same.
func TestALaneMovesPastTheBlocked(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		alice, bob, lane := usersApart(8)
		s.block(bob, string(alice))
		for i := range 5 {
			s.send(alice, string(bob), fmt.Sprint("c", i), "x")
		}
		s.tick(40)
		if st := s.service.Stats(); st.OutboxItems != 0 {
			t.Errorf("%d items wait", st.OutboxItems)
		}
		var in laneInRow
		row := s.store.groups[s.store.Group(lane.dst)].rows[string(appendLaneInKey(nil, lane))]
		if !in.parse(row) || in.last != 5 {
			t.Errorf("the lane holds %+v", in)
		}
	})
}

func TestAListInDoubtIsAnsweredInTime(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		s.store.refuse = fmt.Errorf("queue: %w", godwit.ErrUnavailable)
		s.wantError(s.ask("alice", peopleFrame(godwit.KindBlock, []string{"bob"}, nil)), godwit.ErrUnavailable)
		s.store.refuse = nil
		s.store.lose = func(uint64) bool { return true }
		s.wantError(s.ask("alice", peopleFrame(godwit.KindBlock, []string{"bob"}, nil)), godwit.ErrUnknown)
		s.store.lose = nil
		if got := s.change("alice", godwit.KindBlock, []string{"bob"}, nil); !slices.Equal(got, []string{"bob"}) {
			t.Errorf("list %q", got)
		}
		s.store.readErr = errors.New("no leader")
		s.wantError(s.ask("alice", peopleFrame(godwit.KindBlock, nil, nil)), godwit.ErrUnavailable)
	})
}

func TestIsBlockedByAndIsContact(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		s.block("alice", "bob")
		s.change("alice", godwit.KindContact, []string{"carol"}, nil)
		v := s.store.View(0)
		defer v.Close()
		f := func(is func(View, []byte, []byte) bool, owner, other string, want bool) {
			t.Helper()
			if is(v, []byte(owner), []byte(other)) != want {
				t.Errorf("%s of %s: %v", other, owner, !want)
			}
		}
		f(isBlockedBy, "alice", "bob", true)
		f(isBlockedBy, "bob", "alice", false)
		f(isBlockedBy, "alice", "carol", false)
		f(isContact, "alice", "carol", true)
		f(isContact, "carol", "alice", false)
		f(isContact, "alice", "bob", false)
	})
}
