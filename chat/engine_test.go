package chat_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/chat"
	"github.com/godwit-im/godwit/engine"
	"github.com/godwit-im/godwit/router/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The engine shown to chat, as a node does it.

type engineMachine struct{ *chat.Machine }

func (m engineMachine) Apply(tx *engine.Tx, command []byte, w engine.Waiter) {
	m.Machine.Apply(tx, command, w)
}

type engineStore struct{ *engine.Store }

func (s engineStore) View(group int) chat.View { return s.Store.View(group) }

// answers is an edge that hands replies to whoever waits for them.
type answers struct {
	mu      sync.Mutex
	waiting map[uint64]chan godwit.ServerFrame
}

func (a *answers) Reply(_ godwit.SessionID, f *godwit.ServerFrame) {
	c := *f
	c.Send.Conv = "" // aliases a command
	c.Sync.Entries = slices.Clone(c.Sync.Entries)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting[f.ID] <- c
	delete(a.waiting, f.ID)
}

func (a *answers) Connected(godwit.SessionID, godwit.Welcome)                  {}
func (a *answers) Deliver([]godwit.SessionID, *godwit.Entry)                   {}
func (a *answers) Fetched(godwit.SessionID, []godwit.Entry, godwit.Seq, error) {}
func (a *answers) Close(godwit.SessionID, godwit.CloseCode, string)            {}
func (a *answers) expect(id uint64) (answer chan godwit.ServerFrame) {
	answer = make(chan godwit.ServerFrame, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting[id] = answer
	return answer
}

// node is a service on the real engine, on a file system in memory.
type node struct {
	t       testing.TB
	store   *engine.Store
	service *chat.Service
	edge    *answers
	next    uint64
	mu      sync.Mutex
}

func openNode(t testing.TB, fs vfs.FS, groups int) *node {
	t.Helper()
	return openNodeAt(t, fs, "data", groups)
}

func openNodeAt(t testing.TB, fs vfs.FS, dir string, groups int) *node {
	t.Helper()
	n := &node{t: t, edge: &answers{waiting: map[uint64]chan godwit.ServerFrame{}}}
	machine := chat.NewMachine(groups)
	var err error
	if n.store, err = engine.Open(engine.Config{FS: fs, Dir: dir, Groups: groups, CheckReads: true}, engineMachine{machine}); err != nil {
		t.Fatal(err)
	}
	router, err := live.New(live.Config{})
	if err != nil {
		t.Fatal(err)
	}
	n.service, err = chat.NewService(chat.Config{
		Machine: machine, Store: engineStore{n.store}, Edge: n.edge, Router: router, Restored: n.store.Restored,
		AnswerSeconds: 60, // a machine that stands still for seconds must not make an answer unknown
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.service.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) close() {
	n.t.Helper()
	n.service.Close()
	if err := n.store.Close(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) ask(user godwit.UserID, f godwit.ClientFrame) godwit.ServerFrame {
	n.mu.Lock()
	n.next++
	f.ID = n.next
	n.mu.Unlock()
	answer := n.edge.expect(f.ID)
	n.service.Request(1, user, &f)
	return <-answer
}

func (n *node) send(from, to godwit.UserID, cid, text string) godwit.SendReply {
	r := n.ask(from, godwit.ClientFrame{Kind: godwit.KindSend, Send: godwit.Send{
		To: []byte(to), CID: []byte(cid), Text: []byte(text), HasText: true,
	}})
	if r.Kind != godwit.KindSend {
		n.t.Errorf("send: %+v", r.Error)
	}
	return r.Send
}

// log reads until it has want entries: the last ones may be on a lane.
func (n *node) log(user godwit.UserID, want int) (lines []string) {
	n.t.Helper()
	for since := godwit.Seq(0); len(lines) < want; {
		r := n.ask(user, godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Since: since}})
		if r.Kind != godwit.KindSync {
			n.t.Fatalf("sync: %+v", r.Error)
		}
		for _, e := range r.Sync.Entries {
			if since++; e.Seq != since {
				n.t.Fatalf("%s has %d after %d", user, e.Seq, since-1)
			}
			lines = append(lines, fmt.Sprintf("%d %x %s %s %d %s", e.Seq, e.Msg.MID, e.Msg.From, e.Msg.Conv, e.Msg.Time, e.Msg.Body))
		}
	}
	return lines
}

func TestServiceOnTheEngineKeepsEverythingOverARestart(t *testing.T) {
	const messages = 50
	users := []godwit.UserID{"alice", "bob", "carol", "dave"}
	for _, groups := range []int{1, 8} {
		t.Run(fmt.Sprint(groups, " groups"), func(t *testing.T) {
			fs := vfs.NewMem()
			n := openNode(t, fs, groups)
			var mu sync.Mutex
			replies := map[string]godwit.SendReply{}
			var wg sync.WaitGroup
			for i, from := range users {
				wg.Go(func() {
					for m := range messages {
						to := users[(i+1+m%3)%4]
						cid := fmt.Sprint("c", m)
						r := n.send(from, to, cid, fmt.Sprint(from, " ", m))
						mu.Lock()
						replies[fmt.Sprint(from, " ", to, " ", cid)] = r
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			// Every user sends 50 and gets 17, 17 and 16 from the others.
			logs := map[godwit.UserID][]string{}
			for _, user := range users {
				logs[user] = n.log(user, 2*messages)
			}
			n.close()

			n = openNode(t, fs, groups)
			defer n.close()
			for _, key := range slices.Sorted(maps.Keys(replies)) {
				var from, to, cid string
				if _, err := fmt.Sscan(key, &from, &to, &cid); err != nil {
					t.Fatal(err)
				}
				r := n.send(godwit.UserID(from), godwit.UserID(to), cid, fmt.Sprint(from, " ", cid[1:]))
				if first := replies[key]; !r.Dup || r.MID != first.MID || r.Seq != first.Seq || r.Time != first.Time {
					t.Errorf("%s: %+v after the restart, %+v before", key, r, first)
				}
			}
			for _, user := range users {
				if got := n.log(user, 2*messages); !slices.Equal(got, logs[user]) {
					t.Errorf("log of %s changed over the restart", user)
				}
			}
		})
	}
}

func (*answers) Hint([]godwit.SessionID, godwit.Seq) {}

func (*answers) Tell([]godwit.SessionID, *godwit.ServerFrame) {}

func (*answers) Whisper([]godwit.SessionID, *godwit.ServerFrame) {}
