package chat

import (
	"errors"
	"strings"

	"github.com/godwit-im/godwit"
)

// Presence knows who is online as others see it, and who watches whom; package
// presence has the rules. Methods do not block for long. nil: the router alone is
// asked and nobody may watch.
type Presence interface {
	Look(user godwit.UserID) (online bool, lastSeenMS int64)
	Order() uint64
	Watch(order uint64, s godwit.SessionID, user godwit.UserID, device string, targets []godwit.UserID, hidden []bool) (string, error)
	Answered(user godwit.UserID, device string)
	Attach(user godwit.UserID, device string, s godwit.SessionID)
	Detach(user godwit.UserID, device string, s godwit.SessionID)
	Missed(user godwit.UserID)
	Recheck(target godwit.UserID)
}

// noPresence is a service without anybody who watches.
type noPresence struct{ router Router }

var errNoWatching = errors.New("chat: nobody may watch")

func (p noPresence) Look(user godwit.UserID) (bool, int64)        { return p.router.Presence(user) }
func (noPresence) Order() uint64                                  { return 0 }
func (noPresence) Answered(godwit.UserID, string)                 {}
func (noPresence) Attach(godwit.UserID, string, godwit.SessionID) {}
func (noPresence) Detach(godwit.UserID, string, godwit.SessionID) {}
func (noPresence) Missed(godwit.UserID)                           {}
func (noPresence) Recheck(godwit.UserID)                          {}
func (noPresence) Watch(uint64, godwit.SessionID, godwit.UserID, string, []godwit.UserID, []bool) (string, error) {
	return "", errNoWatching
}

// presence takes a request to get users' presence, to watch users, or both.
func (s *Service) presence(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.Presence) {
	switch {
	case f.HasWatch && (s.cfg.WatchMax == 0 || isCall(session)):
		s.refuse(session, id, godwit.ErrUnsupported)
		return
	case len(f.Get) > s.cfg.PresenceMax, f.HasWatch && len(f.Watch) > s.cfg.WatchMax, !f.HasWatch && len(f.Get) == 0,
		len(f.Device) > 0 && !godwit.ValidID(f.Device):
		s.refuse(session, id, godwit.ErrFrameInvalid)
		return
	}
	l := &look{
		session: session, id: id, user: ownUser(user), kind: godwit.KindPresence, get: len(f.Get),
		watch: f.HasWatch, device: string(f.Device), targets: make([]godwit.UserID, 0, len(f.Get)+len(f.Watch)),
	}
	for _, list := range [...][][]byte{f.Get, f.Watch} {
		for _, target := range list {
			if !godwit.ValidID(target) {
				s.refuse(session, id, godwit.ErrBadUser)
				return
			}
			l.targets = append(l.targets, godwit.UserID(target))
		}
	}
	if !isOperator(session) {
		if wait := s.lookers.takeMany(user, uint32(len(l.targets))); wait > 0 {
			s.refuseFor(session, id, godwit.ErrRateLimited, wait)
			return
		}
	}
	l.order = s.cfg.Presence.Order()
	if !s.startLook(l) {
		s.refuse(session, id, godwit.ErrUnavailable)
	}
}

// ownUser copies an id out of a frame.
func ownUser(user godwit.UserID) godwit.UserID { return godwit.UserID(strings.Clone(string(user))) }

// lookAt answers a request for presence. The list counts before its users are
// looked at, and is told of after the answer: no change is missed, and none undone.
func (s *Service) lookAt(l *look) {
	pairs := make([]sight, len(l.targets))
	for i, target := range l.targets {
		pairs[i] = sight{target: target, watcher: l.user, sees: isOperator(l.session)}
	}
	s.see(pairs)
	if l.watch {
		hidden := make([]bool, len(pairs)-l.get)
		for i := range hidden {
			hidden[i] = !pairs[l.get+i].sees
		}
		device, err := s.cfg.Presence.Watch(l.order, l.session, l.user, l.device, l.targets[l.get:], hidden)
		if err != nil {
			s.refuse(l.session, l.id, watchRefusal(err))
			return
		}
		defer s.cfg.Presence.Answered(l.user, device)
	}
	users := make([]godwit.PresenceItem, 0, len(pairs))
	asked := map[godwit.UserID]bool{}
	for i, p := range pairs {
		if i >= l.get && asked[p.target] {
			continue
		}
		asked[p.target] = l.watch
		item := godwit.PresenceItem{User: p.target}
		if p.sees {
			item.Online, item.LastSeen = s.cfg.Presence.Look(p.target)
		}
		users = append(users, item)
	}
	s.counters.reads.Add(1)
	s.cfg.Edge.Reply(l.session, &godwit.ServerFrame{ID: l.id, Kind: godwit.KindPresence, Presence: godwit.PresenceReply{Users: users}})
}

// watchRefusal: a list without a device to tell can't be had, one without room
// can later.
func watchRefusal(err error) *godwit.Error {
	var temporary interface{ Temporary() bool }
	if errors.As(err, &temporary) && temporary.Temporary() {
		return godwit.ErrUnavailable
	}
	return godwit.ErrUnsupported
}

// MaySee implements presence.Rights.
func (s *Service) MaySee(target godwit.UserID, watchers []godwit.UserID, may []bool) {
	pairs := make([]sight, len(watchers))
	for i, watcher := range watchers {
		pairs[i] = sight{target: target, watcher: watcher}
	}
	s.see(pairs)
	for i := range pairs {
		may[i] = pairs[i].sees
	}
}
