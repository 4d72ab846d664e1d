package chat

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
)

// call asks whether a token may make calls and tells the close code, 0 if it may.
func (s *served) call(user godwit.UserID, device string, issued int64) godwit.CloseCode {
	s.t.Helper()
	const session = 50
	delete(s.edge.closed, session)
	before := len(s.edge.welcomes[session])
	s.service.Connect(session, godwit.Hello{User: user, Device: device, Issued: issued, Call: true})
	s.settle()
	code, closed := s.edge.closed[session]
	if closed == (len(s.edge.welcomes[session]) > before) {
		s.t.Fatalf("a call of %s was both admitted and refused, or neither: %d", user, code)
	}
	return code
}

func TestCallsOfALoggedOutTokenAreRefused(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		now := s.store.clock
		want := func(device string, issued int64, want godwit.CloseCode) {
			t.Helper()
			for range 2 { // read, then remembered
				if got := s.call("alice", device, issued); got != want {
					t.Errorf("device %q with a token of %+d ms: %d, want %d", device, issued-now, got, want)
				}
			}
		}
		s.join(1, "alice", "phone", now-10)
		s.join(2, "alice", "web", now-10)
		want("phone", now-10, 0)
		want("", now-10, 0)
		s.logout(2, "alice", "phone")
		want("phone", now-10, godwit.CloseLoggedOut)
		want("phone", 0, godwit.CloseLoggedOut)
		want("phone", now, 0)
		want("web", now-10, 0)
		want("", now-10, 0) // it does not say which device it is
		s.store.clock += 100
		s.logout(2, "alice", "")
		want("web", now-10, godwit.CloseLoggedOut)
		want("", now-10, godwit.CloseLoggedOut)
		want("", 0, godwit.CloseLoggedOut)
		want("other", now, godwit.CloseLoggedOut)
		want("phone", now+100, 0)
		if got := s.call("bob", "phone", 0); got != 0 {
			t.Errorf("somebody else: %d", got)
		}
		s.restart()
		want("phone", now, godwit.CloseLoggedOut)
		want("", now+100, 0)
		if online, _ := s.router.Presence("alice"); online {
			t.Error("a call made her online")
		}
		s.wantNoneNoted()
	})
}

func TestACallReadsNoRowOnceRemembered(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		s.call("alice", "phone", 5)
		before := s.service.counters.reads.Load()
		for range 10 {
			s.call("alice", "phone", 5)
			s.call("alice", "", 5)
		}
		if n := s.service.counters.reads.Load() - before; n != 0 {
			t.Errorf("%d reads", n)
		}
	})
}

// What was read before a logout and is done after it is not remembered.
func TestALogoutDuringTheReadOfACallIsNotForgotten(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		now := s.store.clock
		_, heard := s.service.logouts.get("alice")
		s.join(1, "alice", "phone", now-10)
		s.logout(1, "alice", "phone")
		s.service.logouts.remember("alice", &userLogouts{}, heard)
		if got := s.call("alice", "phone", now-10); got != godwit.CloseLoggedOut {
			t.Errorf("admitted: %d", got)
		}
	})
}

func TestRememberedLogoutsAreBounded(t *testing.T) {
	var l logouts
	l.init()
	all := func() (weight, users int) {
		for i := range l.shards {
			sum := 0
			for _, u := range l.shards[i].users {
				sum += u.weight()
			}
			if sum != l.shards[i].weight {
				t.Fatalf("weighs %d, said to be %d", sum, l.shards[i].weight)
			}
			weight, users = weight+sum, users+len(l.shards[i].users)
		}
		return weight, users
	}
	for i := range 4 * logoutShards * logoutWeightMax / (1 + devicesMax) {
		user := godwit.UserID(fmt.Sprint("u", i))
		_, heard := l.get(user)
		u := &userLogouts{devices: make([]deviceLogouts, devicesMax)}
		l.remember(user, u, heard)
		if got, _ := l.get(user); got != u {
			t.Fatal("the newest was not kept")
		}
	}
	if weight, users := all(); weight > logoutShards*logoutWeightMax || users < logoutShards*logoutWeightMax/(1+devicesMax)/2 {
		t.Errorf("%d users of weight %d", users, weight)
	}
}

func TestACallWithoutAnAnswerInTimeIsRefused(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		s.store.readErr = godwit.ErrUnavailable
		if got := s.call("alice", "phone", 5); got != godwit.CloseOverloaded {
			t.Errorf("code %d", got)
		}
	})
}
