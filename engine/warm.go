package engine

import (
	"cmp"
	"slices"

	"github.com/godwit-im/godwit"
)

// The recent cache makes it cheap to open the app: the newest messages of the
// newest conversations of a user who is, or lately was, online are in memory,
// whether they are in a memtable or already in a segment. It is filled when the
// user comes (Warm) and kept up by checkpoints; the longest unused logs go first.

// What Warm keeps of a log; see memtable.RecentConfig. One entry more than a page
// tells whether there is a next page.
const (
	WarmConversations = 5
	WarmEntries       = 15 // of each conversation
	warmKept          = WarmEntries + 1
)

// Newest is the shared noun: see godwit.Newest.
type Newest = godwit.Newest

// IsWarm reports whether log needs no Warm: its newest messages are in memory.
func (v *View) IsWarm(log LogID) bool {
	v.touch(log)
	for next := v.walk.generation; next != 0; {
		if !v.inMemory(next) {
			return v.store.recent.Warm(log)
		}
		next = v.pieceAt(next).older
	}
	return true // nothing of it is in a segment
}

// Warm reads the newest WarmEntries of up to WarmConversations conversations of
// log into the recent cache. It costs a few reads of the disk.
func (v *View) Warm(log LogID, conversations []Newest) {
	mark := v.store.recent.Mark(log)
	v.touch(log)
	stored := v.walk.head // what segments hold ends here
	for next := v.walk.generation; next != 0 && v.inMemory(next); {
		at := v.pieceAt(next)
		stored, next = at.first-1, at.older
	}
	var entries []Entry
	for _, c := range conversations[:min(len(conversations), WarmConversations)] {
		seq := min(c.Seq, v.walk.head)
		for n := 0; n < warmKept && seq != 0; n++ {
			e, ok := v.find(seq)
			if !ok || e.Conv != c.Conv || v.erased.has(log, &e) {
				break
			}
			if e.Seq <= stored {
				entries = append(entries, e)
			}
			seq = e.Prev
		}
	}
	if v.err != nil {
		return
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	from := stored + 1
	for i := len(entries) - 1; i >= 0 && entries[i].Seq == from-1; i-- {
		from--
	}
	v.store.recent.Put(log, mark, from, stored, entries)
}

// extendRecent adds what a checkpoint wrote to the logs that are warm. It comes
// before the memtable goes, so that the cache never knows less than it claims.
func (s *Store) extendRecent(f *freezing) {
	for log := range f.layer.table.All() {
		s.recent.Extend(log, f.layer.table.Backward(log))
	}
}
