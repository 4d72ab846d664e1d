package godwit

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

func (e *encoder) serverBody(f *ServerFrame) {
	switch f.Kind {
	case KindPing:
	case KindEvent:
		e.event(&f.Event)
	case KindSend:
		o := e.open(3, sendReplyFields)
		e.sendReply(&f.Send)
		e.close(o)
	case KindEphemeral:
		o := e.open(20, ephemeralFields)
		e.ephemeral(&f.Ephemeral)
		e.close(o)
	case KindDone:
		o := e.open(15, doneFields)
		e.uintOpt(1, uint64(f.Done.Seq))
		e.uintOpt(2, uint64(f.Done.GSeq))
		e.boolOpt(3, f.Done.Dup)
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
		e.uintOpt(3, f.Sync.Digest)
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
		e.messengerReply(f)
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
	e.uintOpt(15, c.Digest)
	e.strOpt(16, c.Stamp)
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
	e.uint(14, uint64(l.Members))
	e.uint(15, uint64(l.Groups))
	e.uint(16, uint64(l.Edit))
}

// sendReply leaves out the sequence only where there is another: in a group the
// message may have no place in the sender's log.
func (e *encoder) sendReply(s *SendReply) {
	e.str(1, s.State)
	if s.Seq != 0 || s.GSeq == 0 {
		e.uint(2, uint64(s.Seq))
	}
	e.uintOpt(7, uint64(s.GSeq))
	e.mid(3, s.MID)
	e.str(4, string(s.Conv))
	e.uint(5, uint64(s.Time))
	e.bool(6, s.Dup)
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

func (e *encoder) conversationsReply(c *ConversationsReply) {
	e.array(1)
	for i := range c.Items {
		o := e.element(1, conversationItemFields)
		e.conversationItem(&c.Items[i])
		e.close(o)
	}
	e.endArray()
	e.strOpt(2, c.Next)
	e.uint(3, uint64(c.AsOf))
	e.uintOpt(4, c.Digest)
}

func (e *encoder) conversationItem(item *ConversationItem) {
	e.str(1, string(item.Conv))
	if item.Last.Seq != 0 || item.Last.GSeq != 0 {
		last := e.open(2, entryFields)
		e.entry(&item.Last)
		e.close(last)
	}
	e.uint(3, item.Unread)
	e.uint(4, uint64(item.Read))
	e.uint(5, uint64(item.Delivered))
	e.uintOpt(6, uint64(item.PeerRead))
	e.uintOpt(7, uint64(item.PeerDelivered))
	e.uintOpt(8, uint64(item.GSeq))
	e.strOpt(9, item.Name)
	e.boolOpt(10, item.Channel)
	e.uintOpt(11, uint64(item.Mute))
	e.boolOpt(12, item.Pin)
	e.boolOpt(13, item.Archive)
}
