package chat

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
)

func TestMarksByTranscript(t *testing.T) {
	runTranscripts(t, "mark_*", func(c *Config) { c.Policy.ChannelAbove = 3 })
}

// A command may carry a mark that moves and one that is behind by now.
func TestNoMarkGoesBack(t *testing.T) {
	f := func(c conversationRow, delivered, read godwit.Seq, ordinal uint64, moves bool, want conversationRow) {
		t.Helper()
		c.incoming, want.incoming = 9, 9
		if got := c.raise(delivered, read, ordinal); got != moves || c != want {
			t.Errorf("raise to %d, %d: %t, %+v, want %+v", delivered, read, got, c, want)
		}
	}
	at := conversationRow{delivered: 6, read: 5, readIncoming: 3}
	f(at, 6, 5, 3, false, at)
	f(at, 0, 4, 2, false, at)
	f(at, 7, 4, 2, true, conversationRow{delivered: 7, read: 5, readIncoming: 3})
	f(at, 2, 6, 4, true, conversationRow{delivered: 6, read: 6, readIncoming: 4})
	f(at, 0, 8, 99, true, conversationRow{delivered: 8, read: 8, readIncoming: 9})
}

// Reading a thousand messages one by one costs a few entries and commands.
func TestMarksOfASecondGoTogether(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		alice, bob, _ := usersApart(8)
		const messages = 1000
		for i := range messages {
			s.send(alice, string(bob), fmt.Sprint("c", i), "x")
		}
		head := func(user godwit.UserID) godwit.Seq {
			return s.ask(user, &godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Limit: 1}}).Sync.Head
		}
		before := s.store.count
		for i := range messages { // 50 a second, without an answer wanted
			f := &godwit.ClientFrame{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte(alice), Read: godwit.Seq(i + 1)}}
			s.service.Request(1, bob, f)
			if i%5 == 4 {
				s.tick(1)
			}
		}
		s.tick(markRestTicks)
		marks, receipts := head(bob)-messages, head(alice)-messages
		commands := s.store.count - before
		t.Logf("%d messages read in %d s: %d entries of the reader, %d of the sender, %d commands", messages, messages/50, marks, receipts, commands)
		if marks < 2 || marks > 22 || receipts != marks || commands > 3*uint64(marks) {
			t.Errorf("%d entries of bob, %d of alice, %d commands", marks, receipts, commands)
		}
		r := s.ask(bob, &godwit.ClientFrame{Kind: godwit.KindConversations})
		if item := r.Conversations.Items[0]; item.Unread != 0 || item.Read != messages {
			t.Errorf("%+v", item)
		}
		r = s.ask(alice, &godwit.ClientFrame{Kind: godwit.KindConversations})
		if item := r.Conversations.Items[0]; item.PeerRead != messages || item.PeerDelivered != messages {
			t.Errorf("%+v", item)
		}
		s.tick(2 * markRestTicks)
		if n := len(s.service.marks.resting); n != 0 {
			t.Errorf("%d conversations rest for ever", n)
		}
	})
}

// With as many conversations at rest as may be, marks go at once.
func TestMarksBeyondTheTableGoAtOnce(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		s.send("alice", "bob", "c1", "one")
		s.send("alice", "bob", "c2", "two")
		m := &s.service.marks
		m.mu.Lock()
		m.resting = map[markKey]*gatheredMarks{}
		for i := range marksMax {
			m.resting[markKey{"other", fmt.Sprint(i)}] = &gatheredMarks{}
		}
		m.mu.Unlock()
		for read := range godwit.Seq(2) {
			r := s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte("alice"), Read: read + 1}})
			if r.Kind != godwit.KindDone || r.Done.Dup {
				t.Errorf("answer %+v", r)
			}
		}
		if n := len(m.resting); n != marksMax {
			t.Errorf("%d conversations rest", n)
		}
	})
}

// What is on a lane when the process ends arrives after the restart, in order:
// messages by their entries, other items by their rows.
func TestReceiptsAndEditsOutliveARestartOnTheirLane(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		alice, bob, _ := usersApart(8)
		s.send(bob, string(alice), "b1", "one")
		s.freeze(s.store.Group(bob.Partition()))
		sent := s.send(alice, string(bob), "a1", "two")
		s.ask(alice, &godwit.ClientFrame{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte(bob), Read: 1}})
		s.ask(alice, &godwit.ClientFrame{Kind: godwit.KindEdit, Edit: godwit.Edit{
			MID: []byte(sent.MID.String()), Text: []byte("2"), HasText: true,
		}})
		s.send(alice, string(bob), "a2", "three")
		if n := s.outboxRows(); n != 4 {
			t.Fatalf("%d items wait", n)
		}
		s.restart()
		if n := s.outboxRows(); n != 0 {
			t.Errorf("%d items wait for ever", n)
		}
		conv := "u:" + string(alice)
		want := []string{
			"1 " + string(bob) + " " + conv + " one",
			"2 " + string(alice) + " " + conv + " 2",
			`{"ev":{"seq":3,"receipt":{"conv":"` + conv + `","user":"` + string(alice) + `","delivered":1,"read":1}}}`,
			"4/- edit " + string(alice) + " " + conv + " 2",
			"5 " + string(alice) + " " + conv + " three",
		}
		s.wantLog(bob, want...)
	})
}

// What was looked up before a group became a channel means other sequences.
func TestMarksOfBeforeTheChannelAreRefused(t *testing.T) {
	bubble(t, 1, func(c *Config) { c.Policy.ChannelAbove = 1 }, func(s *served) {
		g := s.createGroup("alice", "g1", "club", "bob")
		s.settle()
		peer := []byte("g:" + string(g.Group))
		mark := markCommand{user: []byte("bob"), peer: peer, read: 1, ordinal: 1}
		remove := conversationCommand{user: []byte("bob"), peer: peer, deleted: 1}
		for _, command := range [][]byte{mark.append(nil, 0), remove.append(nil, 0)} {
			w := &caught{}
			if err := s.store.Propose(0, command, w); err != nil {
				t.Fatal(err)
			}
			s.settle()
			w.outcome.mustBe(t, godwit.ErrUnavailable)
		}
	})
}
