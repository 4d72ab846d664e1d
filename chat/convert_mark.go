package chat

import "github.com/godwit-im/godwit"

// mark fills e from a recordMark of the user's log, if it is where that mark
// stands now: an older one is a skip.
func (c *converter) mark(e *godwit.Entry, md *meta, r *godwit.Record) shown {
	if c.v == nil {
		return shownSkip
	}
	peer := r.Body
	if md.incoming {
		m, ok := c.peerMark(peer)
		if !ok || m.seq != r.Seq {
			return shownSkip
		}
		*e = godwit.Entry{Seq: r.Seq, Kind: godwit.EntryReceipt, Receipt: m.receipt(peer)}
		return shownEntry
	}
	row := c.conversation(peer)
	if row == nil || row.markSeq != r.Seq {
		return shownSkip
	}
	*e = godwit.Entry{Seq: r.Seq, Kind: godwit.EntryReceipt, Receipt: row.receipt(c.user, peer, md.ordinal)}
	return shownEntry
}

// peerMark reads the other's marks of a 1:1 conversation.
func (c *converter) peerMark(peer []byte) (m peerMarkRow, ok bool) {
	c.key = appendMarkKey(c.key[:0], userOf(c.user).Partition(), c.user, peer)
	row, ok := c.v.Get(c.key)
	if ok && !m.parse(row) {
		c.bad = true
	}
	return m, ok
}

// settings fills e from a recordSettings of the user's log, likewise.
func (c *converter) settings(e *godwit.Entry, r *godwit.Record) shown {
	if c.v == nil {
		return shownSkip
	}
	row := c.conversation(r.Body)
	if row == nil || row.settingsSeq != r.Seq {
		return shownSkip
	}
	*e = godwit.Entry{Seq: r.Seq, Kind: godwit.EntrySettings, Settings: row.settings(r.Body)}
	return shownEntry
}
