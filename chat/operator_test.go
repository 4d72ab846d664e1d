package chat

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

// TestUsersAreListedOnceOverPages: whatever the size of the page and the number of
// raft groups, every user comes once.
func TestUsersAreListedOnceOverPages(t *testing.T) {
	for _, groups := range []int{1, 8} {
		for _, limit := range []int{1, 3, 1000} {
			bubble(t, groups, nil, func(s *served) {
				for i := range 10 {
					s.send(godwit.UserID(fmt.Sprint("user", i)), fmt.Sprint("user", (i+1)%10), "c", "x")
				}
				s.settle()
				var got []string
				for after := godwit.UserID(""); ; {
					page, err := s.service.Users(context.Background(), after, limit)
					if err != nil || len(page) > limit {
						t.Fatalf("%d users, %v", len(page), err)
					}
					if len(page) == 0 {
						break
					}
					for _, u := range page {
						got = append(got, string(u.User))
						if u.Sent != 1 || u.Head != 2 || u.Conversations != 2 {
							t.Errorf("%+v", u)
						}
					}
					after = page[len(page)-1].User
				}
				slices.Sort(got)
				if fmt.Sprint(got) != "[user0 user1 user2 user3 user4 user5 user6 user7 user8 user9]" {
					t.Errorf("%d groups, pages of %d: %v", groups, limit, got)
				}
			})
		}
	}
}

func TestUserWhomNobodyNamedIsNone(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		if _, ok, err := s.service.User(context.Background(), "ghost"); ok || err != nil {
			t.Errorf("%v %v", ok, err)
		}
		s.send("alice", "bob", "c", "x")
		if u, ok, err := s.service.User(context.Background(), "alice"); !ok || err != nil || u.Sent != 1 {
			t.Errorf("%+v %v %v", u, ok, err)
		}
	})
}

func TestKickClosesEverySessionOfTheUser(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		s.service.Connect(1, godwit.Hello{User: "alice", Device: "a"})
		s.service.Connect(2, godwit.Hello{User: "alice", Device: "b"})
		s.service.Connect(3, godwit.Hello{User: "bob", Device: "a"})
		s.settle()
		if n := s.service.Kick("alice", godwit.CloseRebalance, "kicked"); n != 2 {
			t.Errorf("%d sessions", n)
		}
		if s.edge.closed[1] != godwit.CloseRebalance || s.edge.closed[2] != godwit.CloseRebalance || s.edge.closed[3] != 0 {
			t.Errorf("closed %v", s.edge.closed)
		}
	})
}
