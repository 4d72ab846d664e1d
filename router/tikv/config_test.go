package tikv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pingcap/log"
	"go.uber.org/zap"

	"github.com/godwit-im/godwit/tools/devtikv/server"
)

func TestConfigIsChecked(t *testing.T) {
	f := func(part string, config Config) {
		t.Helper()
		if _, err := Open(t.Context(), config); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%+v: %v, want an error about %q", config, err, part)
		}
	}
	pd := []string{"127.0.0.1:1"}
	f("no address", Config{})
	f("missing port", Config{PD: []string{"host"}})
	f("belong together", Config{PD: pd, CA: "a"})
	f("tls", Config{PD: pd, CA: "/none", Cert: "/none", Key: "/none"})
	f("negative", Config{PD: pd, Timeout: -1})
}

// certificate writes a certificate that signs itself, and its key.
func certificate(t *testing.T) (certFile, keyFile string, pair tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for name, content := range map[string][]byte{certFile: certPEM, keyFile: keyPEM} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err = tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, pair
}

func TestBothSidesShowCertificates(t *testing.T) {
	t.Parallel()
	cert, key, pair := certificate(t)
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	cluster := startServer(t, server.Config{TLS: &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}})
	put(t, opened(t, Config{PD: []string{cluster.PDAddr()}, Timeout: calm, CA: cert, Cert: cert, Key: key}).closing(t), "k", "1")
	other, otherKey, _ := certificate(t)
	f := func(name string, config Config) {
		t.Helper()
		config.PD, config.Timeout = []string{cluster.PDAddr()}, time.Second
		if s := openStore(t, config); s.State() == BreakerClosed {
			t.Errorf("%s gets in", name)
		}
	}
	f("plaintext", Config{})
	f("a stranger", Config{CA: cert, Cert: other, Key: otherKey})
	f("whoever trusts another", Config{CA: other, Cert: cert, Key: key})
}

func (s *Store) closing(t *testing.T) *Store {
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestForeignLogIsQuiet(t *testing.T) {
	var said strings.Builder
	quiet(slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer quiet(slog.New(slog.DiscardHandler))
	before := warnings.Load()
	log.Info("routine")
	log.Warn("a leader moved", zap.String("store", "s1"), zap.Stack("stack"))
	if got := said.String(); strings.Contains(got, "routine") || strings.Contains(got, "goroutine") ||
		!strings.Contains(got, `level=DEBUG msg=client-go says="a leader moved" level=warn store=s1`) {
		t.Errorf("it says %q", got)
	}
	if n := warnings.Load() - before; n != 1 {
		t.Errorf("%d warnings are counted", n)
	}
}
