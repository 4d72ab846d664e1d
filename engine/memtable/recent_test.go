package memtable

import (
	"bytes"
	"iter"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-im/godwit"
)

func mustRecent(t testing.TB, cfg RecentConfig) *Recent {
	t.Helper()
	c, err := NewRecent(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func backward(records []godwit.Record) iter.Seq[godwit.Record] {
	return func(yield func(godwit.Record) bool) {
		for _, r := range slices.Backward(records) {
			if !yield(r) {
				return
			}
		}
	}
}

// recentModel is one log: what segments hold, and what the cache should keep.
type recentModel struct {
	stored, kept []godwit.Record // ascending
	head         godwit.Seq
	from         godwit.Seq
	warm         bool
}

// keep selects by the definition: of the conversations with the newest last
// records, the newest records each. Whatever is not kept bounds from.
func (m *recentModel) keep(records []godwit.Record, conversations, perConversation int) {
	last := map[uint32]godwit.Seq{}
	for _, r := range records {
		last[r.Conv] = r.Seq
	}
	var newest []uint32
	for conv := range last {
		newest = append(newest, conv)
	}
	slices.SortFunc(newest, func(a, b uint32) int { return int(last[b]) - int(last[a]) })
	newest = newest[:min(len(newest), conversations)]
	var kept []godwit.Record
	for i, r := range records {
		later := 0
		for _, other := range records[i+1:] {
			if other.Conv == r.Conv {
				later++
			}
		}
		if slices.Contains(newest, r.Conv) && later < perConversation {
			kept = append(kept, r)
		} else {
			m.from = max(m.from, r.Seq+1)
		}
	}
	m.kept = kept
}

// TestRecentKeepsTheNewestOfTheNewest compares the cache with its definition,
// while logs grow, are flushed, loaded late, dropped and erased from.
func TestRecentKeepsTheNewestOfTheNewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := RecentConfig{
			BytesMax:        64 << 20,
			Conversations:   rapid.IntRange(1, 3).Draw(t, "conversations"),
			PerConversation: rapid.IntRange(1, 4).Draw(t, "perConversation"),
			Shards:          rapid.IntRange(1, 3).Draw(t, "shards"),
		}
		cache, err := NewRecent(cfg)
		if err != nil {
			t.Fatal(err)
		}
		models := [3]recentModel{}
		step := func(log godwit.LogID, m *recentModel) {
			switch rapid.SampledFrom([]string{"flush", "flush", "flush", "load", "stale", "drop"}).Draw(t, "step") {
			case "flush":
				extended := drawRun(t, m)
				m.stored = append(m.stored, extended...)
				if len(extended) == 0 {
					return
				}
				cache.Extend(log, backward(extended))
				if m.warm {
					if extended[0].Seq != m.head+1 {
						m.from = extended[0].Seq
					}
					m.head = extended[len(extended)-1].Seq
					m.keep(append(slices.Clone(m.kept), extended...), cfg.Conversations, cfg.PerConversation)
				}
				cache.Extend(log, backward(extended)) // again: it changes nothing
			case "load":
				mark := cache.Mark(log)
				m.load(t, cache, log, mark, cfg)
			case "stale":
				mark := cache.Mark(log)
				cache.Drop(log)
				m.warm = false
				if cache.Put(log, mark, 1, SeqMax, nil) {
					t.Fatal("records read before a Drop are believed")
				}
			case "drop":
				cache.Drop(log)
				m.warm = false
			}
		}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			log := rapid.IntRange(0, len(models)-1).Draw(t, "log")
			step(godwit.LogID(log), &models[log])
			for log := range models {
				models[log].compare(t, cache, godwit.LogID(log))
			}
		}
	})
}

// drawRun draws records that go on after the log's newest, perhaps with a hole.
func drawRun(t *rapid.T, m *recentModel) (run []godwit.Record) {
	next := godwit.Seq(1)
	if n := len(m.stored); n > 0 {
		next = m.stored[n-1].Seq + 1
	}
	next += godwit.Seq(rapid.SampledFrom([]int{0, 0, 0, 2}).Draw(t, "hole"))
	for range rapid.IntRange(0, 12).Draw(t, "run") {
		r := drawRecord(t, next, [][]byte{nil, {1, 2, 3}, bytes.Repeat([]byte{5}, 200)})
		r.Conv = rapid.Uint32Range(1, 5).Draw(t, "conv")
		run = append(run, r)
		next++
	}
	return run
}

// load puts the newest records of the log into the cache: all from a sequence
// on, and the last one before it as a stray.
func (m *recentModel) load(t *rapid.T, cache *Recent, log godwit.LogID, mark Mark, cfg RecentConfig) {
	first := rapid.IntRange(0, len(m.stored)).Draw(t, "load from")
	records, from := m.stored[first:], godwit.Seq(1)
	if first > 0 {
		from = m.stored[first-1].Seq + 1
		if first > 1 {
			records = append([]godwit.Record{m.stored[first-2]}, records...)
		}
	}
	m.head = 0
	if n := len(m.stored); n > 0 {
		m.head = m.stored[n-1].Seq
	}
	if !cache.Put(log, mark, from, m.head, records) {
		t.Fatal("the cache has room, but refuses a log")
	}
	m.warm, m.from = true, from
	m.keep(records, cfg.Conversations, cfg.PerConversation)
}

func (m *recentModel) compare(t *rapid.T, cache *Recent, log godwit.LogID) {
	if cache.Warm(log) != m.warm {
		t.Fatalf("log %d: warm is %v", log, !m.warm)
	}
	for _, want := range m.stored {
		kept := m.warm && slices.ContainsFunc(m.kept, func(k godwit.Record) bool { return k.Seq == want.Seq })
		got, ok := cache.Entry(log, want.Seq)
		if ok != kept || ok && !sameRecord(got, want) {
			t.Fatalf("entry %d of log %d is %s (%v), want %s (%v)", want.Seq, log, seqs([]godwit.Record{got}), ok, seqs([]godwit.Record{want}), kept)
		}
	}
	after := godwit.Seq(rapid.Uint64Range(0, uint64(m.head)+2).Draw(t, "after"))
	through := godwit.Seq(rapid.Uint64Range(0, uint64(m.head)+2).Draw(t, "through"))
	limit := rapid.IntRange(0, 10).Draw(t, "limit")
	bytesMax := rapid.SampledFrom([]int{0, 300, 1 << 20}).Draw(t, "bytesMax")
	got, ok := cache.Since(log, after, through, limit, bytesMax, nil)
	if want := m.warm && m.from <= after+1 && through <= m.head; ok != want {
		t.Fatalf("since %d to %d of log %d: exact is %v, want %v (it is complete from %d to %d)", after, through, log, ok, want, m.from, m.head)
	}
	if ok {
		old := slices.DeleteFunc(slices.Clone(m.stored), func(r godwit.Record) bool { return r.Seq > through })
		wantRecords(t, "since", got, seqsModel{log: old}.since(log, after, limit, bytesMax))
	}
}

// TestRecentCoolsTheLongestUnused fills a cache beyond its bound.
func TestRecentCoolsTheLongestUnused(t *testing.T) {
	cache := mustRecent(t, RecentConfig{BytesMax: 100_000, Shards: 1})
	record := func(seq godwit.Seq) []godwit.Record {
		return []godwit.Record{{Seq: seq, Conv: 1, Body: make([]byte, 1000)}}
	}
	put := func(log godwit.LogID) {
		t.Helper()
		if !cache.Put(log, cache.Mark(log), 1, 1, record(1)) {
			t.Fatalf("log %d is refused", log)
		}
		if st := cache.Stats(); st.Bytes > 100_000 {
			t.Fatalf("%d bytes are held", st.Bytes)
		}
	}
	for log := range godwit.LogID(50) {
		put(log)
	}
	if st := cache.Stats(); st.Logs != 50 || st.Cooled != 0 {
		t.Fatalf("%+v after 50 logs", st)
	}
	if _, ok := cache.Entry(0, 1); !ok {
		t.Fatal("log 0 is cold")
	}
	for log := godwit.LogID(50); cache.Stats().Cooled < 10; log++ {
		put(log)
	}
	warm := func(log godwit.LogID) bool { return cache.shards[0].get(log) != nil }
	for log := range godwit.LogID(12) {
		if want := log == 0 || log > 10; warm(log) != want {
			t.Fatalf("log %d: warm is %v", log, !want)
		}
	}
	// Growing cools others, and what outgrows the whole is cooled itself.
	before := cache.Stats()
	for seq := godwit.Seq(2); seq < 12; seq++ {
		cache.Extend(0, backward(record(seq)))
	}
	if st := cache.Stats(); st.Cooled == before.Cooled || !warm(0) || st.Bytes > 100_000 {
		t.Fatalf("%+v after log 0 grew, %+v before", st, before)
	}
	if cache.Put(1, cache.Mark(1), 1, 1, []godwit.Record{{Seq: 1, Body: make([]byte, 30_000)}}) {
		if records, _ := cache.Since(1, 0, 1, 9, 1<<30, nil); len(records) > 0 {
			t.Fatal("one log takes more than a quarter")
		}
	}
	cache.Clear()
	if st := cache.Stats(); st.Logs != 0 || st.Bytes != 0 || cache.Put(1, 0, 1, 0, nil) {
		t.Fatalf("%+v after Clear", st)
	}
}

// TestRecentOfNoBytesKeepsNothing: the cache can be switched off.
func TestRecentOfNoBytesKeepsNothing(t *testing.T) {
	cache := mustRecent(t, RecentConfig{})
	if cache.Put(1, cache.Mark(1), 1, 1, []godwit.Record{{Seq: 1}}) || cache.Warm(1) {
		t.Fatal("it keeps a log")
	}
	cache.Extend(1, backward([]godwit.Record{{Seq: 2}}))
	if _, ok := cache.Entry(1, 1); ok {
		t.Fatal("it keeps a record")
	}
	if st := cache.Stats(); st.Bytes != 0 || st.Misses != 1 || st.Hits != 0 {
		t.Fatalf("%+v", st)
	}
	for _, cfg := range []RecentConfig{{BytesMax: -1}, {Conversations: -1}, {PerConversation: -1}, {Shards: -1}, {Shards: 1 << 20}} {
		if _, err := NewRecent(cfg); err == nil {
			t.Fatalf("%+v is accepted", cfg)
		}
	}
}

// TestRecentRecordsStayAsTheyWere: what was read is not touched by what follows.
func TestRecentRecordsStayAsTheyWere(t *testing.T) {
	cache := mustRecent(t, RecentConfig{BytesMax: 1 << 20, Shards: 1})
	body := []byte("as it was")
	cache.Put(1, cache.Mark(1), 1, 1, []godwit.Record{{Seq: 1, Conv: 1, Meta: []byte("meta"), Body: body}})
	got, _ := cache.Entry(1, 1)
	copy(body, "something")
	for seq := godwit.Seq(2); seq < 100; seq++ {
		cache.Extend(1, backward([]godwit.Record{{Seq: seq, Conv: 1, Body: []byte("other one")}}))
	}
	cache.Drop(1)
	if string(got.Body) != "as it was" || string(got.Meta) != "meta" || cap(got.Meta) != 4 || cap(got.Body) != 9 {
		t.Fatalf("the record became %q %q", got.Meta, got.Body)
	}
}

// TestAnExtendGoesOnFromWhatIsThere: the log is loaded again, and another one is
// dropped, while a flush extends it.
func TestAnExtendGoesOnFromWhatIsThere(t *testing.T) {
	cache := mustRecent(t, RecentConfig{BytesMax: 1 << 20, Shards: 1})
	record := func(seq godwit.Seq) godwit.Record { return godwit.Record{Seq: seq, Conv: 1} }
	cache.Put(1, cache.Mark(1), 3, 3, []godwit.Record{record(3)})
	calls := 0
	extend := func(meanwhile func()) {
		cache.Extend(1, func(yield func(godwit.Record) bool) {
			if calls++; calls == 1 {
				meanwhile()
			}
			yield(record(4))
		})
	}
	extend(func() {
		cache.Put(1, cache.Mark(1), 1, 3, []godwit.Record{record(1), record(2), record(3)})
	})
	got, ok := cache.Since(1, 0, 4, 10, 100, nil)
	if !ok || calls != 2 {
		t.Fatalf("%v after %d calls", ok, calls)
	}
	wantRecords(t, "since", got, []godwit.Record{record(1), record(2), record(3), record(4)})
	if mark := cache.Mark(1); !cache.Put(1, mark, 3, 3, []godwit.Record{record(3)}) {
		t.Fatal("a log that is warm already is refused")
	}
	if _, ok := cache.Since(1, 0, 4, 10, 100, nil); !ok {
		t.Fatal("a late Put replaces newer records")
	}
	calls = 0
	extend(func() { cache.Drop(1) })
	if cache.Warm(1) {
		t.Fatal("Extend brings a dropped log back")
	}
}

// TestRecentIsSafeForConcurrentUse is for the race detector, and checks that
// nobody sees a record that was never put.
func TestRecentIsSafeForConcurrentUse(t *testing.T) {
	cache := mustRecent(t, RecentConfig{BytesMax: 40_000, Shards: 2})
	record := func(log godwit.LogID, seq godwit.Seq) godwit.Record {
		return godwit.Record{Seq: seq, Conv: 1, Body: bytes.Repeat([]byte{byte(log), byte(seq)}, 50)}
	}
	const logs, rounds = 50, 300
	var wg sync.WaitGroup
	wg.Go(func() { // as flushes
		for i := range rounds {
			for log := range godwit.LogID(logs) {
				cache.Extend(log, backward([]godwit.Record{record(log, godwit.Seq(i+1))}))
			}
		}
	})
	wg.Go(func() { // as logins and logouts
		for i := range logs * rounds {
			log := godwit.LogID(i % logs)
			mark := cache.Mark(log)
			cache.Put(log, mark, 1, 1, []godwit.Record{record(log, 1)})
			if i%7 == 0 {
				cache.Drop(log)
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			for i := range logs * rounds {
				log := godwit.LogID(i % logs)
				records, _ := cache.Since(log, godwit.Seq(i%rounds), godwit.Seq(i%rounds), 9, 1<<20, nil)
				if r, ok := cache.Entry(log, godwit.Seq(i%rounds)); ok {
					records = append(records, r)
				}
				for _, r := range records {
					if want := record(log, r.Seq); !sameRecord(r, want) {
						t.Errorf("record %d of log %d is %s", r.Seq, log, seqs([]godwit.Record{r}))
					}
				}
			}
		})
	}
	wg.Wait()
	if st := cache.Stats(); st.Bytes > 40_000 || st.Hits+st.Misses < 2*logs*rounds {
		t.Errorf("%+v", st)
	}
}
