package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

func (s *served) eraseUser(user godwit.UserID) Erasure {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // of the bubble
	defer cancel()
	e, err := s.service.EraseUser(ctx, user, "root")
	if err != nil {
		s.t.Fatal(err)
	}
	s.settle()
	return e
}

// holds counts rows and records of the store that a user sees as his.
func (s *served) holds(user godwit.UserID) (rows int) {
	prefix := string(appendOwnedPrefix(nil, user.Partition(), rowConversation, []byte(user)))[3:]
	for _, g := range s.store.groups {
		for key := range g.rows {
			if strings.Contains(ownedRows, key[2:3]) && strings.HasPrefix(key[3:], prefix) && key[:2] == string(appendPartition(nil, user.Partition())) {
				rows++
			}
		}
	}
	return rows
}

//tidy:long one account from its first message to its end
func TestAnErasedAccountIsGoneEverywhere(t *testing.T) {
	for _, groups := range []int{1, 8} {
		bubble(t, groups, func(c *Config) {
			c.Policy.EditWindow = time.Hour
			c.Now = func() int64 { return 1_800_000_000_000 }
		}, func(s *served) {
			alice, bob, _ := usersApart(8)
			s.join(1, alice, "phone", 1_600_000_000_000)
			s.send(alice, string(bob), "c1", "secret one")
			s.send(bob, string(alice), "c1", "kept")
			s.send(alice, string(alice), "c2", "note")
			g := s.createGroup(alice, "g1", "club", string(bob), "carol")
			conv := "g:" + string(g.Group)
			s.send(alice, conv, "c3", "secret two")
			s.send(bob, conv, "c3", "kept too")
			s.block(alice, "dave")
			s.change(alice, godwit.KindContact, []string{string(bob)}, nil)
			s.settle()
			s.store.clock += 1000 * 3600 * 1000 // no window binds the operator
			e := s.eraseUser(alice)
			if e.What != "user" || e.User != alice || e.By != "root" || e.Recalled != 3 || e.Groups != 1 || e.Rows == 0 {
				t.Errorf("erasure %+v", e)
			}
			if s.edge.closed[1] != godwit.CloseLoggedOut {
				t.Errorf("her session: %v", s.edge.closed)
			}
			s.service.Disconnect(1, alice, "phone")
			if n := s.holds(alice); n != 0 {
				t.Errorf("%d rows are left", n)
			}
			if got := s.join(2, alice, "phone", 1_600_000_000_000); got != godwit.CloseLoggedOut {
				t.Errorf("an old token: %d", got)
			}
			all := fmt.Sprint(s.history(bob, "u:"+string(alice)), s.history(bob, conv), s.history("carol", conv))
			if strings.Contains(all, "secret") || strings.Count(all, "kept too") != 2 || strings.Count(all, "kept") != 3 {
				t.Errorf("others see %s", all)
			}
			if got := s.askGroup(bob, godwit.GroupInfo, string(g.Group), nil); got.Group.Role != godwit.RoleOwner || got.Group.Count != 2 {
				t.Errorf("the group: %+v", got.Group)
			}
			before := s.store.digests()
			if r := s.store.replica(); !slices.Equal(r.digests(), before) {
				t.Error("a replay gives another state")
			}
			again := s.eraseUser(alice)
			if again.Recalled != 0 || again.Groups != 0 || again.Rows != 0 {
				t.Errorf("the second time: %+v", again)
			}
			// The name may be used again: it is a new account on the same log.
			head := s.store.View(s.store.Group(alice.Partition()))
			u, _ := userOfView(head, alice)
			last := head.Head(u.logID(alice))
			head.Close()
			if r := s.send(bob, string(alice), "c9", "who are you?"); r.State != "stored" {
				t.Errorf("%+v", r)
			}
			s.settle()
			r := s.ask(alice, &godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Since: last}})
			if n := len(r.Sync.Entries); n != 1 || r.Sync.Entries[0].Seq != last+1 {
				t.Errorf("her log: %+v", r.Sync.Entries)
			}
		})
	}
}

// history draws what a reader sees of a conversation.
func (s *served) history(user godwit.UserID, conv string) (lines []string) {
	s.t.Helper()
	r := s.ask(user, &godwit.ClientFrame{Kind: godwit.KindHistory, History: godwit.History{Conv: []byte(conv)}})
	if r.Kind != godwit.KindHistory {
		s.t.Fatalf("history of %s: %+v", conv, r.Error)
	}
	for i := range r.History.Entries {
		lines = append(lines, string(r.History.Entries[i].Msg.Body))
	}
	return lines
}

func TestAnErasedConversationIsGoneForBoth(t *testing.T) {
	for _, groups := range []int{1, 8} {
		bubble(t, groups, nil, func(s *served) {
			alice, bob, _ := usersApart(8)
			for i := range 3 {
				s.send(alice, string(bob), fmt.Sprint("c", i), "secret")
			}
			s.send("carol", string(bob), "c1", "other")
			s.settle()
			if _, err := s.service.EraseConversation(context.Background(), bob, "u:"+godwit.ConversationID(alice), "root"); err != nil {
				t.Fatal(err)
			}
			for _, user := range []godwit.UserID{alice, bob} {
				if got := fmt.Sprint(s.sync(user), s.history(user, map[bool]string{true: "u:" + string(bob), false: "u:alice"}[user == alice])); strings.Contains(got, "secret") {
					t.Errorf("%s sees %s", user, got)
				}
			}
			if got := s.history(bob, "u:carol"); !slices.Equal(got, []string{"other"}) {
				t.Errorf("another conversation: %q", got)
			}
			if n := s.unread(bob, alice); n != 0 {
				t.Errorf("%d unread of nothing", n)
			}
			s.send(alice, string(bob), "c9", "anew")
			s.settle()
			if got := s.history(bob, "u:alice"); !slices.Equal(got, []string{"anew"}) || s.unread(bob, alice) != 1 {
				t.Errorf("after it: %q", got)
			}
			_, err := s.service.EraseConversation(context.Background(), bob, "u:nobody", "root")
			if !errors.Is(err, godwit.ErrNotMember) {
				t.Errorf("of no conversation: %v", err)
			}
		})
	}
}

func TestAnErasedGroupConversationIsGoneForAll(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		g := s.createGroup("alice", "g1", "club", "bob")
		conv := "g:" + string(g.Group)
		s.send("alice", conv, "c1", "secret")
		s.settle()
		if _, err := s.service.EraseConversation(context.Background(), "", godwit.ConversationID(conv), "root"); err != nil {
			t.Fatal(err)
		}
		s.send("alice", conv, "c2", "anew")
		s.settle()
		if got := strings.Join(s.history("bob", conv), ","); strings.Contains(got, "secret") || !strings.Contains(got, "anew") {
			t.Errorf("bob sees %q", got)
		}
		for _, bad := range []godwit.ConversationID{"g:none", "g:", "u:", "x:y"} {
			if _, err := s.service.EraseConversation(context.Background(), "bob", bad, "root"); err == nil {
				t.Errorf("%q was erased", bad)
			}
		}
	})
}
