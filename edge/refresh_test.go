package edge

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

func TestRefreshRenewsTheSessionInBand(t *testing.T) {
	now := time.Now().UnixMilli()
	e := newEdge(t, &fakeChat{}, func(c *Config) { c.Clock = func() int64 { return now } })
	c := connect(t, e, godwit.EncodingJSON, fmt.Sprintf("alice:%d", now+60_000))
	f := func(token string) *godwit.ServerFrame {
		c.send(&godwit.ClientFrame{ID: 9, Kind: godwit.KindRefresh, Refresh: godwit.Refresh{Token: []byte(token)}})
		return c.next()
	}
	if got := f("nonsense"); got.Kind != godwit.KindError || got.ID != 9 || got.Error.Code != "token.invalid" {
		t.Fatalf("a bad token: %+v", got)
	}
	if got := f(fmt.Sprintf("user:alice:%d", now+3_600_000)); got.Kind != godwit.KindRefresh || got.ID != 9 || got.Refresh.TTL != 3600 {
		t.Fatalf("%+v", got)
	}
	if got := f("user:bob"); got.Kind != godwit.KindError {
		t.Fatalf("another user's token: %+v", got)
	}
	c.wantClose(godwit.CloseTokenInvalid)
}

func TestOneRefreshAtATime(t *testing.T) {
	hold := make(chan struct{}, 1)
	hold <- struct{}{}
	e := newEdge(t, &fakeChat{}, func(c *Config) { c.Verifier = fakeVerifier{hold} })
	c := connect(t, e, godwit.EncodingJSON, "alice")
	for id := range uint64(2) {
		c.send(&godwit.ClientFrame{ID: 8 + id, Kind: godwit.KindRefresh, Refresh: godwit.Refresh{Token: []byte("user:alice")}})
	}
	if got := c.next(); got.ID != 9 || got.Kind != godwit.KindError || got.Error.Code != "rate.limited" {
		t.Fatalf("%+v", got)
	}
	close(hold)
	if got := c.next(); got.ID != 8 || got.Kind != godwit.KindRefresh {
		t.Fatalf("%+v", got)
	}
}

// TestTokenThatCantBeCheckedNowIsNotRefused: the client keeps its token and
// comes back with it.
func TestTokenThatCantBeCheckedNowIsNotRefused(t *testing.T) {
	e := newEdge(t, &fakeChat{}, nil)
	c := dial(t, e, godwit.EncodingJSON)
	c.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("later")}})
	c.wantClose(godwit.CloseOverloaded)
	c = connect(t, e, godwit.EncodingJSON, "alice")
	c.send(&godwit.ClientFrame{ID: 9, Kind: godwit.KindRefresh, Refresh: godwit.Refresh{Token: []byte("later")}})
	if got := c.next(); got.ID != 9 || got.Kind != godwit.KindError || got.Error.Code != "unavailable" || !got.Error.Temporary {
		t.Fatalf("%+v", got)
	}
	w := newWeb(t, e)
	w.write(strings.Replace(upgradeHead, "/v1/ws", "/v1/ws?ticket=tk_later", 1) + "\r\n")
	w.want(503)
}

// fakeTickets gives ticket "tk_user:NAME", which fakeVerifier takes.
type fakeTickets struct{}

func (fakeTickets) Issue(who godwit.Identity) (string, int, error) {
	if who.User == "full" {
		return "", 0, errors.New("too many tickets")
	}
	return ticketPrefix + "user:" + string(who.User), 30, nil
}

func TestTicketStandsForTheTokenAtTheUpgrade(t *testing.T) {
	chat := &fakeChat{}
	e := newEdge(t, chat, func(c *Config) { c.Tickets = fakeTickets{} })
	w := newWeb(t, e)
	ask := func(user string) {
		w.write("POST /v1/ticket HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nAuthorization: Bearer user:" + user + "\r\n\r\n")
	}
	ask("alice")
	if body := w.want(200); body != `{"ticket":"tk_user:alice","expires_in":30}` {
		t.Fatal(body)
	}
	ask("full")
	w.want(503, "http.503")
	w.write(strings.Replace(upgradeHead, "/v1/ws", "/v1/ws?ticket=tk_user%3Aalice", 1) + "\r\n")
	if r, _ := w.r.ReadString('\n'); !strings.HasPrefix(r, "HTTP/1.1 101 ") {
		t.Fatal(r)
	}
	w = newWeb(t, e)
	w.write(strings.Replace(upgradeHead, "/v1/ws", "/v1/ws?ticket=tk_forged", 1) + "\r\n")
	w.want(401, "token.invalid")
	w = newWeb(t, e) // a token has no place in an address
	w.write(strings.Replace(upgradeHead, "/v1/ws", "/v1/ws?ticket=user%3Aalice", 1) + "\r\n")
	w.want(401, "token.invalid")
	w = newWeb(t, e)
	w.write("POST /v1/ticket HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
	w.want(401)
}
