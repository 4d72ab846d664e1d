package chat

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
)

// smallGroup has alice, bob and others, so many members in all; alice and bob are
// online in sessions 100 and 101.
func (s *served) smallGroup(members int) (group string) {
	s.t.Helper()
	s.online("alice", "bob")
	users := []string{"bob"}
	for i := range members - 2 {
		users = append(users, fmt.Sprint("user-", i))
	}
	r := s.createGroup("alice", "c1", "Friends", users...)
	if r.Count != uint32(members) {
		s.t.Fatalf("%d members, want %d", r.Count, members)
	}
	return string(r.Group)
}

// reads sends a message of alice's to the group, which bob marks as read.
func (s *served) reads(group string) {
	s.t.Helper()
	cid := fmt.Sprint("m", s.store.count)
	r := s.ask("alice", sendFrame("g:"+group, cid, "hi"))
	if r.Kind != godwit.KindSend {
		s.t.Fatalf("%+v", r.Error)
	}
	s.settle()
	s.heard(100)
	s.heard(101)
	v := s.store.View(s.store.Group(godwit.UserID("bob").Partition()))
	row, _ := conversationOf(v, "bob", []byte("g:"+group))
	v.Close()
	s.tick(20)
	if r := s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte("g:" + group), Read: row.last}}); r.Kind != godwit.KindDone {
		s.t.Fatalf("mark: %+v", r.Error)
	}
	s.settle()
}

func receiptOf(group string, gseq godwit.Seq) string {
	return fmt.Sprintf(`{"eph":{"receipt":{"conv":"g:%s","user":"bob","delivered":%d,"read":%d}}}`, group, gseq, gseq)
}

func TestMarksAreToldInGroupsUpToTheBound(t *testing.T) {
	for _, groups := range []int{1, 8} {
		bubble(t, groups, nil, func(s *served) {
			group := s.smallGroup(20)
			s.reads(group)
			s.wantHeard(100, receiptOf(group, 2))
			s.wantHeard(101, "") // not to himself
			change := func(do, user string) {
				f := godwit.Group{Do: []byte(do), Group: []byte(group), Users: [][]byte{[]byte(user)}}
				if r := s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindGroup, Group: f}); r.Kind != godwit.KindGroup {
					t.Fatalf("%+v", r.Error)
				}
			}
			change(godwit.GroupAdd, "one-more")
			s.reads(group)
			s.wantHeard(100, "")
			change(godwit.GroupRemove, "user-3")
			s.reads(group)
			s.wantHeard(100, receiptOf(group, 6))
			change(godwit.GroupRemove, "bob")
			s.heard(100)
			s.reads(group) // what he had is his to mark
			s.wantHeard(100, "")
		})
	}
}

// TestWhoIsToldOfMarksIsJudgedAgain when the look comes: meanwhile the group may have
// grown, or become a channel, or the member left.
func TestWhoIsToldOfMarksIsJudgedAgain(t *testing.T) {
	bubble(t, 8, func(c *Config) { c.Policy.ChannelAbove = 5 }, func(s *served) {
		group := s.smallGroup(4)
		tell := func(user godwit.UserID, membersMax uint32, want string) {
			t.Helper()
			s.heard(100)
			s.service.tellReceipt(&look{user: user, kind: godwit.KindMark, conv: godwit.ConversationID("g:" + group), membersMax: membersMax})
			s.wantHeard(100, want)
		}
		s.reads(group)
		tell("bob", 4, receiptOf(group, 2))
		tell("bob", 3, "")
		tell("mallory", 20, "")
		f := godwit.Group{Do: []byte(godwit.GroupAdd), Group: []byte(group), Users: [][]byte{[]byte("x"), []byte("y")}}
		s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindGroup, Group: f})
		tell("bob", 20, "") // a channel by now
	})
}

// TestMarksOfLargeGroupsAreNotLookedAt: they cost nothing beyond their row.
func TestMarksOfLargeGroupsAreNotLookedAt(t *testing.T) {
	for members, want := range map[int]int{20: 1, 21: 0} {
		p := &fakePresence{}
		bubble(t, 1, withPresence(p), func(s *served) {
			group := s.smallGroup(members)
			p.hold = make(chan struct{})
			for i := range lookWorkers {
				f := lookFrame([]string{"alice"})
				f.ID = uint64(10_000 + i)
				s.service.Request(1, godwit.UserID("alice"), f)
				s.settle()
			}
			s.reads(group)
			if n := len(s.service.looks); n != want {
				t.Errorf("%d members: %d looks wait, want %d", members, n, want)
			}
			close(p.hold)
		})
	}
}

// TestMarksInGroupsLeaveRoomForWhatIsAsked: with half of the queue taken they are
// dropped, while presence still has room.
func TestMarksInGroupsLeaveRoomForWhatIsAsked(t *testing.T) {
	p := &fakePresence{}
	bubble(t, 1, withPresence(p), func(s *served) {
		group := s.smallGroup(3)
		p.hold = make(chan struct{})
		look := func(n int) {
			for i := range n {
				f := lookFrame([]string{"alice"})
				f.ID = uint64(10_000 + i)
				s.service.Request(1, godwit.UserID("alice"), f)
				s.settle()
			}
		}
		look(lookWorkers + receiptLooksMax - 1)
		s.reads(group)
		if n := len(s.service.looks); n != receiptLooksMax {
			t.Errorf("%d looks wait, the mark's should", n)
		}
		s.reads(group)
		look(1)
		if n := len(s.service.looks); n != receiptLooksMax+1 {
			t.Errorf("%d looks wait, the mark's too", n)
		}
		s.heard(100)
		close(p.hold)
		s.settle()
		s.wantHeard(100, receiptOf(group, 3)) // as it stands when it is told
	})
}
