package godwit

// Parse reads one whole frame, as NextFrame cuts it. Its errors are
// ErrFrameMalformed, ErrFrameInvalid (more than one body, a number out of range,
// a JSON name twice) and ErrFrameUnknown; ID is set as far as it could be read,
// so that the answer can carry it. Parse judges the form only: whether ids,
// bodies and cursors make sense is for those who use them.
func (f *ClientFrame) Parse(enc Encoding, src []byte) error {
	channels := f.Connect.Resume.Channels[:0]
	d := newDecoder(enc, src, f.scratch)
	d.lists = f.lists
	*f = ClientFrame{}
	f.Connect.Resume.Channels = channels
	m := d.begin(clientFields)
	for d.next(&m) {
		if m.field == 1 {
			f.ID = d.big()
			continue
		}
		kind := clientKinds[m.field]
		if f.Kind != KindPing && f.Kind != kind {
			d.refused = true
		}
		f.Kind = kind
		d.clientBody(f)
	}
	f.scratch, f.lists = d.scratch, d.lists
	return d.finish(f.Kind == KindPing, f.ID, &m)
}

func (d *decoder) clientBody(f *ClientFrame) {
	switch f.Kind {
	case KindConnect:
		d.connect(&f.Connect)
	case KindSend:
		d.send(&f.Send)
	case KindSync:
		d.sync(&f.Sync)
	case KindHistory:
		d.history(&f.History)
	case KindConversations:
		d.conversations(&f.Conversations)
	case KindAck:
		for m := d.open(ackFields); d.next(&m); {
			f.Ack.Seq = d.seq()
		}
	case KindPresence:
		d.presence(&f.Presence)
	case KindRefresh:
		for m := d.open(refreshFields); d.next(&m); {
			f.Refresh.Token = d.str()
		}
	default:
		d.messengerBody(f)
	}
}

// strings appends the elements of the current field, at most listMax in all, to
// dst, which is kept in lists[n] for the next frame: n tells the body's lists apart.
func (d *decoder) strings(n int, dst [][]byte) [][]byte {
	if dst == nil {
		dst = d.lists[n][:0]
	}
	for l := (list{}); d.more(&l); {
		if v := d.str(); len(dst) < listMax {
			dst = append(dst, v)
		} else {
			d.refused = true
		}
	}
	d.lists[n] = dst
	return dst
}

func (d *decoder) connect(c *Connect) {
	for m := d.open(connectFields); d.next(&m); {
		switch m.field {
		case 1:
			c.Token = d.str()
		case 2:
			c.Device = d.str()
		case 3:
			c.Caps = d.strings(0, c.Caps)
		case 4:
			c.Resume.Set = true
			d.resume(&c.Resume)
		}
	}
}

func (d *decoder) resume(r *Resume) {
	for m := d.open(resumeFields); d.next(&m); {
		switch m.field {
		case 1:
			r.Epoch = d.str()
		case 2:
			r.Seq = d.seq()
		case 3:
			r.Channels = d.channelPlaces(r.Channels)
		case 4:
			r.Stamp = d.str()
		}
	}
}

// channelPlaces appends the elements of the current field, at most listMax in all.
func (d *decoder) channelPlaces(dst []ChannelPlace) []ChannelPlace {
	for l := (list{}); d.more(&l); {
		place := ChannelPlace{}
		for m := d.open(channelPlaceFields); d.next(&m); {
			switch m.field {
			case 1:
				place.Conv = d.str()
			case 2:
				place.GSeq = d.seq()
			}
		}
		if len(dst) < listMax {
			dst = append(dst, place)
		} else {
			d.refused = true
		}
	}
	return dst
}

func (d *decoder) send(s *Send) {
	for m := d.open(sendFields); d.next(&m); {
		switch m.field {
		case 1:
			s.To = d.str()
		case 2:
			s.Group = d.str()
		case 3:
			s.CID = d.str()
		case 4:
			s.Text, s.HasText = d.str(), true
		case 5:
			s.Data, s.HasData = d.data(), true
		case 6:
			s.Type = d.str()
		case 7:
			s.Time = d.time()
		}
	}
}

func (d *decoder) sync(s *Sync) {
	for m := d.open(syncFields); d.next(&m); {
		switch m.field {
		case 1:
			s.Since = d.seq()
		case 2:
			s.From = d.seq()
		case 3:
			s.To = d.seq()
		case 4:
			s.Limit = d.uint32()
		}
	}
}

func (d *decoder) history(h *History) {
	for m := d.open(historyFields); d.next(&m); {
		switch m.field {
		case 1:
			h.Conv = d.str()
		case 2:
			h.Before = d.seq()
		case 3:
			h.After, h.HasAfter = d.seq(), true
		case 4:
			h.Limit = d.uint32()
		case 5:
			h.GBefore = d.seq()
		case 6:
			h.GAfter, h.HasGAfter = d.seq(), true
		}
	}
}

func (d *decoder) conversations(c *Conversations) {
	for m := d.open(conversationsFields); d.next(&m); {
		switch m.field {
		case 1:
			c.Limit = d.uint32()
		case 2:
			c.Next = d.str()
		}
	}
}

// presence takes a list to watch for given, be it empty: in Protobuf, where that
// can't be told from none, watching says it.
func (d *decoder) presence(p *Presence) {
	for m := d.open(presenceFields); d.next(&m); {
		switch m.field {
		case 1:
			p.Get = d.strings(0, p.Get)
		case 2:
			p.Watch, p.HasWatch = d.strings(1, p.Watch), true
		case 3:
			p.HasWatch = d.bool() || p.HasWatch
		case 4:
			p.Device = d.str()
		}
	}
}
