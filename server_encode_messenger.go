package godwit

import "fmt"

// messengerReply writes the bodies of what a messenger has beside messages.
func (e *encoder) messengerReply(f *ServerFrame) {
	switch f.Kind {
	case KindGroup:
		o := e.open(16, groupReplyFields)
		e.groupReply(&f.Group)
		e.close(o)
	case KindDevice:
		o := e.open(17, devicesReplyFields)
		e.devicesReply(&f.Devices)
		e.close(o)
	case KindBlock:
		e.peopleReply(18, &f.People)
	case KindContact:
		e.peopleReply(19, &f.People)
	case KindChannel:
		o := e.open(21, channelStartFields)
		e.str(1, string(f.Channel.Conv))
		e.uint(2, uint64(f.Channel.GSeq))
		e.boolOpt(3, f.Channel.Reset)
		e.close(o)
	default:
		panic(fmt.Sprintf("BUG: kind %d in a server frame", f.Kind))
	}
}

// users writes the repeated field n, empty or not.
func (e *encoder) users(n int, users []UserID) {
	e.array(n)
	for _, user := range users {
		e.item(n, []byte(user))
	}
	e.endArray()
}

func (e *encoder) peopleReply(n int, p *PeopleReply) {
	o := e.open(n, peopleReplyFields)
	e.users(1, p.Users)
	e.close(o)
}

// groupReply answers many questions and writes what belongs to the one asked.
func (e *encoder) groupReply(g *GroupReply) {
	e.strOpt(1, string(g.Group))
	e.strOpt(2, string(g.Conv))
	e.strOpt(3, g.Name)
	e.strOpt(4, g.Join)
	e.strOpt(5, g.History)
	e.strOpt(6, g.Role)
	e.uintOpt(7, uint64(g.Count))
	e.boolOpt(8, g.Channel)
	e.uintOpt(9, uint64(g.GSeq))
	if len(g.Members) > 0 {
		e.members(g.Members)
	}
	if len(g.Groups) > 0 {
		e.groupItems(g.Groups)
	}
	e.strOpt(12, g.Next)
	e.uintOpt(13, uint64(g.Delivered))
	e.uintOpt(14, uint64(g.Read))
	e.boolOpt(15, g.Dup)
}

func (e *encoder) members(members []Member) {
	e.array(10)
	for i := range members {
		m := &members[i]
		o := e.element(10, memberFields)
		e.str(1, string(m.User))
		e.str(2, m.Role)
		e.uint(3, uint64(m.Since))
		e.uint(4, uint64(m.Delivered))
		e.uint(5, uint64(m.Read))
		e.close(o)
	}
	e.endArray()
}

func (e *encoder) groupItems(items []GroupItem) {
	e.array(11)
	for i := range items {
		item := &items[i]
		o := e.element(11, groupItemFields)
		e.str(1, string(item.Group))
		e.str(2, string(item.Conv))
		e.str(3, item.Name)
		e.str(4, item.Role)
		e.uint(5, uint64(item.Count))
		e.boolOpt(6, item.Channel)
		e.close(o)
	}
	e.endArray()
}

func (e *encoder) devicesReply(r *DevicesReply) {
	e.array(1)
	for i := range r.Devices {
		item := &r.Devices[i]
		o := e.element(1, deviceItemFields)
		e.str(1, item.Device)
		e.uint(2, uint64(item.Since))
		e.bool(3, item.Online)
		e.uint(4, uint64(item.Seen))
		e.bool(5, item.This)
		e.close(o)
	}
	e.endArray()
}

func (e *encoder) ephemeral(v *Ephemeral) {
	if v.IsTyping {
		o := e.open(1, typingNoticeFields)
		e.str(1, string(v.Typing.Conv))
		e.str(2, string(v.Typing.User))
		e.boolOpt(3, v.Typing.Stop)
		e.close(o)
		return
	}
	if v.IsReceipt {
		o := e.open(3, receiptFields)
		e.receipt(&v.Receipt)
		e.close(o)
		return
	}
	o := e.open(2, presenceItemFields)
	e.presenceItem(&v.Presence)
	e.close(o)
}

func (e *encoder) presenceReply(p *PresenceReply) {
	e.array(1)
	for i := range p.Users {
		o := e.element(1, presenceItemFields)
		e.presenceItem(&p.Users[i])
		e.close(o)
	}
	e.endArray()
}

func (e *encoder) presenceItem(item *PresenceItem) {
	e.str(1, string(item.User))
	e.bool(2, item.Online)
	e.uint(3, uint64(item.LastSeen))
}
