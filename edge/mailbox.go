package edge

import (
	"sync"

	"github.com/godwit-im/godwit"
)

// itemKind says what a mailbox item asks of the loop.
type itemKind uint8

const (
	itemHint      itemKind = iota // live entry seq..to; its frame is bytes, or none: then it only raises the head
	itemReply                     // frame to write; ends the request of id seq; extra != 0: it failed
	itemConnected                 // notes[extra] holds a Welcome
	itemVerified                  // notes[extra] holds a verdict
	itemFetched                   // head is seq, failed is to != 0; its entries are the next extra items
	itemEntry                     // one entry of a fetch
	itemLinger                    // answer the polls that linger
	itemWeb                       // answer of an HTTP handler; extra is keep and, above it, the status
	itemClose                     // close code extra, reason is bytes
	itemGoaway                    // the frames of notes[extra] to every live session
	itemCloseAll                  // close code extra to every connection
	itemShed                      // free seq bytes of what sessions hold; extra != 0: of strangers alone
	itemTell                      // extra bytes of a channel's name, then a frame; to says what seq is of the channel
	itemWhisper                   // a frame that may be dropped
	itemHold                      // see Edge.Hold
	itemAnnounce                  // see Edge.Announce; extra is the attachment
	itemAbandon                   // see Edge.Abandon
	itemPass                      // close the channel notes[extra]
	itemShake                     // a TLS handshake has output; extra != 0: it is over
)

// item is one thing another goroutine wants of a loop. off and size point into
// the letters' arena.
type item struct {
	session godwit.SessionID
	seq, to godwit.Seq
	off     uint32
	size    uint32
	extra   uint32
	kind    itemKind
}

// letters is one half of a mailbox: items in order of arrival, the bytes they
// point to, and the rare values that are not bytes.
type letters struct {
	items []item
	arena []byte
	notes []any // Welcome, verdict or goaway: a few per connection, never per message
	// untold has a bit for each slot whose session missed an itemTell; see oweLocked.
	untold []uint64
}

func (ls *letters) bytes(it *item) []byte { return ls.arena[it.off : it.off+it.size : it.off+it.size] }

// reset empties the letters for the next use. What a flood left goes once next to
// nothing of it was used: while the flood lasts it would only be made again.
func (ls *letters) reset() {
	if cap(ls.items) > itemsKeep && len(ls.items) < cap(ls.items)/(2*roomStep) {
		ls.items = nil
	}
	if cap(ls.arena) > arenaKeepBytes && len(ls.arena) < cap(ls.arena)/(2*roomStep) {
		ls.arena = nil
	}
	clear(ls.notes)
	ls.items, ls.arena, ls.notes, ls.untold = ls.items[:0], ls.arena[:0], ls.notes[:0], nil
}

// roomFor is append's growth in few large steps: a flood fills them at once, and
// copying what is there again and again cost a third of it.
func roomFor[T any](s []T, more, most int) []T {
	if len(s)+more <= cap(s) {
		return s
	}
	room := make([]T, len(s), max(len(s)+more, min(roomStep*cap(s), most)))
	copy(room, s)
	return room
}

const roomStep = 8

// Bounds of one mailbox. Over hintsMax items or hintBytesMax a hint loses its
// frame or is dropped: the session learns of the head by a later hint or the
// slow compare. Everything else is owed and taken: one Connected per session,
// one Fetched per fetch and at most Limits.InFlight replies; over owedBytesMax
// a fetch's answer counts as failed and a reply closes its session (4200); so
// does a Tell, also over tellsMax items. A Whisper over its own, smaller bounds
// is dropped.
const (
	hintsMax        = 131072
	hintBytesMax    = 32 << 20
	owedBytesMax    = 128 << 20
	tellsMax        = 1 << 20
	whispersMax     = hintsMax / 2
	whisperBytesMax = hintBytesMax / 4
	itemsKeep       = 8192
	arenaKeepBytes  = 1 << 20
	drainItems      = 4096 // items handled before the loop looks at its sockets again
)

// mailbox carries what other goroutines want of a loop. Its order is the order
// of put; gnet's own queues promise none. Any goroutine puts, one loop takes.
type mailbox struct {
	mu     sync.Mutex
	in     letters
	awake  bool   // a wake-up is under way, or the loop will look without one
	closed bool   // the loop is gone: everything is dropped
	wake   func() // makes the loop's goroutine drain; called with mu held, never blocks

	cur   letters // what the loop is working on; only the loop touches it
	pos   int     // next item of cur
	spare []item  // for regroup, while floods last
}

// lock takes the mailbox for a few puts that belong together; false when the
// loop is gone, and then it is not taken.
func (m *mailbox) lock() bool {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
	}
	return true
}

// unlock gives the mailbox back and wakes the loop if it sleeps.
func (m *mailbox) unlock() {
	if !m.awake && len(m.in.items) > 0 && m.wake != nil {
		m.awake = true
		m.wake()
	}
	m.mu.Unlock()
}

// putLocked adds an item, which points at a copy of b from then on.
func (m *mailbox) putLocked(it item, b []byte) {
	it.off, it.size = uint32(len(m.in.arena)), uint32(len(b))
	m.in.arena = append(roomFor(m.in.arena, len(b), hintBytesMax), b...)
	m.in.items = append(roomFor(m.in.items, 1, hintsMax), it)
}

// shareLocked adds an item that points at the bytes of the item put last.
func (m *mailbox) shareLocked(it item) {
	last := &m.in.items[len(m.in.items)-1]
	it.off, it.size = last.off, last.size
	m.in.items = append(roomFor(m.in.items, 1, hintsMax), it)
}

// noteLocked adds an item with a value that is not bytes.
func (m *mailbox) noteLocked(it item, note any) {
	it.extra = uint32(len(m.in.notes))
	m.in.notes = append(m.in.notes, note)
	m.in.items = append(m.in.items, it)
}

func (m *mailbox) put(it item, b []byte) {
	if m.lock() {
		m.putLocked(it, b)
		m.unlock()
	}
}

func (m *mailbox) note(it item, note any) {
	if m.lock() {
		m.noteLocked(it, note)
		m.unlock()
	}
}

// start gives the mailbox its wake-up; what was put before is announced now.
func (m *mailbox) start(wake func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wake == nil && !m.closed {
		m.wake = wake
		if len(m.in.items) > 0 && !m.awake {
			m.awake = true
			wake()
		}
	}
}

// close drops what is in the mailbox and whatever comes later. After it wake is
// never called again.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.in = letters{}
}

// hold keeps producers from waking the loop while it is running anyway. It
// returns whether a wake-up was under way already: pass that to settle.
func (m *mailbox) hold() (awake bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	awake, m.awake = m.awake, true
	return awake
}

// next returns the next item in order, or nil when the mailbox is empty. Items
// and their bytes stay valid until refill, which next leaves to its caller so
// that a flush can stand in between.
func (m *mailbox) next() *item {
	if m.pos == len(m.cur.items) {
		return nil
	}
	it := &m.cur.items[m.pos]
	m.pos++
	return it
}

// done reports that next has given out everything since refill.
func (m *mailbox) done() bool { return m.pos == len(m.cur.items) }

// refill makes what has arrived the items of next; false if there is nothing.
// The bytes of earlier items die.
func (m *mailbox) refill() bool {
	if m.pos < len(m.cur.items) {
		return true
	}
	m.cur.reset()
	m.pos = 0
	other := cap(m.cur.items)
	m.swap()
	if max(other, cap(m.cur.items)) <= itemsKeep {
		m.spare = nil // both halves have forgotten the last flood
	}
	m.spare = m.cur.regroup(m.spare)
	return len(m.cur.items) > 0
}

func (m *mailbox) swap() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cur, m.in = m.in, m.cur
}

// nudge wakes the loop though there may be nothing in its mailbox, as when time
// has passed. It does nothing before start.
func (m *mailbox) nudge() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed && !m.awake && m.wake != nil {
		m.awake = true
		m.wake()
	}
}

// settle ends a run of the loop: true if items are left, and then the loop must
// be run again though nobody will wake it. awake is what hold returned.
func (m *mailbox) settle(awake bool) (again bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	again = m.pos < len(m.cur.items) || len(m.in.items) > 0
	m.awake = awake || again
	return again && !awake
}

// rewake calls wake on behalf of a loop that settled with items left.
func (m *mailbox) rewake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed && m.wake != nil {
		m.wake()
	}
}

// queued reports what waits, for metrics.
func (m *mailbox) queued() (items, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.in.items), len(m.in.arena)
}
