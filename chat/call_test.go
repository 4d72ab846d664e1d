package chat

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/godwit-im/godwit"
)

// TestCallIsAnsweredToItsCallerAlone: the edge hears nothing of it, and what is
// returned stays when the store goes on.
func TestCallIsAnsweredToItsCallerAlone(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		reply, err := s.service.Call(context.Background(), "alice", sendFrame("bob", "c1", "hello"), false)
		if err != nil || reply.Kind != godwit.KindSend || reply.Send.Seq != 1 || reply.Send.Conv != "u:bob" {
			t.Fatalf("%+v, %v", reply, err)
		}
		page, err := s.service.Call(context.Background(), "bob", &godwit.ClientFrame{Kind: godwit.KindSync}, false)
		if err != nil || len(page.Sync.Entries) != 1 || string(page.Sync.Entries[0].Msg.Body) != "hello" {
			t.Fatalf("%+v, %v", page, err)
		}
		if len(s.edge.replies) != 0 || len(s.service.calls.waiting) != 0 {
			t.Errorf("the edge got %d replies, %d callers are left", len(s.edge.replies), len(s.service.calls.waiting))
		}
	})
}

func TestCallReturnsARefusal(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		_, err := s.service.Call(context.Background(), "alice", sendFrame("not valid", "c1", "hello"), false)
		if !errors.Is(err, godwit.ErrBadConv) {
			t.Errorf("%v", err)
		}
	})
}

// TestCallEndsWithItsContext: nobody is left waiting, and a late answer is nobody's.
func TestCallEndsWithItsContext(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		s.store.mu.Lock()
		s.store.frozen = map[int]bool{0: true}
		s.store.mu.Unlock()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			_, err := s.service.Call(ctx, "alice", sendFrame("bob", "c1", "hello"), false)
			done <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || len(s.service.calls.waiting) != 0 {
			t.Errorf("%v, %d callers are left", err, len(s.service.calls.waiting))
		}
		s.store.mu.Lock()
		s.store.frozen = nil
		s.store.mu.Unlock()
		s.tick(50)
	})
}

// TestEditsCountAsSends: they cost as many entries.
func TestEditsCountAsSends(t *testing.T) {
	bubble(t, 1, func(c *Config) { c.UserSendPerS = 2 }, func(s *served) {
		sent := s.send("alice", "bob", "c1", "hello")
		var last godwit.ServerFrame
		for i := range 10 {
			last = s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindEdit, Edit: godwit.Edit{
				MID: []byte(sent.MID.String()), Text: []byte{'a' + byte(i)}, HasText: true,
			}})
		}
		s.wantError(last, godwit.ErrRateLimited)
	})
}

// TestOnlyTheOperatorPassesTheRateOfAUser: a call in a user's name is his.
func TestOnlyTheOperatorPassesTheRateOfAUser(t *testing.T) {
	bubble(t, 1, func(c *Config) { c.UserSendPerS = 1 }, func(s *served) {
		var last error
		for i := range 10 {
			_, last = s.service.Call(context.Background(), "alice", sendFrame("bob", "c"+string(rune('a'+i)), "x"), false)
		}
		if !errors.Is(last, godwit.ErrRateLimited) {
			t.Errorf("a user's tenth send at once: %v", last)
		}
		if _, err := s.service.Call(context.Background(), "alice", sendFrame("bob", "op", "x"), true); err != nil {
			t.Errorf("the operator's: %v", err)
		}
	})
}
