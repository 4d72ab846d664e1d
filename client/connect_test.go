package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/lxzan/gws"
)

func TestCloseCodesInstructTheClient(t *testing.T) {
	max500 := 500*time.Millisecond - 1
	stop := time.Duration(-1)
	f := func(code uint16, reason string, want time.Duration) {
		f, p := live(t, 0, func(cfg *Config) {
			cfg.Token, cfg.TokenSource = "", func(context.Context) (string, error) { return "t", nil }
		})
		_ = p.conn.WriteClose(code, []byte(reason))
		var closed *CloseError
		if want == stop {
			s := f.await(t, Stopped)
			if !errors.Is(s.Err, ErrStopped) || !errors.As(s.Err, &closed) || closed.Code != godwit.CloseCode(code) {
				t.Errorf("%d: stopped by %v", code, s.Err)
			}
			if _, err := f.Receive(context.Background()); !errors.Is(err, ErrStopped) {
				t.Errorf("%d: receive: %v", code, err)
			}
			if _, err := f.Send(context.Background(), "bob", Message{Text: "x"}); !errors.Is(err, ErrStopped) || !errors.Is(err, ErrNotSent) {
				t.Errorf("%d: send: %v", code, err)
			}
			return
		}
		s := f.await(t, Waiting)
		if wait := s.Until.Sub(f.clock.Now()); wait != want {
			t.Errorf("%d %s: waits %v, want %v (%v)", code, reason, wait, want, s.Err)
		}
		if !errors.As(s.Err, &closed) || closed.Code != godwit.CloseCode(code) {
			t.Errorf("%d: waits because of %v", code, s.Err)
		}
	}
	for _, code := range []uint16{4000, 4001, 4003, 4005, 4042, 1002, 1003, 1007, 1009, 1010} {
		f(code, `{"reason":"x"}`, stop)
	}
	for _, code := range []uint16{4100, 4101, 4102, 4200, 4201, 4202, 4203, 4300, 4301, 4302, 4999, 1000, 1001, 1008, 1011, 1012, 1013} {
		f(code, "", max500)
	}
	f(4200, `{"reason":"overloaded","retry_after_ms":2000}`, 2*time.Second+max500)
	f(4300, `{"reason":"drain","retry_after_ms":1000,"spread_ms":60000}`, 61*time.Second-1)
	f(4203, `not JSON`, max500)
}

func TestRefusedStaticTokenStops(t *testing.T) {
	f := start(t, nil)
	p := f.accept(t)
	p.refuse(p.expect(t, godwit.KindConnect), godwit.ErrUnauthorized)
	_ = p.conn.WriteClose(uint16(godwit.CloseTokenInvalid), nil)
	ctx, cancel := withPatience()
	defer cancel()
	if err := f.Connect(ctx); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
}

func TestTokenSourceIsAskedForEachConnection(t *testing.T) {
	n := 0
	f := start(t, func(cfg *Config) {
		cfg.Token, cfg.TokenSource = "", func(context.Context) (string, error) {
			if n++; n == 2 {
				return "", errors.New("the identity provider is away")
			}
			return fmt.Sprint("token", n), nil
		}
	})
	p := f.accept(t)
	if c := p.welcome(t, godwit.ConnectReply{}); string(c.Connect.Token) != "token1" {
		t.Fatalf("token %s", c.Connect.Token)
	}
	_ = p.conn.WriteClose(uint16(godwit.CloseTokenExpired), nil)
	f.clock.turn(f.await(t, Waiting).Until.Sub(f.clock.Now()))
	p = f.again(t) // after the one that failed
	if c := p.welcome(t, godwit.ConnectReply{Resumed: true}); string(c.Connect.Token) != "token3" {
		t.Fatalf("token %s", c.Connect.Token)
	}
}

func TestTheNewestStampComesWithTheNextResume(t *testing.T) {
	f, p := live(t, 0, nil)
	echo := ""
	for _, stamp := range []string{"465223887110471681", "465223887110471682", ""} {
		p.drop()
		f.clock.turn(f.await(t, Waiting).Until.Sub(f.clock.Now()))
		p = f.accept(t)
		c := p.welcome(t, godwit.ConnectReply{Resumed: true, Stamp: stamp})
		if string(c.Connect.Resume.Stamp) != echo {
			t.Fatalf("echoed %q, told was %q", c.Connect.Resume.Stamp, echo)
		}
		echo = stamp
		f.await(t, Live)
	}
}

func TestBackoffGrowsAndAStableConnectionResetsIt(t *testing.T) {
	f, p := live(t, 0, nil)
	var waits []time.Duration
	lose := func(alive time.Duration) {
		f.clock.turn(alive)
		p.drop()
		s := f.await(t, Waiting)
		waits = append(waits, s.Until.Sub(f.clock.Now())+1)
		f.clock.turn(s.Until.Sub(f.clock.Now()))
		p = f.accept(t)
		p.welcome(t, godwit.ConnectReply{Resumed: true})
		f.await(t, Live)
	}
	for range 8 {
		lose(5*time.Second - 1)
	}
	lose(5 * time.Second)
	ms := time.Millisecond
	want := []time.Duration{500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 8000 * ms, 16000 * ms, 20000 * ms, 20000 * ms, 500 * ms}
	if !slices.Equal(waits, want) {
		t.Fatalf("waits %v, want %v", waits, want)
	}
}

func TestUnreachableServerIsTriedAgainAndConnectSaysWhy(t *testing.T) {
	noRoute := errors.New("no route")
	dials := make(chan string, 16)
	f := start(t, func(cfg *Config) {
		cfg.URL = "ws://example.invalid/v1/ws"
		cfg.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
			dials <- address
			return nil, noRoute
		}
	})
	for range 3 {
		f.clock.turn(f.await(t, Waiting).Until.Sub(f.clock.Now()))
		if address := <-dials; address != "example.invalid:80" {
			t.Fatalf("dialled %s", address)
		}
	}
	f.await(t, Waiting)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Connect(ctx); !errors.Is(err, noRoute) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestRefusedUpgradeFollowsItsStatus(t *testing.T) {
	f := func(status int, header string, stops bool, want time.Duration) {
		hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set("Retry-After", header)
			}
			w.WriteHeader(status)
		}))
		defer hs.Close()
		f := start(t, func(cfg *Config) { cfg.URL = "ws" + strings.TrimPrefix(hs.URL, "http") })
		defer f.Close()
		if stops {
			f.await(t, Stopped)
			return
		}
		if s := f.await(t, Waiting); s.Until.Sub(f.clock.Now()) != want {
			t.Errorf("%d: waits %v, want %v", status, s.Until.Sub(f.clock.Now()), want)
		}
	}
	f(http.StatusUnauthorized, "", true, 0) // the token is static
	f(http.StatusNotFound, "", true, 0)
	f(http.StatusServiceUnavailable, "3", false, 3500*time.Millisecond-1)
	f(http.StatusTooManyRequests, "", false, 500*time.Millisecond-1)
}

func TestTLSVerifiesTheServer(t *testing.T) {
	s := newFakeServer(t, httptest.NewTLSServer)
	roots := x509.NewCertPool()
	roots.AddCert(s.http.Certificate())
	ctx, cancel := withPatience()
	defer cancel()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		p := <-s.peers
		f := <-p.frames
		p.send(godwit.ServerFrame{ID: f.ID, Kind: godwit.KindConnect, Connect: godwit.ConnectReply{Epoch: "e1"}})
	}()
	c, err := Dial(ctx, Config{URL: s.url, Transport: WebSocket, OpenTimeout: patience, Token: "t", TLS: &tls.Config{RootCAs: roots}})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	<-answered

	s.http.Config.ErrorLog = log.New(io.Discard, "", 0)
	why := make(chan error, 64)
	c, err = New(Config{URL: s.url, Transport: WebSocket, OpenTimeout: patience, Token: "t", OnState: func(s State) { why <- s.Err }}) // the system's roots
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for err = range why {
		if err != nil {
			break
		}
	}
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Fatalf("got %v", err)
	}
}

func TestSilentServerIsLeft(t *testing.T) {
	f := start(t, nil)
	p := f.accept(t)
	p.welcome(t, godwit.ConnectReply{Ping: 25})
	f.await(t, Live)
	f.clock.turn(49 * time.Second)
	p.barrier(t) // a ping is a sign of life
	f.clock.turn(49 * time.Second)
	p.barrier(t)
	f.clock.turn(50 * time.Second)
	if s := f.await(t, Waiting); !errors.Is(s.Err, errSilent) {
		t.Fatalf("waits because of %v", s.Err)
	}
}

func TestMissingConnectReplyIsATimeout(t *testing.T) {
	f := start(t, nil)
	f.accept(t).expect(t, godwit.KindConnect)
	f.clock.turn(f.cfg.OpenTimeout)
	if s := f.await(t, Waiting); !errors.Is(s.Err, errOpenTimeout) {
		t.Fatalf("waits because of %v", s.Err)
	}
}

func TestGoawayMakesBeforeItBreaks(t *testing.T) {
	f, old := live(t, 10, nil)
	ticket := f.submit(t, "c1")[0]
	expectSends(t, old, "c1") // not answered there
	old.send(godwit.ServerFrame{Kind: godwit.KindGoaway, Goaway: godwit.Goaway{Reason: "drain", AfterMS: 1000, SpreadMS: 5000}})
	old.barrier(t)
	f.clock.turn(6*time.Second - 2)
	old.send(pushed(11))
	f.receiveEntries(t, 11, 11)
	f.clock.turn(1)
	p := f.accept(t)
	connect := p.expect(t, godwit.KindConnect)
	if connect.Connect.Resume.Seq != 11 {
		t.Fatalf("resume after %d", connect.Connect.Resume.Seq)
	}
	old.send(pushed(12)) // the old one still delivers
	f.receiveEntries(t, 12, 12)
	p.send(godwit.ServerFrame{ID: connect.ID, Kind: godwit.KindConnect, Connect: godwit.ConnectReply{Epoch: "e1", Seq: 12, Resumed: true}})
	p.send(pushed(12), pushed(13))
	p.stored(expectSends(t, p, "c1")[0], 14)
	f.wantStored(t, ticket, 14)
	f.receiveEntries(t, 13, 13)
	<-old.ended
	for len(f.states) > 0 {
		if s := <-f.states; s.Phase != Live && s.Phase != Replaying {
			t.Fatalf("the move was seen as %v", s.Phase)
		}
	}
}

// The server closes the old connection as replaced, because the same device
// came again: that was this client itself.
func TestReplacedByItselfDoesNotStop(t *testing.T) {
	f, old := live(t, 10, nil)
	old.send(godwit.ServerFrame{Kind: godwit.KindGoaway})
	p := f.accept(t)
	connect := p.expect(t, godwit.KindConnect)
	_ = old.conn.WriteClose(uint16(godwit.CloseReplaced), nil)
	f.await(t, Connecting)
	p.send(godwit.ServerFrame{ID: connect.ID, Kind: godwit.KindConnect, Connect: godwit.ConnectReply{Epoch: "e1", Seq: 10, Resumed: true}})
	f.await(t, Live)
}

func TestBrokenFramesEndTheConnection(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		f, p := live(t, 0, func(cfg *Config) { cfg.Encoding = encoding })
		opcode := gws.OpcodeBinary
		if encoding == JSON {
			opcode = gws.OpcodeText
		}
		_ = p.conn.WriteMessage(opcode, []byte("{\"ev\":"))
		if s := f.await(t, Waiting); !errors.Is(s.Err, godwit.ErrFrameMalformed) {
			t.Fatalf("waits because of %v", s.Err)
		}
	})
}

func TestAnswerOfAnotherKindIsNotBelieved(t *testing.T) {
	f, p := live(t, 0, nil)
	ticket := f.submit(t, "c1")[0]
	p.page(expectSends(t, p, "c1")[0], 0)
	p = f.again(t)
	p.welcome(t, godwit.ConnectReply{Resumed: true})
	p.stored(expectSends(t, p, "c1")[0], 1)
	f.wantStored(t, ticket, 1)
}

func TestFramesOfANewerServerAreIgnored(t *testing.T) {
	f, p := live(t, 0, func(cfg *Config) { cfg.Encoding = JSON })
	_ = p.conn.WriteString(`{"eph":{"typing":{"conv":"u:bob","user":"bob"}}}`)
	p.send(pushed(1))
	f.receiveEntries(t, 1, 1)
}

func TestReadsPageAndSurviveALostConnection(t *testing.T) {
	f, p := live(t, 10, nil)
	ctx, cancel := withPatience()
	defer cancel()
	got := make(chan []godwit.Seq)
	go func() {
		var seqs []godwit.Seq
		for e, err := range f.History(ctx, "bob", Range{Before: 10, Limit: 4}) {
			if err != nil {
				t.Errorf("history: %v", err)
			}
			seqs = append(seqs, e.Seq)
		}
		got <- seqs
	}()
	h := p.expect(t, godwit.KindHistory)
	if h.History.Before != 10 || h.History.Limit != 4 || string(h.History.Conv) != "u:bob" {
		t.Fatalf("history %+v", h.History)
	}
	p.drop()
	p = f.again(t)
	p.welcome(t, godwit.ConnectReply{Seq: 10, Resumed: true})
	h = p.expect(t, godwit.KindHistory)
	p.send(godwit.ServerFrame{ID: h.ID, Kind: godwit.KindHistory, History: godwit.HistoryReply{Entries: entries(7, 9), More: true}})
	h = p.expect(t, godwit.KindHistory)
	if h.History.Before != 7 || h.History.Limit != 1 {
		t.Fatalf("second page %+v", h.History)
	}
	p.refuse(h, godwit.ErrUnavailable) // tried again after a pause
	p.barrier(t)
	f.clock.turn(pauseFirst)
	h = p.expect(t, godwit.KindHistory)
	p.send(godwit.ServerFrame{ID: h.ID, Kind: godwit.KindHistory, History: godwit.HistoryReply{Entries: entries(6, 6), More: true}})
	if seqs := <-got; !slices.Equal(seqs, []godwit.Seq{9, 8, 7, 6}) {
		t.Fatalf("got %v", seqs)
	}
}

func TestConversationsPresenceAndSync(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		f, p := live(t, 10, func(cfg *Config) { cfg.Encoding = encoding })
		ctx, cancel := withPatience()
		defer cancel()
		var convs []godwit.ConversationID
		done := make(chan struct{})
		go func() {
			defer close(done)
			for item, err := range f.Conversations(ctx) {
				if err != nil {
					t.Errorf("conversations: %v", err)
				}
				convs = append(convs, item.Conv)
			}
			users, err := f.Presence(ctx, "bob", "carol")
			if err != nil || len(users) != 2 || !users[0].Online || users[1].LastSeen != 5 {
				t.Errorf("presence %v, %v", users, err)
			}
			page, head, err := f.Sync(ctx, 2, 2)
			if err != nil || head != 10 || len(page) != 2 || page[0].Seq != 3 {
				t.Errorf("sync %v, %d, %v", page, head, err)
			}
		}()
		c := p.expect(t, godwit.KindConversations)
		p.send(godwit.ServerFrame{ID: c.ID, Kind: godwit.KindConversations, Conversations: godwit.ConversationsReply{
			Items: []godwit.ConversationItem{{Conv: "u:bob", Last: entry(9), Unread: 2}}, Next: "more", AsOf: 10,
		}})
		if c = p.expect(t, godwit.KindConversations); string(c.Conversations.Next) != "more" {
			t.Errorf("cursor %q", c.Conversations.Next)
		}
		p.send(godwit.ServerFrame{ID: c.ID, Kind: godwit.KindConversations, Conversations: godwit.ConversationsReply{
			Items: []godwit.ConversationItem{{Conv: "u:carol", Last: entry(3)}},
		}})
		c = p.expect(t, godwit.KindPresence)
		p.send(godwit.ServerFrame{ID: c.ID, Kind: godwit.KindPresence, Presence: godwit.PresenceReply{
			Users: []godwit.PresenceItem{{User: "bob", Online: true}, {User: "carol", LastSeen: 5}},
		}})
		p.page(p.expect(t, godwit.KindSync), 10, entries(3, 4)...)
		<-done
		if !slices.Equal(convs, []godwit.ConversationID{"u:bob", "u:carol"}) {
			t.Fatalf("conversations %v", convs)
		}
	})
}

func TestImpossibleConfigurationsAreRefused(t *testing.T) {
	since := godwit.Seq(1)
	for name, cfg := range map[string]Config{
		"scheme":   {URL: "http://localhost/v1/ws", Token: "t"},
		"host":     {URL: "ws:///v1/ws", Token: "t"},
		"no token": {URL: "ws://h/"},
		"device":   {URL: "ws://h/", Token: "t", Device: "a b"},
		"both":     {URL: "ws://h/", Token: "t", Since: &since, Resume: &Position{"e", 1}},
		"negative": {URL: "ws://h/", Token: "t", QueueMax: -1},
		"carrier":  {URL: "ws://h/", Token: "t", Transport: "pigeon"},
		"encoding": {URL: "ws://h/", Token: "t", Encoding: 7},
		"epoch":    {URL: "ws://h/", Token: "t", Resume: &Position{"", 1}},
	} {
		if _, err := New(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
