package link

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godwit-im/godwit"
)

// stuckWorld has an edge process that takes nothing, with what gRPC and the
// sockets hold filled up, and one that is well.
func stuckWorld(t *testing.T, b bounds) (w *world, stuck, well *process) {
	t.Helper()
	w = newWorld(t, nil)
	w.hub.bounds = b
	hold := make(chan struct{})
	stuck = w.attach("stuck", func(p *process, _ *ClientConfig) { p.edge.hold = hold })
	t.Cleanup(func() { close(hold) }) // before the client is closed
	well = w.attach("well", nil)
	w.connect(stuck, 1, "alice")
	w.connect(well, 1, "bob")
	// Entries of 64 KiB until the first is dropped: from here on bytes only wait.
	e := entry(1, strings.Repeat("x", 64<<10))
	for n := 0; edgeNamed(w, "stuck").HintsLost == 0; n++ {
		if n > 1000 {
			t.Fatal("64 MiB were taken for a process that takes nothing")
		}
		w.hub.Deliver([]godwit.SessionID{stuck.at(1)}, &e)
	}
	return w, stuck, well
}

func edgeNamed(w *world, name string) Stats {
	list := w.hub.Edges()
	i := slices.IndexFunc(list, func(s Stats) bool { return s.Node == name })
	if i < 0 {
		return Stats{}
	}
	return list[i]
}

func TestAStuckProcessHoldsUpNobodyAndIsBounded(t *testing.T) {
	b := bounds{hint: 1 << 20, owed: 2 << 20, last: 3 << 20, asked: 1 << 20}
	w, stuck, well := stuckWorld(t, b)
	e := entry(2, "hi")
	for seq := range godwit.Seq(1000) {
		e.Seq = seq + 1
		w.hub.Deliver([]godwit.SessionID{stuck.at(1), well.at(1)}, &e)
	}
	if got := well.edge.waitFor(t, 1000); !strings.HasPrefix(got[999], `deliver [1] {"ev":{"seq":1000,`) {
		t.Errorf("the process that is well got %q last", got[999])
	}
	if got := edgeNamed(w, "stuck"); got.QueueBytes > b.hint || got.Overflows > 0 {
		t.Errorf("%d bytes wait for the stuck process, at most %d may: %+v", got.QueueBytes, b.hint, got)
	}
}

// TestAnOwedAnswerWithoutRoomClosesItsSession fills the queue of an edge process
// that has no stream, and then reads it as the process would.
func TestAnOwedAnswerWithoutRoomClosesItsSession(t *testing.T) {
	w := newWorld(t, nil)
	w.hub.bounds = bounds{hint: 8 << 10, owed: 16 << 10, last: 20 << 10, asked: 1 << 20}
	a, _, err := w.hub.admit(About{Node: "slow"}, origin{})
	if err != nil {
		t.Fatal(err)
	}
	at := func(s godwit.SessionID) godwit.SessionID { return sessionAt(a.index, s) }
	want := &fakeEdge{log: newLog()}
	page := []godwit.Entry{entry(1, strings.Repeat("y", 900))}
	for id := uint64(1); ; id++ {
		f := godwit.ServerFrame{ID: id, Kind: godwit.KindSync, Sync: godwit.SyncReply{Entries: page}}
		w.hub.Reply(at(2), &f)
		if id > 1000 {
			t.Fatal("the queue takes everything")
		}
		if edgeNamed(w, "slow").Overflows > 0 {
			break
		}
		want.Reply(2, &f)
	}
	want.Close(2, godwit.CloseOverloaded, overloaded)
	w.hub.Connected(at(3), godwit.Welcome{Epoch: strings.Repeat("e", 1000)})
	want.Close(3, godwit.CloseOverloaded, overloaded)
	w.hub.Fetched(at(4), page, 9, nil)
	want.Fetched(4, nil, 0, errFetch)
	w.hub.Deliver([]godwit.SessionID{at(5)}, &page[0]) // a hint: gone, and counted
	w.hub.Close(at(6), godwit.CloseReplaced, "replaced")
	want.Close(6, godwit.CloseReplaced, "replaced")
	if got := edgeNamed(w, "slow"); got.Overflows != 2 || got.FetchesFailed != 1 || got.HintsLost != 1 || got.QueueBytes > w.hub.bounds.last {
		t.Errorf("%+v", got)
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

func TestAProcessThatDoesNotTakeWhatItIsOwedIsCutOff(t *testing.T) {
	w, stuck, well := stuckWorld(t, bounds{hint: 256 << 10, owed: 512 << 10, last: 520 << 10, asked: 1 << 20})
	gone := int(stuck.index.Load())
	for edgeNamed(w, "stuck").Node != "" {
		w.hub.Reply(stuck.at(1), &godwit.ServerFrame{ID: 1, Kind: godwit.KindSend})
	}
	w.chat.waitHas(t, fmt.Sprintf("unregister %d", gone))
	if edgeNamed(w, "well").Node == "" {
		t.Error("the other process was cut off, too")
	}
	w.hub.Close(well.at(1), 4000, "x")
	well.edge.waitHas(t, "close 1 4000 x")
}

// TestAnEngineProcessThatTakesNothingIsNotAskedWithoutEnd: what does not fit is
// answered.
func TestAnEngineProcessThatTakesNothingIsNotAskedWithoutEnd(t *testing.T) {
	w := newWorld(t, nil)
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	w.chat.onRequest = func(godwit.SessionID, godwit.UserID, *godwit.ClientFrame) { <-hold }
	p := w.attach("edge-1", nil)
	p.bounds.asked = 256 << 10
	w.connect(p, 1, "alice")
	asked, text := uint64(0), []byte(strings.Repeat("x", 16<<10))
	for p.Stats().Overflows == 0 {
		if asked++; asked > 1000 {
			t.Fatal("16 MiB were taken for an engine process that takes nothing")
		}
		p.Request(1, "alice", &godwit.ClientFrame{ID: asked, Kind: godwit.KindSend, Send: godwit.Send{Text: text, HasText: true}})
	}
	if got := p.edge.waitFor(t, 1); len(got) != 1 || !strings.HasPrefix(got[0], fmt.Sprintf(`reply 1 {"id":%d,"error":{"code":"unavailable"`, asked)) {
		t.Errorf("got %q", got)
	}
	release()
}

// TestWhatDoesNotFitOnTheWayUpIsAnsweredAtOnce, in a queue that nobody takes from,
// and read as the engine process would.
func TestWhatDoesNotFitOnTheWayUpIsAnsweredAtOnce(t *testing.T) {
	p := Client{bounds: bounds{asked: 64 << 10}, edge: &fakeEdge{log: newLog()}, live: map[godwit.SessionID]struct{}{}}
	p.loose.New = func() any { return new(scratch) }
	q := newQueue(&p.pool, &p.traffic.putItems)
	p.queue.Store(q)
	want := &fakeEdge{log: newLog()}
	p.Connect(2, Hello{User: "alice", Device: "phone"})
	for asked := uint64(1); p.traffic.closed.Load() == 0; asked++ {
		want.lines = []string{fmt.Sprintf(`reply 2 %s`, (&godwit.ServerFrame{ID: asked, Kind: godwit.KindError, Error: godwit.ErrUnavailable.Reply(retryAfterMS)}).AppendTo(nil, godwit.EncodingJSON))}
		p.Request(2, "alice", &godwit.ClientFrame{ID: asked, Kind: godwit.KindSync})
	}
	for q.put(p.bounds.asked, readyItem) { // to the brim
	}
	p.Connect(3, Hello{User: "bob", Device: "phone"})
	want.Close(3, godwit.CloseOverloaded, overloaded)
	p.Fetch(2, "alice", 7, 1, 1)
	want.Fetched(2, nil, 0, errFetch)
	p.Disconnect(2, "alice", "phone") // always taken
	p.Disconnect(3, "bob", "phone")   // was never connected
	if got := p.edge.(*fakeEdge).lines; !slices.Equal(got, want.lines) {
		t.Errorf("got %q, want %q", got, want.lines)
	}

	chat := &fakeChat{log: newLog()}
	hub := &Hub{cfg: HubConfig{Chat: chat}, changed: make(chan struct{})}
	r := askReader{attached: &attached{hub: hub, index: 1}}
	for batch := q.take(); batch != nil; batch = q.take() {
		if _, err := r.batch(*batch); err != nil {
			t.Fatal(err)
		}
	}
	at := uint64(sessionAt(1, 2))
	if first, last := chat.lines[0], chat.lines[len(chat.lines)-1]; first != fmt.Sprintf("connect %x %+v", at, Hello{User: "alice", Device: "phone"}) || last != fmt.Sprintf("disconnect %x alice phone", at) {
		t.Errorf("the chat tier heard %q first and %q last", first, last)
	}
}
