package chat

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// askGroup makes one request about groups.
func (s *served) askGroup(user godwit.UserID, do, group string, change func(*godwit.Group)) godwit.ServerFrame {
	s.t.Helper()
	f := &godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{Do: []byte(do), Group: []byte(group)}}
	if change != nil {
		change(&f.Group)
	}
	return s.ask(user, f)
}

func (s *served) mustGroup(r godwit.ServerFrame) godwit.GroupReply {
	s.t.Helper()
	if r.Kind != godwit.KindGroup {
		s.t.Fatalf("answer %d %+v", r.Kind, r.Error)
	}
	return r.Group
}

func (s *served) createGroup(user godwit.UserID, cid, name string, users ...string) godwit.GroupReply {
	s.t.Helper()
	return s.mustGroup(s.askGroup(user, godwit.GroupCreate, "", func(g *godwit.Group) {
		g.CID, g.Name, g.HasName, g.Users = []byte(cid), []byte(name), true, byteLists(users)
	}))
}

func withUsers(users ...string) func(*godwit.Group) {
	return func(g *godwit.Group) { g.Users = byteLists(users) }
}

func byteLists(users []string) (lists [][]byte) {
	for _, u := range users {
		lists = append(lists, []byte(u))
	}
	return lists
}

func manyUsers(n int) (users []string) {
	for i := range n {
		users = append(users, fmt.Sprintf("user%06d", i))
	}
	return users
}

// allMembers pages through a group.
func (s *served) allMembers(user godwit.UserID, group string, limit int) (lines []string) {
	s.t.Helper()
	next := ""
	for range 10000 {
		r := s.mustGroup(s.askGroup(user, godwit.GroupMembers, group, func(g *godwit.Group) {
			g.Next, g.Limit = []byte(next), uint32(limit)
		}))
		if len(r.Members) > limit {
			s.t.Fatalf("a page of %d members, asked for %d", len(r.Members), limit)
		}
		for _, m := range r.Members {
			lines = append(lines, fmt.Sprint(m.User, " ", m.Role))
		}
		if next = r.Next; next == "" {
			return lines
		}
	}
	s.t.Fatal("pages without end")
	return nil
}

func TestGroupIsCreatedOnceForOneClientID(t *testing.T) {
	for _, groups := range []int{1, 8} {
		bubble(t, groups, nil, func(s *served) {
			r := s.createGroup("alice", "c1", "Friends", "bob", "carol", "bob", "alice")
			id := string(r.Group)
			if len(id) != 11 || id[0] != 'g' || string(r.Conv) != "g:"+id || r.Name != "Friends" || r.Count != 3 || r.Role != "owner" ||
				r.Join != godwit.JoinInvite || r.History != godwit.HistoryJoined || r.GSeq != 1 || r.Dup || r.Channel {
				t.Fatalf("reply %+v", r)
			}
			again := s.createGroup("alice", "c1", "Friends", "bob", "carol")
			if !again.Dup || again.Group != r.Group || again.GSeq != 1 {
				t.Errorf("the same request again: %+v", again)
			}
			if other := s.createGroup("bob", "c1", "Friends", "alice"); other.Group == r.Group || other.Dup {
				t.Errorf("the same client id of another user: %+v", other)
			}
			if other := s.createGroup("alice", "", "Friends"); other.Group == r.Group || other.Count != 1 {
				t.Errorf("a request without client id: %+v", other)
			}
			want := []string{"alice owner", "bob member", "carol member"}
			if got := s.allMembers("carol", id, 2); !slices.Equal(got, want) {
				t.Errorf("members %q, want %q", got, want)
			}
			s.restart()
			if again := s.createGroup("alice", "c1", "Friends", "bob"); !again.Dup || again.Group != r.Group || again.Count != 3 {
				t.Errorf("after a restart: %+v", again)
			}
		})
	}
}

func TestSendToAGroupIsStoredOnce(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		g := s.createGroup("alice", "c1", "Friends", "bob")
		conv := string(g.Conv)
		r := s.send("bob", conv, "m1", "hi")
		if r.GSeq != 2 || string(r.Conv) != conv || r.State != godwit.StateStored || r.Dup || r.MID == (godwit.MessageID{}) {
			t.Fatalf("reply %+v", r)
		}
		again := s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindSend, Send: godwit.Send{
			Group: []byte(g.Group), CID: []byte("m1"), Text: []byte("hi"), HasText: true,
		}})
		if again.Send.GSeq != 2 || !again.Send.Dup || again.Send.MID != r.MID || again.Send.Time != r.Time {
			t.Errorf("the same again: %+v", again.Send)
		}
		s.wantError(s.ask("bob", sendFrame(conv, "m1", "other")), godwit.ErrConflict)
		s.wantError(s.ask("carol", sendFrame(conv, "m1", "hi")), godwit.ErrNotMember)
		s.wantError(s.ask("carol", sendFrame("g:unknown", "m1", "hi")), godwit.ErrNotMember)
		s.wantError(s.ask("carol", sendFrame("g:", "m1", "hi")), godwit.ErrBadConv)
	})
}

func TestListsOfMembersAreSplitIntoCommands(t *testing.T) {
	const n = 2500
	bubble(t, 8, nil, func(s *served) {
		r := s.createGroup("alice", "c1", "Many", manyUsers(n)...)
		if r.Count != n+1 || !r.Channel {
			t.Fatalf("reply %+v", r)
		}
		members := s.allMembers("alice", string(r.Group), 333)
		slices.Sort(members)
		if len(slices.Compact(members)) != n+1 {
			t.Errorf("%d members listed, want %d", len(members), n+1)
		}
		removed := s.mustGroup(s.askGroup("alice", godwit.GroupRemove, string(r.Group), withUsers(manyUsers(n)[:1500]...)))
		if removed.Count != n+1-1500 || removed.Dup {
			t.Errorf("after the removal: %+v", removed)
		}
		if got := s.allMembers("alice", string(r.Group), 500); len(got) != n+1-1500 || strings.HasPrefix(got[1], "user000000") {
			t.Errorf("%d members left", len(got))
		}
		added := s.mustGroup(s.askGroup("alice", godwit.GroupAdd, string(r.Group), withUsers(manyUsers(n)...)))
		if added.Count != n+1 || added.Dup {
			t.Errorf("after they were added again: %+v", added)
		}
	})
}
