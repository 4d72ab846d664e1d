package link

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

func TestWhoIsNotToAttachIsRefusedWithTheReason(t *testing.T) {
	w := newWorld(t, func(c *HubConfig) { c.Secret = []byte("0123456789abcdef") })
	f := func(want string, change func(*ClientConfig)) {
		t.Helper()
		cfg := w.config("edge-1")
		cfg.Secret = []byte("0123456789abcdef")
		change(&cfg)
		client, err := Attach(t.Context(), cfg)
		if err == nil {
			client.Close()
		}
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ErrRefused and %q", err, want)
		}
	}
	f("same link.secret_file", func(c *ClientConfig) { c.Secret = nil })
	f("same link.secret_file", func(c *ClientConfig) { c.Secret = []byte("0123456789abcdeF") })
	f("valid node name", func(c *ClientConfig) { c.About.Node = "a b" })
	f("ops address", func(c *ClientConfig) { c.About.Ops = strings.Repeat("x", 1000) })
	f("unset dev", func(c *ClientConfig) { c.About.Dev = true })
	if n := w.hub.Totals(); n.Refused != 5 || n.Attached != 0 {
		t.Errorf("%+v", n)
	}
	cfg := w.config("edge-1")
	cfg.Secret = []byte("0123456789abcdef")
	client, err := Attach(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
}

func TestOtherSettingsEndTheClient(t *testing.T) {
	w := newWorld(t, nil)
	p := w.attach("edge-1", nil)
	w.hub.Stop()
	w.start(func(c *HubConfig) { c.Settings.Limits.Body++ })
	select {
	case <-p.Done():
	case <-time.After(waitMax):
		t.Fatal("it goes on")
	}
	if !errors.Is(p.Err(), ErrSettingsChanged) {
		t.Errorf("ended with %v", p.Err())
	}
	if p := w.attach("edge-1", nil); p.Settings().Limits.Body != testSettings.Limits.Body+1 {
		t.Errorf("settings %+v", p.Settings())
	}
}

func TestAttachEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tried := make(chan struct{}, 100)
	cfg := ClientConfig{About: About{Node: "e"}, Resolve: At("engine"), Dial: func(context.Context, string) (net.Conn, error) {
		select {
		case tried <- struct{}{}:
		default:
		}
		return nil, errors.New("nobody there")
	}}
	ended := make(chan error)
	go func() {
		_, err := Attach(ctx, cfg)
		ended <- err
	}()
	<-tried
	<-tried // it tries again
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// fakeTickets has one ticket, T, of alice.
type fakeTickets struct{ issued godwit.Identity }

func (f *fakeTickets) Issue(who godwit.Identity) (string, int, error) {
	if who.User == "full" {
		return "", 0, errors.New("full")
	}
	f.issued = who
	return "tk_1", int(who.Expires), nil
}

func (f *fakeTickets) Redeem(ticket string) (godwit.Identity, error) {
	if ticket != "T" {
		return godwit.Identity{}, errors.New("unknown ticket")
	}
	return godwit.Identity{User: "alice", Expires: 1 << 52, Issued: 7}, nil
}

func TestTicketsAreTheEngines(t *testing.T) {
	tickets := &fakeTickets{}
	w := newWorld(t, func(c *HubConfig) { c.Tickets, c.Secret = tickets, []byte("0123456789abcdef") })
	p := w.attach("edge-1", func(_ *process, c *ClientConfig) { c.Secret = []byte("0123456789abcdef") })
	bob := godwit.Identity{User: "bob", Expires: 30, Issued: 1 << 52}
	if ticket, seconds, err := p.Issue(bob); ticket != "tk_1" || seconds != 30 || err != nil || tickets.issued != bob {
		t.Errorf("%q, %d, %v", ticket, seconds, err)
	}
	if who, err := p.Redeem("T"); who != (godwit.Identity{User: "alice", Expires: 1 << 52, Issued: 7}) || err != nil {
		t.Errorf("%+v, %v", who, err)
	}
	if _, err := p.Redeem("U"); !errors.Is(err, godwit.ErrUnauthorized) {
		t.Errorf("a wrong ticket: %v", err)
	}
	if _, _, err := p.Issue(godwit.Identity{User: "full", Expires: 30}); !errors.Is(err, godwit.ErrRateLimited) {
		t.Errorf("no more tickets: %v", err)
	}
	p.cfg.Secret = nil
	if _, err := p.Redeem("T"); !errors.Is(err, godwit.ErrUnavailable) {
		t.Errorf("without the secret: %v", err)
	}
	w.hub.Stop()
	if _, err := p.Redeem("T"); !errors.Is(err, godwit.ErrUnavailable) {
		t.Errorf("without an engine process: %v", err)
	}
}

func TestSocketIsForItsUserAloneAndReplacesOnlyADeadOne(t *testing.T) {
	dir, err := os.MkdirTemp("", "l") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "link.sock")
	listener, err := Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := Listen("unix:" + path); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("a second listener: %v", err)
	}
	// Killed: the file stays, nobody listens.
	if err := listener.(*socketListener).UnixListener.Close(); err != nil {
		t.Fatal(err)
	}
	if listener, err = Listen("unix:" + path); err != nil {
		t.Fatalf("a dead socket is in the way: %v", err)
	}
	conn, err := dial(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:" + path); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("over a file: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "mine" {
		t.Error("the file was touched")
	}
}

func TestCheckAddress(t *testing.T) {
	f := func(address string, good bool) {
		t.Helper()
		if err := CheckAddress(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
	f("unix:/run/godwit.sock", true)
	f("127.0.0.1:9", true)
	f("unix:", false)
	f("unix:/"+strings.Repeat("x", pathBytesMax), false)
	f("unix:/"+strings.Repeat("x", pathBytesMax-1), true)
	f("somewhere", false)
	f("", false)
}
