package link

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-im/godwit"
)

var typingFrame = godwit.ServerFrame{Kind: godwit.KindEphemeral, Ephemeral: godwit.Ephemeral{IsTyping: true, Typing: godwit.TypingNotice{Conv: "u:bob", User: "bob"}}}

// TestAFrameForManyGoesToEachProcessOnceAndToTheOwnEdge: as one item with the
// sessions of that process in the order given.
func TestAFrameForManyGoesToEachProcessOnceAndToTheOwnEdge(t *testing.T) {
	w := &world{t: t, chat: &fakeChat{log: newLog()}, local: &fakeEdge{log: newLog()}}
	w.start(nil)
	a, b := w.attach("edge-1", nil), w.attach("edge-2", nil)
	before := w.hub.Edges()
	sessions := []godwit.SessionID{a.at(1), 5, b.at(2), a.at(3), 6, sessionAt(99, 1), sessionAt(godwit.SessionEdgeMax, 1), b.at(1), a.at(2)}
	given := slices.Clone(sessions)
	w.hub.Tell(sessions, &typingFrame)
	w.hub.Whisper(sessions, &typingFrame)
	w.hub.Hint(sessions, 9)
	w.hub.Tell([]godwit.SessionID{b.at(7)}, &typingFrame)
	w.hub.Tell(nil, &typingFrame)
	if !slices.Equal(sessions, given) {
		t.Error("the caller's list was changed")
	}
	f := func(edge *fakeEdge, ids string, more ...string) {
		t.Helper()
		text := string(typingFrame.AppendTo(nil, godwit.EncodingJSON))
		want := append([]string{"tell " + ids + " " + text, "whisper " + ids + " " + text, "hint " + ids + " 9"}, more...)
		if got := edge.waitFor(t, len(want)); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(a.edge, "[1 3 2]")
	f(b.edge, "[2 1]", "tell [7] "+string(typingFrame.AppendTo(nil, godwit.EncodingJSON)))
	f(w.local, "[5 6]")
	for i, s := range w.hub.Edges() {
		if n := s.SentItems - before[i].SentItems; n != uint64(3+i) {
			t.Errorf("%d items went to %s", n, s.Node)
		}
	}
}

func TestGroupKeepsTheOrderOfEachProcess(t *testing.T) {
	var x scratch
	rapid.Check(t, func(t *rapid.T) {
		var sessions []godwit.SessionID
		want := map[int][]godwit.SessionID{}
		edges := rapid.SliceOf(rapid.SampledFrom([]int{0, 1, 2, 77, godwit.SessionEdgeMax})).Draw(t, "edges")
		for i, edge := range edges {
			sessions = append(sessions, sessionAt(edge, godwit.SessionID(i)))
			want[edge] = append(want[edge], sessions[i])
		}
		grouped := sessions
		if len(sessions) > 0 {
			grouped = x.group(sessions)
		}
		var seen []int
		for start, end := 0, 0; start < len(grouped); start = end {
			edge := edgeOf(grouped[start])
			for end = start; end < len(grouped) && edgeOf(grouped[end]) == edge; end++ {
			}
			if slices.Contains(seen, edge) || !slices.Equal(grouped[start:end], want[edge]) {
				t.Fatalf("%x grouped as %x", sessions, grouped)
			}
			seen = append(seen, edge)
		}
		if len(seen) != len(want) {
			t.Fatalf("%d processes, want %d", len(seen), len(want))
		}
	})
}

// TestATellWithoutRoomClosesItsSessionsAndAWhisperIsDropped, in a queue that
// nobody takes from, and read as the edge process would.
func TestATellWithoutRoomClosesItsSessionsAndAWhisperIsDropped(t *testing.T) {
	w := newWorld(t, nil)
	w.hub.bounds = bounds{hint: 3 << 10, whisper: 4 << 10, owed: 16 << 10, last: 20 << 10, asked: 1 << 20}
	a, _, err := w.hub.admit(About{Node: "slow"}, origin{})
	if err != nil {
		t.Fatal(err)
	}
	want := &fakeEdge{log: newLog()}
	three := []godwit.SessionID{sessionAt(a.index, 1), sessionAt(a.index, 2), sessionAt(a.index, 3)}
	there := []godwit.SessionID{1, 2, 3}
	for edgeNamed(w, "slow").WhispersLost == 0 {
		w.hub.Whisper(three, &typingFrame)
		want.Whisper(there, &typingFrame)
	}
	want.lines = want.lines[:len(want.lines)-1] // the last found no room
	if s := edgeNamed(w, "slow"); s.QueueBytes > w.hub.bounds.whisper {
		t.Errorf("%d bytes of ephemeral frames wait", s.QueueBytes)
	}
	w.hub.Hint(three, 9)
	e := godwit.ServerFrame{Kind: godwit.KindEvent, Event: entry(0, strings.Repeat("x", 900))}
	for e.Event.GSeq = 1; edgeNamed(w, "slow").Overflows == 0; e.Event.GSeq++ {
		w.hub.Tell(three, &e)
		want.Tell(there, &e)
	}
	want.lines = want.lines[:len(want.lines)-1]
	for _, s := range there {
		want.Close(s, godwit.CloseOverloaded, overloaded)
	}
	if s := edgeNamed(w, "slow"); s.WhispersLost != 3 || s.HintsLost != 1 || s.Overflows != 3 || s.QueueBytes > w.hub.bounds.last {
		t.Errorf("%+v", s)
	}
	edge := &fakeEdge{log: newLog()}
	r := tellReader{client: &Client{}, edge: edge}
	for batch := a.queue.take(); batch != nil; batch = a.queue.take() {
		if _, err := r.batch(*batch); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(edge.lines, want.lines) {
		t.Errorf("got %.300q\nwant %.300q", edge.lines, want.lines)
	}
}

func TestTooManyPlacesAreMalformed(t *testing.T) {
	for n, good := range map[int]bool{godwit.ChannelPlacesMax: true, godwit.ChannelPlacesMax + 1: false} {
		p := Client{bounds: defaultBounds, edge: &fakeEdge{log: newLog()}, live: map[godwit.SessionID]struct{}{}}
		p.loose.New = func() any { return new(scratch) }
		q := newQueue(&p.pool, &p.traffic.putItems)
		p.queue.Store(q)
		hello := Hello{User: "alice", Device: "phone"}
		for i := range n {
			hello.Channels = append(hello.Channels, godwit.ChannelPlace{Conv: fmt.Append(nil, "g:", i), GSeq: godwit.Seq(i)})
		}
		p.Connect(1, hello)
		chat := &fakeChat{log: newLog()}
		r := askReader{attached: &attached{hub: &Hub{cfg: HubConfig{Chat: chat}}, index: 1}}
		if _, err := r.batch(*q.take()); (err == nil) != good || len(chat.lines) == 1 != good {
			t.Errorf("%d places: %v", n, err)
		}
	}
}

// BenchmarkTell is one frame queued for sessions of three edge processes that lie
// mixed. One op is one session.
func BenchmarkTell(b *testing.B) {
	chat := &fakeChat{log: newLog()}
	hub, err := NewHub(HubConfig{Chat: chat, Router: chat})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(hub.Stop)
	var edges []*attached
	for i := range 3 {
		a, _, err := hub.admit(About{Node: fmt.Sprint("edge-", i)}, origin{})
		if err != nil {
			b.Fatal(err)
		}
		edges = append(edges, a)
	}
	var sessions []godwit.SessionID
	for i := range 19000 {
		sessions = append(sessions, sessionAt(edges[i%3].index, godwit.SessionID(1<<30|i<<8)))
	}
	f := godwit.ServerFrame{Kind: godwit.KindEvent, Event: entry(0, strings.Repeat("x", 100))}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += len(sessions) {
		hub.Tell(sessions, &f)
		for _, a := range edges {
			for batch := a.queue.take(); batch != nil; batch = a.queue.take() {
				hub.pool.Put(batch)
			}
		}
	}
}
