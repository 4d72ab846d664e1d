package edge

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// fakeAssigner gives every user an edge of his name, and knows none for "nobody".
type fakeAssigner struct{}

func (fakeAssigner) Assign(user godwit.UserID) []Assigned {
	if user == "nobody" {
		return nil
	}
	return []Assigned{{URL: "wss://" + string(user) + ".example/v1/ws", Node: "e1", Zone: "z"}, {URL: "wss://other.example/v1/ws", Node: "e2"}}
}

func (w *web) askEdges(user string, extra ...string) {
	w.t.Helper()
	w.write("GET /v1/edges HTTP/1.1\r\nHost: chat.test:80\r\nAuthorization: Bearer user:" + user + "\r\n" + strings.Join(extra, "") + "\r\n")
}

func TestClientIsToldWhichEdgesToUse(t *testing.T) {
	e := newEdge(t, &fakeChat{}, func(c *Config) { c.Assigner = fakeAssigner{} })
	w := newWeb(t, e)
	w.askEdges("alice")
	want := `{"user":"alice","edges":[{"url":"wss://alice.example/v1/ws","node":"e1","zone":"z"},{"url":"wss://other.example/v1/ws","node":"e2"}],"ttl":60}`
	if r, body := w.read(); r.StatusCode != 200 || body != want || r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Fatalf("%d %v %s", r.StatusCode, r.Header, body)
	}
	w.askEdges("bob", "Origin: http://chat.test:80\r\n") // on the same connection, from a page
	if r, body := w.read(); r.StatusCode != 200 || !strings.Contains(body, "wss://bob.example") || r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("%d %v %s", r.StatusCode, r.Header, body)
	}
}

func TestServerThatKnowsNoOtherNamesItself(t *testing.T) {
	f := func(want, user string, change func(*Config), extra ...string) {
		t.Helper()
		w := newWeb(t, newEdge(t, &fakeChat{}, change))
		w.askEdges(user, extra...)
		var got struct{ Edges []Assigned }
		if err := json.Unmarshal([]byte(w.want(200)), &got); err != nil || len(got.Edges) != 1 || got.Edges[0].URL != want || got.Edges[0].Node != "edge" {
			t.Errorf("%+v, %v, want %s", got, err, want)
		}
	}
	f("ws://chat.test:80/v1/ws", "alice", nil)
	f("wss://chat.test:80/v1/ws", "alice", nil, "X-Forwarded-Proto: https\r\n")
	f("wss://here.example/v1/ws", "alice", func(c *Config) { c.Advertise = "wss://here.example/v1/ws" })
	f("ws://chat.test:80/v1/ws", "nobody", func(c *Config) { c.Assigner = fakeAssigner{} })
}

func TestWhoMayAskForEdges(t *testing.T) {
	e := newEdge(t, &fakeChat{}, func(c *Config) { c.Assigner = fakeAssigner{} })
	f := func(status int, request string) {
		t.Helper()
		w := newWeb(t, e)
		w.write(request)
		w.want(status)
	}
	f(401, "GET /v1/edges HTTP/1.1\r\nHost: test\r\n\r\n")
	f(401, "GET /v1/edges HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer forged\r\n\r\n")
	f(400, "GET /v1/edges?token=user:alice HTTP/1.1\r\nHost: test\r\n\r\n")
	f(403, "GET /v1/edges HTTP/1.1\r\nHost: test\r\nOrigin: http://evil.example\r\nAuthorization: Bearer user:alice\r\n\r\n")
	f(405, "POST /v1/edges HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nAuthorization: Bearer user:alice\r\n\r\n")
	w := newWeb(t, e)
	w.write("OPTIONS /v1/edges HTTP/1.1\r\nHost: test\r\nOrigin: http://test\r\nAccess-Control-Request-Method: GET\r\n\r\n")
	if r, _ := w.read(); r.StatusCode != 204 || r.Header.Get("Access-Control-Allow-Headers") == "" {
		t.Fatal(r.StatusCode, r.Header)
	}
}

// TestServerThatTakesNobodySaysWhoDoes: one that waits for its engine process, or
// drains, is asked for the way to another.
func TestServerThatTakesNobodySaysWhoDoes(t *testing.T) {
	e := newEdge(t, &fakeChat{}, func(c *Config) { c.Assigner = fakeAssigner{} })
	f := func() {
		t.Helper()
		w := newWeb(t, e)
		w.askEdges("alice")
		w.want(200, "wss://alice.example")
		w = newWeb(t, e)
		w.poll("alice", "device=d")
		w.want(503)
	}
	e.Suspend()
	f()
	e.Resume()
	e.draining.Store(true)
	f()
}
