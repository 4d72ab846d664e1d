package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestGroupsFromTheCommandLine(t *testing.T) {
	overBothTransports(t, func(t *testing.T, transport string) {
		u := newUsers(t, nil, []string{"--transport", transport}, "alice", "bob", "carol", "dave")
		group := u.createGroup("alice", "Chess", "bob", "carol")
		conv := "g:" + group
		var sent struct {
			Seq, GSeq uint64
			Conv      string
		}
		u.one(&sent, "alice", "send", conv, "hello, all")
		if sent.Seq != 2 || sent.GSeq != 2 || sent.Conv != conv {
			t.Errorf("sent: %+v", sent)
		}
		for _, user := range []string{"alice", "bob", "carol"} {
			list := u.log(user)
			if len(list) != 2 || list[0].Group == nil || list[0].Group.Do != "create" || list[0].Group.Count != 3 ||
				list[1].Seq != 2 || list[1].GSeq != 2 || list[1].Msg == nil || list[1].Msg.Text != "hello, all" || list[1].Msg.Conv != conv {
				t.Errorf("%s's log: %+v", user, list)
			}
		}
		var members []string
		for _, line := range u.as("bob", "group", "members", group) {
			var m struct{ User, Role string }
			mustJSON(t, line, &m)
			members = append(members, m.User+" "+m.Role)
		}
		slices.Sort(members)
		if !slices.Equal(members, []string{"alice owner", "bob member", "carol member"}) {
			t.Errorf("members %q", members)
		}
		u.refused("group.forbidden", "bob", "group", "add", group, "dave")
		u.as("alice", "group", "role", group, "admin", "bob")
		u.as("bob", "group", "add", conv, "dave") // the id with and without g:
		u.as("bob", "group", "remove", group, "carol")
		u.as("alice", "group", "set", group, "--name", "Go")
		var info struct {
			Group, Name, Role, Join, History string
			Count                            int
		}
		u.one(&info, "dave", "group", "info", group)
		if info.Name != "Go" || info.Count != 3 || info.Role != "member" || info.Join != "invite" || info.History != "joined" {
			t.Errorf("info: %+v", info)
		}
		u.as("bob", "group", "leave", group)
		if lines := u.as("bob", "group", "list"); len(lines) != 0 {
			t.Errorf("bob left and is in %q", lines)
		}
		if lines := u.as("dave", "group", "list"); len(lines) != 1 || !strings.Contains(lines[0], `"group":"`+group+`"`) {
			t.Errorf("dave is in %q", lines)
		}
		u.refused("group.forbidden", "dave", "group", "remove", group, "alice")
	})
}

// Who is not a member hears the same as of a group that does not exist.
func TestStrangersToAGroupLearnNothing(t *testing.T) {
	u := newUsers(t, nil, nil, "alice", "bob", "mallory", "gone")
	group := u.createGroup("alice", "Chess", "bob", "gone")
	u.as("alice", "send", "g:"+group, "before")
	u.as("alice", "group", "remove", group, "gone")
	u.as("alice", "send", "g:"+group, "after")
	for _, user := range []string{"mallory", "gone"} {
		for _, target := range []string{group, "g2222222222"} {
			u.refused("conversation.not_member", user, "send", "g:"+target, "hi")
			u.refused("conversation.not_member", user, "group", "info", target)
			u.refused("conversation.not_member", user, "group", "members", target)
			u.refused("conversation.not_member", user, "group", "add", target, "mallory")
			u.refused("conversation.not_member", user, "group", "join", target)
			u.refused("conversation.not_member", user, "group", "role", target, "owner", user)
			u.refused("conversation.not_member", user, "group", "set", target, "--join", "open")
			u.refused("conversation.not_member", user, "group", "leave", target)
			u.refused("conversation.not_member", user, "group", "receipts", target, "1")
		}
	}
	if got := said(u.entries("gone", "history", "g:"+group)); !slices.Equal(got, []string{"alice: before"}) {
		t.Errorf("who was removed reads %q", got)
	}
	if got := said(u.log("gone")); !slices.Equal(got, []string{"alice: before"}) {
		t.Errorf("the log of who was removed: %q", got)
	}
	u.refused("conversation.not_member", "mallory", "history", "g:"+group)
	u.refused("conversation.not_member", "mallory", "history", "g:"+group, "--gseq", "--after", "0")
	if lines := u.as("mallory", "conversations"); len(lines) != 0 {
		t.Errorf("a stranger has %q", lines)
	}
}

func TestOpenGroupsMayBeJoinedAndShowWhatTheirPolicySays(t *testing.T) {
	u := newUsers(t, nil, nil, "alice", "bob", "carol")
	for history, want := range map[string][]string{"joined": {"alice: second"}, "all": {"alice: first", "alice: second"}} {
		var g struct{ Group, Conv string }
		u.one(&g, "alice", "group", "create", "Square", "--join", "open", "--history", history, "--cid", "square-"+history)
		again := g
		u.one(&again, "alice", "group", "create", "Square", "--join", "open", "--history", history, "--cid", "square-"+history)
		if again != g {
			t.Errorf("a repeated create made %+v beside %+v", again, g)
		}
		u.as("alice", "send", g.Conv, "first")
		u.as("bob", "group", "join", g.Group)
		u.as("alice", "send", g.Conv, "second")
		if got := said(u.entries("bob", "history", g.Conv, "--gseq", "--after", "0")); !slices.Equal(got, want) {
			t.Errorf("history %s: bob reads %q, want %q", history, got, want)
		}
		if got := said(u.entries("bob", "history", g.Conv)); len(got) == 0 || got[len(got)-1] != "alice: second" {
			t.Errorf("history %s: bob's own log has %q", history, got)
		}
	}
}

func TestHistoryPagesBothWaysOldestFirst(t *testing.T) {
	u := newUsers(t, nil, nil, "alice", "bob")
	group := u.createGroup("alice", "Chess", "bob")
	for i := range 7 {
		u.as("alice", "send", "g:"+group, fmt.Sprint(i))
		u.as("alice", "send", "bob", fmt.Sprint("to bob ", i))
	}
	seqs := func(args ...string) (list []uint64) {
		for _, e := range u.entries("bob", append([]string{"history"}, args...)...) {
			list = append(list, e.Seq)
		}
		return list
	}
	for _, f := range []struct {
		args []string
		want []uint64
	}{
		{[]string{"g:" + group, "--limit", "2"}, []uint64{12, 14}},
		{[]string{"g:" + group, "--before", "6", "--limit", "2"}, []uint64{2, 4}},
		{[]string{"g:" + group, "--after", "6", "--limit", "2"}, []uint64{8, 10}},
		{[]string{"g:" + group, "--after", "12"}, []uint64{14}},
		{[]string{"alice", "--limit", "0"}, []uint64{3, 5, 7, 9, 11, 13, 15}},
		{[]string{"u:alice", "--after", "0", "--limit", "1"}, []uint64{3}},
	} {
		if got := seqs(f.args...); !slices.Equal(got, f.want) {
			t.Errorf("history %v: %v, want %v", f.args, got, f.want)
		}
	}
	lines := u.as("bob", "conversations")
	var convs []string
	for _, line := range lines {
		var c map[string]json.RawMessage
		mustJSON(t, line, &c)
		for _, name := range []string{"conv", "unread", "read", "delivered", "last"} {
			if c[name] == nil {
				t.Errorf("%s is missing in %s", name, line)
			}
		}
		convs = append(convs, string(c["conv"])+" "+string(c["unread"]))
	}
	if !slices.Equal(convs, []string{`"u:alice" 7`, `"g:` + group + `" 7`}) {
		t.Errorf("conversations %q", convs)
	}
}
