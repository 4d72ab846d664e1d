package node

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pemPair makes a certificate for 127.0.0.1 that is its own authority.
func pemPair(t *testing.T, serial int64, from, to time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// tlsFiles are the files of a node's TLS.
type tlsFiles struct {
	t   *testing.T
	dir string
}

func (f tlsFiles) config() TLSConfig {
	return TLSConfig{Cert: filepath.Join(f.dir, "cert.pem"), Key: filepath.Join(f.dir, "key.pem"), Listen: "127.0.0.1:0"}
}

func (f tlsFiles) write(name string, b []byte) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), b, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// hello connects to the TLS port and returns the certificate that is shown.
func hello(t *testing.T, address string) (conn *tls.Conn, serial int64) {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// page asks for the page over a connection that stays open.
func page(t *testing.T, conn net.Conn) {
	t.Helper()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if body, err := io.ReadAll(reply.Body); err != nil || string(body) != "the page" {
		t.Fatalf("%q, %v", body, err)
	}
}

func TestCertificateIsTakenUpWhenItsFilesChange(t *testing.T) {
	now := time.Now()
	files := tlsFiles{t, t.TempDir()}
	pair := func(serial int64) (cert, key []byte) {
		return pemPair(t, serial, now.Add(-time.Hour), now.Add(90*24*time.Hour))
	}
	cert, key := pair(1)
	files.write("cert.pem", cert)
	files.write("key.pem", key)
	looks := make(chan time.Time)
	look := func() { // the second tick is taken when the first one's look is over
		looks <- now
		looks <- now
	}
	cfg := testConfig(t)
	var log strings.Builder
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.TLS, cfg.certificateLooks = files.config(), looks
	n := mustOpen(t, cfg)
	first, serial := hello(t, n.TLSAddr())
	page(t, first)
	f := func(want int64, why string) {
		t.Helper()
		look()
		conn, serial := hello(t, n.TLSAddr())
		if serial != want {
			t.Errorf("%s: certificate %d is shown, want %d", why, serial, want)
		}
		page(t, conn)
		page(t, first)
	}
	if serial != 1 {
		t.Fatalf("certificate %d is shown", serial)
	}
	f(1, "nothing changed")
	cert, key = pair(2)
	files.write("cert.pem", cert)
	f(1, "the new certificate came before its key")
	files.write("key.pem", key)
	f(2, "and then the key")
	cert, key = pair(3)
	files.write("cert.pem", []byte("garbage"))
	f(2, "garbage")
	if err := os.Remove(filepath.Join(files.dir, "cert.pem")); err != nil {
		t.Fatal(err)
	}
	f(2, "no file")
	files.write("key.pem", key)
	files.write("cert.pem", cert)
	f(3, "a good pair after all that")
	ended, endedKey := pemPair(t, 4, now.Add(-2*time.Hour), now.Add(-time.Hour))
	files.write("cert.pem", ended)
	files.write("key.pem", endedKey)
	f(3, "one that has ended")

	_, _, metrics := get(t, "http://"+n.OpsAddr()+"/metrics", "")
	for _, want := range []string{"godwit_tls_certificate_loads_total 3", "godwit_tls_certificate_refused_total 4", "godwit_tls_certificate_days 89.", "godwit_tls_handshakes_total 8"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
	if err := n.Close(); err != nil { // and now the log is not written any more
		t.Error(err)
	}
	if got := strings.Count(log.String(), "can't be used; the one before stays"); got != 4 {
		t.Errorf("%d complaints in the log, want one for each broken pair:\n%s", got, log.String())
	}
}

func TestApproachingEndOfTheCertificateIsLogged(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	files := tlsFiles{t, t.TempDir()}
	cert, key := pemPair(t, 1, start, start.Add(90*24*time.Hour))
	files.write("cert.pem", cert)
	files.write("key.pem", key)
	now := start
	var log strings.Builder
	cfg := files.config()
	c, err := loadCertificate(cfg.files(), func() time.Time { return now }, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	f := func(day, warnings int) {
		t.Helper()
		now = start.Add(time.Duration(day)*24*time.Hour + time.Minute)
		c.look()
		if got := strings.Count(log.String(), "ends soon"); got != warnings {
			t.Errorf("day %d: %d warnings, want %d", day, got, warnings)
		}
	}
	f(75, 0)
	f(76, 1)
	f(76, 1)
	f(77, 2)
	f(91, 3) // it has ended and is still shown: there is no other
	if days := fmt.Sprintf("%.2f", c.days()); days != "-1.00" {
		t.Errorf("%s days left", days)
	}
}

func TestNodeWithoutGoodCertificateDoesNotStart(t *testing.T) {
	now := time.Now()
	cert, key := pemPair(t, 1, now.Add(-time.Hour), now.Add(time.Hour))
	_, otherKey := pemPair(t, 2, now.Add(-time.Hour), now.Add(time.Hour))
	ended, endedKey := pemPair(t, 3, now.Add(-2*time.Hour), now.Add(-time.Hour))
	f := func(want string, cert, key []byte) {
		t.Helper()
		files := tlsFiles{t, t.TempDir()}
		if cert != nil {
			files.write("cert.pem", cert)
		}
		files.write("key.pem", key)
		cfg := testConfig(t)
		cfg.TLS = files.config()
		n, err := Open(t.Context(), cfg)
		if err == nil {
			_ = n.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "tls.cert and tls.key: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
	f("no such file", nil, key)
	f("does not match", cert, otherKey)
	f("failed to find any PEM data", []byte("garbage"), key)
	f("ended at", ended, endedKey)
	f("larger than", make([]byte, certificateBytesMax+1), key)
}

func TestTrustedProxiesAreAddressesOrNetworks(t *testing.T) {
	e := EdgeConfig{Proxies: []string{"10.1.2.3", "10.0.0.7/8", "2001:db8::/32", "::ffff:192.0.2.1"}}
	got, err := e.proxies()
	want := []netip.Prefix{netip.MustParsePrefix("10.1.2.3/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("192.0.2.1/32")}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestValidateNamesTheFieldOfTLS(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		complains(t, want, change)
	}
	f("edge.trusted_proxies", func(c *Config) { c.Edge.Proxies = []string{"10.0.0.0/8", "proxy.example"} })
	f("edge.trusted_proxies", func(c *Config) { c.Edge.Proxies = []string{"fe80::1%eth0"} })
	f("tls.key", func(c *Config) { c.TLS.Key = "k" })
	f("tls.cert", func(c *Config) { c.TLS.Cert, c.TLS.Listen = "c", "127.0.0.1:8443" })
	f("tls.listen", func(c *Config) { c.TLS = TLSConfig{Cert: "c", Key: "k", Listen: "8443"} })
	f("tls.listen", func(c *Config) { c.TLS = TLSConfig{Cert: "c", Key: "k", Listen: c.Listen} })
	f("dev", func(c *Config) { c.TLS.Cert, c.TLS.Key = "c", "k" })
}
