package auth

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
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
	eddsaKey   = Key{ID: "ed", Algorithm: EdDSA, Public: public}
	secretKey  = Key{ID: "hs", Algorithm: HS256, Secret: secret}
	goodClaims = jwt.MapClaims{"iss": "issuer", "aud": "godwit", "sub": "alice", "exp": start.Add(time.Hour).Unix()}
)

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

func TestVerifyAcceptsBothAlgorithms(t *testing.T) {
	both, one := keyring(t, eddsaKey, secretKey), keyring(t, eddsaKey)
	f := func(k *Keyring, token string) {
		t.Helper()
		user, expires, err := k.Verify([]byte(token))
		if err != nil || user != "alice" || expires != start.Add(time.Hour).UnixMilli() {
			t.Errorf("got %q, %d, %v", user, expires, err)
		}
	}
	f(both, sign(t, head("EdDSA", "ed"), claims(), private))
	f(both, sign(t, head("HS256", "hs"), claims(), secret))
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
		user, _, err := k.Verify([]byte(token))
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
	f("RS256", one, sign(t, head("RS256", "ed"), claims(), private), jwt.ErrTokenSignatureInvalid)
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

func TestVerifyRefusesEveryFlippedBit(t *testing.T) {
	k := keyring(t, eddsaKey)
	good := []byte(sign(t, head("EdDSA", "ed"), claims(), private))
	for i := range good {
		for bit := range 8 {
			bad := append([]byte(nil), good...)
			bad[i] ^= 1 << bit
			if user, _, err := k.Verify(bad); err == nil {
				t.Fatalf("byte %d, bit %d flipped: accepted as %s", i, bit, user)
			}
		}
	}
}

func TestVerifyGivesLateTokensTheirLeeway(t *testing.T) {
	user, expires, err := keyring(t, eddsaKey).Verify([]byte(sign(t, head("EdDSA", "ed"), claims("exp", start.Add(-10*time.Second).Unix()), private)))
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
	f("must be EdDSA or HS256", func(c *Config) { c.Keys[0].Algorithm = "none" })
	f("public key of 32 bytes", func(c *Config) { c.Keys[0].Public = public[:31] })
	f("secret of at least 32 bytes", func(c *Config) { c.Keys[1].Secret = secret[:31] })
	f("secret of at least 32 bytes", func(c *Config) { c.Keys[1].Public = public })
}

func FuzzVerify(f *testing.F) {
	k := keyring(f, eddsaKey, secretKey)
	for _, kid := range []any{"ed", "hs", nil, 7, map[string]any{}} {
		for _, alg := range []string{"EdDSA", "HS256", "none", ""} {
			f.Add([]byte(sign(f, head(alg, kid), claims(), nil)))
		}
	}
	f.Add([]byte(sign(f, head("EdDSA", "ed"), claims("exp", 1e300, "aud", []any{1, nil}), private)))
	good := sign(f, head("EdDSA", "ed"), claims(), private)
	mac := sign(f, head("HS256", "hs"), claims(), secret)
	f.Add([]byte(good))
	f.Add([]byte(good[:len(good)-9] + "\n\r\n" + good[len(good)-9:]))
	f.Fuzz(func(t *testing.T, token []byte) {
		// Nothing but the two tokens signed here can be valid: a forgery is a find.
		user, _, err := k.Verify(token)
		if err == nil && (user != "alice" || string(token) != good && string(token) != mac) {
			t.Fatalf("accepted %q as %q", token, user)
		}
		if err != nil && !errors.Is(err, godwit.ErrUnauthorized) {
			t.Fatalf("refused with %v", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	k := keyring(b, eddsaKey, secretKey)
	f := func(name, token string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := k.Verify([]byte(token)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("EdDSA", sign(b, head("EdDSA", "ed"), claims(), private))
	f("HS256", sign(b, head("HS256", "hs"), claims(), secret))
}
