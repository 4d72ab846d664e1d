package chat

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// groupSendRequest is one send to a group between its proposal and its answer.
// It is pooled as sendRequest is.
type groupSendRequest struct {
	request
	service *Service
	user    godwit.UserID
	at      int // raft group of the group's log
	buf     []byte
}

// sendGroup proposes a message that checkSend has passed; group aliases f.
func (s *Service) sendGroup(session godwit.SessionID, user godwit.UserID, id uint64, group []byte, f *godwit.Send) {
	if wait := s.senders.take(user); wait > 0 && !isOperator(session) {
		s.refuseFor(session, id, godwit.ErrRateLimited, wait)
		return
	}
	if wait := s.groupRate.take(userOf(group)); wait > 0 && !isOperator(session) {
		s.slowDown(session, user, id, group, wait)
		return
	}
	at := s.cfg.Store.Group(groupOfID(group).Partition())
	r := s.gsends.Get().(*groupSendRequest)
	r.request, r.user, r.at = request{session: session, id: id, what: requestSend}, user, at
	look := s.gate.asksHook(session)
	if look {
		r.what = requestRead // without an effect until the gate lets it pass
	}
	r.buf = appendGroupSendHead(r.buf[:0], homeOf(at, s.cfg.Store.Groups()), isOperator(session), f.Time)
	r.buf = appendGroupBlock(r.buf, bytesOf(user), group, f.CID, f.Type, bodyOf(f), f.HasText)
	switch {
	case !s.deadlines.add(&r.request):
		s.gsends.Put(r)
		s.refuse(session, id, godwit.ErrUnavailable)
	case look:
		s.gate.enter(user, r)
	default:
		r.release(false)
	}
}

// A send to a group is gated, too, if there is a hook.

func (r *groupSendRequest) asked() *request { return &r.request }

func (r *groupSendRequest) outgoing(context.Context) (*Outgoing, bool) {
	p, ok := parseCommand(r.buf)
	c, is := p.body.(*groupSendCommand)
	if !ok || !is {
		panic("BUG: a send that was just built does not parse")
	}
	return c.block.outgoing(), true
}

func (r *groupSendRequest) release(bool) {
	if err := r.service.cfg.Store.Propose(r.at, r.buf, r); err != nil {
		r.Fail(err)
	}
}

func (r *groupSendRequest) drop() { r.recycle() }

// applied: the message is in the group's log. Its place in the sender's own log
// follows with the fan-out, which then answers; a channel's message has none there.
func (r *groupSendRequest) applied(o *outcome, scratch *flushScratch) {
	s := r.service
	switch {
	case o.refusal == nil && !o.channel && !isOperator(r.session):
		s.counters.sent(o.dup)
		s.fanouts.stored(&r.request, r.user, o)
	case s.deadlines.claim(&r.request):
		f := &scratch.frame
		*f = godwit.ServerFrame{ID: r.id}
		if o.refusal != nil {
			r.giveBack(o.refusal)
			s.counters.refused.Add(1)
			f.Kind, f.Error = godwit.KindError, o.refusal.Reply(retryAfter(o.refusal))
		} else {
			f.Kind = godwit.KindSend
			s.counters.sent(o.dup)
			f.Send = godwit.SendReply{
				State: godwit.StateStored, GSeq: o.gseq, Conv: stringOf[godwit.ConversationID](o.conv), Time: o.time, Dup: o.dup,
			}
			s.ids.Load().make(&f.Send.MID, o.log, o.gseq)
		}
		s.cfg.Edge.Reply(r.session, f)
	}
	r.recycle()
}

// slowDown tells a member of a group that it has its fill, and everybody else that
// there is no such group.
func (s *Service) slowDown(session godwit.SessionID, user godwit.UserID, id uint64, group []byte, waitMS uint32) {
	by, group := bytes.Clone(bytesOf(user)), bytes.Clone(group)
	s.startReadAt(&read{
		request: request{session: session, id: id, what: requestRead},
		do: func(_ *read, w *readWorker, v View) answer {
			if m, _ := memberOf(v, group, by); !m.isMember() {
				return w.refuse(godwit.ErrNotMember)
			}
			s.counters.refused.Add(1)
			w.frame.Kind, w.frame.Error = godwit.KindError, godwit.ErrRateLimited.Reply(waitMS)
			return answerFrame
		},
	}, groupOfID(group).Partition())
}

// giveBack spares a group the sends of those who are no members of it: its rate is
// not theirs to use up.
func (r *groupSendRequest) giveBack(refusal *godwit.Error) {
	if p, ok := parseCommand(r.buf); ok && refusal == godwit.ErrNotMember {
		r.service.groupRate.give(userOf(p.body.(*groupSendCommand).block.to[2:]))
	}
}

func (r *groupSendRequest) Fail(err error) {
	if r.service.deadlines.claim(&r.request) {
		r.service.refuse(r.session, r.id, publicError(err))
	}
	r.recycle()
}

func (r *groupSendRequest) recycle() {
	if cap(r.buf) > 4096 {
		r.buf = nil
	}
	r.service.gsends.Put(r)
}

// startGroupTrim looks for dedup rows of a member that have left the window.
func (s *Service) startGroupTrim(group, user []byte) {
	if !s.ready.Load() {
		return
	}
	group, user = append([]byte(nil), group...), append([]byte(nil), user...)
	s.startReadAt(&read{
		request: request{what: requestTrim},
		do:      func(r *read, w *readWorker, v View) answer { return r.trimGroup(w, v, group, user) },
	}, groupOfID(group).Partition())
}

// trimGroup proposes the deletion of what it finds expired; apply judges again.
func (r *read) trimGroup(w *readWorker, v View, group, user []byte) answer {
	home := homeOf(r.group, w.service.cfg.Store.Groups())
	row, ok := v.Get(appendKey(nil, home, rowSettings))
	st, parsed := parseSettings(row)
	m, _ := memberOf(v, group, user)
	g, exists := groupRowOf(v, group)
	if !ok || !parsed || !exists {
		return answerNone
	}
	command := appendGroupTrimHead(nil, home, group, user)
	found := 0
	prefix := appendGroupDedupPrefix(nil, group, user)
	v.Scan(prefix, func(key, value []byte) bool {
		var d dedupRow
		if d.parse(value) && d.expired(&st, m.sendsIn(&g), g.time) && len(key) == len(prefix)+8 {
			command = binary.BigEndian.AppendUint64(command, binary.BigEndian.Uint64(key[len(prefix):]))
			found++
		}
		return found < trimHashesMax
	})
	if found == 0 {
		return answerNone
	}
	w.command = command
	return answerPropose
}
