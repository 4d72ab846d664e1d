package auth

import (
	"compress/gzip"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// served returns an issuer over real HTTP and a keyring's configuration for it.
func served(t *testing.T, handler http.HandlerFunc) Config {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return Config{JWKS: JWKSConfig{URL: server.URL + "/jwks"}, Issuer: "issuer", Audience: "godwit", Cached: 64, Clock: keyringClock}
}

var keyringClock = func() time.Time { return start }

func TestKeysRotateWhileTokensAreVerified(t *testing.T) {
	var current atomic.Pointer[string]
	publish := func(keys ...Key) {
		text := jwksOf(keys...)
		current.Store(&text)
	}
	publish(eddsaKey, ecdsaKey)
	cfg := served(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, *current.Load()) })
	k := must(NewKeyring(cfg))
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	ed, es, rs := edToken(t), esToken(t), rsToken(t)
	stop := make(chan struct{})
	var verified atomic.Int64
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := k.Verify(es); err != nil { // of a key that stays
					t.Errorf("refused during the rotation: %v", err)
					return
				}
				verified.Add(1)
			}
		})
	}
	believed(t, k, ed)
	publish(ecdsaKey, rsaKey)
	eventually(t, "the new key is believed", func() bool { _, err := k.Verify(rs); return err == nil })
	eventually(t, "the former key is refused", func() bool { _, err := k.Verify(ed); return errors.Is(err, ErrTokenKey) })
	for seen := verified.Load(); verified.Load() < seen+100; {
		believed(t, k, rs)
	}
	close(stop)
	workers.Wait()
}

func TestStartSaysWhyTheKeysCantBeRead(t *testing.T) {
	f := func(want string, handler http.HandlerFunc) {
		t.Helper()
		cfg := served(t, handler)
		k := must(NewKeyring(cfg))
		if err := k.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), cfg.JWKS.URL) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
		k.Close()
	}
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	f("the answer is 503 Service Unavailable", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	f("not a JSON object", text("<html>"))
	f("no key in it can be used", text(`{"keys":[]}`))
	f("larger than 1048576 bytes", text(strings.Repeat(" ", jwksBytesMax+1)))
	f("larger than 1048576 bytes", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip") // a small answer that grows
		z := gzip.NewWriter(w)
		_, _ = io.CopyN(z, zeros{}, 64<<20)
		_ = z.Close()
	})
	f("server response headers exceeded", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Much", strings.Repeat("x", 128<<10))
	})
	f("unexpected EOF", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, jwksOf(eddsaKey))
	})
	f("redirected to an address that must begin with https://", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://id.example/jwks", http.StatusFound)
	})
	f("more than 3 redirects", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
}

// eventually waits for what takes an answer over a real network: a verdict on an
// unknown key waits two seconds for it, and then says to try again.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !ok(); runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatalf("after a minute it is not so: %s", what)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestRedirectNeverLeavesTLS(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, jwksOf(eddsaKey)) }))
	defer plain.Close()
	var target atomic.Pointer[string]
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			_, _ = io.WriteString(w, jwksOf(eddsaKey))
			return
		}
		http.Redirect(w, r, *target.Load(), http.StatusFound)
	}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that fails
	secure.StartTLS()
	defer secure.Close()
	pool := secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	f := func(address string, transport http.RoundTripper, want string) {
		t.Helper()
		target.Store(&address)
		cfg := Config{JWKS: JWKSConfig{URL: secure.URL + "/jwks", Transport: transport}, Issuer: "issuer", Audience: "godwit", Clock: keyringClock}
		k := must(NewKeyring(cfg))
		err := k.Start(t.Context())
		defer k.Close()
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	trusting := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}
	f(secure.URL+"/keys", trusting, "")
	f(plain.URL, trusting, "redirected from https to http")
	f(secure.URL+"/keys", nil, "certificate")
}
