package chat_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine"
)

// entries reads a user's log as it is.
func (n *node) entries(user godwit.UserID) (all []godwit.Entry) {
	n.t.Helper()
	for {
		since := godwit.Seq(len(all))
		r := n.ask(user, godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Since: since}})
		if r.Kind != godwit.KindSync {
			n.t.Fatalf("sync: %+v", r.Error)
		}
		if len(r.Sync.Entries) == 0 {
			return all
		}
		all = append(all, r.Sync.Entries...)
	}
}

// pairs returns what users sent, or received, per sender and recipient.
func pairs(n *node, users []godwit.UserID) (sent, received map[string][]string) {
	sent, received = map[string][]string{}, map[string][]string{}
	for _, user := range users {
		for _, e := range n.entries(user) {
			if string(e.Msg.From) == string(user) {
				key := fmt.Sprintf("%s>%s", user, e.Msg.Conv[2:])
				sent[key] = append(sent[key], string(e.Msg.Body))
			} else {
				key := fmt.Sprintf("%s>%s", e.Msg.From, user)
				received[key] = append(received[key], string(e.Msg.Body))
			}
		}
	}
	return sent, received
}

// Backups are made while messages are on their way between eight groups. What a
// restored store has in a sender's log it has, or soon has, once and in order in
// the recipient's, and nothing else.
func TestRestoreNeitherLosesNorDoublesWhatIsOnItsWay(t *testing.T) {
	const groups, rounds = 8, 6
	users := []godwit.UserID{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"}
	fs := vfs.NewMem()
	n := openNode(t, fs, groups)
	var stop atomic.Bool
	var sends atomic.Int64
	var wg sync.WaitGroup
	for i, from := range users {
		wg.Go(func() {
			for m := 0; !stop.Load(); m++ {
				to := users[(i+1+m%7)%8]
				n.send(from, to, fmt.Sprint("c", m), fmt.Sprint(m))
				sends.Add(1)
			}
		})
	}
	for round := range rounds {
		for least := sends.Load() + 50; sends.Load() < least; {
		}
		name, _, err := n.store.Backup(t.Context(), engine.BackupConfig{Dir: "backups"})
		if err != nil {
			t.Fatal(err)
		}
		dir := fmt.Sprint("restored", round)
		if _, err := engine.Restore(t.Context(), engine.RestoreConfig{FS: fs, From: fs.PathJoin("backups", name), Dir: dir}); err != nil {
			t.Fatal(err)
		}
		again := openNodeAt(t, fs, dir, groups)
		before, _ := pairs(again, users)
		// Another message on every lane: when that has arrived, so has all before it.
		for i, from := range users {
			for j, to := range users {
				if i != j {
					again.send(from, to, "last", "last")
				}
			}
		}
		var sent, received map[string][]string
		for tries := 0; ; tries++ {
			sent, received = pairs(again, users)
			arrived := 0
			for _, bodies := range received {
				if bodies[len(bodies)-1] == "last" {
					arrived++
				}
			}
			if arrived == len(users)*(len(users)-1) {
				break
			}
			if tries > 20_000 {
				t.Fatalf("round %d: only %d lanes go on", round, arrived)
			}
		}
		for _, pair := range slices.Sorted(maps.Keys(sent)) {
			if !slices.Equal(sent[pair], received[pair]) {
				t.Errorf("round %d, %s: sent %q, received %q", round, pair, sent[pair], received[pair])
			}
		}
		if len(before) == 0 || len(received) != len(sent) {
			t.Errorf("round %d: %d pairs sent, %d received, %d before", round, len(sent), len(received), len(before))
		}
		again.close()
	}
	stop.Store(true)
	wg.Wait()
	n.close()
}
