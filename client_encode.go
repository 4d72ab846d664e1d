package godwit

// AppendTo appends the frame in that encoding, without separator or length
// prefix (see AppendFrame). Strings must be UTF-8.
func (f *ClientFrame) AppendTo(dst []byte, enc Encoding) []byte {
	e := encoder{enc: enc, dst: dst}
	e.begin(clientFields)
	if f.Kind != KindPing {
		e.uintOpt(1, f.ID)
	}
	e.clientBody(f)
	return e.end()
}

func (e *encoder) clientBody(f *ClientFrame) {
	switch f.Kind {
	case KindPing:
	case KindConnect:
		o := e.open(2, connectFields)
		e.connect(&f.Connect)
		e.close(o)
	case KindSend:
		o := e.open(3, sendFields)
		e.send(&f.Send)
		e.close(o)
	case KindSync:
		o := e.open(4, syncFields)
		e.sync(&f.Sync)
		e.close(o)
	case KindHistory:
		o := e.open(5, historyFields)
		e.history(&f.History)
		e.close(o)
	case KindConversations:
		o := e.open(6, conversationsFields)
		e.uintOpt(1, uint64(f.Conversations.Limit))
		e.bytesOpt(2, f.Conversations.Next)
		e.close(o)
	case KindAck:
		o := e.open(7, ackFields)
		e.uint(1, uint64(f.Ack.Seq))
		e.close(o)
	case KindPresence:
		o := e.open(8, presenceFields)
		e.presence(&f.Presence)
		e.close(o)
	case KindRefresh:
		o := e.open(9, refreshFields)
		e.bytesOpt(1, f.Refresh.Token)
		e.close(o)
	default:
		e.messengerBody(f)
	}
}

// items writes the repeated field n, empty or not.
func (e *encoder) items(n int, values [][]byte) {
	e.array(n)
	for _, v := range values {
		e.item(n, v)
	}
	e.endArray()
}

func (e *encoder) itemsOpt(n int, values [][]byte) {
	if len(values) > 0 {
		e.items(n, values)
	}
}

func (e *encoder) connect(c *Connect) {
	e.bytesOpt(1, c.Token)
	e.bytesOpt(2, c.Device)
	e.itemsOpt(3, c.Caps)
	if c.Resume.Set {
		o := e.open(4, resumeFields)
		e.bytes(1, c.Resume.Epoch)
		e.uint(2, uint64(c.Resume.Seq))
		if len(c.Resume.Channels) > 0 {
			e.channelPlaces(c.Resume.Channels)
		}
		e.bytesOpt(4, c.Resume.Stamp)
		e.close(o)
	}
}

func (e *encoder) channelPlaces(places []ChannelPlace) {
	e.array(3)
	for i := range places {
		o := e.element(3, channelPlaceFields)
		e.bytes(1, places[i].Conv)
		e.uint(2, uint64(places[i].GSeq))
		e.close(o)
	}
	e.endArray()
}

func (e *encoder) send(s *Send) {
	e.bytesOpt(1, s.To)
	e.bytesOpt(2, s.Group)
	e.bytesOpt(3, s.CID)
	if s.HasText {
		e.text(4, s.Text)
	}
	if s.HasData {
		e.data(5, s.Data)
	}
	e.bytesOpt(6, s.Type)
	e.uintOpt(7, uint64(s.Time))
}

func (e *encoder) sync(s *Sync) {
	if s.Since != 0 || s.From == 0 && s.To == 0 {
		e.uint(1, uint64(s.Since))
	}
	e.uintOpt(2, uint64(s.From))
	e.uintOpt(3, uint64(s.To))
	e.uintOpt(4, uint64(s.Limit))
}

func (e *encoder) history(h *History) {
	e.bytesOpt(1, h.Conv)
	e.uintOpt(2, uint64(h.Before))
	if h.HasAfter {
		e.uintPresent(3, uint64(h.After))
	}
	e.uintOpt(4, uint64(h.Limit))
	e.uintOpt(5, uint64(h.GBefore))
	if h.HasGAfter {
		e.uintPresent(6, uint64(h.GAfter))
	}
}

// presence writes a list to watch even when it is empty; in Protobuf, where that
// would not be seen, field 3 says that there is one.
func (e *encoder) presence(p *Presence) {
	if len(p.Get) > 0 || !p.HasWatch {
		e.items(1, p.Get)
	}
	if p.HasWatch {
		e.items(2, p.Watch)
		if e.enc == EncodingProto {
			e.bool(3, true)
		}
	}
	e.bytesOpt(4, p.Device)
}
