package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer publishes P-256 keys under an address and signs tokens with them.
type issuer struct {
	t      *testing.T
	set    atomic.Pointer[string] // nil: it answers 503
	server *httptest.Server
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{t: t}
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		set := i.set.Load()
		if set == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(*set))
	}))
	t.Cleanup(i.server.Close)
	return i
}

func (i *issuer) config(t *testing.T) Config {
	cfg := testConfig(t)
	cfg.Dev = false
	cfg.Auth.JWKSURL, cfg.Auth.Issuer, cfg.Auth.Audience = i.server.URL, "https://id.example", "chat"
	return cfg
}

func (i *issuer) key() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	return key
}

func (i *issuer) publish(keys map[string]*ecdsa.PrivateKey) {
	var list []string
	for kid, key := range keys {
		point, err := key.PublicKey.Bytes()
		if err != nil {
			i.t.Fatal(err)
		}
		encode := base64.RawURLEncoding.EncodeToString
		list = append(list, fmt.Sprintf(`{"kty":"EC","crv":"P-256","use":"sig","kid":%q,"x":%q,"y":%q}`, kid, encode(point[1:33]), encode(point[33:])))
	}
	set := `{"keys":[` + strings.Join(list, ",") + `]}`
	i.set.Store(&set)
}

func (i *issuer) token(kid string, key *ecdsa.PrivateKey, user string) string {
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": "https://id.example", "aud": "chat", "sub": user, "exp": time.Now().Add(time.Hour).Unix(),
	})
	token.Header["kid"] = kid
	text, err := token.SignedString(key)
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

// TestKeysRotateWhileConnected: the session of a removed key goes on, its token
// opens no other one, and the new key's tokens are believed at once.
func TestKeysRotateWhileConnected(t *testing.T) {
	i := newIssuer(t)
	first, second := i.key(), i.key()
	i.publish(map[string]*ecdsa.PrivateKey{"first": first})
	n := mustOpen(t, i.config(t))
	old := connected(t, n, i.token("first", first, "alice"))
	i.publish(map[string]*ecdsa.PrivateKey{"second": second})
	connected(t, n, i.token("second", second, "bob"))
	late := dial(t, n)
	late.write(`{"id":1,"connect":{"token":%q,"device":"late"}}`, i.token("first", first, "alice"))
	if <-late.closed; late.code != 4101 {
		t.Errorf("a token of the removed key: closed with %d", late.code)
	}
	if answer, ok := old.store(2, "still here"); !ok || !strings.Contains(answer, `"stored"`) {
		t.Errorf("the old session: %q", answer)
	}
	_, _, metrics := get(t, "http://"+n.OpsAddr()+"/metrics", "")
	for _, want := range []string{"\ngodwit_auth_keys 1\n", "\ngodwit_auth_jwks_failures_total 0\n", "\ngodwit_auth_tickets 0\n"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %q in the metrics", want)
		}
	}
}

func TestOpenNeedsKeysFromSomewhere(t *testing.T) {
	i := newIssuer(t)
	cfg := i.config(t)
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), i.server.URL+": the answer is 503") {
		t.Errorf("without any key: %v", err)
	}
	cfg.Auth.KeysFile = writeFile(t, "keys: [{kid: own, alg: HS256, key: YSBzZWNyZXQgd2l0aCBhdCBsZWFzdCB0aGlydHktdHdvIGJ5dGVz}]")
	mustOpen(t, cfg)
}

func TestValidateNamesTheFieldOfAuth(t *testing.T) {
	jwks := AuthConfig{JWKSURL: "https://id.example/jwks", JWKSRefresh: Duration(time.Hour), Issuer: "i", Audience: "a"}
	f := func(field string, change func(*Config)) {
		t.Helper()
		cfg := Default()
		cfg.Auth = jwks
		change(&cfg)
		err := cfg.Validate()
		if field == "" && err != nil || field != "" && (err == nil || !strings.HasPrefix(err.Error(), field+" ") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("got %v, want one sentence about %q", err, field)
		}
	}
	f("", func(*Config) {})
	f("", func(c *Config) { c.Auth.KeysFile = "k" })
	f("auth", func(c *Config) { c.Dev = true })
	f("auth", func(c *Config) { c.Dev, c.Auth = true, AuthConfig{JWKSURL: jwks.JWKSURL} })
	f("auth.keys_file", func(c *Config) { c.Auth.JWKSURL = "" })
	f("auth.jwks_url", func(c *Config) { c.Auth.JWKSURL = "http://id.example/jwks" })
	f("auth.jwks_refresh", func(c *Config) { c.Auth.JWKSRefresh = Duration(time.Second) })
	f("auth.jwks_refresh", func(c *Config) { c.Auth.JWKSRefresh = Duration(25 * time.Hour) })
	f("auth.issuer", func(c *Config) { c.Auth.Issuer = "" })
	f("auth.audience", func(c *Config) { c.Auth.Audience = "" })
	f("auth.cache", func(c *Config) { c.Auth.Cache = -1 })
}
