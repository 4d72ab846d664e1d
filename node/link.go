package node

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"

	"github.com/godwit-im/godwit/link"
	"github.com/godwit-im/godwit/link/identity"
)

// checkLink refuses an address where others could listen in or pretend.
func (cfg *Config) checkLink(bad *complaints, field, address string) {
	l := &cfg.Link
	given := l.Cert != "" || l.Key != "" || l.CA != ""
	bad.unless(!given || l.Cert != "" && l.Key != "" && l.CA != "", "link.cert", "is %q, link.key %q and link.ca %q; give all three or none", l.Cert, l.Key, l.CA)
	if given {
		err := identity.CheckCluster(cfg.Router.Cluster)
		bad.unless(err == nil, "router.cluster", "is %q, which can't stand in a certificate of the link: %v", cfg.Router.Cluster, err)
	}
	if address == "" {
		return
	}
	err := link.CheckAddress(address)
	bad.unless(err == nil, field, "is %q: %v", address, err)
	if _, isSocket := link.SocketPath(address); err == nil && !isSocket {
		bad.unless(given || Loopback(address), field, "is %q, which other machines can reach: give both sides link.cert, link.key and link.ca (godwit link certs makes them for a trial), or use a socket file or a loopback address", address)
	}
}

// linkFiles are the link's certificate; false if its address needs none.
func (cfg *Config) linkFiles() (certificateFiles, bool) {
	l := &cfg.Link
	address, role := l.Listen, identity.Engine
	if cfg.Role == RoleEdge {
		address, role = l.Upstream, identity.Edge
	}
	_, isSocket := link.SocketPath(address)
	if l.Cert == "" || isSocket || role == identity.Engine && address == "" {
		return certificateFiles{}, false
	}
	who := identity.Identity{Cluster: cfg.Router.Cluster, Role: role, Name: cfg.Node}
	return certificateFiles{
		field: "link", cert: l.Cert, key: l.Key, ca: l.CA,
		check: func(leaf *x509.Certificate) error {
			if err := identity.Verify(leaf, who); err != nil {
				return fmt.Errorf("this is %s: %w", who, err)
			}
			return nil
		},
	}, true
}

// linkTLS is the certificate of the moment, for each handshake; nil: there is none.
func (n *Node) linkTLS() *link.TLS {
	if n.linkCert == nil {
		return nil
	}
	return &link.TLS{
		Cluster:     n.cfg.Router.Cluster,
		Certificate: func() *tls.Certificate { return n.linkCert.current.Load() },
		Roots:       func() *x509.CertPool { return n.linkCert.roots.Load() },
	}
}

const (
	secretBytesMin = 16
	secretBytesMax = 4096
)

// secret reads the file that both sides of a link share; a line's end is not part
// of it.
func (cfg *Config) secret() ([]byte, error) {
	if cfg.Link.SecretFile == "" {
		return nil, nil
	}
	f, err := os.Open(cfg.Link.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("link.secret_file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, secretBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("link.secret_file: %w", err)
	}
	b = bytes.TrimRight(b, "\r\n")
	if len(b) < secretBytesMin || len(b) > secretBytesMax || bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, fmt.Errorf("link.secret_file: %s must hold %d to %d printable ASCII characters on one line", cfg.Link.SecretFile, secretBytesMin, secretBytesMax)
	}
	return b, nil
}
