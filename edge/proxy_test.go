package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/pires/go-proxyproto"
)

// proxyHeader is what a proxy sends for a client at source; empty: LOCAL.
func proxyHeader(t testing.TB, source string, extensions ...proxyproto.TLV) []byte {
	t.Helper()
	h := &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if source != "" {
		from := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(source))
		to := &net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 443}
		if from.IP.To4() == nil {
			to.IP = net.ParseIP("2001:db8::1")
		}
		h = proxyproto.HeaderProxyFromAddrs(2, from, to)
	}
	if err := h.SetTLVs(extensions); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestProxyHeaderNamesTheClient(t *testing.T) {
	unique := proxyproto.TLV{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: bytes.Repeat([]byte("u"), 128)}
	for _, source := range []string{"198.51.100.7:5000", "[2001:db8::7]:5000", ""} {
		for _, tlvs := range [][]proxyproto.TLV{nil, {unique}} {
			b := proxyHeader(t, source, tlvs...)
			for i := range b {
				if _, _, err := parseProxy(b[:i]); !errors.Is(err, errProxyMore) {
					t.Fatalf("the first %d of %d bytes: %v", i, len(b), err)
				}
			}
			got, n, err := parseProxy(append(b[:len(b):len(b)], "GET / HTTP/1.1"...))
			if err != nil || n != len(b) {
				t.Fatalf("%q: %d of %d bytes, %v", source, n, len(b), err)
			}
			if source == "" != !got.IsValid() || source != "" && got.String() != source {
				t.Errorf("%q became %v", source, got)
			}
		}
	}
	mapped := proxyHeader(t, "[2001:db8::7]:5000")
	copy(mapped[16:], append(make([]byte, 10), 0xFF, 0xFF, 198, 51, 100, 7))
	if got, _, err := parseProxy(mapped); err != nil || got.String() != "198.51.100.7:5000" {
		t.Errorf("a mapped address became %v, %v", got, err)
	}
}

func TestProxyHeaderIsCheckedWhole(t *testing.T) {
	good := proxyHeader(t, "198.51.100.7:5000")
	f := func(name string, want error, change func(b []byte) []byte) {
		t.Helper()
		if _, _, err := parseProxy(change(bytes.Clone(good))); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	set := func(at int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = v; return b }
	}
	f("another signature", errProxyMissing, set(11, 'x'))
	f("version 3", errProxyMalformed, set(12, 0x31))
	f("an unknown command", errProxyMalformed, set(12, 0x22))
	f("an unknown family", errProxyMalformed, set(13, 0x41))
	f("UDP", errProxyMalformed, set(13, 0x12))
	f("no family", errProxyMalformed, set(13, 0x00))
	f("a length beyond any proxy's", errProxyMalformed, set(14, 0xFF))
	f("a length below the addresses'", errProxyMalformed, func(b []byte) []byte { b[15] = 4; return b })
	f("a UNIX socket", errProxyMalformed, func(b []byte) []byte {
		b[13], b[15] = 0x31, 216
		return append(b, make([]byte, 216)...)
	})
	f("version 1", errProxyText, func([]byte) []byte { return []byte("PROXY TCP4 198.51.100.7 192.0.2.1 5000 443\r\n") })
	f("no header", errProxyMissing, func([]byte) []byte { return []byte("GET /v1/ws HTTP/1.1\r\n") })
	f("another method", errProxyMissing, func([]byte) []byte { return []byte("PROPFIND / HTTP/1.1\r\n") })
}

// newProxiedEdge trusts what listen on loopback; both ports.
func newProxiedEdge(t testing.TB, chat *fakeChat, change func(*Config)) (*Edge, *tls.Config) {
	return newTLSEdge(t, chat, func(c *Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		if change != nil {
			change(c)
		}
	})
}

func TestTrustedProxyNamesItsClients(t *testing.T) {
	chat := &fakeChat{}
	e, config := newProxiedEdge(t, chat, nil)
	source := func(id godwit.SessionID) string {
		l, seen := e.loops[idLoop(id)], make(chan string, 1)
		_ = l.events.Execute(t.Context(), runnable(func() { seen <- l.source(l.sessions.find(id)).String() }))
		return <-seen
	}
	for _, secure := range []bool{false, true} {
		for _, from := range []string{"198.51.100.7:5000", "[2001:db8::7]:5000", ""} {
			raw := dialRaw(t, e)
			if secure {
				raw = dialPort(t, e)
			}
			header := proxyHeader(t, from)
			_, _ = raw.Write(header[:13]) // it may come in pieces
			_, _ = raw.Write(header[13:])
			var conn net.Conn = raw
			if secure {
				conn = tls.Client(raw, config)
			}
			c := open(t, upgrade(t, conn, godwit.EncodingJSON), "alice")
			want := "127.0.0.1"
			if from != "" {
				want = netip.MustParseAddrPort(from).Addr().String()
			}
			if got := source(onlySession(t, chat)); got != want {
				t.Errorf("TLS %v, from %q: the client is %s", secure, from, got)
			}
			e.Close(onlySession(t, chat), godwit.CloseDrain, "over")
			c.wantClose(godwit.CloseDrain)
			waitFor(t, func() bool { return chat.open() == 0 })
		}
	}
	if s := e.Stats(); s.Forwarded != 4 || s.ProxyRefused != 0 {
		t.Errorf("%d forwarded, %d refused", s.Forwarded, s.ProxyRefused)
	}
}

// runnable runs on a loop's goroutine.
type runnable func()

func (r runnable) Run(context.Context) error { r(); return nil }

// TestHeaderIsRequiredOfTrustedAddresses: a proxy that forwards bytes as they
// are would let its clients write the header.
func TestHeaderIsRequiredOfTrustedAddresses(t *testing.T) {
	var log strings.Builder
	e, config := newProxiedEdge(t, &fakeChat{}, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for _, first := range []string{
		"PROXY TCP4 198.51.100.7 192.0.2.1 5000 8080\r\n" + upgradeHead + "\r\n",
		upgradeHead + "\r\n",
		string(proxySignature) + "\x21\x11\xFF\xFF",
	} {
		conn := dialRaw(t, e)
		_, _ = io.WriteString(conn, first)
		_, _ = io.WriteString(conn, "and it goes on") // which counts nothing twice
		if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
			t.Errorf("%.20q answered %q, %v", first, got, err)
		}
		_ = conn.Close()
	}
	if err := tls.Client(dialPort(t, e), config).Handshake(); err == nil {
		t.Error("a TLS connection without the header was served")
	}
	waitFor(t, func() bool { return e.Stats().Connections == 0 })
	if s := e.Stats(); s.ProxyRefused != 4 {
		t.Errorf("%d refused", s.ProxyRefused)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	if err := e.Stop(ctx); err != nil { // and now the log is not written any more
		t.Fatal(err)
	}
	if got := log.String(); strings.Count(got, "trusted proxy refused") != 1 || !strings.Contains(got, "version 1") {
		t.Errorf("want one warning, about version 1:\n%s", got)
	}
}

// TestForwardedClientsAreCountedEach: the bound of sockets without a token holds
// for the client, not for the proxy.
func TestForwardedClientsAreCountedEach(t *testing.T) {
	e, config := newProxiedEdge(t, &fakeChat{}, func(c *Config) { c.PerSourceMax = 2 })
	for _, step := range []struct {
		from, want string
	}{{"198.51.100.7", "101"}, {"198.51.100.7", "101"}, {"198.51.100.7", "429"}, {"198.51.100.8", "101"}, {"198.51.100.7", "429"}} {
		conn := dialRaw(t, e)
		_, _ = conn.Write(proxyHeader(t, step.from+":5000"))
		_, _ = io.WriteString(conn, upgradeHead+"\r\n")
		answer := make([]byte, len("HTTP/1.1 101 "))
		if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 "+step.want+" " {
			t.Errorf("%s was answered %q, %v, want %s", step.from, answer, err, step.want)
		}
		if step.want == "429" {
			_, _ = io.WriteString(conn, "more")
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	raw := dialPort(t, e)
	_, _ = raw.Write(proxyHeader(t, "198.51.100.7:5000"))
	if err := tls.Client(raw, config).Handshake(); err == nil {
		t.Error("a third socket was served behind TLS")
	}
	if s := e.Stats(); s.ProxyRefused != 0 || s.Refused[429] != 3 {
		t.Errorf("%d refused for their header, %d with 429", s.ProxyRefused, s.Refused[429])
	}
}

func TestHeaderOfStrangersIsMalformed(t *testing.T) {
	e, _ := newTLSEdge(t, &fakeChat{}, func(c *Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	})
	header := string(proxyHeader(t, "10.0.0.1:5000"))
	conn := dialRaw(t, e)
	_, _ = io.WriteString(conn, header+upgradeHead+"\r\n")
	if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
		t.Errorf("answered %q, %v", got, err)
	}
	secure := dialPort(t, e)
	_, _ = io.WriteString(secure, header)
	if got, _ := io.ReadAll(secure); len(got) > 0 {
		t.Errorf("answered %q", got)
	}
	if s := e.Stats(); s.Forwarded != 0 {
		t.Errorf("%d headers were believed", s.Forwarded)
	}
}

// FuzzProxyHeader: whatever comes, the header lies within the window, what
// follows it changes nothing, and with less of it more is asked for.
func FuzzProxyHeader(f *testing.F) {
	for _, source := range []string{"198.51.100.7:5000", "[2001:db8::7]:5000", ""} {
		f.Add(proxyHeader(f, source))
		f.Add(proxyHeader(f, source, proxyproto.TLV{Type: proxyproto.PP2_TYPE_ALPN, Value: []byte("h2")}))
	}
	f.Add([]byte("PROXY TCP4 198.51.100.7 192.0.2.1 5000 443\r\n"))
	f.Add(append(proxySignature[:12:12], 0x20, 0x00, 0x00, 0x05, 1, 2, 3, 4, 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		source, n, err := parseProxy(b)
		switch {
		case errors.Is(err, errProxyMore):
			if len(b) >= proxyBytesMax {
				t.Fatalf("%d bytes are not enough", len(b))
			}
		case err != nil:
			if _, _, again := parseProxy(append(b[:len(b):len(b)], 'x')); again == nil || errors.Is(again, errProxyMore) {
				t.Fatalf("%v became %v with one byte more", err, again)
			}
		default:
			if n < proxyFixedBytes || n > len(b) || !bytes.HasPrefix(b, proxySignature) {
				t.Fatalf("a header of %d in %d bytes", n, len(b))
			}
			again, m, err := parseProxy(b[:n])
			if err != nil || m != n || again != source {
				t.Fatalf("%v, %d, %v without what follows; %v, %d with it", again, m, err, source, n)
			}
			if _, _, err := parseProxy(b[:n-1]); !errors.Is(err, errProxyMore) {
				t.Fatalf("one byte less: %v", err)
			}
		}
	})
}
