package edge

import (
	"testing"

	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

// TestRegroupKeepsEachSessionsOrder: nothing is lost, a session's items stand
// side by side in the order of their arrival, and so a fetch and its entries.
func TestRegroupKeepsEachSessionsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.SampledFrom([]int{3, 1000, slotsMax}).Draw(t, "slots")
		stride := uint32(rapid.IntRange(1, slots).Draw(t, "stride"))
		var ls letters
		arrived := map[godwit.SessionID][]item{}
		put := func(it item) {
			it.to = godwit.Seq(len(ls.items)) // its number
			ls.items = append(ls.items, it)
			arrived[it.session] = append(arrived[it.session], it)
		}
		count := regroupMin + rapid.IntRange(0, 5000).Draw(t, "more")
		for n := uint32(0); len(ls.items) < count; n++ {
			s := makeID(0, 0, n*stride%uint32(slots), 1+n%2)
			if n%7 == 0 {
				put(item{kind: itemFetched, session: s, extra: 2})
				put(item{kind: itemEntry, session: s})
				put(item{kind: itemEntry, session: s})
			}
			put(item{kind: itemHint, session: s})
		}
		total := len(ls.items)
		free := ls.regroup(make([]item, 0, rapid.IntRange(0, 2*count).Draw(t, "spare")))
		if len(ls.items) != total || free == nil || len(free) != 0 {
			t.Fatalf("%d items of %d, %d in the free array", len(ls.items), total, len(free))
		}
		for i, it := range ls.items {
			want := arrived[it.session]
			if len(want) == 0 || want[0] != it {
				t.Fatalf("item %d is %+v, want the first of %+v", i, it, want)
			}
			arrived[it.session] = want[1:]
			if it.kind == itemFetched {
				for e := range it.extra {
					if entry := ls.items[i+1+int(e)]; entry.kind != itemEntry || entry.session != it.session {
						t.Fatalf("entry %d of a fetch is %+v", e, entry)
					}
				}
			}
			if i > 0 && slots <= regroupBuckets && idSlot(it.session) < idSlot(ls.items[i-1].session) {
				t.Fatalf("slot %d stands behind slot %d", idSlot(it.session), idSlot(ls.items[i-1].session))
			}
		}
	})
}

func TestRegroupLeavesSmallAndCommonItemsAlone(t *testing.T) {
	f := func(count, common int) {
		t.Helper()
		var ls letters
		for i := range count {
			ls.items = append(ls.items, item{session: makeID(0, 0, uint32(count-i), 1)})
		}
		if common >= 0 {
			ls.items[common] = item{kind: itemGoaway}
		}
		first := &ls.items[0]
		if free := ls.regroup(nil); free != nil || &ls.items[0] != first || idSlot(ls.items[1].session) != uint32(count-1) {
			t.Errorf("%d items, with one for all at %d, were moved", count, common)
		}
	}
	f(regroupMin-1, -1)
	f(regroupMin, regroupMin-1)
	f(regroupMin, 0)
}

// TestBacklogIsOneWritePerSessionAndPortion: a flood that goes round many
// sessions is written with several frames at a time.
func TestBacklogIsOneWritePerSessionAndPortion(t *testing.T) {
	const count, rounds = 1000, 16
	e, l, ids := liveSessions(t, count)
	entry := entryOf(1, "a message of the usual length, which is about a hundred bytes with its frame")
	for range rounds {
		entry.Seq++
		for i := range ids {
			e.Deliver(ids[i:i+1], &entry)
		}
	}
	for e.Stats().QueueItems > 0 || l.box.pos < len(l.box.cur.items) {
		l.drain()
	}
	writes := 0
	for _, id := range ids {
		writes += l.sessions.find(id).conn.(*nullConn).writes
	}
	if most := count + count*rounds/drainItems; writes > most {
		t.Errorf("%d writes for %d frames to %d sessions, want at most %d", writes, count*rounds, count, most)
	}
	if got := l.stats.events.Load(); got != count*rounds {
		t.Errorf("%d events were written, want %d", got, count*rounds)
	}
}
