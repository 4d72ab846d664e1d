package edge

import "github.com/godwit-im/godwit"

// delivery decides what one session is shown of its user's log. It is pure: its
// callers write frames and ask for fetches as the returned want says.
//
// Invariants: acked <= cursor; cursor never goes back and never moves over a
// position that was not written as an event or a skip; at most one fetch is out.
type delivery struct {
	cursor godwit.Seq // last sequence written to the client
	head   godwit.Seq // newest sequence heard of
	acked  godwit.Seq // the client said it holds everything up to here
	target godwit.Seq // the replay ends here; meaningful while resuming

	// What was written and not acked, in two buckets, because an ack frees an
	// exact number of bytes only at a boundary remembered with it. The older
	// one ends at olderTo.
	olderTo     godwit.Seq
	older       bucket
	newer       bucket
	live        bool // between opened and the end
	resuming    bool // the resumed frame is still due
	fetching    bool // one Fetch is out
	progress    bool // the cursor moved since that Fetch was asked for
	fetchFailed bool // no gap fetch before the next compare
	paused      bool // between pause and reopened: nothing is shown or asked for
}

type bucket struct{ events, bytes uint32 }

// window bounds what may be written and not acked.
type window struct{ events, bytes uint32 }

// want is what the caller must do now, in the order of the fields.
type want struct {
	write   bool // write the entry just shown
	resumed bool // then write resumed{cursor}
	fetch   bool // then ask for the log after cursor; the machine counts it as out
}

// opened starts delivery after start; hints seen before only raised head. With
// resumed the client is told when the replay up to head is over.
func (d *delivery) opened(w window, start, head godwit.Seq, resumed bool) want {
	d.live = true
	d.cursor, d.acked = start, start
	d.head = max(d.head, head)
	d.target, d.resuming = head, resumed
	return want{resumed: d.takeResumed(), fetch: d.takeFetch(w)}
}

// pause ends all that was asked for. The client goes on to acknowledge.
func (d *delivery) pause() { d.paused, d.fetching = true, false }

// reopened goes on after a pause, with the log's head of now.
func (d *delivery) reopened(w window, head godwit.Seq) want {
	d.paused, d.fetchFailed = false, false
	d.head = max(d.head, head)
	return want{fetch: d.takeFetch(w)}
}

// hint is a live notification that seq..to (to == seq for an event) exist; the
// entry takes size bytes when written.
func (d *delivery) hint(w window, seq, to godwit.Seq, size int) want {
	d.head = max(d.head, to)
	if !d.live || d.paused || to <= d.cursor {
		return want{}
	}
	if seq > d.cursor+1 {
		return want{fetch: !d.fetchFailed && d.takeFetch(w)}
	}
	return d.take(w, to, size)
}

// heard is a hint whose entry did not come with it.
func (d *delivery) heard(w window, to godwit.Seq) want {
	d.head = max(d.head, to)
	return want{fetch: d.live && !d.fetchFailed && d.takeFetch(w)}
}

// entry is one entry of a fetch's answer, in ascending order. What does not
// follow the cursor is left: a gap here is the answer's fault, and asking again
// at once would only repeat it.
func (d *delivery) entry(w window, seq, to godwit.Seq, size int) want {
	if !d.live || d.paused || to <= d.cursor || seq > d.cursor+1 {
		return want{}
	}
	return d.take(w, to, size)
}

// fetched ends a fetch after its entries. An answer that moved nothing, or a
// failure, is asked for again only at the next compare.
func (d *delivery) fetched(w window, head godwit.Seq, failed bool) want {
	if !d.live || !d.fetching {
		return want{}
	}
	d.fetching, d.fetchFailed = false, failed
	d.head = max(d.head, head)
	return want{fetch: !failed && d.progress && d.takeFetch(w)}
}

// ack frees the window up to seq; ok is false for a sequence never written.
// Going back is allowed and means nothing.
func (d *delivery) ack(w window, seq godwit.Seq) (next want, ok bool) {
	if !d.live || seq > d.cursor {
		return want{}, false
	}
	if seq <= d.acked {
		return want{}, true
	}
	d.acked = seq
	if seq == d.cursor {
		d.older, d.newer = bucket{}, bucket{}
	} else if d.older.events > 0 && seq >= d.olderTo {
		d.older = bucket{}
		d.age(w)
	}
	return want{fetch: !d.fetchFailed && d.takeFetch(w)}, true
}

// compare is the slow check against the log's head: it asks even when nothing
// is known to be missing, because any hint may have been lost.
func (d *delivery) compare(w window) want {
	if !d.live || d.paused || d.fetching || !d.open(w) {
		return want{}
	}
	d.fetchFailed, d.fetching, d.progress = false, true, false
	return want{fetch: true}
}

// room says how many events and bytes the window still takes.
func (d *delivery) room(w window) (events, bytes uint32) {
	return w.events - min(w.events, d.older.events+d.newer.events),
		w.bytes - min(w.bytes, d.older.bytes+d.newer.bytes)
}

func (d *delivery) open(w window) bool {
	events, bytes := d.room(w)
	return events > 0 && bytes > 0
}

// take writes the entry that follows the cursor, if the window is open.
func (d *delivery) take(w window, to godwit.Seq, size int) want {
	if !d.open(w) {
		return want{}
	}
	d.cursor = to
	d.progress = true
	d.newer.events++
	d.newer.bytes += uint32(size)
	d.age(w)
	return want{write: true, resumed: d.takeResumed()}
}

// age makes the newer bucket the older one once it holds half a window.
func (d *delivery) age(w window) {
	if d.older.events == 0 && (d.newer.events >= (w.events+1)/2 || d.newer.bytes >= (w.bytes+1)/2) {
		d.olderTo, d.older, d.newer = d.cursor, d.newer, bucket{}
	}
}

func (d *delivery) takeResumed() bool {
	due := d.resuming && d.cursor >= d.target
	if due {
		d.resuming = false
	}
	return due
}

func (d *delivery) takeFetch(w window) bool {
	if d.paused || d.fetching || d.head <= d.cursor || !d.open(w) {
		return false
	}
	d.fetching, d.progress = true, false
	return true
}
