package edge

import (
	"fmt"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

// channelEvent is an entry of a channel, which has no place in the reader's log.
func channelEvent(group string, gseq godwit.Seq, body string) *godwit.ServerFrame {
	return &godwit.ServerFrame{Kind: godwit.KindEvent, Event: godwit.Entry{GSeq: gseq, Msg: godwit.Message{
		MID: godwit.MessageID{9}, Conv: []byte("g:" + group), From: []byte("bob"), CID: []byte("c"), Time: 1, Body: []byte(body), Text: true,
	}}}
}

func channelStart(group string, gseq godwit.Seq) *godwit.ServerFrame {
	return &godwit.ServerFrame{Kind: godwit.KindChannel, Channel: godwit.ChannelStart{Conv: godwit.ConversationID("g:" + group), GSeq: gseq}}
}

func typing(user godwit.UserID) *godwit.ServerFrame {
	return &godwit.ServerFrame{Kind: godwit.KindEphemeral, Ephemeral: godwit.Ephemeral{IsTyping: true, Typing: godwit.TypingNotice{Conv: "u:bob", User: user}}}
}

// TestTellIsInOrderWithEverythingElse, for sessions of each form in one call.
func TestTellIsInOrderWithEverythingElse(t *testing.T) {
	chat := &fakeChat{}
	e := newEdge(t, chat, func(c *Config) { c.Deflate.Enabled = true; c.Loops = 2 })
	var clients []*client
	for range 3 {
		clients = append(clients, connect(t, e, godwit.EncodingJSON, "alice"), connect(t, e, godwit.EncodingProto, "alice"),
			open(t, dial(t, e, godwit.EncodingJSON, deflateOffer), "alice"))
	}
	var ids []godwit.SessionID
	chat.mu.Lock()
	for s := range chat.hellos {
		ids = append(ids, s)
	}
	chat.mu.Unlock()
	long := strings.Repeat("a body that is worth compressing ", 20)
	const rounds = 50
	for n := godwit.Seq(1); n <= rounds; n++ {
		e.Tell(ids, channelEvent("g1", 2*n, long))
		entry := entryOf(n, long)
		e.Deliver(ids, &entry)
		e.Tell(ids, channelStart("g2", n))
		e.Whisper(ids, typing("bob"))
		for _, id := range ids {
			e.Reply(id, &godwit.ServerFrame{ID: uint64(n), Kind: godwit.KindDone})
		}
	}
	for _, c := range clients {
		for n := godwit.Seq(1); n <= rounds; n++ {
			if f := c.next(); f.Kind != godwit.KindEvent || f.Event.Seq != 0 || f.Event.GSeq != 2*n || string(f.Event.Msg.Body) != long {
				t.Fatalf("%+v, want the channel's entry %d", f, 2*n)
			}
			if f := c.next(); f.Kind != godwit.KindEvent || f.Event.Seq != n {
				t.Fatalf("%+v, want entry %d", f, n)
			}
			if f := c.next(); f.Kind != godwit.KindChannel || f.Channel != (godwit.ChannelStart{Conv: "g:g2", GSeq: n}) {
				t.Fatalf("%+v, want the channel's start", f)
			}
			if f := c.next(); f.Kind != godwit.KindEphemeral || f.Ephemeral != typing("bob").Ephemeral {
				t.Fatalf("%+v, want the typing", f)
			}
			if f := c.next(); f.Kind != godwit.KindDone || f.ID != uint64(n) {
				t.Fatalf("%+v, want the reply %d", f, n)
			}
		}
	}
	st, all := e.Stats(), uint64(len(clients)*rounds)
	if st.Tells != 2*all || st.Whispers != all || st.TellsLost != 0 || st.WhispersLost != 0 || st.Events != all {
		t.Errorf("counted %+v", st)
	}
}

func TestTellOfAnUnknownSessionIsIgnored(t *testing.T) {
	chat := &fakeChat{}
	e := newEdge(t, chat, nil)
	c := connect(t, e, godwit.EncodingJSON, "alice")
	s := onlySession(t, chat)
	others := []godwit.SessionID{makeID(0, loopsMax-1, 5, 9), makeID(formProto, 0, 5, 9), makeID(0, 0, slotsMax-1, 1), s}
	e.Hint(others[:3], 5)
	e.Tell(others[:1], channelStart("g1", 1))
	e.Tell(others, channelStart("g1", 2))
	e.Whisper(others, typing("bob"))
	e.Tell(nil, channelStart("g1", 3))
	if f := c.next(); f.Kind != godwit.KindChannel || f.Channel.GSeq != 2 {
		t.Fatalf("%+v", f)
	}
	if f := c.next(); f.Kind != godwit.KindEphemeral {
		t.Fatalf("%+v", f)
	}
}

// TestEndOfPlacesIsNotForClients: it only tells a poll that it may answer.
func TestEndOfPlacesIsNotForClients(t *testing.T) {
	chat := &fakeChat{}
	e := newEdge(t, chat, nil)
	c := connect(t, e, godwit.EncodingJSON, "alice")
	s := []godwit.SessionID{onlySession(t, chat)}
	e.Tell(s, channelStart("g1", 1))
	e.Tell(s, &godwit.ServerFrame{Kind: godwit.KindChannel})
	e.Tell(s, channelStart("g2", 2))
	if f := c.next(); f.Channel.Conv != "g:g1" {
		t.Fatalf("%+v", f)
	}
	if f := c.next(); f.Channel.Conv != "g:g2" {
		t.Fatalf("%+v", f)
	}
}

func TestHintHasTheSessionReadItsLog(t *testing.T) {
	chat := &fakeChat{}
	chat.onFetch = func(s godwit.SessionID, after godwit.Seq, _, _ int) {
		var entries []godwit.Entry
		for seq := after + 1; seq <= 3; seq++ {
			entries = append(entries, entryOf(seq, "x"))
		}
		chat.edge.Fetched(s, entries, 3, nil)
	}
	e := newEdge(t, chat, nil)
	c := connect(t, e, godwit.EncodingProto, "alice")
	e.Hint([]godwit.SessionID{onlySession(t, chat)}, 3)
	for seq := godwit.Seq(1); seq <= 3; seq++ {
		if f := c.next(); f.Event.Seq != seq {
			t.Fatalf("%+v, want entry %d", f, seq)
		}
	}
}

// TestSlowReaderIsSparedWhispersAndClosedByTells, and one beside it gets all.
func TestSlowReaderIsSparedWhispersAndClosedByTells(t *testing.T) {
	e, l, ids := liveSessions(t, 2)
	e.cfg.OutboundBytesMax = 64 << 10
	slow, fast := &fakeConn{stuck: true}, &fakeConn{}
	l.sessions.find(ids[0]).conn, l.sessions.find(ids[1]).conn = slow, fast
	e.cfg.Chat.(*fakeChat).hellos = map[godwit.SessionID]Hello{}
	body := strings.Repeat("x", 1000)
	for n := godwit.Seq(1); n <= 20; n++ {
		e.Tell(ids, channelEvent("g1", n, body))
		l.drain()
	}
	waiting := len(slow.out)
	for range 1000 {
		e.Whisper(ids, typing("bob"))
		l.drain()
	}
	if len(slow.out) != waiting || len(fast.out) != waiting+1000*20 {
		t.Fatalf("%d bytes were added for the one who does not read, %d for the other", len(slow.out)-waiting, len(fast.out)-waiting)
	}
	if st := e.Stats(); st.WhispersLost != 1000 || st.Whispers != 1000 {
		t.Fatalf("%d whispers, %d lost", st.Whispers, st.WhispersLost)
	}
	for n := godwit.Seq(21); n <= 100; n++ {
		e.Tell(ids, channelEvent("g1", n, body))
		l.drain()
	}
	if s := l.sessions.find(ids[0]); s.state != stateClosing || e.Stats().Closes[godwit.CloseSlowConsumer] != 1 {
		t.Fatalf("state %d, closes %v", s.state, e.Stats().Closes)
	}
	if s := l.sessions.find(ids[1]); s.state != stateLive || e.Stats().Tells != 100+uint64(gseqs(t, slow.out)) {
		t.Fatalf("state %d, %d told", s.state, e.Stats().Tells)
	}
	if got := gseqs(t, fast.out); got != 100 {
		t.Fatalf("the good reader got up to %d", got)
	}
}

// gseqs reads frames of channel entries back and returns the last: 1, 2, 3 … without a
// hole.
func gseqs(t *testing.T, out []byte) (last godwit.Seq) {
	t.Helper()
	var r ws.Reader
	var buf ws.Buffer
	for len(out) > 0 {
		ev, n, need, err := r.Message(&clientWS, out, &buf)
		if err != nil || need > 0 {
			t.Fatalf("%v, %d", err, need)
		}
		out = out[n:]
		var f godwit.ServerFrame
		if ev.Op.Control() {
			continue
		}
		if err := f.Parse(godwit.EncodingProto, frameBody(t, ev.Payload)); err != nil {
			t.Fatal(err)
		}
		if f.Kind != godwit.KindEvent {
			continue
		}
		if f.Event.GSeq != last+1 {
			t.Fatalf("entry %d after %d", f.Event.GSeq, last)
		}
		last = f.Event.GSeq
	}
	return last
}

func frameBody(t *testing.T, message []byte) []byte {
	t.Helper()
	frame, rest, err := godwit.NextFrame(godwit.EncodingProto, message)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%v, %d bytes more", err, len(rest))
	}
	return frame
}

// TestFullMailboxClosesTheUntoldAndLeavesNoHole: what finds no room is owed, so
// its sessions are closed, and nothing of the same letters comes after the hole.
func TestFullMailboxClosesTheUntoldAndLeavesNoHole(t *testing.T) {
	e, l, ids := liveSessions(t, 200)
	e.cfg.Chat.(*fakeChat).hellos = map[godwit.SessionID]Hello{}
	conns := map[godwit.SessionID]*fakeConn{}
	for _, id := range ids {
		conns[id] = &fakeConn{}
		l.sessions.find(id).conn = conns[id]
	}
	e.Tell(ids, channelEvent("g1", 1, "first"))
	l.box.in.items = append(l.box.in.items, make([]item, tellsMax-len(ids)-1)...)
	e.Whisper(ids, typing("bob"))                          // dropped
	e.Tell(ids[:100], channelEvent("g1", 2, "fits"))       // the last that does
	e.Tell(ids[50:150], channelEvent("g1", 3, "too late")) // of whom 50…99 have 2 and 100…149 have not
	drainAll(l)
	for i, id := range ids {
		want, state := godwit.Seq(1), stateLive
		if i < 100 {
			want = 2
		}
		if i >= 50 && i < 150 {
			state = stateClosing
		}
		if got, s := gseqs(t, conns[id].out), l.sessions.find(id); got != want || s.state != state {
			t.Fatalf("session %d: told up to %d, state %d; want %d, %d", i, got, s.state, want, state)
		}
	}
	if st := e.Stats(); st.TellsLost != 100 || st.WhispersLost != 200 || st.Tells != 300 || st.Closes[godwit.CloseOverloaded] != 100 {
		t.Fatalf("%+v", st)
	}
	e.Tell(ids[:50], channelEvent("g1", 3, "there is room again"))
	l.drain()
	if got := gseqs(t, conns[ids[0]].out); got != 3 {
		t.Fatalf("told up to %d", got)
	}
}

// TestNothingIsToldBehindAHole: a small frame would fit where a large one did not.
func TestNothingIsToldBehindAHole(t *testing.T) {
	e, l, ids := liveSessions(t, 2)
	e.cfg.Chat.(*fakeChat).hellos = map[godwit.SessionID]Hello{}
	conn := &fakeConn{}
	l.sessions.find(ids[0]).conn = conn
	e.Tell(ids[:1], channelEvent("g1", 1, "first"))
	arena := make([]byte, owedBytesMax-1000, owedBytesMax+1000)
	copy(arena, l.box.in.arena)
	l.box.in.arena = arena
	e.Tell(ids[:1], channelEvent("g1", 2, strings.Repeat("x", 2000)))
	e.Tell(ids[:1], channelEvent("g1", 3, "small"))
	drainAll(l)
	if got, s := gseqs(t, conn.out), l.sessions.find(ids[0]); got != 1 || s.state != stateClosing {
		t.Fatalf("told up to %d, state %d", got, s.state)
	}
}

// TestTellingManySessionsDoesNotAllocate: one encoding, and an item for each.
func TestTellingManySessionsDoesNotAllocate(t *testing.T) {
	skipUnderRace(t)
	e, l, ids := liveSessions(t, 19000)
	event, whisper := channelEvent("g1", 1, "a message of the usual length"), typing("bob")
	round := func() {
		event.Event.GSeq++
		e.Tell(ids, event)
		e.Whisper(ids, whisper)
		e.Hint(ids[:1], 1)
		drainAll(l)
	}
	for range 8 {
		round()
	}
	if n := testing.AllocsPerRun(10, round); n > 4 {
		t.Fatalf("%v allocations for a frame to %d sessions", n, len(ids))
	}
	if st := e.Stats(); st.Tells != 19*19000 || st.Whispers != 19*19000 {
		t.Fatalf("%d told, %d whispered", st.Tells, st.Whispers)
	}
}

func drainAll(l *loop) {
	for len(l.box.in.items) > 0 || !l.box.done() {
		l.drain()
	}
}

// BenchmarkTell is one frame put into the mailbox for 19,000 sessions of one loop
// and handled up to the write, which a fake takes. One op is one frame written:
// compare with BenchmarkDeliver.
func BenchmarkTell(b *testing.B) {
	const count = 19000
	e, l, ids := liveSessions(b, count)
	event := channelEvent("g1", 1, "a message of the usual length, which is about a hundred bytes with its frame")
	entry := entryOf(1, string(event.Event.Msg.Body))
	run := func(name string, put func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; n < b.N; n += count {
				put()
				drainAll(l)
			}
		})
	}
	run("tell", func() { event.Event.GSeq++; e.Tell(ids, event) })
	run("whisper", func() { e.Whisper(ids, event) })
	run("deliver", func() { entry.Seq++; e.Deliver(ids, &entry) })
}

func TestConnectCarriesPlacesAndIssueToTheChatTier(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		hellos := make(chan Hello, 1)
		chat := &fakeChat{}
		chat.onConnect = func(s godwit.SessionID, h Hello) {
			hellos <- h
			chat.edge.Connected(s, godwit.Welcome{Epoch: "e1", Digest: 1<<53 - 1})
		}
		e := newEdge(t, chat, func(c *Config) { c.Limits.Watch, c.Limits.Members, c.Limits.Groups, c.Limits.Edit = 500, 9, 8, 7 })
		c := dial(t, e, enc)
		places := []godwit.ChannelPlace{{Conv: []byte("g:zz"), GSeq: godwit.SeqMax}, {Conv: []byte("g:a"), GSeq: 0}}
		c.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{
			Token: []byte("user:alice:99999999999999:1795417297200"), Resume: godwit.Resume{Set: true, Epoch: []byte("e1"), Seq: 7, Channels: places},
		}})
		h := <-hellos
		if h.Issued != 1795417297200 || h.ResumeSeq != 7 || fmt.Sprint(h.Channels) != fmt.Sprint([]godwit.ChannelPlace{places[1], places[0]}) {
			t.Fatalf("%+v", h)
		}
		f := c.next()
		if l := f.Connect.Limits; f.Connect.Digest != 1<<53-1 || l.Watch != 500 || l.Members != 9 || l.Groups != 8 || l.Edit != 7 {
			t.Fatalf("%+v", f.Connect)
		}
	})
}

// TestPlacesAreTheChatTiersOwn: the input they came in is overwritten afterwards.
func TestPlacesAreTheChatTiersOwn(t *testing.T) {
	for name, input := range map[string]string{
		"connect": upgradeHead + "\r\n" + string(ws.AppendMasked(nil, true, ws.Text, 3, []byte(`{"id":1,"connect":{"token":"user:alice","resume":{"epoch":"e","seq":2,"channels":[{"conv":"g:a","gseq":7}]}}}`))),
		"cursor":  "GET /v1/poll?device=d&c=e.2,a:7 HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer user:alice\r\n\r\n",
		"query":   "GET /v1/poll?device=d&epoch=e&seq=2&channels=a:7 HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer user:alice\r\n\r\n",
	} {
		h := newHarness(t)
		var hello Hello
		h.chat.onConnect = func(s godwit.SessionID, got Hello) {
			hello = got
			h.edge.Connected(s, godwit.Welcome{Epoch: "e", Head: 2, Start: 2, Resumed: true})
		}
		h.feed([]byte(input))
		if got := fmt.Sprintf("%s %s %v", hello.Device, hello.Epoch, hello.Channels); !strings.HasSuffix(got, " e "+fmt.Sprint([]godwit.ChannelPlace{{Conv: []byte("g:a"), GSeq: 7}})) {
			t.Errorf("%s: %s", name, got)
		}
		s := onlySession(t, h.chat)
		for i := range hello.Channels {
			hello.Channels[i].Conv[2] = 'X' // the receiver's, to do with as it likes
		}
		h.edge.Close(s, godwit.CloseReplaced, "")
		h.settle()
		if name != "connect" && !strings.Contains(string(h.conn.out), `"cursor":"e.2,a:7"`) {
			t.Errorf("%s: the cursor's places are those of the chat tier: %s", name, h.conn.out)
		}
		h.end()
	}
}

func TestConnectRefusesPlacesThatNobodyHas(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		e := newEdge(t, &fakeChat{}, nil)
		f := func(good bool, places ...godwit.ChannelPlace) {
			t.Helper()
			c := dial(t, e, enc)
			c.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{
				Token: []byte("user:alice"), Resume: godwit.Resume{Set: true, Epoch: []byte("e1"), Channels: places},
			}})
			if f := c.next(); good != (f.Kind == godwit.KindConnect) {
				t.Fatalf("%.200s: %+v", fmt.Sprint(places), f)
			}
			if !good {
				c.wantClose(godwit.CloseProtocol)
			}
		}
		place := func(conv string, at godwit.Seq) godwit.ChannelPlace {
			return godwit.ChannelPlace{Conv: []byte(conv), GSeq: at}
		}
		f(false, place("u:bob", 1))
		f(false, place("g:", 1))
		f(false, place("g:a b", 1))
		f(false, place("", 1))
		f(false, place("g:a", 1), place("g:b", 1), place("g:a", 2))
		many := make([]godwit.ChannelPlace, godwit.ChannelPlacesMax+1)
		for i := range many {
			many[i] = place(fmt.Sprint("g:", i), godwit.Seq(i))
		}
		f(false, many...)
		f(true, many[1:]...)
	})
}

// TestRequestsOfEveryKindReachTheChatTier, and one that is never answered does not
// count as in flight.
func TestRequestsOfEveryKindReachTheChatTier(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		chat := &fakeChat{}
		asked := make(chan godwit.FrameKind, 1024)
		chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
			asked <- f.Kind
			if f.ID != 0 {
				chat.edge.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindDone})
			}
		}
		e := newEdge(t, chat, func(c *Config) { c.Limits.InFlight = 3 })
		c := connect(t, e, enc, "alice")
		for range 300 {
			c.send(&godwit.ClientFrame{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte("u:bob"), Read: 7}})
			c.send(&godwit.ClientFrame{Kind: godwit.KindTyping, Typing: godwit.Typing{Conv: []byte("u:bob")}})
		}
		for i, f := range requestsOfEveryKind() {
			f.ID = uint64(i + 10)
			c.send(&f)
			if got := c.next(); got.Kind != godwit.KindDone || got.ID != f.ID {
				t.Fatalf("kind %d: %+v", f.Kind, got)
			}
		}
		for i := range 600 {
			if kind, want := <-asked, []godwit.FrameKind{godwit.KindMark, godwit.KindTyping}[i%2]; kind != want {
				t.Fatalf("kind %d, want %d", kind, want)
			}
		}
		for _, f := range requestsOfEveryKind() {
			if kind := <-asked; kind != f.Kind {
				t.Fatalf("kind %d, want %d", kind, f.Kind)
			}
		}
	})
}

func requestsOfEveryKind() []godwit.ClientFrame {
	who := [][]byte{[]byte("bob")}
	return []godwit.ClientFrame{
		{Kind: godwit.KindSend, Send: godwit.Send{To: who[0], CID: []byte("c"), HasText: true}},
		{Kind: godwit.KindSync},
		{Kind: godwit.KindHistory, History: godwit.History{Conv: []byte("u:bob")}},
		{Kind: godwit.KindConversations},
		{Kind: godwit.KindPresence, Presence: godwit.Presence{Get: who}},
		{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte("u:bob"), Read: 1}},
		{Kind: godwit.KindTyping, Typing: godwit.Typing{Conv: []byte("u:bob"), Stop: true}},
		{Kind: godwit.KindGroup, Group: godwit.Group{Do: []byte(godwit.GroupInfo), Group: []byte("g1")}},
		{Kind: godwit.KindEdit, Edit: godwit.Edit{MID: []byte("m"), HasText: true}},
		{Kind: godwit.KindRecall, Recall: godwit.Recall{MID: []byte("m")}},
		{Kind: godwit.KindDevice, Device: godwit.Device{Do: []byte(godwit.DeviceList)}},
		{Kind: godwit.KindBlock, Block: godwit.People{Add: who}},
		{Kind: godwit.KindContact, Contact: godwit.People{Remove: who}},
		{Kind: godwit.KindConversation, Conversation: godwit.ConversationChange{Conv: []byte("u:bob"), HasPin: true}},
	}
}

func TestCallTakesRequestsOfEveryKind(t *testing.T) {
	chat := &fakeChat{}
	chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
		chat.edge.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindDone, Done: godwit.Done{Seq: godwit.Seq(f.Kind)}})
	}
	w := newWeb(t, newEdge(t, chat, nil))
	var body, want []byte
	for i, f := range requestsOfEveryKind() {
		f.ID = uint64(i + 1)
		body = append(f.AppendTo(body, godwit.EncodingJSON), '\n')
		reply := godwit.ServerFrame{ID: f.ID, Kind: godwit.KindDone, Done: godwit.Done{Seq: godwit.Seq(f.Kind)}}
		want = append(reply.AppendTo(want, godwit.EncodingJSON), '\n')
	}
	w.call("alice", string(body))
	if got := w.want(200); got != string(want) {
		t.Fatalf("%s\nwant\n%s", got, want)
	}
	w.call("alice", `{"id":1,"presence":{"watch":["bob"]}}`+"\n"+`{"id":2,"refresh":{"token":"x"}}`)
	w.want(200, `{"id":1,"done":{"seq":`, `{"id":2,"error":{"code":"frame.unknown"`)
}
