package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

// Lifetimes of what an Authority makes.
const (
	AuthorityLife   = 10 * 365 * 24 * time.Hour
	CertificateLife = 90 * 24 * time.Hour
)

// backdate allows for the clocks of other machines.
const backdate = 5 * time.Minute

// Pair is a certificate and its private key, both PEM.
type Pair struct{ Cert, Key []byte }

// Authority makes certificates for processes.
type Authority struct {
	Pair
	root *x509.Certificate
	key  crypto.Signer
}

// NewAuthority makes one whose certificate has a name, for its reader, and begins
// at now.
func NewAuthority(name string, now time.Time) (*Authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(AuthorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	a := &Authority{}
	var err error
	a.Pair, a.root, a.key, err = sign(template, nil, nil)
	return a, err
}

// Issue makes a certificate that begins at now and has the usual life.
func (a *Authority) Issue(who Identity, now time.Time) (Pair, error) {
	return a.IssueFor(who, now.Add(-backdate), now.Add(CertificateLife))
}

// IssueFor makes a certificate for a process. It is for both ends of a connection:
// either role may come to be the one that is connected to.
func (a *Authority) IssueFor(who Identity, from, to time.Time) (Pair, error) {
	if err := who.Check(); err != nil {
		return Pair{}, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: who.Role + " " + who.Name},
		URIs:        []*url.URL{who.uri()},
		NotBefore:   from,
		NotAfter:    to,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	pair, _, _, err := sign(template, a.root, a.key)
	return pair, err
}

// sign makes a key and the certificate of it, signed by an authority or, without
// one, by itself.
func sign(template, by *x509.Certificate, byKey crypto.Signer) (Pair, *x509.Certificate, crypto.Signer, error) {
	fail := func(err error) (Pair, *x509.Certificate, crypto.Signer, error) {
		return Pair{}, nil, nil, fmt.Errorf("make a certificate: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return fail(err)
	}
	if by == nil {
		by, byKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, key.Public(), byKey)
	if err != nil {
		return fail(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fail(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fail(err)
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}, cert, key, nil
}

// LoadAuthority takes up one that was made before.
func LoadAuthority(p Pair, now time.Time) (*Authority, error) {
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	switch {
	case !ok || !root.IsCA:
		return nil, errors.New("this is not the certificate of an authority")
	case now.After(root.NotAfter):
		return nil, fmt.Errorf("the authority ended at %s", root.NotAfter.UTC().Format(time.RFC3339))
	}
	return &Authority{Pair: p, root: root, key: key}, nil
}
