package e2e

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// relay is a TCP relay in front of a server that breaks what passes through it.
type relay struct {
	target   string
	listener net.Listener
	ended    sync.WaitGroup

	mu     sync.Mutex
	random *rand.Rand
	least  int // bytes of a connection at least before it is cut; 0: none is
	most   int
	open   map[net.Conn]struct{}
	closed bool

	cuts     atomic.Int64
	swallows atomic.Bool  // connections that ask for a WebSocket get no answer
	upgrades atomic.Int64 // swallowed so far
}

func newRelay(t testing.TB, target string, seed uint64) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{target: target, listener: listener, random: rand.New(rand.NewPCG(seed, seed)), open: map[net.Conn]struct{}{}}
	r.ended.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.ended.Go(func() { r.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		r.mu.Lock()
		r.closed = true
		for conn := range r.open {
			_ = conn.Close()
		}
		r.mu.Unlock()
		r.ended.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

func (r *relay) url() string { return "ws://" + r.addr() + "/v1/ws" }

// cut makes each later connection break after a random number of bytes.
func (r *relay) cut(least, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.least, r.most = least, most
}

// budget is how many bytes may pass in one direction; negative: any number.
func (r *relay) budget() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.least == 0 {
		return -1
	}
	return int64(r.least + r.random.IntN(r.most-r.least))
}

// keep notes a connection that the end of the test closes.
func (r *relay) keep(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[conn] = struct{}{}
	if r.closed {
		_ = conn.Close()
	}
}

func (r *relay) drop(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, conn)
	_ = conn.Close()
}

func (r *relay) serve(client net.Conn) {
	r.keep(client)
	defer r.drop(client)
	head := make([]byte, 4096)
	n, err := client.Read(head)
	if err != nil {
		return
	}
	head = head[:n]
	if r.swallows.Load() && bytes.Contains(bytes.ToLower(head), []byte("upgrade: websocket")) {
		r.upgrades.Add(1)
		_, _ = io.Copy(io.Discard, client)
		return
	}
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	r.keep(server)
	defer r.drop(server)
	up, down := r.budget(), r.budget()
	var both sync.WaitGroup
	pass := func(to, from net.Conn, first []byte, budget int64) {
		defer client.Close()
		defer server.Close()
		source := io.MultiReader(bytes.NewReader(first), from)
		if budget < 0 {
			_, _ = io.Copy(to, source)
		} else if _, err := io.CopyN(to, source, budget); err == nil {
			r.cuts.Add(1)
		}
	}
	both.Go(func() { pass(server, client, head, up) })
	both.Go(func() { pass(client, server, nil, down) })
	both.Wait()
}
