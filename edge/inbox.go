package edge

import (
	"math/bits"

	"github.com/godwit-im/godwit"
)

// The methods in this file are what the chat tier calls: from any goroutine,
// also from within a Chat method. They never block for I/O, encode before they
// return, and ignore sessions that are gone.

// Connected opens a session as Chat.Connect asked.
func (e *Edge) Connected(s godwit.SessionID, w godwit.Welcome) {
	if box := e.boxOf(s); box != nil {
		box.note(item{kind: itemConnected, session: s}, w)
	}
}

// Reply answers one request. f and everything it points to may be used again
// when Reply returns.
func (e *Edge) Reply(s godwit.SessionID, f *godwit.ServerFrame) {
	box := e.boxOf(s)
	if box == nil {
		return
	}
	it := item{kind: itemReply, session: s, seq: godwit.Seq(f.ID)}
	if f.Kind == godwit.KindError {
		it.extra = 1
	} else if e.cfg.Hold && f.ID == watchAgainID {
		again := *f // to a client that did not ask
		again.ID, f = 0, &again
	}
	c := e.codecs.get()
	defer e.codecs.put(c)
	c.framed = c.framed[:0]
	if it.seq != 0 || f.Kind == godwit.KindError {
		c.framed = c.appendFrame(c.framed, idForm(s), f)
	}
	if !box.lock() {
		return
	}
	defer box.unlock()
	if len(box.in.arena)+len(c.framed) > owedBytesMax {
		e.loops[idLoop(s)].stats.repliesLost.Add(1)
		box.putLocked(item{kind: itemClose, session: s, extra: uint32(godwit.CloseOverloaded)}, appendReason(nil, "overloaded", retryAfterMS()))
		return
	}
	box.putLocked(it, c.framed)
}

// Deliver shows one entry to the sessions of one user. It is a hint: a session
// that cannot use it fetches. The entry is encoded at most once per
// form, and so is it compressed.
func (e *Edge) Deliver(sessions []godwit.SessionID, entry *godwit.Entry) {
	var loops [forms][loopsMax / 64]uint64 // by form: the loops that hold a session
	for _, id := range sessions {
		if i := idLoop(id); i < len(e.loops) {
			loops[idForm(id)][i/64] |= 1 << (i % 64)
		}
	}
	c := e.codecs.get()
	defer e.codecs.put(c)
	for to := range form(forms) {
		c.framed = c.framed[:0]
		for word, set := range loops[to] {
			for ; set != 0; set &= set - 1 {
				if len(c.framed) == 0 {
					c.framed = c.appendEvent(c.framed, to, entry)
				}
				e.hint(word*64+bits.TrailingZeros64(set), to, sessions, entry, c.framed)
			}
		}
	}
}

// hint puts one entry into one loop's mailbox for its sessions of one form.
func (e *Edge) hint(loop int, to form, sessions []godwit.SessionID, entry *godwit.Entry, framed []byte) {
	box := &e.loops[loop].box
	lost := &e.loops[loop].stats.hintsLost
	if !box.lock() {
		return
	}
	defer box.unlock()
	if len(box.in.arena)+len(framed) > hintBytesMax {
		framed = nil
		lost.Add(1)
	}
	first := true
	for _, id := range sessions {
		if idLoop(id) != loop || idForm(id) != to {
			continue
		}
		if len(box.in.items) >= hintsMax {
			lost.Add(1)
			continue
		}
		it := item{kind: itemHint, session: id, seq: entry.Seq, to: last(entry)}
		if first {
			box.putLocked(it, framed)
			first = false
		} else {
			box.shareLocked(it)
		}
	}
}

// Fetched answers one Chat.Fetch: entries ascending from the cursor it named,
// and the log's head. With an error the fetch is repeated later.
func (e *Edge) Fetched(s godwit.SessionID, entries []godwit.Entry, head godwit.Seq, err error) {
	box := e.boxOf(s)
	if box == nil {
		return
	}
	c := e.codecs.get()
	defer e.codecs.put(c)
	c.framed, c.marks = c.framed[:0], c.marks[:0]
	if err == nil {
		for i := range entries {
			c.framed = c.appendEvent(c.framed, idForm(s), &entries[i])
			c.marks = append(c.marks, mark{entries[i].Seq, last(&entries[i]), len(c.framed)})
		}
	}
	if !box.lock() {
		return
	}
	defer box.unlock()
	if err != nil || len(box.in.arena)+len(c.framed) > owedBytesMax {
		box.putLocked(item{kind: itemFetched, session: s, seq: head, to: 1}, nil)
		return
	}
	box.putLocked(item{kind: itemFetched, session: s, seq: head, extra: uint32(len(c.marks))}, nil)
	start := 0
	for _, m := range c.marks {
		box.putLocked(item{kind: itemEntry, session: s, seq: m.seq, to: m.to}, c.framed[start:m.end])
		start = m.end
	}
}

// Close ends a session with a code and a short reason, such as "replaced".
func (e *Edge) Close(s godwit.SessionID, code godwit.CloseCode, reason string) {
	wait := 0
	if code == godwit.CloseOverloaded {
		wait = retryAfterMS()
	}
	if box := e.boxOf(s); box != nil {
		box.put(item{kind: itemClose, session: s, extra: uint32(code)}, appendReason(nil, reason, wait))
	}
}

func (e *Edge) boxOf(s godwit.SessionID) *mailbox {
	if i := idLoop(s); i < len(e.loops) {
		return &e.loops[i].box
	}
	return nil
}
