package chat

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

func editFrame(mid godwit.MessageID, text string) *godwit.ClientFrame {
	return &godwit.ClientFrame{Kind: godwit.KindEdit, Edit: godwit.Edit{
		MID: []byte(mid.String()), Text: []byte(text), HasText: true,
	}}
}

func recallFrame(mid godwit.MessageID) *godwit.ClientFrame {
	return &godwit.ClientFrame{Kind: godwit.KindRecall, Recall: godwit.Recall{MID: []byte(mid.String())}}
}

// callIn makes a request as the operator, or in a user's name alone.
func (s *served) callIn(user godwit.UserID, f *godwit.ClientFrame, operator bool) (reply *godwit.ServerFrame, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		reply, err = s.service.Call(context.Background(), user, f, operator)
	}()
	s.settle()
	<-done
	return reply, err
}

// wantDone: the edit or recall was made, or is a repeat.
func (s *served) wantDone(r godwit.ServerFrame, dup bool) {
	s.t.Helper()
	if r.Kind != godwit.KindDone || r.Done.Dup != dup || r.Done.Seq+r.Done.GSeq == 0 {
		s.t.Errorf("answer %d %+v %+v, want dup %t", r.Kind, r.Done, r.Error, dup)
	}
}

func TestTheHookDecidesAboutEachEdit(t *testing.T) {
	for _, groups := range []int{1, 8} {
		h := &memHook{}
		bubble(t, groups, func(c *Config) { c.Hook = h }, func(s *served) {
			club := "g:" + string(s.createGroup("alice", "g1", "club", "bob").Group)
			s.settle()
			for _, conv := range []string{"u:bob", club} {
				theirs := conv
				if conv == "u:bob" {
					theirs = "u:alice"
				}
				mid := s.send("alice", conv, "c1", "hi").MID
				h.asked = nil
				f := func(text string, want *godwit.Error) {
					t.Helper()
					r := s.ask("alice", editFrame(mid, text))
					if want == nil {
						s.wantDone(r, false)
						return
					}
					s.wantError(r, want)
					if text == "spam" && r.Error.Message != "No advertisements." {
						t.Errorf("refusal %+v", r.Error)
					}
				}
				f("hello", nil)
				f("spam", godwit.ErrRefused)
				f("lost", godwit.ErrUnavailable)
				s.wantDone(s.ask("alice", editFrame(mid, "hello")), true)
				want := []string{}
				for _, text := range []string{"hello", "spam", "lost", "hello"} {
					want = append(want, fmt.Sprintf("alice %s c1 %s for %s", conv, text, mid))
				}
				if !slices.Equal(h.asked, want) {
					t.Errorf("asked %q, want %q", h.asked, want)
				}
				for user, conv := range map[godwit.UserID]string{"alice": conv, "bob": theirs} {
					if got := s.history(user, conv); got[len(got)-2] != "hello" {
						t.Errorf("%s sees %q", user, got)
					}
				}
			}
			checkReplays(t, s.store)
		})
	}
}

// Nobody is asked about what the operator edits, about recalls, and about edits of who
// has no right to them: the hook is shown what would be said to whom.
func TestTheHookIsAskedAboutEditsOfAuthorsAlone(t *testing.T) {
	h := &memHook{}
	bubble(t, 8, func(c *Config) { c.Hook = h }, func(s *served) {
		group := string(s.createGroup("alice", "g1", "club", "bob").Group)
		direct, club := s.send("alice", "bob", "c1", "one").MID, s.send("alice", "g:"+group, "c1", "two").MID
		h.asked = nil
		for _, mid := range []godwit.MessageID{direct, club} {
			for _, user := range []godwit.UserID{"bob", "mallory"} {
				s.wantError(s.ask(user, editFrame(mid, "spam")), godwit.ErrNoMessage)
			}
			if r, err := s.callIn("alice", editFrame(mid, "spam"), true); err != nil || r.Kind != godwit.KindDone {
				t.Errorf("the operator: %v", err)
			}
			if _, err := s.callIn("alice", editFrame(mid, "bad"), false); err != godwit.ErrRefused {
				t.Errorf("in alice's name: %v", err)
			}
			s.wantDone(s.ask("alice", recallFrame(mid)), false)
		}
		s.wantError(s.ask("alice", editFrame(godwit.MessageID{1}, "spam")), godwit.ErrNoMessage)
		left := s.send("bob", "g:"+group, "c9", "mine").MID
		s.mustGroup(s.askGroup("bob", godwit.GroupLeave, group, nil))
		s.wantError(s.ask("bob", editFrame(left, "spam")), godwit.ErrNoMessage)
		want := []string{
			fmt.Sprintf("alice u:bob c1 bad for %s", direct), fmt.Sprintf("alice g:%s c1 bad for %s", group, club),
			fmt.Sprintf("bob g:%s c9 mine", group),
		}
		if !slices.Equal(h.asked, want) {
			t.Errorf("asked %q, want %q", h.asked, want)
		}
	})
}

// Edits stand in line with what else their sender sends, in any conversation.
func TestAnEditKeepsItsTurnBehindTheHook(t *testing.T) {
	h := &memHook{}
	bubble(t, 8, func(c *Config) { c.Hook = h }, func(s *served) {
		alice, bob, _ := usersApart(8)
		mid := s.send(alice, string(bob), "c1", "0").MID
		other := s.send("carol", string(bob), "c1", "0").MID
		h.wait = make(chan struct{}) // of the bubble
		h.asked = nil
		edit := func(user godwit.UserID, id uint64, mid godwit.MessageID, text string) {
			s.service.Request(1, user, withID(id, editFrame(mid, text)))
			s.settle()
		}
		s.service.Request(1, alice, withID(101, sendFrame(string(bob), "c2", "1")))
		edit(alice, 102, mid, "2")
		edit(alice, 103, mid, "3")
		s.service.Request(1, alice, withID(104, sendFrame(string(bob), "c4", "4")))
		edit(alice, 105, mid, "5")
		edit("carol", 201, other, "x")
		if want := []string{fmt.Sprintf("%s u:%s c2 1", alice, bob), fmt.Sprintf("carol u:%s c1 x for %s", bob, other)}; !slices.Equal(h.asked, want) {
			t.Fatalf("asked about %q at once", h.asked)
		}
		close(h.wait)
		s.settle()
		var order []godwit.Seq
		for id := uint64(101); id <= 105; id++ {
			r := s.edge.replies[id]
			if len(r) != 1 || r[0].Kind == godwit.KindError {
				t.Fatalf("%d: %+v", id, r)
			}
			order = append(order, r[0].Send.Seq+r[0].Done.Seq)
		}
		if want := []godwit.Seq{2, 3, 4, 5, 6}; !slices.Equal(order, want) {
			t.Errorf("alice's log has them at %d, want %d", order, want)
		}
		if got, want := s.history(bob, "u:"+string(alice)), "[5 1 4 5]"; fmt.Sprint(got) != want {
			t.Errorf("bob sees %s, want %s", fmt.Sprint(got), want)
		}
	})
}

func TestEditsBeyondTheHooksQueue(t *testing.T) {
	for _, open := range []bool{true, false} {
		h := &memHook{open: open}
		bubble(t, 1, func(c *Config) { c.Hook, c.HookCalls, c.HookQueueMax = h, 1, 2 }, func(s *served) {
			alice, carol := s.send("alice", "bob", "c1", "a").MID, s.send("carol", "bob", "c1", "c").MID
			h.wait = make(chan struct{}) // of the bubble
			s.service.Request(1, "alice", withID(101, editFrame(alice, "first")))
			s.service.Request(1, "dave", withID(102, sendFrame("bob", "c1", "x")))
			s.settle()
			s.wantError(s.ask("alice", editFrame(alice, "second")), godwit.ErrUnavailable) // hers wait: not out of turn
			if h.skipped != 0 {
				t.Error("an edit passed the sender's earlier ones")
			}
			r := s.ask("carol", editFrame(carol, "spam"))
			if open {
				s.wantDone(r, false)
			} else {
				s.wantError(r, godwit.ErrUnavailable)
			}
			if h.skipped != 1 {
				t.Errorf("%d skipped", h.skipped)
			}
			close(h.wait)
			s.settle()
			s.wantDone(s.edge.replies[101][0], false)
			if len(s.edge.replies[101]) != 1 || len(s.edge.replies[102]) != 1 {
				t.Error("what waited was not answered once")
			}
			s.wantDone(s.ask("alice", editFrame(alice, "second")), false)
		})
	}
}

// An edit whose time is up changes nothing afterwards: while the hook is asked, and
// while it is looked up where it belongs.
func TestAnEditThatWaitsTooLongChangesNothing(t *testing.T) {
	for _, look := range []bool{false, true} {
		h := &memHook{}
		bubble(t, 1, func(c *Config) { c.Hook, c.HookCalls = h, 1 }, func(s *served) {
			mid := s.send("alice", "bob", "c1", "x").MID
			h.asked = nil
			h.wait = make(chan struct{}) // of the bubble
			s.store.mu.Lock()
			s.store.hold = look
			s.store.mu.Unlock()
			s.service.Request(1, "alice", withID(101, editFrame(mid, "y")))
			s.settle()
			s.tick(40)
			s.wantError(s.edge.replies[101][0], godwit.ErrUnavailable)
			close(h.wait)
			s.settle()
			if look { // the store answers no more, and holds up nobody else's turn
				s.send("carol", "bob", "c1", "x")
			}
			s.store.mu.Lock()
			s.store.hold = false
			for _, done := range s.store.held {
				done(nil)
			}
			s.store.mu.Unlock()
			s.settle()
			if got := s.history("alice", "u:bob"); !slices.Equal(got, []string{"x"}) || len(s.edge.replies[101]) != 1 {
				t.Errorf("alice sees %q after %d answers", got, len(s.edge.replies[101]))
			}
			s.wantDone(s.ask("alice", editFrame(mid, "y")), false)
		})
	}
}

func TestClosingGivesUpEditsInTheHook(t *testing.T) {
	for _, look := range []bool{false, true} {
		h := &memHook{}
		bubble(t, 1, func(c *Config) { c.Hook = h }, func(s *served) {
			mid := s.send("alice", "bob", "c1", "x").MID
			h.wait = make(chan struct{}) // of the bubble
			s.store.mu.Lock()
			s.store.hold = look
			s.store.mu.Unlock()
			s.service.Request(1, "alice", withID(101, editFrame(mid, "y")))
			s.service.Request(1, "alice", withID(102, editFrame(mid, "z")))
			s.settle()
			s.service.Close()
			for _, id := range []uint64{101, 102} {
				s.wantError(s.edge.replies[id][0], godwit.ErrUnavailable)
			}
		})
	}
}

// Who was written to once may be edited for, also where nobody may start any more.
func TestAnEditStartsNoConversation(t *testing.T) {
	h := &memHook{}
	bubble(t, 8, func(c *Config) { c.Hook, c.Policy.WhoMayStart = h, "none" }, func(s *served) {
		alice, bob, _ := usersApart(8)
		r, err := s.callIn(alice, sendFrame(string(bob), "c1", "welcome"), true)
		if err != nil {
			t.Fatal(err)
		}
		s.wantDone(s.ask(alice, editFrame(r.Send.MID, "hello")), false)
		s.wantError(s.ask(alice, editFrame(r.Send.MID, "spam")), godwit.ErrRefused)
		if len(s.service.gate.known) != 0 {
			t.Error("it was looked up whether the conversation has begun")
		}
	})
}

// A blocked author edits for himself: nobody is told, the hook is asked all the same.
func TestAnEditOfABlockedUserReachesNobody(t *testing.T) {
	for _, groups := range []int{1, 8} {
		h := &memHook{}
		bubble(t, groups, func(c *Config) { c.Hook = h }, func(s *served) {
			alice, bob, _ := usersApart(8)
			mid := s.send(alice, string(bob), "c1", "hi").MID
			s.settle()
			s.block(bob, string(alice))
			s.wantDone(s.ask(alice, editFrame(mid, "gotcha")), false)
			s.wantError(s.ask(alice, editFrame(mid, "spam")), godwit.ErrRefused)
			s.settle()
			if got := s.history(bob, "u:"+string(alice)); !slices.Equal(got, []string{"hi"}) {
				t.Errorf("bob sees %q", got)
			}
			if got := s.history(alice, "u:"+string(bob)); got[0] != "gotcha" {
				t.Errorf("alice sees %q", got)
			}
		})
	}
}

// TestAnEditIsHeldToTheSizeOfAMessage: body and type.
func TestAnEditIsHeldToTheSizeOfAMessage(t *testing.T) {
	bubble(t, 1, func(c *Config) { c.BodyBytesMax = 8 }, func(s *served) {
		mid := s.send("alice", "bob", "c1", "hi").MID
		s.wantDone(s.ask("alice", editFrame(mid, "12345678")), false)
		s.wantError(s.ask("alice", editFrame(mid, "123456789")), godwit.ErrTooLarge)
		f := editFrame(mid, "hi")
		f.Edit.Type = make([]byte, godwit.TypeBytesMax+1)
		s.wantError(s.ask("alice", f), godwit.ErrBadBody)
		f.Edit = godwit.Edit{MID: f.Edit.MID, Data: make([]byte, 9), HasData: true}
		s.wantError(s.ask("alice", f), godwit.ErrTooLarge)
	})
}
