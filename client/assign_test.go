package client

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// front answers which edges to use, and takes no session itself unless behind does.
type front struct {
	*httptest.Server
	edges  atomic.Pointer[[]string] // nil: it does not know the question
	asked  atomic.Int64
	behind *fakeServer
}

func newFront(t *testing.T, edges ...string) *front {
	f := &front{}
	if edges != nil {
		f.edges.Store(&edges)
	}
	f.behind = newFakeServer(t, httptest.NewServer)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/edges" {
			f.behind.http.Config.Handler.ServeHTTP(w, r)
			return
		}
		f.asked.Add(1)
		edges := f.edges.Load()
		if edges == nil || r.Header.Get("Authorization") != "Bearer t" {
			http.Error(w, "no", http.StatusNotFound)
			return
		}
		var list []string
		for _, url := range *edges {
			list = append(list, fmt.Sprintf(`{"url":%q,"node":"n"}`, url))
		}
		fmt.Fprintf(w, `{"user":"u","edges":[%s],"ttl":60}`, strings.Join(list, ","))
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *front) config(cfg *Config) {
	cfg.URL, cfg.Assign = "ws"+strings.TrimPrefix(f.URL, "http")+"/v1/ws", true
}

// Where nobody listens: a port that was free a moment ago may be somebody's.
const deadAddress, otherDeadAddress = "ws://127.0.0.1:1", "ws://127.0.0.1:2"

func TestClientUsesTheEdgeItIsAssigned(t *testing.T) {
	one, two := newFakeServer(t, httptest.NewServer), newFakeServer(t, httptest.NewServer)
	f := start(t, newFront(t, one.url, two.url).config)
	p := one.accept(t)
	p.welcome(t, godwit.ConnectReply{})
	f.await(t, Live)
}

func TestNextEdgeIsUsedWhereOneFails(t *testing.T) {
	two := newFakeServer(t, httptest.NewServer)
	front := newFront(t, deadAddress, two.url)
	f := start(t, front.config)
	p := two.accept(t) // in the same attempt: nothing turned the clock
	p.welcome(t, godwit.ConnectReply{})
	f.await(t, Live)
	p.drop() // and the dead one is last from now on
	f.fakeServer = two
	f.again(t).welcome(t, godwit.ConnectReply{Resumed: true})
	f.await(t, Live)
	if n := front.asked.Load(); n != 1 {
		t.Errorf("asked %d times within the time of one answer", n)
	}
}

func TestEdgeThatTurnsTheClientAwayIsPutLast(t *testing.T) {
	one, two := newFakeServer(t, httptest.NewServer), newFakeServer(t, httptest.NewServer)
	f := start(t, newFront(t, one.url, two.url).config)
	p := one.accept(t)
	p.expect(t, godwit.KindConnect)
	_ = p.conn.WriteClose(uint16(godwit.CloseOverloaded), []byte(`{"reason":"overloaded"}`))
	f.fakeServer = two
	f.again(t).welcome(t, godwit.ConnectReply{})
	f.await(t, Live)
}

func TestClientThatCannotAskUsesItsAddress(t *testing.T) {
	front := newFront(t)
	f := start(t, front.config)
	front.behind.accept(t).welcome(t, godwit.ConnectReply{})
	f.await(t, Live)

	front = newFront(t, deadAddress, otherDeadAddress) // or knows only such as are gone
	f = start(t, front.config)
	front.behind.accept(t).welcome(t, godwit.ConnectReply{})
	f.await(t, Live)
}

func TestClientAsksAgainWhenToldToMove(t *testing.T) {
	one, two := newFakeServer(t, httptest.NewServer), newFakeServer(t, httptest.NewServer)
	front := newFront(t, one.url)
	f := start(t, front.config)
	p := one.accept(t)
	p.welcome(t, godwit.ConnectReply{})
	f.await(t, Live)
	front.edges.Store(&[]string{two.url})
	p.send(godwit.ServerFrame{Kind: godwit.KindGoaway, Goaway: godwit.Goaway{Reason: "drain"}})
	p.barrier(t)
	two.accept(t).welcome(t, godwit.ConnectReply{Resumed: true})
	f.await(t, Live)

	f.clock.turn(2 * time.Minute) // an answer is good for its ttl
	front.edges.Store(&[]string{one.url})
	f.await(t, Waiting) // the server was silent for too long
	f.fakeServer = one
	f.clock.turn(f.State().Until.Sub(f.clock.Now()))
	one.accept(t).welcome(t, godwit.ConnectReply{Resumed: true})
}

func TestAnswerAboutEdgesIsReadWithCare(t *testing.T) {
	f := func(secure bool, body string, ttl time.Duration, want ...string) {
		t.Helper()
		got, gotTTL, err := parseEdges([]byte(body), secure)
		if !slices.Equal(got, want) || gotTTL != ttl || (err != nil) != (ttl == 0) {
			t.Errorf("%s: %q, %v, %v", body, got, gotTTL, err)
		}
	}
	f(false, `{"edges":[{"url":"ws://a/v1/ws"},{"url":"wss://b/v1/ws"},{"url":"ws://a/v1/ws"}],"ttl":60}`, time.Minute, "ws://a/v1/ws", "wss://b/v1/ws")
	f(true, `{"edges":[{"url":"ws://a/v1/ws"},{"url":"wss://b/v1/ws"}],"ttl":60}`, time.Minute, "wss://b/v1/ws")
	f(false, `{"edges":[{"url":"http://a/"},{"url":"ws:///"},{"url":":"},{"node":"x"}],"ttl":-1}`, assignedTTLMin)
	f(false, `{"ttl":99999999999}`, assignedTTLMax)
	f(false, `{}`, assignedTTLMin)
	f(false, `[]`, 0)
	f(false, `not JSON`, 0)
	many := strings.Repeat(`{"url":"ws://h/"},`, 3)
	for i := range 40 {
		many += fmt.Sprintf(`{"url":"ws://h%d/"},`, i)
	}
	if got, _, _ := parseEdges([]byte(`{"edges":[`+strings.TrimSuffix(many, ",")+`]}`), false); len(got) != assignedMax {
		t.Errorf("%d edges kept", len(got))
	}
}
