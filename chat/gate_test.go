package chat

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/godwit-im/godwit"
)

// memHook answers by the text of a message. What says wait is held until let.
type memHook struct {
	mu      sync.Mutex
	asked   []string
	flying  int
	most    int
	skipped int
	open    bool
	wait    chan struct{}
}

func (h *memHook) BeforeSend(ctx context.Context, m *Outgoing) Verdict {
	h.mu.Lock()
	line := fmt.Sprintf("%s %s %s %s", m.From, m.Conv, m.CID, m.Body)
	if m.MID != nil {
		line += fmt.Sprintf(" for %s", m.MID)
	}
	h.asked = append(h.asked, line)
	h.flying++
	h.most = max(h.most, h.flying)
	wait := h.wait
	h.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.flying--
	switch string(m.Body) {
	case "spam":
		return Verdict{Message: "No advertisements."}
	case "bad":
		return Verdict{}
	case "lost":
		return Verdict{Failed: true}
	}
	return Verdict{Allow: true}
}

func (h *memHook) Skip() Verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.skipped++
	return Verdict{Allow: h.open, Failed: !h.open}
}

func TestTheHookDecidesAboutEachMessage(t *testing.T) {
	h := &memHook{}
	bubble(t, 8, func(c *Config) { c.Hook = h }, func(s *served) {
		s.send("alice", "bob", "c1", "hi")
		r := s.ask("alice", sendFrame("bob", "c2", "spam"))
		s.wantError(r, godwit.ErrRefused)
		if r.Error.Message != "No advertisements." || r.Error.Temporary {
			t.Errorf("refusal %+v", r.Error)
		}
		r = s.ask("alice", sendFrame("bob", "c3", "bad"))
		s.wantError(r, godwit.ErrRefused)
		if r.Error.Message != godwit.ErrRefused.Message {
			t.Errorf("refusal %+v", r.Error)
		}
		r = s.ask("alice", sendFrame("bob", "c4", "lost"))
		s.wantError(r, godwit.ErrUnavailable)
		if !r.Error.Temporary || r.Error.RetryAfterMS == 0 {
			t.Errorf("refusal %+v", r.Error)
		}
		s.wantLog("alice", "1 alice u:bob hi")
		if want := []string{"alice u:bob c1 hi", "alice u:bob c2 spam", "alice u:bob c3 bad", "alice u:bob c4 lost"}; !slices.Equal(h.asked, want) {
			t.Errorf("asked %q", h.asked)
		}
	})
}

// While the first message of alice waits, hers stay in order and bob's pass.
func TestASendersOrderSurvivesTheHook(t *testing.T) {
	h := &memHook{}
	bubble(t, 1, func(c *Config) { c.Hook, c.HookCalls = h, 3 }, func(s *served) {
		h.wait = make(chan struct{}) // of the bubble
		for i := range 20 {
			s.service.Request(1, "alice", withID(uint64(100+i), sendFrame("bob", fmt.Sprint("c", i), fmt.Sprint(i))))
		}
		s.settle()
		if len(h.asked) != 1 {
			t.Fatalf("asked about %q at once", h.asked)
		}
		for i := range 20 {
			s.service.Request(1, godwit.UserID(fmt.Sprint("user", i)), withID(uint64(200+i), sendFrame("bob", "c", "x")))
		}
		s.settle()
		if h.most != 3 {
			t.Errorf("%d calls at once, want 3", h.most)
		}
		close(h.wait)
		s.settle()
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprintf("%d alice u:bob %d", i+1, i))
		}
		s.wantLog("alice", want...)
		if h.most != 3 || len(h.asked) != 40 {
			t.Errorf("%d calls, %d at once", len(h.asked), h.most)
		}
	})
}

func TestMessagesBeyondTheHooksQueue(t *testing.T) {
	for _, open := range []bool{true, false} {
		h := &memHook{open: open}
		bubble(t, 1, func(c *Config) { c.Hook, c.HookCalls, c.HookQueueMax = h, 1, 2 }, func(s *served) {
			h.wait = make(chan struct{}) // of the bubble
			s.service.Request(1, "alice", withID(101, sendFrame("bob", "c1", "x")))
			s.service.Request(1, "carol", withID(102, sendFrame("bob", "c1", "x")))
			s.settle()
			s.wantError(s.ask("alice", sendFrame("bob", "c2", "x")), godwit.ErrUnavailable) // hers wait: not out of turn
			if h.skipped != 0 {
				t.Error("a message passed the sender's earlier ones")
			}
			if open {
				s.send("dave", "bob", "c1", "x")
			} else {
				s.wantError(s.ask("dave", sendFrame("bob", "c1", "x")), godwit.ErrUnavailable)
			}
			if h.skipped != 1 {
				t.Errorf("%d skipped", h.skipped)
			}
			close(h.wait)
			s.settle()
			if len(s.edge.replies[101]) != 1 || len(s.edge.replies[102]) != 1 {
				t.Error("what waited was not answered")
			}
			s.send("alice", "bob", "c2", "x")
		})
	}
}

// A message whose time is up while the hook is asked is not stored afterwards:
// the answer said so.
func TestAMessageThatWaitsTooLongIsNotStored(t *testing.T) {
	h := &memHook{}
	bubble(t, 1, func(c *Config) { c.Hook = h }, func(s *served) {
		h.wait = make(chan struct{}) // of the bubble
		s.service.Request(1, "alice", withID(101, sendFrame("bob", "c1", "x")))
		s.settle()
		s.tick(40)
		s.wantError(s.edge.replies[101][0], godwit.ErrUnavailable)
		close(h.wait)
		s.settle()
		s.wantLog("alice")
		if len(s.edge.replies[101]) != 1 {
			t.Error("answered twice")
		}
		s.send("alice", "bob", "c1", "x")
	})
}

func TestClosingGivesUpCallsOfTheHook(t *testing.T) {
	h := &memHook{}
	bubble(t, 1, func(c *Config) { c.Hook = h }, func(s *served) {
		h.wait = make(chan struct{}) // of the bubble
		s.service.Request(1, "alice", withID(101, sendFrame("bob", "c1", "x")))
		s.service.Request(1, "alice", withID(102, sendFrame("bob", "c2", "x")))
		s.settle()
	})
}

func TestWhoMayStartAConversation(t *testing.T) {
	for _, groups := range []int{1, 8} {
		alice, bob, _ := usersApart(8)
		rule := func(who string, f func(s *served)) {
			bubble(t, groups, func(c *Config) { c.Policy.WhoMayStart = who }, f)
		}
		rule("contacts", func(s *served) {
			s.wantError(s.ask(alice, sendFrame(string(bob), "c1", "x")), godwit.ErrNotMember)
			s.change(alice, godwit.KindContact, []string{string(bob)}, nil) // the other way round
			s.wantError(s.ask(alice, sendFrame(string(bob), "c1", "x")), godwit.ErrNotMember)
			s.change(bob, godwit.KindContact, []string{string(alice)}, nil)
			s.send(alice, string(bob), "c1", "x")
			s.settle()
			s.change(bob, godwit.KindContact, nil, []string{string(alice)}) // what has begun goes on
			s.send(alice, string(bob), "c2", "y")
			s.send(bob, string(alice), "c1", "z")
			s.send(alice, string(alice), "c1", "note")
			if n := len(s.sync(bob)); n != 3 {
				t.Errorf("bob has %d entries", n)
			}
			before := s.store.digests()
			if r := s.store.replica(); !slices.Equal(r.digests(), before) {
				t.Error("a replay gives another state")
			}
		})
		rule("none", func(s *served) {
			s.change(bob, godwit.KindContact, []string{string(alice)}, nil)
			s.wantError(s.ask(alice, sendFrame(string(bob), "c1", "x")), godwit.ErrNotMember)
			s.send(alice, string(alice), "c1", "note")
			s.store.readErr = godwit.ErrUnknown
			s.wantError(s.ask(alice, sendFrame(string(bob), "c1", "x")), godwit.ErrUnavailable)
			s.store.readErr = nil
			f := sendFrame(string(bob), "c1", "welcome")
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, err = s.service.Call(context.Background(), alice, f, true)
			}()
			s.settle()
			<-done
			if err != nil {
				t.Errorf("the operator: %v", err)
			}
			s.send(bob, string(alice), "c1", "thanks")
		})
	}
}

// Apply is the judge: a command without a grant can't start a conversation.
func TestApplyRefusesAStartWithoutAGrant(t *testing.T) {
	st := func(st *settings) {
		st.level = 2
		st.policy = policy{channelAbove: 1, membersMax: 1, whoMayStart: startContacts}
	}
	w := newWorld(t, 1, st)
	w.send("alice", "bob", "c1", "x").mustBe(t, godwit.ErrNotMember)
	command := appendCheckedSend(nil, w.home(0), 0, true)
	command = appendBlock(command, []byte("alice"), []byte("bob"), []byte("c1"), nil, []byte("x"), true)
	w.run(0, command).mustBe(t, nil)
	w.send("alice", "bob", "c2", "x").mustBe(t, nil)
	w.send("bob", "alice", "c2", "x").mustBe(t, nil)
}
