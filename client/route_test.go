package client

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// tokenOf is a token with some payload and a signature that nobody checks.
func tokenOf(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

// The keys stand in docs/protocol.md and in the tests of the JavaScript SDK, too:
// all clients of a user must agree.
func TestRouteKeyIsOfTheSubjectAlone(t *testing.T) {
	f := func(token, want string) {
		t.Helper()
		if got := routeKeyOf(token); got != want {
			t.Errorf("route key of %q: %q, want %q", token, got, want)
		}
	}
	f(tokenOf(`{"sub":"alice","iss":"a","exp":1}`), "94c5")
	f(tokenOf(`{"iss":"b","exp":2,"sub":"alice"}`), "94c5")
	f(tokenOf(`{"sub":"bob"}`), "2612")
	f(tokenOf(`{"sub":"zoë"}`), "0168")
	f(tokenOf(`{"sub":""}`), "")
	f(tokenOf(`{"iss":"b"}`), "")
	f(tokenOf(`[]`), "")
	f("t", "")
	f("a.b", "")
	f("a.!.c", "")
}

func TestRouteKeyStandsInTheAddress(t *testing.T) {
	alice := tokenOf(`{"sub":"alice"}`)
	f := func(key, address, token, want string) {
		t.Helper()
		cfg := Config{RouteKey: key}
		if got := cfg.routed(address, token); got != want {
			t.Errorf("%s becomes %s, want %s", address, got, want)
		}
	}
	f("", "wss://h/v1/ws", alice, "wss://h/v1/ws?rk=94c5")
	f("", "wss://h/v1/ws?zone=a%20b&x", alice, "wss://h/v1/ws?zone=a%20b&x&rk=94c5")
	f("", "wss://h/v1/ws?rk=own", alice, "wss://h/v1/ws?rk=own")
	f("", "wss://h/v1/ws?rk=", alice, "wss://h/v1/ws?rk=")
	f("", "wss://h/v1/ws", "t", "wss://h/v1/ws")
	f("team+7", "wss://h/v1/ws", alice, "wss://h/v1/ws?rk=team%2B7")
}

func TestRouteKeyGoesWithEveryRequest(t *testing.T) {
	asked := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.RequestURI():
		default:
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer s.Close()
	c, err := New(Config{URL: "ws" + strings.TrimPrefix(s.URL, "http") + "/v1/ws", Transport: WebSocket, Token: tokenOf(`{"sub":"alice"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "/v1/ws?rk=94c5" {
		t.Errorf("the WebSocket asked for %s", got)
	}
	_ = c.Close()

	polled(t, 10, func(t *testing.T, m *model, encoding Encoding) {
		cfg := m.config(LongPoll)
		cfg.Encoding, cfg.RouteKey = encoding, "team-7"
		c := m.open(cfg)
		send(t, c, "c", 1)
		take(t, c, 11, 11)
		_ = c.Close()
		for _, name := range []string{"poll", "rpc"} {
			for _, r := range m.seen(name) {
				if got := r.URL.Query()["rk"]; len(got) != 1 || got[0] != "team-7" {
					t.Errorf("%s with rk %q", name, got)
				}
			}
		}
		if len(m.seen("poll")) == 0 || len(m.seen("rpc")) == 0 {
			t.Error("nothing was asked")
		}
	})

	if _, err := New(Config{URL: "ws://h/", Token: "t", RouteKey: "a b"}); !errors.Is(err, ErrConfig) {
		t.Errorf("a route key with a space: %v", err)
	}
}
