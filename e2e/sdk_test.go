package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// sdkUser is one user with one client of the Go SDK, and what came of it.
type sdkUser struct {
	name, token string
	encoding    client.Encoding
	client      *client.Client

	order []string // client ids in the order of Submit; the sender's own
	log   deviceLog
	last  godwit.Seq // everything up to here was received
	gaps  []client.Discontinuity
}

// sdkConfig reconnects soon: in these tests a server is never down for long.
func sdkConfig(url, token string, encoding client.Encoding) client.Config {
	return client.Config{URL: url, Token: token, Encoding: encoding, NoDelivered: true, BackoffFirst: 10 * time.Millisecond, BackoffMax: 200 * time.Millisecond}
}

func dialSDK(ctx context.Context, t testing.TB, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.Dial(ctx, cfg)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// receive takes items until ctx ends or the log was received up to a sequence.
func (u *sdkUser) receive(ctx context.Context, until godwit.Seq, each func()) error {
	for u.last < until {
		item, err := u.client.Receive(ctx)
		if err != nil {
			return err
		}
		u.last = item.At.Seq
		if item.Gap != nil {
			u.gaps = append(u.gaps, *item.Gap)
			continue
		}
		u.log.entries = append(u.log.entries, newSeen(&item.Entry))
		each()
	}
	return nil
}

// send submits messages until the campaign closes, without waiting for their
// fates, which another goroutine takes in order.
func (u *sdkUser) send(ctx context.Context, c *campaign) {
	tickets := make(chan *client.Ticket, 256) // full: the sender waits
	var answers sync.WaitGroup
	answers.Go(func() {
		for ticket := range tickets {
			sent, err := ticket.Wait(ctx)
			if err != nil {
				c.violation("%s: %v", u.name, err)
				continue
			}
			c.ack(acked{u.name, sent.CID, sent.Seq, sent.MID, sent.Dup})
		}
	})
	for {
		cid, ok := c.compose(u.name)
		if !ok {
			break
		}
		m := c.message(cid)
		ticket, err := u.client.Submit(ctx, m.to, client.Message{CID: cid, Text: m.text})
		if err != nil {
			c.violation("%s: submit: %v", u.name, err)
			break
		}
		u.order = append(u.order, cid)
		tickets <- ticket
	}
	close(tickets)
	answers.Wait()
}

// runSDK has two users, one on Protobuf and one on JSON, send and receive while
// the server is killed, and returns them and what is wrong.
func runSDK(ctx context.Context, t testing.TB, s *server, transport client.Transport, kills int) (users []*sdkUser, h *history, broken []string) {
	c := newCampaign(t, s, 2)
	tokens := s.tokens(c.users...)
	c.up()
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var senders, receivers sync.WaitGroup
	for i, name := range c.users {
		cfg := sdkConfig(s.url(), tokens[name], client.Encoding(i%2))
		cfg.Transport, cfg.Since = transport, new(godwit.Seq)
		u := &sdkUser{name: name, token: tokens[name], encoding: cfg.Encoding, client: dialSDK(ctx, t, cfg)}
		u.log = deviceLog{user: name, device: "sdk"}
		users = append(users, u)
		senders.Go(func() { u.send(ctx, c) })
		receivers.Go(func() { _ = u.receive(sending, godwit.SeqMax, c.progress) })
	}
	for range kills {
		c.waitSteps(200 + rand.IntN(600))
		c.down()
		s.kill()
		c.up()
	}
	c.waitSteps(200)
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	senders.Wait() // each message has its fate
	stop()
	receivers.Wait()

	h = &history{sent: c.sent, acks: c.acks}
	for _, u := range users {
		fresh := replay(ctx, t, s, u)
		if err := u.receive(ctx, fresh.last, func() {}); err != nil {
			c.violation("%s: receive the rest: %v", u.name, err)
		}
		for _, gap := range slices.Concat(u.gaps, fresh.gaps) {
			c.violation("%s: the log was not continued: %+v", u.name, gap)
		}
		h.logs = append(h.logs, u.log, fresh.log)
		for _, wrong := range checkSubmitOrder(u.order, u.log) {
			c.violation("%s", wrong)
		}
	}
	return users, h, append(c.violations, h.check()...)
}

// replay reads a user's whole log anew, in the other encoding.
func replay(ctx context.Context, t testing.TB, s *server, u *sdkUser) *sdkUser {
	t.Helper()
	cfg := sdkConfig(s.url(), u.token, client.JSON-u.encoding)
	cfg.Since = new(godwit.Seq)
	fresh := &sdkUser{name: u.name, client: dialSDK(ctx, t, cfg), log: deviceLog{user: u.name, device: "fresh"}}
	if err := fresh.receive(ctx, fresh.client.Head(), func() {}); err != nil {
		t.Fatalf("%s: replay: %v", u.name, err)
	}
	_ = fresh.client.Close()
	return fresh
}

// checkSubmitOrder: the sender's log holds each message submitted once, in the
// order of Submit.
func checkSubmitOrder(order []string, log deviceLog) (broken []string) {
	var own []string
	for _, e := range log.entries {
		if e.from == log.user {
			own = append(own, e.cid)
		}
	}
	if len(own) != len(order) {
		broken = append(broken, fmt.Sprintf("%s: %d messages submitted, %d stored", log.user, len(order), len(own)))
	}
	for i := range min(len(own), len(order)) {
		if own[i] != order[i] {
			return append(broken, fmt.Sprintf("%s: message %d of the log is %s, submitted was %s", log.user, i+1, own[i], order[i]))
		}
	}
	return broken
}

func TestSDKSendsOnceAndInOrderOverKills(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	s := newServer(t, "")
	users, h, broken := runSDK(ctx, t, s, client.WebSocket, 10)
	dups := 0
	for _, a := range h.acks {
		if a.dup {
			dups++
		}
	}
	t.Logf("10 kills: %d messages, %d of them answered as repeated", len(h.sent), dups)
	for _, wrong := range broken {
		t.Error(wrong)
	}
	if len(h.sent) < 500 || len(h.acks) != len(h.sent) {
		t.Errorf("%d messages, %d acks: the run is too small, or messages have no fate", len(h.sent), len(h.acks))
	}
	for i, u := range users {
		peer := users[1-i]
		checkSDKHistory(ctx, t, u, peer.name)
		checkSDKHistory(ctx, t, u, u.name)
	}
	checkSDKPresence(ctx, t, users[0], users[1])
	checkSDKResume(ctx, t, s, users[0], users[1])
}

// checkSDKHistory reads a conversation in pages both ways and compares it with the log.
func checkSDKHistory(ctx context.Context, t testing.TB, u *sdkUser, peer string) {
	t.Helper()
	var want []seen
	for _, e := range u.log.entries {
		if e.conv == "u:"+peer {
			want = append(want, e)
		}
	}
	if len(want) < 100 {
		t.Errorf("%s with %s: only %d entries to page through", u.name, peer, len(want))
	}
	for _, forward := range []bool{true, false} {
		var got []seen
		for e, err := range u.client.History(ctx, peer, client.Range{Forward: forward, Page: 37}) {
			if err != nil {
				t.Fatalf("%s: history of %s: %v", u.name, peer, err)
			}
			got = append(got, newSeen(&e))
		}
		if !forward {
			slices.Reverse(got)
		}
		if !slices.EqualFunc(got, want, func(a, b seen) bool { return bytes.Equal(a.canonical, b.canonical) }) {
			t.Errorf("%s: history of %s (forward %v): %d entries that are not the %d of the log", u.name, peer, forward, len(got), len(want))
		}
	}
}

// checkSDKPresence: a user is online while a client is, and not after. It closes
// the client of the second user.
func checkSDKPresence(ctx context.Context, t testing.TB, u, peer *sdkUser) {
	t.Helper()
	ask := func() []godwit.PresenceItem {
		items, err := u.client.Presence(ctx, godwit.UserID(peer.name), "nobody")
		if err != nil || len(items) != 2 || string(items[0].User) != peer.name || items[1].Online {
			t.Fatalf("presence: %+v, %v", items, err)
		}
		return items
	}
	if !ask()[0].Online {
		t.Errorf("%s has a client and is offline", peer.name)
	}
	_ = peer.client.Close()
	for ask()[0].Online { // the server shows it a moment later; ctx bounds the wait
		select {
		case <-time.After(100 * time.Millisecond): // who asks too often is refused
		case <-ctx.Done():
		}
	}
}

// checkSDKResume: a new client goes on after the position of a closed one, and
// says so where that can't be.
func checkSDKResume(ctx context.Context, t testing.TB, s *server, u, closed *sdkUser) {
	t.Helper()
	at := closed.client.Position()
	for i := range 3 {
		if _, err := u.client.Send(ctx, closed.name, client.Message{Text: fmt.Sprint("missed ", i)}); err != nil {
			t.Fatal(err)
		}
	}
	resume := func(from client.Position) *client.Client {
		cfg := sdkConfig(s.url(), closed.token, closed.encoding)
		cfg.Resume = &from
		return dialSDK(ctx, t, cfg)
	}
	c := resume(at)
	for i := range 3 {
		item, err := c.Receive(ctx)
		if err != nil || item.Gap != nil || item.Entry.Seq != at.Seq+godwit.Seq(i)+1 || string(item.Entry.Msg.Body) != fmt.Sprint("missed ", i) {
			t.Fatalf("resumed after %+v: item %d is %+v, %v", at, i, item, err)
		}
	}
	head := c.Position()
	f := func(from client.Position, reason string) {
		t.Helper()
		item, err := resume(from).Receive(ctx)
		if err != nil || item.Gap == nil || *item.Gap != (client.Discontinuity{Reason: reason, From: from, To: head}) {
			t.Errorf("resume after %+v: %+v, %v; want a discontinuity %q to %+v", from, item.Gap, err, reason, head)
		}
	}
	f(client.Position{Epoch: "another", Seq: 3}, "epoch")
	f(client.Position{Epoch: head.Epoch, Seq: head.Seq + 1000}, "ahead")
}

// TestSDKRunCatchesPlantedBugs: the same run on a server with a planted bug must
// fail, or it proves nothing.
func TestSDKRunCatchesPlantedBugs(t *testing.T) {
	for _, bug := range []string{"ack-before-wal-write", "duplicate-apply"} {
		t.Run(bug, func(t *testing.T) {
			mustCatch(t, bug, func(s *server) []string {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_, _, broken := runSDK(ctx, t, s, client.WebSocket, 5)
				return broken
			})
		})
	}
}

func TestSubmitOrderCheckCatchesEveryFault(t *testing.T) {
	log := goodHistory().logs[0] // alice sent c1 and c3
	f := func(want bool, order ...string) {
		t.Helper()
		if broken := checkSubmitOrder(order, log); (len(broken) == 0) != want {
			t.Errorf("submitted %q: %q", order, broken)
		}
	}
	f(true, "c1", "c3")
	f(false, "c3", "c1")
	f(false, "c1")
	f(false, "c1", "c3", "c4")
}
