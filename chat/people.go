package chat

import (
	"github.com/godwit-im/godwit"
)

// isBlockedBy tells whether owner blocks other. v is a view of owner's group.
func isBlockedBy(v View, owner, other []byte) bool { return hasPeer(v, rowBlock, owner, other) }

// isContact tells whether other is among owner's contacts. v is a view of owner's
// group.
func isContact(v View, owner, other []byte) bool { return hasPeer(v, rowContact, owner, other) }

func hasPeer(v View, row byte, owner, other []byte) bool {
	var key [8 + 2*godwit.IDBytesMax]byte
	_, ok := v.Get(appendPeerKey(key[:0], userOf(owner).Partition(), row, owner, other))
	return ok
}

// peopleRequest waits for a change of a list.
type peopleRequest struct {
	request
	service *Service
	user    godwit.UserID
	list    peopleList
}

// people changes one of the user's lists and answers with the whole of it.
func (s *Service) people(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.People, list peopleList) {
	if len(f.Add)+len(f.Remove) > peopleChangeMax {
		s.refuse(session, id, godwit.ErrFrameInvalid)
		return
	}
	for _, ids := range [...][][]byte{f.Add, f.Remove} {
		for _, other := range ids {
			if !godwit.ValidID(other) || string(other) == string(user) {
				s.refuse(session, id, godwit.ErrBadUser)
				return
			}
		}
	}
	if len(f.Add)+len(f.Remove) == 0 {
		s.readPeople(session, user, id, list)
		return
	}
	group := s.cfg.Store.Group(user.Partition())
	r := &peopleRequest{request{session: session, id: id, what: requestSend}, s, user, list}
	if !s.deadlines.add(&r.request) {
		s.refuse(session, id, godwit.ErrUnavailable)
		return
	}
	command := appendPeople(nil, homeOf(group, s.cfg.Store.Groups()), list, user, f.Add, f.Remove)
	if err := s.cfg.Store.Propose(group, command, r); err != nil {
		r.Fail(err)
	}
}

func (r *peopleRequest) Fail(err error) {
	if r.service.deadlines.claim(&r.request) {
		r.service.refuse(r.session, r.id, publicError(err))
	}
}

func (r *peopleRequest) applied(o *outcome, _ *flushScratch) {
	s := r.service
	s.cfg.Presence.Recheck(r.user)
	if !s.deadlines.claim(&r.request) {
		return
	}
	if o.refusal != nil {
		s.refuse(r.session, r.id, o.refusal)
		return
	}
	s.readPeople(r.session, r.user, r.id, r.list)
}

func (s *Service) readPeople(session godwit.SessionID, user godwit.UserID, id uint64, list peopleList) {
	s.startRead(&read{
		request: request{session: session, id: id, what: requestRead}, user: user,
		do: func(r *read, w *readWorker, v View) answer {
			p := &w.frame.People
			w.frame.Kind = godwit.KindBlock
			if list == listContacts {
				w.frame.Kind = godwit.KindContact
			}
			prefix := appendOwnedPrefix(nil, user.Partition(), list.row(), bytesOf(user))
			v.Scan(prefix, func(key, _ []byte) bool {
				p.Users = append(p.Users, godwit.UserID(key[len(prefix):])) // a copy: the key dies with the view
				return true
			})
			return answerFrame
		},
	})
}
