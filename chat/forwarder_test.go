package chat

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-im/godwit"
)

// outboxRows counts undelivered or unacked items in the store.
func (s *served) outboxRows() (n int) {
	for _, g := range s.store.groups {
		for key := range g.rows {
			if key[2] == rowOutbox {
				n++
			}
		}
	}
	return n
}

// freeze holds back every command for one group until thaw.
func (s *served) freeze(group int) (thaw func()) {
	s.store.mu.Lock()
	s.store.frozen = map[int]bool{group: true}
	s.store.mu.Unlock()
	return func() {
		s.store.mu.Lock()
		s.store.frozen = nil
		s.store.mu.Unlock()
		s.store.signal()
		s.settle()
	}
}

func TestForwarderEmptiesTheOutboxInOrder(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		alice, bob, lane := usersApart(8)
		thaw := s.freeze(s.store.Group(lane.dst))
		var want []string
		for i := range 600 { // more than two forwards
			s.send(alice, string(bob), fmt.Sprint("c", i), fmt.Sprint(i))
			if i < 100 {
				want = append(want, fmt.Sprintf("%d alice u:alice %d", i+1, i))
			}
		}
		if n := s.outboxRows(); n != 600 {
			t.Fatalf("%d outbox rows", n)
		}
		if n := len(s.store.groups[s.store.Group(lane.dst)].queue); n != 1 {
			t.Errorf("%d forwards of one lane are under way", n)
		}
		s.tick(20)
		if st := s.service.Stats(); st.Stored != 600 || st.OutboxItems != 600 || st.OutboxLanes != 1 || st.OutboxOldest != 2*time.Second || st.Forwarded != 0 {
			t.Errorf("stats %+v", st)
		}
		thaw()
		s.wantLog(bob, want...)
		if n := s.outboxRows(); n != 0 || len(s.service.forwarder.lanes) != 0 || s.service.forwarder.items != 0 {
			t.Errorf("%d rows, %d lanes, %d items are left", n, len(s.service.forwarder.lanes), s.service.forwarder.items)
		}
		if st := s.service.Stats(); st.Forwarded != 600 || st.OutboxItems != 0 || st.OutboxOldest != 0 || st.ForwardsLost != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestFullLaneRefusesSendsBeforeProposal(t *testing.T) {
	f := func(change func(*Config)) {
		bubble(t, 8, change, func(s *served) {
			alice, bob, lane := usersApart(8)
			thaw := s.freeze(s.store.Group(lane.dst))
			for i := range 4 {
				s.send(alice, string(bob), fmt.Sprint("c", i), "x")
			}
			proposals := s.store.count
			s.wantError(s.ask(alice, sendFrame(string(bob), "c4", "x")), godwit.ErrUnavailable)
			if s.store.count != proposals {
				t.Error("the send was proposed")
			}
			s.send(alice, "alice", "c", "x") // its own group is open
			thaw()
			s.send(alice, string(bob), "c4", "x")
			if got := s.sync(bob); len(got) != 5 {
				t.Errorf("bob has %q", got)
			}
		})
	}
	f(func(c *Config) { c.LaneItemsMax = 4 })
	f(func(c *Config) { c.LaneBytesMax = 80 })
	f(func(c *Config) { c.OutboxMax = 4 })
}

func TestRestartForwardsWhatTheOutboxHolds(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		alice, bob, lane := usersApart(8)
		s.freeze(s.store.Group(lane.dst))
		for i := range 5 {
			s.send(alice, string(bob), fmt.Sprint("c", i), fmt.Sprint(i))
		}
		s.restart()
		s.settle()
		if got := s.sync(bob); len(got) != 5 || got[4] != "5 alice u:alice 4" {
			t.Errorf("bob has %q", got)
		}
		if n := s.outboxRows(); n != 0 {
			t.Errorf("%d outbox rows are left", n)
		}
	})
}

func TestForwarderRetriesWithPauses(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		alice, bob, lane := usersApart(8)
		s.store.dropped = func(n uint64) bool { return true }
		s.store.dropGroup = s.store.Group(lane.dst)
		s.send(alice, string(bob), "c", "x")
		attempts := func() uint64 { return s.store.count }
		before := attempts()
		var pauses []int
		for tick := range 70 {
			s.tick(1)
			if n := attempts(); n != before {
				pauses = append(pauses, tick)
				before = n
			}
		}
		if want := []int{0, 2, 6, 14, 30, 62}; !slices.Equal(pauses, want) {
			t.Errorf("attempts at ticks %v, want %v", pauses, want)
		}
		s.store.mu.Lock()
		s.store.dropped = nil
		s.store.mu.Unlock()
		s.tick(backoffTicks)
		if got := s.sync(bob); len(got) != 1 {
			t.Errorf("bob has %q", got)
		}
	})
}

// A forwarder whose memory is wrong reads the rows again.
func TestForwarderReloadsALaneItMissedItemsOf(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		alice, bob, lane := usersApart(8)
		thaw := s.freeze(s.store.Group(lane.dst))
		s.send(alice, string(bob), "c0", "0")
		f := s.service.forwarder
		f.mu.Lock()
		f.loaded = false // the effects of two sends are lost
		f.mu.Unlock()
		s.send(alice, string(bob), "c1", "1")
		s.send(alice, string(bob), "c2", "2")
		f.mu.Lock()
		f.loaded = true
		f.mu.Unlock()
		s.send(alice, string(bob), "c3", "3")
		thaw()
		s.tick(2)
		s.wantLog(bob, "1 alice u:alice 0", "2 alice u:alice 1", "3 alice u:alice 2", "4 alice u:alice 3")
	})
}

// Everything at once: many users on 8 groups, proposals that are lost, answers
// that are lost, clients that retry, restarts.
func TestServiceDeliversExactlyOnceThroughFaults(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { deliverThroughFaults(t, seed) })
		})
	}
}

func deliverThroughFaults(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := &served{t: t, store: newMemStore(8)}
	s.start(nil)
	users := []godwit.UserID{"alice", "bob", "carol", "dave", "erin", "frank"}
	type message struct{ from, to godwit.UserID }
	var sent []message
	for i := range 300 {
		m := message{users[rnd.IntN(len(users))], users[rnd.IntN(len(users))]}
		sent = append(sent, m)
		if i%60 == 59 {
			s.restart()
		}
		fault := rnd.Uint64()
		s.store.mu.Lock()
		s.store.dropGroup = -1
		s.store.dropped = func(n uint64) bool { return (n*0x9E3779B97F4A7C15^fault)%5 == 0 }
		s.store.lose = func(n uint64) bool { return (n*0xC2B2AE3D27D4EB4F^fault)%5 == 1 }
		s.store.mu.Unlock()
		for {
			r := s.ask(m.from, sendFrame(string(m.to), fmt.Sprint("c", i), fmt.Sprint("text", i)))
			if r.Kind == godwit.KindSend {
				break
			}
			s.wantError(r, godwit.ErrUnknown)
			s.tick(1)
		}
	}
	s.store.mu.Lock()
	s.store.dropped, s.store.lose = nil, nil
	s.store.mu.Unlock()
	s.tick(2 * backoffTicks)
	if n := s.outboxRows(); n != 0 {
		t.Errorf("%d outbox rows are left", n)
	}
	counts := map[string]int{}
	for _, user := range users {
		lastOf := map[string]int{}
		for since := godwit.Seq(0); ; {
			r := s.ask(user, &godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Since: since}})
			for _, e := range r.Sync.Entries {
				var n int
				if _, err := fmt.Sscanf(string(e.Msg.Body), "text%d", &n); err != nil || e.Seq != since+1 {
					t.Fatalf("%s has %+v after %d", user, e, since)
				}
				since = e.Seq
				counts[fmt.Sprint(user, n)]++
				if from := string(e.Msg.From); lastOf[from] > n {
					t.Errorf("%s has message %d of %s after %d", user, n, from, lastOf[from])
				} else {
					lastOf[from] = n
				}
			}
			if since == r.Sync.Head {
				break
			}
		}
	}
	for n, m := range sent {
		if a, b := counts[fmt.Sprint(m.from, n)], counts[fmt.Sprint(m.to, n)]; a != 1 || b != 1 {
			t.Errorf("message %d is %d times in the log of %s and %d times in that of %s", n, a, m.from, b, m.to)
		}
	}
	s.close()
}
