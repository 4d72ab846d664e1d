package node

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// TLSConfig makes the node terminate TLS.
type TLSConfig struct {
	Cert   string `yaml:"cert" env:"CERT" doc:"PEM file of the certificate and those that lead to its authority. Empty: no TLS. Both files are read again when they change."`
	Key    string `yaml:"key" env:"KEY" doc:"PEM file of its private key."`
	Listen string `yaml:"listen" env:"LISTEN" doc:"Address of TLS, host:port, beside listen; used when tls.cert is given."`
}

// certificate is the pair of files shown to clients of the TLS listener. It is
// read again when the files change, so that a renewed certificate needs no
// restart; connections that are open keep the one they began with.
type certificate struct {
	certFile, keyFile string
	clock             func() time.Time
	logger            *slog.Logger

	current atomic.Pointer[tls.Certificate] // with its Leaf
	loads   atomic.Uint64
	refused atomic.Uint64 // changed files that could not be used

	// Only watch and its caller before it touch these.
	seen   [sha256.Size]byte // of the files last looked at, good or not
	warned time.Time         // of the approaching end

	stop    chan struct{}
	stopped sync.WaitGroup
	once    sync.Once
}

const (
	certificateEvery    = 5 * time.Second     // between two looks at the files
	certificateWarning  = 14 * 24 * time.Hour // before the end, or a third of a shorter life
	certificateBytesMax = 1 << 20
)

// loadCertificate reads the pair, which must be good.
func loadCertificate(cfg *TLSConfig, clock func() time.Time, logger *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: cfg.Cert, keyFile: cfg.Key, clock: clock, logger: logger, stop: make(chan struct{})}
	cert, key, err := c.read()
	if err == nil {
		err = c.use(cert, key)
	}
	if err != nil {
		return nil, fmt.Errorf("tls.cert and tls.key: %w", err)
	}
	c.warn()
	return c, nil
}

// config is what handshakes ask for the certificate of the moment.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// start watches the files until close, at each tick of looks or every few seconds.
func (c *certificate) start(looks <-chan time.Time) {
	c.stopped.Go(func() {
		if looks == nil {
			ticker := time.NewTicker(certificateEvery)
			defer ticker.Stop()
			looks = ticker.C
		}
		c.watch(looks)
	})
}

func (c *certificate) close() {
	if c != nil {
		c.once.Do(func() { close(c.stop) })
		c.stopped.Wait()
	}
}

func (c *certificate) watch(ticks <-chan time.Time) {
	for {
		select {
		case <-ticks:
			c.look()
		case <-c.stop:
			return
		}
	}
}

// look reads the files and takes them if they have changed. They may be caught
// between the two writes of a renewal: what does not fit together is left for
// the next look, and the pair in use stays.
func (c *certificate) look() {
	cert, key, err := c.read()
	if err != nil {
		cert, key = []byte(err.Error()), nil // reported once
	}
	sum := sumOf(cert, key)
	if sum != c.seen {
		before := c.current.Load().Leaf
		if err == nil {
			err = c.use(cert, key)
		}
		if err != nil {
			c.seen = sum
			c.refused.Add(1)
			c.logger.Error("the changed TLS certificate can't be used; the one before stays in use", "cert", c.certFile, "key", c.keyFile, "ends", before.NotAfter, "err", err)
		} else {
			c.logger.Info("TLS certificate loaded", "cert", c.certFile, "ends", c.current.Load().Leaf.NotAfter)
		}
	}
	c.warn()
}

func (c *certificate) read() (cert, key []byte, err error) {
	if cert, err = readBounded(c.certFile); err != nil {
		return nil, nil, err
	}
	key, err = readBounded(c.keyFile)
	return cert, key, err
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, certificateBytesMax+1))
	if err == nil && len(b) > certificateBytesMax {
		err = fmt.Errorf("%s: larger than %d bytes; this is no certificate", path, certificateBytesMax)
	}
	return b, err
}

// use makes a pair the current one if it is one and has not ended.
func (c *certificate) use(cert, key []byte) error {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return err
		}
	}
	if c.clock().After(pair.Leaf.NotAfter) {
		return errors.New("the certificate ended at " + pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	c.current.Store(&pair)
	c.loads.Add(1)
	c.seen, c.warned = sumOf(cert, key), time.Time{}
	return nil
}

func sumOf(cert, key []byte) [sha256.Size]byte {
	one := sha256.Sum256(cert)
	return sha256.Sum256(bytes.Join([][]byte{one[:], key}, nil))
}

// warn says once a day that the certificate is about to end.
func (c *certificate) warn() {
	leaf, now := c.current.Load().Leaf, c.clock()
	ahead := min(certificateWarning, leaf.NotAfter.Sub(leaf.NotBefore)/3)
	if left := leaf.NotAfter.Sub(now); left < ahead && now.Sub(c.warned) >= 24*time.Hour {
		c.warned = now
		c.logger.Warn("the TLS certificate ends soon", "cert", c.certFile, "ends", leaf.NotAfter, "days", int(left.Hours()/24))
	}
}

// days to the end of the certificate in use, negative after it.
func (c *certificate) days() float64 {
	return c.current.Load().Leaf.NotAfter.Sub(c.clock()).Hours() / 24
}
