package chat

import (
	"slices"

	"github.com/godwit-im/godwit"
)

// groupSight is what one user may see of a group's log at one moment.
type groupSight struct {
	row    groupRow
	member memberRow
	log    godwit.LogID
	head   godwit.Seq // the newest entry he may see
	spans  []span     // ascending, apart
}

// span is a part of a group's log, both ends included.
type span struct{ from, to godwit.Seq }

// openGroup reads what a user may see of a group, but for what he hid for himself.
// Rows and head are of one moment, so that no entry after his membership is among
// it. ok is false for one who never was a member and for a group that does not
// exist alike. The worker's reader is set for the group.
func (w *readWorker) openGroup(v View, id godwit.GroupID, user godwit.UserID, hidden godwit.Seq) (t groupSight, ok bool, refusal *godwit.Error) {
	w.reader.ids = *w.service.ids.Load()
	if t.row, ok = w.reader.open(v, id); !ok {
		return t, false, godwit.ErrInternal
	}
	if t.row.log == 0 {
		return t, false, nil
	}
	if t.member, ok = memberOf(v, bytesOf(id), bytesOf(user)); !ok {
		return t, false, nil
	}
	t.log, w.reader.member = w.reader.log, t.member
	all := t.row.flags&groupHistoryAll != 0
	t.spans = t.member.spansOf(v.Head(t.log), all, hidden, w.spans[:0])
	w.spans = t.spans
	if n := len(t.spans); n > 0 {
		t.head = t.spans[n-1].to
	}
	return t, true, nil
}

// spansOf is maySee as parts of a log with that head, behind what is hidden.
func (m *memberRow) spansOf(head godwit.Seq, all bool, hidden godwit.Seq, dst []span) []span {
	add := func(from, to godwit.Seq) {
		if from, to = max(from, hidden+1), min(to, head); from <= to {
			dst = append(dst, span{from, to})
		}
	}
	if m.isMember() && all {
		add(1, head)
		return dst
	}
	for _, s := range slices.Backward(m.spans[:]) {
		if s[0] != 0 {
			add(s[0], s[1])
		}
	}
	if m.isMember() {
		add(m.since, head)
	} else {
		add(m.since, m.left)
	}
	return dst
}

// page appends a page of what may be seen to dst, ascending, by the group's own
// sequence.
func (t *groupSight) page(v View, page godwit.Page, dst []godwit.Record) (_ []godwit.Record, more bool) {
	if page.Forward {
		return t.forward(v, page, dst)
	}
	return t.backward(v, page, dst)
}

func (t *groupSight) forward(v View, page godwit.Page, dst []godwit.Record) (_ []godwit.Record, more bool) {
	for _, s := range t.spans {
		if page.After >= s.to {
			continue
		}
		if page.Limit <= 0 || page.BytesMax <= 0 {
			return dst, true
		}
		page.Newest, page.After = s.to, max(page.After, s.from-1)
		start := len(dst)
		if dst, more = v.Conversation(t.log, groupConversation, page, dst); more {
			return dst, true
		}
		spend(&page, dst[start:])
	}
	return dst, false
}

func (t *groupSight) backward(v View, page godwit.Page, dst []godwit.Record) (_ []godwit.Record, more bool) {
	head := v.Head(t.log)
	start := len(dst)
	for _, s := range slices.Backward(t.spans) {
		if page.Before != 0 && page.Before <= s.from {
			continue
		}
		if page.Limit <= 0 || page.BytesMax <= 0 {
			return dst, true
		}
		p := page
		if p.Newest = head; page.Before == 0 || page.Before > s.to {
			p.Before = s.to + 1
		}
		var chunk []godwit.Record
		chunk, more = v.Conversation(t.log, groupConversation, p, nil)
		outside := 0
		for outside < len(chunk) && chunk[outside].Seq < s.from {
			outside++
		}
		if outside > 0 {
			chunk, more = chunk[outside:], false
		}
		more = more && chunk[0].Seq > s.from
		dst = slices.Insert(dst, start, chunk...)
		if more {
			return dst, true
		}
		spend(&page, chunk)
		page.Before = s.from
	}
	return dst, false
}

// spend takes records off what a page may still hold.
func spend(page *godwit.Page, records []godwit.Record) {
	page.Limit -= len(records)
	for i := range records {
		page.BytesMax -= len(records[i].Meta) + len(records[i].Body)
	}
}
