package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/godwit-im/godwit"
)

// Config is everything an Edge needs. Zero fields take their defaults.
type Config struct {
	// Listen is host:port; port 0 takes a free one, see Edge.Addr.
	Listen string
	// TLS makes the edge terminate TLS on TLSListen, host:port, beside Listen. It
	// must give certificates; versions below 1.2 and protocols other than
	// HTTP/1.1 are never agreed on.
	TLS       *tls.Config
	TLSListen string
	// TrustedProxies lists the addresses whose connections must begin with a
	// PROXY protocol header of version 2, and count as the client it names.
	TrustedProxies []netip.Prefix
	// ReusePort lets other processes of the same user listen on the same address
	// (SO_REUSEPORT): several edges of one host, or the next version before this
	// one drains. Without it a port in use is an error.
	ReusePort bool
	// Loops is the number of event loops, 1 to 64; each occupies a P while it
	// waits, so keep it below GOMAXPROCS. Default max(1, GOMAXPROCS-1).
	Loops int
	// Node names this process in the connect reply. Default "edge".
	Node string
	// Limits are told to every client and enforced. A zero field takes its
	// default: frame 65536, body 16384, in-flight 64, page 100, presence 100,
	// window 512, sessions 32 (held by the router), rpc 50, wait 60. SendPerS and FramesPerS 0 mean
	// not limited. Queue is OutboundBytesMax.
	Limits godwit.Limits
	// WindowBytesMax bounds event frames written and not acked. Default 1 MiB.
	WindowBytesMax int
	// FetchBytesMax bounds the bodies of one fetch during replay. Default 256 KiB.
	FetchBytesMax int
	// PingEvery is the mean time between server pings, spread by 20 %. A client
	// silent for 1.5 of it is closed. Default 25 s.
	PingEvery time.Duration
	// CompareEvery bounds the time between two looks at the log's head on a live
	// session, the safety net under lost hints. Default 15 s.
	CompareEvery time.Duration
	// HeadTimeout bounds a request head, TokenTimeout the first frame after the
	// upgrade, AnswerTimeout the chat tier's answer to it, CloseTimeout the
	// client's answer to a close. Default 5 s each, AnswerTimeout 10 s.
	HeadTimeout, TokenTimeout, AnswerTimeout, CloseTimeout time.Duration
	// IdleTimeout ends an HTTP connection that asks nothing more. Default 60 s.
	IdleTimeout time.Duration
	// OutboundBytesMax is what may wait for a client that reads slowly before it
	// is closed with 4202. Default 2 MiB.
	OutboundBytesMax int
	// ConnectionsMax refuses connections above it (503). Default and upper bound:
	// what RLIMIT_NOFILE leaves after FilesReserved, at most 4 million a loop.
	ConnectionsMax int
	// FilesReserved is kept free below RLIMIT_NOFILE for everything else this
	// process opens: at EMFILE gnet would stop. Default and minimum 512.
	FilesReserved int
	// Origins lists origins of browsers that may connect beside the page's own
	// host, such as "https://chat.example". "*" allows all.
	Origins []string
	// LoopbackHostOnly refuses requests whose Host is not a loopback name: for
	// development, against DNS rebinding.
	LoopbackHostOnly bool
	// Static serves GET and HEAD of a path that is not of the protocol. body is
	// not modified and must not change. Nil: nothing is served.
	Static func(path string) (contentType string, body []byte, ok bool)
	// PagePolicy is the Content-Security-Policy of what Static serves; empty: none.
	PagePolicy string
	// EchoPath serves a WebSocket echo without access control, for conformance
	// suites and benchmarks. Empty: none.
	EchoPath string
	// Deflate compresses messages (permessage-deflate, RFC 7692) with clients
	// that offer it. Default: off.
	Deflate DeflateConfig
	// Stamp gives a session its place among those of its device when it asks to be
	// opened: larger than any before it, also at other edges, and than echo, the
	// stamp that its client was told last (0: none). It is called on event loops and
	// must not wait. Nil: no session has one, and the later to arrive is the newer.
	Stamp func(echo uint64) uint64
	// Hold keeps what it takes to hold sessions while the chat tier is away, see
	// Edge.Hold. AnnouncePerS is how many of them are opened again each second.
	// Default 5000.
	Hold         bool
	AnnouncePerS int
	// Chat and Verifier are required.
	Chat     Chat
	Verifier Verifier
	// Sessions hears of sessions that begin and end; nil: nobody does.
	Sessions Sessions
	// Tickets serves POST /v1/ticket; nil: it is not offered.
	Tickets Tickets
	// Assigner serves GET /v1/edges. Without one, or when it knows none, the answer
	// names this server: by Advertise, a ws:// or wss:// URL, or as it was asked.
	Assigner  Assigner
	Advertise string
	// VerifyQueueMax bounds tokens waiting to be verified; above it a session is
	// told to come back later (4200, 503). Default 4096.
	VerifyQueueMax int
	// PerSourceMax bounds the sockets of one address (IPv6: of one /64) that have
	// not shown a good token; more are refused (429). Default 1024.
	PerSourceMax int
	// HandshakesMax bounds the sessions whose token is being verified or that the
	// chat tier is opening; more are told to come back (503, 4200). Default 1024.
	HandshakesMax int
	// MemoryMax is the budget of the process in bytes. From 7/8 of it on newcomers
	// are told to come back; above it the slowest readers are closed (4202). 0: none.
	MemoryMax int64
	// Clock gives ms since the Unix epoch for token ends and the connect reply.
	// Default time.Now.
	Clock func() int64
	// Logger defaults to discarding.
	Logger *slog.Logger

	// tests: monotonic ms for every timer, and how often it is looked at.
	monotonic func() int64
	tickEvery time.Duration
	// tests: what memory is in use, and how often it is looked at.
	readMemory func() int64
	lookEvery  time.Duration
	shakesMax  int // tests: TLS handshakes under way in one loop
}

// DeflateConfig says what is compressed. Nothing is remembered between messages,
// so an idle connection costs no more; a message costs CPU on both sides.
type DeflateConfig struct {
	Enabled bool
	// MinBytes: smaller messages are sent as they are. Default 128.
	MinBytes int
	// Level is 1 (fast) to 9 (small). Default 1.
	Level int
}

const (
	tickMS          = 250 // unit of every timer
	filesReserved   = 512
	fragmentsMax    = 1024
	verifyWorkers   = 2
	loopsMax        = 1 << loopBits
	tokenBytesMax   = 8192
	waitingExtra    = 16 << 10 // bytes a client may send ahead of the connect reply, beside one frame
	controlsPerTick = 250      // WebSocket control frames in one tick before a client is closed
)

func defaulted[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate fills in defaults and refuses what cannot work.
func (c *Config) validate() error {
	defaulted(&c.Loops, max(1, runtime.GOMAXPROCS(0)-1))
	defaulted(&c.Node, "edge")
	defaulted(&c.Limits.Frame, 65536)
	defaulted(&c.Limits.Body, 16384)
	defaulted(&c.Limits.InFlight, 64)
	defaulted(&c.Limits.Page, 100)
	defaulted(&c.Limits.Presence, 100)
	defaulted(&c.Limits.Window, 512)
	defaulted(&c.Limits.Sessions, 32)
	defaulted(&c.Limits.RPC, 50)
	defaulted(&c.Limits.Wait, 60)
	defaulted(&c.WindowBytesMax, 1<<20)
	defaulted(&c.FetchBytesMax, 256<<10)
	defaulted(&c.PingEvery, 25*time.Second)
	defaulted(&c.CompareEvery, 15*time.Second)
	defaulted(&c.HeadTimeout, 5*time.Second)
	defaulted(&c.TokenTimeout, 5*time.Second)
	defaulted(&c.AnswerTimeout, 10*time.Second)
	defaulted(&c.CloseTimeout, 5*time.Second)
	defaulted(&c.IdleTimeout, time.Minute)
	defaulted(&c.OutboundBytesMax, 2<<20)
	c.Limits.Queue = uint32(min(c.OutboundBytesMax, 1<<32-1))
	defaulted(&c.FilesReserved, filesReserved)
	defaulted(&c.VerifyQueueMax, 4096)
	defaulted(&c.PerSourceMax, 1024)
	defaulted(&c.HandshakesMax, 1024)
	defaulted(&c.AnnouncePerS, 5000)
	defaulted(&c.Deflate.MinBytes, 128)
	defaulted(&c.Deflate.Level, 1)
	defaulted(&c.tickEvery, tickMS*time.Millisecond)
	defaulted(&c.lookEvery, memoryEvery)
	defaulted(&c.shakesMax, shakesMax)
	if c.Clock == nil {
		c.Clock = func() int64 { return time.Now().UnixMilli() }
	}
	if c.Sessions == nil {
		c.Sessions = noSessions{}
	}
	if c.Stamp == nil {
		c.Stamp = func(uint64) uint64 { return 0 }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.monotonic == nil {
		start := time.Now()
		c.monotonic = func() int64 { return time.Since(start).Milliseconds() }
	}
	if c.readMemory == nil {
		c.readMemory = usedMemory()
	}
	return c.check()
}

func (c *Config) check() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("edge: listen address %q must be host:port: %w", c.Listen, err)
	}
	if c.TLS != nil {
		if _, _, err := net.SplitHostPort(c.TLSListen); err != nil {
			return fmt.Errorf("edge: TLS listen address %q must be host:port: %w", c.TLSListen, err)
		}
		if c.TLSListen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
			return errors.New("edge: Listen and TLSListen must differ")
		}
	}
	switch {
	case c.Chat == nil || c.Verifier == nil:
		return errors.New("edge: Chat and Verifier are required")
	case c.Loops < 1 || c.Loops > loopsMax:
		return fmt.Errorf("edge: loops must be 1 to %d", loopsMax)
	case c.Limits.Frame < 256 || c.Limits.Frame > 16<<20:
		return errors.New("edge: limits.frame must be 256 bytes to 16 MiB")
	case c.Limits.Body >= c.Limits.Frame:
		return errors.New("edge: limits.body must be below limits.frame")
	case c.Limits.InFlight > 1<<15 || c.Limits.Window > 1<<20 || c.Limits.SendPerS > 1<<20:
		return errors.New("edge: limits.inflight, window or send_per_s is out of range")
	case c.WindowBytesMax < 1 || c.WindowBytesMax > 1<<30 || c.FetchBytesMax < 1 || c.OutboundBytesMax < 1 || c.VerifyQueueMax < 1:
		return errors.New("edge: byte and queue bounds must be positive, and the window at most 1 GiB")
	case c.PerSourceMax < 1 || c.PerSourceMax > 1<<31-1 || c.HandshakesMax < 1:
		return errors.New("edge: bounds of sources and handshakes must be positive")
	case c.AnnouncePerS < 1:
		return errors.New("edge: the pace of announcements must be positive")
	case c.MemoryMax < 0 || c.MemoryMax > 0 && c.MemoryMax < budgetBytesFloor:
		return errors.New("edge: the memory budget must be 0 or at least 32 MiB")
	case c.Limits.FramesPerS > 1<<20:
		return errors.New("edge: limits.frames_per_s is out of range")
	case c.Deflate.MinBytes < 1 || c.Deflate.Level < 1 || c.Deflate.Level > 9:
		return errors.New("edge: deflate.min_bytes must be positive, deflate.level 1 to 9")
	case c.FilesReserved < filesReserved:
		return fmt.Errorf("edge: at least %d files must be reserved", filesReserved)
	case c.ConnectionsMax < 0:
		return errors.New("edge: connections must not be negative")
	case c.PingEvery < time.Second || c.PingEvery > 40*time.Second || c.CompareEvery < time.Second || c.CompareEvery > time.Minute:
		return errors.New("edge: ping must be 1 s to 40 s, head compare 1 s to 1 min")
	}
	for _, d := range []time.Duration{c.HeadTimeout, c.TokenTimeout, c.AnswerTimeout, c.CloseTimeout, c.IdleTimeout} {
		if d < tickMS*time.Millisecond || d > time.Minute {
			return errors.New("edge: timeouts must be 250 ms to 1 min")
		}
	}
	for _, origin := range c.Origins {
		if origin != "*" && !strings.Contains(origin, "://") {
			return fmt.Errorf("edge: origin %q must be scheme://host[:port] or *", origin)
		}
	}
	return nil
}

// ticks rounds a duration up to whole ticks.
func ticks(d time.Duration) uint32 {
	return uint32((d.Milliseconds() + tickMS - 1) / tickMS)
}
