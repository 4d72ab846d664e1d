package godwit

// Parse reads one whole frame, as NextFrame cuts it: what a client does. Errors
// are those of ClientFrame.Parse; a client ignores a frame that is
// ErrFrameUnknown, since the server may be newer. Byte slices alias src or the
// frame's scratch and die with the next Parse; strings and lists are its own.
func (f *ServerFrame) Parse(enc Encoding, src []byte) error {
	d := newDecoder(enc, src, f.scratch)
	*f = ServerFrame{lastConv: f.lastConv}
	m := d.begin(serverFields)
	for d.next(&m) {
		if m.field == 1 {
			f.ID = d.big()
			continue
		}
		kind := serverKinds[m.field]
		if f.Kind != KindPing && f.Kind != kind {
			d.refused = true
		}
		f.Kind = kind
		d.serverBody(f)
	}
	f.scratch = d.scratch
	return d.finish(f.Kind == KindPing, f.ID, &m)
}

func (d *decoder) serverBody(f *ServerFrame) {
	switch f.Kind {
	case KindConnect:
		d.connectReply(&f.Connect)
	case KindSend:
		d.sendReply(&f.Send, &f.lastConv)
	case KindSync:
		d.syncReply(&f.Sync)
	case KindHistory:
		d.historyReply(&f.History)
	case KindConversations:
		d.conversationsReply(&f.Conversations)
	case KindEvent:
		d.entry(&f.Event)
	case KindPresence:
		d.presenceReply(&f.Presence)
	case KindError:
		d.errorReply(&f.Error)
	case KindSkip:
		d.skip(&f.Skip)
	case KindResumed:
		for m := d.open(resumedFields); d.next(&m); {
			f.Resumed.Seq = d.seq()
		}
	case KindGoaway:
		d.goaway(&f.Goaway)
	case KindRefresh:
		for m := d.open(refreshReplyFields); d.next(&m); {
			f.Refresh.TTL = d.uint32()
		}
	case KindPoll:
		for m := d.open(pollFields); d.next(&m); {
			f.Poll.Cursor = string(d.str())
		}
	default:
		d.messengerReply(f)
	}
}

func (d *decoder) connectReply(c *ConnectReply) {
	for m := d.open(connectReplyFields); d.next(&m); {
		switch m.field {
		case 1:
			c.Session = string(d.str())
		case 2:
			c.Node = string(d.str())
		case 3:
			c.Epoch = string(d.str())
		case 4:
			c.Seq = d.seq()
		case 5:
			c.Resumed = d.bool()
		case 6:
			c.Reason = string(d.str())
		case 7:
			c.Missed = d.big()
		case 8:
			c.Ping = d.uint32()
		case 9:
			c.TTL = d.uint32()
		case 10:
			c.Time = d.time()
		case 11:
			c.User = UserID(d.str())
		case 12:
			c.Device = string(d.str())
		case 13:
			for l := (list{}); d.more(&l); {
				c.Caps = append(c.Caps, string(d.str()))
			}
		case 14:
			d.limits(&c.Limits)
		case 15:
			c.Digest = d.big()
		case 16:
			c.Stamp = string(d.str())
		}
	}
}

func (d *decoder) limits(l *Limits) {
	for m := d.open(limitsFields); d.next(&m); {
		v := d.uint32()
		switch m.field {
		case 1:
			l.Frame = v
		case 2:
			l.Body = v
		case 3:
			l.InFlight = v
		case 4:
			l.SendPerS = v
		case 5:
			l.Page = v
		case 6:
			l.Watch = v
		case 7:
			l.Presence = v
		case 8:
			l.Window = v
		case 9:
			l.RPC = v
		case 10:
			l.Wait = v
		case 11:
			l.Queue = v
		case 12:
			l.Sessions = v
		case 13:
			l.FramesPerS = v
		case 14:
			l.Members = v
		case 15:
			l.Groups = v
		case 16:
			l.Edit = v
		}
	}
}

// sendReply keeps the last conversation's string: replies mostly repeat it.
func (d *decoder) sendReply(s *SendReply, last *ConversationID) {
	for m := d.open(sendReplyFields); d.next(&m); {
		switch m.field {
		case 1:
			s.State = knownString(d.str())
		case 2:
			s.Seq = d.seq()
		case 3:
			s.MID = d.mid()
		case 4:
			if conv := d.str(); string(conv) != string(*last) {
				*last = ConversationID(conv)
			}
			s.Conv = *last
		case 5:
			s.Time = d.time()
		case 6:
			s.Dup = d.bool()
		case 7:
			s.GSeq = d.seq()
		}
	}
}

func (d *decoder) syncReply(s *SyncReply) {
	for m := d.open(syncReplyFields); d.next(&m); {
		switch m.field {
		case 1:
			s.Entries = d.entries(s.Entries)
		case 2:
			s.Head = d.seq()
		case 3:
			s.Digest = d.big()
		}
	}
}

func (d *decoder) historyReply(h *HistoryReply) {
	for m := d.open(historyReplyFields); d.next(&m); {
		switch m.field {
		case 1:
			h.Entries = d.entries(h.Entries)
		case 2:
			h.More = d.bool()
		}
	}
}

func (d *decoder) conversationsReply(c *ConversationsReply) {
	for m := d.open(conversationsReplyFields); d.next(&m); {
		switch m.field {
		case 1:
			for l := (list{}); d.more(&l); {
				c.Items = append(c.Items, ConversationItem{})
				d.conversationItem(&c.Items[len(c.Items)-1])
			}
		case 2:
			c.Next = string(d.str())
		case 3:
			c.AsOf = d.seq()
		case 4:
			c.Digest = d.big()
		}
	}
}

func (d *decoder) conversationItem(item *ConversationItem) {
	for m := d.open(conversationItemFields); d.next(&m); {
		switch m.field {
		case 1:
			item.Conv = ConversationID(d.str())
		case 2:
			d.entry(&item.Last)
		case 3:
			item.Unread = d.big()
		case 4:
			item.Read = d.seq()
		case 5:
			item.Delivered = d.seq()
		case 6:
			item.PeerRead = d.seq()
		case 7:
			item.PeerDelivered = d.seq()
		case 8:
			item.GSeq = d.seq()
		case 9:
			item.Name = string(d.str())
		case 10:
			item.Channel = d.bool()
		case 11:
			item.Mute = d.time()
		case 12:
			item.Pin = d.bool()
		case 13:
			item.Archive = d.bool()
		}
	}
}

func (d *decoder) errorReply(r *ErrorReply) {
	for m := d.open(errorFields); d.next(&m); {
		switch m.field {
		case 1:
			r.Code = knownString(d.str())
		case 2:
			r.Num = d.uint32()
		case 3:
			r.Temporary = d.bool()
		case 4:
			r.RetryAfterMS = d.uint32()
		case 5:
			r.Message = knownString(d.str())
		}
	}
}

func (d *decoder) goaway(g *Goaway) {
	for m := d.open(goawayFields); d.next(&m); {
		switch m.field {
		case 1:
			g.Reason = string(d.str())
		case 2:
			g.AfterMS = d.uint32()
		case 3:
			g.SpreadMS = d.uint32()
		case 4:
			g.URL = string(d.str())
		}
	}
}

// knownString returns v as a string, without a copy when it is one of those a
// server of this version writes.
func knownString(v []byte) string {
	if string(v) == StateStored {
		return StateStored
	}
	for _, e := range allErrors {
		if string(v) == e.Code {
			return e.Code
		}
		if string(v) == e.Message {
			return e.Message
		}
	}
	return string(v)
}
