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

func TestListOfGroupsIsPaged(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		var want []string
		for i := range 5 {
			want = append(want, string(s.createGroup("alice", fmt.Sprint("c", i), "x").Group))
		}
		slices.Sort(want)
		var got []string
		next := ""
		for range 3 {
			r := s.mustGroup(s.askGroup("alice", godwit.GroupList, "", func(g *godwit.Group) { g.Limit, g.Next = 2, []byte(next) }))
			for _, g := range r.Groups {
				got = append(got, string(g.Group))
			}
			next = r.Next
		}
		if !slices.Equal(got, want) || next != "" {
			t.Errorf("groups %q, want %q; next %q", got, want, next)
		}
		for _, cursor := range []string{"!", "AA", "AQ", "AgBi", "AQA"} {
			s.wantError(s.askGroup("alice", godwit.GroupList, "", func(g *godwit.Group) { g.Next = []byte(cursor) }), godwit.ErrBadCursor)
			s.wantError(s.askGroup("alice", godwit.GroupMembers, want[0], func(g *godwit.Group) { g.Next = []byte(cursor) }), godwit.ErrBadCursor)
		}
	})
}

func TestReceiptsCountMembersByTheirMarks(t *testing.T) {
	const n = 1500 // more buckets than are read under one lock
	bubble(t, 1, nil, func(s *served) {
		g := s.createGroup("alice", "c1", "Many", manyUsers(n)...)
		id := []byte(g.Group)
		s.send("alice", string(g.Conv), "m1", "hi")
		rows := s.store.groups[0].rows
		for i, user := range manyUsers(n) {
			key := string(appendMemberKey(nil, id, []byte(user)))
			var m memberRow
			m.parse(rows[key])
			switch i % 3 {
			case 0:
				m.delivered = 3
			case 1:
				m.read = 3
			}
			rows[key] = m.append(nil)
		}
		ask := func(user godwit.UserID, gseq godwit.Seq) godwit.ServerFrame {
			return s.askGroup(user, godwit.GroupReceipts, string(id), func(g *godwit.Group) { g.GSeq = gseq })
		}
		if r := s.mustGroup(ask("alice", 3)); r.Read != n/3 && r.Read != n/3+1 || r.Delivered < 2*n/3 || r.Delivered > 2*n/3+1 || r.GSeq != 3 {
			t.Errorf("receipts of 3: %+v", r)
		}
		s.wantError(ask("alice", 99), godwit.ErrNotMember)
		s.wantError(ask("mallory", 3), godwit.ErrNotMember)
	})
}

// What is not a request about groups is refused before anything is looked at.
func TestGroupFramesAreChecked(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		id := string(s.createGroup("alice", "c1", "x").Group)
		f := func(do, group string, want *godwit.Error, change func(*godwit.Group)) {
			t.Helper()
			s.wantError(s.askGroup("alice", do, group, change), want)
		}
		f("", id, godwit.ErrFrameInvalid, nil)
		f("destroy", id, godwit.ErrFrameInvalid, nil)
		f(godwit.GroupInfo, "", godwit.ErrBadConv, nil)
		f(godwit.GroupInfo, "u:bob", godwit.ErrBadConv, nil)
		f(godwit.GroupAdd, id, godwit.ErrFrameInvalid, nil)
		f(godwit.GroupAdd, id, godwit.ErrBadUser, withUsers("bob", "u:carol"))
		f(godwit.GroupRole, id, godwit.ErrFrameInvalid, withUsers("bob"))
		f(godwit.GroupSet, id, godwit.ErrFrameInvalid, nil)
		f(godwit.GroupSet, id, godwit.ErrFrameInvalid, func(g *godwit.Group) { g.Join = []byte("closed") })
		f(godwit.GroupSet, id, godwit.ErrFrameInvalid, func(g *godwit.Group) { g.History = []byte("none") })
		f(godwit.GroupSet, id, godwit.ErrFrameInvalid, func(g *godwit.Group) { g.Name, g.HasName = []byte{0xff}, true })
		f(godwit.GroupSet, id, godwit.ErrFrameInvalid, func(g *godwit.Group) { g.Name = make([]byte, godwit.GroupNameBytesMax+1) })
		f(godwit.GroupCreate, "", godwit.ErrBadCID, func(g *godwit.Group) { g.CID = []byte("c:1") })
		f(godwit.GroupReceipts, id, godwit.ErrFrameInvalid, nil)
		if r := s.mustGroup(s.askGroup("alice", godwit.GroupInfo, "g:"+id, nil)); string(r.Group) != id {
			t.Errorf("info by conversation: %+v", r)
		}
	})
}

// A change whose answer is late is in doubt, a look merely not answered. What is
// done in the end was asked for once.
func TestLateGroupRequestsAreAnsweredByTheDeadline(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		id := string(s.createGroup("alice", "c1", "x").Group)
		s.store.mu.Lock()
		s.store.frozen = map[int]bool{0: true}
		s.store.hold = true
		s.store.mu.Unlock()
		request := func(id uint64, f godwit.Group) {
			s.service.Request(1, "alice", &godwit.ClientFrame{ID: id, Kind: godwit.KindGroup, Group: f})
		}
		request(100, godwit.Group{Do: []byte(godwit.GroupAdd), Group: []byte(id), Users: byteLists([]string{"bob"})})
		request(101, godwit.Group{Do: []byte(godwit.GroupInfo), Group: []byte(id)})
		s.tick(41)
		s.wantError(s.edge.replies[100][0], godwit.ErrUnknown)
		s.wantError(s.edge.replies[101][0], godwit.ErrUnavailable)
		s.store.mu.Lock()
		s.store.frozen, s.store.hold = nil, false
		for _, done := range s.store.held {
			done(nil)
		}
		s.store.signal()
		s.store.mu.Unlock()
		s.settle()
		if n := len(s.edge.replies[100]) + len(s.edge.replies[101]); n != 2 {
			t.Errorf("%d answers to two requests", n)
		}
		if r := s.mustGroup(s.askGroup("alice", godwit.GroupAdd, id, withUsers("bob"))); !r.Dup || r.Count != 2 {
			t.Errorf("the same again: %+v", r)
		}
	})
}

func TestGroupRequestsAtATimeAreBounded(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		id := string(s.createGroup("alice", "c1", "x").Group)
		s.store.mu.Lock()
		s.store.hold = true
		s.store.mu.Unlock()
		for i := range tasksMax + 10 {
			s.service.Request(1, "alice", &godwit.ClientFrame{ID: uint64(1000 + i), Kind: godwit.KindGroup, Group: godwit.Group{
				Do: []byte(godwit.GroupInfo), Group: []byte(id),
			}})
		}
		s.settle()
		refused := 0
		for i := range tasksMax + 10 {
			if r := s.edge.replies[uint64(1000+i)]; len(r) == 1 && r[0].Error.Code == godwit.ErrUnavailable.Code {
				refused++
			}
		}
		if refused != 10 {
			t.Errorf("%d requests refused, want 10", refused)
		}
	})
}
