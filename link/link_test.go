package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

func TestWhatTheEdgeAsksArrivesAsItWasAsked(t *testing.T) {
	w := newWorld(t, nil)
	p := w.attach("edge-1", nil)
	frames := []godwit.ClientFrame{
		{ID: 1, Kind: godwit.KindSend, Send: godwit.Send{To: []byte("bob"), CID: []byte("c1"), Text: []byte("hi \u00e9\n"), HasText: true, Time: 5}},
		{ID: 1<<53 - 1, Kind: godwit.KindSend, Send: godwit.Send{Group: []byte("g1"), CID: []byte("c2"), Data: []byte{}, HasData: true, Type: []byte("a/b")}},
		{ID: 3, Kind: godwit.KindSync, Sync: godwit.Sync{Since: 7, Limit: 3}},
		{ID: 4, Kind: godwit.KindHistory, History: godwit.History{Conv: []byte("u:bob"), HasAfter: true}},
		{ID: 5, Kind: godwit.KindConversations, Conversations: godwit.Conversations{Limit: 2, Next: []byte("x")}},
		{ID: 6, Kind: godwit.KindPresence, Presence: godwit.Presence{Get: [][]byte{[]byte("a"), []byte("b")}}},
		{ID: 7, Kind: godwit.KindPresence},
		{ID: 8, Kind: godwit.KindPresence, Presence: godwit.Presence{HasWatch: true}},
		{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte("u:bob"), Delivered: 8, Read: 7}},
		{Kind: godwit.KindTyping, Typing: godwit.Typing{Conv: []byte("g:g1"), Stop: true}},
		{ID: 9, Kind: godwit.KindGroup, Group: godwit.Group{Do: []byte(godwit.GroupAdd), Group: []byte("g1"), Users: [][]byte{[]byte("a"), []byte("b")}, HasName: true}},
		{ID: 10, Kind: godwit.KindEdit, Edit: godwit.Edit{MID: []byte("m"), Text: []byte("\u00e9"), HasText: true}},
		{ID: 11, Kind: godwit.KindRecall, Recall: godwit.Recall{MID: []byte("m")}},
		{ID: 12, Kind: godwit.KindDevice, Device: godwit.Device{Do: []byte(godwit.DeviceLogout), All: true}},
		{ID: 13, Kind: godwit.KindBlock, Block: godwit.People{Add: [][]byte{[]byte("eve")}}},
		{ID: 14, Kind: godwit.KindContact, Contact: godwit.People{Remove: [][]byte{[]byte("eve")}}},
		{ID: 15, Kind: godwit.KindConversation, Conversation: godwit.ConversationChange{Conv: []byte("u:bob"), HasMute: true, Pin: true, HasPin: true}},
	}
	hello := Hello{
		User: "alice", Device: "phone", Resume: true, Epoch: "e1", ResumeSeq: 1<<53 - 1, Issued: 1795417297200,
		Channels: []godwit.ChannelPlace{{Conv: []byte("g:g1"), GSeq: 7}, {Conv: []byte("g:g2"), GSeq: 1<<53 - 1}},
	}
	p.Connect(5, hello)
	p.Fetch(5, "alice", 9, 100, 1<<18)
	for i := range frames {
		p.Request(5, "alice", &frames[i])
	}
	p.Disconnect(5, "alice", "phone")
	at := uint64(p.at(5))
	want := []string{fmt.Sprintf("connect %x %+v", at, hello), fmt.Sprintf("fetch %x alice 9 100 262144", at)}
	for i := range frames {
		want = append(want, fmt.Sprintf("request %x alice %s", at, frames[i].AppendTo(nil, godwit.EncodingJSON)))
	}
	want = append(want, fmt.Sprintf("disconnect %x alice phone", at))
	if got := w.chat.waitFor(t, len(want)); !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestWhatTheEngineAnswersArrivesAsItWasAnswered(t *testing.T) {
	w := newWorld(t, nil)
	p := w.attach("edge-1", nil)
	first, second := entry(7, "hi \u00e9"), entry(8, "")
	second.Msg.Text, second.Msg.Body, second.Msg.Type = false, []byte{0, 255}, []byte("a/b")
	skip := godwit.Entry{Seq: 9, SkipTo: 12}
	frames := []godwit.ServerFrame{
		{ID: 1, Kind: godwit.KindSend, Send: godwit.SendReply{State: godwit.StateStored, Seq: 3, MID: godwit.MessageID{1}, Conv: "u:bob", Time: 12, Dup: true}},
		{ID: 2, Kind: godwit.KindError, Error: godwit.ErrRateLimited.Reply(150)},
		{Kind: godwit.KindError, Error: godwit.ErrFrameMalformed.Reply(0)},
		{ID: 3, Kind: godwit.KindSync, Sync: godwit.SyncReply{Entries: []godwit.Entry{first, skip}, Head: 12}},
		{ID: 4, Kind: godwit.KindHistory, History: godwit.HistoryReply{Entries: []godwit.Entry{second}, More: true}},
		{ID: 5, Kind: godwit.KindConversations, Conversations: godwit.ConversationsReply{Items: []godwit.ConversationItem{{Conv: "u:bob", Last: first, Unread: 2, Read: 1}}, Next: "n", AsOf: 12}},
		{ID: 6, Kind: godwit.KindPresence, Presence: godwit.PresenceReply{Users: []godwit.PresenceItem{{User: "bob", Online: true, LastSeen: 5}, {User: "eve"}}}},
	}
	s, other := p.at(5), p.at(1<<51-1)
	welcome := godwit.Welcome{Epoch: "e1", Head: 12, Start: 7, Resumed: true, Reason: "epoch", Digest: 1<<53 - 1, Channels: true}
	w.hub.Connected(s, welcome)
	for i := range frames {
		w.hub.Reply(s, &frames[i])
	}
	w.hub.Deliver([]godwit.SessionID{s, other}, &first)
	w.hub.Deliver([]godwit.SessionID{other}, &skip)
	w.hub.Hint([]godwit.SessionID{other, s}, 1<<53-1)
	told := []godwit.ServerFrame{
		{Kind: godwit.KindChannel, Channel: godwit.ChannelStart{Conv: "g:g1", GSeq: 7, Reset: true}},
		{Kind: godwit.KindChannel},
		{Kind: godwit.KindEvent, Event: godwit.Entry{GSeq: 8, Msg: first.Msg}},
		{Kind: godwit.KindEvent, Event: godwit.Entry{GSeq: 9, Kind: godwit.EntryGroup, Group: &godwit.GroupChange{Conv: "g:g1", By: "bob", Time: 5, Do: godwit.GroupAdd, Users: []godwit.UserID{"a", "b"}, Count: 3}}},
		{Kind: godwit.KindEphemeral, Ephemeral: godwit.Ephemeral{IsTyping: true, Typing: godwit.TypingNotice{Conv: "u:bob", User: "bob", Stop: true}}},
		{Kind: godwit.KindEphemeral, Ephemeral: godwit.Ephemeral{Presence: godwit.PresenceItem{User: "bob", LastSeen: 5}}},
	}
	for i := range told {
		w.hub.Tell([]godwit.SessionID{s, other}, &told[i])
		w.hub.Whisper([]godwit.SessionID{other}, &told[i])
	}
	w.hub.Fetched(s, []godwit.Entry{first, second, skip}, 12, nil)
	w.hub.Fetched(s, nil, 0, nil)
	w.hub.Fetched(s, nil, 0, errors.New("no"))
	w.hub.Close(s, godwit.CloseReplaced, "replaced")

	direct := &fakeEdge{log: newLog()} // what an edge in the same process would have seen
	direct.Connected(5, welcome)
	for i := range frames {
		direct.Reply(5, &frames[i])
	}
	direct.Deliver([]godwit.SessionID{5, 1<<51 - 1}, &first)
	direct.Deliver([]godwit.SessionID{1<<51 - 1}, &skip)
	direct.Hint([]godwit.SessionID{1<<51 - 1, 5}, 1<<53-1)
	for i := range told {
		direct.Tell([]godwit.SessionID{5, 1<<51 - 1}, &told[i])
		direct.Whisper([]godwit.SessionID{1<<51 - 1}, &told[i])
	}
	direct.Fetched(5, []godwit.Entry{first, second, skip}, 12, nil)
	direct.Fetched(5, nil, 0, nil)
	direct.Fetched(5, nil, 0, errors.New("no"))
	direct.Close(5, godwit.CloseReplaced, "replaced")
	if got := p.edge.waitFor(t, len(direct.lines)); !slices.Equal(got, direct.lines) {
		t.Errorf("got\n%q\nwant\n%q", got, direct.lines)
	}
}

// TestOrderHoldsOverManyBatches mixes what is one item and what is many, in
// amounts of several batches, in both directions at once.
func TestOrderHoldsOverManyBatches(t *testing.T) {
	w := newWorld(t, nil)
	w.chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
		e := entry(godwit.Seq(f.ID), strings.Repeat("x", int(f.ID%900)))
		w.hub.Deliver([]godwit.SessionID{s}, &e)
		w.hub.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSend, Send: godwit.SendReply{Seq: e.Seq}})
		if f.ID%10 == 0 {
			w.hub.Fetched(s, []godwit.Entry{e, e}, e.Seq, nil)
		}
	}
	p := w.attach("edge-1", nil)
	w.connect(p, 5, "alice")
	direct := &fakeEdge{log: newLog()}
	const n = 6000
	for id := uint64(1); id <= n; id++ {
		p.Request(5, "alice", &godwit.ClientFrame{ID: id, Kind: godwit.KindSend, Send: godwit.Send{To: []byte("bob"), CID: fmt.Appendf(nil, "c%d", id), Text: []byte(strings.Repeat("y", int(id%700))), HasText: true}})
		e := entry(godwit.Seq(id), strings.Repeat("x", int(id%900)))
		direct.Deliver([]godwit.SessionID{5}, &e)
		direct.Reply(5, &godwit.ServerFrame{ID: id, Kind: godwit.KindSend, Send: godwit.SendReply{Seq: e.Seq}})
		if id%10 == 0 {
			direct.Fetched(5, []godwit.Entry{e, e}, e.Seq, nil)
		}
	}
	got := p.edge.waitFor(t, len(direct.lines))
	for i := range direct.lines {
		if got[i] != direct.lines[i] {
			t.Fatalf("line %d is %.100q, want %.100q", i, got[i], direct.lines[i])
		}
	}
	// A side counts a batch when its write has returned, which may be after the other
	// side has read it.
	differ := func() (up, down Stats, differ bool) {
		up, down = p.Stats(), w.hub.Edges()[0]
		return up, down, down.GotItems != up.SentItems || down.GotBytes != up.SentBytes || up.GotItems != down.SentItems || up.GotBatches != down.SentBatches
	}
	up, down, wrong := differ()
	for late := time.Now().Add(waitMax); wrong && time.Now().Before(late); up, down, wrong = differ() {
		runtime.Gosched()
	}
	if wrong || up.SentItems < n || up.SentBatches < 2 {
		t.Errorf("the two sides count differently:\n%+v\n%+v", up, down)
	}
}

func TestDeliveryGoesToEachProcessOnceAndToTheOwnEdge(t *testing.T) {
	w := &world{t: t, chat: &fakeChat{log: newLog()}, local: &fakeEdge{log: newLog()}}
	w.start(nil)
	a, b := w.attach("edge-1", nil), w.attach("edge-2", nil)
	e := entry(1, "hi")
	w.hub.Deliver([]godwit.SessionID{a.at(1), 5, b.at(2), a.at(3), 6, sessionAt(99, 1)}, &e)
	w.hub.Deliver([]godwit.SessionID{7}, &e)
	w.hub.Close(7, 4000, "x")
	text := string(godwit.AppendEvent(nil, godwit.EncodingJSON, &e))
	a.edge.waitHas(t, "deliver [1 3] "+text)
	b.edge.waitHas(t, "deliver [2] "+text)
	if want := []string{"deliver [5 6] " + text, "deliver [7] " + text, "close 7 4000 x"}; !slices.Equal(w.local.waitFor(t, 3), want) {
		t.Errorf("the own edge got %q, want %q", w.local.lines, want)
	}
	if len(a.edge.lines) != 1 || len(b.edge.lines) != 1 {
		t.Errorf("%q, %q", a.edge.lines, b.edge.lines)
	}
}

// TestNoProcessNamesAnothersSessions sends ids with another index in them.
func TestNoProcessNamesAnothersSessions(t *testing.T) {
	w := newWorld(t, nil)
	a, b := w.attach("edge-1", nil), w.attach("edge-2", nil)
	w.connect(b, 5, "bob")
	forged := uint64(b.at(5))
	for _, kind := range []itemKind{itemConnect, itemDisconnect, itemRequest, itemFetch} {
		item := binary.AppendUvarint(begin(nil, kind), forged)
		switch kind {
		case itemConnect:
			item = append(appendText(appendText(append(item, 0), "eve"), "phone"), 0, 0, 0, 0)
		case itemDisconnect:
			item = appendText(appendText(item, "bob"), "phone")
		case itemRequest:
			item = (&godwit.ClientFrame{ID: 1, Kind: godwit.KindSync}).AppendTo(appendText(item, "bob"), godwit.EncodingProto)
		case itemFetch:
			item = append(appendText(item, "bob"), 1, 2, 3)
		}
		if !end(item, 0) || !a.queue.Load().put(maxInt, item) {
			t.Fatal("not sent")
		}
	}
	for _, line := range w.chat.waitFor(t, 5)[1:] {
		if name := strings.Fields(line)[1]; name != fmt.Sprintf("%x", uint64(a.at(5))) {
			t.Errorf("%q: not the sender's own session %x", line, uint64(a.at(5)))
		}
	}
}

func TestAProcessThatDiesLosesAllItsRoutesAndNobodyElseDoes(t *testing.T) {
	w := newWorld(t, nil)
	a, b := w.attach("edge-1", nil), w.attach("edge-2", nil)
	w.connect(a, 1, "alice")
	w.connect(b, 1, "bob")
	dead, gone := a.at(1), int(a.index.Load())
	for id := uint64(1); id < 200; id++ { // in flight while it dies
		a.Connect(godwit.SessionID(id+1), Hello{User: "alice", Device: "phone"})
	}
	a.Client.Close()
	lines := w.chat.wait(t, func(lines []string) bool { return has(lines, fmt.Sprintf("unregister %d", gone)) })
	if last := lines[len(lines)-1]; last != fmt.Sprintf("unregister %d", gone) {
		t.Errorf("after the routes were dropped came %q", last)
	}
	w.hub.Close(dead, 4003, "replaced")
	e := entry(1, "hi")
	w.hub.Deliver([]godwit.SessionID{dead, b.at(1)}, &e)
	b.edge.waitFor(t, 1)
	if list := w.hub.Edges(); len(list) != 1 || list[0].Node != "edge-2" || list[0].Sessions != 1 {
		t.Errorf("attached: %+v", list)
	}
	c := w.attach("edge-3", nil)
	if index := int(c.index.Load()); index == gone || index == int(b.index.Load()) {
		t.Errorf("the new process has index %d, the dead one had %d", index, gone)
	}
}

func TestAnIndexRestsForAMinute(t *testing.T) {
	now := int64(1000)
	h, err := NewHub(HubConfig{Chat: &fakeChat{log: newLog()}, Router: &fakeChat{log: newLog()}, Clock: func() int64 { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Stop()
	seen := map[int]bool{}
	epochs := map[uint64]bool{}
	for range godwit.SessionEdgeMax {
		a, _, err := h.admit(About{Node: "e"}, origin{})
		if err != nil || a.index < 1 || a.index > godwit.SessionEdgeMax || seen[a.index] || epochs[a.epoch] {
			t.Fatalf("admitted %+v, %v", a, err)
		}
		seen[a.index], epochs[a.epoch] = true, true
	}
	if _, _, err := h.admit(About{Node: "e"}, origin{}); err == nil {
		t.Error("one more than there are indexes")
	}
	h.forget(h.edges[77].Load())
	now += reuseAfterMS - 1
	if a, _, err := h.admit(About{Node: "e"}, origin{}); err == nil {
		t.Errorf("index %d was given again within a minute", a.index)
	}
	now++
	if a, _, err := h.admit(About{Node: "e"}, origin{}); err != nil || a.index != 77 {
		t.Errorf("admitted %+v, %v; want index 77", a, err)
	}
}

func TestALostEngineClosesEverySessionAndANewOneIsJoined(t *testing.T) {
	w := newWorld(t, nil)
	p := w.attach("edge-1", nil)
	p.Ready()
	for s := range godwit.SessionID(50) {
		w.connect(p, s, "alice")
	}
	p.Disconnect(3, "alice", "phone")
	old := w.hub
	old.Stop()
	closed := p.edge.waitFor(t, 49)
	for s := range uint64(50) {
		if has(closed, fmt.Sprintf("close %x 4301 engine_lost", s)) != (s != 3) {
			t.Errorf("session %d: closed or not, the wrong way", s)
		}
	}
	p.hooks.waitHas(t, "lost")
	p.Connect(100, Hello{User: "bob", Device: "phone"})
	p.Request(100, "bob", &godwit.ClientFrame{ID: 9, Kind: godwit.KindSync})
	p.Fetch(100, "bob", 0, 1, 1)
	p.edge.waitHas(t, "close 64 4301 engine_lost")
	p.edge.waitHas(t, "fetched 64 0 true")
	p.edge.wait(t, func(lines []string) bool {
		return slices.ContainsFunc(lines, func(line string) bool {
			return strings.HasPrefix(line, `reply 64 {"id":9,"error":{"code":"unavailable"`)
		})
	})

	w.start(nil)
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	if err := w.hub.AwaitReady(ctx, "edge-1"); err != nil { // told without being asked again
		t.Fatal(err)
	}
	before := len(w.chat.waitFor(t, 0))
	p.Disconnect(7, "alice", "phone") // of the old stream: nothing of the new one
	w.connect(p, 101, "carol")
	if lines := w.chat.waitFor(t, before+1); strings.HasPrefix(lines[before], "disconnect") {
		t.Errorf("an old session's end was sent on the new stream: %q", lines[before])
	}
	if got := p.hooks.waitFor(t, 3); !slices.Equal(got, []string{"attached", "lost", "attached"}) {
		t.Errorf("hooks %q", got)
	}
	if n := w.hub.Edges()[0].Sessions; n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

func TestDrainTellsAllAndWaitsForTheirSessions(t *testing.T) {
	w := newWorld(t, nil)
	a, b := w.attach("edge-1", nil), w.attach("edge-2", nil)
	w.connect(a, 1, "alice")
	w.connect(b, 1, "bob")
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		w.hub.Drain(t.Context(), time.Second, 2*time.Second)
	}()
	a.hooks.waitHas(t, "drain 1s 2s")
	b.hooks.waitHas(t, "drain 1s 2s")
	if _, _, err := w.hub.admit(About{Node: "late"}, origin{}); err == nil {
		t.Error("a draining hub took an edge process")
	}
	a.Disconnect(1, "alice", "phone")
	w.chat.waitHas(t, fmt.Sprintf("disconnect %x alice phone", uint64(a.at(1))))
	select {
	case <-drained:
		t.Error("drained with a session left")
	default:
	}
	b.Disconnect(1, "bob", "phone")
	select {
	case <-drained:
	case <-time.After(waitMax):
		t.Error("not drained though all sessions have ended")
	}
}
