package node

import (
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

// certificateFiles are a certificate and what belongs to it.
type certificateFiles struct {
	field     string // of the configuration, "tls" for tls.cert and tls.key
	cert, key string
	ca        string                             // who is believed; empty: nobody has to be
	check     func(leaf *x509.Certificate) error // nil: any will do
}

// certificate is what those files hold, shown to clients of the TLS listener or on
// the link. They are read again when they change, so that a renewed certificate needs
// no restart; connections that are open keep the one they began with.
type certificate struct {
	files  certificateFiles
	clock  func() time.Time
	logger *slog.Logger

	current atomic.Pointer[tls.Certificate] // with its Leaf
	roots   atomic.Pointer[x509.CertPool]   // nil without files.ca
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

func (cfg *TLSConfig) files() certificateFiles {
	return certificateFiles{field: "tls", cert: cfg.Cert, key: cfg.Key}
}

// loadCertificate reads the files, which must be good.
func loadCertificate(files certificateFiles, clock func() time.Time, logger *slog.Logger) (*certificate, error) {
	c := &certificate{files: files, clock: clock, logger: logger, stop: make(chan struct{})}
	pems, err := c.read()
	if err == nil {
		err = c.use(pems)
	}
	if err != nil {
		return nil, fmt.Errorf("%s.cert and %s.key: %w", files.field, files.field, err)
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

// pems are the files' contents.
type pems struct{ cert, key, ca []byte }

func (p *pems) sum() [sha256.Size]byte {
	var sums []byte
	for _, b := range [][]byte{p.cert, p.key, p.ca} {
		one := sha256.Sum256(b)
		sums = append(sums, one[:]...)
	}
	return sha256.Sum256(sums)
}

// look reads the files and takes them if they have changed. They may be caught
// between the writes of a renewal: what does not fit together is left for the next
// look, and what is in use stays.
func (c *certificate) look() {
	found, err := c.read()
	if err != nil {
		found = pems{cert: []byte(err.Error())} // reported once
	}
	if sum := found.sum(); sum != c.seen {
		before := c.current.Load().Leaf
		if err == nil {
			err = c.use(found)
		}
		if err != nil {
			c.seen = sum
			c.refused.Add(1)
			c.logger.Error("the changed TLS certificate can't be used; the one before stays in use", "cert", c.files.cert, "key", c.files.key, "ends", before.NotAfter, "err", err)
		} else {
			c.logger.Info("TLS certificate loaded", "cert", c.files.cert, "ends", c.current.Load().Leaf.NotAfter)
		}
	}
	c.warn()
}

func (c *certificate) read() (found pems, err error) {
	if found.cert, err = readBounded(c.files.cert); err != nil {
		return found, err
	}
	if found.key, err = readBounded(c.files.key); err != nil || c.files.ca == "" {
		return found, err
	}
	found.ca, err = readBounded(c.files.ca)
	return found, err
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
func (c *certificate) use(found pems) error {
	pair, err := tls.X509KeyPair(found.cert, found.key)
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
	if c.files.check != nil {
		if err := c.files.check(pair.Leaf); err != nil {
			return err
		}
	}
	if c.files.ca != "" {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(found.ca) {
			return fmt.Errorf("%s holds no certificate of an authority", c.files.ca)
		}
		c.roots.Store(roots)
	}
	c.current.Store(&pair)
	c.loads.Add(1)
	c.seen, c.warned = found.sum(), time.Time{}
	return nil
}

// warn says once a day that the certificate is about to end.
func (c *certificate) warn() {
	leaf, now := c.current.Load().Leaf, c.clock()
	ahead := min(certificateWarning, leaf.NotAfter.Sub(leaf.NotBefore)/3)
	if left := leaf.NotAfter.Sub(now); left < ahead && now.Sub(c.warned) >= 24*time.Hour {
		c.warned = now
		c.logger.Warn("the TLS certificate ends soon", "cert", c.files.cert, "ends", leaf.NotAfter, "days", int(left.Hours()/24))
	}
}

// days to the end of the certificate in use, negative after it.
func (c *certificate) days() float64 {
	return c.current.Load().Leaf.NotAfter.Sub(c.clock()).Hours() / 24
}
