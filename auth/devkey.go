package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/godwit-im/godwit"
)

// What development tokens carry. Only a server that was started for
// development, on a loopback address, believes them.
const (
	DevKeyFile  = "dev-signing-key" // under the data directory
	DevKeyID    = "dev"
	DevIssuer   = "godwit-dev"
	DevAudience = "godwit"
)

// Signer mints tokens with the development key of one data directory. It is
// immutable and safe for concurrent use.
type Signer struct {
	private ed25519.PrivateKey
	clock   func() time.Time
}

// DevSigner reads DIR/dev-signing-key and makes it first if it is missing. It
// takes no lock: processes that start at once end up with the same key,
// because the file appears complete and only once. clock nil: time.Now.
func DevSigner(dir string, clock func() time.Time) (*Signer, error) {
	if clock == nil {
		clock = time.Now
	}
	path := filepath.Join(dir, DevKeyFile)
	private, err := readDevKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeDevKey(dir, path); err == nil {
			private, err = readDevKey(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("development key: %w", err)
	}
	return &Signer{private: private, clock: clock}, nil
}

func readDevKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others; remove it, or chmod 600 it", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s is damaged; remove it to get a new one", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged; remove it to get a new one", path)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an Ed25519 key; remove it to get a new one", path)
	}
	return private, nil
}

// makeDevKey writes a new key under a name of its own and links it to path:
// the link fails if another process was first, and then that key counts.
func makeDevKey(dir, path string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+DevKeyFile+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	parent, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// Config returns the keyring configuration that believes this signer alone.
func (s *Signer) Config() Config {
	public := s.private.Public().(ed25519.PublicKey)
	return Config{
		Keys:     []Key{{ID: DevKeyID, Algorithm: EdDSA, Public: public}},
		Issuer:   DevIssuer,
		Audience: DevAudience,
		Clock:    s.clock,
	}
}

// Mint returns a token that speaks for the user until ttl has passed.
func (s *Signer) Mint(user godwit.UserID, ttl time.Duration) (string, error) {
	if !godwit.ValidID(user) {
		return "", fmt.Errorf("mint token for %q: %w", user, godwit.ErrBadID)
	}
	now := s.clock()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.RegisteredClaims{
		Issuer:    DevIssuer,
		Subject:   string(user),
		Audience:  jwt.ClaimStrings{DevAudience},
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
	})
	token.Header["kid"] = DevKeyID
	return token.SignedString(s.private)
}
