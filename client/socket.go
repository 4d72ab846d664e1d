package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/lxzan/gws"
)

const writeTimeout = 10 * time.Second // of one message

// socket is one WebSocket connection: a goroutine that reads and parses, and one
// that writes. The loop owns it and hears of it by events.
type socket struct {
	gws.BuiltinEventHandler
	conn     *gws.Conn
	encoding godwit.Encoding
	events   chan<- event
	gone     chan struct{} // closed by discard: nobody listens any more
	goneOnce sync.Once
	wake     chan struct{} // capacity 1: there is something to write, or to close

	mu       sync.Mutex
	messages int      // bytes of one message of ours at most
	outbound [][]byte // messages in order; frames are joined up to the server's limit
	bytes    int      // in outbound
	proving  bool     // write a WebSocket ping
	farewell bool     // write a close frame after the rest
}

// attemptError is why a connection could not be opened, or a poller was refused.
type attemptError struct {
	remedy remedy
	reason closeReason
	status int // of HTTP; 0: none came
	err    error
}

func (e *attemptError) Error() string { return e.err.Error() }
func (e *attemptError) Unwrap() error { return e.err }

// openSocket dials and upgrades. Its error is always an *attemptError.
func openSocket(ctx context.Context, cfg *Config, address string, events chan<- event) (*socket, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, &attemptError{remedy: backOff, err: fmt.Errorf("parse url: %w", err)}
	}
	conn, err := dialServer(ctx, cfg, u)
	if err != nil {
		return nil, &attemptError{remedy: backOff, err: err}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	s := &socket{
		encoding: cfg.Encoding.wire(), events: events, messages: frameBytesMin,
		gone: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	ws, response, err := gws.NewClientFromConn(s, &gws.ClientOption{
		Addr:               address,
		HandshakeTimeout:   cfg.OpenTimeout,
		ReadMaxPayloadSize: inboundBytesMax,
		CheckUtf8Enabled:   true,
		RequestHeader:      http.Header{"Sec-Websocket-Protocol": {s.encoding.Subprotocol()}},
	}, conn)
	if !stop() && err == nil {
		err = context.Cause(ctx)
		_ = conn.Close()
	}
	if err != nil {
		refused := &attemptError{remedy: backOff, err: fmt.Errorf("upgrade: %w", err)}
		if response != nil {
			refused.status = response.StatusCode
			refused.remedy, refused.reason = remedyOfStatus(response.StatusCode), retryAfterSeconds(response.Header)
		}
		return nil, refused
	}
	s.conn = ws
	return s, nil
}

func dialServer(ctx context.Context, cfg *Config, u *url.URL) (net.Conn, error) {
	port := u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	}
	conn, err := cfg.Dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil || u.Scheme == "ws" {
		return conn, err
	}
	config := cfg.TLS.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	if config.ServerName == "" {
		config.ServerName = u.Hostname()
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("tls: %w", err)
	}
	return secure, nil
}

func (s *socket) start(ended *sync.WaitGroup) {
	ended.Go(s.conn.ReadLoop)
	ended.Go(s.writeLoop)
}

func (s *socket) discard() {
	s.goneOnce.Do(func() { close(s.gone) })
	_ = s.conn.NetConn().Close()
}

// write joins frames into one message as far as the server's limit allows.
func (s *socket) write(f *godwit.ClientFrame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes > outboundBytesMax {
		return errNotReading
	}
	joined := false
	if last := len(s.outbound) - 1; last >= 0 {
		before := len(s.outbound[last])
		message := f.AppendFrameTo(s.outbound[last], s.encoding)
		if joined = len(message) <= s.messages; joined {
			s.outbound[last] = message
			s.bytes += len(message) - before
		}
	}
	if !joined {
		message := f.AppendFrameTo(nil, s.encoding)
		if len(message) > s.messages && f.Kind != godwit.KindConnect {
			return godwit.ErrTooLarge
		}
		s.outbound = append(s.outbound, message)
		s.bytes += len(message)
	}
	s.nudge()
	return nil
}

// prove asks for a round trip of this WebSocket alone; event.pong is the answer.
func (s *socket) prove() {
	s.mu.Lock()
	s.proving = true
	s.mu.Unlock()
	s.nudge()
}

// OnPong is the answer to prove.
func (s *socket) OnPong(*gws.Conn, []byte) { s.tell(event{from: s, pong: true}) }

// finish lets the writer send what is queued and then a close frame.
func (s *socket) finish() {
	s.mu.Lock()
	s.farewell = true
	s.mu.Unlock()
	s.nudge()
}

func (s *socket) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *socket) writeLoop() {
	opcode := gws.OpcodeBinary
	if s.encoding.Text() {
		opcode = gws.OpcodeText
	}
	for {
		select {
		case <-s.wake:
		case <-s.gone:
			return
		}
		s.mu.Lock()
		messages, proving, farewell := s.outbound, s.proving, s.farewell
		s.outbound, s.bytes, s.proving = nil, 0, false
		s.mu.Unlock()
		if proving {
			_ = s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if s.conn.WritePing(nil) != nil {
				return
			}
		}
		for _, message := range messages {
			// A failed write ends the connection, and the reader tells the loop.
			_ = s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if s.conn.WriteMessage(opcode, message) != nil {
				return
			}
		}
		_ = s.conn.SetWriteDeadline(time.Time{})
		if farewell {
			_ = s.conn.SetWriteDeadline(time.Now().Add(farewellTimeout))
			_ = s.conn.WriteClose(1000, nil)
			return
		}
	}
}

// farewellTimeout bounds the last write of a connection that is being left.
const farewellTimeout = time.Second

// OnMessage parses a message and hands its frames to the loop. Reading goes on
// when the loop has taken them: the kernel's buffers hold the server back.
func (s *socket) OnMessage(_ *gws.Conn, message *gws.Message) {
	defer message.Close()
	frames, err := parseMessage(s.encoding, message.Bytes())
	if err != nil {
		s.fail(err)
		return
	}
	for i := range frames {
		if frames[i].Kind == godwit.KindConnect {
			s.mu.Lock()
			s.messages = max(int(frames[i].Connect.Limits.Frame), frameBytesMin)
			s.mu.Unlock()
		}
	}
	if len(frames) > 0 {
		s.tell(event{from: s, frames: frames})
	}
}

// fail ends the connection for a reason of ours: the server breaks the protocol.
func (s *socket) fail(err error) {
	s.tell(event{from: s, err: err})
	_ = s.conn.WriteClose(1002, nil)
}

// OnClose is the reader's end.
func (s *socket) OnClose(_ *gws.Conn, err error) { s.tell(event{from: s, err: err}) }

func (s *socket) tell(e event) {
	select {
	case s.events <- e:
	case <-s.gone:
	}
}
