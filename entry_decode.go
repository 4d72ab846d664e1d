package godwit

func (d *decoder) entries(dst []Entry) []Entry {
	for l := (list{}); d.more(&l); {
		dst = append(dst, Entry{})
		d.entry(&dst[len(dst)-1])
	}
	return dst
}

// entry reads an entry. One with a body this code doesn't know becomes a skip of
// its one position, so that a client's cursor moves on.
func (d *decoder) entry(e *Entry) {
	var skip Skip
	var seen entryBodies
	for m := d.open(entryFields); d.next(&m); {
		switch m.field {
		case 1:
			e.Seq = d.seq()
		case 3:
			seen.skip = true
			d.skip(&skip)
		case 4:
			e.GSeq = d.seq()
		default:
			seen.others++
			d.entryBody(e, m.field)
		}
	}
	switch {
	case seen.others > 1, seen.skip && (seen.others > 0 || e.Seq != 0 || e.GSeq != 0):
		d.refused = true
	case seen.skip:
		e.Seq, e.SkipTo = skip.From, skip.To
	case e.Seq == 0 && e.GSeq == 0:
		d.refused = true
	case seen.others == 0 && e.Seq == 0:
		e.SkipTo = e.GSeq
	case seen.others == 0:
		e.SkipTo, e.GSeq = e.Seq, 0
	}
}

// entryBodies says which bodies of an entry were met.
type entryBodies struct {
	skip   bool
	others int
}

func (d *decoder) entryBody(e *Entry, field int) {
	switch field {
	case 2:
		d.message(&e.Msg)
	case 5:
		e.Kind, e.Receipt = EntryReceipt, new(Receipt)
		d.receipt(e.Receipt)
	case 6:
		e.Kind = EntryEdit
		d.message(&e.Msg)
	case 7:
		e.Kind = EntryRecall
		d.message(&e.Msg)
		e.Msg = Message{MID: e.Msg.MID, Conv: e.Msg.Conv, From: e.Msg.From, Time: e.Msg.Time}
	case 8:
		e.Kind, e.Group = EntryGroup, new(GroupChange)
		d.groupChange(e.Group)
	case 9:
		e.Kind, e.Settings = EntrySettings, new(ConversationSettings)
		d.settings(e.Settings)
	}
}

func (d *decoder) message(msg *Message) {
	var text, data []byte
	hasText, hasData := false, false
	for m := d.open(messageFields); d.next(&m); {
		switch m.field {
		case 1:
			msg.MID = d.mid()
		case 2:
			msg.Conv = d.str()
		case 3:
			msg.From = d.str()
		case 4:
			msg.CID = d.str()
		case 5:
			msg.Time = d.time()
		case 6:
			text, hasText = d.str(), true
		case 7:
			data, hasData = d.data(), true
		case 8:
			msg.Type = d.str()
		case 9:
			msg.Edited = d.time()
		case 10:
			msg.Recalled = d.bool()
		}
	}
	if hasText && hasData {
		d.refused = true
	}
	switch {
	case msg.Recalled: // nothing is left of its body, whatever is there
	case hasText:
		msg.Text, msg.Body = true, text
	default:
		msg.Body = data
	}
}

func (d *decoder) skip(s *Skip) {
	for m := d.open(skipFields); d.next(&m); {
		switch m.field {
		case 1:
			s.From = d.seq()
		case 2:
			s.To = d.seq()
		}
	}
	if s.From == 0 || s.To < s.From {
		d.refused = true
	}
}

func (d *decoder) receipt(r *Receipt) {
	for m := d.open(receiptFields); d.next(&m); {
		switch m.field {
		case 1:
			r.Conv = ConversationID(d.str())
		case 2:
			r.User = UserID(d.str())
		case 3:
			r.Delivered = d.seq()
		case 4:
			r.Read = d.seq()
		case 5:
			r.Unread = d.big()
		}
	}
}

func (d *decoder) groupChange(g *GroupChange) {
	for m := d.open(groupChangeFields); d.next(&m); {
		switch m.field {
		case 1:
			g.Conv = ConversationID(d.str())
		case 2:
			g.By = UserID(d.str())
		case 3:
			g.Time = d.time()
		case 4:
			g.Do = groupWord(d.str())
		case 5:
			g.Users = d.users(g.Users)
		case 6:
			g.Count = d.uint32()
		case 7:
			g.Name = string(d.str())
		case 8:
			g.Role = groupWord(d.str())
		case 9:
			g.Join = groupWord(d.str())
		case 10:
			g.History = groupWord(d.str())
		}
	}
}

func (d *decoder) settings(s *ConversationSettings) {
	for m := d.open(conversationSettingsFields); d.next(&m); {
		switch m.field {
		case 1:
			s.Conv = ConversationID(d.str())
		case 2:
			s.Mute = d.time()
		case 3:
			s.Pin = d.bool()
		case 4:
			s.Archive = d.bool()
		case 5:
			s.Deleted = d.seq()
		}
	}
}
