package link

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/godwit-im/godwit"
)

// HubConfig is what the engine process's end needs.
type HubConfig struct {
	// Local holds this process's own clients, those with index 0. Nil: there are none.
	Local Edge
	// Chat and Router are required. Tickets may be nil: they are refused then.
	Chat    Chat
	Router  Router
	Tickets Tickets
	// Node names this process; Settings are told to every edge process.
	Node     string
	Settings Settings
	// Secret, if any, must come with every stream and call.
	Secret []byte
	// TLS is for every connection that is not over a socket file. Nil: only those of
	// this machine are taken.
	TLS *TLS
	// Clock gives ms since the Unix epoch. Default time.Now.
	Clock func() int64
	// Logger defaults to discarding.
	Logger *slog.Logger

	versions versions // tests have others, of both
	alive    keepalive.ServerParameters
}

func (c *HubConfig) validate() error {
	if c.Chat == nil || c.Router == nil {
		return errors.New("link: a hub needs Chat and Router")
	}
	if err := c.TLS.validate(); err != nil {
		return err
	}
	if c.Clock == nil {
		c.Clock = func() int64 { return time.Now().UnixMilli() }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.versions == (versions{}) {
		c.versions = spoken
	}
	if c.alive == (keepalive.ServerParameters{}) {
		c.alive = hubKeepalive
	}
	return nil
}

// Hub is the engine process's end: the edge that the chat tier sees. It hands on
// what is for its own edge and sends the rest to the edge processes attached to it.
// Methods may be called from any goroutine.
type Hub struct {
	cfg    HubConfig
	bounds bounds
	pool   batches
	server *grpc.Server
	edges  [godwit.SessionEdgeMax + 1]atomic.Pointer[attached] // by index; nil: gone
	loose  sync.Pool                                           // *scratch

	serving sync.WaitGroup // Serve's goroutines
	running sync.WaitGroup // goroutines of streams

	mu       sync.Mutex
	standing map[*attached]struct{}           // admitted and not yet forgotten
	last     int                              // index given last
	freed    [godwit.SessionEdgeMax + 1]int64 // ms when an index was given back; 0: never used
	changed  chan struct{}                    // closed and replaced when edges come, are ready, go, or lose their last session
	draining bool
	closed   bool

	attaches, refused, lost, untrusted atomic.Uint64

	saidMS atomic.Int64  // when a refusal was last logged
	unsaid atomic.Uint64 // refusals since
}

// NewHub checks the configuration; nothing runs before Serve.
func NewHub(cfg HubConfig) (*Hub, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	h := &Hub{cfg: cfg, bounds: defaultBounds, changed: make(chan struct{}), standing: map[*attached]struct{}{}}
	h.server = newServer(cfg.alive, &transport{tls: cfg.TLS, failed: h.handshakeFailed})
	h.loose.New = func() any { return new(scratch) }
	h.server.RegisterService(&serviceDesc, h)
	return h, nil
}

// scratch is memory for one item on its way into a queue.
type scratch struct {
	item  []byte
	frame []byte
	// sorted and ends are for spread.
	sorted []godwit.SessionID
	ends   []uint32 // by index of an edge process
}

// Serve accepts edge processes on a listener, which it closes in the end. It
// returns at once.
func (h *Hub) Serve(listener net.Listener) {
	h.serving.Go(func() {
		if err := h.server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			h.cfg.Logger.Error("link listener ended", "err", err)
		}
	})
}

// Stop cuts all edge processes off and returns when every goroutine has ended.
func (h *Hub) Stop() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.server.Stop()
	h.serving.Wait()
	h.running.Wait()
}

func (h *Hub) signal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.signalLocked()
}

func (h *Hub) signalLocked() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// await returns when ok says so of the edge processes attached, or ctx ends.
func (h *Hub) await(ctx context.Context, ok func([]*attached) bool) error {
	for {
		h.mu.Lock()
		changed := h.changed
		h.mu.Unlock()
		if ok(h.all()) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (h *Hub) all() (all []*attached) {
	for i := range h.edges {
		if a := h.edges[i].Load(); a != nil {
			all = append(all, a)
		}
	}
	return all
}

// AwaitReady returns once an edge process of each name is attached and accepts
// clients, or with ctx's error.
func (h *Hub) AwaitReady(ctx context.Context, nodes ...string) error {
	return h.await(ctx, func(all []*attached) bool {
		ready := map[string]bool{}
		for _, a := range all {
			if a.ready.Load() {
				ready[a.about.Node] = true
			}
		}
		for _, node := range nodes {
			if !ready[node] {
				return false
			}
		}
		return true
	})
}

// Drain refuses edge processes, has those that are attached ask their clients to
// move, and returns when all sessions have ended, or ctx has.
func (h *Hub) Drain(ctx context.Context, after, spread time.Duration) {
	h.mu.Lock()
	h.draining = true
	h.mu.Unlock()
	item := begin(nil, itemDrain)
	item = binary.AppendUvarint(item, uint64(after.Milliseconds()))
	item = binary.AppendUvarint(item, uint64(spread.Milliseconds()))
	end(item, 0)
	for _, a := range h.all() {
		a.owe(item)
	}
	_ = h.await(ctx, func(all []*attached) bool {
		for _, a := range all {
			if a.sessions.Load() > 0 {
				return false
			}
		}
		return true
	})
}
