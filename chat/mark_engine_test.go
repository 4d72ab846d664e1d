package chat_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

// shown is the whole log of a user as JSON.
func (n *node) shown(user godwit.UserID) (lines []string) {
	n.t.Helper()
	for since, head := godwit.Seq(0), godwit.Seq(1); since < head; {
		r := n.ask(user, godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Since: since, Limit: 7}})
		if r.Kind != godwit.KindSync || len(r.Sync.Entries) == 0 {
			n.t.Fatalf("sync of %s after %d: %+v", user, since, r.Error)
		}
		for i := range r.Sync.Entries {
			e := &r.Sync.Entries[i]
			if since++; e.Seq != since {
				n.t.Fatalf("%s has %d, want %d", user, e.Seq, since)
			}
			since = max(since, e.SkipTo)
			f := godwit.ServerFrame{Kind: godwit.KindEvent, Event: *e}
			if !e.IsSkip() { // where pages end, skips are cut in two
				lines = append(lines, string(f.AppendTo(nil, godwit.EncodingJSON)))
			}
		}
		head = r.Sync.Head
	}
	return lines
}

// Records of marks and settings are of no conversation: the engine keeps them in
// memory, in segments and over an erase like all others.
func TestMarksAndRevisionsOnTheEngine(t *testing.T) {
	fs := vfs.NewMem()
	n := openNode(t, fs, 1)
	var sent []godwit.SendReply
	for i := range 30 {
		sent = append(sent, n.send("alice", "bob", fmt.Sprint("c", i), fmt.Sprint("text ", i)))
		if i%10 == 5 {
			n.send("carol", "bob", fmt.Sprint("c", i), "between")
		}
	}
	do := func(user godwit.UserID, f godwit.ClientFrame) {
		t.Helper()
		if r := n.ask(user, f); r.Kind != godwit.KindDone || r.Done.Dup {
			t.Fatalf("%+v answers %+v", f, r)
		}
	}
	change := func(change godwit.ConversationChange) {
		t.Helper()
		do("bob", godwit.ClientFrame{Kind: godwit.KindConversation, Conversation: change})
	}
	revise := func(i int, text string) {
		t.Helper()
		mid := []byte(sent[i].MID.String())
		if text == "" {
			do("alice", godwit.ClientFrame{Kind: godwit.KindRecall, Recall: godwit.Recall{MID: mid}})
			return
		}
		do("alice", godwit.ClientFrame{Kind: godwit.KindEdit, Edit: godwit.Edit{MID: mid, Text: []byte(text), HasText: true}})
	}
	do("bob", godwit.ClientFrame{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte("alice"), Read: 12}})
	do("bob", godwit.ClientFrame{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte("carol"), Delivered: 20}})
	revise(2, "an edit of what is deleted")
	revise(25, "an edit")
	revise(25, "another")
	revise(26, "")
	change(godwit.ConversationChange{Conv: []byte("alice"), HasPin: true, Pin: true})
	change(godwit.ConversationChange{Conv: []byte("alice"), Delete: 16})

	users := []godwit.UserID{"alice", "bob", "carol"}
	before := map[godwit.UserID][]string{}
	for _, user := range users {
		before[user] = n.shown(user)
	}
	if len(before["bob"]) < 20 || len(before["alice"]) < 30 {
		t.Fatalf("bob has %q, alice %q", before["bob"], before["alice"])
	}
	same := func(after string) {
		t.Helper()
		for _, user := range users {
			if got := n.shown(user); !slices.Equal(got, before[user]) {
				t.Errorf("after %s %s has\n%q, before\n%q", after, user, got, before[user])
			}
		}
	}
	for what, f := range map[string]func() error{"a checkpoint": n.store.Checkpoint, "an erase": n.store.EraseNow} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
		same(what)
	}
	n.close()
	n = openNode(t, fs, 1)
	defer n.close()
	same("a restart")
}
