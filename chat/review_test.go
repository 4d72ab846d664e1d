package chat

import (
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// A user may be called as a group is: what was taken back there stays so when the
// account is erased.
func TestErasingAUserCalledAsAGroupLeavesTheGroup(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		g := s.createGroup("alice", "c1", "Friends", "bob")
		name, conv := godwit.UserID(g.Group), string(g.Conv)
		m := s.send("alice", conv, "m1", "a secret")
		s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindRecall, Recall: godwit.Recall{MID: m.MID.AppendTo(nil)}})
		s.send(name, "bob", "m2", "hi")
		s.eraseUser(name)
		if lines := s.history("bob", conv); strings.Contains(strings.Join(lines, " "), "secret") {
			t.Errorf("bob reads %q", lines)
		}
	})
}
