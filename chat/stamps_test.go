package chat

import (
	"testing"

	"github.com/godwit-im/godwit"
)

// An old connection that is heard of late, as after its engine process was away,
// takes nobody's place and can do nothing.
func TestAConnectionHeardOfLateDoesNotReplaceANewerOne(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		s.send("alice", "bob", "c0", "before")
		connect := func(session godwit.SessionID, stamp uint64) {
			s.service.Connect(session, godwit.Hello{User: "alice", Device: "phone", Stamp: stamp})
		}
		connect(12, 200)
		s.settle()
		connect(11, 100)
		s.settle()
		if code := s.edge.closed[11]; code != godwit.CloseReplaced || s.edge.closed[12] != 0 || len(s.edge.welcomes[11]) != 0 {
			t.Errorf("the old one: %d, the new one: %d", code, s.edge.closed[12])
		}
		s.wantError(s.askAs(11, "alice", sendFrame("bob", "c1", "the old one")), godwit.ErrUnavailable)
		if r := s.askAs(12, "alice", sendFrame("bob", "c2", "me")); r.Kind != godwit.KindSend {
			t.Errorf("the new one: %+v", r.Error)
		}
		// Both at once, the newer one first: it does not have to give way either.
		connect(14, 400)
		connect(13, 300)
		s.settle()
		if s.edge.closed[13] != godwit.CloseReplaced || s.edge.closed[12] != godwit.CloseReplaced || s.edge.closed[14] != 0 {
			t.Errorf("closed: %v", s.edge.closed)
		}
		for _, session := range []godwit.SessionID{11, 12, 13, 14} {
			s.service.Disconnect(session, "alice", "phone")
		}
		s.wantNoneNoted()
	})
}

// Two that are being opened at the same time: the one that arrived later is the
// older one, and begins first.
func TestTheOlderOfTwoThatOpenAtOnceGivesWay(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		h := func(stamp uint64) *godwit.Hello {
			return &godwit.Hello{User: "alice", Device: "phone", Stamp: stamp}
		}
		s.service.sessions.opens(1, h(200))
		s.service.sessions.opens(2, h(100))
		if !s.service.sessions.begin(2, h(100)) {
			t.Error("the first to begin has nobody to give way to yet")
		}
		if !s.service.sessions.begin(1, h(200)) {
			t.Error("the newer one did not begin")
		}
		if s.edge.closed[2] != godwit.CloseReplaced || s.edge.closed[1] != 0 {
			t.Errorf("closed: %v", s.edge.closed)
		}
		s.service.Disconnect(1, "alice", "phone")
		s.service.Disconnect(2, "alice", "phone")
		s.wantNoneNoted()
	})
}
