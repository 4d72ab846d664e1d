package link

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/godwit-im/godwit/link/identity"
)

// Times of a client's attempts. The pause between two is spread by half.
const (
	pauseMin       = 50 * time.Millisecond
	pauseMax       = time.Second
	pauseUntrusted = 15 * time.Second // where a certificate is not accepted
	attachTimeout  = 5 * time.Second
	callTimeout    = 2 * time.Second
)

// At resolves to one address, always.
func At(address string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return address, nil }
}

// up is one stream to the engine process.
type up struct {
	stream  grpc.ClientStream
	cancel  context.CancelFunc
	welcome welcome
}

func newInstance() uint64 {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("BUG: no randomness: " + err.Error()) // crypto/rand never fails on Linux
	}
	return binary.BigEndian.Uint64(b[:]) | 1 // 0 is for those that have none
}

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
		case codes.Aborted:
			return nil, errors.Join(ErrSuperseded, err)
		}
		if c.life.Err() != nil {
			return nil, c.life.Err()
		}
		wait := pause/2 + mathrand.N(pause)
		if errors.As(err, new(*untrusted)) || status.Code(err) == codes.PermissionDenied {
			c.untrusted.Add(1)
			wait = c.cfg.pauseUntrusted/2 + mathrand.N(c.cfg.pauseUntrusted)
			c.cfg.Logger.Error("a certificate is not accepted, trying again later", "pause", wait.Round(time.Millisecond).String(), "err", err)
		} else {
			c.cfg.Logger.Info("engine process not reached, trying again", "err", err)
		}
		select {
		case <-time.After(wait):
		case <-c.life.Done():
			return nil, c.life.Err()
		}
	}
}

// attach is one attempt, on a connection of its own: the engine process may have
// moved, and certificates may have been renewed.
func (c *Client) attach() (*up, error) {
	c.hangUp()
	ctx, cancel := context.WithCancel(c.outgoing(c.life))
	late := time.AfterFunc(c.cfg.attachTimeout, cancel)
	u, err := c.shakeHands(ctx)
	if err == nil && !late.Stop() {
		err = context.DeadlineExceeded
	}
	if err != nil {
		late.Stop()
		cancel()
		c.hangUp() // gRPC would go on trying by itself
		return nil, err
	}
	u.cancel = cancel
	return u, nil
}

func (c *Client) shakeHands(ctx context.Context) (*up, error) {
	address, err := c.cfg.Resolve(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the engine process: %w", err)
	}
	var failure atomic.Pointer[error]
	creds := &transport{tls: c.cfg.TLS, failed: func(_ net.Addr, err error) { failure.Store(&err) }}
	conn, err := c.connect(address, creds)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	u, err := c.exchange(ctx, conn, creds)
	switch {
	case err == nil:
	case failure.Load() != nil:
		err = *failure.Load() // says more than what became of the stream
	case c.cfg.TLS == nil && strings.Contains(err.Error(), "server preface"): // what gRPC says of bytes that are none of its own
		err = fmt.Errorf("%w; if the engine process has link.cert, this one needs it, too", err)
	}
	return u, err
}

// exchange sends the hello and takes the welcome.
func (c *Client) exchange(ctx context.Context, conn *grpc.ClientConn, creds *transport) (*up, error) {
	stream, err := conn.NewStream(ctx, attachDesc, attachMethod)
	if err != nil {
		return nil, err
	}
	about := c.cfg.About
	about.Lease = c.cfg.Lease()
	c.lease.Store(about.Lease)
	var answer message
	defer answer.free()
	_ = stream.SendMsg(newMessage(mustJSON(newHello(c.cfg.versions, about)))) // RecvMsg has the reason
	if err := stream.RecvMsg(&answer); err != nil {
		return nil, err
	}
	w, err := parseWelcome(answer.bytes(), c.cfg.versions)
	if err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	if leaf := creds.leaf.Load(); leaf != nil {
		if err := identity.Verify(leaf, identity.Identity{Cluster: c.cfg.TLS.Cluster, Role: identity.Engine, Name: w.Node}); err != nil {
			return nil, &untrusted{fmt.Errorf("the engine process's certificate: %w", err)}
		}
	}
	return &up{stream: stream, welcome: w}, nil
}

// connect makes the connection that attempts and calls use until hangUp.
func (c *Client) connect(address string, creds *transport) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///engine",
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.cfg.Dial(ctx, address) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(messageBytesMax), grpc.MaxCallSendMsgSize(messageBytesMax)),
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithReadBufferSize(socketBytes), grpc.WithWriteBufferSize(socketBytes),
		grpc.WithKeepaliveParams(c.cfg.alive),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: pauseMin, Multiplier: 1.6, Jitter: 0.5, MaxDelay: pauseMax},
			MinConnectTimeout: c.cfg.attachTimeout,
		}),
	)
	if err == nil {
		c.conn.Store(conn)
	}
	return conn, err
}

// hangUp ends the connection there is, and with it all that goes on on it.
func (c *Client) hangUp() {
	if conn := c.conn.Swap(nil); conn != nil {
		_ = conn.Close()
	}
}

// outgoing adds the secret to a call.
func (c *Client) outgoing(ctx context.Context) context.Context {
	if len(c.cfg.Secret) == 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, secretKey, string(c.cfg.Secret))
}
