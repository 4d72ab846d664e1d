package chat_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

func (n *node) group(user godwit.UserID, f godwit.Group) godwit.GroupReply {
	n.t.Helper()
	r := n.ask(user, godwit.ClientFrame{Kind: godwit.KindGroup, Group: f})
	if r.Kind != godwit.KindGroup {
		n.t.Fatalf("%s of %s by %s: %+v", f.Do, f.Group, user, r.Error)
	}
	return r.Group
}

// The real engine checks that apply reads no row but those a command names, and
// gives everything back after a restart, from its log and from its files.
func TestGroupsOnTheEngineSurviveRestarts(t *testing.T) {
	const members = 1200
	for _, groups := range []int{1, 8} {
		fs := vfs.NewMem()
		n := openNode(t, fs, groups)
		var users [][]byte
		for i := range members {
			users = append(users, fmt.Appendf(nil, "user%04d", i))
		}
		create := godwit.Group{Do: []byte("create"), CID: []byte("c1"), Name: []byte("Many"), HasName: true, Users: users}
		made := n.group("alice", create)
		id := []byte(made.Group)
		if made.Count != members+1 || !made.Channel {
			t.Fatalf("created: %+v", made)
		}
		for round := range 3 {
			user := users[round*500]
			if r := n.group("alice", godwit.Group{Do: []byte("role"), Group: id, Users: [][]byte{user}, Role: []byte("admin")}); r.Dup {
				t.Errorf("role: %+v", r)
			}
			out := users[100*round+1 : 100*round+81]
			if r := n.group(godwit.UserID(user), godwit.Group{Do: []byte("remove"), Group: id, Users: out}); r.Dup {
				t.Errorf("remove: %+v", r)
			}
			for i := range 10 {
				n.send(godwit.UserID(user), godwit.UserID(made.Conv), fmt.Sprintf("m%d-%d", round, i), "hi")
			}
			n.close()
			n = openNode(t, fs, groups)
			if r := n.group("alice", create); !r.Dup || r.Group != made.Group || r.Count != uint32(members+1-80*(round+1)) {
				t.Fatalf("after restart %d: %+v", round, r)
			}
			if r := n.group(godwit.UserID(user), godwit.Group{Do: []byte("info"), Group: id}); r.Role != godwit.RoleAdmin {
				t.Errorf("after restart %d: %+v", round, r)
			}
			f := godwit.ClientFrame{Kind: godwit.KindSend, Send: godwit.Send{To: []byte(made.Conv), CID: []byte("x"), Text: []byte("hi"), HasText: true}}
			if r := n.ask(godwit.UserID(out[0]), f); r.Error.Code != godwit.ErrNotMember.Code {
				t.Errorf("a removed member sends: %+v", r)
			}
			if r := n.send(godwit.UserID(user), godwit.UserID(made.Conv), fmt.Sprintf("m%d-%d", round, 3), "hi"); !r.Dup {
				t.Errorf("a repeat: %+v", r)
			}
		}
		n.close()
	}
}
