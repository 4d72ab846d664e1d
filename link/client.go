package link

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/godwit-im/godwit"
)

var (
	// ErrSettingsChanged ends a client whose engine process came back with other
	// settings: start the edge process again.
	ErrSettingsChanged = errors.New("link: the engine process has other settings than before")
	// ErrRefused ends a client that the engine process will not have.
	ErrRefused = errors.New("link: the engine process refuses this edge process")
	// ErrSuperseded ends a client whose name has passed to a younger process: the
	// sessions it holds are nobody's any more.
	ErrSuperseded = errors.New("link: a younger edge process has this one's name; give each process a name (node) of its own")
)

// ClientConfig is what the edge process's end needs.
type ClientConfig struct {
	// Resolve says where the engine process is, unix:PATH or HOST:PORT. It is asked
	// before each attempt to attach: the process may move.
	Resolve func(ctx context.Context) (address string, err error)
	About   About
	// Lease, if any, is asked before each attempt for About.Lease.
	Lease  func() uint64
	Secret []byte
	// TLS is for every address that is not a socket file. Nil: only those of this
	// machine will do.
	TLS *TLS
	// Dial opens a connection; nil dials the address.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Lost is called when the engine process is gone, before the sessions are held or
	// closed; Attached when it is back. Drain is called when it goes down and wants
	// the clients to move. They must not block.
	Lost, Attached func()
	Drain          func(after, spread time.Duration)
	// Hold is how long sessions wait for an engine process that is away; then, or at
	// once if it is 0, they are closed.
	Hold time.Duration
	// Logger defaults to discarding.
	Logger *slog.Logger

	versions                                   versions // tests have others, of all five
	alive                                      keepalive.ClientParameters
	pauseUntrusted, attachTimeout, callTimeout time.Duration
}

func (c *ClientConfig) validate() error {
	if err := c.TLS.validate(); err != nil {
		return err
	}
	if c.Resolve == nil {
		return errors.New("link: a client needs the engine process's address")
	}
	if c.Dial == nil {
		c.Dial = dial
	}
	if c.Lease == nil {
		lease := c.About.Lease
		c.Lease = func() uint64 { return lease }
	}
	if c.versions == (versions{}) {
		c.versions = spoken
	}
	if c.alive == (keepalive.ClientParameters{}) {
		c.alive = clientKeepalive
	}
	c.pauseUntrusted = cmp.Or(c.pauseUntrusted, pauseUntrusted)
	c.attachTimeout = cmp.Or(c.attachTimeout, attachTimeout)
	c.callTimeout = cmp.Or(c.callTimeout, callTimeout)
	for _, hook := range []*func(){&c.Lost, &c.Attached} {
		if *hook == nil {
			*hook = func() {}
		}
	}
	if c.Drain == nil {
		c.Drain = func(time.Duration, time.Duration) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Client is the edge process's end: the chat tier that the edge sees. Methods may
// be called from any goroutine and never block.
type Client struct {
	cfg    ClientConfig
	bounds bounds
	pool   batches
	loose  sync.Pool                       // *scratch
	conn   atomic.Pointer[grpc.ClientConn] // of the last attempt; nil: none
	first  *up
	life   context.Context // from Attach to Close
	end    context.CancelFunc

	edge    Edge // set by Start
	started bool
	done    chan struct{}
	err     error // set before done is closed

	// queue is of the stream there is; nil while there is none.
	queue   atomic.Pointer[queue]
	traffic traffic
	index   atomic.Int64
	since   atomic.Int64
	lease   atomic.Uint64 // of the last attempt

	untrusted atomic.Uint64
	held      held

	mu    sync.Mutex
	live  map[godwit.SessionID]struct{} // connected on the present stream and not disconnected
	ready bool                          // clients are accepted: every stream is told
}

// Attach connects to the engine process, however long that takes to come up, and
// learns its settings. Whoever gets a client must Start and Close it, or Close it.
func Attach(ctx context.Context, cfg ClientConfig) (*Client, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, bounds: defaultBounds, done: make(chan struct{}), live: map[godwit.SessionID]struct{}{}}
	c.loose.New = func() any { return new(scratch) }
	c.life, c.end = context.WithCancel(context.Background())
	c.cfg.About.Instance = newInstance()
	stop := context.AfterFunc(ctx, c.end)
	first, err := c.attachAgain()
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		c.end()
		c.hangUp()
		return nil, errors.Join(ctx.Err(), err)
	}
	c.first = first
	return c, nil
}

// Settings are what the engine process wants of all its edge processes.
func (c *Client) Settings() Settings { return c.first.welcome.Settings }

// Start serves the edge until Close. It is called once. With Hold the edge is a
// Holder.
func (c *Client) Start(edge Edge) {
	c.edge = edge
	if c.cfg.Hold > 0 {
		c.held.edge = edge.(Holder)
	}
	c.started = true
	go c.run()
}

// Done is closed when the client has ended: by Close, or because it cannot serve
// this engine process any more, and then Err says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why the client has ended, once Done is closed; nil after Close.
func (c *Client) Err() error { return c.err }

// Close ends the stream and returns when all goroutines have ended.
func (c *Client) Close() {
	c.end()
	if c.started {
		<-c.done
	}
	c.hangUp()
}

// Ready tells the engine process that clients are accepted here, now and after
// each attachment from now on.
func (c *Client) Ready() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = true
	if q := c.queue.Load(); q != nil {
		q.put(maxInt, readyItem)
	}
}

var readyItem = func() []byte {
	b := begin(nil, itemReady)
	end(b, 0)
	return b
}()

// run serves one stream after another.
func (c *Client) run() {
	defer close(c.done)
	defer func() {
		if c.held.late != nil {
			c.held.late.Stop()
		}
	}()
	for u := c.first; ; {
		err := c.serve(u)
		superseded := status.Code(err) == codes.Aborted
		c.lose(!superseded && c.life.Err() == nil)
		if c.life.Err() != nil {
			return
		}
		c.cfg.Logger.Warn("engine process lost", "err", err)
		if superseded {
			c.err = errors.Join(ErrSuperseded, err)
			return
		}
		u, err = c.attachAgain()
		if err == nil && u.welcome.Settings != c.first.welcome.Settings {
			u.cancel()
			err = ErrSettingsChanged
		}
		if c.life.Err() != nil {
			return
		}
		if err != nil {
			c.err = err
			return
		}
	}
}

// serve carries one stream from its welcome to its end.
func (c *Client) serve(u *up) error {
	defer u.cancel()
	q := newQueue(&c.pool, &c.traffic.putItems)
	c.mu.Lock()
	c.index.Store(int64(u.welcome.Index))
	c.since.Store(time.Now().UnixMilli())
	c.queue.Store(q)
	if c.ready {
		q.put(maxInt, readyItem)
	}
	c.mu.Unlock()
	c.cfg.Logger.Info("attached to the engine process", "engine", u.welcome.Node, "index", u.welcome.Index, "version", u.welcome.Version, "epoch", strconv.FormatUint(u.welcome.Epoch, 16))
	c.cfg.Attached()
	c.release()
	var writer sync.WaitGroup
	writer.Go(func() { _ = writeAll(u.stream, q, &c.traffic, u.stream.Context().Done()) })
	err := c.read(u.stream)
	u.cancel()
	writer.Wait()
	return err
}
