package chat

import (
	"bytes"
	"context"
	"errors"

	"github.com/godwit-im/godwit"
)

// sendRequest is one send between its proposal and the engine's answer. It is
// pooled: only the engine's callback, or a Propose that failed, gives it back,
// since the engine holds it even after its deadline was answered.
type sendRequest struct {
	request
	service *Service
	group   int    // of the sender's log
	buf     []byte // the command while it is built; Propose copies it
}

// send checks one message and proposes it. The answer comes from applied, Fail
// or the deadline.
func (s *Service) send(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.Send) {
	to, group, refusal := s.checkSend(f)
	if refusal != nil {
		s.refuse(session, id, refusal)
		return
	}
	if group {
		s.sendGroup(session, user, id, to, f)
		return
	}
	if wait := s.senders.take(user); wait > 0 && !isOperator(session) {
		s.refuseFor(session, id, godwit.ErrRateLimited, wait)
		return
	}
	src, dst := user.Partition(), userOf(to).Partition()
	at := s.cfg.Store.Group(src)
	if at != s.cfg.Store.Group(dst) && !s.forwarder.hasRoom(laneID{src, dst}) {
		s.refuse(session, id, godwit.ErrUnavailable)
		return
	}
	r := s.sends.Get().(*sendRequest)
	r.request, r.group = request{session: session, id: id, what: requestSend}, at
	look, home := s.gate.looksAt(session), homeOf(at, s.cfg.Store.Groups())
	switch {
	case look:
		r.what = requestRead // without an effect until the gate lets it pass
		r.buf = appendCheckedSend(r.buf[:0], home, f.Time, false)
	case isOperator(session):
		r.buf = appendCheckedSend(r.buf[:0], home, f.Time, true)
	default:
		r.buf = appendSendHead(r.buf[:0], home, f.Time)
	}
	r.buf = appendBlock(r.buf, bytesOf(user), to, f.CID, f.Type, bodyOf(f), f.HasText)
	switch {
	case !s.deadlines.add(&r.request):
		s.sends.Put(r)
		s.refuse(session, id, godwit.ErrUnavailable)
	case look:
		s.gate.enter(user, r)
	default:
		r.release(false)
	}
}

// A send is gated: it may have to be looked at.

func (r *sendRequest) asked() *request { return &r.request }

func (r *sendRequest) outgoing(context.Context) (*Outgoing, bool) {
	p, ok := parseCommand(r.buf)
	if !ok {
		panic("BUG: a send that was just built does not parse")
	}
	return p.send.block.outgoing(), true
}

func (r *sendRequest) release(granted bool) {
	if granted {
		r.buf[headerBytes] |= sendGranted // it is of sendVersion
	}
	if err := r.service.cfg.Store.Propose(r.group, r.buf, r); err != nil {
		r.Fail(err)
	}
}

func (r *sendRequest) drop() { r.service.recycle(r) }

func bodyOf(f *godwit.Send) []byte {
	if f.HasText {
		return f.Text
	}
	return f.Data
}

// checkSend checks every field and returns the recipient, a user or a group,
// which aliases f.
func (s *Service) checkSend(f *godwit.Send) (to []byte, group bool, refusal *godwit.Error) {
	switch {
	case (len(f.To) == 0) == (len(f.Group) == 0):
		return nil, false, godwit.ErrFrameInvalid
	case len(f.Group) > 0:
		to, group = bytes.TrimPrefix(f.Group, groupPrefix), true
	case bytes.HasPrefix(f.To, groupPrefix):
		to, group = f.To[len(groupPrefix):], true
	default:
		to = bytes.TrimPrefix(f.To, directPrefix)
	}
	switch {
	case !godwit.ValidID(to):
		return nil, false, godwit.ErrBadConv
	case !godwit.ValidID(f.CID):
		return nil, false, godwit.ErrBadCID
	case f.HasText == f.HasData || len(f.Type) > godwit.TypeBytesMax:
		return nil, false, godwit.ErrBadBody
	case len(f.Text) > s.cfg.BodyBytesMax || len(f.Data) > s.cfg.BodyBytesMax:
		return nil, false, godwit.ErrTooLarge
	case f.Time < 0 || f.Time > 1<<62:
		return nil, false, godwit.ErrFrameInvalid
	}
	return to, group, nil
}

var directPrefix, groupPrefix = []byte("u:"), []byte("g:")

func (r *sendRequest) applied(o *outcome, scratch *flushScratch) {
	s := r.service
	if s.deadlines.claim(&r.request) {
		f := &scratch.frame
		*f = godwit.ServerFrame{ID: r.id}
		if o.refusal != nil {
			s.counters.refused.Add(1)
			f.Kind, f.Error = godwit.KindError, o.refusal.Reply(retryAfter(o.refusal))
		} else {
			f.Kind = godwit.KindSend
			s.counters.sent(o.dup)
			f.Send = godwit.SendReply{
				State: "stored", Seq: o.seq, Conv: stringOf[godwit.ConversationID](o.conv), Time: o.time, Dup: o.dup,
			}
			s.ids.Load().make(&f.Send.MID, o.log, o.seq)
		}
		s.cfg.Edge.Reply(r.session, f)
	}
	s.recycle(r)
}

func (r *sendRequest) Fail(err error) {
	if r.service.deadlines.claim(&r.request) {
		r.service.refuse(r.session, r.id, publicError(err))
	}
	r.service.recycle(r)
}

// recycle keeps a request unless its buffer grew past what most messages need.
func (s *Service) recycle(r *sendRequest) {
	if cap(r.buf) > 4096 {
		r.buf = nil
	}
	s.sends.Put(r)
}

// publicError finds what a client may see in an error of the engine. What it
// does not know may have happened.
func publicError(err error) *godwit.Error {
	var e *godwit.Error
	if errors.As(err, &e) {
		return e
	}
	return godwit.ErrUnknown
}

// retryAfter is what a temporary refusal asks a client to wait, in ms.
func retryAfter(e *godwit.Error) uint32 {
	if e.Temporary {
		return 500
	}
	return 0
}
