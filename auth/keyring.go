// Package auth decides whose token a client holds: JSON Web Tokens signed with
// EdDSA or HS256, each key pinned to its algorithm. It also keeps the
// development key, with which a local server mints tokens for itself.
//
// It knows nothing of connections, sessions or rights: a token proves a user id
// until a moment, and what that user may do is the chat tier's business.
package auth

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/godwit-im/godwit"
)

// Bounds of tokens.
const (
	// TokenBytesMax bounds a token before anything of it is decoded.
	TokenBytesMax = 4 << 10
	// Leeway is how far the issuer's clock may be off.
	Leeway = 30 * time.Second
	// keyIDBytesMax bounds a kid of the keys file.
	keyIDBytesMax = 128
	// secretBytesMin is the shortest HS256 secret: the hash's own size (RFC 7518 §3.2).
	secretBytesMin = 32
)

// Errors of Verify say why a token was refused. They are for the log: a client
// only learns godwit.ErrUnauthorized, which each of them wraps.
var (
	ErrTokenSize    = fmt.Errorf("%w: empty or larger than 4 KiB", godwit.ErrUnauthorized)
	ErrTokenForm    = fmt.Errorf("%w: characters outside of base64url", godwit.ErrUnauthorized)
	ErrTokenKey     = fmt.Errorf("%w: no key of this id and algorithm", godwit.ErrUnauthorized)
	ErrTokenSubject = fmt.Errorf("%w: sub is not a user id", godwit.ErrUnauthorized)
	ErrTokenExpiry  = fmt.Errorf("%w: exp is out of range", godwit.ErrUnauthorized)
	ErrTokenCrit    = fmt.Errorf("%w: crit names an extension that is not understood", godwit.ErrUnauthorized)
)

// Algorithms a key may be pinned to.
const (
	EdDSA = "EdDSA"
	HS256 = "HS256"
)

// Key verifies tokens of one key id with one algorithm.
type Key struct {
	ID        string            // the token's kid; may be empty if it is the only key
	Algorithm string            // EdDSA or HS256; a token of another algorithm is refused
	Public    ed25519.PublicKey // EdDSA
	Secret    []byte            // HS256, at least 32 bytes
}

// Config describes whom to believe.
type Config struct {
	Keys     []Key
	Issuer   string           // required iss of every token
	Audience string           // required among the aud of every token
	Clock    func() time.Time // default time.Now
}

// Keyring verifies tokens. It is immutable: any number of goroutines may use it.
type Keyring struct {
	keys   map[string]Key
	only   *Key // set if there is exactly one key: then a token may leave kid out
	clock  func() time.Time
	parser *jwt.Parser
}

// NewKeyring checks the configuration; it copies the list of keys.
func NewKeyring(cfg Config) (*Keyring, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	k := &Keyring{keys: make(map[string]Key, len(cfg.Keys)), clock: cfg.Clock}
	for _, key := range cfg.Keys {
		k.keys[key.ID] = key
	}
	if len(cfg.Keys) == 1 {
		key := cfg.Keys[0]
		k.only = &key
	}
	k.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{EdDSA, HS256}),
		jwt.WithIssuer(cfg.Issuer),
		jwt.WithAudience(cfg.Audience),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(Leeway),
		jwt.WithTimeFunc(cfg.Clock),
		jwt.WithStrictDecoding(),
	)
	return k, nil
}

func (cfg *Config) validate() error {
	switch {
	case len(cfg.Keys) == 0:
		return errors.New("auth: no key is given, so no token could be accepted")
	case cfg.Issuer == "":
		return errors.New("auth: issuer is empty; name the iss that tokens carry")
	case cfg.Audience == "":
		return errors.New("auth: audience is empty; name the aud that tokens carry")
	}
	seen := map[string]bool{}
	for i := range cfg.Keys {
		key := &cfg.Keys[i]
		if err := key.validate(); err != nil {
			return fmt.Errorf("auth: key %d (kid %q): %w", i+1, key.ID, err)
		}
		if key.ID == "" && len(cfg.Keys) > 1 {
			return fmt.Errorf("auth: key %d has no kid; with several keys each needs one", i+1)
		}
		if seen[key.ID] {
			return fmt.Errorf("auth: two keys have the kid %q", key.ID)
		}
		seen[key.ID] = true
	}
	return nil
}

func (key *Key) validate() error {
	if len(key.ID) > keyIDBytesMax {
		return fmt.Errorf("kid is longer than %d bytes", keyIDBytesMax)
	}
	switch key.Algorithm {
	case EdDSA:
		if len(key.Public) != ed25519.PublicKeySize || key.Secret != nil {
			return fmt.Errorf("EdDSA needs an Ed25519 public key of %d bytes", ed25519.PublicKeySize)
		}
	case HS256:
		if len(key.Secret) < secretBytesMin || key.Public != nil {
			return fmt.Errorf("HS256 needs a secret of at least %d bytes", secretBytesMin)
		}
	default:
		return fmt.Errorf("alg is %q; it must be EdDSA or HS256", key.Algorithm)
	}
	return nil
}

// Verify returns the user a token speaks for and the moment (ms since the Unix
// epoch) when this server stops to believe it. Safe for concurrent use.
func (k *Keyring) Verify(token []byte) (user godwit.UserID, expires int64, err error) {
	if len(token) == 0 || len(token) > TokenBytesMax {
		return "", 0, ErrTokenSize
	}
	if bytes.ContainsAny(token, "\r\n") {
		return "", 0, ErrTokenForm // Go's decoder skips them: one token would have many spellings
	}
	var claims jwt.RegisteredClaims
	if _, err := k.parser.ParseWithClaims(string(token), &claims, k.key); err != nil {
		return "", 0, fmt.Errorf("%w: %w", godwit.ErrUnauthorized, err)
	}
	if user, err = godwit.ParseUserID(claims.Subject); err != nil {
		return "", 0, ErrTokenSubject
	}
	// exp is a float on the wire: beyond the clients' integers it means nothing.
	if s := claims.ExpiresAt.Unix(); s <= 0 || s > int64(godwit.SeqMax)/1000 {
		return "", 0, ErrTokenExpiry
	}
	expires = claims.ExpiresAt.UnixMilli()
	if expires <= k.clock().UnixMilli() {
		expires += Leeway.Milliseconds() // accepted late: the session must not end at once
	}
	return user, expires, nil
}

// key picks the key a parsed, not yet verified token asks for. The algorithm
// is the key's: the token's header only has to agree with it.
func (k *Keyring) key(token *jwt.Token) (any, error) {
	if _, has := token.Header["crit"]; has {
		return nil, ErrTokenCrit // RFC 7515 §4.1.11
	}
	id, has := token.Header["kid"]
	name, isString := id.(string)
	key, known := k.keys[name]
	switch {
	case !has && k.only != nil:
		key = *k.only
	case !has || !isString || !known:
		return nil, ErrTokenKey
	}
	if token.Method.Alg() != key.Algorithm {
		return nil, ErrTokenKey
	}
	if key.Algorithm == EdDSA {
		return key.Public, nil
	}
	return key.Secret, nil
}
