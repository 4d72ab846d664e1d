package godwit

// messengerReply reads the bodies of what a messenger has beside messages.
func (d *decoder) messengerReply(f *ServerFrame) {
	switch f.Kind {
	case KindDone:
		d.done(&f.Done)
	case KindGroup:
		d.groupReply(&f.Group)
	case KindDevice:
		for m := d.open(devicesReplyFields); d.next(&m); {
			for l := (list{}); d.more(&l); {
				f.Devices.Devices = append(f.Devices.Devices, d.deviceItem())
			}
		}
	case KindBlock, KindContact:
		for m := d.open(peopleReplyFields); d.next(&m); {
			f.People.Users = d.users(f.People.Users)
		}
	case KindEphemeral:
		d.ephemeral(&f.Ephemeral)
	case KindChannel:
		d.channelStart(&f.Channel)
	}
}

// users appends the elements of the current field.
func (d *decoder) users(dst []UserID) []UserID {
	for l := (list{}); d.more(&l); {
		dst = append(dst, UserID(d.str()))
	}
	return dst
}

func (d *decoder) done(v *Done) {
	for m := d.open(doneFields); d.next(&m); {
		switch m.field {
		case 1:
			v.Seq = d.seq()
		case 2:
			v.GSeq = d.seq()
		case 3:
			v.Dup = d.bool()
		}
	}
}

func (d *decoder) groupReply(g *GroupReply) {
	for m := d.open(groupReplyFields); d.next(&m); {
		switch m.field {
		case 1:
			g.Group = GroupID(d.str())
		case 2:
			g.Conv = ConversationID(d.str())
		case 3:
			g.Name = string(d.str())
		case 4:
			g.Join = groupWord(d.str())
		case 5:
			g.History = groupWord(d.str())
		case 6:
			g.Role = groupWord(d.str())
		case 7:
			g.Count = d.uint32()
		case 8:
			g.Channel = d.bool()
		case 9:
			g.GSeq = d.seq()
		case 10:
			for l := (list{}); d.more(&l); {
				g.Members = append(g.Members, d.member())
			}
		case 11:
			for l := (list{}); d.more(&l); {
				g.Groups = append(g.Groups, d.groupItem())
			}
		case 12:
			g.Next = string(d.str())
		case 13:
			g.Delivered = d.uint32()
		case 14:
			g.Read = d.uint32()
		case 15:
			g.Dup = d.bool()
		}
	}
}

func (d *decoder) member() (v Member) {
	for m := d.open(memberFields); d.next(&m); {
		switch m.field {
		case 1:
			v.User = UserID(d.str())
		case 2:
			v.Role = groupWord(d.str())
		case 3:
			v.Since = d.seq()
		case 4:
			v.Delivered = d.seq()
		case 5:
			v.Read = d.seq()
		}
	}
	return v
}

func (d *decoder) groupItem() (v GroupItem) {
	for m := d.open(groupItemFields); d.next(&m); {
		switch m.field {
		case 1:
			v.Group = GroupID(d.str())
		case 2:
			v.Conv = ConversationID(d.str())
		case 3:
			v.Name = string(d.str())
		case 4:
			v.Role = groupWord(d.str())
		case 5:
			v.Count = d.uint32()
		case 6:
			v.Channel = d.bool()
		}
	}
	return v
}

func (d *decoder) deviceItem() (v DeviceItem) {
	for m := d.open(deviceItemFields); d.next(&m); {
		switch m.field {
		case 1:
			v.Device = string(d.str())
		case 2:
			v.Since = d.time()
		case 3:
			v.Online = d.bool()
		case 4:
			v.Seen = d.time()
		case 5:
			v.This = d.bool()
		}
	}
	return v
}

// ephemeral reads what exactly one part of is there. One that this code doesn't
// know is, as a frame, unknown: a client ignores it.
func (d *decoder) ephemeral(v *Ephemeral) {
	parts := 0
	for m := d.open(ephemeralFields); d.next(&m); {
		parts++
		switch m.field {
		case 1:
			v.IsTyping = true
			d.typingNotice(&v.Typing)
		case 2:
			d.presenceItem(&v.Presence)
		case 3:
			v.IsReceipt = true
			d.receipt(&v.Receipt)
		}
	}
	d.refused = d.refused || parts > 1
	d.unknown = parts == 0
}

func (d *decoder) typingNotice(t *TypingNotice) {
	for m := d.open(typingNoticeFields); d.next(&m); {
		switch m.field {
		case 1:
			t.Conv = ConversationID(d.str())
		case 2:
			t.User = UserID(d.str())
		case 3:
			t.Stop = d.bool()
		}
	}
}

func (d *decoder) channelStart(c *ChannelStart) {
	for m := d.open(channelStartFields); d.next(&m); {
		switch m.field {
		case 1:
			c.Conv = ConversationID(d.str())
		case 2:
			c.GSeq = d.seq()
		case 3:
			c.Reset = d.bool()
		}
	}
}

func (d *decoder) presenceReply(p *PresenceReply) {
	for m := d.open(presenceReplyFields); d.next(&m); {
		for l := (list{}); d.more(&l); {
			p.Users = append(p.Users, PresenceItem{})
			d.presenceItem(&p.Users[len(p.Users)-1])
		}
	}
}

func (d *decoder) presenceItem(item *PresenceItem) {
	for m := d.open(presenceItemFields); d.next(&m); {
		switch m.field {
		case 1:
			item.User = UserID(d.str())
		case 2:
			item.Online = d.bool()
		case 3:
			item.LastSeen = d.time()
		}
	}
}

// groupWord returns v as a string, without a copy when it is a word of this version.
func groupWord(v []byte) string {
	for _, word := range groupWords {
		if string(v) == word {
			return word
		}
	}
	return string(v)
}

// groupWords are the words of members first, of which there are many.
var groupWords = [...]string{
	RoleMember, RoleAdmin, RoleOwner, JoinInvite, JoinOpen, HistoryJoined, HistoryAll,
	GroupCreate, GroupSet, GroupAdd, GroupRemove, GroupLeave, GroupJoin, GroupRole, GroupBecomesChannel,
}
