package link

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/godwit-im/godwit"
)

var (
	// ErrSettingsChanged ends a client whose engine process came back with other
	// settings: start the edge process again.
	ErrSettingsChanged = errors.New("link: the engine process has other settings than before")
	// ErrRefused ends a client that the engine process will not have.
	ErrRefused = errors.New("link: the engine process refuses this edge process")
)

// ClientConfig is what the edge process's end needs.
type ClientConfig struct {
	// Target is the engine process's address: unix:PATH or HOST:PORT.
	Target string
	About  About
	Secret []byte
	// Dial opens the connection; nil dials Target.
	Dial func(ctx context.Context) (net.Conn, error)
	// Lost is called when the engine process is gone, before the sessions are
	// closed; Attached when it is back. Drain is called when it goes down and wants
	// the clients to move. They must not block.
	Lost, Attached func()
	Drain          func(after, spread time.Duration)
	// Logger defaults to discarding.
	Logger *slog.Logger
}

func (c *ClientConfig) validate() error {
	if c.Target == "" && c.Dial == nil {
		return errors.New("link: a client needs the engine process's address")
	}
	if c.Dial == nil {
		target := c.Target
		c.Dial = func(ctx context.Context) (net.Conn, error) { return dial(ctx, target) }
	}
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

// Times of a client's attempts. The pause between two is spread by half.
const (
	pauseMin      = 50 * time.Millisecond
	pauseMax      = time.Second
	attachTimeout = 5 * time.Second
	callTimeout   = 2 * time.Second
)

// Client is the edge process's end: the chat tier that the edge sees. Methods may
// be called from any goroutine and never block.
type Client struct {
	cfg    ClientConfig
	bounds bounds
	pool   batches
	loose  sync.Pool // *scratch
	conn   *grpc.ClientConn
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

	mu    sync.Mutex
	live  map[godwit.SessionID]struct{} // connected on the present stream and not disconnected
	ready bool                          // clients are accepted: every stream is told
}

// up is one stream to the engine process.
type up struct {
	stream  grpc.ClientStream
	cancel  context.CancelFunc
	welcome welcome
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
	var err error
	c.conn, err = grpc.NewClient("passthrough:///engine",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return cfg.Dial(ctx) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(messageBytesMax), grpc.MaxCallSendMsgSize(messageBytesMax)),
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithReadBufferSize(socketBytes), grpc.WithWriteBufferSize(socketBytes),
		grpc.WithKeepaliveParams(clientKeepalive),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: pauseMin, Multiplier: 1.6, Jitter: 0.5, MaxDelay: pauseMax},
			MinConnectTimeout: attachTimeout,
		}),
	)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, c.end)
	c.first, err = c.attachAgain()
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		c.end()
		_ = c.conn.Close()
		return nil, errors.Join(ctx.Err(), err)
	}
	return c, nil
}

// Settings are what the engine process wants of all its edge processes.
func (c *Client) Settings() Settings { return c.first.welcome.Settings }

// Start serves the edge until Close. It is called once.
func (c *Client) Start(edge Edge) {
	c.edge = edge
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
	_ = c.conn.Close()
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

// attachAgain tries until a stream stands, the client ends, or the engine process
// refuses for good.
func (c *Client) attachAgain() (*up, error) {
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		u, err := c.attach()
		if err == nil {
			return u, nil
		}
		switch status.Code(err) {
		case codes.FailedPrecondition, codes.Unauthenticated, codes.Unimplemented, codes.InvalidArgument:
			return nil, errors.Join(ErrRefused, err)
		}
		if c.life.Err() != nil {
			return nil, c.life.Err()
		}
		c.cfg.Logger.Info("engine process not reached, trying again", "target", c.cfg.Target, "err", err)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-c.life.Done():
			return nil, c.life.Err()
		}
		c.conn.ResetConnectBackoff()
	}
}

// attach is one attempt.
func (c *Client) attach() (*up, error) {
	ctx, cancel := context.WithCancel(c.outgoing(c.life))
	late := time.AfterFunc(attachTimeout, cancel)
	stream, err := c.conn.NewStream(ctx, attachDesc, attachMethod)
	if err != nil {
		cancel()
		return nil, err
	}
	var answer message
	defer answer.free()
	_ = stream.SendMsg(newMessage(mustJSON(hello{version, c.cfg.About}))) // RecvMsg has the reason
	if err := stream.RecvMsg(&answer); err != nil {
		cancel()
		return nil, err
	}
	w, err := parseWelcome(answer.bytes())
	if err != nil {
		cancel()
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	if !late.Stop() {
		cancel()
		return nil, context.DeadlineExceeded
	}
	return &up{stream: stream, cancel: cancel, welcome: w}, nil
}

// outgoing adds the secret to a call.
func (c *Client) outgoing(ctx context.Context) context.Context {
	if len(c.cfg.Secret) == 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, secretKey, string(c.cfg.Secret))
}

// run serves one stream after another.
func (c *Client) run() {
	defer close(c.done)
	for u := c.first; ; {
		err := c.serve(u)
		c.lose()
		if c.life.Err() != nil {
			return
		}
		c.cfg.Logger.Warn("engine process lost", "err", err)
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
	c.cfg.Logger.Info("attached to the engine process", "engine", u.welcome.Node, "index", u.welcome.Index, "epoch", strconv.FormatUint(u.welcome.Epoch, 16))
	c.cfg.Attached()
	var writer sync.WaitGroup
	writer.Go(func() { _ = writeAll(u.stream, q, &c.traffic, u.stream.Context().Done()) })
	err := c.read(u.stream)
	u.cancel()
	writer.Wait()
	return err
}

// lose ends what the stream carried: its sessions reconnect, with jitter, to
// whoever is attached by then.
func (c *Client) lose() {
	c.cfg.Lost()
	c.mu.Lock()
	gone := c.live
	c.live = map[godwit.SessionID]struct{}{}
	if q := c.queue.Swap(nil); q != nil {
		q.close()
	}
	c.mu.Unlock()
	for s := range gone {
		c.edge.Close(s, godwit.CloseRebalance, lostReason)
	}
}

const lostReason = "engine_lost"
