package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/godwit-im/godwit"
)

// Bounds of tokens.
const (
	// TokenBytesMax bounds a token before anything of it is decoded, as the
	// protocol has it.
	TokenBytesMax = 8 << 10
	// Leeway is how far the issuer's clock may be off.
	Leeway = 30 * time.Second
)

// Errors of Verify say why a token was refused. They are for the log: a client
// only learns godwit.ErrUnauthorized, which each of them wraps, but one.
var (
	// ErrKeysPending wraps godwit.ErrUnavailable and is temporary: the keys are
	// being read anew, and the token's may be among them.
	ErrKeysPending = fmt.Errorf("%w: the keys are being read", godwit.ErrUnavailable)

	ErrTokenSize    = fmt.Errorf("%w: empty or larger than 8 KiB", godwit.ErrUnauthorized)
	ErrTokenForm    = fmt.Errorf("%w: characters outside of base64url", godwit.ErrUnauthorized)
	ErrTokenKey     = fmt.Errorf("%w: no key of this id and algorithm", godwit.ErrUnauthorized)
	ErrTokenSubject = fmt.Errorf("%w: sub is not a user id", godwit.ErrUnauthorized)
	ErrTokenExpiry  = fmt.Errorf("%w: exp is out of range", godwit.ErrUnauthorized)
	ErrTokenCrit    = fmt.Errorf("%w: crit names an extension that is not understood", godwit.ErrUnauthorized)
)

// Config describes whom to believe.
type Config struct {
	Keys     []Key
	JWKS     JWKSConfig // more keys from an address, if it names one
	Issuer   string     // required iss of every token
	Audience string     // required among the aud of every token

	// Cached is how many verified tokens are remembered at least, at about 100
	// bytes each and never more than twice as many. 0: none.
	Cached int

	Clock  func() time.Time // default time.Now
	Logger *slog.Logger     // default: nothing is logged
}

// Keyring verifies tokens. Any number of goroutines may use it. One with a JWKS
// address must be started before it is used and closed after.
type Keyring struct {
	static []Key // of the configuration, never changed
	// set is replaced as a whole, by the goroutine of remote only: Verify loads
	// it once and takes no lock.
	set    atomic.Pointer[keySet]
	remote *remote // nil without a JWKS address
	cache  *cache  // nil: nothing is remembered
	clock  func() time.Time
	parser *jwt.Parser

	verified, remembered atomic.Uint64
}

// Stats is what a keyring counts.
type Stats struct {
	Keys       int    // whose tokens are believed
	ReadAt     int64  // when the JWKS address was last read with success, ms since the Unix epoch; 0: never
	Failures   uint64 // attempts to read it that failed
	Verified   uint64 // tokens whose signature was checked
	Remembered uint64 // tokens believed because they were verified before
}

// NewKeyring checks the configuration; it copies the list of keys. It does not
// use the network.
func NewKeyring(cfg Config) (*Keyring, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keyring{static: append([]Key(nil), cfg.Keys...), clock: cfg.Clock}
	k.set.Store(newKeySet(k.static, 0))
	if cfg.JWKS.URL != "" {
		k.remote = newRemote(cfg.JWKS, k.replace, cfg.Clock, cfg.Logger)
	}
	if cfg.Cached > 0 {
		k.cache = newCache(cfg.Cached)
	}
	k.parser = jwt.NewParser(
		jwt.WithValidMethods(algorithms),
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
	case len(cfg.Keys) == 0 && cfg.JWKS.URL == "":
		return errors.New("auth: no key is given, so no token could be accepted")
	case cfg.Issuer == "":
		return errors.New("auth: issuer is empty; name the iss that tokens carry")
	case cfg.Audience == "":
		return errors.New("auth: audience is empty; name the aud that tokens carry")
	case cfg.Cached < 0:
		return errors.New("auth: the number of cached tokens is negative")
	}
	if err := cfg.JWKS.validate(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range cfg.Keys {
		key := &cfg.Keys[i]
		if err := key.validate(); err != nil {
			return fmt.Errorf("auth: key %d (kid %q): %w", i+1, key.ID, err)
		}
		if key.ID == "" && (len(cfg.Keys) > 1 || cfg.JWKS.URL != "") {
			return fmt.Errorf("auth: key %d has no kid; with several keys each needs one", i+1)
		}
		if seen[key.ID] {
			return fmt.Errorf("auth: two keys have the kid %q", key.ID)
		}
		seen[key.ID] = true
	}
	return nil
}

// Start reads the JWKS address, if there is one, and from then on again and
// again in the background until Close. It fails if that first attempt does and
// no key was configured otherwise: such a server could believe nobody.
func (k *Keyring) Start(ctx context.Context) error {
	if k.remote == nil {
		return nil
	}
	return k.remote.start(ctx, len(k.static) > 0)
}

// Close ends what Start began and returns when it has ended. Verify goes on to
// work with the keys of that moment. Close is idempotent.
func (k *Keyring) Close() {
	if k.remote != nil {
		k.remote.stop()
	}
}

// Stats may be called at any time.
func (k *Keyring) Stats() Stats {
	s := Stats{Keys: len(k.set.Load().keys), Verified: k.verified.Load(), Remembered: k.remembered.Load()}
	if k.remote != nil {
		s.ReadAt, s.Failures = k.remote.readAt.Load(), k.remote.failed.Load()
	}
	return s
}

// replace makes these the keys beside the configured ones, which win where both
// have a kid. The goroutine of remote calls it.
func (k *Keyring) replace(keys []Key) (changed bool, notes []string) {
	old, own := k.set.Load(), newKeySet(k.static, 0)
	all := append([]Key(nil), k.static...)
	for _, key := range keys {
		switch {
		case own.has(key.ID):
			notes = append(notes, fmt.Sprintf("key %q: the keys file has one of that kid, which counts", key.ID))
		case key.ID == "" && len(k.static) > 0:
			notes = append(notes, "a key without kid beside those of the keys file")
		default:
			all = append(all, key)
		}
	}
	set := newKeySet(all, old.generation+1)
	if set.equal(old) {
		return false, notes
	}
	k.set.Store(set)
	return true, notes
}

// Verify returns the user a token speaks for, when it was issued, and when this
// server stops to believe it. A token of an unknown kid may
// wait up to 2 s for the keys to be read anew; nothing else blocks. If that takes
// longer, or others wait already, the error is ErrKeysPending.
func (k *Keyring) Verify(token []byte) (who godwit.Identity, err error) {
	if len(token) == 0 || len(token) > TokenBytesMax {
		return godwit.Identity{}, ErrTokenSize
	}
	if k.cache == nil {
		who, _, err = k.verify(token)
		return k.until(who), err
	}
	digest := sha256.Sum256(token)
	who, ok := k.cache.get(digest, k.set.Load().generation)
	if ok && k.clock().UnixMilli() < who.Expires+Leeway.Milliseconds() {
		k.remembered.Add(1)
		return k.until(who), nil
	}
	who, generation, err := k.verify(token)
	if err == nil {
		k.cache.put(digest, generation, who)
	}
	return k.until(who), err
}

// until is when the session of an accepted token ends: a token accepted late,
// within the leeway, must not end its session at once.
func (k *Keyring) until(who godwit.Identity) godwit.Identity {
	if who.Expires > 0 && who.Expires <= k.clock().UnixMilli() {
		who.Expires += Leeway.Milliseconds()
	}
	return who
}

// verify returns what the token says and which generation of keys believed it.
func (k *Keyring) verify(token []byte) (who godwit.Identity, generation uint64, err error) {
	if bytes.ContainsAny(token, "\r\n") {
		return godwit.Identity{}, 0, ErrTokenForm // Go's decoder skips them: one token would have many spellings
	}
	k.verified.Add(1)
	var claims jwt.RegisteredClaims
	_, err = k.parser.ParseWithClaims(string(token), &claims, func(t *jwt.Token) (any, error) {
		key, of, err := k.key(t)
		generation = of
		return key.material(), err
	})
	if errors.Is(err, ErrKeysPending) {
		return godwit.Identity{}, 0, ErrKeysPending
	}
	if err != nil {
		return godwit.Identity{}, 0, fmt.Errorf("%w: %w", godwit.ErrUnauthorized, err)
	}
	if who.User, err = godwit.ParseUserID(claims.Subject); err != nil {
		return godwit.Identity{}, 0, ErrTokenSubject
	}
	// exp is a float on the wire: beyond the clients' integers it means nothing.
	if s := claims.ExpiresAt.Unix(); s <= 0 || s > int64(godwit.SeqMax)/1000 {
		return godwit.Identity{}, 0, ErrTokenExpiry
	}
	who.Expires = claims.ExpiresAt.UnixMilli()
	if iat := claims.IssuedAt; iat != nil && iat.Unix() > 0 && iat.Unix() <= int64(godwit.SeqMax)/1000 {
		who.Issued = iat.UnixMilli()
	}
	return who, generation, nil
}

// key picks the key a parsed, not yet verified token asks for. The algorithm
// is the key's: the token's header only has to agree with it.
func (k *Keyring) key(token *jwt.Token) (key Key, generation uint64, err error) {
	if _, has := token.Header["crit"]; has {
		return Key{}, 0, ErrTokenCrit // RFC 7515 §4.1.11
	}
	set := k.set.Load()
	id, has := token.Header["kid"]
	name, isString := id.(string)
	known := false
	switch {
	case !has && set.only != nil:
		key, known = *set.only, true
	case has && isString:
		if set, err = k.setWith(name, set); err != nil {
			return Key{}, 0, err
		}
		key, known = set.keys[name]
	}
	if alg := token.Method.Alg(); !known || alg != key.Algorithm {
		return Key{}, 0, fmt.Errorf("%w: kid %.64q, alg %s", ErrTokenKey, name, alg)
	}
	return key, set.generation, nil
}

// setWith returns a set that has the kid, or else the one at hand. For an
// unknown kid it waits for the keys to be read anew: a rotation must not refuse
// the first tokens of the new key. Two rounds, because what is being read at
// this moment may have been asked for before the rotation.
func (k *Keyring) setWith(kid string, set *keySet) (*keySet, error) {
	if set.has(kid) || k.remote == nil || kid == "" || len(kid) > keyIDBytesMax {
		return set, nil
	}
	deadline := time.NewTimer(unknownWait)
	defer deadline.Stop()
	for range 2 {
		read, err := k.remote.await(deadline.C)
		if !read {
			return set, err
		}
		if set = k.set.Load(); set.has(kid) {
			break
		}
	}
	return set, nil
}

func (s *keySet) has(kid string) bool {
	_, ok := s.keys[kid]
	return ok
}
