package godwit

import "fmt"

// AppendEvent appends the ev frame of an entry, or its skip frame when the entry
// is a skip range, without separator or length prefix (see AppendEventFrame).
func AppendEvent(dst []byte, enc Encoding, entry *Entry) []byte {
	e := encoder{enc: enc, dst: dst}
	e.begin(serverFields)
	e.event(entry)
	return e.end()
}

func (e *encoder) event(entry *Entry) {
	if entry.IsSkip() && entry.Seq != 0 {
		e.skip(10, Skip{entry.Seq, entry.SkipTo})
		return
	}
	o := e.open(7, entryFields)
	e.entry(entry)
	e.close(o)
}

func (e *encoder) entries(n int, entries []Entry) {
	e.array(n)
	for i := range entries {
		o := e.element(n, entryFields)
		e.entry(&entries[i])
		e.close(o)
	}
	e.endArray()
}

// entry writes a skip of one position of a channel as an entry without a body:
// the client that read one it did not know has nothing else of it.
func (e *encoder) entry(entry *Entry) {
	switch {
	case entry.IsSkip() && entry.Seq == 0:
		e.uint(4, uint64(entry.GSeq))
		return
	case entry.IsSkip():
		e.skip(3, Skip{entry.Seq, entry.SkipTo})
		return
	}
	e.uintOpt(1, uint64(entry.Seq))
	e.uintOpt(4, uint64(entry.GSeq))
	switch entry.Kind {
	case EntryMessage:
		o := e.open(2, messageFields)
		e.message(&entry.Msg)
		e.close(o)
	case EntryEdit:
		o := e.open(6, messageFields)
		e.message(&entry.Msg)
		e.close(o)
	default:
		e.change(entry)
	}
}

// change writes the body of an entry that holds no message.
func (e *encoder) change(entry *Entry) {
	switch entry.Kind {
	case EntryReceipt:
		o := e.open(5, receiptFields)
		e.receipt(entry.Receipt)
		e.close(o)
	case EntryRecall:
		o := e.open(7, messageFields)
		e.mid(1, entry.Msg.MID)
		e.bytes(2, entry.Msg.Conv)
		e.bytes(3, entry.Msg.From)
		e.uint(5, uint64(entry.Msg.Time))
		e.close(o)
	case EntryGroup:
		o := e.open(8, groupChangeFields)
		e.groupChange(entry.Group)
		e.close(o)
	case EntrySettings:
		o := e.open(9, conversationSettingsFields)
		e.settings(entry.Settings)
		e.close(o)
	default:
		panic(fmt.Sprintf("BUG: entry of kind %d", entry.Kind))
	}
}

func (e *encoder) message(m *Message) {
	e.mid(1, m.MID)
	e.bytes(2, m.Conv)
	e.bytes(3, m.From)
	e.bytesOpt(4, m.CID)
	e.uint(5, uint64(m.Time))
	switch {
	case m.Recalled:
	case m.Text:
		e.text(6, m.Body)
	default:
		e.data(7, m.Body)
	}
	e.bytesOpt(8, m.Type)
	e.uintOpt(9, uint64(m.Edited))
	e.boolOpt(10, m.Recalled)
}

// skip writes the same message as frame body (field 10) or entry body (3).
func (e *encoder) skip(n int, s Skip) {
	o := e.open(n, skipFields)
	e.uint(1, uint64(s.From))
	e.uint(2, uint64(s.To))
	e.close(o)
}

func (e *encoder) receipt(r *Receipt) {
	e.str(1, string(r.Conv))
	e.str(2, string(r.User))
	e.uint(3, uint64(r.Delivered))
	e.uint(4, uint64(r.Read))
	e.uintOpt(5, r.Unread)
}

func (e *encoder) groupChange(g *GroupChange) {
	e.str(1, string(g.Conv))
	e.str(2, string(g.By))
	e.uint(3, uint64(g.Time))
	e.str(4, g.Do)
	if len(g.Users) > 0 {
		e.users(5, g.Users)
	}
	e.uint(6, uint64(g.Count))
	e.strOpt(7, g.Name)
	e.strOpt(8, g.Role)
	e.strOpt(9, g.Join)
	e.strOpt(10, g.History)
}

func (e *encoder) settings(s *ConversationSettings) {
	e.str(1, string(s.Conv))
	e.uint(2, uint64(s.Mute))
	e.bool(3, s.Pin)
	e.bool(4, s.Archive)
	e.uint(5, uint64(s.Deleted))
}
