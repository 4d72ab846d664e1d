package chat_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

func (n *node) must(user godwit.UserID, f godwit.ClientFrame) godwit.ServerFrame {
	n.t.Helper()
	r := n.ask(user, f)
	if r.Kind == godwit.KindError {
		n.t.Fatalf("%s: %+v", user, r.Error)
	}
	return r
}

// positions draws a log: s1-3 is a skip, m4 a message, g5 a change, r6 another.
func (n *node) positions(user godwit.UserID) string {
	n.t.Helper()
	var out []string
	for since, head := godwit.Seq(0), godwit.Seq(1); since < head; {
		r := n.must(user, godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Since: since, Limit: 4}})
		head = r.Sync.Head
		if len(r.Sync.Entries) == 0 {
			n.t.Fatalf("%s: nothing after %d of %d", user, since, head)
		}
		for i := range r.Sync.Entries {
			e := &r.Sync.Entries[i]
			if e.Seq != since+1 {
				n.t.Fatalf("%s: %d after %d", user, e.Seq, since)
			}
			since = max(e.Seq, e.SkipTo)
			switch {
			case e.IsSkip():
				out = append(out, fmt.Sprintf("s%d-%d", e.Seq, e.SkipTo))
			case e.Kind == godwit.EntryMessage:
				out = append(out, fmt.Sprintf("m%d", e.Seq))
			case e.Kind == godwit.EntryGroup:
				out = append(out, fmt.Sprintf("g%d", e.Seq))
			default:
				out = append(out, fmt.Sprintf("r%d", e.Seq))
			}
		}
	}
	return strings.Join(out, " ")
}

func TestErasedRangesAreSkipsOnTheEngine(t *testing.T) {
	for _, groups := range []int{1, 8} {
		t.Run(fmt.Sprint(groups), func(t *testing.T) {
			fs := vfs.NewMem()
			n := openNode(t, fs, groups)
			for i := range 6 {
				n.send("alice", "alice", fmt.Sprint("a", i), "to herself")
			}
			n.send("alice", "alice", "last", "x")
			n.must("alice", godwit.ClientFrame{Kind: godwit.KindConversation, Conversation: godwit.ConversationChange{Conv: []byte("alice"), Delete: 6}})
			want := "s1-6 m7"
			check := func() {
				t.Helper()
				if got := n.positions("alice"); !strings.HasPrefix(got, want) {
					t.Errorf("%s, want %s and what the erasing says", got, want)
				}
				r := n.must("alice", godwit.ClientFrame{Kind: godwit.KindHistory, History: godwit.History{Conv: []byte("alice")}})
				if len(r.History.Entries) != 1 || r.History.More {
					t.Errorf("history %+v", r.History)
				}
				r = n.must("alice", godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{From: 2, To: 4}})
				if e := r.Sync.Entries; len(e) != 1 || e[0].Seq != 2 || e[0].SkipTo != 4 {
					t.Errorf("a gap of what is erased: %+v", e)
				}
			}
			check()
			n.close()
			n = openNode(t, fs, groups)
			defer n.close()
			check()
		})
	}
}

// Readers in several raft groups resolve pointers into each other's while all of
// them apply: no view may wait for another.
func TestPointersAcrossRaftGroupsOnTheEngine(t *testing.T) {
	n := openNode(t, vfs.NewMem(), 8)
	defer n.close()
	users := []godwit.UserID{"alice", "bob", "carol", "dave", "erin", "frank"}
	var names [][]byte
	for _, user := range users {
		names = append(names, []byte(user))
	}
	var convs []string
	for i, user := range users {
		r := n.must(user, godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{
			Do: []byte(godwit.GroupCreate), CID: fmt.Append(nil, "c", i), Name: []byte("G"), HasName: true, Users: names,
		}})
		convs = append(convs, string(r.Group.Conv))
	}
	const messages = 30
	var wg sync.WaitGroup
	for i, user := range users {
		wg.Go(func() {
			for m := range messages {
				r := n.ask(user, godwit.ClientFrame{Kind: godwit.KindSend, Send: godwit.Send{
					Group: []byte(convs[(i+m)%len(convs)][2:]), CID: fmt.Append(nil, "m", m), Text: []byte("hi"), HasText: true,
				}})
				if r.Kind != godwit.KindSend {
					t.Errorf("send of %s: %+v", user, r.Error)
				}
			}
		})
		wg.Go(func() {
			for range messages {
				n.ask(user, godwit.ClientFrame{Kind: godwit.KindSync})
				n.ask(user, godwit.ClientFrame{Kind: godwit.KindConversations})
				n.ask(user, godwit.ClientFrame{Kind: godwit.KindHistory, History: godwit.History{Conv: []byte(convs[i])}})
			}
		})
	}
	wg.Wait()
	all := len(users)*messages + len(convs)
	for _, user := range users {
		for n.must(user, godwit.ClientFrame{Kind: godwit.KindSync}).Sync.Head < godwit.Seq(all) {
			// the last pointers may be on their way
		}
		if log := n.positions(user); strings.Count(log, "m") != len(users)*messages || strings.Count(log, "g") != len(convs) || strings.Contains(log, "s") {
			t.Errorf("log of %s: %s", user, log)
		}
	}
}
