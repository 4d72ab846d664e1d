package chat

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
)

func typingFrame(conv string, stop bool) *godwit.ClientFrame {
	return &godwit.ClientFrame{Kind: godwit.KindTyping, Typing: godwit.Typing{Conv: []byte(conv), Stop: stop}}
}

// types sends a notice with an id, which is answered whatever becomes of it.
func (s *served) types(user godwit.UserID, conv string, stop bool) {
	s.t.Helper()
	if r := s.ask(user, typingFrame(conv, stop)); r.Kind != godwit.KindDone {
		s.t.Errorf("typing of %s in %s: %d %+v", user, conv, r.Kind, r.Error)
	}
}

// heard returns how many whispers came to a session since the last time, and the last.
func (s *served) heard(session godwit.SessionID) (n int, last string) {
	for _, line := range s.edge.hints[session] {
		if len(line) > 8 && line[:8] == "whisper " {
			n, last = n+1, line[8:]
		}
	}
	delete(s.edge.hints, session)
	return n, last
}

func (s *served) wantHeard(session godwit.SessionID, want string) {
	s.t.Helper()
	n, last := s.heard(session)
	if want == "" && n != 0 || want != "" && (n != 1 || last != want) {
		s.t.Errorf("session %d heard %d whispers, the last is %q; want %q", session, n, last, want)
	}
}

func (s *served) online(users ...godwit.UserID) {
	for i, user := range users {
		s.service.Connect(godwit.SessionID(100+i), godwit.Hello{User: user, Device: "phone"})
	}
	s.settle()
}

// TestTypingIsToldToThePeerAndNeverStored: at most once in 2 s, and its end once.
func TestTypingIsToldToThePeerAndNeverStored(t *testing.T) {
	for _, groups := range []int{1, 8} {
		bubble(t, groups, nil, func(s *served) {
			s.online("bob", "alice")
			s.send("alice", "bob", "c1", "hi")
			before := s.store.digests()
			const on = `{"eph":{"typing":{"conv":"u:alice","user":"alice"}}}`
			const off = `{"eph":{"typing":{"conv":"u:alice","user":"alice","stop":true}}}`
			s.types("alice", "u:bob", false)
			s.wantHeard(100, on)
			s.wantHeard(101, "") // not to herself
			s.types("alice", "u:bob", false)
			s.wantHeard(100, "")
			s.tick(20)
			s.types("alice", "bob", false) // the short form
			s.wantHeard(100, on)
			s.types("alice", "u:bob", true)
			s.wantHeard(100, off)
			s.types("alice", "u:bob", true)
			s.wantHeard(100, "")
			s.service.Request(1, "alice", typingFrame("u:bob", false)) // no id, no answer
			s.service.Request(1, "alice", typingFrame("", false))
			s.settle()
			if len(s.edge.replies[0]) != 0 {
				t.Errorf("answered %+v", s.edge.replies[0])
			}
			if after := s.store.digests(); fmt.Sprint(before) != fmt.Sprint(after) {
				t.Error("typing changed the store")
			}
		})
	}
}

// TestTypingIsNotToldToWhoMayNotKnow: not to strangers nor to those who block, and
// the one who types can't tell.
func TestTypingIsNotToldToWhoMayNotKnow(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		s.online("bob", "carol")
		s.types("alice", "u:bob", false)
		s.wantHeard(100, "")
		s.send("alice", "carol", "c1", "hi")
		s.ask("carol", &godwit.ClientFrame{Kind: godwit.KindBlock, Block: godwit.People{Add: [][]byte{[]byte("alice")}}})
		s.heard(101)
		s.types("alice", "u:carol", false)
		s.wantHeard(101, "")
		s.types("alice", "u:nobody", false)
		s.types("alice", "u:alice", false)
		s.types("alice", "g:none", false)
		s.wantError(s.ask("alice", typingFrame("", false)), godwit.ErrBadConv)
		s.wantError(s.ask("alice", typingFrame("x y", false)), godwit.ErrBadConv)
	})
}

// TestTypingInAGroupIsToldToItsMembers who are online and don't block.
func TestTypingInAGroupIsToldToItsMembers(t *testing.T) {
	for _, groups := range []int{1, 8} {
		bubble(t, groups, nil, func(s *served) {
			s.online("bob", "carol", "dave", "alice", "eve")
			r := s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{
				Do: []byte(godwit.GroupCreate), Name: []byte("team"), HasName: true, Users: [][]byte{[]byte("bob"), []byte("carol"), []byte("frank")},
			}})
			if r.Kind != godwit.KindGroup {
				t.Fatalf("%+v", r.Error)
			}
			conv := string(r.Group.Conv)
			s.ask("carol", &godwit.ClientFrame{Kind: godwit.KindBlock, Block: godwit.People{Add: [][]byte{[]byte("alice")}}})
			s.settle()
			for i := range 5 {
				s.heard(godwit.SessionID(100 + i))
			}
			s.types("alice", conv, false)
			s.wantHeard(100, `{"eph":{"typing":{"conv":"`+conv+`","user":"alice"}}}`)
			for _, other := range []godwit.SessionID{101, 102, 103, 104} {
				s.wantHeard(other, "")
			}
			s.types("eve", conv, false) // is no member
			s.wantHeard(100, "")
		})
	}
}

// TestTypistsAreBounded: few conversations at once, and who stopped typing is forgotten.
func TestTypistsAreBounded(t *testing.T) {
	var table typists
	passed := 0
	for i := range 100 {
		if table.take("alice", godwit.ConversationID(fmt.Sprint("u:", i)), false) {
			passed++
		}
	}
	if passed != typingConversations {
		t.Errorf("%d conversations at once", passed)
	}
	for range typingForget + senderShards {
		table.tick()
	}
	for i := range table.shards {
		if len(table.shards[i].users) != 0 {
			t.Error("somebody is remembered")
		}
	}
	for i := range senderShards * shardSendersMax * 2 {
		table.take(godwit.UserID(fmt.Sprint("u", i)), "u:bob", false)
	}
	for i := range table.shards {
		if len(table.shards[i].users) > shardSendersMax {
			t.Error("a shard is over its bound")
		}
	}
}
