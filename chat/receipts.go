package chat

import (
	"slices"

	"github.com/godwit-im/godwit"
)

// A member's marks lie in the group's row of him, and nothing of them in the others'
// logs: in a small group the others who are online are told, and who was away asks
// the group. To whom is looked up aside, for it takes views of several raft groups.

// startReceipt has the other members told; too many at a time are told nothing.
func (s *Service) startReceipt(e *memberMarkEffect) {
	if len(s.looks) >= receiptLooksMax {
		return
	}
	s.startLook(&look{
		user: ownUser(userOf(e.user)), kind: godwit.KindMark,
		conv: godwit.ConversationID("g:" + string(e.group)), membersMax: e.membersMax,
	})
}

// tellReceipt whispers where a member's marks stand now to the other members, but
// those of whom one blocks the other. It judges again what apply did: meanwhile the
// group may have grown, or he left.
func (s *Service) tellReceipt(l *look) {
	listeners, m := s.onlineMembers(l, func(g *groupRow) bool { return g.members <= uint64(l.membersMax) && !g.isChannel() })
	listeners = s.notBlocked(l.user, listeners)
	var sessions []godwit.SessionID
	for g := range s.cfg.Store.Groups() {
		sessions = s.listening(g, listeners, l.user, false, sessions)
	}
	if len(sessions) == 0 {
		return
	}
	r := godwit.Receipt{Conv: l.conv, User: l.user, Delivered: max(m.delivered, m.read), Read: m.read}
	s.cfg.Edge.Whisper(sessions, &godwit.ServerFrame{Kind: godwit.KindEphemeral, Ephemeral: godwit.Ephemeral{IsReceipt: true, Receipt: r}})
}

// notBlocked takes off those whom the user blocks.
func (s *Service) notBlocked(user godwit.UserID, others []godwit.UserID) []godwit.UserID {
	if len(others) == 0 {
		return nil
	}
	group := s.cfg.Store.Group(user.Partition())
	v := s.cfg.Store.View(group)
	defer v.Close()
	others = slices.DeleteFunc(others, func(other godwit.UserID) bool { return isBlockedBy(v, bytesOf(user), bytesOf(other)) })
	if s.failed(v, group) {
		return nil // who may know is not known
	}
	return others
}
