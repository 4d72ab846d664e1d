package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/godwit-im/godwit"
)

// start is the tests' clock: fixed, so that tokens are the same in every run.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var (
	seed       = []byte("a seed of exactly thirty-two byte")[:32]
	private    = ed25519.NewKeyFromSeed(seed)
	public     = private.Public().(ed25519.PublicKey)
	secret     = []byte("a secret with at least thirty-two bytes in it")
	curveKey   = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	modulusKey = must(rsa.GenerateKey(rand.Reader, 2048))
	ecdsaKey   = Key{ID: "es", Algorithm: ES256, Public: &curveKey.PublicKey}
	rsaKey     = Key{ID: "rs", Algorithm: RS256, Public: &modulusKey.PublicKey}
	eddsaKey   = Key{ID: "ed", Algorithm: EdDSA, Public: public}
	secretKey  = Key{ID: "hs", Algorithm: HS256, Secret: secret}
	goodClaims = jwt.MapClaims{"iss": "issuer", "aud": "godwit", "sub": "alice", "exp": start.Add(time.Hour).Unix()}
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func keyring(t testing.TB, keys ...Key) *Keyring {
	t.Helper()
	k, err := NewKeyring(Config{Keys: keys, Issuer: "issuer", Audience: "godwit", Clock: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// claims returns the good claims with some changed; nil removes one.
func claims(changes ...any) jwt.MapClaims {
	c := jwt.MapClaims{}
	for name, value := range goodClaims {
		c[name] = value
	}
	for i := 0; i < len(changes); i += 2 {
		if name := changes[i].(string); changes[i+1] == nil {
			delete(c, name)
		} else {
			c[name] = changes[i+1]
		}
	}
	return c
}

// sign makes a token with any header, by hand: the library would refuse some.
func sign(t testing.TB, header map[string]any, claims jwt.MapClaims, signer any) string {
	t.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	var signature []byte
	switch signer := signer.(type) {
	case ed25519.PrivateKey:
		signature = ed25519.Sign(signer, []byte(text))
	case []byte:
		mac := hmac.New(sha256.New, signer)
		mac.Write([]byte(text))
		signature = mac.Sum(nil)
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, signer, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case *rsa.PrivateKey:
		sum := sha256.Sum256([]byte(text))
		signature = must(rsa.SignPKCS1v15(rand.Reader, signer, crypto.SHA256, sum[:]))
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func head(alg string, kid any) map[string]any {
	h := map[string]any{"typ": "JWT", "alg": alg}
	if kid != nil {
		h["kid"] = kid
	}
	return h
}

func TestVerifyAcceptsEveryAlgorithm(t *testing.T) {
	both, one := keyring(t, eddsaKey, secretKey, ecdsaKey, rsaKey), keyring(t, eddsaKey)
	f := func(k *Keyring, token string) {
		t.Helper()
		who, err := k.Verify([]byte(token))
		user, expires := who.User, who.Expires
		if err != nil || user != "alice" || expires != start.Add(time.Hour).UnixMilli() {
			t.Errorf("got %q, %d, %v", user, expires, err)
		}
	}
	f(both, sign(t, head("EdDSA", "ed"), claims(), private))
	f(both, sign(t, head("HS256", "hs"), claims(), secret))
	f(both, sign(t, head("ES256", "es"), claims(), curveKey))
	f(both, sign(t, head("RS256", "rs"), claims(), modulusKey))
	f(one, sign(t, head("EdDSA", "ed"), claims(), private))
	f(one, sign(t, head("EdDSA", nil), claims(), private))
	f(both, sign(t, head("HS256", "hs"), claims("aud", []string{"other", "godwit"}), secret))
}

func TestVerifyRefuses(t *testing.T) {
	both, one := keyring(t, eddsaKey, secretKey), keyring(t, eddsaKey)
	good := sign(t, head("EdDSA", "ed"), claims(), private)
	_, otherPrivate, _ := ed25519.GenerateKey(nil)
	f := func(name string, k *Keyring, token string, want error) {
		t.Helper()
		who, err := k.Verify([]byte(token))
		user := who.User
		if err == nil || user != "" || !errors.Is(err, godwit.ErrUnauthorized) || !errors.Is(err, want) {
			t.Errorf("%s: got %q, %v; want %v", name, user, err, want)
		}
		if token != "" && len(token) < 1000 && err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error quotes the token", name)
		}
	}
	f("empty", one, "", ErrTokenSize)
	f("oversize", one, good+strings.Repeat("A", TokenBytesMax), ErrTokenSize)
	f("line feed in the signature", one, good[:len(good)-4]+"\n"+good[len(good)-4:], ErrTokenForm)
	f("carriage return at the end", one, good+"\r", ErrTokenForm)
	f("not a token", one, "alice", jwt.ErrTokenMalformed)
	f("four parts", one, good+".x", jwt.ErrTokenMalformed)
	f("alg none", one, sign(t, head("none", "ed"), claims(), nil), jwt.ErrTokenSignatureInvalid)
	f("alg None", one, sign(t, head("None", "ed"), claims(), nil), jwt.ErrTokenUnverifiable)
	f("public key as HS256 secret", one, sign(t, head("HS256", "ed"), claims(), []byte(public)), ErrTokenKey)
	f("public key as HS256 secret, no kid", one, sign(t, head("HS256", nil), claims(), []byte(public)), ErrTokenKey)
	f("EdDSA under the HS256 kid", both, sign(t, head("EdDSA", "hs"), claims(), private), ErrTokenKey)
	f("RS256 under the EdDSA kid", one, sign(t, head("RS256", "ed"), claims(), modulusKey), ErrTokenKey)
	f("another algorithm", one, sign(t, head("RS512", "ed"), claims(), modulusKey), jwt.ErrTokenSignatureInvalid)
	f("kid missing with two keys", both, sign(t, head("EdDSA", nil), claims(), private), ErrTokenKey)
	f("kid unknown", one, sign(t, head("EdDSA", "who"), claims(), private), ErrTokenKey)
	f("kid not a string", one, sign(t, head("EdDSA", 7), claims(), private), ErrTokenKey)
	f("crit", one, sign(t, map[string]any{"alg": "EdDSA", "kid": "ed", "crit": []string{"b64"}}, claims(), private), ErrTokenCrit)
	f("another key", one, sign(t, head("EdDSA", "ed"), claims(), otherPrivate), jwt.ErrTokenSignatureInvalid)
	f("signature cut", one, good[:strings.LastIndexByte(good, '.')+1], jwt.ErrTokenSignatureInvalid)
	f("expired", one, sign(t, head("EdDSA", "ed"), claims("exp", start.Add(-Leeway-time.Second).Unix()), private), jwt.ErrTokenExpired)
	f("no exp", one, sign(t, head("EdDSA", "ed"), claims("exp", nil), private), jwt.ErrTokenRequiredClaimMissing)
	f("exp beyond integers", one, sign(t, head("EdDSA", "ed"), claims("exp", 1e17), private), ErrTokenExpiry)
	f("exp is text", one, sign(t, head("EdDSA", "ed"), claims("exp", "soon"), private), jwt.ErrTokenMalformed)
	f("not yet valid", one, sign(t, head("EdDSA", "ed"), claims("nbf", start.Add(time.Minute).Unix()), private), jwt.ErrTokenNotValidYet)
	f("issuer", one, sign(t, head("EdDSA", "ed"), claims("iss", "mallory"), private), jwt.ErrTokenInvalidIssuer)
	f("no issuer", one, sign(t, head("EdDSA", "ed"), claims("iss", nil), private), jwt.ErrTokenRequiredClaimMissing)
	f("audience", one, sign(t, head("EdDSA", "ed"), claims("aud", "mail"), private), jwt.ErrTokenInvalidAudience)
	f("no audience", one, sign(t, head("EdDSA", "ed"), claims("aud", nil), private), jwt.ErrTokenRequiredClaimMissing)
	f("no subject", one, sign(t, head("EdDSA", "ed"), claims("sub", nil), private), ErrTokenSubject)
	f("subject is no user id", one, sign(t, head("EdDSA", "ed"), claims("sub", "alice smith"), private), ErrTokenSubject)
}

// TestVerifyPinsEveryKeyToItsAlgorithm tries every key under every other
// algorithm's name, signed with what a forger knows: the public key as a secret
// in every spelling, keys of his own, nothing at all.
func TestVerifyPinsEveryKeyToItsAlgorithm(t *testing.T) {
	keys := []Key{eddsaKey, ecdsaKey, rsaKey, secretKey}
	all := keyring(t, keys...)
	_, foreign, _ := ed25519.GenerateKey(nil)
	forgers := map[string][]any{
		"EdDSA": {foreign}, "ES256": {must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))},
		"RS256": {must(rsa.GenerateKey(rand.Reader, 2048))}, "HS256": {[]byte("")}, "none": {nil},
	}
	for _, key := range keys[:3] {
		der := must(x509.MarshalPKIXPublicKey(key.Public))
		forgers["HS256"] = append(forgers["HS256"], der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	forgers["HS256"] = append(forgers["HS256"], []byte(public), modulusKey.N.Bytes())
	forgers["EdDSA"] = append(forgers["EdDSA"], private) // good under its own kid alone
	forgers["ES256"] = append(forgers["ES256"], curveKey)
	forgers["RS256"] = append(forgers["RS256"], modulusKey)
	tried := 0
	for _, key := range keys {
		alone := key
		for alg, signers := range forgers {
			for i, signer := range signers {
				if alg == key.Algorithm && i > 0 && alg != "HS256" {
					continue // the key's own
				}
				for _, kid := range []any{key.ID, nil} {
					token, k := sign(t, head(alg, kid), claims(), signer), all
					if kid == nil {
						k = keyring(t, alone)
					}
					if who, err := k.Verify([]byte(token)); err == nil {
						t.Errorf("%s key, token of %s, kid %v, forger %d: accepted as %s", key.Algorithm, alg, kid, i, who.User)
					}
					tried++
				}
			}
		}
	}
	if tried < 80 {
		t.Errorf("only %d forgeries were tried", tried)
	}
}

func TestVerifyRefusesOtherFormsOfSignatures(t *testing.T) {
	k := keyring(t, ecdsaKey, rsaKey)
	f := func(name, token string, change func(signature []byte) []byte) {
		t.Helper()
		text, encoded, _ := cutLast(token)
		signature := must(base64.RawURLEncoding.DecodeString(encoded))
		if who, err := k.Verify([]byte(text + "." + base64.RawURLEncoding.EncodeToString(change(signature)))); err == nil {
			t.Errorf("%s: accepted as %s", name, who.User)
		}
	}
	es, rs := sign(t, head("ES256", "es"), claims(), curveKey), sign(t, head("RS256", "rs"), claims(), modulusKey)
	f("ES256 in ASN.1", es, func([]byte) []byte {
		text, _, _ := cutLast(es)
		sum := sha256.Sum256([]byte(text))
		return must(ecdsa.SignASN1(rand.Reader, curveKey, sum[:]))
	})
	f("ES256 of zeros", es, func(s []byte) []byte { return make([]byte, len(s)) })
	f("ES256 with r zero", es, func(s []byte) []byte { return append(make([]byte, 32), s[32:]...) })
	f("ES256 plus the order", es, func(s []byte) []byte {
		r := new(big.Int).SetBytes(s[:32])
		return append(r.Add(r, elliptic.P256().Params().N).Bytes(), s[32:]...)
	})
	f("ES256 longer", es, func(s []byte) []byte { return append(append([]byte{0}, s[:32]...), append([]byte{0}, s[32:]...)...) })
	f("RS256 longer", rs, func(s []byte) []byte { return append([]byte{0}, s...) })
	f("RS256 shorter", rs, func(s []byte) []byte { return s[1:] })
	f("RS256 with PSS", rs, func([]byte) []byte {
		text, _, _ := cutLast(rs)
		sum := sha256.Sum256([]byte(text))
		return must(rsa.SignPSS(rand.Reader, modulusKey, crypto.SHA256, sum[:], nil))
	})
}

func cutLast(token string) (text, signature string, ok bool) {
	i := strings.LastIndexByte(token, '.')
	return token[:i], token[i+1:], i > 0
}

func TestVerifyRefusesEveryFlippedBit(t *testing.T) {
	k := keyring(t, eddsaKey, secretKey, ecdsaKey, rsaKey)
	for _, token := range []string{
		sign(t, head("EdDSA", "ed"), claims(), private), sign(t, head("HS256", "hs"), claims(), secret),
		sign(t, head("ES256", "es"), claims(), curveKey), sign(t, head("RS256", "rs"), claims(), modulusKey),
	} {
		if _, err := k.Verify([]byte(token)); err != nil {
			t.Fatal(err)
		}
		bad := []byte(token)
		for i := range bad {
			for bit := range 8 {
				bad[i] ^= 1 << bit
				if who, err := k.Verify(bad); err == nil {
					t.Fatalf("byte %d, bit %d flipped: %s accepted as %s", i, bit, bad, who.User)
				}
				bad[i] ^= 1 << bit
			}
		}
	}
}

func TestVerifyGivesLateTokensTheirLeeway(t *testing.T) {
	who, err := keyring(t, eddsaKey).Verify([]byte(sign(t, head("EdDSA", "ed"), claims("exp", start.Add(-10*time.Second).Unix()), private)))
	user, expires := who.User, who.Expires
	if want := start.Add(20 * time.Second).UnixMilli(); err != nil || user != "alice" || expires != want {
		t.Errorf("got %q, %d, %v; want alice until %d", user, expires, err, want)
	}
}

func TestNewKeyringRefuses(t *testing.T) {
	good := Config{Keys: []Key{eddsaKey, secretKey}, Issuer: "i", Audience: "a"}
	if _, err := NewKeyring(good); err != nil {
		t.Fatal(err)
	}
	f := func(want string, change func(*Config)) {
		t.Helper()
		cfg := good
		cfg.Keys = append([]Key(nil), good.Keys...)
		change(&cfg)
		if _, err := NewKeyring(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
	f("no key", func(c *Config) { c.Keys = nil })
	f("issuer", func(c *Config) { c.Issuer = "" })
	f("audience", func(c *Config) { c.Audience = "" })
	f("two keys have the kid", func(c *Config) { c.Keys[1].ID = "ed" })
	f("no kid", func(c *Config) { c.Keys[0].ID = "" })
	f("longer than", func(c *Config) { c.Keys[0].ID = strings.Repeat("k", 129) })
	f("must be EdDSA, ES256, RS256, HS256", func(c *Config) { c.Keys[0].Algorithm = "none" })
	f("not a secret", func(c *Config) { c.Keys[0].Secret = secret })
	f("public key of 32 bytes", func(c *Config) { c.Keys[0].Public = &curveKey.PublicKey })
	f("public key of 32 bytes", func(c *Config) { c.Keys[0].Public = nil })
	f("on P-256", func(c *Config) { c.Keys[0] = Key{"x", ES256, &modulusKey.PublicKey, nil} })
	f("on P-256", func(c *Config) { c.Keys[0] = Key{"x", ES256, (*ecdsa.PublicKey)(nil), nil} })
	f("on P-256", func(c *Config) {
		c.Keys[0] = Key{"x", ES256, &must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).PublicKey, nil}
	})
	f("not a point", func(c *Config) {
		//lint:ignore SA1019 an invalid key can be made in no other way
		c.Keys[0] = Key{"x", ES256, &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}, nil}
	})
	modulus := func(n *big.Int, e int) func(c *Config) {
		return func(c *Config) { c.Keys[0] = Key{"x", RS256, &rsa.PublicKey{N: n, E: e}, nil} }
	}
	bits := func(n uint) *big.Int { return new(big.Int).SetBit(big.NewInt(1), int(n)-1, 1) }
	f("an RSA public key", func(c *Config) { c.Keys[0] = Key{"x", RS256, public, nil} })
	f("an RSA public key", modulus(nil, 65537))
	f("has 2047 bits", modulus(bits(2047), 65537))
	f("has 8193 bits", modulus(bits(8193), 65537))
	f("odd modulus", modulus(new(big.Int).Lsh(big.NewInt(1), 2047), 65537))
	f("exponent", modulus(modulusKey.N, 1))
	f("exponent", modulus(modulusKey.N, 65536))
	f("https://", func(c *Config) { c.JWKS.URL = "http://id.example/jwks" })
	f("no kid", func(c *Config) { c.JWKS.URL, c.Keys = "https://id.example/jwks", []Key{{"", EdDSA, public, nil}} })
	f("refresh", func(c *Config) { c.JWKS = JWKSConfig{URL: "https://id.example/jwks", Refresh: time.Second} })
	f("negative", func(c *Config) { c.Cached = -1 })
	f("public key of 32 bytes", func(c *Config) { c.Keys[0].Public = public[:31] })
	f("secret of at least 32 bytes", func(c *Config) { c.Keys[1].Secret = secret[:31] })
	f("secret of at least 32 bytes", func(c *Config) { c.Keys[1].Public = public })
}

func FuzzVerify(f *testing.F) {
	k := keyring(f, eddsaKey, secretKey, ecdsaKey, rsaKey)
	for _, kid := range []any{"ed", "hs", "es", "rs", nil, 7, map[string]any{}} {
		for _, alg := range []string{"EdDSA", "HS256", "ES256", "RS256", "PS256", "none", ""} {
			f.Add([]byte(sign(f, head(alg, kid), claims(), nil)))
		}
	}
	f.Add([]byte(sign(f, head("EdDSA", "ed"), claims("exp", 1e300, "aud", []any{1, nil}), private)))
	// ES256 is left out: whoever has one signature can write its mirror image.
	good := []string{
		sign(f, head("EdDSA", "ed"), claims(), private), sign(f, head("HS256", "hs"), claims(), secret),
		sign(f, head("RS256", "rs"), claims(), modulusKey),
	}
	for _, token := range good {
		f.Add([]byte(token))
		f.Add([]byte(token[:len(token)-9] + "\n\r\n" + token[len(token)-9:]))
	}
	f.Fuzz(func(t *testing.T, token []byte) {
		// Nothing but the tokens signed here can be valid: a forgery is a find.
		who, err := k.Verify(token)
		user := who.User
		if err == nil && (user != "alice" || !slices.Contains(good, string(token))) {
			t.Fatalf("accepted %q as %q", token, user)
		}
		if err != nil && !errors.Is(err, godwit.ErrUnauthorized) {
			t.Fatalf("refused with %v", err)
		}
	})
}

// BenchmarkVerify shows what remembering verified tokens saves: the same token
// is verified again and again, as long-polling does.
func BenchmarkVerify(b *testing.B) {
	keys := []Key{eddsaKey, secretKey, ecdsaKey, rsaKey}
	plain := keyring(b, keys...)
	caching, err := NewKeyring(Config{Keys: keys, Issuer: "issuer", Audience: "godwit", Cached: 1 << 16, Clock: plain.clock})
	if err != nil {
		b.Fatal(err)
	}
	f := func(name string, k *Keyring, token []byte) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Verify(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, key := range []struct {
		id, alg string
		signer  any
	}{{"ed", EdDSA, private}, {"es", ES256, curveKey}, {"rs", RS256, modulusKey}, {"hs", HS256, secret}} {
		token := []byte(sign(b, head(key.alg, key.id), claims(), key.signer))
		f(key.alg, plain, token)
		f(key.alg+"/cached", caching, token)
	}
}
