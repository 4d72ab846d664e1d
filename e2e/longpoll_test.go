package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// Connections of this test break somewhere in this many bytes: in a head, in a
// frame, between two of them, or after some answers.
const cutLeast, cutMost = 300, 60_000

// cutMessages is how many messages reach a user whose polls are cut.
const cutMessages = 10_000

// sendNumbered sends numbered messages without waiting for each.
func sendNumbered(ctx context.Context, c *client.Client, to string, n int) error {
	tickets := make(chan *client.Ticket, 256)
	var failed error
	var answers sync.WaitGroup
	answers.Go(func() {
		for ticket := range tickets {
			if _, err := ticket.Wait(ctx); err != nil && failed == nil {
				failed = err
			}
		}
	})
	for i := range n {
		ticket, err := c.Submit(ctx, to, client.Message{CID: fmt.Sprintf("m%06d", i), Text: fmt.Sprint("message ", i)})
		if err != nil {
			close(tickets)
			answers.Wait()
			return err
		}
		tickets <- ticket
	}
	close(tickets)
	answers.Wait()
	return failed
}

// tally is what one reader saw of a log that holds sendNumbered's messages and no
// more. A busy server may refuse a send for a while, and the SDK lets those in
// flight behind it pass, so the order is the log's and not that of the numbers.
type tally struct {
	order []string // client ids in the order of the log
	once  map[string]bool
}

func (y *tally) seen() godwit.Seq { return godwit.Seq(len(y.order)) }

// add wants the next entry of the log, with a message not seen before.
func (y *tally) add(e *godwit.Entry) error {
	cid := string(e.Msg.CID)
	var number int
	if _, err := fmt.Sscanf(cid, "m%06d", &number); err != nil || string(e.Msg.Body) != fmt.Sprint("message ", number) {
		return fmt.Errorf("entry %d is %s %q", e.Seq, cid, e.Msg.Body)
	}
	if e.Seq != y.seen()+1 || y.once[cid] {
		return fmt.Errorf("entry %d (%s) after %d; the message was there before: %v", e.Seq, cid, y.seen(), y.once[cid])
	}
	if y.once == nil {
		y.once = map[string]bool{}
	}
	y.once[cid] = true
	y.order = append(y.order, cid)
	return nil
}

// readSDK receives messages by the SDK.
func readSDK(ctx context.Context, cfg client.Config, n int) (y tally, err error) {
	cfg.Since = new(godwit.Seq)
	c, err := client.Dial(ctx, cfg)
	if err != nil {
		return y, err
	}
	defer c.Close()
	for len(y.order) < n {
		item, err := c.Receive(ctx)
		if err == nil && item.Gap != nil {
			err = fmt.Errorf("after %d: %+v", y.seen(), item.Gap)
		}
		if err == nil {
			err = y.add(&item.Entry)
		}
		if err != nil {
			return y, err
		}
	}
	return y, nil
}

// readRaw receives messages by plain requests: an answer that broke off counts
// for nothing, and its cursor is asked again.
func readRaw(ctx context.Context, t testing.TB, p *poller, n int) (y tally, err error) {
	for len(y.order) < n {
		frames, ok := p.next(ctx, t, 5)
		if !ok && ctx.Err() != nil {
			return y, ctx.Err()
		}
		for i := range frames {
			if err := y.add(&frames[i].Event); err != nil {
				return y, err
			}
		}
	}
	return y, nil
}

func TestMessagesOfPollsCutAtRandomPointsArriveOnceAndInOrder(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	s := newServer(t, "")
	s.start()
	tokens := s.tokens("alice", "bob")
	var readers sync.WaitGroup
	started := make(chan struct{}, 4)
	var tallies [4]tally
	for i, encoding := range []godwit.Encoding{godwit.EncodingJSON, godwit.EncodingProto} {
		r := newRelay(t, s.listen, uint64(i))
		raw := &poller{base: "http://" + r.addr(), token: tokens["bob"], device: fmt.Sprint("raw", i), encoding: encoding}
		if _, ok := raw.next(ctx, t, 0); !ok { // at the beginning of the log
			t.Fatal("the first poll failed")
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		r.cut(cutLeast, cutMost)
		readers.Go(func() {
			started <- struct{}{}
			var err error
			if tallies[i], err = readRaw(ctx, t, raw, cutMessages); err != nil {
				t.Errorf("raw %d: %v", encoding, err)
			}
			t.Logf("raw %d: %d connections cut, %d answers", encoding, r.cuts.Load(), raw.cut)
			if raw.cut < 10 {
				t.Errorf("raw %d: %d answers were cut only", encoding, raw.cut)
			}
		})
		sdkRelay := newRelay(t, s.listen, uint64(10+i))
		sdkRelay.cut(cutLeast, cutMost)
		cfg := sdkConfig(sdkRelay.url(), tokens["bob"], client.Encoding(i))
		cfg.Transport, cfg.Device = client.LongPoll, fmt.Sprint("sdk", i)
		readers.Go(func() {
			started <- struct{}{}
			var err error
			if tallies[2+i], err = readSDK(ctx, cfg, cutMessages); err != nil {
				t.Errorf("sdk %d: %v", i, err)
			}
			t.Logf("sdk %d: %d connections cut", i, sdkRelay.cuts.Load())
			if sdkRelay.cuts.Load() < 10 {
				t.Errorf("sdk %d: %d connections were cut only", i, sdkRelay.cuts.Load())
			}
		})
	}
	for range 4 {
		<-started
	}
	alice := dialSDK(ctx, t, client.Config{URL: s.url(), Token: tokens["alice"], Transport: client.WebSocket})
	if err := sendNumbered(ctx, alice, "bob", cutMessages); err != nil {
		t.Errorf("send: %v", err)
	}
	readers.Wait()
	straight, err := readSDK(ctx, sdkConfig(s.url(), tokens["bob"], client.Proto), cutMessages)
	if err != nil {
		t.Fatal(err)
	}
	for i := range tallies {
		if !slices.Equal(tallies[i].order, straight.order) {
			t.Errorf("reader %d saw another order than a WebSocket that was not cut", i)
		}
	}
}

func TestMessagesOfPostsCutAtRandomPointsAreStoredOnce(t *testing.T) {
	const messages = 3000
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	s := newServer(t, "")
	s.start()
	for i := range 2 {
		sender, reader := fmt.Sprint("alice", i), fmt.Sprint("bob", i)
		tokens := s.tokens(sender, reader)
		r := newRelay(t, s.listen, uint64(20+i))
		r.cut(cutLeast, cutMost)
		cfg := sdkConfig(r.url(), tokens[sender], client.Encoding(i))
		cfg.Transport = client.LongPoll
		c, err := client.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := sendNumbered(ctx, c, reader, messages); err != nil {
			t.Errorf("send: %v", err)
		}
		_ = c.Close()
		t.Logf("%d connections cut", r.cuts.Load())
		if r.cuts.Load() < 5 {
			t.Errorf("%d connections were cut only", r.cuts.Load())
		}
		for _, user := range []string{sender, reader} {
			if _, err := readSDK(ctx, sdkConfig(s.url(), tokens[user], client.Proto), messages); err != nil {
				t.Errorf("%s: %v", user, err)
			}
		}
	}
}

func TestSDKPollsSendOnceAndInOrderOverKills(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	_, h, broken := runSDK(ctx, t, newServer(t, ""), client.LongPoll, 5)
	for _, wrong := range broken {
		t.Error(wrong)
	}
	if len(h.sent) < 500 || len(h.acks) != len(h.sent) {
		t.Errorf("%d messages, %d acks: the run is too small, or messages have no fate", len(h.sent), len(h.acks))
	}
}

// A server that goes down in good order asks those who poll to move.
func TestSDKPollsOverAGracefulRestart(t *testing.T) {
	t.Parallel()
	const messages = 1000
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	s := newServer(t, "")
	s.start()
	tokens := s.tokens("alice", "bob")
	alice, bob := sdkConfig(s.url(), tokens["alice"], client.Proto), sdkConfig(s.url(), tokens["bob"], client.JSON)
	alice.Transport, bob.Transport = client.LongPoll, client.LongPoll
	bob.Since = new(godwit.Seq)
	sender, reader := dialSDK(ctx, t, alice), dialSDK(ctx, t, bob)
	sent := make(chan error, 1)
	go func() { sent <- sendNumbered(ctx, sender, "bob", messages) }()
	for y := new(tally); len(y.order) < messages; {
		item, err := reader.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := y.add(&item.Entry); err != nil {
			t.Fatal(err)
		}
		if y.seen() == messages/4 || y.seen() == messages/2 {
			if code := s.terminate(); code != 0 {
				t.Errorf("the server ended with %d", code)
			}
			s.start()
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestSDKPollsBehindAProxyWithoutWebSocketAndChangesOver(t *testing.T) {
	const messages = 2000
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	s := newServer(t, "")
	s.start()
	tokens := s.tokens("alice", "bob")
	r := newRelay(t, s.listen, 1)
	r.swallows.Store(true)
	cfg := sdkConfig(r.url(), tokens["bob"], client.Proto)
	cfg.FallbackAfter, cfg.ProbeEvery, cfg.OpenTimeout = 100*time.Millisecond, 200*time.Millisecond, time.Second
	changed := make(chan client.Transport, 1024)
	cfg.OnState = func(state client.State) {
		if state.Transport != "" {
			changed <- state.Transport
		}
	}
	cfg.Since = new(godwit.Seq)
	bob := dialSDK(ctx, t, cfg)
	if got := <-changed; got != client.LongPoll {
		t.Fatalf("connected by %s", got)
	}
	alice := dialSDK(ctx, t, client.Config{URL: s.url(), Token: tokens["alice"]})
	sent := make(chan error, 1)
	go func() { sent <- sendNumbered(ctx, alice, "bob", messages) }()
	over := false
	for y := new(tally); len(y.order) < messages; {
		item, err := bob.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := y.add(&item.Entry); err != nil {
			t.Fatal(err)
		}
		if y.seen() == messages/4 {
			r.swallows.Store(false) // the network has changed
		}
	}
	for !over {
		select {
		case transport := <-changed:
			over = transport == client.WebSocket
		case <-ctx.Done():
			t.Fatalf("still on %+v", bob.State())
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if r.upgrades.Load() == 0 {
		t.Error("no WebSocket was tried")
	}
}

// online asks whether a user is: of one who polls, that a poll is held or was a
// moment ago.
func (w *wire) online(user string) bool {
	w.t.Helper()
	reply := w.ask(godwit.ClientFrame{Kind: godwit.KindPresence, Presence: godwit.Presence{Get: [][]byte{[]byte(user)}}})
	if reply.Kind != godwit.KindPresence || len(reply.Presence.Users) != 1 {
		w.t.Fatalf("presence: %+v", reply)
	}
	return reply.Presence.Users[0].Online
}

func TestCommandsSpeakEachTransport(t *testing.T) {
	s := newServer(t, "")
	s.start()
	token := s.tokens("bob")["bob"]
	for i, transport := range []string{"auto", "websocket", "longpoll"} {
		out, errs, code := s.run("", "send", "--transport", transport, "--url", s.url(), "--token", token, "bob", transport)
		if code != 0 || out == "" {
			t.Errorf("send by %s: exit %d\n%s%s", transport, code, out, errs)
		}
		w, reply := connectWire(t, s.url(), godwit.EncodingJSON, token, "reader", godwit.Resume{})
		if entries := w.sync(0, 100).Entries; int(reply.Seq) != i+1 || len(entries) != i+1 || string(entries[i].Msg.Body) != transport {
			t.Errorf("by %s: the log holds %+v", transport, entries)
		}
	}
	if _, errs, code := s.run("", "send", "--transport", "pigeon", "--url", s.url(), "--token", token, "bob", "x"); code != 2 || !strings.Contains(errs, "pigeon") {
		t.Errorf("an unknown transport: exit %d, %s", code, errs)
	}
}

// A session of the same device ends the older one, whatever carries them.
func TestNewerSessionOfADeviceEndsAHeldPoll(t *testing.T) {
	s := newServer(t, "")
	s.start()
	tokens := s.tokens("bob")
	for _, encoding := range []godwit.Encoding{godwit.EncodingJSON, godwit.EncodingProto} {
		p := &poller{base: "http://" + s.listen, token: tokens["bob"], device: fmt.Sprint("phone", encoding), encoding: encoding}
		p.next(t.Context(), t, 0)
		type outcome struct {
			frames []godwit.ServerFrame
			ok     bool
		}
		hold := func() (ended chan outcome) {
			until(t, "no poll is counted any more", func() bool { return metric(t, s.ops, "godwit_edge_polls") == 0 })
			ended = make(chan outcome, 1)
			q := *p
			go func() {
				frames, ok := q.next(context.Background(), t, 60)
				ended <- outcome{frames, ok}
			}()
			until(t, "the poll is held", func() bool { return metric(t, s.ops, "godwit_edge_polls") == 1 })
			return ended
		}
		first := hold()
		p.next(t.Context(), t, 0)
		if o := <-first; !o.ok || len(o.frames) != 0 {
			t.Errorf("ended by a poll: %+v", o)
		}
		second := hold()
		w, _ := connectWire(t, s.url(), encoding, tokens["bob"], p.device, godwit.Resume{})
		if o := <-second; !o.ok || len(o.frames) != 0 {
			t.Errorf("ended by a WebSocket: %+v", o)
		}
		p.next(t.Context(), t, 0)
		if _, ok := w.next(); ok {
			t.Error("a frame came instead of the close")
		}
		if closed := <-w.closed; closed == nil || closed.Code != uint16(godwit.CloseReplaced) {
			t.Errorf("the WebSocket ended with %+v", closed)
		}
	}
}

func TestPollThatCannotResumeIsGone(t *testing.T) {
	s := newServer(t, "")
	s.start()
	tokens := s.tokens("alice", "bob")
	alice, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens["alice"], "phone", godwit.Resume{})
	bob, welcome := connectWire(t, s.url(), godwit.EncodingJSON, tokens["bob"], "phone", godwit.Resume{})
	for i := range 5 {
		alice.send("bob", fmt.Sprint("c", i), "before")
	}
	bob.wait(5)
	backup := s.backUp(filepath.Join(t.TempDir(), "backups"))
	p := &poller{base: "http://" + s.listen, token: tokens["bob"], device: "raw"}
	status, frames, _ := p.get(t.Context(), t, url.Values{"epoch": {welcome.Epoch}, "seq": {"2"}}, 0)
	if status != 200 || len(frames) != 4 || frames[0].Event.Seq != 3 {
		t.Fatalf("resumed after 2: %d %+v", status, frames)
	}
	old := frames[3].Poll.Cursor
	for _, q := range []url.Values{{"epoch": {welcome.Epoch}, "seq": {"6"}}, {"epoch": {"other"}, "seq": {"2"}}} {
		status, frames, _ = p.get(t.Context(), t, q, 0)
		if status != 410 || len(frames) != 1 || frames[0].Error.Code != "poll.gone" {
			t.Errorf("%v: %d %+v", q, status, frames)
		}
	}
	s.kill()

	again := newServer(t, "")
	again.dir = filepath.Join(t.TempDir(), "restored")
	again.mustRun("restore", "--from", backup, "--data", again.dir)
	again.start()
	token := again.tokens("bob")["bob"]
	p.base, p.token = "http://"+again.listen, token
	status, frames, _ = p.get(t.Context(), t, url.Values{"c": {old}}, 0)
	if status != 410 || frames[0].Error.Code != "poll.gone" {
		t.Errorf("the cursor of the old epoch: %d %+v", status, frames)
	}
	cfg := sdkConfig(again.url(), token, client.JSON)
	cfg.Transport, cfg.Resume = client.LongPoll, &client.Position{Epoch: welcome.Epoch, Seq: 5}
	c := dialSDK(t.Context(), t, cfg)
	item, err := c.Receive(t.Context())
	if err != nil || item.Gap == nil || item.Gap.Reason != "epoch" || item.Gap.To.Seq != 5 {
		t.Errorf("the SDK got %+v, %v", item, err)
	}
}

func TestPostAnswersEachCommandInItsPlace(t *testing.T) {
	s := newServer(t, "")
	s.start()
	for i, encoding := range []godwit.Encoding{godwit.EncodingJSON, godwit.EncodingProto} {
		user := fmt.Sprint("bob", i)
		p := &poller{base: "http://" + s.listen, token: s.tokens(user)[user], device: "raw", encoding: encoding}
		send := godwit.ClientFrame{Kind: godwit.KindSend}
		send.Send.To, send.Send.CID, send.Send.Text, send.Send.HasText = []byte(user), []byte("c1"), []byte("hi"), true
		other := send
		other.Send.CID = []byte("c2")
		first := p.call(t, send, other)
		if first[0].Send.Seq != 1 || first[1].Send.Seq != 2 {
			t.Errorf("sends answered %+v", first)
		}
		again := p.call(t,
			send,
			godwit.ClientFrame{Kind: godwit.KindHistory, History: godwit.History{Conv: []byte("u:" + user)}},
			godwit.ClientFrame{Kind: godwit.KindAck, Ack: godwit.Ack{Seq: 1}},
			godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Since: 1}},
			godwit.ClientFrame{Kind: godwit.KindConversations},
			godwit.ClientFrame{Kind: godwit.KindPresence, Presence: godwit.Presence{Get: [][]byte{[]byte("nobody")}}},
		)
		if !again[0].Send.Dup || again[0].Send.Seq != 1 || len(again[1].History.Entries) != 2 || again[2].Error.Code != "frame.unknown" ||
			len(again[3].Sync.Entries) != 1 || len(again[4].Conversations.Items) != 1 || len(again[5].Presence.Users) != 1 {
			t.Errorf("answered %+v", again)
		}
	}
}
