package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/godwit-im/godwit/link/identity"
)

// TLS is how a process shows who it is and knows who others are. Both sides show a
// certificate; a socket file needs none, and never has TLS.
type TLS struct {
	// Cluster is the one that both sides are of.
	Cluster string
	// Certificate and Roots return what is shown and which authorities are believed.
	// They are asked at each handshake; streams that stand are left alone.
	Certificate func() *tls.Certificate
	Roots       func() *x509.CertPool
}

func (t *TLS) validate() error {
	switch {
	case t == nil:
		return nil
	case t.Certificate == nil || t.Roots == nil:
		return errors.New("link: TLS needs Certificate and Roots")
	}
	return identity.CheckCluster(t.Cluster)
}

func (t *TLS) config() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"h2"},
		Certificates:           []tls.Certificate{*t.Certificate()},
		SessionTicketsDisabled: true, // each attachment is looked at anew
	}
}

func (t *TLS) serverConfig() *tls.Config {
	c := t.config()
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, t.Roots()
	return c
}

// clientConfig looks for the engine process's name in place of a host's.
func (t *TLS) clientConfig() *tls.Config {
	c := t.config()
	c.InsecureSkipVerify = true // VerifyConnection does it
	c.VerifyConnection = func(s tls.ConnectionState) error { return t.verifyEngine(s.PeerCertificates) }
	// Also where the server's authorities are others: it says so then.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.Certificates[0], nil }
	return c
}

func (t *TLS) verifyEngine(chain []*x509.Certificate) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: t.Roots(), Intermediates: between}); err != nil { // of a server, by default
		return &untrusted{fmt.Errorf("the engine process's certificate: %w", err)}
	}
	if err := identity.Verify(chain[0], identity.Identity{Cluster: t.Cluster, Role: identity.Engine}); err != nil {
		return &untrusted{fmt.Errorf("the engine process's certificate: %w", err)}
	}
	return nil
}

// untrusted is why two processes do not believe each other: another attempt is of
// no use until somebody has changed something.
type untrusted struct{ why error }

func (u *untrusted) Error() string { return u.why.Error() }
func (u *untrusted) Unwrap() error { return u.why }

// errPlain refuses what others could read, and anybody could pretend.
var errPlain = errors.New("without TLS only a socket file or a loopback address will do; give both sides link.cert, link.key and link.ca")

// plain reports whether a connection is left without TLS.
func plain(t *TLS, peer net.Addr) (bool, error) {
	if peer.Network() == "unix" {
		return true, nil
	}
	if tcp, ok := peer.(*net.TCPAddr); t == nil && ok && !tcp.IP.IsLoopback() {
		return true, &untrusted{errPlain}
	}
	return t == nil, nil
}

// shown is what gRPC keeps of a connection for its streams and calls.
type shown struct {
	credentials.CommonAuthInfo
	leaf *x509.Certificate // nil: no TLS
}

// AuthType implements credentials.AuthInfo.
func (shown) AuthType() string { return "godwit" }

func nothingShown() shown {
	return shown{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}
}

func shownBy(conn *tls.Conn) shown {
	return shown{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, conn.ConnectionState().PeerCertificates[0]}
}

// handshakesMax bounds the handshakes under way with those who have shown nothing
// yet; more are cut off, and come again.
const handshakesMax = 256

var errBusy = errors.New("too many TLS handshakes are under way")

// transport is one side's part in handshakes.
type transport struct {
	tls     *TLS         // nil: none
	running atomic.Int64 // handshakes, in a hub
	// failed is told why a handshake failed.
	failed func(peer net.Addr, err error)
	// leaf is what the engine process showed, in an edge process.
	leaf atomic.Pointer[x509.Certificate]
}

var _ credentials.TransportCredentials = (*transport)(nil)

// ServerHandshake implements credentials.TransportCredentials. gRPC bounds its time.
func (t *transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	isPlain, err := plain(t.tls, raw.RemoteAddr())
	if err != nil {
		t.failed(raw.RemoteAddr(), err)
		return nil, nil, err
	}
	if isPlain {
		return raw, nothingShown(), nil
	}
	defer t.running.Add(-1)
	if t.running.Add(1) > handshakesMax {
		t.failed(raw.RemoteAddr(), errBusy)
		return nil, nil, errBusy
	}
	conn := tls.Server(raw, t.tls.serverConfig())
	if err := conn.Handshake(); err != nil {
		t.failed(raw.RemoteAddr(), explained(err, "edge"))
		return nil, nil, err
	}
	return conn, shownBy(conn), nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (t *transport) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	isPlain, err := plain(t.tls, raw.RemoteAddr())
	if err != nil {
		t.failed(raw.RemoteAddr(), err)
		return nil, nil, err
	}
	if isPlain {
		return raw, nothingShown(), nil
	}
	conn := tls.Client(raw, t.tls.clientConfig())
	if err := conn.HandshakeContext(ctx); err != nil {
		t.failed(raw.RemoteAddr(), explained(err, "engine"))
		return nil, nil, err
	}
	info := shownBy(conn)
	t.leaf.Store(info.leaf)
	return &listening{Conn: conn, failed: func(err error) { t.failed(raw.RemoteAddr(), explained(err, "engine")) }}, info, nil
}

// Info implements credentials.TransportCredentials.
func (t *transport) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "godwit"}
}

// Clone implements credentials.TransportCredentials: there is nothing to change.
func (t *transport) Clone() credentials.TransportCredentials { return t }

// OverrideServerName implements credentials.TransportCredentials.
func (t *transport) OverrideServerName(string) error { return nil }

// explained says what a failed handshake means; peer is the other side's role.
func explained(err error, peer string) error {
	var op *net.OpError
	var record tls.RecordHeaderError
	var known *untrusted
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &op) && op.Op == "remote error":
		return &untrusted{fmt.Errorf("the %s process does not accept this process's certificate: %w", peer, err)}
	case errors.As(err, &record):
		return &untrusted{fmt.Errorf("the %s process does not speak TLS; both sides need link.cert, link.key and link.ca: %w", peer, err)}
	case errors.As(err, &verify):
		return &untrusted{fmt.Errorf("the %s process's certificate: %w", peer, err)}
	}
	return fmt.Errorf("TLS handshake with the %s process: %w", peer, err)
}

// listening is the client's connection. In TLS 1.3 the server's refusal comes after
// the client's handshake is done: in place of the first bytes.
type listening struct {
	*tls.Conn
	failed func(error)
	heard  atomic.Bool
}

const lastWordTime = time.Second

func (c *listening) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(true)
	} else if err != nil && !c.heard.Swap(true) {
		c.failed(err)
	}
	return n, err
}

func (c *listening) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil && !c.heard.Load() { // cut off: why may still be there to be read
		_ = c.Conn.SetReadDeadline(time.Now().Add(lastWordTime))
		_, _ = c.Read(make([]byte, 1))
	}
	return n, err
}
