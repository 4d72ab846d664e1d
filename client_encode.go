package godwit

import "fmt"

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
		e.array(1)
		for _, user := range f.Presence.Get {
			e.item(1, user)
		}
		e.endArray()
		e.close(o)
	case KindRefresh:
		o := e.open(9, refreshFields)
		e.bytesOpt(1, f.Refresh.Token)
		e.close(o)
	default:
		panic(fmt.Sprintf("BUG: kind %d in a client frame", f.Kind))
	}
}

func (e *encoder) connect(c *Connect) {
	e.bytesOpt(1, c.Token)
	e.bytesOpt(2, c.Device)
	if len(c.Caps) > 0 {
		e.array(3)
		for _, name := range c.Caps {
			e.item(3, name)
		}
		e.endArray()
	}
	if c.Resume.Set {
		o := e.open(4, resumeFields)
		e.bytes(1, c.Resume.Epoch)
		e.uint(2, uint64(c.Resume.Seq))
		e.close(o)
	}
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
}
