package edge

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

func sendFrame(id uint64, text string) *godwit.ClientFrame {
	return &godwit.ClientFrame{ID: id, Kind: godwit.KindSend, Send: godwit.Send{To: []byte("bob"), CID: []byte("c1"), Text: []byte(text), HasText: true}}
}

func TestSessionConnectsAndRequestsAreAnswered(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		now := time.Now().UnixMilli()
		expires := now + time.Hour.Milliseconds()
		chat := &fakeChat{}
		hellos := make(chan Hello, 1)
		chat.onConnect = func(s godwit.SessionID, h Hello) {
			hellos <- h
			chat.edge.Connected(s, godwit.Welcome{Epoch: "e1", Head: 9, Start: 7, Reason: "epoch"})
		}
		e := newEdge(t, chat, func(c *Config) { c.Node, c.Clock = "n1", func() int64 { return now } })
		c := dial(t, e, enc)
		c.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{
			Token: []byte("user:alice:" + strconv.FormatInt(expires, 10)), Device: []byte("phone"), Resume: godwit.Resume{Set: true, Epoch: []byte("e0"), Seq: 7},
		}})
		f := c.next()
		r := f.Connect
		if f.Kind != godwit.KindConnect || f.ID != 1 || r.Node != "n1" || r.Epoch != "e1" || r.Seq != 9 || r.Resumed || r.Reason != "epoch" ||
			r.Missed != 2 || r.Ping != 25 || r.TTL != 3600 || r.Time != now || r.User != "alice" || r.Device != "phone" || r.Limits != e.cfg.Limits || r.Session == "" {
			t.Fatalf("connect answered by %+v", f)
		}
		if hello := <-hellos; !reflect.DeepEqual(hello, Hello{User: "alice", Device: "phone", Resume: true, Epoch: "e0", ResumeSeq: 7}) {
			t.Fatalf("chat was told %+v", hello)
		}
		c.send(sendFrame(2, "hi"))
		if f := c.next(); f.Kind != godwit.KindSend || f.ID != 2 || f.Send.Seq != 7 {
			t.Fatalf("send answered by %+v", f)
		}
		if st := e.Stats(); st.Sessions != 1 || st.Connections != 1 || st.Upgrades != 1 || st.FramesIn != 2 || st.FramesOut < 2 {
			t.Fatalf("stats %+v", st)
		}
	})
}

func TestManyFramesInOneMessageAndOneReadAreAllAnswered(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		e := newEdge(t, &fakeChat{}, nil)
		c := connect(t, e, enc, "alice")
		var wire, message []byte
		for id := uint64(2); id < 34; id++ {
			message = sendFrame(id, "hi").AppendFrameTo(message, enc)
			if id%4 == 1 { // some messages hold four frames
				wire = ws.AppendMasked(wire, true, opcode(enc), 77, message)
				message = nil
			}
		}
		c.raw(ws.AppendMasked(wire, true, opcode(enc), 78, message))
		for id := uint64(2); id < 34; id++ {
			if f := c.next(); f.ID != id {
				t.Fatalf("answer %d, want %d", f.ID, id)
			}
		}
	})
}

func TestFramesArrivingByteByByteAndInFragments(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		chat := &fakeChat{}
		texts := make(chan string, 1)
		chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
			texts <- string(f.Send.Text)
			chat.edge.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSend})
		}
		e := newEdge(t, chat, nil)
		c := connect(t, e, enc, "alice")
		message := sendFrame(2, "Grüße, 世界 🌍").AppendFrameTo(nil, enc)
		for _, b := range ws.AppendMasked(nil, true, opcode(enc), 0x99887766, message) {
			c.raw([]byte{b})
		}
		if f, got := c.next(), <-texts; f.ID != 2 || got != "Grüße, 世界 🌍" {
			t.Fatalf("%+v, chat got %q", f, got)
		}
		third := len(message) / 3
		c.raw(ws.AppendMasked(nil, false, opcode(enc), 1, message[:third]))
		c.raw(ws.AppendMasked(nil, true, ws.Ping, 2, []byte("in between")))
		c.raw(ws.AppendMasked(nil, false, ws.Continuation, 3, message[third:2*third]))
		if ev, ok := c.event(); !ok || ev.Op != ws.Pong || string(ev.Payload) != "in between" {
			t.Fatalf("ping within a message answered by %+v", ev)
		}
		c.raw(ws.AppendMasked(nil, true, ws.Continuation, 4, message[2*third:]))
		if f, got := c.next(), <-texts; f.ID != 2 || got != "Grüße, 世界 🌍" {
			t.Fatalf("%+v, chat got %q", f, got)
		}
	})
}

// TestFragmentsOfTwoConnectionsDoNotMix: both are in the middle of a message on
// the same loop.
func TestFragmentsOfTwoConnectionsDoNotMix(t *testing.T) {
	chat := &fakeChat{}
	chat.onRequest = func(s godwit.SessionID, user godwit.UserID, f *godwit.ClientFrame) {
		if string(f.Send.Text) != string(user) {
			t.Errorf("%s sent %q", user, f.Send.Text)
		}
		chat.edge.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSend})
	}
	e := newEdge(t, chat, nil)
	var clients []*client
	for _, user := range []string{"alice", "bobby", "carol"} {
		clients = append(clients, connect(t, e, godwit.EncodingJSON, user))
	}
	for i, user := range []string{"alice", "bobby", "carol"} {
		message := sendFrame(2, user).AppendFrameTo(nil, godwit.EncodingJSON)
		half := len(message) - 10 - i
		clients[i].raw(ws.AppendMasked(nil, false, ws.Text, 1, message[:half]))
		clients[i].raw(ws.AppendMasked(nil, true, ws.Ping, 1, nil))
		if ev, ok := clients[i].event(); !ok || ev.Op != ws.Pong {
			t.Fatalf("%+v", ev)
		}
		defer func() {
			clients[i].raw(ws.AppendMasked(nil, true, ws.Continuation, 1, message[half:]))
			if f := clients[i].next(); f.ID != 2 || f.Kind != godwit.KindSend {
				t.Errorf("%s: %+v", user, f)
			}
		}()
	}
}

// TestLargeFrameIsTakenWhole: the largest message, in whatever pieces TCP makes.
func TestLargeFrameIsTakenWhole(t *testing.T) {
	chat := &fakeChat{}
	var size atomic.Int64
	chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
		size.Store(int64(len(f.Send.Text)))
		chat.edge.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSend})
	}
	e := newEdge(t, chat, func(c *Config) { c.Limits.Frame = 1 << 20 })
	c := connect(t, e, godwit.EncodingProto, "alice")
	text := strings.Repeat("x", 1<<20-64)
	c.send(sendFrame(2, text))
	if f := c.next(); f.ID != 2 || size.Load() != int64(len(text)) {
		t.Fatalf("%+v, chat got %d bytes", f, size.Load())
	}
}

func TestBearerTokenAtTheUpgrade(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		chat := &fakeChat{}
		e := newEdge(t, chat, nil)
		t.Run("connect adds the device", func(t *testing.T) {
			c := dial(t, e, enc, "Authorization: Bearer user:alice\r\n")
			c.send(&godwit.ClientFrame{ID: 4, Kind: godwit.KindConnect, Connect: godwit.Connect{Device: []byte("tv")}})
			if f := c.next(); f.ID != 4 || f.Connect.User != "alice" || f.Connect.Device != "tv" {
				t.Fatalf("%+v", f)
			}
		})
		t.Run("connect left out", func(t *testing.T) {
			c := dial(t, e, enc, "Authorization: Bearer user:alice\r\n")
			message := sendFrame(2, "one").AppendFrameTo(nil, enc)
			c.message(opcode(enc), sendFrame(3, "two").AppendFrameTo(message, enc))
			if f := c.next(); f.Kind != godwit.KindConnect || f.ID != 0 || f.Connect.User != "alice" || f.Connect.Device == "" {
				t.Fatalf("%+v", f)
			}
			for id := uint64(2); id < 4; id++ {
				if f := c.next(); f.Kind != godwit.KindSend || f.ID != id {
					t.Fatalf("%+v", f)
				}
			}
		})
		t.Run("a token of another user", func(t *testing.T) {
			c := dial(t, e, enc, "Authorization: Bearer user:alice\r\n")
			c.send(&godwit.ClientFrame{ID: 4, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("user:mallory")}})
			c.wantClose(godwit.CloseTokenInvalid)
		})
	})
}

func TestFramesSentAheadOfTheConnectReplyWait(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		hold := make(chan struct{})
		e := newEdge(t, &fakeChat{}, func(c *Config) { c.Verifier = fakeVerifier{hold: hold} })
		c := dial(t, e, enc)
		message := (&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("user:alice")}}).AppendFrameTo(nil, enc)
		c.message(opcode(enc), sendFrame(2, "same message").AppendFrameTo(message, enc))
		c.send(sendFrame(3, "next message"))
		close(hold)
		for id := uint64(1); id < 4; id++ {
			if f := c.next(); f.ID != id {
				t.Fatalf("answer %d, want %d: %+v", f.ID, id, f)
			}
		}
	})
}

func TestTooMuchSentAheadIsRefused(t *testing.T) {
	hold := make(chan struct{})
	e := newEdge(t, &fakeChat{}, func(c *Config) { c.Verifier = fakeVerifier{hold: hold} })
	defer close(hold)
	c := dial(t, e, godwit.EncodingJSON)
	c.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("user:alice")}})
	flood := ws.AppendMasked(nil, true, ws.Text, 5, bytes.Repeat([]byte(" "), 60000))
	c.raw(append(flood, flood...))
	c.wantClose(godwit.CloseRateLimited)
}

func TestVerifyQueueOverflowSaysComeBack(t *testing.T) {
	hold := make(chan struct{})
	e := newEdge(t, &fakeChat{}, func(c *Config) { c.Verifier, c.VerifyQueueMax = fakeVerifier{hold: hold}, 1 })
	defer close(hold)
	closed := make(chan godwit.CloseCode, 16)
	for range 2 + verifyWorkers { // the workers hold one each, one waits: one is too many
		c := dial(t, e, godwit.EncodingJSON)
		c.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("user:alice")}})
		go func() {
			_ = c.try()
			closed <- godwit.CloseCode(c.code)
		}()
	}
	if code := <-closed; code != godwit.CloseOverloaded {
		t.Fatalf("closed with %d", code)
	}
}

func TestInFlightRequestsAreBounded(t *testing.T) {
	chat := &fakeChat{}
	type request struct {
		s  godwit.SessionID
		id uint64
	}
	requests := make(chan request, 10)
	chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) { requests <- request{s, f.ID} }
	e := newEdge(t, chat, func(c *Config) { c.Limits.InFlight = 2 })
	c := connect(t, e, godwit.EncodingJSON, "alice")
	for id := range uint64(3) {
		c.send(sendFrame(10+id, "hi"))
	}
	if f := c.next(); f.ID != 12 || f.Kind != godwit.KindError || f.Error.Code != godwit.ErrRateLimited.Code || f.Error.RetryAfterMS == 0 || !f.Error.Temporary {
		t.Fatalf("%+v", f)
	}
	r := <-requests
	e.Reply(r.s, &godwit.ServerFrame{ID: r.id, Kind: godwit.KindSend})
	if f := c.next(); f.ID != 10 {
		t.Fatalf("%+v", f)
	}
	c.send(sendFrame(13, "hi"))
	<-requests
	if r := <-requests; r.id != 13 {
		t.Fatalf("request %d reached chat, want 13", r.id)
	}
}

func TestRepliesToIDZeroAreDroppedUnlessErrors(t *testing.T) {
	chat := &fakeChat{}
	chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
		reply := &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSend}
		if string(f.Send.Text) == "bad" {
			reply = &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindError, Error: godwit.ErrNotMember.Reply(0)}
		}
		chat.edge.Reply(s, reply)
	}
	e := newEdge(t, chat, func(c *Config) { c.Limits.InFlight = 1 })
	c := connect(t, e, godwit.EncodingJSON, "alice")
	c.send(sendFrame(0, "fine"))
	c.send(sendFrame(0, "bad"))
	if f := c.next(); f.Kind != godwit.KindError || f.ID != 0 {
		t.Fatalf("%+v", f)
	}
	c.send(sendFrame(5, "fine"))
	if f := c.next(); f.ID != 5 {
		t.Fatalf("%+v", f)
	}
}

func TestDeliveredEntriesReachAllDevicesOfAUser(t *testing.T) {
	chat := &fakeChat{}
	e := newEdge(t, chat, func(c *Config) { c.Loops = 2 })
	var clients []*client
	for range 4 {
		clients = append(clients, connect(t, e, godwit.EncodingJSON, "alice"), connect(t, e, godwit.EncodingProto, "alice"))
	}
	chat.mu.Lock()
	var ids []godwit.SessionID
	for s := range chat.hellos {
		ids = append(ids, s)
	}
	chat.mu.Unlock()
	for seq := godwit.Seq(1); seq <= 20; seq++ {
		entry := entryOf(seq, "entry")
		e.Deliver(ids, &entry)
	}
	skip := godwit.Entry{Seq: 21, SkipTo: 30}
	e.Deliver(ids, &skip)
	for _, c := range clients {
		for seq := godwit.Seq(1); seq <= 20; seq++ {
			if f := c.next(); f.Kind != godwit.KindEvent || f.Event.Seq != seq || string(f.Event.Msg.Body) != "entry" {
				t.Fatalf("%+v, want event %d", f, seq)
			}
		}
		if f := c.next(); f.Kind != godwit.KindSkip || f.Skip != (godwit.Skip{From: 21, To: 30}) {
			t.Fatalf("%+v, want the skip", f)
		}
	}
}

// TestResumeReplaysWhatWasMissed: the reply, the missed entries in order over
// several fetches, resumed once, then live; acks open the window again.
func TestResumeReplaysWhatWasMissed(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		const start, head = godwit.Seq(10), godwit.Seq(300)
		chat := &fakeChat{}
		chat.onConnect = func(s godwit.SessionID, h Hello) {
			chat.edge.Connected(s, godwit.Welcome{Epoch: h.Epoch, Head: head, Start: h.ResumeSeq, Resumed: true})
		}
		chat.onFetch = func(s godwit.SessionID, after godwit.Seq, limit, bytesMax int) {
			if limit < 1 || limit > 100 || bytesMax < 1 || bytesMax > 256<<10 {
				t.Errorf("fetch with limit %d, %d bytes", limit, bytesMax)
			}
			var entries []godwit.Entry
			for seq := after + 1; seq <= head && len(entries) < limit; seq++ {
				entries = append(entries, entryOf(seq, "old"))
			}
			go chat.edge.Fetched(s, entries, head, nil)
		}
		e := newEdge(t, chat, func(c *Config) { c.Limits.Window = 64 })
		c := dial(t, e, enc)
		c.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("user:alice"), Resume: godwit.Resume{Set: true, Epoch: []byte("e"), Seq: start}}})
		if f := c.next(); !f.Connect.Resumed || f.Connect.Missed != uint64(head-start) {
			t.Fatalf("%+v", f)
		}
		for seq := start + 1; seq <= head; seq++ {
			if f := c.next(); f.Kind != godwit.KindEvent || f.Event.Seq != seq {
				t.Fatalf("%+v, want event %d", f, seq)
			}
			if seq%32 == 0 {
				c.send(&godwit.ClientFrame{Kind: godwit.KindAck, Ack: godwit.Ack{Seq: seq}})
			}
		}
		if f := c.next(); f.Kind != godwit.KindResumed || f.Resumed.Seq != head {
			t.Fatalf("%+v, want resumed", f)
		}
	})
}

func TestCloseByChatReachesTheClient(t *testing.T) {
	chat := &fakeChat{disconnect: make(chan godwit.SessionID, 1)}
	chat.onConnect = func(s godwit.SessionID, h Hello) {
		if h.Device == "second" {
			chat.edge.Close(s, godwit.CloseReplaced, "re\"pla\nced")
			return
		}
		chat.edge.Connected(s, godwit.Welcome{})
	}
	e := newEdge(t, chat, nil)
	c := dial(t, e, godwit.EncodingJSON)
	c.text(`{"id":1,"connect":{"token":"user:alice","device":"second"}}`)
	c.wantClose(godwit.CloseReplaced)
	if c.reason != `{"reason":"replaced"}` {
		t.Fatalf("reason %s", c.reason)
	}
	<-chat.disconnect
	if n := e.Stats().Closes[godwit.CloseReplaced]; n != 1 {
		t.Fatalf("%d closes counted", n)
	}
}

// TestNothingFollowsTheCloseFrame: answers and events that come too late are
// dropped, and a second close changes nothing.
func TestNothingFollowsTheCloseFrame(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		chat := &fakeChat{}
		chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
			entry := entryOf(1, "late")
			chat.edge.Close(s, godwit.CloseReplaced, "replaced")
			chat.edge.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSend})
			chat.edge.Deliver([]godwit.SessionID{s}, &entry)
			chat.edge.Fetched(s, []godwit.Entry{entry}, 1, nil)
			chat.edge.Connected(s, godwit.Welcome{})
			chat.edge.Close(s, godwit.CloseInternal, "again")
		}
		c := connect(t, newEdge(t, chat, nil), enc, "alice")
		c.send(sendFrame(2, "hi"))
		if f := c.try(); f != nil {
			t.Fatalf("%+v before the close frame", f)
		}
		c.wantClose(godwit.CloseReplaced)
	})
}

func TestClientsCloseIsAnsweredAndTheServerHangsUp(t *testing.T) {
	chat := &fakeChat{disconnect: make(chan godwit.SessionID, 1)}
	e := newEdge(t, chat, nil)
	c := connect(t, e, godwit.EncodingJSON, "alice")
	c.message(ws.Close, []byte{0x03, 0xE8, 'b', 'y', 'e'})
	c.wantClose(1000)
	<-chat.disconnect
}

func TestAbruptEndDisconnects(t *testing.T) {
	chat := &fakeChat{disconnect: make(chan godwit.SessionID, 1)}
	e := newEdge(t, chat, nil)
	c := connect(t, e, godwit.EncodingJSON, "alice")
	_ = c.conn.Close()
	<-chat.disconnect
}
