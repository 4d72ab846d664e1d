package chat

import "github.com/godwit-im/godwit"

// Connect registers a session and answers once, by Edge.Connected or Edge.Close.
// What was logged out is refused before it is registered, so that it takes nobody's
// place; the session is registered before the head is read: an entry in between
// comes as a hint as well, and none is missed.
func (s *Service) Connect(session godwit.SessionID, h godwit.Hello) {
	user := h.User
	switch {
	case !godwit.ValidID(user):
		s.cfg.Edge.Close(session, godwit.CloseProtocol, godwit.ErrBadUser.Code)
		return
	case !s.ready.Load():
		s.cfg.Edge.Close(session, godwit.CloseOverloaded, godwit.ErrUnavailable.Code)
		return
	}
	if h.Call {
		s.admitCall(session, h)
		return
	}
	s.channels.opens(session)
	s.sessions.opens(session, &h)
	s.startRead(&read{
		request: request{session: session, what: requestConnect}, do: (*read).connect, user: user,
		resume: h.Resume, epoch: h.Epoch, after: h.ResumeSeq, hello: h,
	})
}

// Disconnect ends what Connect began.
func (s *Service) Disconnect(session godwit.SessionID, user godwit.UserID, device string) {
	s.sessions.leave(session, user, device)
	s.cfg.Presence.Detach(user, device, session)
	s.channels.leave(session)
}

// connect finds where the session starts. An empty epoch means any.
func (r *read) connect(w *readWorker, v View) answer {
	if ok, err := r.isWelcome(v); err != nil {
		return w.refuse(err)
	} else if !ok {
		return answerLoggedOut
	}
	w.shut() // what is applied from here on is seen, or heard of
	if !w.service.sessions.begin(r.session, &r.hello) {
		return answerNone // its client is gone, or was told
	}
	v = w.open(r.group)
	u, err := userOfView(v, r.user)
	if err != nil {
		return w.refuse(err)
	}
	var admitted bool
	if admitted, w.seen = r.admit(w, v, &u); !admitted {
		return answerLoggedOut // in between
	}
	head := v.Head(u.logID(r.user))
	welcome := godwit.Welcome{Epoch: w.service.epochs[r.group], Head: head, Start: head, Digest: u.publicDigest()}
	if r.resume {
		switch {
		case r.epoch != "" && r.epoch != welcome.Epoch:
			welcome.Reason = "epoch"
		case r.after > head:
			welcome.Reason = "ahead"
		case uint64(head-r.after) > uint64(w.service.cfg.ResumeMax):
			welcome.Reason = "too_far"
		default:
			welcome.Resumed, welcome.Start = true, r.after
		}
	}
	w.follow = nil
	if u.channels > 0 || welcome.Resumed && len(r.hello.Channels) > 0 {
		var ok bool
		if w.follow, ok = r.wanted(v, welcome.Resumed); !ok {
			return w.refuse(godwit.ErrInternal)
		}
	}
	welcome.Channels = len(w.follow) > 0
	w.welcome = welcome
	return answerConnected
}

// Fetch reads a user's log after a sequence and answers once by Edge.Fetched.
func (s *Service) Fetch(session godwit.SessionID, user godwit.UserID, after godwit.Seq, limit, bytesMax int) {
	if !s.ready.Load() {
		s.cfg.Edge.Fetched(session, nil, 0, godwit.ErrUnavailable)
		return
	}
	s.startRead(&read{
		request: request{session: session, what: requestFetch}, do: (*read).fetch, user: user,
		after: after, limit: min(max(limit, 1), s.cfg.ResumeMax), bytesMax: max(bytesMax, 1),
	})
}

// fetch reads like sync, in the edge's portions.
func (r *read) fetch(w *readWorker, v View) answer {
	entries, head, err := w.since(v, r, w.entries[:0])
	if err != nil {
		return w.refuse(err)
	}
	w.entries, w.head = entries, head
	return answerFetched
}
