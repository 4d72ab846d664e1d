package chat

import (
	"bytes"

	"github.com/godwit-im/godwit"
)

// converter makes entries of the records of a user's log as he sees them. Rows
// that say what became of a record are looked at in v; without one, in a flush, a
// record is taken to be the newest of its kind, which it was when it was written.
type converter struct {
	ids  messageIDs
	v    View // of the log's raft group; nil: rows are not looked at
	user []byte
	log  godwit.LogID
	key  []byte // scratch

	conversations []knownConversation // of the page, by peer
	overlays      []overlay
	pointers      []pointer
	bad           bool // a row did not parse
}

// knownConversation is a conversation met in a page.
type knownConversation struct {
	peer []byte // aliases a record
	have bool
	row  conversationRow
}

// overlay says that the message at an index of a page is shown with a newer body.
type overlay struct {
	at  int
	row overlayRow
}

// pointer is an entry of a page that stands in a group's log.
type pointer struct {
	at    int
	log   godwit.LogID
	gseq  godwit.Seq
	group godwit.GroupID
}

// page appends the records of a part of the log as entries, one for each, skips
// included. Pointers and overlays are left to be filled in.
func (c *converter) page(records []godwit.Record, dst []godwit.Entry) (_ []godwit.Entry, ok bool) {
	for i := range records {
		dst = append(dst, godwit.Entry{})
		e := &dst[len(dst)-1]
		var md meta
		switch c.entry(e, &md, &records[i]) {
		case shownBroken:
			return dst, false
		case shownPointer:
			c.pointers = append(c.pointers, pointer{at: len(dst) - 1, log: md.origin, gseq: md.originSeq})
			fallthrough
		case shownSkip:
			*e = godwit.Entry{Seq: records[i].Seq, SkipTo: records[i].Seq}
		case shownEntry:
		}
	}
	return dst, !c.bad
}

// entry fills e from one record.
func (c *converter) entry(e *godwit.Entry, md *meta, r *godwit.Record) shown {
	if !md.parse(r.Meta) {
		return shownBroken
	}
	switch md.kind {
	case recordMessage, recordEdit, recordRecall:
		return c.ids.message(e, md, c.log, r)
	case recordMark:
		return c.mark(e, md, r)
	case recordSettings:
		return c.settings(e, r)
	case recordPointer:
		return shownPointer
	}
	return shownBroken
}

// conversation returns the row of one of the user's conversations, nil if there is
// none or rows are not looked at. Each is read once in a page.
func (c *converter) conversation(peer []byte) *conversationRow {
	if c.v == nil {
		return nil
	}
	for i := range c.conversations {
		if k := &c.conversations[i]; bytes.Equal(k.peer, peer) {
			return k.found()
		}
	}
	c.conversations = append(c.conversations, knownConversation{peer: peer})
	k := &c.conversations[len(c.conversations)-1]
	c.key = appendConversationKey(c.key[:0], userOf(c.user).Partition(), c.user, peer)
	if row, ok := c.v.Get(c.key); ok {
		k.have = true
		c.bad = c.bad || !k.row.parse(row)
	}
	return k.found()
}

func (k *knownConversation) found() *conversationRow {
	if !k.have {
		return nil
	}
	return &k.row
}

// revise shows messages with their last body, or as taken back, and leaves out the
// edits before that. It looks at nothing of conversations without any. entries are
// those page made of records.
func (c *converter) revise(records []godwit.Record, entries []godwit.Entry) (ok bool) {
	c.overlays = c.overlays[:0]
	for i := range entries {
		e := &entries[i]
		if e.IsSkip() || len(e.Msg.Conv) == 0 || !isDirect(e.Msg.Conv) {
			continue
		}
		row := c.conversation(e.Msg.Conv[2:])
		if row == nil || row.overlays == 0 {
			continue
		}
		var md meta
		md.parse(records[i].Meta)
		origin, seq := c.log, records[i].Seq
		if md.hasOrigin() {
			origin, seq = md.origin, md.originSeq
		}
		c.key = appendOverlayKey(c.key[:0], userOf(c.user).Partition(), c.user, origin, seq)
		if !c.overlay(i, e) {
			return false
		}
	}
	return applyOverlays(c.v, c.log, c.overlays, entries)
}

// overlay reads the row at c.key, of the message that entry i is or revises.
func (c *converter) overlay(i int, e *godwit.Entry) (ok bool) {
	row, have := c.v.Get(c.key)
	if !have {
		return true
	}
	o := overlay{at: i}
	if !o.row.parse(row) {
		return false
	}
	c.overlays = append(c.overlays, o)
	return true
}

// applyOverlays changes entries as their overlays say, whose records lie in log.
func applyOverlays(v View, log godwit.LogID, overlays []overlay, entries []godwit.Entry) (ok bool) {
	for _, o := range overlays {
		e := &entries[o.at]
		own := e.Seq
		if e.GSeq != 0 {
			own = e.GSeq
		}
		m := &e.Msg
		switch {
		case e.Kind != godwit.EntryMessage:
			if own != o.row.last { // an edit that another followed
				skip(e)
			}
		case o.row.isRecalled():
			m.Recalled, m.Body, m.Text, m.Type = true, nil, false, nil
		default:
			r, have := v.Entry(log, o.row.last)
			if !have {
				skip(e) // its body was erased
				continue
			}
			b, parses := parseBlock(r.Body)
			if !parses {
				return false
			}
			m.Body, m.Text, m.Type, m.Edited = b.body, b.text, b.typ, o.row.time
		}
	}
	return true
}

// skip makes an entry of one position a skip of it.
func skip(e *godwit.Entry) {
	*e = godwit.Entry{Seq: e.Seq, SkipTo: max(e.Seq, e.GSeq), GSeq: e.GSeq}
	if e.Seq != 0 {
		e.SkipTo, e.GSeq = e.Seq, 0
	}
}

// withSkips closes the holes between entries after a sequence and, if the page
// ends at to, behind them, and joins skips that meet. What is missing in a log was
// erased or has expired.
func withSkips(after, to godwit.Seq, entries, dst []godwit.Entry) []godwit.Entry {
	last := after
	add := func(from, to godwit.Seq) {
		if n := len(dst); n > 0 && dst[n-1].IsSkip() && dst[n-1].SkipTo == from-1 {
			dst[n-1].SkipTo = to
		} else {
			dst = append(dst, godwit.Entry{Seq: from, SkipTo: to})
		}
		last = to
	}
	for i := range entries {
		e := &entries[i]
		if e.Seq > last+1 {
			add(last+1, e.Seq-1)
		}
		if e.IsSkip() {
			add(e.Seq, e.SkipTo)
			continue
		}
		dst = append(dst, *e)
		last = e.Seq
	}
	if to > last {
		add(last+1, to)
	}
	return dst
}
