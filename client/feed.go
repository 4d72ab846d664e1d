package client

import (
	"slices"
	"sort"

	"github.com/godwit-im/godwit"
)

// Bounds of what the feed holds. At them an entry is turned away as if it had
// never come; the feed remembers that it is owed and asks for it later.
const (
	readyMax      = 1024    // items in order that the application has not taken
	readyBytesMax = 4 << 20 // their bodies
	aheadMax      = 1024    // entries beyond a hole
)

// feed puts the entries of one log into sequence order. It is pure: no clock,
// no network. Entries given to it must be owned copies.
type feed struct {
	self       godwit.UserID  // whose log it is; empty before the first connect reply
	epoch      string         // incarnation of the log
	cursor     godwit.Seq     // everything up to here went into ready, once and in order
	owed       godwit.Seq     // entries up to here exist and must be fetched if they don't come
	ordinal    uint64         // of the last item that went into ready
	generation uint64         // rises with each jump: an ack speaks of one generation only
	ready      []Item         // in order, not yet taken by the application
	readyBytes int            // bodies in ready
	ahead      []godwit.Entry // beyond a hole: sorted by Seq, each above cursor+1, no Seq twice
}

// end returns the last sequence an entry covers.
func end(e *godwit.Entry) godwit.Seq { return max(e.Seq, e.SkipTo) }

// offer takes an entry or skip range in any order, any number of times.
func (f *feed) offer(e godwit.Entry) {
	if end(&e) <= f.cursor {
		return
	}
	if e.Seq > f.cursor+1 {
		f.owed = max(f.owed, e.Seq-1)
		f.park(e)
		return
	}
	if !f.accept(e) {
		f.owed = max(f.owed, end(&e))
		return
	}
	f.advance()
}

// accept appends the entry that follows the cursor; false when ready is full.
func (f *feed) accept(e godwit.Entry) bool {
	if f.full() {
		return false
	}
	if e.IsSkip() {
		e.Seq = f.cursor + 1 // the part below was delivered or skipped already
	}
	f.cursor = end(&e)
	f.readyBytes += len(e.Msg.Body)
	f.push(Item{Entry: e, left: f.left(&e)})
	return true
}

// left returns the group that an entry says the user is no longer in.
func (f *feed) left(e *godwit.Entry) godwit.ConversationID {
	if e.Kind != godwit.EntryGroup || e.IsSkip() {
		return ""
	}
	g := e.Group
	if g.Do == godwit.GroupLeave && g.By == f.self || g.Do == godwit.GroupRemove && slices.Contains(g.Users, f.self) {
		return g.Conv
	}
	return ""
}

func (f *feed) full() bool { return len(f.ready) >= readyMax || f.readyBytes >= readyBytesMax }

func (f *feed) push(item Item) {
	f.ordinal++
	item.ordinal, item.generation, item.At = f.ordinal, f.generation, Position{f.epoch, f.cursor}
	f.ready = append(f.ready, item)
}

// park keeps an entry beyond the hole. When full, the farthest one gives way:
// the nearest are needed first, and what is dropped is owed.
func (f *feed) park(e godwit.Entry) {
	at := sort.Search(len(f.ahead), func(i int) bool { return f.ahead[i].Seq >= e.Seq })
	if at < len(f.ahead) && f.ahead[at].Seq == e.Seq {
		return
	}
	f.ahead = slices.Insert(f.ahead, at, e)
	if len(f.ahead) > aheadMax {
		last := len(f.ahead) - 1
		f.owed = max(f.owed, end(&f.ahead[last]))
		f.ahead[last] = godwit.Entry{}
		f.ahead = f.ahead[:last]
	}
}

// advance moves parked entries that the cursor has reached.
func (f *feed) advance() {
	n := 0
	for ; n < len(f.ahead) && f.ahead[n].Seq <= f.cursor+1; n++ {
		if end(&f.ahead[n]) > f.cursor && !f.accept(f.ahead[n]) {
			break
		}
	}
	f.ahead = slices.Delete(f.ahead, 0, n)
}

// missing returns where a fetch must begin, if entries are owed and a page of
// them would find room.
func (f *feed) missing(page int) (since godwit.Seq, ok bool) {
	room := len(f.ready)+page <= readyMax && f.readyBytes < readyBytesMax
	return f.cursor, room && f.owed > f.cursor
}

// next is the item the application gets now.
func (f *feed) next() (Item, bool) {
	if len(f.ready) == 0 {
		return Item{}, false
	}
	return f.ready[0], true
}

// take removes the item that next returned.
func (f *feed) take() {
	f.readyBytes -= len(f.ready[0].Entry.Msg.Body)
	f.ready[0] = Item{}
	if f.ready = f.ready[1:]; len(f.ready) == 0 {
		f.ready = nil
	}
	f.advance()
}

// jump gives up everything between the cursor and to, and says so in order. Two
// jumps with nothing between them become one.
func (f *feed) jump(reason string, to Position) {
	gap := &Discontinuity{Reason: reason, From: Position{f.epoch, f.cursor}, To: to}
	if n := len(f.ready); n > 0 && f.ready[n-1].Gap != nil && f.ready[n-1].Gap.Conv == "" {
		gap.From = f.ready[n-1].Gap.From
		f.ready = f.ready[:n-1]
	}
	f.generation++
	f.epoch, f.cursor, f.owed, f.ahead = to.Epoch, to.Seq, to.Seq, nil
	f.push(Item{Gap: gap})
}

// jumpChannel says in order that entries of a channel between two of its sequences
// were not and will not be delivered.
func (f *feed) jumpChannel(conv godwit.ConversationID, from, to godwit.Seq) {
	f.push(Item{Gap: &Discontinuity{Reason: "too_far", Conv: conv, From: Position{Seq: from}, To: Position{Seq: to}}})
}
