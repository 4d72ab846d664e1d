package chat

import (
	"bytes"
	"context"
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
	s.reviseAt(session, user, id, log, seq, edit)
}

// reviseAt edits, or with a nil edit recalls, the message at seq of a log. The fields
// of edit have been checked and are the request's own.
func (s *Service) reviseAt(session godwit.SessionID, user godwit.UserID, id uint64, log godwit.LogID, seq godwit.Seq, edit *godwit.Edit) {
	if wait := s.senders.take(user); wait > 0 && !isOperator(session) { // as many entries as a send
		s.refuseFor(session, id, godwit.ErrRateLimited, wait)
		return
	}
	c := &reviseChange{
		service: s, request: request{session: session, id: id, what: requestSend},
		user: godwit.UserID(bytes.Clone(bytesOf(user))), log: log, seq: seq, edit: edit,
	}
	ask := edit != nil && s.gate.asksHook(session)
	if ask {
		c.what, c.gone = requestRead, make(chan struct{}) // without an effect until the gate lets it pass
	}
	switch {
	case !s.deadlines.add(&c.request):
		s.refuse(session, id, godwit.ErrUnavailable)
	case ask:
		s.gate.enter(user, c)
	default:
		s.changes.start(c)
	}
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

// reviseChange is one edit or recall on its way: a change, and, as an edit that the
// hook is asked about, gated before that.
type reviseChange struct {
	service *Service
	request
	user godwit.UserID
	log  godwit.LogID // of the message
	seq  godwit.Seq
	edit *godwit.Edit // nil: recall

	command []byte // what was made of it while it was gated
	refusal *godwit.Error
	waitMS  uint32 // with refusal: for how long; 0: as is usual
}

func (c *reviseChange) place() int { return c.service.cfg.Store.Group(c.log.Partition()) }

// look reads the message, which says in which conversation it is and whose.
func (c *reviseChange) look(v View) (command []byte, next step) {
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
		return c.lookInGroup(v, &r, &b)
	case string(b.from[2:]) != string(c.user):
		return c.refuse(godwit.ErrNoMessage)
	}
	s, group := c.service, c.place()
	lane := laneID{c.user.Partition(), b.recipient().Partition()}
	if s.cfg.Store.Group(lane.dst) != group && !s.forwarder.hasRoom(lane) {
		return c.refuse(godwit.ErrUnavailable)
	}
	typ, body, text := c.content()
	block := appendBlock(nil, b.from[2:], b.to[2:], b.cid, typ, body, text)
	at := r.Time
	if isOperator(c.session) {
		at = max(at, s.cfg.Now()) // no window binds him
	}
	return appendReviseCommand(nil, homeOf(group, s.cfg.Store.Groups()), logNumber(c.log), at, c.edit == nil, c.seq, block), stepPropose
}

// lookInGroup makes the command for a message of a group. An edit takes from the
// group's rate, as it is told to all members; of recalls there are no more than messages.
func (c *reviseChange) lookInGroup(v View, r *godwit.Record, b *block) (command []byte, next step) {
	s, group, operator := c.service, b.to[2:], isOperator(c.session)
	if c.edit != nil && !operator {
		m, _ := memberOf(v, group, bytesOf(c.user))
		if string(b.from[2:]) != string(c.user) || !m.isMember() {
			return c.refuse(godwit.ErrNoMessage)
		}
		if c.waitMS = s.groupRate.take(userOf(group)); c.waitMS > 0 {
			return c.refuse(godwit.ErrRateLimited)
		}
	}
	typ, body, text := c.content()
	home := homeOf(c.place(), s.cfg.Store.Groups())
	command = appendGroupReviseHead(nil, home, operator, c.edit == nil, c.seq, r.Time, b.from[2:])
	return appendGroupBlock(command, bytesOf(c.user), group, b.cid, typ, body, text), stepPropose
}

// content is the new body; that of a recall is empty.
func (c *reviseChange) content() (typ, body []byte, text bool) {
	switch e := c.edit; {
	case e == nil:
		return nil, nil, false
	case e.HasText:
		return e.Type, e.Text, true
	default:
		return e.Type, e.Data, false
	}
}

func (c *reviseChange) refuse(e *godwit.Error) ([]byte, step) {
	c.refusal = e
	return nil, stepDone
}

func (c *reviseChange) finish() {
	if c.waitMS == 0 {
		c.Fail(c.refusal)
	} else if c.service.deadlines.claim(&c.request) {
		c.service.refuseFor(c.session, c.id, c.refusal, c.waitMS)
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
		*f = godwit.ServerFrame{ID: c.id, Kind: godwit.KindDone, Done: godwit.Done{Seq: o.seq, GSeq: o.gseq, Dup: o.dup}}
		c.service.cfg.Edge.Reply(c.session, f)
	}
}

// An edit is gated if there is a hook.

func (c *reviseChange) asked() *request { return &c.request }

// outgoing looks at the message first: only it says to whom the edit goes.
func (c *reviseChange) outgoing(ctx context.Context) (out *Outgoing, ok bool) {
	s := c.service
	visible := make(chan error, 1)
	s.cfg.Store.ReadIndex(c.place(), func(err error) { visible <- err })
	select {
	case err := <-visible:
		if err != nil {
			c.Fail(godwit.ErrUnavailable)
			return nil, false
		}
	case <-c.gone:
		return nil, false
	case <-ctx.Done(): // the service closes, and has answered
		return nil, false
	}
	command, next, err := s.changes.view(c)
	switch {
	case err != nil:
		c.Fail(err)
		return nil, false
	case next == stepDone:
		c.finish()
		return nil, false
	}
	c.command = command
	out = c.outgoingOf(command)
	var mid godwit.MessageID
	s.ids.Load().make(&mid, c.log, c.seq)
	out.MID = mid.AppendTo(nil)
	return out, true
}

func (c *reviseChange) outgoingOf(command []byte) *Outgoing {
	if p, ok := parseCommand(command); ok {
		switch body := p.body.(type) {
		case *reviseCommand:
			return body.block.outgoing()
		case *groupReviseCommand:
			return body.block.outgoing()
		}
	}
	panic("BUG: an edit that was just built does not parse")
}

// release proposes it, or has it looked at if the hook could not be asked.
func (c *reviseChange) release(bool) {
	if c.command == nil {
		c.service.changes.start(c)
	} else if err := c.service.cfg.Store.Propose(c.place(), c.command, c); err != nil {
		c.Fail(err)
	}
}

func (c *reviseChange) drop() {}
