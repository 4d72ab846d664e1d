package godwit

import "fmt"

// AppendTo appends the frame in that encoding, without separator or length
// prefix (see AppendFrame). Strings must be UTF-8.
func (f *ServerFrame) AppendTo(dst []byte, enc Encoding) []byte {
	e := encoder{enc: enc, dst: dst}
	e.begin(serverFields)
	if f.Kind != KindPing {
		e.uintOpt(1, f.ID)
	}
	e.serverBody(f)
	return e.end()
}

// AppendEvent appends the ev frame of an entry, or its skip frame when the entry
// is a skip range, without separator or length prefix (see AppendEventFrame).
func AppendEvent(dst []byte, enc Encoding, entry *Entry) []byte {
	e := encoder{enc: enc, dst: dst}
	e.begin(serverFields)
	e.event(entry)
	return e.end()
}

func (e *encoder) event(entry *Entry) {
	if entry.IsSkip() {
		e.skip(10, Skip{entry.Seq, entry.SkipTo})
		return
	}
	o := e.open(7, entryFields)
	e.entry(entry)
	e.close(o)
}

func (e *encoder) serverBody(f *ServerFrame) {
	switch f.Kind {
	case KindPing:
	case KindEvent:
		e.event(&f.Event)
	case KindSend:
		o := e.open(3, sendReplyFields)
		e.sendReply(&f.Send)
		e.close(o)
	case KindError:
		o := e.open(9, errorFields)
		e.errorReply(&f.Error)
		e.close(o)
	case KindSkip:
		e.skip(10, f.Skip)
	case KindResumed:
		o := e.open(11, resumedFields)
		e.uint(1, uint64(f.Resumed.Seq))
		e.close(o)
	case KindGoaway:
		o := e.open(12, goawayFields)
		e.goaway(&f.Goaway)
		e.close(o)
	default:
		e.coldReply(f)
	}
}

// coldReply writes the replies that come once per connection or page.
func (e *encoder) coldReply(f *ServerFrame) {
	switch f.Kind {
	case KindConnect:
		o := e.open(2, connectReplyFields)
		e.connectReply(&f.Connect)
		e.close(o)
	case KindSync:
		o := e.open(4, syncReplyFields)
		e.entries(1, f.Sync.Entries)
		e.uint(2, uint64(f.Sync.Head))
		e.close(o)
	case KindHistory:
		o := e.open(5, historyReplyFields)
		e.entries(1, f.History.Entries)
		e.bool(2, f.History.More)
		e.close(o)
	case KindConversations:
		o := e.open(6, conversationsReplyFields)
		e.conversationsReply(&f.Conversations)
		e.close(o)
	case KindPresence:
		o := e.open(8, presenceReplyFields)
		e.presenceReply(&f.Presence)
		e.close(o)
	case KindRefresh:
		o := e.open(13, refreshReplyFields)
		e.uint(1, uint64(f.Refresh.TTL))
		e.close(o)
	case KindPoll:
		o := e.open(14, pollFields)
		e.str(1, f.Poll.Cursor)
		e.close(o)
	default:
		panic(fmt.Sprintf("BUG: kind %d in a server frame", f.Kind))
	}
}

func (e *encoder) connectReply(c *ConnectReply) {
	e.str(1, c.Session)
	e.str(2, c.Node)
	e.str(11, string(c.User))
	e.strOpt(12, c.Device)
	e.str(3, c.Epoch)
	e.uint(4, uint64(c.Seq))
	e.bool(5, c.Resumed)
	e.strOpt(6, c.Reason)
	e.uint(7, c.Missed)
	e.uint(8, uint64(c.Ping))
	e.uint(9, uint64(c.TTL))
	e.uint(10, uint64(c.Time))
	e.array(13)
	for _, name := range c.Caps {
		e.item(13, []byte(name))
	}
	e.endArray()
	o := e.open(14, limitsFields)
	e.limits(&c.Limits)
	e.close(o)
}

func (e *encoder) limits(l *Limits) {
	e.uint(1, uint64(l.Frame))
	e.uint(2, uint64(l.Body))
	e.uint(3, uint64(l.InFlight))
	e.uint(4, uint64(l.SendPerS))
	e.uint(5, uint64(l.Page))
	e.uint(6, uint64(l.Watch))
	e.uint(7, uint64(l.Presence))
	e.uint(8, uint64(l.Window))
	e.uint(9, uint64(l.RPC))
	e.uint(10, uint64(l.Wait))
	e.uint(11, uint64(l.Queue))
	e.uint(12, uint64(l.Sessions))
	e.uint(13, uint64(l.FramesPerS))
}

func (e *encoder) sendReply(s *SendReply) {
	e.str(1, s.State)
	e.uint(2, uint64(s.Seq))
	e.mid(3, s.MID)
	e.str(4, string(s.Conv))
	e.uint(5, uint64(s.Time))
	e.bool(6, s.Dup)
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

func (e *encoder) entry(entry *Entry) {
	if entry.IsSkip() {
		e.skip(3, Skip{entry.Seq, entry.SkipTo})
		return
	}
	e.uint(1, uint64(entry.Seq))
	o := e.open(2, messageFields)
	e.message(&entry.Msg)
	e.close(o)
}

func (e *encoder) message(m *Message) {
	e.mid(1, m.MID)
	e.bytes(2, m.Conv)
	e.bytes(3, m.From)
	e.bytesOpt(4, m.CID)
	e.uint(5, uint64(m.Time))
	if m.Text {
		e.text(6, m.Body)
	} else {
		e.data(7, m.Body)
	}
	e.bytesOpt(8, m.Type)
}

// skip writes the same message as frame body (field 10) or entry body (3).
func (e *encoder) skip(n int, s Skip) {
	o := e.open(n, skipFields)
	e.uint(1, uint64(s.From))
	e.uint(2, uint64(s.To))
	e.close(o)
}

func (e *encoder) conversationsReply(c *ConversationsReply) {
	e.array(1)
	for i := range c.Items {
		item := &c.Items[i]
		o := e.element(1, conversationItemFields)
		e.str(1, string(item.Conv))
		if item.Last.Seq != 0 {
			last := e.open(2, entryFields)
			e.entry(&item.Last)
			e.close(last)
		}
		e.uint(3, item.Unread)
		e.uint(4, uint64(item.Read))
		e.close(o)
	}
	e.endArray()
	e.strOpt(2, c.Next)
	e.uint(3, uint64(c.AsOf))
}

func (e *encoder) presenceReply(p *PresenceReply) {
	e.array(1)
	for i := range p.Users {
		user := &p.Users[i]
		o := e.element(1, presenceItemFields)
		e.str(1, string(user.User))
		e.bool(2, user.Online)
		e.uint(3, uint64(user.LastSeen))
		e.close(o)
	}
	e.endArray()
}

func (e *encoder) errorReply(r *ErrorReply) {
	e.str(1, r.Code)
	e.uint(2, uint64(r.Num))
	e.bool(3, r.Temporary)
	e.uint(4, uint64(r.RetryAfterMS))
	e.str(5, r.Message)
}

func (e *encoder) goaway(g *Goaway) {
	e.str(1, g.Reason)
	e.uint(2, uint64(g.AfterMS))
	e.uint(3, uint64(g.SpreadMS))
	e.str(4, g.URL)
}
