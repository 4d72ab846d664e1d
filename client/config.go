package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/godwit-im/godwit"
)

// Config says whom to connect to, as whom, and from where in the log.
type Config struct {
	// URL is ws://HOST:PORT/v1/ws or wss://…, whatever the transport: long-polling
	// goes to poll and rpc beside ws, by http or https.
	URL string
	// Transport is Auto, WebSocket or LongPoll. Default Auto.
	Transport Transport
	// Token proves the user; a refused one stops the client. Exactly one of Token
	// and TokenSource.
	Token string
	// TokenSource is called before each connection, one call at a time, and may
	// block; its error counts as a failed attempt. It must heed ctx.
	TokenSource func(ctx context.Context) (string, error)
	// Device names this installation among the user's devices, see godwit.ValidID.
	// Two clients with one name replace each other. Default: a random name.
	Device string
	// RouteKey stands in the address as rk: a proxy before several edges picks one by
	// it, so that a user's connections meet on one. Proxies log it: never a secret.
	// Default: 16 bits of a hash of the token's subject. An rk that URL has stays.
	RouteKey string
	// Assign has the client ask the server at URL which edges this user should use, and
	// connect to those: the next one where one fails, and URL where all do or it can't
	// be asked. Set it where clients reach each edge by an address of its own.
	Assign bool
	// Encoding of the frames. Default Proto.
	Encoding Encoding

	// Resume continues after a Position of an earlier client.
	Resume *Position
	// Since starts after a sequence whose epoch is not known, 0 for the whole log,
	// by reading pages while live entries wait. At most one of Resume and Since.
	// With neither the client starts at the head: only what is new arrives.
	Since *godwit.Seq
	// Channels are the places of an earlier client in its channels, see
	// Client.Channels. Only with Resume.
	Channels []ChannelPlace
	// CatchUp says what to do when the server finds a resume too far behind.
	CatchUp CatchUp

	// BackoffFirst and BackoffMax bound the wait before reconnect n, a random
	// time below min(BackoffMax, BackoffFirst·2ⁿ). Defaults 500 ms and 20 s.
	BackoffFirst, BackoffMax time.Duration
	// StableAfter of a connection's life the backoff starts anew. Default 5 s.
	StableAfter time.Duration
	// OpenTimeout bounds dial, handshakes and the wait for the connect reply. Default 10 s.
	OpenTimeout time.Duration
	// FallbackAfter is how long Auto waits for a WebSocket before it polls beside
	// it, and ProbeEvery about how often it tries a WebSocket while it polls (a
	// random time between half and one and a half of that). Defaults 2.5 s and 60 s.
	FallbackAfter, ProbeEvery time.Duration
	// PollWait is how long the server may hold a poll, in whole seconds; its limit
	// bounds it too. Shorten it where something between cuts silent requests.
	// Default 25 s.
	PollWait time.Duration
	// SendsInFlight bounds sends that wait for their answer; the server's limit
	// bounds them too. A send that is refused for a while is sent again before any
	// that had not left for the server yet; those that had may overtake it. 1 keeps
	// the order even then; more is faster. Default 64.
	SendsInFlight int
	// QueueMax bounds the requests that wait in the client; Submit blocks at it.
	// Default 1024.
	QueueMax int

	// Dial opens the TCP connection, for proxies. Default net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is used for wss. Default: the system's roots.
	TLS *tls.Config
	// OnState is called in order from the client's own goroutine: it must return
	// soon and may call no method of the client but State, Position and Head.
	OnState func(State)
	// NoDelivered keeps the client from marking what the application receives as
	// delivered, which it does at most once a second and conversation.
	NoDelivered bool
	// OnTyping and OnPresence get what is never stored: who writes, and who of those
	// watched came or went. Rules as for OnState.
	OnTyping   func(godwit.TypingNotice)
	OnPresence func(godwit.PresenceItem)
	// OnReceipt gets where the marks of another member of a small group stand now, in
	// the group's sequences. It is never stored: who was away asks Members. One
	// that was overtaken may come after a newer one; marks never go back. Rules as for
	// OnState.
	OnReceipt func(godwit.Receipt)
	// Logger gets connection events at Debug, never bodies or tokens. Default: none.
	Logger *slog.Logger

	clock  clock               // tests
	random func(n int64) int64 // tests: uniform in [0, n)
}

// Encoding chooses how frames look on the wire.
type Encoding uint8

// The encodings: Protobuf is smaller, JSON can be read in a network trace.
const (
	Proto Encoding = iota
	JSON
)

func (e Encoding) wire() godwit.Encoding {
	if e == JSON {
		return godwit.EncodingJSON
	}
	return godwit.EncodingProto
}

// CatchUp says what to do when a resume lies too far behind the head.
type CatchUp uint8

// Snapshot moves to the head after a Discontinuity: the application takes
// Conversations and pages History as it needs. Replay reads every missed entry
// in pages instead; it is what Since implies.
const (
	Snapshot CatchUp = iota
	Replay
)

// Position is a place in the user's log that a later session can resume from:
// everything up to Seq of the log's incarnation Epoch was received.
type Position struct {
	Epoch string
	Seq   godwit.Seq
}

// ErrConfig is wrapped by every error of a Config that cannot work.
var ErrConfig = errors.New("client: invalid configuration")

func (cfg *Config) validate() error {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil:
		return fmt.Errorf("%w: url: %w", ErrConfig, err)
	case u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "":
		return fmt.Errorf("%w: url %q is not ws://HOST/… or wss://HOST/…", ErrConfig, cfg.URL)
	case (cfg.Token == "") == (cfg.TokenSource == nil):
		return fmt.Errorf("%w: give exactly one of Token and TokenSource", ErrConfig)
	case cfg.Device != "" && !godwit.ValidID(cfg.Device):
		return fmt.Errorf("%w: device: %w", ErrConfig, godwit.ErrBadID)
	case cfg.RouteKey != "" && !godwit.ValidID(cfg.RouteKey):
		return fmt.Errorf("%w: route key: %w", ErrConfig, godwit.ErrBadID)
	case cfg.Transport != "" && cfg.Transport != Auto && cfg.Transport != WebSocket && cfg.Transport != LongPoll:
		return fmt.Errorf("%w: transport %q is not auto, websocket or longpoll", ErrConfig, cfg.Transport)
	case cfg.Encoding > JSON || cfg.CatchUp > Replay:
		return fmt.Errorf("%w: unknown Encoding or CatchUp", ErrConfig)
	case cfg.Resume != nil && cfg.Since != nil:
		return fmt.Errorf("%w: give at most one of Resume and Since", ErrConfig)
	case cfg.Resume != nil && (cfg.Resume.Epoch == "" || cfg.Resume.Seq > godwit.SeqMax):
		return fmt.Errorf("%w: Resume needs an epoch and a sequence below 2^53", ErrConfig)
	case len(cfg.Channels) > 0 && cfg.Resume == nil:
		return fmt.Errorf("%w: Channels need a Resume", ErrConfig)
	case cfg.Since != nil && *cfg.Since > godwit.SeqMax:
		return fmt.Errorf("%w: Since must be below 2^53", ErrConfig)
	case min(cfg.BackoffFirst, cfg.BackoffMax, cfg.StableAfter, cfg.OpenTimeout, cfg.FallbackAfter, cfg.ProbeEvery, cfg.PollWait) < 0 || min(cfg.SendsInFlight, cfg.QueueMax) < 0:
		return fmt.Errorf("%w: durations and bounds must not be negative", ErrConfig)
	}
	return nil
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// setDefaults fills what is unset; cfg is the client's own copy.
func (cfg *Config) setDefaults() {
	if cfg.Device == "" {
		cfg.Device = "go-" + rand.Text()[:12]
	}
	orDefault(&cfg.BackoffFirst, 500*time.Millisecond)
	orDefault(&cfg.BackoffMax, 20*time.Second)
	orDefault(&cfg.StableAfter, 5*time.Second)
	orDefault(&cfg.OpenTimeout, 10*time.Second)
	orDefault(&cfg.Transport, Auto)
	orDefault(&cfg.FallbackAfter, 2500*time.Millisecond)
	orDefault(&cfg.ProbeEvery, time.Minute)
	orDefault(&cfg.PollWait, 25*time.Second)
	orDefault(&cfg.SendsInFlight, 64)
	orDefault(&cfg.QueueMax, 1024)
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.clock == nil {
		cfg.clock = wallClock{}
	}
	if cfg.random == nil {
		cfg.random = randomBelow
	}
}
