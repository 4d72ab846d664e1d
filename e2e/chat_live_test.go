package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

func TestTypingReachesWhoIsThereAndIsNotStored(t *testing.T) {
	overBothTransports(t, func(t *testing.T, transport string) {
		u := newUsers(t, nil, []string{"--transport", transport}, "alice", "bob", "carol")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		u.as("alice", "send", "bob", "hi")
		group := u.createGroup("alice", "Chess", "bob", "carol")
		notices := make(chan string, 64)
		for i, user := range []string{"bob", "carol"} {
			cfg := sdkConfig(u.url(), u.tokens[user], client.Encoding(i))
			cfg.Transport = client.Transport(transport)
			cfg.OnTyping = func(n godwit.TypingNotice) { notices <- fmt.Sprint(user, " ", n.Conv, " ", n.User) }
			dialSDK(ctx, t, cfg)
		}
		heard := map[string]bool{}
		want := []string{"bob u:alice alice", "bob g:" + group + " alice", "carol g:" + group + " alice"}
		until(t, fmt.Sprintf("all of %q are heard", want), func() bool { // again and again: a poll may just not be there
			u.as("alice", "typing", "bob")
			u.as("alice", "typing", "g:"+group)
			for {
				select {
				case n := <-notices:
					heard[n] = true
				default:
					return len(heard) >= len(want)
				}
			}
		})
		for n := range heard {
			if !slices.Contains(want, n) {
				t.Errorf("heard %q", n)
			}
		}
		if got := len(u.log("bob")); got != 2 {
			t.Errorf("bob's log has %d entries after typing", got)
		}
	})
}

func TestWatchingTellsWhoComesAndGoes(t *testing.T) {
	overBothTransports(t, func(t *testing.T, transport string) {
		u := newUsers(t, []string{"GODWIT_PRESENCE_DEBOUNCE=500ms"}, nil, "alice", "bob", "mallory")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		u.as("bob", "send", "alice", "hi") // bob is shown to those he has a conversation with
		changes := make(chan godwit.PresenceItem, 64)
		cfg := sdkConfig(u.url(), u.tokens["alice"], client.Proto)
		cfg.Transport = client.Transport(transport)
		cfg.OnPresence = func(item godwit.PresenceItem) { changes <- item }
		alice := dialSDK(ctx, t, cfg)
		now, err := alice.Watch(ctx, "bob", "mallory")
		if err != nil || len(now) != 2 || now[0].User != "bob" {
			t.Fatalf("%+v, %v", now, err)
		}
		shown := now[0].Online
		await := func(online bool) {
			t.Helper()
			for shown != online {
				select {
				case item := <-changes:
					if item.User != "bob" {
						t.Errorf("told of %+v", item)
					}
					shown = item.Online
				case <-ctx.Done():
					t.Fatalf("bob is not told to be online: %v", online)
				}
			}
		}
		mallory := dialSDK(ctx, t, sdkConfig(u.url(), u.tokens["mallory"], client.JSON)) // nobody alice may see
		bob := dialSDK(ctx, t, sdkConfig(u.url(), u.tokens["bob"], client.JSON))
		await(true)
		_ = bob.Close()
		await(false)
		_ = mallory.Close()
	})
}

func TestDevicesFromTheCommandLine(t *testing.T) {
	u := newUsers(t, nil, nil, "alice")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cfg := sdkConfig(u.url(), u.tokens["alice"], client.JSON)
	cfg.Device = "phone"
	phone := dialSDK(ctx, t, cfg)
	lines := u.as("alice", "devices", "--device", "laptop")
	online := map[string]bool{}
	for _, line := range lines {
		var d struct {
			Device       string
			Online, This bool
		}
		mustJSON(t, line, &d)
		online[d.Device] = d.Online
		if d.This != (d.Device == "laptop") {
			t.Errorf("%s", line)
		}
	}
	if !online["phone"] || !online["laptop"] {
		t.Errorf("devices %q", lines)
	}
	u.as("alice", "logout", "phone", "--device", "laptop")
	_, err := phone.Receive(ctx)
	var closed *client.CloseError
	if !errors.As(err, &closed) || closed.Code != godwit.CloseLoggedOut {
		t.Errorf("the phone heard %v", err)
	}
	if c, err := client.Dial(ctx, cfg); err == nil { // by the token of before
		_ = c.Close()
		t.Error("a device that was logged out came back with its old token")
	}
	call := func(device string) int {
		t.Helper()
		p := poller{base: "http://" + u.listen, token: u.tokens["alice"]}
		status, _, err := p.request(ctx, http.MethodPost, "/v1/rpc"+device, []byte(`{"id":1,"sync":{}}`))
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	if phone, laptop, none := call("?device=phone"), call("?device=laptop"), call(""); phone != 401 || laptop != 200 || none != 200 {
		t.Errorf("calls of the old token: phone %d, laptop %d, none %d", phone, laptop, none)
	}
	u.as("alice", "conversations", "--device", "laptop") // others stay
	u.as("alice", "logout", "--all", "--device", "laptop")
	if none := call(""); none != 401 {
		t.Errorf("a call after logout --all: %d", none)
	}
	if out, _, code := u.command("alice", []string{"conversations", "--device", "laptop", "--timeout", "1m"}); code != 1 || !strings.Contains(out, `"code":"device.logged_out"`) {
		t.Errorf("after logout --all: exit %d, %s", code, out)
	}
}

// An SDK that counts by itself agrees with the server about all of it, and is
// repaired where it does not.
func TestTheInboxOfTheSDKAgreesWithTheServer(t *testing.T) {
	overBothTransports(t, func(t *testing.T, transport string) {
		u := newUsers(t, nil, nil, "alice", "bob", "carol")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		u.as("alice", "send", "bob", "before")
		cfg := sdkConfig(u.url(), u.tokens["bob"], client.Proto)
		cfg.Transport, cfg.NoDelivered = client.Transport(transport), false
		bob := dialSDK(ctx, t, cfg)
		inbox := client.NewInbox(bob)
		if err := inbox.Load(ctx); err != nil {
			t.Fatal(err)
		}
		group := u.createGroup("alice", "Chess", "bob", "carol")
		for i := range 6 {
			u.as("alice", "send", "bob", fmt.Sprint("to bob ", i))
			u.as("carol", "send", "g:"+group, fmt.Sprint("to all ", i))
		}
		u.as("bob", "mark", "alice", "--read", "6") // another device of bob's
		u.as("bob", "send", "g:"+group, "mine")
		u.as("bob", "mark", "g:"+group, "--read", "9")
		u.as("bob", "conversation", "alice", "--pin")
		u.as("alice", "send", "bob", "the end")
		for done := false; !done; {
			item, err := bob.Receive(ctx)
			if err != nil {
				t.Fatal(err)
			}
			repaired, err := inbox.Take(ctx, item)
			if err != nil || repaired {
				t.Fatalf("repaired %v, %v at %+v", repaired, err, item.Entry)
			}
			done = string(item.Entry.Msg.Body) == "the end"
		}
		verify := func(wantRepair bool) {
			t.Helper()
			checked, repaired, err := inbox.Verify(ctx)
			if err != nil || !checked || repaired != wantRepair {
				t.Fatalf("checked %v, repaired %v, %v; want %v", checked, repaired, err, wantRepair)
			}
		}
		verify(false)
		var mine []string
		for _, c := range inbox.Conversations() {
			mine = append(mine, fmt.Sprint(c.Conv, " ", c.Unread, " ", c.Read, " ", c.Pin))
		}
		var theirs []string
		for c, err := range bob.Conversations(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			theirs = append(theirs, fmt.Sprint(c.Conv, " ", c.Unread, " ", c.Read, " ", c.Pin))
		}
		slices.Sort(mine)
		slices.Sort(theirs)
		if !slices.Equal(mine, theirs) {
			t.Errorf("the inbox has %q, the server %q", mine, theirs)
		}
	})
}
