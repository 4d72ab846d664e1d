package edge

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

var endOfPlaces = &godwit.ServerFrame{Kind: godwit.KindChannel}

// channelChat opens polls with what is told at once after Connected, and says
// which sessions with which places there were.
type channelChat struct {
	*fakeChat
	opened chan godwit.SessionID
	places chan []godwit.ChannelPlace
	told   []*godwit.ServerFrame // right after Connected
	follow bool                  // Welcome.Channels
}

func newChannelChat() *channelChat {
	c := &channelChat{fakeChat: &fakeChat{}, opened: make(chan godwit.SessionID, 64), places: make(chan []godwit.ChannelPlace, 64)}
	c.onConnect = func(s godwit.SessionID, h Hello) {
		w := godwit.Welcome{Epoch: "e1", Head: 5, Start: 5, Channels: c.follow}
		if h.Resume {
			w.Resumed, w.Start = true, h.ResumeSeq
		}
		c.edge.Connected(s, w)
		for _, f := range c.told {
			c.edge.Tell([]godwit.SessionID{s}, f)
		}
		c.places <- h.Channels
		c.opened <- s
	}
	return c
}

func (c *channelChat) wantPlaces(t *testing.T, want string) {
	t.Helper()
	got := []string{}
	for _, p := range <-c.places {
		got = append(got, fmt.Sprintf("%s %d", p.Conv, p.GSeq))
	}
	if text := strings.Join(got, ", "); text != want {
		t.Fatalf("the chat tier was told of places %q, want %q", text, want)
	}
}

func TestPollCursorCarriesPlacesInChannels(t *testing.T) {
	chat := newChannelChat()
	e := newEdge(t, chat.fakeChat, nil)
	w := newWeb(t, e)
	w.poll("alice", "device=d1&wait=60&c=e1.5,g1:a,g3:1")
	s := []godwit.SessionID{<-chat.opened}
	chat.wantPlaces(t, "g:g1 10, g:g3 1")
	e.Tell(s, channelStart("g2", 3))
	e.Tell(s, channelEvent("g1", 11, "first"))
	change := &godwit.ServerFrame{Kind: godwit.KindEvent, Event: godwit.Entry{GSeq: 13, Kind: godwit.EntryGroup, Group: &godwit.GroupChange{Conv: "g:g1", By: "bob", Do: godwit.GroupAdd}}}
	e.Tell(s, change)
	e.Tell(s, &godwit.ServerFrame{Kind: godwit.KindEvent, Event: godwit.Entry{GSeq: 9, Kind: godwit.EntryReceipt, Receipt: &godwit.Receipt{Conv: "g:g2", User: "alice", Read: 9}}})
	e.Tell(s, typing("nobody keeps a place of this"))
	body := w.want(200, `{"channel":{"conv":"g:g2","gseq":3}}`, `"text":"first"`, `"gseq":13`, "\n"+`{"poll":{"cursor":"e1.5,g1:d,g2:9,g3:1"}}`+"\n")
	if n := strings.Count(body, "\n"); n != 6 {
		t.Fatalf("%d lines: %s", n, body)
	}
	w.poll("alice", "device=d1&wait=60&c=e1.5%2Cg1%3Ad%2Cg2%3A9") // as some clients escape it
	s = []godwit.SessionID{<-chat.opened}
	chat.wantPlaces(t, "g:g1 13, g:g2 9")
	back := channelStart("g1", 2) // the channel was restored from a backup
	back.Channel.Reset = true
	e.Tell(s, back)
	w.want(200, `{"poll":{"cursor":"e1.5,g1:2,g2:9"}}`)
	w.poll("alice", "device=d1&wait=60&epoch=e1&seq=5&channels=zz:100,aa:7")
	s = []godwit.SessionID{<-chat.opened}
	chat.wantPlaces(t, "g:aa 7, g:zz 100")
	e.Close(s[0], godwit.CloseReplaced, "replaced")
	w.want(200, `{"poll":{"cursor":"e1.5,aa:7,zz:2s"}}`)
}

func TestPollRefusesPlacesThatNobodyHas(t *testing.T) {
	chat := newChannelChat()
	e := newEdge(t, chat.fakeChat, nil)
	f := func(status int, query string) {
		t.Helper()
		w := newWeb(t, e)
		w.poll("alice", "device=d1&wait=0&"+query)
		w.want(status)
	}
	many := func(n int) (list string) {
		for i := range n {
			list += fmt.Sprintf(",g%03d:1", i)
		}
		return list
	}
	f(200, "c=e1.5"+many(godwit.ChannelPlacesMax))
	f(400, "c=e1.5"+many(godwit.ChannelPlacesMax+1))
	f(400, "c=e1.5,g2:1,g1:1")
	f(400, "c=e1.5,g1:1,g1:1")
	f(400, "c=e1.5,g1:01")
	f(400, "c=e1.5,g1:1,")
	f(400, "c=e1.5,")
	f(400, "c=e1.5,g1")
	f(400, "c=e1.5,:1")
	f(400, "c=e1.5,g1:2gosa7pa2gw") // 2^53
	f(400, "c=e1.5&channels=g1:1")
	f(400, "channels=g1:1")
	f(400, "epoch=e1&seq=5&channels=g1:1,g1:2")
	f(400, "epoch=e1&seq=5&channels=")
	f(400, "epoch=e1&seq=5&channels=g1:a")
	f(200, "epoch=e1&seq=5&channels=g2:1,g1:9007199254740991")
}

// TestFirstPollAwaitsThePlacesOfItsChannels: what a channel gets between it and
// the next poll would be lost otherwise.
func TestFirstPollAwaitsThePlacesOfItsChannels(t *testing.T) {
	var now clock
	chat := newChannelChat()
	chat.follow = true
	e := newEdge(t, chat.fakeChat, now.set)
	w := newWeb(t, e)
	w.poll("alice", "device=d1")
	s := []godwit.SessionID{<-chat.opened}
	e.Tell(s, channelStart("g1", 7))
	e.Tell(s, channelEvent("g1", 8, "news"))
	e.Whisper(s, typing("bob")) // nobody types to a client that is only beginning
	entry := event(6)           // comes by the cursor
	e.Deliver(s, &entry)
	e.Hint(s, 9)
	e.Tell(s, channelStart("g2", 1))
	e.Tell(s, endOfPlaces)
	body := w.want(200, `{"connect":{`, `{"channel":{"conv":"g:g1","gseq":7}}`, `"text":"news"`, `{"poll":{"cursor":"e1.5,g1:8,g2:1"}}`)
	if strings.Count(body, "\n") != 5 || !strings.HasPrefix(body, `{"connect":`) {
		t.Fatal(body)
	}
	w.poll("alice", "device=d1&wait=60") // and one whose chat tier never gets there
	s = []godwit.SessionID{<-chat.opened}
	e.Tell(s, channelStart("g1", 7))
	waitFor(t, func() bool { return e.Stats().Tells == 4 })
	now.pass(1100 * time.Millisecond)
	w.want(200, `{"connect":{`, `{"poll":{"cursor":"e1.5,g1:7"}}`)
}

func TestPollThatDoesNotWaitAwaitsItsChannels(t *testing.T) {
	var now clock
	chat := newChannelChat()
	chat.follow = true
	e := newEdge(t, chat.fakeChat, now.set)
	w := newWeb(t, e)
	w.poll("alice", "device=d1&wait=0&c=e1.5")
	s := []godwit.SessionID{<-chat.opened}
	now.pass(300 * time.Millisecond) // more than a tick
	e.Tell(s, channelEvent("g1", 8, "news"))
	e.Tell(s, endOfPlaces)
	w.want(200, `"text":"news"`, `{"poll":{"cursor":"e1.5,g1:8"}}`)
	for _, early := range []bool{true, false} { // in vain for one that does wait
		w.poll("alice", "device=d1&wait=60&c=e1.5")
		s = []godwit.SessionID{<-chat.opened}
		entry := event(6)
		if early { // it is answered with what it has then
			e.Deliver(s, &entry)
			waitFor(t, func() bool { return e.Stats().Events > 0 })
		}
		now.pass(1100 * time.Millisecond)
		waitFor(t, func() bool { return int64(e.tick.Load()) == now.ms.Load()/tickMS })
		if !early { // it goes on to wait
			e.Deliver(s, &entry)
		}
		if body := w.want(200, `{"poll":{"cursor":"e1.6"}}`); strings.Count(body, "\n") != 2 {
			t.Fatal(body)
		}
	}
}

// TestPollOfAFollowerIsHeldAsLongAsItAsked, not only until its channels would have
// been given up.
func TestPollOfAFollowerIsHeldAsLongAsItAsked(t *testing.T) {
	var now clock
	chat := newChannelChat()
	chat.follow = true
	e := newEdge(t, chat.fakeChat, now.set)
	w := newWeb(t, e)
	w.poll("alice", "device=d1&wait=60&c=e1.5,g1:7")
	s := []godwit.SessionID{<-chat.opened}
	e.Tell(s, endOfPlaces)
	now.pass(100 * time.Millisecond)
	waitFor(t, func() bool { return int64(e.tick.Load()) == now.ms.Load()/tickMS })
	for range 30 {
		now.pass(time.Second)
		waitFor(t, func() bool { return int64(e.tick.Load()) == now.ms.Load()/tickMS })
	}
	entry := event(6)
	e.Deliver(s, &entry)
	w.want(200, `{"ev":{"seq":6`, `{"poll":{"cursor":"e1.6,g1:7"}}`)
}

// TestPollHasRoomForTheLogBesideABusyChannel, and what finds no room is not passed
// by the cursor.
func TestPollHasRoomForTheLogBesideABusyChannel(t *testing.T) {
	chat := &fakeChat{}
	chat.onConnect = func(s godwit.SessionID, h Hello) {
		chat.edge.Connected(s, godwit.Welcome{Epoch: "e1", Head: 40, Start: h.ResumeSeq, Resumed: true, Channels: true})
		for gseq := godwit.Seq(1); gseq <= 200; gseq++ { // before the log, which is asked for only then
			chat.edge.Tell([]godwit.SessionID{s}, channelEvent("g1", gseq, "x"))
		}
	}
	chat.onFetch = func(s godwit.SessionID, after godwit.Seq, limit, _ int) {
		var entries []godwit.Entry
		for seq := after + 1; seq <= 40 && len(entries) < limit; seq++ {
			entries = append(entries, event(seq))
		}
		chat.edge.Fetched(s, entries, 40, nil)
	}
	e := newEdge(t, chat, nil)
	w := newWeb(t, e)
	w.poll("alice", "device=d1&wait=60&c=e1.5")
	body := w.want(200, `{"poll":{"cursor":"e1.u,g1:23"}}`) // 5 + 25 and 75
	if inChannel, inLog := strings.Count(body, `{"ev":{"gseq":`), strings.Count(body, `{"ev":{"seq":`); inChannel != pollTellsMax || inLog != pollFramesMax-pollTellsMax {
		t.Fatalf("%d entries of the channel, %d of the log: %.300s", inChannel, inLog, body)
	}
}

// TestWhisperEndsAPollOnceASecondAtMost: it waits for the poll to be a second old,
// and no longer.
func TestWhisperEndsAPollOnceASecondAtMost(t *testing.T) {
	var now clock
	chat := newChannelChat()
	e := newEdge(t, chat.fakeChat, now.set)
	w := newWeb(t, e)
	w.poll("alice", "device=d1&wait=60&c=e1.5")
	s := []godwit.SessionID{<-chat.opened}
	answered := make(chan string, 1)
	var reader sync.WaitGroup
	reader.Go(func() { answered <- w.want(200) })
	for n := range uint64(8) { // eight strokes in 0.8 s
		e.Whisper(s, typing("bob"))
		waitFor(t, func() bool { return e.Stats().Whispers == n+1 })
		now.pass(100 * time.Millisecond)
	}
	other := newWeb(t, e) // its lingering takes as long as that of the first stroke would have
	other.poll("alice", "device=d2&wait=60&c=e1.5")
	entry := event(6)
	e.Deliver([]godwit.SessionID{<-chat.opened}, &entry)
	other.want(200, `"text":"m6"`)
	if n := e.Stats().Polls; n != 1 {
		t.Fatalf("%d polls are held after 0.8 s", n)
	}
	now.pass(500 * time.Millisecond)
	if body := <-answered; strings.Count(body, `{"eph":`) != 8 || !strings.Contains(body, `{"poll":{"cursor":"e1.5"}}`) {
		t.Fatal(body)
	}
	reader.Wait()
	w.poll("alice", "device=d1&wait=60&c=e1.5")
	s[0] = <-chat.opened
	now.pass(1500 * time.Millisecond)
	waitFor(t, func() bool { return int64(e.tick.Load()) == now.ms.Load()/tickMS })
	e.Whisper(s, typing("bob")) // the clock stands still from here on
	if body := w.want(200); strings.Count(body, `{"eph":`) != 1 {
		t.Fatal(body)
	}
}

func TestPollTakesWhispersUpToABound(t *testing.T) {
	var now clock
	chat := newChannelChat()
	e := newEdge(t, chat.fakeChat, now.set)
	w := newWeb(t, e)
	w.poll("alice", "device=d1&wait=60&c=e1.5")
	s := []godwit.SessionID{<-chat.opened}
	for range 200 {
		e.Whisper(s, typing("bob"))
	}
	waitFor(t, func() bool { st := e.Stats(); return st.Whispers+st.WhispersLost == 200 })
	now.pass(2 * time.Second)
	if n := strings.Count(w.want(200), `{"eph":`); n != pollTellsMax || e.Stats().WhispersLost != uint64(200-n) {
		t.Fatalf("%d in the answer, %d dropped", n, e.Stats().WhispersLost)
	}
}

// pollWorld is a user's log and some channels that grow while the user polls.
type pollWorld struct {
	*fakeChat
	mu       sync.Mutex
	head     godwit.Seq
	channels map[string]godwit.Seq // heads
	live     godwit.SessionID      // is told of what is new; 0: nobody
}

func (w *pollWorld) connect(s godwit.SessionID, h Hello) {
	w.mu.Lock()
	defer w.mu.Unlock()
	welcome := godwit.Welcome{Epoch: "e1", Head: w.head, Start: w.head, Channels: true}
	if h.Resume {
		welcome.Start, welcome.Resumed = h.ResumeSeq, true
	}
	w.edge.Connected(s, welcome)
	for group, head := range w.channels {
		from := head
		for _, p := range h.Channels {
			if string(p.Conv) == "g:"+group {
				from = p.GSeq
			}
		}
		w.edge.Tell([]godwit.SessionID{s}, channelStart(group, from))
		for gseq := from + 1; gseq <= head; gseq++ {
			w.edge.Tell([]godwit.SessionID{s}, channelEvent(group, gseq, "old"))
		}
	}
	w.edge.Tell([]godwit.SessionID{s}, endOfPlaces)
	w.live = s
}

// TestPollsMissNothingAndRepeatNothing: however the entries of the log and of the
// channels fall between, into and beyond the polls.
func TestPollsMissNothingAndRepeatNothing(t *testing.T) {
	chat := &pollWorld{fakeChat: &fakeChat{}}
	chat.onConnect = chat.connect
	chat.onFetch = func(s godwit.SessionID, after godwit.Seq, limit, _ int) {
		chat.mu.Lock()
		defer chat.mu.Unlock()
		var entries []godwit.Entry
		for seq := after + 1; seq <= chat.head && len(entries) < limit; seq++ {
			entries = append(entries, event(seq))
		}
		chat.edge.Fetched(s, entries, chat.head, nil)
	}
	e := newEdge(t, chat.fakeChat, nil)
	w := newWeb(t, e)
	rapid.Check(t, func(t *rapid.T) { runPolls(t, e, chat, w) })
}

func runPolls(t *rapid.T, e *Edge, chat *pollWorld, w *web) {
	groups := []string{"ga", "gb", "gc"}
	chat.mu.Lock()
	chat.head, chat.channels, chat.live = 0, map[string]godwit.Seq{"ga": 3, "gb": 0, "gc": 9}, 0
	chat.mu.Unlock()
	have, log := map[string]godwit.Seq{}, godwit.Seq(0)
	grow := func(n int) {
		which := rapid.SliceOfN(rapid.IntRange(-1, len(groups)-1), n, n).Draw(t, "grow")
		chat.mu.Lock()
		defer chat.mu.Unlock()
		for _, i := range which {
			if i < 0 {
				chat.head++
				entry := event(chat.head)
				e.Deliver([]godwit.SessionID{chat.live}, &entry)
				continue
			}
			chat.channels[groups[i]]++
			e.Tell([]godwit.SessionID{chat.live}, channelEvent(groups[i], chat.channels[groups[i]], "new"))
			e.Whisper([]godwit.SessionID{chat.live}, typing("bob"))
		}
	}
	cursor := ""
	for quiet := 0; quiet < 2; {
		query := "device=d1&wait=0" + cursor
		w.poll("alice", query)
		if quiet == 0 {
			grow(rapid.IntRange(0, 130).Draw(t, "entries"))
		}
		_, body := w.read()
		news := 0
		for line := range strings.Lines(body) {
			var f godwit.ServerFrame
			if err := f.Parse(godwit.EncodingJSON, []byte(strings.TrimSpace(line))); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			switch ev := &f.Event; {
			case f.Kind == godwit.KindConnect:
				log = f.Connect.Seq
			case f.Kind == godwit.KindChannel:
				group := string(f.Channel.Conv[2:])
				if cursor != "" && f.Channel.GSeq != have[group] {
					t.Fatalf("%s begins at %d, the client has %d", group, f.Channel.GSeq, have[group])
				}
				have[group] = f.Channel.GSeq
			case f.Kind == godwit.KindPoll:
				cursor = "&c=" + f.Poll.Cursor
			case f.Kind == godwit.KindEvent && ev.Seq != 0:
				if log, news = log+1, news+1; ev.Seq != log {
					t.Fatalf("entry %d of the log, want %d", ev.Seq, log)
				}
			case f.Kind == godwit.KindEvent:
				group := string(ev.Msg.Conv[2:])
				if have[group], news = have[group]+1, news+1; ev.GSeq != have[group] {
					t.Fatalf("entry %d of %s, want %d", ev.GSeq, group, have[group])
				}
			}
		}
		if rapid.IntRange(0, 3).Draw(t, "go on") == 0 && quiet == 0 || quiet > 0 {
			if quiet++; news > 0 {
				quiet = 1
			}
		}
	}
	chat.mu.Lock()
	defer chat.mu.Unlock()
	if log != chat.head || fmt.Sprint(have) != fmt.Sprint(chat.channels) {
		t.Fatalf("the polls brought %d and %v, there are %d and %v", log, have, chat.head, chat.channels)
	}
}
