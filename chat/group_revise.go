package chat

import (
	"bytes"

	"github.com/godwit-im/godwit"
)

// groupRevision is an edit or recall of a message of a group.
type groupRevision struct {
	groupTask
	log  godwit.LogID
	edit *godwit.Edit // nil: recall; copied
}

// reviseGroup edits, or with a nil edit recalls, the message at gseq of a group's
// log. The fields of edit have been checked. The answer comes by Edge.Reply, once:
// KindDone, or an error.
func (s *Service) reviseGroup(session godwit.SessionID, user godwit.UserID, id uint64, log godwit.LogID, gseq godwit.Seq, edit *godwit.Edit) {
	t := &groupRevision{groupTask: groupTask{
		request: request{session: session, id: id, what: requestSend, gone: make(chan struct{})},
		service: s, operator: isOperator(session), user: godwit.UserID(bytes.Clone(bytesOf(user))), gseq: gseq,
	}, log: log}
	if edit != nil {
		e := *edit
		e.Text, e.Data, e.Type = bytes.Clone(e.Text), bytes.Clone(e.Data), bytes.Clone(e.Type)
		t.edit = &e
	}
	if !s.deadlines.add(&t.request) {
		s.refuse(session, id, godwit.ErrUnavailable)
		return
	}
	if !s.tasks.start(t.run) && s.deadlines.claim(&t.request) {
		s.refuse(session, id, godwit.ErrUnavailable)
	}
}

func (t *groupRevision) run() {
	o, refusal := t.revise()
	s := t.service
	switch {
	case !s.deadlines.claim(&t.request):
	case refusal != nil:
		s.refuse(t.session, t.id, refusal)
	default:
		s.cfg.Edge.Reply(t.session, &godwit.ServerFrame{ID: t.id, Kind: godwit.KindDone, Done: godwit.Done{GSeq: o.gseq, Dup: o.dup}})
	}
}

// revise reads the message, which says of which group it is and whose, and
// proposes the change.
func (t *groupRevision) revise() (o outcome, refusal *godwit.Error) {
	at := t.service.cfg.Store.Group(t.log.Partition())
	if refusal = t.current(at); refusal != nil {
		return o, refusal
	}
	var command []byte
	refusal = t.view(at, func(v View) {
		r, ok := v.Entry(t.log, t.gseq)
		var m meta
		if !ok || !m.parse(r.Meta) || m.kind != recordMessage {
			return
		}
		b, ok := parseBlock(r.Body)
		if !ok || !isGroup(b.to) {
			return
		}
		t.group = b.to[2:]
		recall := t.edit == nil
		command = appendGroupReviseHead(nil, homeOf(at, t.service.cfg.Store.Groups()), t.operator, recall, t.gseq, r.Time, b.from[2:])
		switch {
		case recall:
			command = appendGroupBlock(command, bytesOf(t.user), t.group, b.cid, nil, nil, false)
		case t.edit.HasText:
			command = appendGroupBlock(command, bytesOf(t.user), t.group, b.cid, t.edit.Type, t.edit.Text, true)
		default:
			command = appendGroupBlock(command, bytesOf(t.user), t.group, b.cid, t.edit.Type, t.edit.Data, false)
		}
	})
	switch {
	case refusal != nil:
		return o, refusal
	case command == nil:
		return o, godwit.ErrNoMessage
	}
	return t.propose(at, command)
}
