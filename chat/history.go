package chat

import (
	"cmp"
	"slices"
	"strings"

	"github.com/godwit-im/godwit"
)

// history reads one conversation, before or after a sequence, or its newest page.
func (s *Service) history(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.History) {
	conv, err := godwit.ParseConversationID(string(f.Conv))
	byGroup := f.GBefore != 0 || f.GAfter != 0 || f.HasGAfter
	refusal := (*godwit.Error)(nil)
	switch {
	case err != nil:
		refusal = godwit.ErrBadConv
	case f.Before != 0 && (f.HasAfter || f.After != 0),
		f.GBefore != 0 && (f.HasGAfter || f.GAfter != 0),
		byGroup && (f.Before != 0 || f.After != 0 || f.HasAfter || !strings.HasPrefix(string(conv), "g:")):
		refusal = godwit.ErrFrameInvalid
	case f.Before > godwit.SeqMax || f.After > godwit.SeqMax || f.GBefore > godwit.SeqMax || f.GAfter > godwit.SeqMax:
		refusal = godwit.ErrBadCursor
	}
	if refusal != nil {
		s.refuse(session, id, refusal)
		return
	}
	s.startRead(&read{
		request: request{session: session, id: id, what: requestRead}, do: (*read).history, user: user, conv: conv, byGroup: byGroup,
		page: godwit.Page{
			Before: max(f.Before, f.GBefore), After: max(f.After, f.GAfter),
			Forward: f.HasAfter || f.After != 0 || f.HasGAfter || f.GAfter != 0,
			Limit:   s.limit(f.Limit), BytesMax: s.cfg.PageBytesMax,
		},
	})
}

// history of a 1:1 conversation the reader does not have is an empty page: a peer
// nobody wrote to and one who does not exist look alike. So do a group that does
// not exist and one the reader never was in.
func (r *read) history(w *readWorker, v View) answer {
	u, refusal := userOfView(v, r.user)
	if refusal != nil {
		return w.refuse(refusal)
	}
	group, isGroup := strings.CutPrefix(string(r.conv), "g:")
	peer := []byte(r.conv)
	if !isGroup {
		peer = peer[2:]
	}
	row, have := v.Get(appendConversationKey(nil, r.user.Partition(), bytesOf(r.user), peer))
	var c conversationRow
	if have && !c.parse(row) {
		return w.refuse(godwit.ErrInternal)
	}
	var more bool
	switch {
	case isGroup && (!have || r.byGroup || c.isChannel()):
		w.entries, more, refusal = w.groupHistory(r, godwit.GroupID(group), c.hidden(), w.entries[:0])
	case have:
		w.entries, more, refusal = w.ownHistory(r, u.logID(r.user), &c, w.entries[:0])
	default:
		w.entries = w.entries[:0]
	}
	if refusal != nil {
		return w.refuse(refusal)
	}
	w.frame.Kind, w.frame.History = godwit.KindHistory, godwit.HistoryReply{Entries: w.entries, More: more}
	return answerFrame
}

// historyRounds bounds how often a page is filled up where entries turned out to
// hold nothing to see.
const historyRounds = 8

// ownHistory appends a page of the user's own log to dst, which is empty.
func (w *readWorker) ownHistory(r *read, log godwit.LogID, c *conversationRow, dst []godwit.Entry) (_ []godwit.Entry, more bool, refusal *godwit.Error) {
	page := r.page
	page.Newest = c.last
	looked := godwit.Entry{} // through, if it was all in vain
	for range historyRounds {
		v := w.open(r.group)
		w.records, more = v.Conversation(log, uint32(c.number), page, w.records[:0])
		if len(w.records) == 0 {
			break
		}
		first, last := w.records[0].Seq, w.records[len(w.records)-1].Seq
		looked.Seq, looked.SkipTo = first, max(last, looked.SkipTo)
		if page.Forward {
			looked.Seq, page.After = min(page.After+1, first), last
		} else {
			page.Before = first
		}
		if w.page, refusal = w.convert(v, r.user, log, w.records, w.page[:0]); refusal != nil {
			return dst, false, refusal
		}
		var cut bool
		if dst, cut = addPage(&page, dst, w.page); cut {
			return dst, true, nil
		}
		if !more || page.Limit == 0 {
			break
		}
	}
	if len(dst) == 0 && more {
		dst = append(dst, looked) // or no client would get on
	}
	return dst, more, nil
}

// addPage adds what history shows of a further page to dst, behind it or before
// it. cut: not all had room.
func addPage(page *godwit.Page, dst, further []godwit.Entry) (_ []godwit.Entry, cut bool) {
	further = slices.DeleteFunc(further, func(e godwit.Entry) bool { return !isHistory(&e) })
	at := 0
	if page.Forward {
		at = len(dst)
	} else {
		slices.Reverse(further)
	}
	fits := 0
	for ; fits < len(further); fits++ {
		page.BytesMax -= len(further[fits].Msg.Body)
		if page.Limit == 0 || page.BytesMax < 0 && len(dst)+fits > 0 {
			cut = true
			break
		}
		page.Limit--
	}
	further = further[:fits]
	if !page.Forward {
		slices.Reverse(further)
	}
	return slices.Insert(dst, at, further...), cut
}

// isHistory tells what a page of history is made of. Marks and settings are the
// state of a conversation, of which only the last counts.
func isHistory(e *godwit.Entry) bool {
	return !e.IsSkip() && e.Kind != godwit.EntryReceipt && e.Kind != godwit.EntrySettings
}

// hidden is the sequence of the group's log through which the owner deleted the
// conversation for himself.
func (c *conversationRow) hidden() godwit.Seq {
	if c.isChannel() {
		return c.deleted
	}
	return c.deletedGSeq
}

// groupHistory appends a page of the group's log to dst: what lies in memberships
// of the user and is not hidden.
func (w *readWorker) groupHistory(r *read, id godwit.GroupID, hidden godwit.Seq, dst []godwit.Entry) (_ []godwit.Entry, more bool, refusal *godwit.Error) {
	v := w.open(w.service.cfg.Store.Group(id.Partition()))
	t, ok, refusal := w.openGroup(v, id, r.user, hidden)
	switch {
	case refusal != nil || !ok:
		return dst, false, cmp.Or(refusal, godwit.ErrNotMember)
	case !t.row.isChannel() && !r.byGroup:
		return dst, false, nil // his log is about to have the first entry
	}
	w.referred, more = t.page(v, r.page, w.referred[:0])
	if dst, ok = w.reader.page(v, w.referred, dst); !ok {
		return dst, false, w.damaged(w.reader.log, t.head)
	}
	clear(w.referred)
	return dst, more, nil
}
