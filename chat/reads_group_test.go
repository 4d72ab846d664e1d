package chat

import (
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

// eachWorld runs f with the user and the group in one raft group, and in two.
func eachWorld(t *testing.T, f func(s *served)) {
	t.Helper()
	for _, groups := range []int{1, 8} {
		t.Run(fmt.Sprint(groups), func(t *testing.T) { bubble(t, groups, nil, f) })
	}
}

func TestPointersAreShownAsWhatTheyPointTo(t *testing.T) {
	eachWorld(t, func(s *served) {
		s.send("alice", "bob", "c1", "before")
		chess, go_ := s.handGroup("gchess", 0), s.handGroup("ggo", 0)
		chess.join("bob")
		chess.message("alice", "one")
		go_.join("bob")
		go_.message("carol", "stone")
		chess.message("bob", "two")
		chess.point("bob", nil, 1, 2)
		go_.point("bob", nil, 1, 2)
		chess.point("bob", nil, 3)
		s.wantEntries("sync", s.syncAll("bob"),
			"1/- alice u:alice before", "2/1 g:gchess add [bob]", "3/2 alice g:gchess one",
			"4/1 g:ggo add [bob]", "5/2 carol g:ggo stone", "6/3 bob g:gchess two")
		h, _ := s.historyOf("bob", godwit.History{Conv: []byte("g:gchess"), Limit: 2})
		s.wantEntries("history", h.Entries, "3/2 alice g:gchess one", "6/3 bob g:gchess two")
		if !h.More {
			t := s.t
			t.Error("history has no more")
		}
		h, _ = s.historyOf("bob", godwit.History{Conv: []byte("g:gchess"), Before: 3})
		s.wantEntries("history before", h.Entries, "2/1 g:gchess add [bob]")
	})
}

func TestWhatIsGoneFromAGroupsLogIsASkip(t *testing.T) {
	eachWorld(t, func(s *served) {
		g := s.handGroup("gchess", 0)
		g.join("bob")
		for i := range 4 {
			g.message("alice", fmt.Sprint("m", i))
		}
		g.point("bob", nil, 1, 2, 3, 4, 5)
		g.with(g.id.Partition(), func(m *memGroup) { m.Erase(g.log(), 3) })
		s.wantEntries("sync", s.syncAll("bob"), "skip 1-3", "4/4 alice g:gchess m2", "5/5 alice g:gchess m3")
		h, _ := s.historyOf("bob", godwit.History{Conv: []byte("g:gchess")})
		s.wantEntries("history", h.Entries, "4/4 alice g:gchess m2", "5/5 alice g:gchess m3")
		h, _ = s.historyOf("bob", godwit.History{Conv: []byte("g:gchess"), HasAfter: true, Limit: 3})
		s.wantEntries("history forward", h.Entries, "4/4 alice g:gchess m2", "5/5 alice g:gchess m3")
	})
}

func TestAMessageIsShownWithItsLastBodyOrAsTakenBack(t *testing.T) {
	eachWorld(t, func(s *served) {
		g := s.handGroup("gchess", groupHistoryAll)
		g.join("bob")
		g.message("alice", "first")
		g.message("alice", "second")
		g.revise(2, "alice", "first, better")
		g.revise(2, "alice", "first, best")
		g.revise(3, "alice", "nearly")
		g.revise(3, "alice", "")
		g.point("bob", nil, 1, 2, 3, 4, 5, 6, 7)
		want := []string{
			"1/1 g:gchess add [bob]", "2/2 edited alice g:gchess first, best", "3/3 recalled alice g:gchess",
			"skip 4-4", "5/5 edit alice g:gchess first, best", "skip 6-6", "7/7 recall alice g:gchess",
		}
		s.wantEntries("sync", s.syncAll("bob"), want...)
		h, _ := s.historyOf("bob", godwit.History{Conv: []byte("g:gchess")})
		s.wantEntries("history", h.Entries, want[0], want[1], want[2], want[4], want[6])
		h, _ = s.historyOf("bob", godwit.History{Conv: []byte("g:gchess"), GAfter: 1, Limit: 2})
		s.wantEntries("by gseq", h.Entries, "-/2 edited alice g:gchess first, best", "-/3 recalled alice g:gchess")
	})
}

// What became of a message after its reader left the group is none of his, but for
// a recall: that takes it from everybody.
func TestAnEditAfterAMembershipIsNotShownToWhoLeft(t *testing.T) {
	eachWorld(t, func(s *served) {
		g := s.handGroup("gchess", 0)
		g.join("bob")
		g.message("alice", "first")
		g.message("alice", "second")
		g.revise(2, "alice", "first, better")
		g.revise(2, "alice", "first, best")
		g.leave("bob") // 6
		g.revise(2, "alice", "first, a secret")
		g.revise(3, "alice", "")
		g.point("bob", nil, 1, 2, 3, 4, 5, 6)
		want := []string{
			"/1 g:gchess add [bob]", "/2 alice g:gchess first", "/3 recalled alice g:gchess",
			"/4 edit alice g:gchess first, better", "/5 edit alice g:gchess first, best", "/6 g:gchess remove [bob]",
		}
		own, byGroup := make([]string, len(want)), make([]string, len(want))
		for i, line := range want {
			own[i], byGroup[i] = fmt.Sprint(i+1, line), "-"+line
		}
		s.wantEntries("sync", s.syncAll("bob"), own...)
		h, _ := s.historyOf("bob", godwit.History{Conv: []byte("g:gchess")})
		s.wantEntries("history", h.Entries, own...)
		h, _ = s.historyOf("bob", godwit.History{Conv: []byte("g:gchess"), HasGAfter: true})
		s.wantEntries("by gseq", h.Entries, byGroup...)
		g.join("bob") // 9: an edit made between is still not his, one after it is
		h, _ = s.historyOf("bob", godwit.History{Conv: []byte("g:gchess"), HasGAfter: true, Limit: 2})
		s.wantEntries("again a member", h.Entries, byGroup[:2]...)
		g.revise(2, "alice", "first, at last")
		h, _ = s.historyOf("bob", godwit.History{Conv: []byte("g:gchess"), HasGAfter: true, Limit: 2})
		s.wantEntries("edited again", h.Entries, byGroup[0], "-/2 edited alice g:gchess first, at last")
	})
}

func TestHistoryByGroupSequenceShowsMembershipsOnly(t *testing.T) {
	eachWorld(t, func(s *served) {
		t := s.t
		for _, all := range []bool{false, true} {
			id, flags := godwit.GroupID("gjoined"), uint64(0)
			if all {
				id, flags = "gall", groupHistoryAll
			}
			g := s.handGroup(id, flags)
			g.message("alice", "2 early")
			g.join("bob") // 2
			g.message("alice", "3")
			g.leave("bob") // 4
			g.message("alice", "5 between")
			g.join("bob") // 6
			g.message("alice", "7")
			f := func(h godwit.History, more bool, want ...godwit.Seq) {
				t.Helper()
				h.Conv = []byte("g:" + id)
				r, err := s.historyOf("bob", h)
				var got []godwit.Seq
				for _, e := range r.Entries {
					got = append(got, e.GSeq)
				}
				if err != nil || r.More != more || !slices.Equal(got, want) {
					t.Errorf("history %+v: %v %v %v, want %v %v", h, got, r.More, err, want, more)
				}
			}
			if all {
				f(godwit.History{HasGAfter: true}, false, 1, 2, 3, 4, 5, 6, 7)
				f(godwit.History{GBefore: 3}, false, 1, 2)
			} else {
				f(godwit.History{HasGAfter: true}, false, 2, 3, 4, 6, 7)
				f(godwit.History{GBefore: 6}, false, 2, 3, 4)
				f(godwit.History{GBefore: 100, Limit: 3}, true, 4, 6, 7)
				f(godwit.History{GBefore: 100, Limit: 2}, true, 6, 7)
				f(godwit.History{HasGAfter: true, Limit: 3}, true, 2, 3, 4)
				f(godwit.History{GAfter: 2, Limit: 3}, true, 3, 4, 6)
				f(godwit.History{GBefore: 2}, false)
			}
			g.leave("bob") // 8
			g.message("alice", "9 after")
			f(godwit.History{GAfter: 6}, false, 7, 8)
			f(godwit.History{GBefore: 6}, false, 2, 3, 4)
			for _, h := range []godwit.History{{Conv: []byte("g:" + id), HasGAfter: true}, {Conv: []byte("g:" + id)}} {
				if _, err := s.historyOf("mallory", h); err != godwit.ErrNotMember {
					t.Errorf("one who never was a member: %v", err)
				}
			}
			for _, h := range []godwit.History{{Conv: []byte("g:nothing"), HasGAfter: true}, {Conv: []byte("g:nothing")}} {
				if _, err := s.historyOf("bob", h); err != godwit.ErrNotMember {
					t.Errorf("a group that does not exist: %v", err)
				}
			}
		}
	})
}

func TestHistoryRefusesAMixOfSequences(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		for _, h := range []godwit.History{
			{Conv: []byte("g:g"), GBefore: 2, Before: 2},
			{Conv: []byte("g:g"), GBefore: 2, GAfter: 2},
			{Conv: []byte("u:bob"), GBefore: 2},
			{Conv: []byte("g:g"), HasGAfter: true, HasAfter: true},
		} {
			if _, err := s.historyOf("alice", h); err != godwit.ErrFrameInvalid {
				t.Errorf("%+v: %v", h, err)
			}
		}
		if _, err := s.historyOf("alice", godwit.History{Conv: []byte("g:g"), GBefore: godwit.SeqMax + 1}); err != godwit.ErrBadCursor {
			t.Error(err)
		}
	})
}

func TestWhatAUserDeletedIsHiddenInTheGroupsLogToo(t *testing.T) {
	eachWorld(t, func(s *served) {
		g := s.handGroup("gchess", groupHistoryAll)
		g.message("alice", "1")
		g.join("bob") // 2
		g.message("alice", "3")
		g.message("alice", "4")
		g.point("bob", func(c *conversationRow) { c.deleted, c.deletedGSeq = 2, 3 }, 2, 3, 4)
		h, _ := s.historyOf("bob", godwit.History{Conv: []byte("g:gchess"), HasGAfter: true})
		s.wantEntries("some deleted", h.Entries, "-/4 alice g:gchess 4")
		g.point("bob", func(c *conversationRow) { c.deleted, c.deletedGSeq = 3, 4 })
		h, _ = s.historyOf("bob", godwit.History{Conv: []byte("g:gchess"), HasGAfter: true})
		s.wantEntries("all deleted", h.Entries)
	})
}

func TestAChannelIsReadByItsOwnSequence(t *testing.T) {
	eachWorld(t, func(s *served) {
		t := s.t
		g := s.handGroup("gchess", 0)
		g.join("bob") // 1
		g.message("alice", "2")
		g.row.boundary = 3
		g.change(groupChange{do: doChannel, by: []byte("alice"), count: 600, boundary: 3})
		g.point("bob", func(c *conversationRow) {
			c.channelFrom, c.channelSeq, c.incoming, c.readIncoming, c.read = 3, 3, 1, 0, 0
		}, 1, 2, 3)
		g.message("alice", "4")
		g.message("alice", "5")
		h, _ := s.historyOf("bob", godwit.History{Conv: []byte("g:gchess"), Limit: 3})
		s.wantEntries("newest", h.Entries, "-/3 g:gchess channel []", "-/4 alice g:gchess 4", "-/5 alice g:gchess 5")
		h, _ = s.historyOf("bob", godwit.History{Conv: []byte("g:gchess"), Before: 4})
		s.wantEntries("before", h.Entries, "-/1 g:gchess add [bob]", "-/2 alice g:gchess 2", "-/3 g:gchess channel []")
		r := s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindConversations})
		if len(r.Conversations.Items) != 1 {
			t.Fatalf("conversations %+v", r)
		}
		item := r.Conversations.Items[0]
		if draw(&item.Last) != "-/5 alice g:gchess 5" || item.Unread != 3 || !item.Channel || item.GSeq != 5 || item.Name != "Chess" {
			t.Errorf("item %+v", item)
		}
		g.leave("bob") // 6
		g.row.name = []byte("Secret")
		g.message("alice", "7")
		r = s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindConversations})
		item = r.Conversations.Items[0]
		if draw(&item.Last) != "-/6 g:gchess remove [bob]" || item.Unread != 3 || item.GSeq != 6 || item.Name != "" {
			t.Errorf("item of one who left %+v", item)
		}
		h, _ = s.historyOf("bob", godwit.History{Conv: []byte("g:gchess"), After: 4})
		s.wantEntries("after leaving", h.Entries, "-/5 alice g:gchess 5", "-/6 g:gchess remove [bob]")
	})
}

func TestConversationsOfGroupsAndChannelsStandWhereTheyWereLastHeardOf(t *testing.T) {
	eachWorld(t, func(s *served) {
		t := s.t
		s.store.clock = 1_700_000_000_500
		s.send("alice", "bob", "c1", "direct")
		old, ch := s.handGroup("gold", 0), s.handGroup("gch", 0)
		old.join("bob")
		old.message("alice", "old")
		old.revise(2, "alice", "older")
		old.point("bob", nil, 1, 2, 3)
		ch.join("bob")
		ch.row.boundary = 1
		for range 900 {
			ch.message("alice", "x")
		}
		ch.point("bob", func(c *conversationRow) { c.channelFrom, c.channelSeq = 1, 4 }, 1)
		f := func(limit uint32, want ...string) {
			t.Helper()
			var got []string
			for next := ""; ; {
				r := s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindConversations, Conversations: godwit.Conversations{Limit: limit, Next: []byte(next)}})
				if r.Kind != godwit.KindConversations || len(r.Conversations.Items) > int(limit) {
					t.Fatalf("%+v", r)
				}
				for _, item := range r.Conversations.Items {
					got = append(got, fmt.Sprintf("%s: %s", item.Conv, draw(&item.Last)))
				}
				if next = r.Conversations.Next; next == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		}
		want := []string{
			"g:gch: -/901 alice g:gch x", "u:alice: 1/- alice u:alice direct", "g:gold: 3/2 edited alice g:gold older",
		}
		for limit := range uint32(4) {
			f(limit+1, want...)
		}
	})
}

func TestAConversationWithNothingLeftIsStillListed(t *testing.T) {
	eachWorld(t, func(s *served) {
		g := s.handGroup("gchess", 0)
		g.join("bob")
		g.message("alice", "m")
		g.point("bob", nil, 1, 2)
		g.with(g.id.Partition(), func(m *memGroup) { m.Erase(g.log(), 2) })
		r := s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindConversations})
		if items := r.Conversations.Items; len(items) != 1 || draw(&items[0].Last) != "skip 2-2" {
			s.t.Errorf("%+v", r.Conversations)
		}
	})
}

func TestSyncOverWhatWasErasedGivesSkips(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		for i := range 10 {
			s.send("alice", "bob", fmt.Sprint("c", i), "x")
		}
		log := godwit.LogID(0)
		s.store.groups[0].view.Lock()
		v := memView{s.store.groups[0]}
		u, _ := userOfView(v, "alice")
		log = u.logID("alice")
		s.store.groups[0].Erase(log, 6)
		s.store.groups[0].view.Unlock()
		f := func(sync godwit.Sync, want ...string) {
			t.Helper()
			r := s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindSync, Sync: sync})
			s.wantEntries(fmt.Sprintf("%+v", sync), r.Sync.Entries, want...)
		}
		msg := func(n int) string { return fmt.Sprintf("%d/- alice u:bob x", n) }
		f(godwit.Sync{}, "skip 1-6", msg(7), msg(8), msg(9), msg(10))
		f(godwit.Sync{Since: 4, Limit: 2}, "skip 5-6", msg(7), msg(8))
		f(godwit.Sync{From: 2, To: 4}, "skip 2-4")
		f(godwit.Sync{From: 5, To: 7}, "skip 5-6", msg(7))
		f(godwit.Sync{From: 7, To: 8}, msg(7), msg(8))
		s.store.groups[0].view.Lock()
		s.store.groups[0].Erase(log, 10)
		s.store.groups[0].view.Unlock()
		f(godwit.Sync{Since: 3}, "skip 4-10")
		f(godwit.Sync{From: 3, To: 20}, "skip 3-10")
		f(godwit.Sync{Since: 10})
	})
}

func TestADeletedConversationIsListedAgainWithItsNextEntry(t *testing.T) {
	eachWorld(t, func(s *served) {
		f := func(what string, want ...string) {
			s.t.Helper()
			var got []string
			for _, item := range s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindConversations}).Conversations.Items {
				got = append(got, string(item.Conv))
			}
			if !slices.Equal(got, want) {
				s.t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		g := s.handChannel("gch", 0, "bob") // 2
		g.message("alice", "three")
		s.send("alice", "bob", "c1", "hi")
		f("both", "g:gch", "u:alice")
		for _, conv := range []string{"u:alice", "g:gch"} {
			r := s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindConversation, Conversation: godwit.ConversationChange{Conv: []byte(conv), Delete: 3}})
			if r.Kind != godwit.KindDone {
				s.t.Fatalf("%+v", r.Error)
			}
		}
		f("deleted")
		g.message("alice", "four")
		f("the channel is back", "g:gch")
		s.store.clock += 10
		s.send("alice", "bob", "c2", "hi")
		f("both are back", "u:alice", "g:gch")
	})
}
