package chat

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
)

// open are the sessions between two states that are noted.
func (t *sessions) open() (n int) {
	for i := range t.shards {
		n += len(t.shards[i].opening) + len(t.shards[i].ended)
	}
	return n + int(t.ends.Load())
}

func (s *served) wantNoneNoted() {
	s.t.Helper()
	if n := s.service.sessions.open(); n != 0 {
		s.t.Errorf("%d sessions are noted", n)
	}
}

// The edge of this test closes nothing, so the old connection goes on asking.
func TestAReplacedSessionCannotActAnyMore(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		s.send("alice", "bob", "c0", "before")
		s.join(11, "alice", "phone", 5)
		if r := s.askAs(11, "alice", sendFrame("bob", "c1", "still me")); r.Kind != godwit.KindSend {
			t.Fatalf("before: %+v", r.Error)
		}
		s.join(12, "alice", "phone", 5)
		before := s.commands()
		for _, f := range []*godwit.ClientFrame{
			sendFrame("bob", "c2", "the old one"),
			{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte("u:bob"), Read: 1}},
			{Kind: godwit.KindEdit, Edit: godwit.Edit{MID: []byte("m"), HasText: true}},
			{Kind: godwit.KindRecall, Recall: godwit.Recall{MID: []byte("m")}},
			{Kind: godwit.KindGroup, Group: godwit.Group{Do: []byte(godwit.GroupCreate), CID: []byte("g1"), Name: []byte("n"), HasName: true}},
			{Kind: godwit.KindBlock, Block: godwit.People{Add: [][]byte{[]byte("bob")}}},
			{Kind: godwit.KindContact, Contact: godwit.People{Add: [][]byte{[]byte("bob")}}},
			{Kind: godwit.KindDevice, Device: godwit.Device{Do: []byte(godwit.DeviceLogout), All: true}},
			{Kind: godwit.KindConversation, Conversation: godwit.ConversationChange{Conv: []byte("u:bob"), HasPin: true}},
		} {
			s.wantError(s.askAs(11, "alice", f), godwit.ErrUnavailable)
		}
		answers := len(s.edge.replies[0])
		s.service.Request(11, "alice", &godwit.ClientFrame{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte("u:bob"), Read: 1}})
		s.settle()
		s.tick(20)
		if s.commands() != before || len(s.edge.replies[0]) != answers {
			t.Error("something was done, or a mark without id was answered")
		}
		// Neither the new one nor a call, which has no session, is meant.
		for _, session := range []godwit.SessionID{12, 99} {
			if r := s.askAs(session, "alice", sendFrame("bob", fmt.Sprint("d", session), "me")); r.Kind != godwit.KindSend {
				t.Errorf("session %d: %+v", session, r.Error)
			}
		}
		s.service.Disconnect(11, "alice", "phone")
		s.service.Disconnect(12, "alice", "phone")
		s.wantNoneNoted()
	})
}

func TestALoggedOutSessionCannotActAnyMore(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		s.join(11, "alice", "phone", s.store.clock-10)
		s.join(12, "alice", "web", s.store.clock-10)
		s.logout(12, "alice", "phone")
		s.wantError(s.askAs(11, "alice", sendFrame("bob", "c1", "still me")), godwit.ErrLoggedOut)
		if r := s.askAs(12, "alice", sendFrame("bob", "c1", "me")); r.Kind != godwit.KindSend {
			t.Errorf("another device: %+v", r.Error)
		}
		s.logout(12, "alice", "")
		s.wantError(s.askAs(12, "alice", sendFrame("bob", "c2", "still me")), godwit.ErrLoggedOut)
		s.service.Disconnect(11, "alice", "phone")
		s.service.Disconnect(12, "alice", "web")
		s.wantNoneNoted()
	})
}

// A token that is void takes nobody's place, not even for a moment.
func TestALoggedOutTokenIsNeverRegistered(t *testing.T) {
	for _, device := range []string{"phone", ""} {
		bubble(t, 1, nil, func(s *served) {
			now := s.store.clock
			s.join(1, "alice", "phone", now-10)
			s.logout(9, "alice", device)
			s.service.Disconnect(1, "alice", "phone")
			s.store.clock += 10
			if got := s.join(2, "alice", "phone", now+5); got != 0 {
				t.Fatalf("the new token: %d", got)
			}
			s.router.registered = func(session godwit.SessionID) { t.Errorf("session %d was registered", session) }
			if got := s.join(3, "alice", "phone", now-1); got != godwit.CloseLoggedOut {
				t.Errorf("the old token: %d", got)
			}
			if code, ok := s.edge.closed[2]; ok {
				t.Errorf("it closed the new session: %d", code)
			}
			if r := s.askAs(2, "alice", sendFrame("bob", "c1", "me")); r.Kind != godwit.KindSend {
				t.Errorf("the new session: %+v", r.Error)
			}
			s.wantNoneNoted()
		})
	}
}

// An entry that becomes visible just before or just after the session is registered
// is in the head that it is told, or told itself.
func TestNoEntryIsMissedWhileASessionBegins(t *testing.T) {
	t.Run("just before", func(t *testing.T) {
		noneMissed(t, func(r *memRouter, f func(godwit.SessionID)) { r.registering = f })
	})
	t.Run("just after", func(t *testing.T) {
		noneMissed(t, func(r *memRouter, f func(godwit.SessionID)) { r.registered = f })
	})
}

func noneMissed(t *testing.T, at func(*memRouter, func(godwit.SessionID))) {
	bubble(t, 1, nil, func(s *served) {
		s.send("bob", "alice", "c0", "first")
		release := make(chan struct{})
		at(s.router, func(godwit.SessionID) {
			at(s.router, nil)
			s.service.Request(7, "bob", sendFrame("alice", "c1", "meanwhile"))
			<-release
		})
		s.service.Connect(1, godwit.Hello{User: "alice", Device: "phone"})
		s.settle() // the send is applied while the connect stands still
		close(release)
		s.settle()
		if w := s.edge.welcomes[1]; len(w) != 1 || w[0].Head != 2 && len(s.edge.hints[1]) == 0 {
			t.Errorf("welcome %+v, hints %q", w, s.edge.hints[1])
		}
	})
}

// A logout between the judgement and the registration ends the session as well.
func TestALogoutWhileASessionBeginsEndsIt(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		now := s.store.clock
		s.join(1, "alice", "phone", now-10)
		s.service.Disconnect(1, "alice", "phone")
		s.router.registered = func(godwit.SessionID) {
			s.router.registered = nil
			c := deviceCommand{op: deviceLogout, user: []byte("alice"), device: []byte("phone")}
			_ = s.store.Propose(0, c.append(nil, 0), trimWaiter{})
		}
		s.service.Connect(2, godwit.Hello{User: "alice", Device: "phone", Issued: now - 10})
		s.settle()
		if s.edge.closed[2] != godwit.CloseLoggedOut {
			t.Errorf("closed %v", s.edge.closed)
		}
	})
}

// A client that is gone before its session began leaves nothing behind.
func TestASessionThatLeavesBeforeItBeginsIsNotRegistered(t *testing.T) {
	f := func(leave func(s *served)) {
		t.Helper()
		bubble(t, 1, nil, func(s *served) {
			s.store.hold = true
			s.service.Connect(1<<godwit.SessionEdgeShift, godwit.Hello{User: "alice", Device: "phone"})
			leave(s)
			s.store.hold = false
			for _, done := range s.store.held {
				done(nil)
			}
			s.settle()
			if online, _ := s.router.Presence("alice"); online || len(s.edge.welcomes) != 0 {
				t.Errorf("online %v, welcomes %v", online, s.edge.welcomes)
			}
			s.wantNoneNoted()
		})
	}
	f(func(s *served) { s.service.Disconnect(1<<godwit.SessionEdgeShift, "alice", "phone") })
	f(func(s *served) { s.service.ForgetEdge(1) })
}

// Sessions of one device that open at the same time: the one that came last stays.
func TestTheNewestConnectOfADeviceWins(t *testing.T) {
	for range 20 {
		bubble(t, 1, func(c *Config) { c.ReadWorkers = 4 }, func(s *served) {
			for session := range godwit.SessionID(8) {
				s.service.Connect(session+1, godwit.Hello{User: "alice", Device: "phone"})
			}
			s.settle()
			if got := s.router.Sessions("alice", nil); len(got) != 1 || got[0] != 8 || len(s.edge.closed) != 7 || s.edge.closed[8] != 0 {
				t.Fatalf("registered %v, closed %v", got, s.edge.closed)
			}
			for session := range godwit.SessionID(8) {
				s.service.Disconnect(session+1, "alice", "phone")
			}
			s.wantNoneNoted()
		})
	}
}

func BenchmarkSessionsEnded(b *testing.B) {
	var t sessions
	t.init(&Service{})
	f := func(name string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if t.ended(7, "alice") != nil {
					b.Fatal("it has not")
				}
			}
		})
	}
	f("none")
	t.endLocked(t.shard("bob"), 8, godwit.ErrLoggedOut)
	f("another")
}
