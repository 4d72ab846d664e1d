package godwit

// messengerBody reads the bodies of what a messenger has beside messages.
func (d *decoder) messengerBody(f *ClientFrame) {
	switch f.Kind {
	case KindMark:
		d.mark(&f.Mark)
	case KindTyping:
		d.typing(&f.Typing)
	case KindGroup:
		d.group(&f.Group)
	case KindEdit:
		d.edit(&f.Edit)
	case KindRecall:
		for m := d.open(recallFields); d.next(&m); {
			f.Recall.MID = d.str()
		}
	case KindDevice:
		d.device(&f.Device)
	case KindBlock:
		d.people(&f.Block)
	case KindContact:
		d.people(&f.Contact)
	case KindConversation:
		d.conversationChange(&f.Conversation)
	}
}

func (d *decoder) mark(r *Mark) {
	for m := d.open(markFields); d.next(&m); {
		switch m.field {
		case 1:
			r.Conv = d.str()
		case 2:
			r.Delivered = d.seq()
		case 3:
			r.Read = d.seq()
		}
	}
}

func (d *decoder) typing(t *Typing) {
	for m := d.open(typingFields); d.next(&m); {
		switch m.field {
		case 1:
			t.Conv = d.str()
		case 2:
			t.Stop = d.bool()
		}
	}
}

func (d *decoder) group(g *Group) {
	for m := d.open(groupFields); d.next(&m); {
		switch m.field {
		case 1:
			g.Do = d.str()
		case 2:
			g.Group = d.str()
		case 3:
			g.CID = d.str()
		case 4:
			g.Name, g.HasName = d.str(), true
		case 5:
			g.Users = d.strings(0, g.Users)
		case 6:
			g.Role = d.str()
		case 7:
			g.Join = d.str()
		case 8:
			g.History = d.str()
		case 9:
			g.GSeq = d.seq()
		case 10:
			g.Next = d.str()
		case 11:
			g.Limit = d.uint32()
		}
	}
}

func (d *decoder) edit(e *Edit) {
	for m := d.open(editFields); d.next(&m); {
		switch m.field {
		case 1:
			e.MID = d.str()
		case 2:
			e.Text, e.HasText = d.str(), true
		case 3:
			e.Data, e.HasData = d.data(), true
		case 4:
			e.Type = d.str()
		}
	}
}

func (d *decoder) device(v *Device) {
	for m := d.open(deviceFields); d.next(&m); {
		switch m.field {
		case 1:
			v.Do = d.str()
		case 2:
			v.Device = d.str()
		case 3:
			v.All = d.bool()
		}
	}
}

func (d *decoder) people(p *People) {
	for m := d.open(peopleFields); d.next(&m); {
		switch m.field {
		case 1:
			p.Add = d.strings(0, p.Add)
		case 2:
			p.Remove = d.strings(1, p.Remove)
		}
	}
}

func (d *decoder) conversationChange(c *ConversationChange) {
	for m := d.open(conversationChangeFields); d.next(&m); {
		switch m.field {
		case 1:
			c.Conv = d.str()
		case 2:
			c.Mute, c.HasMute = d.time(), true
		case 3:
			c.Pin, c.HasPin = d.bool(), true
		case 4:
			c.Archive, c.HasArchive = d.bool(), true
		case 5:
			c.Delete = d.seq()
		}
	}
}
