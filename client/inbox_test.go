package client

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

// inboxServer answers an inbox's questions from a log of its own, by brute force.
type inboxServer struct {
	log []godwit.Entry
	bob godwit.ConversationItem // the one conversation
}

func (s *inboxServer) head() godwit.Seq { return godwit.Seq(len(s.log)) }

func (s *inboxServer) message(from string) godwit.Entry {
	e := entry(s.head() + 1)
	e.Msg.From = []byte(from)
	if from != "alice" {
		s.bob.Unread++
	}
	return s.add(e)
}

func (s *inboxServer) add(e godwit.Entry) godwit.Entry {
	e.Seq = s.head() + 1
	s.log = append(s.log, e)
	if e.Kind == godwit.EntryMessage {
		s.bob.Last = e
	}
	return e
}

// read marks everything as read.
func (s *inboxServer) read(through godwit.Seq) godwit.Entry {
	s.bob.Read, s.bob.Delivered, s.bob.Unread = through, through, 0
	for i := range s.log {
		if e := &s.log[i]; e.Seq > through && e.Kind == godwit.EntryMessage && string(e.Msg.From) != "alice" {
			s.bob.Unread++
		}
	}
	return s.add(godwit.Entry{Kind: godwit.EntryReceipt, Receipt: &godwit.Receipt{
		Conv: "u:bob", User: "alice", Delivered: through, Read: through, Unread: s.bob.Unread,
	}})
}

func (s *inboxServer) digest() uint64 {
	return (&inboxConversation{ConversationItem: godwit.ConversationItem{Conv: "u:bob", Unread: s.bob.Unread, Read: s.bob.Read}}).digest() & digestMask
}

func (s *inboxServer) conversations(f *godwit.ClientFrame) godwit.ServerFrame {
	item := s.bob
	item.Conv = "u:bob"
	return godwit.ServerFrame{ID: f.ID, Kind: godwit.KindConversations, Conversations: godwit.ConversationsReply{
		Items: []godwit.ConversationItem{item}, AsOf: s.head(), Digest: s.digest(),
	}}
}

func ev(e godwit.Entry) godwit.ServerFrame {
	return godwit.ServerFrame{Kind: godwit.KindEvent, Event: e}
}

// take receives one item into the inbox while the server answers what it asks.
func (f *fixture) take(t *testing.T, in *Inbox, p *peer, s *inboxServer, wantSnapshot, wantRepair bool) {
	t.Helper()
	item := f.receive(t)
	done := make(chan error, 1)
	var repaired bool
	go func() {
		var err error
		repaired, err = in.Take(t.Context(), item)
		done <- err
	}()
	if wantSnapshot {
		p.send(s.conversations(p.expect(t, godwit.KindConversations)))
	}
	select {
	case err := <-done:
		if err != nil || repaired != wantRepair {
			t.Fatalf("take: repaired %v, %v; want %v", repaired, err, wantRepair)
		}
	case frame := <-p.frames:
		t.Fatalf("take asks for %+v", frame)
	}
}

func (f *fixture) wantInbox(t *testing.T, in *Inbox, s *inboxServer) {
	t.Helper()
	c, ok := in.Conversation("u:bob")
	if !ok || c.Unread != s.bob.Unread || c.Read != s.bob.Read || c.Last.Seq != s.bob.Last.Seq {
		t.Fatalf("the inbox has unread %d, read %d, last %d; the server %d, %d, %d",
			c.Unread, c.Read, c.Last.Seq, s.bob.Unread, s.bob.Read, s.bob.Last.Seq)
	}
}

func TestInboxCountsWithoutAskingAndRepairsADrift(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		s := &inboxServer{}
		s.message("bob")
		f := start(t, func(cfg *Config) { cfg.Encoding = encoding })
		p := f.accept(t)
		p.welcome(t, godwit.ConnectReply{Seq: 1, User: "alice", Digest: s.digest()})
		in := NewInbox(f.Client)
		p.send(ev(s.message("bob")))
		f.take(t, in, p, s, true, false) // the first takes the snapshot
		f.wantInbox(t, in, s)
		p.send(ev(s.message("bob")), ev(s.message("alice")), ev(s.read(3)), ev(s.message("bob")))
		for range 4 {
			f.take(t, in, p, s, false, false)
		}
		f.wantInbox(t, in, s)
		if s.bob.Unread != 1 {
			t.Fatalf("the test itself: %d unread", s.bob.Unread)
		}
		// Drift: the inbox has lost count. The next session's digest tells.
		in.state.convs["u:bob"].Unread = 40
		p.drop()
		p = f.again(t)
		p.welcome(t, godwit.ConnectReply{Seq: s.head() + 1, User: "alice", Resumed: true, Missed: 1, Digest: func() uint64 {
			s.message("bob")
			return s.digest()
		}()})
		p.send(ev(s.log[s.head()-1]))
		f.take(t, in, p, s, true, true)
		f.wantInbox(t, in, s)
	})
}

func TestInboxVerifiesItselfOnRequest(t *testing.T) {
	s := &inboxServer{}
	f := start(t, nil)
	p := f.accept(t)
	p.welcome(t, godwit.ConnectReply{User: "alice"})
	in := NewInbox(f.Client)
	p.send(ev(s.message("bob")))
	f.take(t, in, p, s, true, false)
	verify := func(wantChecked, wantRepair bool) {
		t.Helper()
		type result struct {
			checked, repaired bool
			err               error
		}
		done := make(chan result, 1)
		go func() {
			checked, repaired, err := in.Verify(t.Context())
			done <- result{checked, repaired, err}
		}()
		ask := p.expect(t, godwit.KindSync)
		p.send(godwit.ServerFrame{ID: ask.ID, Kind: godwit.KindSync, Sync: godwit.SyncReply{
			Entries: s.log[ask.Sync.Since:], Head: s.head(), Digest: s.digest(),
		}})
		if wantRepair {
			p.send(s.conversations(p.expect(t, godwit.KindConversations)))
		}
		if r := <-done; r.err != nil || r.checked != wantChecked || r.repaired != wantRepair {
			t.Fatalf("got %+v, want %v %v", r, wantChecked, wantRepair)
		}
	}
	verify(true, false)
	last := s.message("bob") // on its way: the reply has it
	verify(true, false)
	in.state.convs["u:bob"].Read = 1
	verify(true, true)
	p.send(ev(last)) // what the snapshot has counts once
	f.take(t, in, p, s, false, false)
	f.wantInbox(t, in, s)
	verify(true, false)
}

func TestInboxTakesASnapshotAfterADiscontinuity(t *testing.T) {
	s := &inboxServer{}
	f := start(t, nil)
	p := f.accept(t)
	p.welcome(t, godwit.ConnectReply{User: "alice"})
	in := NewInbox(f.Client)
	p.send(ev(s.message("bob")))
	f.take(t, in, p, s, true, false)
	for range 20 {
		s.message("bob")
	}
	p.drop()
	p = f.again(t)
	p.welcome(t, godwit.ConnectReply{Seq: s.head(), User: "alice", Reason: "too_far", Digest: s.digest()})
	f.take(t, in, p, s, true, true)
	f.wantInbox(t, in, s)
}

// Whatever happens in a conversation, counting item by item gives what the server
// has, and the digest agrees; a count that is off by one does not.
func TestInboxAgreesWithTheDigestAlways(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &inboxServer{}
		state := inboxState{convs: map[godwit.ConversationID]*inboxConversation{}}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			var e godwit.Entry
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				e = s.message("alice")
			case 1:
				if s.head() == 0 {
					continue
				}
				e = s.read(godwit.Seq(rapid.IntRange(int(s.bob.Read), int(s.head())).Draw(t, "read")))
			case 2:
				e = s.add(godwit.Entry{Kind: godwit.EntryReceipt, Receipt: &godwit.Receipt{Conv: "u:bob", User: "bob", Read: s.head()}})
			default:
				e = s.message("bob")
			}
			state.expect("e", e.Seq, s.digest())
			if !state.apply(&Item{Entry: e, At: Position{"e", e.Seq}}, "alice") {
				t.Fatalf("drift at %d: %+v, the server has %+v", e.Seq, state.convs["u:bob"].ConversationItem, s.bob)
			}
			if same, known := state.compare(); !same || !known {
				t.Fatalf("not compared at %d", e.Seq)
			}
		}
		if c := state.convs["u:bob"]; c != nil {
			c.Unread++
			if same, _ := state.compare(); same {
				t.Fatal("the digest does not see a wrong count")
			}
		}
	})
}

func TestInboxFollowsEditsGroupsAndSettings(t *testing.T) {
	state := inboxState{convs: map[godwit.ConversationID]*inboxConversation{}}
	take := func(entries ...godwit.Entry) {
		for _, e := range entries {
			at := state.at
			at.Seq = max(at.Seq, e.Seq)
			state.apply(&Item{Entry: e, At: at}, "alice")
		}
	}
	said := entry(1)
	edit := godwit.Entry{Seq: 2, Kind: godwit.EntryEdit, Msg: godwit.Message{MID: said.Msg.MID, Conv: said.Msg.Conv, Time: 9, Body: []byte("new"), Text: true}}
	take(said, edit)
	if c := state.convs["u:bob"]; string(c.Last.Msg.Body) != "new" || c.Last.Msg.Edited != 9 || c.Last.Seq != 1 || c.Unread != 1 {
		t.Errorf("%+v", c)
	}
	recall := godwit.Entry{Seq: 3, Kind: godwit.EntryRecall, Msg: godwit.Message{MID: said.Msg.MID, Conv: said.Msg.Conv}}
	pin := godwit.Entry{Seq: 4, Kind: godwit.EntrySettings, Settings: &godwit.ConversationSettings{Conv: "u:bob", Pin: true, Mute: 7}}
	take(recall, pin)
	if c := state.convs["u:bob"]; !c.Last.Msg.Recalled || c.Last.Msg.Body != nil || !c.Pin || c.Mute != 7 || c.Unread != 1 {
		t.Errorf("%+v", c)
	}
	group := func(seq, gseq godwit.Seq, do, name string) godwit.Entry {
		return godwit.Entry{Seq: seq, GSeq: gseq, Kind: godwit.EntryGroup, Group: &godwit.GroupChange{Conv: "g:1", Do: do, Name: name}}
	}
	before := state.convs["u:bob"].digest()
	take(group(5, 1, "create", "Chess"), group(6, 2, godwit.GroupBecomesChannel, ""), channelEntry("g:1", 3), channelEntry("g:1", 3))
	c := state.convs["g:1"]
	if c.Name != "Chess" || !c.Channel || c.Unread != 1 || c.GSeq != 3 || c.digest() != 0 {
		t.Errorf("%+v", c)
	}
	if fmt.Sprint(before) != fmt.Sprint(state.convs["u:bob"].digest()) {
		t.Error("another conversation's digest changed")
	}
}
