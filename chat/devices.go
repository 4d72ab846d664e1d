package chat

import (
	"slices"

	"github.com/godwit-im/godwit"
)

// isWelcome tells whether a session's token is good on its device, before anything
// is done for it.
func (r *read) isWelcome(v View) (bool, *godwit.Error) {
	u, err := userOfView(v, r.user)
	var d deviceRow
	row, known := v.Get(appendPeerKey(nil, r.user.Partition(), rowDevice, bytesOf(r.user), bytesOf(r.hello.Device)))
	if err != nil || v.Err() != nil || known && !d.parse(row) {
		return false, godwit.ErrInternal
	}
	return !d.isVoid(&u, r.hello.Issued), nil
}

// admit tells whether a session that connects may, by what its device and its
// user were logged out of. A token that does not say when it was issued counts as
// one from before. seen is a command to propose once the session is open, if the
// device has to be noted.
func (r *read) admit(w *readWorker, v View, u *userRow) (ok bool, seen []byte) {
	h := &r.hello
	var d deviceRow
	row, known := v.Get(appendPeerKey(nil, r.user.Partition(), rowDevice, bytesOf(r.user), bytesOf(h.Device)))
	if known && !d.parse(row) || d.isVoid(u, h.Issued) {
		return false, nil
	}
	s := w.service
	switch {
	case known && d.isActive(u) && s.cfg.Now()-d.seen < deviceSeenEvery:
		return true, nil
	case h.Device == godwit.DeviceOf(r.session):
		return true, nil // it will never come back under that name
	}
	c := deviceCommand{op: deviceSeen, user: bytesOf(r.user), device: bytesOf(h.Device), issued: max(h.Issued, 0)}
	if !known && u.devices >= devicesMax {
		c.forget = leastSeen(v, u, r.user)
	}
	return true, c.append(nil, homeOf(r.group, s.cfg.Store.Groups()))
}

// leastSeen names the device that a new one makes forgotten: one that is logged
// out by the user's own time (whose row says nothing more), else the one seen least
// lately.
func leastSeen(v View, u *userRow, user godwit.UserID) (device []byte) {
	var least int64
	prefix := appendOwnedPrefix(nil, user.Partition(), rowDevice, bytesOf(user))
	v.Scan(prefix, func(key, value []byte) bool {
		var d deviceRow
		if !d.parse(value) {
			return true
		}
		at := d.seen
		if d.loggedOut <= int64(u.loggedOut) && !d.isActive(u) {
			at = 0
		}
		if device == nil || at < least {
			device, least = slices.Clone(key[len(prefix):]), at
		}
		return true
	})
	return device
}

// device lists the user's devices or logs them out.
func (s *Service) device(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.Device) {
	switch string(f.Do) {
	case godwit.DeviceList:
		s.startRead(&read{
			request: request{session: session, id: id, what: requestRead}, user: user, do: (*read).devices,
		})
	case godwit.DeviceLogout:
		c := deviceCommand{op: deviceLogoutAll, user: bytesOf(user)}
		switch {
		case f.All == (len(f.Device) > 0), !f.All && !godwit.ValidID(f.Device):
			s.refuse(session, id, godwit.ErrFrameInvalid)
			return
		case !f.All:
			c.op, c.device = deviceLogout, f.Device
		}
		s.logout(session, user, id, &c)
	default:
		s.refuse(session, id, godwit.ErrFrameInvalid)
	}
}

func (s *Service) logout(session godwit.SessionID, user godwit.UserID, id uint64, c *deviceCommand) {
	group := s.cfg.Store.Group(user.Partition())
	r := &logoutRequest{request{session: session, id: id, what: requestSend}, s}
	if !s.deadlines.add(&r.request) {
		s.refuse(session, id, godwit.ErrUnavailable)
		return
	}
	if err := s.cfg.Store.Propose(group, c.append(nil, homeOf(group, s.cfg.Store.Groups())), r); err != nil {
		r.Fail(err)
	}
}

// logoutRequest waits for a logout. Its answer comes before its session, if it is
// one of those, is closed.
type logoutRequest struct {
	request
	service *Service
}

func (r *logoutRequest) Fail(err error) {
	if r.service.deadlines.claim(&r.request) {
		r.service.refuse(r.session, r.id, publicError(err))
	}
}

func (r *logoutRequest) applied(o *outcome, scratch *flushScratch) {
	s := r.service
	switch {
	case !s.deadlines.claim(&r.request):
	case o.refusal != nil:
		s.refuse(r.session, r.id, o.refusal)
	default:
		scratch.frame = godwit.ServerFrame{ID: r.id, Kind: godwit.KindDone}
		s.cfg.Edge.Reply(r.session, &scratch.frame)
	}
}

// closeLoggedOut ends the sessions that a logout means. One that registers later
// has its read of the logout before it.
func (s *Service) closeLoggedOut(e *logoutEffect) {
	user := userOf(e.user)
	for _, session := range s.sessions.logOut(user, e.device) {
		s.cfg.Edge.Close(session, godwit.CloseLoggedOut, godwit.ErrLoggedOut.Code)
	}
}

// devices lists those that were seen since they were last logged out, and those
// that have a session.
func (r *read) devices(w *readWorker, v View) answer {
	u, refusal := userOfView(v, r.user)
	if refusal != nil {
		return w.refuse(refusal)
	}
	var items []godwit.DeviceItem
	prefix := appendOwnedPrefix(nil, r.user.Partition(), rowDevice, bytesOf(r.user))
	bad := false
	v.Scan(prefix, func(key, value []byte) bool {
		var d deviceRow
		if bad = !d.parse(value); !bad && d.isActive(&u) {
			items = append(items, godwit.DeviceItem{Device: string(key[len(prefix):]), Since: d.since, Seen: d.seen})
		}
		return !bad
	})
	if bad {
		return w.refuse(godwit.ErrInternal)
	}
	for _, live := range w.service.cfg.Router.Devices(r.user, nil) {
		i := slices.IndexFunc(items, func(it godwit.DeviceItem) bool { return it.Device == live.Device })
		if i < 0 {
			items = append(items, godwit.DeviceItem{Device: live.Device})
			i = len(items) - 1
		}
		items[i].Online, items[i].This = true, live.Session == r.session
	}
	w.frame.Kind, w.frame.Devices = godwit.KindDevice, godwit.DevicesReply{Devices: items}
	return answerFrame
}
