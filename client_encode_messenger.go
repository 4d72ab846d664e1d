package godwit

import "fmt"

// messengerBody writes the bodies of what a messenger has beside messages.
func (e *encoder) messengerBody(f *ClientFrame) {
	switch f.Kind {
	case KindMark:
		o := e.open(10, markFields)
		e.bytesOpt(1, f.Mark.Conv)
		e.uintOpt(2, uint64(f.Mark.Delivered))
		e.uintOpt(3, uint64(f.Mark.Read))
		e.close(o)
	case KindTyping:
		o := e.open(11, typingFields)
		e.bytesOpt(1, f.Typing.Conv)
		e.boolOpt(2, f.Typing.Stop)
		e.close(o)
	case KindGroup:
		o := e.open(12, groupFields)
		e.group(&f.Group)
		e.close(o)
	case KindEdit:
		o := e.open(13, editFields)
		e.edit(&f.Edit)
		e.close(o)
	case KindRecall:
		o := e.open(14, recallFields)
		e.bytesOpt(1, f.Recall.MID)
		e.close(o)
	case KindDevice:
		o := e.open(15, deviceFields)
		e.bytesOpt(1, f.Device.Do)
		e.bytesOpt(2, f.Device.Device)
		e.boolOpt(3, f.Device.All)
		e.close(o)
	case KindBlock:
		e.people(16, &f.Block)
	case KindContact:
		e.people(17, &f.Contact)
	case KindConversation:
		o := e.open(18, conversationChangeFields)
		e.conversationChange(&f.Conversation)
		e.close(o)
	default:
		panic(fmt.Sprintf("BUG: kind %d in a client frame", f.Kind))
	}
}

func (e *encoder) group(g *Group) {
	e.bytesOpt(1, g.Do)
	e.bytesOpt(2, g.Group)
	e.bytesOpt(3, g.CID)
	if g.HasName {
		e.text(4, g.Name)
	}
	e.itemsOpt(5, g.Users)
	e.bytesOpt(6, g.Role)
	e.bytesOpt(7, g.Join)
	e.bytesOpt(8, g.History)
	e.uintOpt(9, uint64(g.GSeq))
	e.bytesOpt(10, g.Next)
	e.uintOpt(11, uint64(g.Limit))
}

func (e *encoder) edit(v *Edit) {
	e.bytesOpt(1, v.MID)
	if v.HasText {
		e.text(2, v.Text)
	}
	if v.HasData {
		e.data(3, v.Data)
	}
	e.bytesOpt(4, v.Type)
}

func (e *encoder) people(n int, p *People) {
	o := e.open(n, peopleFields)
	e.itemsOpt(1, p.Add)
	e.itemsOpt(2, p.Remove)
	e.close(o)
}

func (e *encoder) conversationChange(c *ConversationChange) {
	e.bytesOpt(1, c.Conv)
	if c.HasMute {
		e.uintPresent(2, uint64(c.Mute))
	}
	if c.HasPin {
		e.boolPresent(3, c.Pin)
	}
	if c.HasArchive {
		e.boolPresent(4, c.Archive)
	}
	e.uintOpt(5, uint64(c.Delete))
}
