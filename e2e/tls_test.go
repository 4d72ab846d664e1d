package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit/client"
)

// pki is a certificate for loopback addresses that is its own authority.
type pki struct {
	cert, key, both string // files
	roots           *x509.CertPool
}

// newPKI makes one for further addresses, too.
func newPKI(t testing.TB, more ...string) *pki {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	for _, address := range more {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(err)
	parsed, err := x509.ParseCertificate(der)
	must(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	must(err)
	dir := t.TempDir()
	p := &pki{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), both: filepath.Join(dir, "both.pem"), roots: x509.NewCertPool()}
	p.roots.AddCert(parsed)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	must(os.WriteFile(p.cert, certPEM, 0o600))
	must(os.WriteFile(p.key, keyPEM, 0o600))
	must(os.WriteFile(p.both, append(certPEM, keyPEM...), 0o600))
	return p
}

func (p *pki) config() *tls.Config { return &tls.Config{RootCAs: p.roots} }

// talk has two users of the SDK exchange a message over wss://address.
func talk(t *testing.T, p *pki, address string, tokens map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	open := func(user string, encoding client.Encoding) *client.Client {
		cfg := sdkConfig("wss://"+address+"/v1/ws", tokens[user], encoding)
		cfg.TLS = p.config()
		return dialSDK(ctx, t, cfg)
	}
	alice, bob := open("alice", client.Proto), open("bob", client.JSON)
	text := strings.Repeat("through TLS ", 1000)
	sent, err := alice.Send(ctx, "bob", client.Message{Text: text})
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	item, err := bob.Receive(ctx)
	if err != nil || string(item.Entry.Msg.Body) != text || item.Entry.Msg.MID != sent.MID {
		t.Fatalf("bob received %.50q, %v", item.Entry.Msg.Body, err)
	}
	_, _ = alice.Close(), bob.Close()
}

func TestServerSpeaksTLS(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	s := newServer(t, "", "GODWIT_TLS_CERT="+p.cert, "GODWIT_TLS_KEY="+p.key, "GODWIT_TLS_LISTEN=127.0.0.1:0")
	s.start()
	tokens := s.tokens("alice", "bob")
	talk(t, p, s.tls, tokens)
	checkPoll(t, p, s.tls, tokens)

	// The command line believes the authorities of SSL_CERT_FILE, and no others.
	f := func(code int, timeout, word string, env ...string) {
		t.Helper()
		cmd := exec.Command(s.path, "send", "--timeout", timeout, "--url", "wss://"+s.tls+"/v1/ws", "--token", tokens["alice"], "bob", "from the command line")
		cmd.Env = append(os.Environ(), env...)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() == 0 != (code == 0) || !strings.Contains(string(out), word) {
			t.Errorf("%v: exit %d: %s", env, cmd.ProcessState.ExitCode(), out)
		}
	}
	f(0, "1m", "", "SSL_CERT_FILE="+p.cert)
	f(1, "4s", "x509: certificate signed by unknown authority")
	checkSmuggling(t, p, s.tls)
	if code := s.terminate(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestEdgeProcessesShareThePortOfTLS(t *testing.T) {
	p := newPKI(t)
	s := newServer(t, "", "GODWIT_TLS_CERT="+p.cert, "GODWIT_TLS_KEY="+p.key, "GODWIT_TLS_LISTEN=127.0.0.1:0", "GODWIT_EDGES=2")
	s.start()
	tokens := s.tokens("alice", "bob")
	for range 3 {
		talk(t, p, s.tls, tokens)
	}
	if code := s.terminate(); code != 0 {
		t.Errorf("exit %d: %s", code, s.stderr)
	}
}

func TestServerRefusesTLSWithoutItsFiles(t *testing.T) {
	p := newPKI(t)
	f := func(want string, env ...string) {
		t.Helper()
		cmd := exec.Command(binary(t, ""), "serve", "--dev", "--listen", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--data", t.TempDir())
		cmd.Env = append(os.Environ(), append(env, "GODWIT_TLS_LISTEN=127.0.0.1:0")...)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v, %s, want %q", env, err, out, want)
		}
	}
	f("tls.cert is given without tls.key", "GODWIT_TLS_CERT="+p.cert)
	f("no such file", "GODWIT_TLS_CERT="+p.cert+"x", "GODWIT_TLS_KEY="+p.key)
	f("tls.cert and tls.key: ", "GODWIT_TLS_CERT="+p.key, "GODWIT_TLS_KEY="+p.key)
}
