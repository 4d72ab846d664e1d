package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit/link/identity"
)

var (
	edgeOne   = identity.Identity{Cluster: "prod", Role: identity.Edge, Name: "edge-1"}
	theEngine = identity.Identity{Cluster: "prod", Role: identity.Engine, Name: "engine"}
)

func newAuthority(t testing.TB) *identity.Authority {
	t.Helper()
	a, err := identity.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// papers are what one process shows and believes; both may be replaced.
type papers struct {
	cert  atomic.Pointer[tls.Certificate]
	roots atomic.Pointer[x509.CertPool]
}

// hold takes a certificate of who by one authority, and believes others.
func (p *papers) hold(t testing.TB, by *identity.Authority, who identity.Identity, life time.Duration, believes ...*identity.Authority) *papers {
	t.Helper()
	now := time.Now()
	made, err := by.IssueFor(who, now.Add(-2*time.Hour), now.Add(life))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(made.Cert, made.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	for _, a := range believes {
		roots.AppendCertsFromPEM(a.Cert)
	}
	p.cert.Store(&pair)
	p.roots.Store(roots)
	return p
}

func (p *papers) tls() *TLS {
	return &TLS{Cluster: "prod", Certificate: p.cert.Load, Roots: p.roots.Load}
}

// logOf writes a logger's lines into a log.
type logOf struct {
	*log
	slog.Handler
}

func (l logOf) Enabled(context.Context, slog.Level) bool { return true }
func (l logOf) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l logOf) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	l.add("%s", text)
	return nil
}

func (l *log) logger() *slog.Logger { return slog.New(logOf{l, slog.DiscardHandler}) }

func (l *log) waitText(t testing.TB, text string) {
	t.Helper()
	l.wait(t, func(lines []string) bool {
		for _, line := range lines {
			if strings.Contains(line, text) {
				return true
			}
		}
		return false
	})
}

func TestProcessesWithCertificatesAttach(t *testing.T) {
	ca := newAuthority(t)
	engine := new(papers).hold(t, ca, theEngine, time.Hour, ca)
	edge := new(papers).hold(t, ca, edgeOne, time.Hour, ca)
	w := newWorld(t, func(c *HubConfig) { c.TLS, c.Tickets = engine.tls(), &fakeTickets{} })
	p := w.attach("edge-1", func(_ *process, c *ClientConfig) { c.TLS = edge.tls() })
	w.connect(p, 1, "alice")
	if _, err := p.Redeem("T"); err != nil {
		t.Error(err)
	}
	if s := w.hub.Edges()[0]; s.TLSName != "godwit://prod/edge/edge-1" || s.Address != "bufconn" || s.Version != spoken.max {
		t.Errorf("%+v", s)
	}
}

// TestWhoeverCannotShowWhoHeIsIsRefused: one line on both sides says why, it is
// counted on both, and the edge process tries again only after a while.
func TestWhoeverCannotShowWhoHeIsIsRefused(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	const good, ended = time.Hour, -time.Hour
	engine := func() *papers { return new(papers).hold(t, ca, theEngine, good, ca) }
	edge := func() *papers { return new(papers).hold(t, ca, edgeOne, good, ca) }
	as := func(who identity.Identity, change func(*identity.Identity)) identity.Identity {
		change(&who)
		return who
	}
	f := func(name string, engine, edge *papers, onEngine, onEdge string) {
		t.Run(name, func(t *testing.T) {
			said, heard := newLog(), newLog()
			w := newWorld(t, func(c *HubConfig) {
				c.Logger = said.logger()
				if engine != nil {
					c.TLS = engine.tls()
				}
			})
			cfg := w.config("edge-1")
			cfg.Logger = heard.logger()
			if edge != nil {
				cfg.TLS = edge.tls()
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() {
				client, err := Attach(ctx, cfg)
				if err == nil {
					client.Close()
				}
				ended <- err
			}()
			heard.waitText(t, onEdge)
			if onEngine != "" {
				said.waitText(t, onEngine)
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v", err)
			}
			if n := w.hub.Totals(); n.Attached != 0 || onEngine != "" && n.Untrusted == 0 {
				t.Errorf("%+v", n)
			}
			if edge != nil {
				_, rest, _ := strings.Cut(heard.lines[0], "pause=") // no other attempt fails before, for lack of time
				text, _, _ := strings.Cut(rest, " ")
				if pause, err := time.ParseDuration(text); err != nil || pause < pauseUntrusted/2 {
					t.Errorf("it tries again at once: %q", heard.lines)
				}
			}
		})
	}
	f("edge, ended", engine(), new(papers).hold(t, ca, edgeOne, ended, ca), "certificate has expired", "does not accept this process's certificate: remote error: tls: expired certificate")
	f("edge, other authority", engine(), new(papers).hold(t, other, edgeOne, good, ca), "unknown authority", "tls: unknown certificate authority")
	f("edge, other cluster", engine(), new(papers).hold(t, ca, as(edgeOne, func(i *identity.Identity) { i.Cluster = "staging" }), good, ca),
		`of cluster "staging", and this is cluster "prod"`, `of cluster "staging", and this is cluster "prod"`)
	f("edge, other role", engine(), new(papers).hold(t, ca, as(edgeOne, func(i *identity.Identity) { i.Role = identity.Engine }), good, ca), "of an engine process, where an edge process belongs", "of an engine process")
	f("edge, other name", engine(), new(papers).hold(t, ca, as(edgeOne, func(i *identity.Identity) { i.Name = "edge-2" }), good, ca), `of "edge-2", and the process says that it is "edge-1"`, `of "edge-2"`)
	f("edge, no TLS", engine(), nil, "the edge process does not speak TLS", "if the engine process has link.cert, this one needs it, too")
	f("engine, ended", new(papers).hold(t, ca, theEngine, ended, ca), edge(), "does not accept this process's certificate", "certificate has expired")
	f("engine, other authority", new(papers).hold(t, other, theEngine, good, ca), edge(), "does not accept this process's certificate", "unknown authority")
	f("engine, other cluster", new(papers).hold(t, ca, as(theEngine, func(i *identity.Identity) { i.Cluster = "staging" }), good, ca), edge(), "does not accept this process's certificate", `of cluster "staging"`)
	f("engine, other role", new(papers).hold(t, ca, as(theEngine, func(i *identity.Identity) { i.Role = identity.Edge }), good, ca), edge(), "does not accept this process's certificate", "of an edge process, where an engine process belongs")
	f("engine, no TLS", nil, edge(), "", "the engine process does not speak TLS")
}

// TestAnEngineOfAnotherNameThanItsCertificatesIsLeft: it is known once it has said
// its name, and so after it took the edge process.
func TestAnEngineOfAnotherNameThanItsCertificatesIsLeft(t *testing.T) {
	ca, heard := newAuthority(t), newLog()
	engine := new(papers).hold(t, ca, identity.Identity{Cluster: "prod", Role: identity.Engine, Name: "engine-2"}, time.Hour, ca)
	w := newWorld(t, func(c *HubConfig) { c.TLS = engine.tls() })
	cfg := w.config("edge-1")
	cfg.TLS, cfg.Logger = new(papers).hold(t, ca, edgeOne, time.Hour, ca).tls(), heard.logger()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := Attach(ctx, cfg)
		ended <- err
	}()
	heard.waitText(t, `of "engine-2", and the process says that it is "engine"`)
	cancel()
	<-ended
}

// TestHandshakesOfEarlierTLSAndWithoutACertificateFail, from a client that is none
// of ours.
func TestHandshakesOfEarlierTLSAndWithoutACertificateFail(t *testing.T) {
	ca, said := newAuthority(t), newLog()
	w := newWorld(t, func(c *HubConfig) {
		c.TLS, c.Logger = new(papers).hold(t, ca, theEngine, time.Hour, ca).tls(), said.logger()
	})
	f := func(want string, config *tls.Config) {
		t.Helper()
		raw, err := w.listener.Load().DialContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		config.InsecureSkipVerify = true
		conn := tls.Client(raw, config)
		if err = conn.Handshake(); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	cert := *new(papers).hold(t, ca, edgeOne, time.Hour, ca).cert.Load()
	f("protocol version not supported", &tls.Config{MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}})
	f("certificate required", &tls.Config{})
	w.awaitUntrusted(2)
}

func (w *world) awaitUntrusted(n uint64) {
	w.t.Helper()
	for late := time.Now().Add(waitMax); w.hub.Totals().Untrusted < n; runtime.Gosched() {
		if time.Now().After(late) {
			w.t.Fatalf("%+v", w.hub.Totals())
		}
	}
}

// TestRenewedCertificatesAreForNewAttachments: the stream that stands goes on, and
// an edge process that was refused comes in once it has a certificate that is good.
func TestRenewedCertificatesAreForNewAttachments(t *testing.T) {
	first, second := newAuthority(t), newAuthority(t)
	engine, one := new(papers).hold(t, first, theEngine, time.Hour, first), new(papers).hold(t, first, edgeOne, time.Hour, first)
	w := newWorld(t, func(c *HubConfig) { c.TLS = engine.tls() })
	p := w.attach("edge-1", func(_ *process, c *ClientConfig) { c.TLS = one.tls() })
	engine.hold(t, second, theEngine, time.Hour, second) // believes the old one no more
	w.connect(p, 1, "alice")

	heard := newLog()
	two := edgeOne
	two.Name = "edge-2"
	late := new(papers).hold(t, first, two, time.Hour, first, second)
	attached := make(chan *process)
	go func() {
		attached <- w.attach("edge-2", func(_ *process, c *ClientConfig) {
			c.TLS, c.Logger, c.pauseUntrusted = late.tls(), heard.logger(), 10*time.Millisecond
		})
	}()
	heard.waitText(t, "unknown certificate authority")
	late.hold(t, second, two, time.Hour, second)
	select {
	case q := <-attached:
		w.connect(q, 1, "bob")
		if q.Stats().Untrusted == 0 {
			t.Error("nothing counted")
		}
	case <-time.After(waitMax):
		t.Fatal("the renewed certificate is not used")
	}
	w.connect(p, 2, "alice")
}

func TestOnlyThisMachineGoesWithoutTLS(t *testing.T) {
	f := func(peer net.Addr, tls *TLS, want, good bool) {
		t.Helper()
		if got, err := plain(tls, peer); (err == nil) != good || err == nil && got != want {
			t.Errorf("%s: plain %v, %v", peer, got, err)
		}
	}
	some := new(TLS)
	tcp := func(text string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }
	f(&net.UnixAddr{Net: "unix", Name: "/s"}, nil, true, true)
	f(&net.UnixAddr{Net: "unix", Name: "/s"}, some, true, true)
	f(tcp("127.0.0.1:7"), nil, true, true)
	f(tcp("[::1]:7"), nil, true, true)
	f(tcp("127.0.0.1:7"), some, false, true)
	f(tcp("10.0.0.1:7"), some, false, true)
	f(tcp("10.0.0.1:7"), nil, false, false)
	f(tcp("[::ffff:10.0.0.1]:7"), nil, false, false)
}

func TestRefusalsDoNotFillTheLog(t *testing.T) {
	now, said := int64(10_000), newLog()
	h, err := NewHub(HubConfig{Chat: &fakeChat{log: newLog()}, Router: &fakeChat{log: newLog()}, Clock: func() int64 { return now }, Logger: said.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Stop()
	addr := &net.UnixAddr{Net: "unix"}
	for range 1000 {
		h.handshakeFailed(addr, errPlain)
	}
	now += sayEveryMS
	h.handshakeFailed(addr, errPlain)
	if len(said.lines) != 2 || !strings.HasSuffix(said.lines[1], " unsaid=999") || h.Totals().Untrusted != 1001 {
		t.Errorf("%q, %+v", said.lines, h.Totals())
	}
}

// TestHandshakesUnderWayAreBounded: who says nothing does not keep more than that.
func TestHandshakesUnderWayAreBounded(t *testing.T) {
	ca, said := newAuthority(t), newLog()
	w := newWorld(t, func(c *HubConfig) {
		c.TLS, c.Logger = new(papers).hold(t, ca, theEngine, time.Hour, ca).tls(), said.logger()
	})
	edge := new(papers).hold(t, ca, edgeOne, time.Hour, ca)
	var silent []net.Conn
	for range handshakesMax + 10 {
		conn, err := w.listener.Load().DialContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
	}
	said.waitText(t, errBusy.Error())
	for _, conn := range silent {
		_ = conn.Close()
	}
	p := w.attach("edge-1", func(_ *process, c *ClientConfig) { c.TLS = edge.tls() })
	w.connect(p, 1, "alice")
}
