package node

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestKeysFileDecidesWhoIsBelieved runs tokens of both algorithms through a
// node, from the keys file to the session, and those it must not believe.
func TestKeysFileDecidesWhoIsBelieved(t *testing.T) {
	private := ed25519.NewKeyFromSeed([]byte("a seed of exactly thirty-two byte")[:32])
	public := private.Public().(ed25519.PublicKey)
	secret := []byte("a secret with at least thirty-two bytes")
	cfg := testConfig(t)
	path := filepath.Join(t.TempDir(), "keys.yaml")
	file := fmt.Sprintf("keys:\n- {kid: main, alg: EdDSA, key: %s}\n- {kid: backend, alg: HS256, key: %s}\n",
		base64.StdEncoding.EncodeToString(public), base64.StdEncoding.EncodeToString(secret))
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Dev, cfg.Auth = false, AuthConfig{KeysFile: path, Issuer: "https://id.example", Audience: "chat"}
	now := time.Now()
	cfg.Clock = func() time.Time { return now }
	n := mustOpen(t, cfg)

	sign := func(kid string, method jwt.SigningMethod, key any, change func(jwt.MapClaims)) string {
		t.Helper()
		claims := jwt.MapClaims{"iss": "https://id.example", "aud": "chat", "sub": "alice", "exp": now.Add(time.Hour).Unix()}
		if change != nil {
			change(claims)
		}
		token := jwt.NewWithClaims(method, claims)
		token.Header["kid"] = kid
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for kid, token := range map[string]string{
		"main":    sign("main", jwt.SigningMethodEdDSA, private, nil),
		"backend": sign("backend", jwt.SigningMethodHS256, secret, nil),
	} {
		s := connected(t, n, token)
		if answer, ok := s.store(2, "the same by both"); !ok || !strings.Contains(answer, `"stored"`) && !strings.Contains(answer, `"dup":true`) {
			t.Errorf("%s: send answered %q", kid, answer)
		}
	}
	refused := func(name, token string) {
		t.Helper()
		s := dial(t, n)
		s.write(`{"id":1,"connect":{"token":%q,"device":"phone"}}`, token)
		if frame, ok := s.until(`"connect":`); ok {
			t.Errorf("%s: believed: %s", name, frame)
			return
		}
		if <-s.closed; s.code != 4101 {
			t.Errorf("%s: closed with %d, want 4101", name, s.code)
		}
	}
	refused("the public key as a secret", sign("main", jwt.SigningMethodHS256, []byte(public), nil))
	refused("another kid's algorithm", sign("backend", jwt.SigningMethodEdDSA, private, nil))
	refused("an unknown kid", sign("other", jwt.SigningMethodHS256, secret, nil))
	refused("another issuer", sign("main", jwt.SigningMethodEdDSA, private, func(c jwt.MapClaims) { c["iss"] = "https://evil.example" }))
	refused("another audience", sign("main", jwt.SigningMethodEdDSA, private, func(c jwt.MapClaims) { c["aud"] = "mail" }))
	refused("no end", sign("main", jwt.SigningMethodEdDSA, private, func(c jwt.MapClaims) { delete(c, "exp") }))
	refused("a development token", devToken(t, cfg))
}
