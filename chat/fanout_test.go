package chat

import (
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

// bubbles runs f with one raft group and with eight.
func bubbles(t *testing.T, change func(*Config), f func(s *served)) {
	t.Helper()
	for _, groups := range []int{1, 8} {
		t.Run(fmt.Sprint(groups, " groups"), func(t *testing.T) { bubble(t, groups, change, f) })
	}
}

// fannedOut lets the fan-out write down what it has done, and checks it.
func (s *served) fannedOut(group string) {
	s.t.Helper()
	s.settle()
	s.tick(2 * fannedTicks)
	checkFanout(s.t, s.store, group)
	checkFanned(s.t, s.store, group)
}

func TestMembersLogsHaveThePointersOfAGroup(t *testing.T) {
	bubbles(t, nil, func(s *served) {
		users := manyUsers(40)
		g := s.createGroup("alice", "c1", "Friends", users...)
		id, conv := string(g.Group), string(g.Conv)
		for i := range 5 {
			if r := s.send(godwit.UserID(users[i]), conv, fmt.Sprint("m", i), "hi"); r.GSeq != godwit.Seq(i+2) || r.Seq != godwit.Seq(i+2) {
				t.Errorf("reply %+v", r)
			}
		}
		s.fannedOut(id)
		s.mustGroup(s.askGroup("alice", godwit.GroupRemove, id, withUsers(users[3], users[4])))
		s.send("alice", conv, "m5", "they do not see this")
		s.mustGroup(s.askGroup("alice", godwit.GroupAdd, id, withUsers("zoe", users[3])))
		s.send("alice", conv, "m6", "zoe sees this")
		s.mustGroup(s.askGroup(godwit.UserID(users[9]), godwit.GroupLeave, id, nil))
		s.send("zoe", conv, "m7", "bye")
		s.fannedOut(id)
		checkGroupCounts(t, s.store, id)
		pointers, row, _ := pointersOf(t, s.store, "zoe", id)
		if len(pointers) != 4 || row.unread(0) != 1 {
			t.Errorf("zoe has %v, %d unread", pointers, row.unread(0))
		}
	})
}

func TestFanoutGoesOnAfterARestart(t *testing.T) {
	bubbles(t, nil, func(s *served) {
		g := s.createGroup("alice", "c1", "Friends", manyUsers(20)...)
		id, conv := string(g.Group), string(g.Conv)
		for i := range 3 {
			s.send("alice", conv, fmt.Sprint("m", i), "hi")
			s.restart() // fanned is not yet written down
			checkFanout(t, s.store, id)
		}
		s.send("alice", conv, "again", "hi")
		s.fannedOut(id)
	})
}

func TestSendToAGroupAnswersWithTheOwnSequence(t *testing.T) {
	bubbles(t, nil, func(s *served) {
		g := s.createGroup("alice", "c1", "Friends", "bob", "carol")
		conv := string(g.Conv)
		s.send("bob", "carol", "x", "something else")
		r := s.send("bob", conv, "m1", "hi")
		if r.Seq != 3 || r.GSeq != 2 || r.Dup {
			t.Fatalf("reply %+v", r)
		}
		for i := range 250 {
			s.send("alice", conv, fmt.Sprint("more", i), "more")
		}
		again := s.send("bob", conv, "m1", "hi")
		if again.Seq != 3 || again.GSeq != 2 || !again.Dup || again.MID != r.MID {
			t.Errorf("the same again: %+v", again)
		}
		s.restart()
		if again := s.send("bob", conv, "m1", "hi"); again.Seq != 3 || !again.Dup {
			t.Errorf("after a restart: %+v", again)
		}
	})
}

// The group's log has the message: it is stored, whatever keeps the pointer away.
func TestSendToAGroupIsStoredThoughThePointerWaits(t *testing.T) {
	bubble(t, 8, func(c *Config) { c.AnswerSeconds = 1 }, func(s *served) {
		g := s.createGroup("alice", "c1", "Friends", "bob")
		bob := s.away(string(g.Group))
		s.mustGroup(s.askGroup("alice", godwit.GroupAdd, string(g.Group), withUsers(string(bob))))
		s.settle()
		thaw := s.freeze(s.store.Group(bob.Partition()))
		f := sendFrame(string(g.Conv), "m1", "hi")
		f.ID = 7000
		s.service.Request(1, bob, f)
		s.settle()
		if n := len(s.edge.replies[7000]); n != 0 {
			t.Fatalf("%d answers before the pointer or the deadline", n)
		}
		s.tick(12)
		if a := s.edge.replies[7000]; len(a) != 1 || a[0].Kind != godwit.KindSend || a[0].Send.Seq != 0 || a[0].Send.GSeq != 3 || a[0].Send.State != godwit.StateStored {
			t.Fatalf("answers %+v", a)
		}
		thaw()
		s.fannedOut(string(g.Group))
		if len(s.edge.replies[7000]) != 1 || len(s.service.fanouts.waiting) != 0 {
			t.Errorf("%d answers, %d still wait", len(s.edge.replies[7000]), len(s.service.fanouts.waiting))
		}
		if again := s.send(bob, string(g.Conv), "m1", "hi"); again.Seq == 0 || !again.Dup {
			t.Errorf("the same again: %+v", again)
		}
	})
}

// away returns a user whose log lies in another raft group than the group's.
func (s *served) away(group string) godwit.UserID {
	for i := 0; ; i++ {
		user := godwit.UserID(fmt.Sprint("far", i))
		if s.store.Group(user.Partition()) != s.store.Group(godwit.GroupID(group).Partition()) {
			return user
		}
	}
}

func TestSessionsGetGroupMessagesLive(t *testing.T) {
	bubbles(t, nil, func(s *served) {
		g := s.createGroup("alice", "c1", "Friends", "bob", "carol")
		conv := string(g.Conv)
		s.service.Connect(5, godwit.Hello{User: "bob", Device: "phone"})
		s.service.Connect(6, godwit.Hello{User: "alice", Device: "phone"})
		s.settle()
		first := s.send("carol", conv, "m1", "hi")
		s.send("alice", conv, "m2", "there")
		s.mustGroup(s.askGroup("alice", godwit.GroupAdd, string(g.Group), withUsers("dave")))
		for session := range godwit.SessionID(2) {
			want := []string{"2 carol " + conv + " hi", "3 alice " + conv + " there"}
			if got := s.edge.hints[5+session]; len(got) != 3 || !slices.Equal(got[:2], want) {
				t.Errorf("session %d was told %q, want %q", 5+session, got, want)
			}
		}
		last := s.edge.last[5]
		if last.Kind != godwit.EntryGroup || last.GSeq != 4 || last.Group.Do != godwit.GroupAdd || last.Group.By != "alice" || last.Group.Conv != g.Conv {
			t.Errorf("bob was told last %+v", last)
		}
		if page := s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindSync}).Sync.Entries; len(page) != 4 || page[1].Msg.MID != first.MID || page[1].GSeq != 2 {
			t.Errorf("bob reads %+v", page)
		}
	})
}

// What is no longer kept is not told, but that there is something.
func TestSessionsGetAHintOfEntriesThatAreForgotten(t *testing.T) {
	bubbles(t, nil, func(s *served) {
		g := s.createGroup("alice", "c1", "Friends", "bob")
		s.tight(true)
		s.service.fanouts.bufferBytesMax = 0
		s.service.Connect(5, godwit.Hello{User: "bob", Device: "phone"})
		s.settle()
		thaw := s.freeze(s.store.Group(godwit.UserID("bob").Partition()))
		for i := range 5 {
			f := sendFrame(string(g.Conv), fmt.Sprint("m", i), "hi")
			f.ID = uint64(5000 + i)
			s.service.Request(1, "alice", f)
			s.settle()
		}
		thaw()
		s.fannedOut(string(g.Group))
		if got := s.edge.hints[5]; len(got) == 0 || got[len(got)-1] != "head 6" && got[len(got)-1] != "6 alice "+string(g.Conv)+" hi" {
			t.Errorf("bob was told %q", got)
		}
	})
}

// Lists of groups in which nothing happens make room for others.
func TestFanoutForgetsWhatIsNotUsed(t *testing.T) {
	bubbles(t, nil, func(s *served) {
		s.service.fanouts.listBytesMax = 1
		var ids []string
		for i := range 5 {
			g := s.createGroup("alice", fmt.Sprint("c", i), "Friends", manyUsers(5+i)...)
			ids = append(ids, string(g.Group))
			s.tick(2 * fannedTicks)
		}
		if n := len(s.service.fanouts.groups); n > 1 {
			t.Errorf("%d groups are kept", n)
		}
		for i, id := range ids {
			s.send("alice", "g:"+id, fmt.Sprint("m", i), "hi")
			s.mustGroup(s.askGroup("alice", godwit.GroupRemove, id, withUsers(manyUsers(1)...)))
			s.fannedOut(id)
		}
		checkGroupCounts(t, s.store, ids...)
	})
}

// Also those whose turn to be forgotten came while they had something to write down.
func TestFanoutForgetsWhatWasBusy(t *testing.T) {
	bubbles(t, nil, func(s *served) {
		s.service.fanouts.listBytesMax = 1
		for i := range 20 {
			s.createGroup("alice", fmt.Sprint("c", i), "Friends", "bob")
		}
		s.tick(2 * fannedTicks)
		if n := len(s.service.fanouts.groups); n > 1 {
			t.Errorf("%d groups are kept", n)
		}
	})
}

func smallChannels(c *Config) { c.Policy.ChannelAbove = 10 }

// From the boundary on only those whom a change names get an entry.
func TestChannelWritesNothingForItsMembers(t *testing.T) {
	bubbles(t, smallChannels, func(s *served) {
		users := manyUsers(9)
		g := s.createGroup("alice", "c1", "Friends", users...)
		id, conv := string(g.Group), string(g.Conv)
		s.send("alice", conv, "m1", "in the logs")
		if r := s.mustGroup(s.askGroup("alice", godwit.GroupAdd, id, withUsers("zoe"))); !r.Channel {
			t.Fatalf("reply %+v", r)
		}
		s.fannedOut(id)
		for i := range 70 {
			if r := s.send("alice", conv, fmt.Sprint("c", i), "by the channel"); r.Seq != 0 || r.GSeq != godwit.Seq(i+5) {
				t.Fatalf("reply %+v", r)
			}
		}
		s.mustGroup(s.askGroup("alice", godwit.GroupAdd, id, withUsers("yan", "xi")))
		s.send("alice", conv, "m2", "by the channel")
		s.mustGroup(s.askGroup("alice", godwit.GroupRemove, id, withUsers("yan", users[0])))
		s.mustGroup(s.askGroup("alice", godwit.GroupAdd, id, withUsers("yan")))
		s.mustGroup(s.askGroup("xi", godwit.GroupLeave, id, nil))
		s.mustGroup(s.askGroup("alice", godwit.GroupSet, id, func(g *godwit.Group) { g.Name, g.HasName = []byte("Many"), true }))
		s.fannedOut(id)
		checkGroupCounts(t, s.store, id)
		if got, _, _ := pointersOf(t, s.store, "yan", id); len(got) != 3 {
			t.Errorf("yan has %v, want two joins and a removal", got)
		}
		if got, row, _ := pointersOf(t, s.store, godwit.UserID(users[1]), id); len(got) != 4 || row.unread(groupOfStore(t, s.store, id).messages) != 72 {
			t.Errorf("%s has %v, %d unread", users[1], got, row.unread(groupOfStore(t, s.store, id).messages))
		}
		if got, row, _ := pointersOf(t, s.store, "alice", id); len(got) != 4 || row.unread(groupOfStore(t, s.store, id).messages) != 0 {
			t.Errorf("alice has %v, %d unread of her own", got, row.unread(groupOfStore(t, s.store, id).messages))
		}
		for n := range uint32(groupOfStore(t, s.store, id).buckets) {
			bucket := s.store.groups[s.store.Group(g.Group.Partition())].rows[string(appendBucketKey(nil, []byte(id), n))]
			for r := (reader{b: bucket}); len(r.b) > 0; {
				if e, _ := nextBucketEntry(&r); e.left != 0 {
					t.Errorf("%s is still listed, who left at %d", e.user, e.left)
				}
			}
		}
		s.restart()
		s.fannedOut(id)
	})
}

// Nothing of the time before the boundary is lost or repeated, and unread goes on.
func TestGroupBecomesAChannelWithMessagesUnderWay(t *testing.T) {
	bubbles(t, smallChannels, func(s *served) {
		g := s.createGroup("alice", "c1", "Friends", manyUsers(8)...)
		id, conv := string(g.Group), string(g.Conv)
		for i := range 100 {
			f := sendFrame(conv, fmt.Sprint("m", i), "hi")
			f.ID = uint64(9000 + i)
			s.service.Request(1, godwit.UserID(manyUsers(8)[i%8]), f)
			if i == 50 {
				add := &godwit.ClientFrame{ID: 8999, Kind: godwit.KindGroup, Group: godwit.Group{
					Do: []byte(godwit.GroupAdd), Group: []byte(id), Users: byteLists([]string{"zoe", "yan"}),
				}}
				s.service.Request(1, "alice", add)
			}
		}
		s.fannedOut(id)
		if row := groupOfStore(t, s.store, id); row.boundary == 0 || row.messages != 100 {
			t.Errorf("row %+v", row)
		}
		checkGroupCounts(t, s.store, id)
	})
}
