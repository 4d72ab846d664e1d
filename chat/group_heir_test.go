package chat

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// operatorGroup makes the operator's request and returns at once; settle answers it.
func (s *served) operatorGroup(do, group string, users ...string) (answer func() *godwit.ServerFrame) {
	f := &godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{Do: []byte(do), Group: []byte(group), Users: byteLists(users)}}
	var reply *godwit.ServerFrame
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		reply, err = s.service.Call(context.Background(), "root", f, true)
	}()
	return func() *godwit.ServerFrame {
		s.t.Helper()
		s.settle()
		<-done
		if err != nil {
			s.t.Fatalf("the operator's %s: %v", do, err)
		}
		return reply
	}
}

// roles draws the members of a group and what they are.
func (s *served) roles(user godwit.UserID, group string) string {
	s.t.Helper()
	var words []string
	for _, m := range s.mustGroup(s.askGroup(user, godwit.GroupMembers, group, nil)).Members {
		words = append(words, fmt.Sprintf("%s=%s", m.User, m.Role))
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// While the operator's removal of bob is under way alice makes him the owner.
func TestAnOwnerOfTheLastMomentLeavesAnHeir(t *testing.T) {
	for _, groups := range []int{1, 8} {
		bubble(t, groups, nil, func(s *served) {
			id := string(s.createGroup("alice", "g1", "club", "bob", "carol").Group)
			thaw := s.freeze(s.store.Group(groupOfID([]byte(id)).Partition()))
			give := &godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{
				Do: []byte(godwit.GroupRole), Role: []byte(godwit.RoleOwner), Group: []byte(id), Users: byteLists([]string{"bob"}),
			}}
			s.service.Request(1, "alice", withID(100, give))
			s.settle()
			removed := s.operatorGroup(godwit.GroupRemove, id, "bob")
			s.settle()
			thaw()
			if r := removed(); r.Group.Count != 2 {
				t.Errorf("removed: %+v", r.Group)
			}
			if r := s.edge.replies[100]; len(r) != 1 || r[0].Kind != godwit.KindGroup {
				t.Errorf("alice's gift: %+v", r)
			}
			if got := s.roles("carol", id); got != "alice=owner carol=member" {
				t.Errorf("the group is %s", got)
			}
			checkReplays(t, s.store)
		})
	}
}

// A group that was left without an owner, as by the operator of an earlier release, gets
// one with the next removal.
func TestAGroupWithoutAnOwnerGetsOne(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		id := s.createGroup("alice", "g1", "club", "bob", "carol").Group
		task := &groupTask{
			request: request{gone: make(chan struct{})}, service: s.service, operator: true, user: "root",
			do: doRemove, group: []byte(id),
		}
		if _, refusal := task.changePart([][]byte{[]byte("alice")}); refusal != nil {
			t.Fatal(refusal)
		}
		if got := s.roles("bob", string(id)); got != "bob=member carol=member" {
			t.Fatalf("the group is %s", got)
		}
		s.operatorGroup(godwit.GroupRemove, string(id), "nobody")()
		if got := s.roles("bob", string(id)); got != "bob=owner carol=member" {
			t.Errorf("the group is %s", got)
		}
	})
}

// An admin behind hundreds of members comes before them, also when the owner's account
// is erased.
func TestAnAdminIsTheHeirWhereverHeIsListed(t *testing.T) {
	var users []string
	for i := range 300 {
		users = append(users, fmt.Sprintf("u%03d", i))
	}
	for _, erase := range []bool{false, true} {
		bubble(t, 1, nil, func(s *served) {
			id := string(s.createGroup("alice", "g1", "club", users[:299]...).Group)
			s.mustGroup(s.askGroup("alice", godwit.GroupAdd, id, withUsers(users[299])))
			s.mustGroup(s.askGroup("alice", godwit.GroupRole, id, func(g *godwit.Group) {
				g.Role, g.Users = []byte(godwit.RoleAdmin), byteLists(users[299:])
			}))
			s.settle()
			if erase {
				s.eraseUser("alice")
			} else {
				s.operatorGroup(godwit.GroupRemove, id, "alice")()
			}
			v := s.store.View(0)
			defer v.Close()
			if g, ok := groupRowOf(v, []byte(id)); !ok || !bytes.Equal(g.owner, []byte(users[299])) {
				t.Errorf("erase %t: the owner is %q", erase, g.owner)
			}
		})
	}
}
