package e2e

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// mover is a user of the SDK who goes to another edge when his own is silent.
type mover struct {
	name   string
	client *client.Client
	edges  []string // host:port, his own first

	mu   sync.Mutex
	sent []string // client ids that are stored, in order
	got  []string // client ids of all messages in his log, in order
	node string   // where he is
}

func newMover(t *testing.T, h *hosts, name string, edges ...string) *mover {
	t.Helper()
	m := &mover{name: name, edges: edges}
	c, err := client.Dial(t.Context(), client.Config{
		URL: "ws://edges.invalid/v1/ws", Token: h.token(name), Device: "phone", Transport: client.WebSocket,
		SendsInFlight: 1, BackoffMax: time.Second, Dial: m.dial, OnState: m.changed,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	m.client = c
	return m
}

// dial takes the first edge that answers.
func (m *mover) dial(ctx context.Context, network, _ string) (c net.Conn, err error) {
	d := net.Dialer{Timeout: time.Second}
	for _, address := range m.edges {
		if c, err = d.DialContext(ctx, network, address); err == nil {
			return c, nil
		}
	}
	return nil, err
}

func (m *mover) changed(s client.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.node = ""; s.Phase == client.Live {
		m.node = s.Welcome.Node
	}
}

func (m *mover) state() (sent, got int, node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sent), len(m.got), m.node
}

// write sends one message after the other to a partner until stop is closed.
func (m *mover) write(t *testing.T, to string, stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		cid := fmt.Sprintf("%s-%d", m.name, n)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err := m.client.Send(ctx, to, client.Message{CID: cid, Text: cid})
		cancel()
		if err != nil {
			t.Errorf("%s: %v", cid, err)
			return
		}
		m.mu.Lock()
		m.sent = append(m.sent, cid)
		m.mu.Unlock()
	}
}

func (m *mover) listen(t *testing.T, ctx context.Context) {
	for item, err := range m.client.Events(ctx) {
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.Errorf("%s: %v", m.name, err)
			return
		case item.Gap != nil:
			t.Errorf("%s: the log could not be continued: %s", m.name, item.Gap.Reason)
		case item.Entry.Kind == godwit.EntryMessage && !item.Entry.IsSkip() && string(item.Entry.Msg.From) != "witness":
			m.mu.Lock()
			m.got = append(m.got, string(item.Entry.Msg.CID))
			m.mu.Unlock()
		}
	}
}

// TestNothingIsLostWhenAnEdgesPlugIsPulled: users at both edges write to each other.
// The plug of one edge's host is pulled: its users find out by themselves and go to
// the other. It is put back: the edge serves again. Each message is in both logs once,
// in the order in which its sender was told that it is stored.
func TestNothingIsLostWhenAnEdgesPlugIsPulled(t *testing.T) {
	t.Parallel()
	if !ownNetwork(t) {
		return
	}
	h := newHosts(t)
	h.env = append(h.env, "GODWIT_EDGE_PING=1s") // how soon a client finds out
	h.certify("engine:engine", "edge:edge-1", "edge:edge-2")
	engine := h.engineHost()
	edges := []*hosted{h.edgeHost("edge-1", engine), h.edgeHost("edge-2", engine)}
	addresses := []string{edges[0].Address + ":8080", edges[1].Address + ":8080"}

	ctx, cancel := context.WithCancel(context.Background())
	stop := make(chan struct{})
	var listening, writing sync.WaitGroup
	users := make([]*mover, 4)
	for i := range users {
		users[i] = newMover(t, h, fmt.Sprint("user-", i), addresses[i%2], addresses[(i+1)%2])
	}
	for i, m := range users {
		listening.Go(func() { m.listen(t, ctx) })
		writing.Go(func() { m.write(t, users[i^1].name, stop) })
	}
	more := func(what string, n int) {
		t.Helper()
		var from [4]int
		for i, m := range users {
			from[i], _, _ = m.state()
		}
		for i, m := range users {
			until(t, what+": "+m.name+" goes on sending", func() bool { sent, _, _ := m.state(); return sent >= from[i]+n || t.Failed() })
		}
	}
	more("at first", 20)
	if err := edges[0].Cut(); err != nil {
		t.Fatal(err)
	}
	for _, m := range users {
		until(t, m.name+" is at the edge that is left", func() bool { _, _, node := m.state(); return node == "edge-2" || t.Failed() })
	}
	until(t, "the engine has given the edge up", func() bool { return h.attached(engine) == 1 })
	more("with one edge", 20)
	if err := edges[0].Heal(); err != nil {
		t.Fatal(err)
	}
	until(t, "both edges are attached", func() bool { return h.attached(engine) == 2 })
	back, _ := sessionAt(t, h, edges[0], "witness", "web", godwit.Resume{})
	back.mustSend(users[0].name, "witness-0", "the edge serves again")
	more("with both again", 20)
	close(stop)
	writing.Wait()
	for i, m := range users {
		partner := users[i^1]
		until(t, m.name+" has all", func() bool {
			mine, got, _ := m.state()
			theirs, _, _ := partner.state()
			return got >= mine+theirs || t.Failed()
		})
	}
	cancel()
	listening.Wait()
	for i, m := range users {
		checkStreams(t, m, users[i^1])
	}
}

// checkStreams splits what a user got by sender and compares it with what was sent.
func checkStreams(t *testing.T, m, partner *mover) {
	t.Helper()
	for _, sender := range []*mover{m, partner} {
		var stream []string
		for _, cid := range m.got {
			var n, number int
			if _, err := fmt.Sscanf(cid, "user-%d-%d", &n, &number); err == nil && fmt.Sprint("user-", n) == sender.name {
				stream = append(stream, cid)
			}
		}
		if fmt.Sprint(stream) != fmt.Sprint(sender.sent) {
			t.Errorf("%s has %d messages of %s, who sent %d, or has them in another order", m.name, len(stream), sender.name, len(sender.sent))
		}
	}
}
