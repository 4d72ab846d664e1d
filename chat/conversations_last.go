package chat

import (
	"cmp"
	"slices"

	"github.com/godwit-im/godwit"
)

// byRaftGroup brings items whose groups lie in one raft group together, so that
// one view serves them.
func (w *readWorker) byRaftGroup(a, b *conversationItem) int {
	store := w.service.cfg.Store
	x, y := store.Group(a.row.groupLog.Partition()), store.Group(b.row.groupLog.Partition())
	return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.row.groupLog, b.row.groupLog))
}

// lookAtChannels finds how far channels have got for their reader.
func (w *readWorker) lookAtChannels(user godwit.UserID, channels []conversationItem) *godwit.Error {
	slices.SortFunc(channels, func(a, b conversationItem) int { return w.byRaftGroup(&a, &b) })
	for i := range channels {
		c := &channels[i]
		id, _ := c.group()
		v := w.open(w.service.cfg.Store.Group(id.Partition()))
		t, ok, refusal := w.openGroup(v, id, user, c.row.deleted)
		if refusal != nil {
			return refusal
		}
		if !ok {
			continue
		}
		c.row.readIncoming = max(c.row.readIncoming, t.row.gone) // nobody can read these
		switch c.head = t.head; {
		case t.member.isMember():
			c.time, c.messages = max(c.time, t.row.time), t.row.messages
		default: // he sees it as he left it
			r, have := v.Entry(t.log, t.member.left)
			var md meta
			if have && md.parse(r.Meta) {
				c.time, c.messages = max(c.time, r.Time), md.ordinal
			}
		}
	}
	return nil
}

// lastRounds bounds the search for the last entry there is something to see of:
// each round passes entries of a group that hold none.
const (
	lastRounds  = 8
	lastPassMax = 256 // marks and the like passed in a round
)

// lasts finds the last entries of the items, which are messages or changes of a
// group. A conversation without any has a skip.
func (w *readWorker) lasts(r *read, log godwit.LogID, items []conversationItem) *godwit.Error {
	for i := range items {
		c := &items[i]
		if c.last = (godwit.Entry{Seq: c.row.last, SkipTo: c.row.last}); !c.row.isChannel() {
			c.next = c.row.last
		}
	}
	for range lastRounds {
		v := w.open(r.group)
		w.records, w.at = w.records[:0], w.at[:0]
		for i := range items {
			if record, ok := lastOf(v, log, &items[i]); ok {
				w.records, w.at = append(w.records, record), append(w.at, i)
			}
		}
		if len(w.records) == 0 {
			break
		}
		if refusal := w.lastsOf(r, v, log, items); refusal != nil {
			return refusal
		}
	}
	if !w.peers(r, items) {
		return godwit.ErrInternal
	}
	return w.lastsOfGroups(r, items)
}

// lastOf walks back over what is no message.
func lastOf(v View, log godwit.LogID, c *conversationItem) (r godwit.Record, ok bool) {
	for range lastPassMax {
		if c.next == 0 {
			return r, false
		}
		r, ok = v.Entry(log, c.next)
		if !ok {
			break // erased, with everything before it
		}
		var md meta
		if !md.parse(r.Meta) || md.kind == recordMessage || md.kind == recordPointer {
			return r, true // what is damaged is told when it is converted
		}
		c.next = r.Prev
	}
	c.next = 0
	return r, false
}

// lastsOf makes entries of the records found. The conversation's chain goes on
// where one is not what is looked for.
func (w *readWorker) lastsOf(r *read, v View, log godwit.LogID, items []conversationItem) (refusal *godwit.Error) {
	for i, at := range w.at {
		items[at].next = w.records[i].Prev
		items[at].size = len(w.records[i].Meta) + len(w.records[i].Body)
	}
	if w.page, refusal = w.convert(v, r.user, log, w.records, w.page[:0]); refusal != nil {
		return refusal
	}
	for i, at := range w.at {
		if e := &w.page[i]; isLast(e) {
			items[at].last, items[at].next = *e, 0
			items[at].size = max(items[at].size, len(e.Msg.Body))
		}
	}
	return nil
}

func isLast(e *godwit.Entry) bool {
	return !e.IsSkip() && (e.Kind == godwit.EntryMessage || e.Kind == godwit.EntryGroup)
}

// lastsOfGroups finds the names of the groups, and in channels the last entries.
func (w *readWorker) lastsOfGroups(r *read, items []conversationItem) *godwit.Error {
	w.at = w.at[:0]
	for i := range items {
		if _, ok := items[i].group(); ok {
			w.at = append(w.at, i)
		}
	}
	slices.SortFunc(w.at, func(a, b int) int { return w.byRaftGroup(&items[a], &items[b]) })
	for _, at := range w.at {
		c := &items[at]
		id, _ := c.group()
		v := w.open(w.service.cfg.Store.Group(id.Partition()))
		t, ok, refusal := w.openGroup(v, id, r.user, c.row.deleted)
		if refusal != nil {
			return refusal
		}
		if !ok {
			continue
		}
		if t.member.isMember() { // to others a new name is none of theirs
			c.name = string(t.row.name)
		}
		if !c.row.isChannel() {
			continue
		}
		if refusal := w.lastOfChannel(v, &t, c); refusal != nil {
			return refusal
		}
	}
	return nil
}

// lastOfChannel looks among the newest entries of a channel, up to the head its
// item is of.
func (w *readWorker) lastOfChannel(v View, t *groupSight, c *conversationItem) *godwit.Error {
	if c.head == 0 {
		return nil
	}
	c.last = godwit.Entry{GSeq: c.head, SkipTo: c.head}
	page := godwit.Page{Before: c.head + 1, Limit: 4}
	for range lastRounds {
		var more bool
		page.BytesMax = w.service.cfg.PageBytesMax
		w.referred, more = t.page(v, page, w.referred[:0])
		var ok bool
		if w.page, ok = w.reader.page(v, w.referred, w.page[:0]); !ok {
			return w.damaged(t.log, c.head)
		}
		for _, e := range slices.Backward(w.page) {
			if isLast(&e) {
				c.last, c.size = e, len(e.Msg.Body)
				return nil
			}
		}
		if !more || len(w.referred) == 0 {
			return nil
		}
		page.Before = w.referred[0].Seq
		page.Limit *= 2
	}
	return nil
}

// peers reads the others' marks of 1:1 conversations.
func (w *readWorker) peers(r *read, items []conversationItem) (ok bool) {
	c := &w.converter
	c.v, c.user, c.bad = w.open(r.group), bytesOf(r.user), false
	for i := range items {
		if item := &items[i]; !isGroup(item.peer) {
			m, _ := c.peerMark(item.peer)
			item.peerDelivered, item.peerRead = m.delivered, m.read
		}
	}
	c.v = nil
	return !c.bad
}
