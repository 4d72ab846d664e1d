package engine

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

// openApp reads what an app shows first: the last entry of each conversation
// and a page of 15 of the newest five.
func openApp(t *testing.T, s *Store, log LogID, newest []Newest) (entries int) {
	t.Helper()
	v := s.View(s.Group(log.Partition()))
	defer v.Close()
	for _, c := range newest {
		if e, ok := v.Entry(log, c.Seq); !ok || e.Conv != c.Conv {
			t.Fatalf("conversation %d: entry %d: %+v, %v", c.Conv, c.Seq, e, ok)
		}
		page, _ := v.Conversation(log, c.Conv, Page{Newest: c.Seq, Limit: WarmEntries, BytesMax: 1 << 20}, nil)
		entries += len(page)
	}
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	return entries
}

// blockReads counts what segments were asked for, hits of the block cache too.
func blockReads(s *Store) uint64 {
	st := s.Stats()
	return st.CacheHits + st.CacheMisses
}

// A user who was online lately opens the app: 5 conversations by 15 messages,
// some of them written since, and checkpointed since, without a look at a segment.
func TestOpeningTheAppOfAWarmUserReadsNoSegment(t *testing.T) {
	s := mustOpen(t, testConfig(t, vfs.NewMem(), 1), newAppender(1))
	defer mustClose(t, s)
	const users, perConversation = 20, 40
	newest := map[LogID][]Newest{}
	write := func(n, rounds int) {
		for i := range rounds {
			for conv := range uint32(8) {
				seq := propose(t, s, logOf(n), conv+1, fmt.Sprintf("message %d of %d", i, conv))
				if list := newest[logOf(n)]; conv >= 3 { // 4 to 8 are the newest five
					if len(list) < 5 {
						newest[logOf(n)] = append(list, Newest{Conv: conv + 1, Seq: seq})
					} else {
						list[conv-3].Seq = seq
					}
				}
			}
		}
	}
	for n := range users {
		write(n, perConversation)
		if err := s.Checkpoint(); n%5 == 4 && err != nil {
			t.Fatal(err)
		}
	}
	for n := range users {
		v := s.View(0)
		if v.IsWarm(logOf(n)) {
			t.Fatal("a log in segments is warm before Warm")
		}
		v.Warm(logOf(n), newest[logOf(n)])
		v.Close()
	}
	for round := range 4 {
		before := blockReads(s)
		for n := range users {
			if got := openApp(t, s, logOf(n), newest[logOf(n)]); got != 5*WarmEntries {
				t.Fatalf("round %d: user %d got %d messages", round, n, got)
			}
			v := s.View(0)
			if !v.IsWarm(logOf(n)) {
				t.Fatalf("round %d: user %d is cold", round, n)
			}
			v.Close()
		}
		if reads := blockReads(s) - before; reads != 0 {
			t.Fatalf("round %d: %d blocks of segments were read", round, reads)
		}
		for n := range users {
			write(n, 1+round*8)
		}
		if round%2 == 0 {
			if err := s.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
	}
	st := s.Stats().Recent
	t.Logf("%d users online, %d bytes each, %d hits, %d misses", st.Logs, st.Bytes/st.Logs, st.Hits, st.Misses)
	if st.Logs != users || st.Bytes/st.Logs > 16<<10 {
		t.Errorf("recent cache: %+v", st)
	}
}

func TestRecentCacheIsBounded(t *testing.T) {
	cfg := testConfig(t, vfs.NewMem(), 1)
	cfg.RecentBytes = 256 << 10
	s := mustOpen(t, cfg, newAppender(1))
	defer mustClose(t, s)
	for n := range 100 {
		for range 20 {
			propose(t, s, logOf(n), 1, string(make([]byte, 500)))
		}
	}
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		v := s.View(0)
		v.Warm(logOf(n), []Newest{{Conv: 1, Seq: 20}})
		v.Close()
	}
	if st := s.Stats().Recent; st.Bytes > cfg.RecentBytes || st.Logs == 0 || st.Cooled == 0 {
		t.Errorf("recent cache: %+v", st)
	}
	// What is not in it comes from the segment, all the same.
	for n := range 100 {
		if got := openApp(t, s, logOf(n), []Newest{{Conv: 1, Seq: 20}}); got != 15 {
			t.Fatalf("user %d got %d messages", n, got)
		}
	}
}

func TestErasedEntriesLeaveTheRecentCache(t *testing.T) {
	m := newAppender(1)
	s := mustOpen(t, testConfig(t, vfs.NewMem(), 1), m)
	defer mustClose(t, s)
	for range 20 {
		propose(t, s, logOf(0), 1, "secret")
	}
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	v := s.View(0)
	v.Warm(logOf(0), []Newest{{Conv: 1, Seq: 20}})
	v.Close()
	s.groups[0].state.mu.Lock()
	tx := &s.groups[0].tx
	tx.Erase(logOf(0), 20)
	s.groups[0].state.erased, tx.erased = tx.erased, nil
	s.groups[0].state.mu.Unlock()
	for range 2 {
		v = s.View(0)
		if e, ok := v.Entry(logOf(0), godwit.Seq(20)); ok {
			t.Errorf("an erased entry is seen: %+v", e)
		}
		if got := v.Since(logOf(0), 0, 100, 1<<20, nil); len(got) != 0 {
			t.Errorf("%d erased entries are seen", len(got))
		}
		v.Close()
		if err := s.EraseNow(); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); st.Recent.Logs != 0 || st.Erasures == 0 || st.OldestErasure != 0 {
		t.Errorf("after the pass: %+v", st)
	}
}
