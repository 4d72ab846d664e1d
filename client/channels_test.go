package client

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

func channelEntry(conv string, gseq godwit.Seq) godwit.Entry {
	return godwit.Entry{GSeq: gseq, Msg: godwit.Message{
		MID: godwit.MessageID{2, byte(gseq)}, Conv: []byte(conv), From: []byte("carol"), CID: fmt.Appendf(nil, "g%d", gseq),
		Time: 5000 + int64(gseq), Body: fmt.Appendf(nil, "text %d", gseq), Text: true,
	}}
}

func told(conv string, gseq godwit.Seq) godwit.ServerFrame {
	return godwit.ServerFrame{Kind: godwit.KindEvent, Event: channelEntry(conv, gseq)}
}

func begins(conv godwit.ConversationID, gseq godwit.Seq, reset bool) godwit.ServerFrame {
	return godwit.ServerFrame{Kind: godwit.KindChannel, Channel: godwit.ChannelStart{Conv: conv, GSeq: gseq, Reset: reset}}
}

// begin tells of channels the client does not know, and answers what it asks then.
func (p *peer) begin(t *testing.T, head godwit.Seq, starts ...godwit.ServerFrame) {
	t.Helper()
	p.send(starts...)
	p.page(p.expect(t, godwit.KindSync), head)
}

func (f *fixture) receiveChannel(t *testing.T, conv string, from, to godwit.Seq) {
	t.Helper()
	for gseq := from; gseq <= to; gseq++ {
		item := f.receive(t)
		if e := &item.Entry; item.Gap != nil || e.Seq != 0 || e.GSeq != gseq || string(e.Msg.Conv) != conv {
			t.Fatalf("got %+v (gap %+v), want %s %d", item, item.Gap, conv, gseq)
		}
	}
}

// Whatever order, repetition and loss a channel's entries come with, and whatever
// is erased of it, the application sees each once and in order.
//
//tidy:long one walk
func TestChannelAgainstAModelLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		head := godwit.Seq(rapid.IntRange(1, 60).Draw(t, "head"))
		erased, unpaged := map[godwit.Seq]bool{}, map[godwit.Seq]bool{} // history knows nothing of the latter
		for range rapid.IntRange(0, 10).Draw(t, "erased") {
			erased[godwit.Seq(rapid.IntRange(1, int(head)).Draw(t, "which"))] = true
		}
		for range rapid.IntRange(0, 5).Draw(t, "unpaged") {
			unpaged[godwit.Seq(rapid.IntRange(1, int(head)).Draw(t, "which"))] = true
		}
		f := &feed{epoch: "e"}
		var c channels
		c.init(f, nil)
		c.start(&godwit.ChannelStart{Conv: "g:1", GSeq: 0}, true)
		c.setGate(c.ungated, 0)
		seen, offered := godwit.Seq(0), map[godwit.Seq]bool{}
		take := func() {
			item, ok := f.next()
			if !ok {
				return
			}
			g := item.Entry.GSeq
			for lost := seen + 1; lost < g; lost++ {
				if !erased[lost] && (!unpaged[lost] || offered[lost]) {
					t.Fatalf("entry %d after %d", g, seen)
				}
			}
			if g <= seen || erased[g] {
				t.Fatalf("entry %d after %d", g, seen)
			}
			seen = g
			f.take()
		}
		// A page is made when it is asked for, and arrives later.
		var inFlight *godwit.HistoryReply
		stored := head / 2 // what the channel has by now
		ask := func() bool {
			_, after, ok := c.missing(3)
			if !ok {
				return false
			}
			ch := c.by["g:1"]
			ch.fetching, ch.asked = true, ch.owed
			inFlight = &godwit.HistoryReply{}
			for g := after + 1; g <= stored; g++ {
				if len(inFlight.Entries) == 3 {
					inFlight.More = true
					break
				}
				if !erased[g] && !unpaged[g] {
					inFlight.Entries = append(inFlight.Entries, channelEntry("g:1", g))
				}
			}
			return true
		}
		arrive := func() {
			if reply := inFlight; reply != nil {
				inFlight = nil
				c.fill("g:1", reply)
			}
		}
		for range rapid.IntRange(0, 120).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0:
				take()
			case 1:
				ask()
			case 2:
				arrive()
			case 3:
				stored = min(head, stored+1)
			default:
				if g := godwit.Seq(rapid.IntRange(1, int(stored+1)).Draw(t, "which")); g <= stored && !erased[g] {
					offered[g] = offered[g] || g > c.by["g:1"].place
					c.offer(channelEntry("g:1", g))
				}
			}
		}
		arrive()
		stored = head
		// The server's next start, after a reconnect, is at its head.
		c.start(&godwit.ChannelStart{Conv: "g:1", GSeq: head}, true)
		for ask() || len(f.ready) > 0 {
			arrive()
			take()
		}
		for g := seen + 1; g <= head; g++ {
			if !erased[g] && (!unpaged[g] || offered[g]) {
				t.Fatalf("entry %d never came", g)
			}
		}
		if ch := c.by["g:1"]; ch.place != head || len(ch.ahead) != 0 || len(c.behind) != 0 {
			t.Fatalf("at the end: place %d of %d, %d ahead, behind %v", ch.place, head, len(ch.ahead), c.behind)
		}
	})
}

func TestChannelsShareTheBoundOfTheFeed(t *testing.T) {
	f := &feed{epoch: "e"}
	var c channels
	c.init(f, []ChannelPlace{{"g:1", 0}})
	for g := range godwit.Seq(readyMax + 2000) {
		c.offer(channelEntry("g:1", g+1))
	}
	ch := c.by["g:1"]
	if len(f.ready) != readyMax || ch.place != readyMax || ch.owed != readyMax+2000 || len(ch.ahead) > channelAheadMax {
		t.Fatalf("%d ready, place %d, owed %d, %d ahead", len(f.ready), ch.place, ch.owed, len(ch.ahead))
	}
	if _, _, ok := c.missing(1); ok {
		t.Fatal("asks for what has no room")
	}
	f.take()
	if conv, after, ok := c.missing(1); !ok || conv != "g:1" || after != readyMax {
		t.Fatalf("%s %d %v", conv, after, ok)
	}
}

func TestChannelEntriesComeBesideTheLogAndKeepTheirPlace(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		f, p := live(t, 10, func(cfg *Config) { cfg.Encoding = encoding })
		p.begin(t, 10, begins("g:1", 5, false), begins("g:2", 0, false))
		p.send(told("g:1", 6), pushed(11), told("g:2", 1), told("g:1", 6), told("g:1", 7))
		f.receiveChannel(t, "g:1", 6, 6)
		f.receiveEntries(t, 11, 11)
		f.receiveChannel(t, "g:2", 1, 1)
		f.receiveChannel(t, "g:1", 7, 7)
		if got := fmt.Sprint(f.Channels()); got != "[{g:1 7} {g:2 1}]" || f.Position() != (Position{"e1", 11}) {
			t.Fatalf("places %s, position %v", got, f.Position())
		}
		p.drop()
		p = f.again(t)
		hello := p.welcome(t, godwit.ConnectReply{Seq: 11, Resumed: true})
		if got := channelQuery(hello.Connect.Resume.Channels); got != "1:7,2:1" {
			t.Fatalf("resumes from %s", got)
		}
		// The server begins one where it was asked to, the other too late.
		p.send(begins("g:1", 7, false), begins("g:2", 3, false), told("g:2", 4))
		ask := p.expect(t, godwit.KindHistory)
		if h := &ask.History; string(h.Conv) != "g:2" || h.GAfter != 1 || !h.HasGAfter {
			t.Fatalf("asks for %+v", h)
		}
		p.send(godwit.ServerFrame{ID: ask.ID, Kind: godwit.KindHistory, History: godwit.HistoryReply{
			Entries: []godwit.Entry{channelEntry("g:2", 2), channelEntry("g:2", 3)},
		}})
		f.receiveChannel(t, "g:2", 2, 4)
	})
}

func TestChannelTooFarBehindIsADiscontinuityOfItsOwn(t *testing.T) {
	f, p := live(t, 10, nil)
	p.begin(t, 10, begins("g:1", 5, false))
	p.send(told("g:1", 6))
	f.receiveChannel(t, "g:1", 6, 6)
	p.send(begins("g:1", 9000, true), told("g:1", 9001), pushed(11))
	item := f.receive(t)
	if item.Gap == nil || *item.Gap != (Discontinuity{Reason: "too_far", Conv: "g:1", From: Position{Seq: 6}, To: Position{Seq: 9000}}) {
		t.Fatalf("got %+v", item)
	}
	f.receiveChannel(t, "g:1", 9001, 9001)
	f.receiveEntries(t, 11, 11)
	if got := fmt.Sprint(f.Channels()); got != "[{g:1 9001}]" {
		t.Fatal(got)
	}
}

func TestReplayReadsAChannelFromWhereItWas(t *testing.T) {
	f := start(t, func(cfg *Config) {
		cfg.CatchUp, cfg.Resume, cfg.Channels = Replay, &Position{"e1", 10}, []ChannelPlace{{"g:1", 6}}
	})
	p := f.accept(t)
	hello := p.welcome(t, godwit.ConnectReply{Seq: 10, Resumed: true})
	if c := hello.Connect.Resume.Channels; len(c) != 1 || string(c[0].Conv) != "g:1" || c[0].GSeq != 6 {
		t.Fatalf("%+v", c)
	}
	p.send(begins("g:1", 9, true))
	for after := godwit.Seq(6); after < 9; after++ {
		ask := p.expect(t, godwit.KindHistory)
		if ask.History.GAfter != after {
			t.Fatalf("asks for %+v", ask.History)
		}
		p.send(godwit.ServerFrame{ID: ask.ID, Kind: godwit.KindHistory, History: godwit.HistoryReply{
			Entries: []godwit.Entry{channelEntry("g:1", after+1)}, More: after < 8,
		}})
		f.receiveChannel(t, "g:1", after+1, after+1)
	}
}

// What the log still has of a group is older than all of the channel it became.
func TestAReplayOfTheLogGoesBeforeItsChannels(t *testing.T) {
	f, p := live(t, 10, nil)
	p.begin(t, 10, begins("g:1", 5, false))
	p.barrier(t)
	p.drop()
	p = f.again(t)
	p.welcome(t, godwit.ConnectReply{Seq: 13, Resumed: true})
	p.send(begins("g:1", 5, false), told("g:1", 6), pushed(11), told("g:1", 7), pushed(12), pushed(13), told("g:1", 8))
	f.receiveEntries(t, 11, 13)
	f.receiveChannel(t, "g:1", 6, 8)
	p.barrier(t) // nothing had to be fetched
}

func TestAHoleInAChannelIsFetchedOrErased(t *testing.T) {
	f, p := live(t, 10, nil)
	p.begin(t, 10, begins("g:1", 5, false))
	p.send(told("g:1", 7))
	ask := p.expect(t, godwit.KindHistory)
	if ask.History.GAfter != 5 {
		t.Fatalf("asks for %+v", ask.History)
	}
	p.send(told("g:1", 9)) // after the page was made
	p.send(godwit.ServerFrame{ID: ask.ID, Kind: godwit.KindHistory})
	f.receiveChannel(t, "g:1", 7, 7) // 6 was erased
	if ask = p.expect(t, godwit.KindHistory); ask.History.GAfter != 7 {
		t.Fatalf("asks for %+v", ask.History)
	}
	p.send(godwit.ServerFrame{ID: ask.ID, Kind: godwit.KindHistory, History: godwit.HistoryReply{Entries: []godwit.Entry{channelEntry("g:1", 8)}}})
	f.receiveChannel(t, "g:1", 8, 9)
}

// A group becomes a channel while the client is there, and what the log says of
// that is late.
func TestAChannelWaitsForWhatTheLogSaysOfIt(t *testing.T) {
	f, p := live(t, 10, nil)
	p.send(begins("g:1", 5, false), told("g:1", 6))
	ask := p.expect(t, godwit.KindSync)
	p.send(pushed(11), told("g:1", 7))
	f.receiveEntries(t, 11, 11)
	p.page(ask, 13, entry(11))
	p.send(pushed(12))
	f.receiveEntries(t, 12, 12)
	p.send(pushed(13), told("g:1", 8))
	f.receiveEntries(t, 13, 13)
	f.receiveChannel(t, "g:1", 6, 8)
	p.send(told("g:2", 1)) // has not begun, or is over
	p.barrier(t)
	if got := fmt.Sprint(f.Channels()); got != "[{g:1 8}]" {
		t.Fatal(got)
	}
}

func TestLeavingForgetsAChannel(t *testing.T) {
	f := start(t, nil)
	p := f.accept(t)
	p.welcome(t, godwit.ConnectReply{Seq: 1, User: "alice"})
	for i, change := range []godwit.GroupChange{
		{Conv: "g:1", By: "bob", Do: godwit.GroupRemove, Users: []godwit.UserID{"carol", "alice"}},
		{Conv: "g:2", By: "alice", Do: godwit.GroupLeave},
		{Conv: "g:3", By: "bob", Do: godwit.GroupLeave},
	} {
		p.begin(t, 1, begins(change.Conv, 1, false))
		p.send(told(string(change.Conv), 2))
		f.receiveChannel(t, string(change.Conv), 2, 2)
		p.send(godwit.ServerFrame{Kind: godwit.KindEvent, Event: godwit.Entry{Seq: godwit.Seq(i + 2), GSeq: 3, Kind: godwit.EntryGroup, Group: &change}})
		if item := f.receive(t); item.Entry.Kind != godwit.EntryGroup || item.Entry.Group.Conv != change.Conv {
			t.Fatalf("got %+v", item)
		}
	}
	if got := fmt.Sprint(f.Channels()); got != "[{g:3 2}]" {
		t.Fatal(got)
	}
	p.drop()
	p = f.again(t)
	if c := p.welcome(t, godwit.ConnectReply{Seq: 4, Resumed: true}).Connect.Resume.Channels; len(c) != 1 || string(c[0].Conv) != "g:3" {
		t.Fatalf("resumes from %s", channelQuery(c))
	}
}
