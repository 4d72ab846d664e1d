package chat

import (
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

// check compares all that users can read with the model.
func (r *wholeRun) check() {
	for user, name := range r.model.users {
		places := r.places(user)
		for id, c := range r.model.convs[user] {
			var want, got []string
			for _, msg := range c.messages[c.gone:] {
				body := msg.bodyFor(user)
				want = append(want, line2(string(r.model.users[msg.from]), body.text, body.recalled))
			}
			for _, e := range places[id] {
				got = append(got, line2(string(e.Msg.From), string(e.Msg.Body), e.Msg.Recalled))
			}
			if !slices.Equal(got, want) {
				r.fail("%s reads in %s\n%q, want\n%q", name, id, got, want)
			}
			delete(places, id)
		}
		for id, entries := range places {
			r.fail("%s has %d messages of %s, which he should not know", name, len(entries), id)
		}
		r.checkConversations(user)
	}
}

func (r *wholeRun) checkConversations(user int) {
	unread := map[string]int{}
	for next := []byte(nil); ; {
		reply := r.request(user, &godwit.ClientFrame{Kind: godwit.KindConversations, Conversations: godwit.Conversations{Limit: 2, Next: next}})
		if reply.Kind != godwit.KindConversations {
			r.fail("conversations: %+v", reply)
			return
		}
		for _, item := range reply.Conversations.Items {
			if _, twice := unread[string(item.Conv)]; twice {
				r.fail("%s is on two pages", item.Conv)
			}
			unread[string(item.Conv)] = int(item.Unread)
		}
		if next = []byte(reply.Conversations.Next); len(next) == 0 {
			break
		}
	}
	for id, c := range r.model.convs[user] {
		if got, want := unread[id], r.model.unread(user, c); got != want {
			r.fail("%s has %d unread in %s, want %d", r.model.users[user], got, id, want)
		}
	}
}

// replays compares the state with that of replays in other batch sizes.
func (r *wholeRun) replays() {
	want := fmt.Sprint(r.store.digests())
	for _, batch := range []int{1, 5, 1 << 20} {
		g := goldenLog{groups: r.store.Groups(), commands: make([][]memCommand, r.store.Groups())}
		for i, group := range r.store.groups {
			for _, c := range group.commands {
				g.commands[i] = append(g.commands[i], memCommand{c.stamp, slices.Clone(c.command)})
			}
		}
		if got := fmt.Sprint(g.replay(batch).digests()); got != want {
			r.fail("a replay in batches of %d gives %s, was %s", batch, got, want)
		}
	}
}

// TestRandomHistoriesReadAsTheModelSays: sends, retries, groups, marks, edits,
// recalls, blocks, deletions and restarts, in any order.
func TestRandomHistoriesReadAsTheModelSays(t *testing.T) {
	for _, groups := range []int{1, 8} {
		t.Run(fmt.Sprint(groups, " raft groups"), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				ops := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) wholeOp {
					small := rapid.IntRange(0, 1<<10)
					return wholeOp{rapid.IntRange(0, wholeKinds-1).Draw(rt, "kind"), small.Draw(rt, "a"), small.Draw(rt, "b"), small.Draw(rt, "n")}
				}), 10, 60).Draw(rt, "ops")
				if broken := runWhole(t, groups, ops); broken != "" {
					rt.Fatal(broken)
				}
			})
		})
	}
}

func runWhole(t *testing.T, groups int, ops []wholeOp) (broken string) {
	bubble(t, groups, nil, func(s *served) {
		r := &wholeRun{served: s, model: newWholeModel("alice", "bob", "carol", "dave", "erin")}
		for i, op := range ops {
			if r.do(op, i); r.broken != "" {
				r.broken = fmt.Sprintf("step %d, %+v: %s", i, op, r.broken)
				break
			}
		}
		if r.broken == "" {
			r.check()
		}
		if r.broken == "" {
			r.replays()
		}
		broken = r.broken
	})
	return broken
}
