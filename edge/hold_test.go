package edge

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// heldWorld is an edge whose chat tier comes and goes, and answers what the test
// says.
type heldWorld struct {
	t        *testing.T
	chat     *fakeChat
	e        *Edge
	hellos   chan Hello
	ids      chan godwit.SessionID
	requests chan godwit.ClientFrame // kinds and ids only, but for presence
	fetches  chan godwit.Seq
	head     atomic.Uint64
	silent   atomic.Bool // it opens nobody
}

func newHeldWorld(t *testing.T, change func(*Config)) *heldWorld {
	w := &heldWorld{
		t: t, chat: &fakeChat{},
		hellos: make(chan Hello, 64), ids: make(chan godwit.SessionID, 64), requests: make(chan godwit.ClientFrame, 64), fetches: make(chan godwit.Seq, 64),
	}
	w.head.Store(5)
	w.chat.onConnect = func(s godwit.SessionID, h Hello) {
		if !w.silent.Load() {
			w.welcome(s, h)
		}
		w.hellos <- h
		w.ids <- s
	}
	w.chat.onRequest = func(_ godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
		w.requests <- godwit.ClientFrame{ID: f.ID, Kind: f.Kind, Presence: godwit.Presence{Watch: append([][]byte{}, f.Presence.Watch...)}}
	}
	w.chat.onFetch = func(_ godwit.SessionID, after godwit.Seq, _, _ int) { w.fetches <- after }
	w.e = newEdge(t, w.chat, func(c *Config) {
		c.Hold = true
		last := uint64(0)
		c.Stamp = func(uint64) uint64 { last++; return last }
		if change != nil {
			change(c)
		}
	})
	return w
}

func (w *heldWorld) welcome(s godwit.SessionID, h Hello) {
	head := godwit.Seq(w.head.Load())
	start := head
	if h.Resume {
		start = h.ResumeSeq
	}
	w.chat.edge.Connected(s, godwit.Welcome{Epoch: "e1", Head: head, Start: start, Resumed: h.Resume})
}

// opened returns the session that was asked for last, and how.
func (w *heldWorld) opened() (godwit.SessionID, Hello) { return <-w.ids, <-w.hellos }

// fetched returns where the log is read after.
func (w *heldWorld) fetched() godwit.Seq {
	w.t.Helper()
	select {
	case after := <-w.fetches:
		return after
	case <-time.After(waitMax):
		w.t.Fatal("the log is not read")
		return 0
	}
}

func (w *heldWorld) held(n uint64) {
	w.t.Helper()
	waitFor(w.t, func() bool { return w.e.Stats().Held == n })
}

func (w *heldWorld) wantError(c *client, id uint64, e *godwit.Error) {
	w.t.Helper()
	if f := c.next(); f.Kind != godwit.KindError || f.ID != id || f.Error.Code != e.Code || f.Error.RetryAfterMS == 0 {
		w.t.Fatalf("request %d: %+v, want %s", id, f, e.Code)
	}
}

func TestASessionGoesOnWhenTheChatTierIsBack(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		w := newHeldWorld(t, new(clock).set) // no time passes: what is missed is not found by a look at the head
		c := connect(t, w.e, enc, "alice:0:77")
		s, first := w.opened()
		e6 := entryOf(6, "six")
		w.e.Deliver([]godwit.SessionID{s}, &e6)
		if f := c.next(); f.Event.Seq != 6 {
			t.Fatalf("%+v", f)
		}
		c.send(sendFrame(2, "in flight"))
		c.send(&godwit.ClientFrame{ID: 3, Kind: godwit.KindHistory, History: godwit.History{Conv: []byte("u:bob")}})
		<-w.requests
		<-w.requests

		w.e.Hold()
		w.wantError(c, 2, godwit.ErrUnknown)
		w.wantError(c, 3, godwit.ErrUnavailable)
		c.send(sendFrame(4, "too early"))
		w.wantError(c, 4, godwit.ErrUnavailable)
		c.send(&godwit.ClientFrame{Kind: godwit.KindTyping, Typing: godwit.Typing{Conv: []byte("u:bob")}}) // nobody is answered
		c.send(&godwit.ClientFrame{ID: 5, Kind: godwit.KindAck, Ack: godwit.Ack{Seq: 6}})
		c.send(sendFrame(6, "still too early"))
		w.wantError(c, 6, godwit.ErrUnavailable)

		w.silent.Store(true)
		w.head.Store(8)
		w.e.Announce()
		again, hello := w.opened()
		want := Hello{User: "alice", Device: "dev", Resume: true, Epoch: "e1", ResumeSeq: 6, Issued: 77, Stamp: first.Stamp, Again: true}
		if again != s || !reflect.DeepEqual(hello, want) {
			t.Fatalf("announced as %+v, want %+v", hello, want)
		}
		// It is registered and not opened: what is told already is not shown yet, and
		// nothing may be asked for.
		e7 := entryOf(7, "seven")
		w.e.Deliver([]godwit.SessionID{s}, &e7)
		c.send(sendFrame(7, "not yet"))
		w.wantError(c, 7, godwit.ErrUnavailable)
		w.e.Reply(s, &godwit.ServerFrame{ID: 2, Kind: godwit.KindSend}) // what was answered is not answered again
		w.welcome(s, hello)
		if after := w.fetched(); after != 6 {
			t.Fatalf("reads on after %d", after)
		}
		w.e.Fetched(s, []godwit.Entry{entryOf(7, "seven"), entryOf(8, "eight")}, 8, nil)
		for seq := godwit.Seq(7); seq <= 8; seq++ {
			if f := c.next(); f.Event.Seq != seq {
				t.Fatalf("%+v, want %d", f, seq)
			}
		}
		c.send(sendFrame(8, "now"))
		if f := <-w.requests; f.ID != 8 {
			t.Fatalf("chat was asked %+v", f)
		}
		w.e.Reply(s, &godwit.ServerFrame{ID: 8, Kind: godwit.KindSend})
		if f := c.next(); f.Kind != godwit.KindSend || f.ID != 8 {
			t.Fatalf("%+v", f)
		}
		if st := w.e.Stats(); st.Held != 0 || st.Reopened != 1 || st.HeldRefused != 4 || st.Sessions != 1 {
			t.Errorf("held %d, opened again %d, refused %d, sessions %d", st.Held, st.Reopened, st.HeldRefused, st.Sessions)
		}
	})
}

func TestAFetchThatWasLostIsMadeAgain(t *testing.T) {
	w := newHeldWorld(t, new(clock).set)
	c := connect(t, w.e, godwit.EncodingProto, "alice")
	s, _ := w.opened()
	w.e.Hint([]godwit.SessionID{s}, 7)
	if after := w.fetched(); after != 5 {
		t.Fatalf("reads after %d", after)
	}
	w.e.Hold()
	w.held(1)
	w.e.Hint([]godwit.SessionID{s}, 9) // of an attachment that does not know it yet
	w.head.Store(9)
	w.e.Announce()
	if after := w.fetched(); after != 5 {
		t.Fatalf("reads after %d", after)
	}
	w.e.Fetched(s, []godwit.Entry{entryOf(6, "a"), entryOf(7, "b"), entryOf(8, "c"), entryOf(9, "d")}, 9, nil)
	for seq := godwit.Seq(6); seq <= 9; seq++ {
		if f := c.next(); f.Event.Seq != seq {
			t.Fatalf("%+v, want %d", f, seq)
		}
	}
}

func TestASessionThatCannotGoOnIsClosed(t *testing.T) {
	w := newHeldWorld(t, nil)
	f := func(how func(s godwit.SessionID, c *client), code godwit.CloseCode) {
		t.Helper()
		w.silent.Store(false)
		c := connect(t, w.e, godwit.EncodingJSON, "alice")
		s, _ := w.opened()
		w.silent.Store(true)
		w.e.Hold()
		w.held(1)
		how(s, c)
		c.wantClose(code)
		w.held(0)
	}
	announced := func(then func(godwit.SessionID)) func(godwit.SessionID, *client) {
		return func(s godwit.SessionID, _ *client) {
			w.e.Announce()
			w.opened()
			then(s)
		}
	}
	for _, reason := range []string{"epoch", "too_far", "ahead"} {
		f(announced(func(s godwit.SessionID) {
			w.e.Connected(s, godwit.Welcome{Epoch: "e2", Head: 9, Start: 9, Reason: reason})
		}), godwit.CloseRebalance)
	}
	for _, code := range []godwit.CloseCode{godwit.CloseReplaced, godwit.CloseLoggedOut, godwit.CloseInternal} {
		f(announced(func(s godwit.SessionID) { w.e.Close(s, code, "x") }), code)
	}
	f(func(godwit.SessionID, *client) { w.e.Abandon() }, godwit.CloseRebalance)
	f(func(s godwit.SessionID, _ *client) { w.e.Close(s, godwit.CloseDrain, "x") }, godwit.CloseDrain)
}

func TestASessionIsAnnouncedAgainWhenThereWasNoRoom(t *testing.T) {
	var now clock
	w := newHeldWorld(t, now.set)
	c := connect(t, w.e, godwit.EncodingJSON, "alice")
	w.opened()
	w.silent.Store(true)
	w.e.Hold()
	w.e.Announce()
	for range 3 {
		s, _ := w.opened()
		w.e.Close(s, godwit.CloseOverloaded, "unavailable")
		if gone := <-w.chat.disconnect; gone != s {
			t.Fatalf("%x is disconnected", gone)
		}
		now.pass(tickMS * time.Millisecond)
	}
	w.welcome(w.opened())
	w.held(0)
	c.send(sendFrame(2, "x"))
	if f := <-w.requests; f.ID != 2 {
		t.Fatalf("chat was asked %+v", f)
	}
}

// The chat tier goes again before it has opened everybody: an answer of the old
// one opens nobody.
func TestAnAnswerOfAnAttachmentThatIsGoneOpensNobody(t *testing.T) {
	w := newHeldWorld(t, nil)
	c := connect(t, w.e, godwit.EncodingJSON, "alice")
	w.opened()
	w.silent.Store(true)
	w.e.Hold()
	w.e.Announce()
	s, hello := w.opened()
	w.e.attachment.Add(1) // Hold, whose item comes after the answer
	w.welcome(s, hello)
	c.send(sendFrame(2, "x"))
	w.wantError(c, 2, godwit.ErrUnavailable)
	w.held(1)
	w.e.Hold()
	w.silent.Store(false)
	w.e.Announce()
	w.opened()
	w.held(0)
	c.send(sendFrame(3, "y"))
	if f := <-w.requests; f.ID != 3 {
		t.Fatalf("chat was asked %+v", f)
	}
}

func TestWhatIsNoSessionEndsWhenTheChatTierGoes(t *testing.T) {
	w := newHeldWorld(t, nil)
	w.chat.onCall = func(s godwit.SessionID, _ Hello) { w.chat.edge.Connected(s, godwit.Welcome{}) }
	poll, call := newWeb(t, w.e), newWeb(t, w.e)
	poll.poll("alice", "device=d1&c=e1.5&wait=30")
	w.opened()
	waitFor(t, func() bool { return w.e.Stats().Polls == 1 })
	call.call("bob", `{"id":1,"send":{"to":"carol","cid":"c","text":"x"}}`)
	<-w.requests
	w.silent.Store(true)
	c := dial(t, w.e, godwit.EncodingJSON)
	c.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("user:dave"), Device: []byte("dev")}})
	w.opened()
	w.e.Hold()
	poll.want(200, `{"poll":{"cursor":"e1.5~`)
	call.want(200, `{"id":1,"error":{"code":"unknown"`)
	c.wantClose(godwit.CloseRebalance)
}

func TestAnnouncementsKeepTheirPace(t *testing.T) {
	clock := &clock{}
	const sessions, perTick = 10, 3
	w := newHeldWorld(t, func(c *Config) {
		c.AnnouncePerS = perTick * ticksPerSecond
		clock.set(c)
	})
	for i := range sessions {
		connect(t, w.e, godwit.EncodingProto, fmt.Sprint("user", i))
		w.opened()
	}
	w.e.Hold()
	w.held(sessions)
	w.e.Announce()
	for left := uint64(sessions); left > 0; {
		left -= min(left, perTick)
		w.held(left)
		if n := len(w.ids); n > perTick {
			t.Fatalf("%d were announced at once", n)
		}
		for len(w.ids) > 0 {
			w.opened()
		}
		clock.ms.Add(tickMS)
	}
	if st := w.e.Stats(); st.Reopened != sessions {
		t.Errorf("%d opened again", st.Reopened)
	}
}

func TestPlacesInChannelsAreToldAgain(t *testing.T) {
	w := newHeldWorld(t, nil)
	c := dial(t, w.e, godwit.EncodingJSON)
	c.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{
		Token: []byte("user:alice"), Device: []byte("dev"),
		Resume: godwit.Resume{Set: true, Epoch: []byte("e1"), Seq: 5, Channels: []godwit.ChannelPlace{{Conv: []byte("g:7"), GSeq: 70}, {Conv: []byte("g:3"), GSeq: 30}}},
	}})
	c.next()
	s, _ := w.opened()
	told := []godwit.ServerFrame{
		{Kind: godwit.KindChannel, Channel: godwit.ChannelStart{Conv: "g:9", GSeq: 90}},
		{Kind: godwit.KindEvent, Event: godwit.Entry{GSeq: 31, Msg: godwit.Message{Conv: []byte("g:3"), From: []byte("bob"), Text: true}}},
		{Kind: godwit.KindEvent, Event: godwit.Entry{GSeq: 91, Msg: godwit.Message{Conv: []byte("g:9"), From: []byte("bob"), Text: true}}},
		{Kind: godwit.KindChannel, Channel: godwit.ChannelStart{Conv: "g:7", GSeq: 65, Reset: true}},
		{Kind: godwit.KindChannel}, // the last has begun, which no client sees
	}
	for i := range told {
		w.e.Tell([]godwit.SessionID{s}, &told[i])
	}
	for range told {
		if f := c.next(); f.Kind == godwit.KindResumed {
			continue
		}
	}
	w.e.Hold()
	w.held(1)
	w.e.Announce()
	_, hello := w.opened()
	want := []godwit.ChannelPlace{{Conv: []byte("g:3"), GSeq: 31}, {Conv: []byte("g:7"), GSeq: 65}, {Conv: []byte("g:9"), GSeq: 91}}
	if !reflect.DeepEqual(hello.Channels, want) {
		t.Errorf("announced with %s, want %s", fmt.Sprint(hello.Channels), fmt.Sprint(want))
	}
}

// watching is a session whose client asks whom to watch.
type watching struct {
	*heldWorld
	clock *clock
	c     *client
	s     godwit.SessionID
}

func (w *watching) watch(id uint64, users ...string) {
	w.t.Helper()
	f := &godwit.ClientFrame{ID: id, Kind: godwit.KindPresence, Presence: godwit.Presence{HasWatch: true}}
	for _, user := range users {
		f.Presence.Watch = append(f.Presence.Watch, []byte(user))
	}
	w.c.send(f)
	if f := <-w.requests; f.ID != id {
		w.t.Fatalf("chat was asked %+v", f)
	}
}

func (w *watching) answer(id uint64, e *godwit.Error) {
	f := &godwit.ServerFrame{ID: id, Kind: godwit.KindPresence, Presence: godwit.PresenceReply{Users: []godwit.PresenceItem{{User: "bob", Online: true}}}}
	if e != nil {
		f = &godwit.ServerFrame{ID: id, Kind: godwit.KindError, Error: e.Reply(0)}
	}
	w.e.Reply(w.s, f)
}

// asked returns the next request; time passes until there is one.
func (w *watching) asked() godwit.ClientFrame {
	for {
		select {
		case f := <-w.requests:
			return f
		default:
			w.clock.ms.Add(tickMS)
			w.c.send(&godwit.ClientFrame{Kind: godwit.KindPing})
			waitFor(w.t, func() bool { return w.e.tick.Load() == uint32(w.clock.ms.Load()/tickMS) })
		}
	}
}

func TestAWatchListIsAskedForAgain(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		clock := &clock{}
		w := &watching{heldWorld: newHeldWorld(t, func(c *Config) { clock.set(c) }), clock: clock}
		w.c = connect(t, w.e, enc, "alice")
		w.s, _ = w.opened()
		w.c.send(sendFrame(watchAgainID, "a name that is not the client's to give"))
		if f := w.c.next(); f.Kind != godwit.KindError || f.Error.Code != godwit.ErrFrameInvalid.Code {
			t.Fatalf("%+v", f)
		}
		w.watch(2, "bob", "carol")
		w.watch(3, "bob", "dave")
		w.answer(3, nil)
		w.answer(2, nil) // its list has been replaced
		w.watch(4, "eve")
		w.answer(4, godwit.ErrUnavailable) // refused: the list stays
		for range 3 {
			w.c.next()
		}
		for round := range 4 { // of two, one fails and is made again
			if round%2 == 0 {
				w.e.Hold()
				w.held(1)
				w.e.Announce()
				w.opened()
				w.held(0)
			}
			f := w.asked()
			if f.Kind != godwit.KindPresence || len(f.Presence.Watch) != 2 || string(f.Presence.Watch[1]) != "dave" {
				t.Fatalf("chat was asked %+v", f)
			}
			if round%2 == 0 {
				w.answer(f.ID, godwit.ErrRateLimited)
				continue
			}
			w.answer(f.ID, nil)
			if f := w.c.next(); f.Kind != godwit.KindPresence || f.ID != 0 || len(f.Presence.Users) != 1 {
				t.Fatalf("%+v", f)
			}
		}
	})
}

// What is kept of sessions is given back: idle ones have nothing, and requests
// cost no memory.
func TestIdleSessionsKeepNothing(t *testing.T) {
	skipUnderRace(t)
	e, l, ids := liveSessions(t, 2)
	e.cfg.Hold = true
	reply := godwit.ServerFrame{Kind: godwit.KindSend}
	kept := 0
	chat := &fakeChat{edge: e, onRequest: func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
		if l.sessions.find(s).kept != nil {
			kept++
		}
		reply.ID = f.ID
		e.Reply(s, &reply)
	}}
	e.cfg.Chat = chat
	f := sendFrame(2, "x")
	round := func() {
		for _, id := range ids {
			l.requestFrame(l.sessions.find(id), f)
		}
		l.drain()
	}
	for range 8 {
		round()
	}
	if n := testing.AllocsPerRun(50, round); n >= 1 {
		t.Errorf("%v allocations", n)
	}
	if kept != 2*59 || len(l.spareKept) != 2 {
		t.Errorf("%d times something was kept, %d spare", kept, len(l.spareKept))
	}
	for _, id := range ids {
		if s := l.sessions.find(id); s.kept != nil || s.inFlight != 0 {
			t.Errorf("%v kept, %d in flight", s.kept, s.inFlight)
		}
	}
}
