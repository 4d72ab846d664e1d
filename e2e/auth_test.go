package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lxzan/gws"
)

// issuer signs tokens and publishes its keys under an address, as a company's
// own login would.
type issuer struct {
	t      testing.TB
	set    atomic.Pointer[string]
	server *httptest.Server
}

// issuerKey is one of its keys.
type issuerKey struct {
	kid     string
	method  jwt.SigningMethod
	private crypto.Signer
}

func newIssuer(t testing.TB) *issuer {
	i := &issuer{t: t}
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = io.WriteString(w, *i.set.Load())
	}))
	t.Cleanup(i.server.Close)
	return i
}

// key makes a key of an algorithm.
func (i *issuer) key(kid string, method jwt.SigningMethod) issuerKey {
	i.t.Helper()
	var private crypto.Signer
	var err error
	switch method {
	case jwt.SigningMethodES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jwt.SigningMethodRS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case jwt.SigningMethodEdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		i.t.Fatal(err)
	}
	return issuerKey{kid, method, private}
}

// publish makes these the issuer's keys.
func (i *issuer) publish(keys ...issuerKey) {
	i.t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	list := []map[string]string{}
	for _, key := range keys {
		jwk := map[string]string{"kid": key.kid, "use": "sig", "alg": key.method.Alg()}
		switch public := key.private.Public().(type) {
		case *ecdsa.PublicKey:
			point, err := public.Bytes()
			if err != nil {
				i.t.Fatal(err)
			}
			jwk["kty"], jwk["crv"], jwk["x"], jwk["y"] = "EC", "P-256", encode(point[1:33]), encode(point[33:])
		case *rsa.PublicKey:
			jwk["kty"], jwk["n"], jwk["e"] = "RSA", encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes())
		case ed25519.PublicKey:
			jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", encode(public)
		}
		list = append(list, jwk)
	}
	set, err := json.Marshal(map[string]any{"keys": list})
	if err != nil {
		i.t.Fatal(err)
	}
	text := string(set)
	i.set.Store(&text)
}

func (i *issuer) token(key issuerKey, user string, ttl time.Duration) string {
	i.t.Helper()
	token := jwt.NewWithClaims(key.method, jwt.MapClaims{
		"iss": "https://id.example", "aud": "chat", "sub": user, "exp": time.Now().Add(ttl).Unix(),
	})
	token.Header["kid"] = key.kid
	text, err := token.SignedString(key.private)
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

// newServer starts a server that believes this issuer.
func (i *issuer) newServer() *server {
	i.t.Helper()
	s := newServer(i.t, "", "GODWIT_AUTH_JWKS_URL="+i.server.URL, "GODWIT_AUTH_ISSUER=https://id.example", "GODWIT_AUTH_AUDIENCE=chat")
	s.keys = true
	s.start()
	return s
}

// refused connects and expects to be turned away for the token.
func refused(t testing.TB, s *server, token string) {
	t.Helper()
	w := dialWire(t, s.url(), godwit.EncodingJSON, nil)
	w.write(gws.OpcodeText, fmt.Appendf(nil, `{"id":1,"connect":{"token":%q,"device":"phone"}}`, token))
	if reply, ok := w.next(); !ok || reply.Kind != godwit.KindError || reply.Error.Code != godwit.ErrUnauthorized.Code {
		t.Errorf("connect answered %+v", reply)
	}
	w.closedWith(godwit.CloseTokenInvalid)
}

// closedWith waits until the server has closed, with this code.
func (w *wire) closedWith(want godwit.CloseCode) {
	w.t.Helper()
	select {
	case closed := <-w.closed:
		if closed == nil || godwit.CloseCode(closed.Code) != want {
			w.t.Errorf("closed with %v, want %d", closed, want)
		}
	case <-time.After(patience):
		w.t.Fatalf("not closed; want %d", want)
	}
}

func (w *wire) refresh(token string) godwit.ServerFrame {
	w.t.Helper()
	return w.ask(godwit.ClientFrame{Kind: godwit.KindRefresh, Refresh: godwit.Refresh{Token: []byte(token)}})
}

func TestKeysRotateWhileConnected(t *testing.T) {
	i := newIssuer(t)
	first, second := i.key("first", jwt.SigningMethodES256), i.key("second", jwt.SigningMethodES256)
	i.publish(first)
	s := i.newServer()
	firstToken := i.token(first, "alice", time.Hour)
	old, _ := connectWire(t, s.url(), godwit.EncodingProto, firstToken, "phone", godwit.Resume{})

	i.publish(second)
	secondToken := i.token(second, "bob", time.Hour)
	connectWire(t, s.url(), godwit.EncodingProto, secondToken, "phone", godwit.Resume{})
	refused(t, s, firstToken)
	if reply := old.send("bob", "c1", "still here"); reply.Kind != godwit.KindSend {
		t.Errorf("the session of the removed key is not served: %+v", reply.Error)
	}
	if reply := old.refresh(firstToken); reply.Kind != godwit.KindError || reply.Error.Code != godwit.ErrUnauthorized.Code {
		t.Errorf("a refresh by the removed key: %+v", reply)
	}
	if reply := old.refresh(i.token(second, "alice", 2*time.Hour)); reply.Kind != godwit.KindRefresh || reply.Refresh.TTL < 7000 || reply.Refresh.TTL > 7200 {
		t.Errorf("a refresh by the new key: %+v", reply)
	}
	if reply := old.send("bob", "c2", "and here"); reply.Kind != godwit.KindSend {
		t.Errorf("the refreshed session is not served: %+v", reply.Error)
	}
	if reply := old.refresh(secondToken); reply.Kind != godwit.KindError || reply.Error.Code != godwit.ErrUnauthorized.Code {
		t.Errorf("a refresh by another user's token: %+v", reply)
	}
	old.closedWith(godwit.CloseTokenInvalid)
}

func TestEveryAlgorithmOfTheKeySetIsBelieved(t *testing.T) {
	i := newIssuer(t)
	keys := []issuerKey{i.key("es", jwt.SigningMethodES256), i.key("rs", jwt.SigningMethodRS256), i.key("ed", jwt.SigningMethodEdDSA)}
	i.publish(keys...)
	s := i.newServer()
	for _, key := range keys {
		if _, reply := connectWire(t, s.url(), godwit.EncodingJSON, i.token(key, "alice", time.Hour), key.kid, godwit.Resume{}); reply.User != "alice" {
			t.Errorf("%s speaks for %s", key.kid, reply.User)
		}
		forged := issuerKey{key.kid, key.method, i.key("", key.method).private}
		refused(t, s, i.token(forged, "alice", time.Hour))
	}
	// Every other key under this one's id, and the public key as a secret.
	for _, key := range keys {
		for _, other := range keys {
			if other.kid != key.kid {
				refused(t, s, i.token(issuerKey{key.kid, other.method, other.private}, "alice", time.Hour))
			}
		}
	}
	public := []byte(keys[2].private.Public().(ed25519.PublicKey))
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "https://id.example", "aud": "chat", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()})
	token.Header["kid"] = "ed"
	text, err := token.SignedString(public)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, s, text)
}

// TestSessionEndsWithItsToken: three sessions of tokens that end soon; the one
// that is refreshed and the one of a longer token go on.
func TestSessionEndsWithItsToken(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := i.key("k", jwt.SigningMethodES256)
	i.publish(key)
	s := i.newServer()
	const short = 5 * time.Second
	renewed, _ := connectWire(t, s.url(), godwit.EncodingProto, i.token(key, "alice", short), "renewed", godwit.Resume{})
	long, _ := connectWire(t, s.url(), godwit.EncodingProto, i.token(key, "alice", time.Hour), "long", godwit.Resume{})
	ended, reply := connectWire(t, s.url(), godwit.EncodingProto, i.token(key, "alice", short), "ended", godwit.Resume{})
	if reply.TTL == 0 || reply.TTL > uint32((short+30*time.Second)/time.Second) { // the leeway, on a slow machine
		t.Errorf("ttl is %d", reply.TTL)
	}
	if reply := renewed.refresh(i.token(key, "alice", time.Hour)); reply.Kind != godwit.KindRefresh {
		t.Fatalf("refresh answered %+v", reply)
	}
	ended.closedWith(godwit.CloseTokenExpired)
	for name, w := range map[string]*wire{"renewed": renewed, "long": long} {
		if reply := w.send("bob", name, "still here"); reply.Kind != godwit.KindSend {
			t.Errorf("%s is not served: %+v", name, reply.Error)
		}
	}
}

func TestTicketOpensOneSession(t *testing.T) {
	i := newIssuer(t)
	key := i.key("k", jwt.SigningMethodES256)
	i.publish(key)
	s := i.newServer()
	ask := func(method, url, bearer string) (status int, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+bearer)
		transport := &http.Transport{DisableKeepAlives: true}
		reply, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		data, err := io.ReadAll(reply.Body)
		if err != nil {
			t.Fatal(err)
		}
		return reply.StatusCode, string(data)
	}
	status, body := ask("POST", "http://"+s.listen+"/v1/ticket", i.token(key, "alice", time.Hour))
	var issued struct {
		Ticket    string `json:"ticket"`
		ExpiresIn int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(body), &issued); err != nil || status != 200 || !strings.HasPrefix(issued.Ticket, "tk_") || issued.ExpiresIn != 30 {
		t.Fatalf("%d %s", status, body)
	}
	w := dialWire(t, s.url()+"?ticket="+issued.Ticket, godwit.EncodingJSON, nil)
	if reply := w.ask(godwit.ClientFrame{Kind: godwit.KindConnect}); reply.Kind != godwit.KindConnect || reply.Connect.User != "alice" || reply.Connect.TTL < 3500 {
		t.Errorf("connect answered %+v", reply)
	}
	for _, again := range []string{issued.Ticket, "tk_AAAAAAAAAAAAAAAAAAAAAA", "tk_", i.token(key, "alice", time.Hour)} {
		_, reply, err := gws.NewClient(new(gws.BuiltinEventHandler), &gws.ClientOption{Addr: s.url() + "?ticket=" + again, HandshakeTimeout: patience})
		if err == nil || reply == nil || reply.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %v, %v", again, reply, err)
		}
	}
	if status, body := ask("POST", "http://"+s.listen+"/v1/ticket", i.token(i.key("k", jwt.SigningMethodES256), "alice", time.Hour)); status != 401 {
		t.Errorf("a ticket for a forged token: %d %s", status, body)
	}
}

// TestServeSaysWhyItCantReadKeys: without any key it does not start; with those
// of a file it does, and the log says what is missing.
func TestServeSaysWhyItCantReadKeys(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	path := filepath.Join(t.TempDir(), "keys.json")
	config := fmt.Sprintf("auth: {jwks_url: %s, issuer: i, audience: a, keys_file: %%s}\n", gone.URL)
	without := filepath.Join(t.TempDir(), "godwit.yaml")
	for file, content := range map[string]string{
		path:    `{"keys":[{"kid":"a","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		without: fmt.Sprintf(config, `""`),
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, errs, code := runBinary(t, binary(t, ""), "", "serve", "-c", without, "--listen", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--data", t.TempDir())
	if code != 1 || !strings.Contains(errs, gone.URL+": the answer is 404 Not Found") {
		t.Errorf("exit %d, %s", code, errs)
	}
	s := newServer(t, "", "GODWIT_AUTH_JWKS_URL="+gone.URL, "GODWIT_AUTH_KEYS_FILE="+path, "GODWIT_AUTH_ISSUER=i", "GODWIT_AUTH_AUDIENCE=a")
	s.keys = true
	s.start()
	if log := s.stderr.String(); !strings.Contains(log, "keys can't be read") || !strings.Contains(log, gone.URL) {
		t.Errorf("the log says nothing of it: %s", log)
	}
}
