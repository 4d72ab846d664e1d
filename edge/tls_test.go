package edge

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

// newCertificate makes a certificate for 127.0.0.1 that is its own authority.
func newCertificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// newTLSEdge starts an edge with both listeners; config is for its clients.
func newTLSEdge(t testing.TB, chat *fakeChat, change func(*Config)) (e *Edge, config *tls.Config) {
	t.Helper()
	certificate, pool := newCertificate(t)
	e = newEdge(t, chat, func(c *Config) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		c.TLSListen = "127.0.0.1:0"
		if change != nil {
			change(c)
		}
	})
	return e, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", NextProtos: []string{"http/1.1"}}
}

// dialPort opens a TCP connection to the TLS port.
func dialPort(t testing.TB, e *Edge) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", e.TLSAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(waitMax))
	return conn
}

func dialTLS(t testing.TB, e *Edge, config *tls.Config) *tls.Conn {
	t.Helper()
	conn := tls.Client(dialPort(t, e), config)
	if err := conn.Handshake(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return conn
}

func TestSessionsLiveBehindTLS(t *testing.T) {
	chat := &fakeChat{}
	e, config := newTLSEdge(t, chat, nil)
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		conn := dialTLS(t, e, config)
		if p := conn.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
			t.Errorf("protocol %q was agreed on", p)
		}
		c := open(t, upgrade(t, conn, enc), "alice")
		c.send(sendFrame(2, "hi"))
		if f := c.next(); f.Kind != godwit.KindSend || f.ID != 2 || f.Send.Seq != 7 {
			t.Fatalf("send answered by %+v", f)
		}
		e.Close(onlySession(t, chat), godwit.CloseDrain, "over")
		c.wantClose(godwit.CloseDrain)
		waitFor(t, func() bool { return e.Stats().Connections == 0 })
	})
	// The plain listener is as it was.
	connect(t, e, godwit.EncodingJSON, "bob")
}

func TestTwoNamesOfOneAddressAreNotTwoListeners(t *testing.T) {
	held, err := findPlace("127.0.0.1:0", true)
	if err != nil {
		t.Fatal(err)
	}
	defer held.release()
	_, port, _ := net.SplitHostPort(held.addr)
	certificate, _ := newCertificate(t)
	e, err := New(Config{
		Listen: held.addr, TLSListen: "localhost:" + port, ReusePort: true, TLS: &tls.Config{Certificates: []tls.Certificate{certificate}},
		Loops: 1, Chat: &fakeChat{}, Verifier: fakeVerifier{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err == nil || !strings.Contains(err.Error(), "listens without TLS") {
		t.Errorf("started: %v", err)
		_ = e.Stop(t.Context())
	}
}

// TestTLSRefusesWhatIsNotTLS: versions, protocols, and what is not TLS.
func TestTLSRefusesWhatIsNotTLS(t *testing.T) {
	var stopped clock // no deadline helps
	e, config := newTLSEdge(t, &fakeChat{}, stopped.set)
	old := config.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if err := tls.Client(dialPort(t, e), old).Handshake(); err == nil {
		t.Error("TLS 1.1 was agreed on")
	}
	only12 := config.Clone()
	only12.MaxVersion = tls.VersionTLS12
	connect12 := open(t, upgrade(t, dialTLS(t, e, only12), godwit.EncodingJSON), "alice")
	if v := connect12.conn.(*tls.Conn).ConnectionState().Version; v != tls.VersionTLS12 {
		t.Errorf("version %x", v)
	}

	conn := dialPort(t, e)
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 400 ") || !strings.Contains(string(got), "https://") {
		t.Errorf("plain HTTP answered %q, %v", got, err)
	}
	for _, garbage := range []string{"\x00", "\x16\x02\x00\x00\x05hello", "\x16\x03\x01\xff\xffxxxxx", "\x16\x03\x01\x00\x00", strings.Repeat("\xff", 100<<10)} {
		conn := dialPort(t, e)
		go func() { _, _ = io.WriteString(conn, garbage) }()
		_, err := io.ReadAll(conn)
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%.10q: the connection stays open", garbage)
		}
	}
	// A record that begins well and is no hello gets an alert.
	conn = dialPort(t, e)
	_, _ = io.WriteString(conn, "\x16\x03\x01\x00\x05hello")
	if got, err := io.ReadAll(conn); err != nil || len(got) != 7 || got[0] != 21 {
		t.Errorf("a broken hello was answered by %q, %v", got, err)
	}
	// TLS on the plain port is malformed HTTP.
	plain := tls.Client(dialRaw(t, e), config)
	if err := plain.Handshake(); err == nil {
		t.Error("the plain port speaks TLS")
	}
}

func TestBrokenRecordEndsTheSession(t *testing.T) {
	e, config := newTLSEdge(t, &fakeChat{}, nil)
	raw := dialPort(t, e)
	conn := tls.Client(raw, config)
	open(t, upgrade(t, conn, godwit.EncodingJSON), "alice")
	_, _ = raw.Write(append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...))
	if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
		t.Errorf("got %v, want an alert", err)
	}
	_ = raw.Close()
	waitFor(t, func() bool { return e.Stats().Connections == 0 })
}

func TestEchoBehindTLSOfEverySize(t *testing.T) {
	e, config := newTLSEdge(t, &fakeChat{}, func(c *Config) { c.EchoPath = "/echo" })
	conn := dialTLS(t, e, config)
	c := upgradeEcho(t, conn)
	random := make([]byte, 5<<20)
	_, _ = rand.Read(random)
	sizes := []int{0, 1, 125, 126, 16<<10 - 14, 16 << 10, 16<<10 + 1, 65535, 65536, 1 << 20, len(random)}
	go func() { // all at once, in pieces that fit nothing
		var all []byte
		for _, n := range sizes {
			all = ws.AppendMasked(all, true, ws.Binary, 0xA1B2C3D4, random[:n])
		}
		for len(all) > 0 {
			n := min(len(all), 10007)
			if _, err := conn.Write(all[:n]); err != nil {
				return
			}
			all = all[n:]
		}
	}()
	for _, n := range sizes {
		if ev, ok := c.event(); !ok || !bytes.Equal(ev.Payload, random[:n]) {
			t.Fatalf("%d bytes came back as %d", n, len(ev.Payload))
		}
	}
	_ = conn.Close()
	waitFor(t, func() bool { return e.Stats().Connections == 0 })
}

func TestRequestBehindTLSMayComeWithTheHandshake(t *testing.T) {
	page := bytes.Repeat([]byte("x"), 100<<10)
	e, config := newTLSEdge(t, &fakeChat{}, func(c *Config) {
		c.Static = func(string) (string, []byte, bool) { return "text/plain", page, true }
	})
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i := range 3 {
		raw := dialPort(t, e)
		held := &holdingConn{Conn: raw, pass: 1}
		conn := tls.Client(held, config)
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET /page HTTP/1.1\r\nHost: test\r\n"+strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 6)+"Connection: close\r\n\r\n")
		held.flush() // and the client's last flight goes with it
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.HasSuffix(got, page) {
			t.Fatalf("%d bytes, %v: %.300q", len(got), err, got)
		}
		if resumed := conn.ConnectionState().DidResume; resumed != (i > 0) {
			t.Errorf("connection %d: resumed is %v", i, resumed)
		}
		_ = conn.Close()
	}
}

// holdingConn passes some writes on and holds those after them until flush.
type holdingConn struct {
	net.Conn
	pass int
	held []byte
}

func (c *holdingConn) Write(b []byte) (int, error) {
	if c.pass > 0 {
		c.pass--
		return c.Conn.Write(b)
	}
	c.held = append(c.held, b...)
	return len(b), nil
}

func (c *holdingConn) flush() {
	_, _ = c.Conn.Write(c.held)
	c.held = nil
}

func TestSlowReaderBehindTLSIsBounded(t *testing.T) {
	chat := &fakeChat{}
	e, config := newTLSEdge(t, chat, func(c *Config) {
		c.OutboundBytesMax = 256 << 10
	})
	c := open(t, upgrade(t, dialTLS(t, e, config), godwit.EncodingProto), "alice")
	id := onlySession(t, chat)
	body := strings.Repeat("slow", 64<<10)
	closed := func() bool { return e.Stats().Closes[godwit.CloseSlowConsumer] > 0 }
	for written := uint64(0); !closed(); {
		if written > 64<<20 {
			t.Fatal("64 MiB wait for a client that does not read")
		}
		written += uint64(len(body))
		e.Reply(id, &godwit.ServerFrame{ID: 1, Kind: godwit.KindError, Error: godwit.ErrorReply{Message: body}})
		waitFor(t, func() bool { return e.Stats().BytesOut > written || closed() })
	}
	c.wantClose(godwit.CloseSlowConsumer)
}

func TestHalfClosedClientBehindTLSIsCleanedUp(t *testing.T) {
	chat := &fakeChat{}
	e, config := newTLSEdge(t, chat, nil)
	// The end of the TLS stream, with the TCP stream still open.
	conn := dialTLS(t, e, config)
	open(t, upgrade(t, conn, godwit.EncodingJSON), "alice")
	_ = conn.CloseWrite()
	waitFor(t, func() bool { return e.Stats().Connections == 0 })
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want the server's close_notify", err)
	}
	// The end of the TCP stream without one of TLS.
	raw := dialPort(t, e)
	open(t, upgrade(t, tls.Client(raw, config), godwit.EncodingJSON), "bob")
	_ = raw.(*net.TCPConn).CloseWrite()
	waitFor(t, func() bool { return e.Stats().Connections == 0 })
	waitFor(t, func() bool { return chat.open() == 0 })
}

func TestShortMemoryKeepsHandshakesOut(t *testing.T) {
	certificate, pool := newCertificate(t)
	e, use := memoryEdge(t, &fakeChat{}, func(c *Config) {
		c.TLS, c.TLSListen = &tls.Config{Certificates: []tls.Certificate{certificate}}, "127.0.0.1:0"
	})
	config := &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
	inside := open(t, upgrade(t, dialTLS(t, e, config), godwit.EncodingJSON), "inside")
	use(testBudget - testBudget/8 + 1<<20)
	if err := tls.Client(dialPort(t, e), config).Handshake(); err == nil {
		t.Error("a handshake was done")
	}
	inside.send(sendFrame(2, "hi"))
	if f := inside.next(); f.ID != 2 {
		t.Errorf("%+v", f)
	}
	use(1 << 20)
	dialTLS(t, e, config)
}

// TestPartsOfRequestsStayApart: what is left when a callback ends is not in the
// memory that the next connection is decrypted to.
func TestPartsOfRequestsStayApart(t *testing.T) {
	e, config := newTLSEdge(t, &fakeChat{}, func(c *Config) {
		c.EchoPath = "/echo"
		c.Static = func(path string) (string, []byte, bool) { return "text/plain", []byte(path), true }
	})
	const n, size, part = 4, 6000, 1700
	var conns [n]*tls.Conn
	var heads [n]string
	path := func(i int) string { return "/" + strings.Repeat(string(rune('a'+i)), size) }
	for i := range conns {
		conns[i] = dialTLS(t, e, config)
		heads[i] = "GET " + path(i) + " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
	}
	other := upgradeEcho(t, dialTLS(t, e, config))
	for at := 0; at < len(heads[0]); at += part {
		for i, conn := range conns {
			_, _ = io.WriteString(conn, heads[i][at:min(at+part, len(heads[i]))])
			for range 2 { // the loop comes by twice: the part was read
				other.message(ws.Ping, nil)
				other.event()
			}
		}
	}
	for i, conn := range conns {
		if got, err := io.ReadAll(conn); err != nil || !bytes.HasSuffix(got, []byte("\r\n\r\n"+path(i))) {
			t.Errorf("client %d got %.100q, %v", i, got, err)
		}
	}
}

// TestTLSEndsWithCloseNotify: without it a client can't tell the end from a cut.
func TestTLSEndsWithCloseNotify(t *testing.T) {
	e, config := newTLSEdge(t, &fakeChat{}, nil)
	config.MaxVersion = tls.VersionTLS12 // whose alerts can be seen from outside
	f := func(why string, end func(conn *tls.Conn)) {
		t.Helper()
		tap := &tapConn{Conn: dialPort(t, e)}
		conn := tls.Client(tap, config)
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		end(conn)
		_, _ = io.Copy(io.Discard, conn)
		if last := tap.lastRecord(); last != 21 {
			t.Errorf("%s: the last record is of type %d, want an alert", why, last)
		}
		_ = conn.Close()
	}
	f("an answer and the end", func(conn *tls.Conn) {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
	})
	f("the WebSocket's end", func(conn *tls.Conn) {
		c := upgrade(t, conn, godwit.EncodingJSON)
		c.message(ws.Close, []byte{3, 232})
		c.event()
	})
}

// tapConn keeps what is read.
type tapConn struct {
	net.Conn
	got []byte
}

func (c *tapConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.got = append(c.got, b[:n]...)
	return n, err
}

func (c *tapConn) lastRecord() (kind byte) {
	for rest := c.got; len(rest) >= 5; {
		kind = rest[0]
		rest = rest[min(5+(int(rest[3])<<8|int(rest[4])), len(rest)):]
	}
	return kind
}
