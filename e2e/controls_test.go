package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// controls are two users who write to each other, in turn, while a test does its worst to the server. They must not notice: every message
// is stored and arrives with both at the next sequence, and nobody is closed.
type controls struct {
	t      testing.TB
	server *server
	wires  [2]*wire
	users  [2]string
	last   [2]godwit.Seq // newest sequence that each has seen
	stop   chan struct{}
	ended  chan struct{}
	once   sync.Once

	mu        sync.Mutex
	happened  *sync.Cond // one of these changed
	exchanged int
	failure   error
	ending    bool
}

// withControls starts a server with some settings, and two users on it.
func withControls(t testing.TB, env ...string) (s *server, c *controls) {
	t.Helper()
	s = newServer(t, "", env...)
	s.start()
	c = &controls{t: t, server: s, users: [2]string{"carol", "dave"}, stop: make(chan struct{}), ended: make(chan struct{})}
	c.happened = sync.NewCond(&c.mu)
	tokens := s.tokens(c.users[:]...)
	for i, user := range c.users {
		w, reply := connectWire(t, s.url(), godwit.Encoding(i), tokens[user], "control", godwit.Resume{})
		c.wires[i], c.last[i] = w, reply.Seq
	}
	go c.run()
	t.Cleanup(c.end)
	c.progress()
	return s, c
}

func (c *controls) run() {
	defer close(c.ended)
	pace := time.NewTicker(3 * time.Millisecond) // people, not a flood of their own
	defer pace.Stop()
	for n := 1; ; n++ {
		select {
		case <-c.stop:
			return
		case <-pace.C:
		}
		err := c.exchange(n)
		c.mu.Lock()
		c.exchanged, c.failure = n, err
		c.mu.Unlock()
		c.happened.Broadcast()
		if err != nil {
			return
		}
	}
}

// exchange has one user write to the other, and awaits the answer and both events.
func (c *controls) exchange(n int) error {
	from, to := n%2, 1-n%2
	text := fmt.Sprint("message ", n)
	f := godwit.ClientFrame{ID: uint64(n), Kind: godwit.KindSend}
	f.Send.To, f.Send.CID, f.Send.Text, f.Send.HasText = []byte(c.users[to]), fmt.Append(nil, "control-", n), []byte(text), true
	c.wires[from].writeFrame(&f)
	deadline := time.After(patience)
	for stored, arrived := false, [2]bool{}; !stored || !arrived[0] || !arrived[1]; {
		var got godwit.ServerFrame
		var i int
		ok := true
		select {
		case got, ok = <-c.wires[0].frames:
		case got, ok = <-c.wires[1].frames:
			i = 1
		case <-deadline:
			return fmt.Errorf("message %d: stored %v, arrived %v, and nothing more came", n, stored, arrived)
		}
		switch {
		case !ok:
			return fmt.Errorf("message %d: %s was disconnected: %v", n, c.users[i], <-c.wires[i].closed)
		case got.Kind == godwit.KindSend && i == from && got.ID == f.ID:
			stored = true
		case got.Kind == godwit.KindEvent && got.Event.Seq == c.last[i]+1 && string(got.Event.Msg.Body) == text && !arrived[i]:
			arrived[i] = true
			if c.last[i]++; c.last[i]%32 == 0 {
				c.wires[i].writeFrame(&godwit.ClientFrame{Kind: godwit.KindAck, Ack: godwit.Ack{Seq: c.last[i]}})
			}
		case got.Kind == godwit.KindPing:
		default:
			return fmt.Errorf("message %d: %s, at sequence %d, got %+v", n, c.users[i], c.last[i], got)
		}
	}
	return nil
}

// another waits until a message written from now on has gone through; false if
// none does. Any goroutine may call it.
func (c *controls) another() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for target := c.exchanged + 2; c.exchanged < target; c.happened.Wait() {
		if c.failure != nil || c.ending {
			return false
		}
	}
	return true
}

// progress is another for the test's own goroutine, which it ends.
func (c *controls) progress() {
	c.t.Helper()
	if !c.another() {
		c.t.Fatalf("a bystander noticed: %v\n%s", c.failure, c.server.stderr)
	}
}

// await waits, message by message, for something that must come true.
func (c *controls) await(otherwise string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); c.progress() {
		if time.Now().After(deadline) {
			c.t.Fatal(otherwise)
		}
	}
}

// end is the verdict.
func (c *controls) end() {
	c.once.Do(func() {
		close(c.stop)
		<-c.ended
		c.mu.Lock()
		c.ending = true
		c.mu.Unlock()
		c.happened.Broadcast()
		if c.failure != nil {
			c.t.Errorf("a bystander noticed: %v", c.failure)
		}
		c.t.Logf("%d messages between the bystanders, all in order", c.exchanged)
	})
}
