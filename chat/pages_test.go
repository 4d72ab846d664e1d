package chat

import (
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

func seqsOf(entries []godwit.Entry) (seqs []godwit.Seq) {
	for i := range entries {
		seqs = append(seqs, entries[i].Seq)
	}
	return seqs
}

func TestSyncPagesTheLog(t *testing.T) {
	bubble(t, 1, func(c *Config) { c.PageMax, c.PageBytesMax = 4, 400 }, func(s *served) {
		for i := range 10 {
			s.send("alice", "bob", fmt.Sprint("c", i), "x")
		}
		f := func(sync godwit.Sync, want ...godwit.Seq) {
			t.Helper()
			r := s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindSync, Sync: sync})
			if r.Kind != godwit.KindSync || r.Sync.Head != 10 || !slices.Equal(seqsOf(r.Sync.Entries), want) {
				t.Errorf("sync %+v: head %d, %v, want %v", sync, r.Sync.Head, seqsOf(r.Sync.Entries), want)
			}
		}
		f(godwit.Sync{}, 1, 2, 3, 4)
		f(godwit.Sync{Since: 4, Limit: 2}, 5, 6)
		f(godwit.Sync{Since: 8, Limit: 1000}, 9, 10)
		f(godwit.Sync{Since: 10})
		f(godwit.Sync{From: 3, To: 3}, 3)
		f(godwit.Sync{From: 3, To: 5}, 3, 4, 5)
		f(godwit.Sync{From: 3, To: 5, Limit: 2}, 3, 4)
		f(godwit.Sync{From: 9, To: 50}, 9, 10)
		f(godwit.Sync{From: 11, To: 50})
		for i := range 3 {
			s.send("carol", "dave", fmt.Sprint("c", i), string(make([]byte, 300)))
		}
		if r := s.ask("dave", &godwit.ClientFrame{Kind: godwit.KindSync}); len(r.Sync.Entries) != 1 || r.Sync.Head != 3 {
			t.Errorf("a page of 400 bytes has %d entries of 300", len(r.Sync.Entries))
		}
		if r := s.ask("nobody", &godwit.ClientFrame{Kind: godwit.KindSync}); r.Kind != godwit.KindSync || r.Sync.Head != 0 {
			t.Errorf("a user nobody named: %+v", r)
		}
		s.wantError(s.ask("nobody", &godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Since: 1}}), godwit.ErrBadCursor)
	})
}

func TestFetchReadsAfterASequence(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		for i := range 10 {
			s.send("alice", "bob", fmt.Sprint("c", i), "x")
		}
		f := func(after godwit.Seq, limit int, wantErr bool, want ...godwit.Seq) {
			t.Helper()
			s.edge.fetched = nil
			s.service.Fetch(1, "alice", after, limit, 1<<20)
			s.settle()
			if len(s.edge.fetched) != 1 {
				t.Fatalf("%d answers", len(s.edge.fetched))
			}
			if a := s.edge.fetched[0]; (a.err != nil) != wantErr || !wantErr && a.head != 10 || !slices.Equal(seqsOf(a.entries), want) {
				t.Errorf("fetch after %d: %v %d %v, want %v", after, seqsOf(a.entries), a.head, a.err, want)
			}
		}
		f(0, 3, false, 1, 2, 3)
		f(8, 100, false, 9, 10)
		f(10, 100, false)
		f(11, 100, true)
	})
}

func TestHistoryPagesOneConversation(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		for i := range 10 { // alice's log: bob at odd sequences, carol at even ones
			s.send("alice", "bob", fmt.Sprint("c", i), "x")
			s.send("carol", "alice", fmt.Sprint("c", i), "x")
		}
		f := func(h godwit.History, more bool, want ...godwit.Seq) {
			t.Helper()
			r := s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindHistory, History: h})
			if r.Kind != godwit.KindHistory || r.History.More != more || !slices.Equal(seqsOf(r.History.Entries), want) {
				t.Errorf("history %+v: %v %v, want %v %v", h, seqsOf(r.History.Entries), r.History.More, want, more)
			}
		}
		bob, carol := []byte("u:bob"), []byte("carol")
		f(godwit.History{Conv: bob, Limit: 3}, true, 15, 17, 19)
		f(godwit.History{Conv: bob, Limit: 3, Before: 15}, true, 9, 11, 13)
		f(godwit.History{Conv: bob, Limit: 3, Before: 6}, false, 1, 3, 5)
		f(godwit.History{Conv: bob, Before: 1}, false)
		f(godwit.History{Conv: carol, HasAfter: true, Limit: 2}, true, 2, 4)
		f(godwit.History{Conv: carol, After: 16, HasAfter: true}, false, 18, 20)
		f(godwit.History{Conv: carol, After: 20}, false)
		f(godwit.History{Conv: []byte("dave")}, false)
	})
}

func TestConversationsAreNewestFirstWithExactUnread(t *testing.T) {
	for _, groups := range []int{1, 8} {
		bubble(t, groups, func(c *Config) { c.PageMax = 3 }, func(s *served) {
			for round := range 3 {
				for peer := range 7 {
					if peer >= round*2 {
						s.send(godwit.UserID(fmt.Sprint("peer", peer)), "alice", fmt.Sprint("r", round), fmt.Sprint(round))
					}
				}
			}
			s.send("alice", "peer0", "c", "mine")
			var got []string
			next := []byte(nil)
			for page := 0; ; page++ {
				r := s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindConversations, Conversations: godwit.Conversations{Next: next}})
				if r.Kind != godwit.KindConversations || r.Conversations.AsOf != 16 || page > 3 || len(r.Conversations.Items) > 3 {
					t.Fatalf("page %d: %+v", page, r)
				}
				for _, item := range r.Conversations.Items {
					if string(item.Last.Msg.Conv) != string(item.Conv) {
						t.Errorf("last of %s is of %s", item.Conv, item.Last.Msg.Conv)
					}
					got = append(got, fmt.Sprintf("%s %d %s", item.Conv, item.Unread, item.Last.Msg.Body))
				}
				if next = []byte(r.Conversations.Next); len(next) == 0 {
					break
				}
			}
			want := []string{
				"u:peer0 1 mine", "u:peer6 3 2", "u:peer5 3 2", "u:peer4 3 2", "u:peer3 2 1", "u:peer2 2 1", "u:peer1 1 0",
			}
			if !slices.Equal(got, want) {
				t.Errorf("conversations %q, want %q", got, want)
			}
			r := s.ask("nobody", &godwit.ClientFrame{Kind: godwit.KindConversations})
			if r.Kind != godwit.KindConversations || len(r.Conversations.Items) != 0 || r.Conversations.AsOf != 0 {
				t.Errorf("a user nobody named: %+v", r)
			}
		})
	}
}

func TestTrimKeepsDedupRowsBounded(t *testing.T) {
	bubble(t, 1, func(c *Config) { c.Genesis.DedupSends = 50 }, func(s *served) {
		for i := range trimEvery {
			s.service.Request(1, "alice", withID(uint64(i+1), sendFrame("bob", fmt.Sprint("c", i), "x")))
		}
		s.settle()
		rows := 0
		for key := range s.store.groups[0].rows {
			if key[2] == rowDedup {
				rows++
			}
		}
		if rows != 50 {
			t.Errorf("%d dedup rows after %d sends with a window of 50", rows, trimEvery)
		}
		s.edge.replies = map[uint64][]godwit.ServerFrame{}
		if r := s.send("alice", "bob", fmt.Sprint("c", trimEvery-50), "x"); !r.Dup {
			t.Error("an id inside the window was trimmed")
		}
	})
}
