package chat

import (
	"bytes"
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// edit replaces the body of one of the user's messages.
func (s *Service) edit(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.Edit) {
	var refusal *godwit.Error
	switch {
	case f.HasText == f.HasData || len(f.Type) > godwit.TypeBytesMax:
		refusal = godwit.ErrBadBody
	case len(f.Text) > s.cfg.BodyBytesMax || len(f.Data) > s.cfg.BodyBytesMax:
		refusal = godwit.ErrTooLarge
	}
	if refusal != nil {
		s.refuse(session, id, refusal)
		return
	}
	edit := &godwit.Edit{
		Text: bytes.Clone(f.Text), Data: bytes.Clone(f.Data), HasText: f.HasText, HasData: f.HasData, Type: bytes.Clone(f.Type),
	}
	s.revise(session, user, id, f.MID, edit)
}

// recall takes one of the user's messages back.
func (s *Service) recall(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.Recall) {
	s.revise(session, user, id, f.MID, nil)
}

// revise finds the message by its id: it names the log and the place there.
func (s *Service) revise(session godwit.SessionID, user godwit.UserID, id uint64, mid []byte, edit *godwit.Edit) {
	text, err := godwit.ParseMessageID(mid)
	log, seq, ok := s.ids.Load().find(text)
	if err != nil || !ok {
		s.refuse(session, id, godwit.ErrNoMessage)
		return
	}
	if wait := s.senders.take(user); wait > 0 && !isOperator(session) { // as many entries as a send
		s.refuseFor(session, id, godwit.ErrRateLimited, wait)
		return
	}
	c := &reviseChange{
		service: s, request: request{session: session, id: id, what: requestSend},
		user: godwit.UserID(bytes.Clone(bytesOf(user))), log: log, seq: seq, edit: edit,
	}
	if !s.deadlines.add(&c.request) {
		s.refuse(session, id, godwit.ErrUnavailable)
		return
	}
	s.changes.start(c)
}

// find returns what an id was made of. Other text than ids comes out as a log and
// a sequence that do not exist, or that are another's: callers check whose.
func (m messageIDs) find(id godwit.MessageID) (log godwit.LogID, seq godwit.Seq, ok bool) {
	var origin [16]byte
	m.block.Decrypt(origin[:], id[:])
	log = godwit.LogID(binary.BigEndian.Uint64(origin[:8]))
	seq = godwit.Seq(binary.BigEndian.Uint64(origin[8:]))
	return log, seq, log.Partition() < godwit.Partitions && logNumber(log) != 0 && seq != 0 && seq <= godwit.SeqMax
}

// reviseChange is one edit or recall on its way.
type reviseChange struct {
	service *Service
	request
	user godwit.UserID
	log  godwit.LogID // of the message
	seq  godwit.Seq
	edit *godwit.Edit // nil: recall

	inGroup bool // for reviseGroup
	refusal *godwit.Error
}

func (c *reviseChange) place() int { return c.service.cfg.Store.Group(c.log.Partition()) }

// look reads the message, which says in which conversation it is and whose.
func (c *reviseChange) look(v View) (command []byte, next step) {
	s := c.service
	r, ok := v.Entry(c.log, c.seq)
	var m meta
	if !ok || !m.parse(r.Meta) || m.kind != recordMessage || m.incoming {
		return c.refuse(godwit.ErrNoMessage)
	}
	b, ok := parseBlock(r.Body)
	switch {
	case !ok:
		return c.refuse(godwit.ErrInternal)
	case isGroup(b.to):
		c.inGroup = true
		return nil, stepDone
	case string(b.from[2:]) != string(c.user):
		return c.refuse(godwit.ErrNoMessage)
	}
	lane := laneID{c.user.Partition(), b.recipient().Partition()}
	group := c.place()
	if s.cfg.Store.Group(lane.dst) != group && !s.forwarder.hasRoom(lane) {
		return c.refuse(godwit.ErrUnavailable)
	}
	var typ, body []byte
	text := false
	if e := c.edit; e != nil {
		typ, body, text = e.Type, e.Data, e.HasText
		if text {
			body = e.Text
		}
	}
	block := appendBlock(nil, b.from[2:], b.to[2:], b.cid, typ, body, text)
	at := r.Time
	if isOperator(c.session) {
		at = max(at, s.cfg.Now()) // no window binds him
	}
	return appendReviseCommand(nil, homeOf(group, s.cfg.Store.Groups()), logNumber(c.log), at, c.edit == nil, c.seq, block), stepPropose
}

func (c *reviseChange) refuse(e *godwit.Error) ([]byte, step) {
	c.refusal = e
	return nil, stepDone
}

func (c *reviseChange) finish() {
	switch {
	case c.refusal != nil:
		c.Fail(c.refusal)
	case c.inGroup && c.service.deadlines.claim(&c.request):
		c.service.reviseGroup(c.session, c.user, c.id, c.log, c.seq, c.edit)
	}
}

func (c *reviseChange) Fail(err error) {
	if c.service.deadlines.claim(&c.request) {
		c.service.refuse(c.session, c.id, publicError(err))
	}
}

func (c *reviseChange) applied(o *outcome, scratch *flushScratch) {
	if o.refusal != nil {
		c.Fail(o.refusal)
		return
	}
	if c.service.deadlines.claim(&c.request) {
		f := &scratch.frame
		*f = godwit.ServerFrame{ID: c.id, Kind: godwit.KindDone, Done: godwit.Done{Seq: o.seq, Dup: o.dup}}
		c.service.cfg.Edge.Reply(c.session, f)
	}
}
