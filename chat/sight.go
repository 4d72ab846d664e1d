package chat

import (
	"github.com/godwit-im/godwit"
)

// sight is a question: does watcher see target's presence? He does if target does
// not block him, and knows him: has a conversation with him, has him as a contact,
// or is in a group with him that is no channel. Everybody sees himself.
type sight struct {
	target, watcher godwit.UserID
	sees            bool
	groups          [][]byte // of the target, when only a shared group can help
}

// sharedGroupsMax bounds the groups of a target among which one is looked for
// that he shares with a watcher: the first in the order of their ids.
const sharedGroupsMax = 100

// see answers the questions; those that are answered with yes stay so. It may read
// from the disk, and has one view open at a time.
func (s *Service) see(pairs []sight) {
	if !s.ready.Load() {
		return
	}
	groups := s.cfg.Store.Groups()
	for g := range groups {
		s.seeWith(g, pairs, func(p *sight) godwit.UserID { return p.target }, func(v View, p *sight) bool {
			return s.knows(v, p)
		})
	}
	for g := range groups {
		s.seeWith(g, pairs, func(p *sight) godwit.UserID { return p.watcher }, func(v View, p *sight) bool {
			for _, conv := range p.groups {
				if c, ok := conversationOf(v, p.watcher, conv); ok && c.isMember() && !c.isChannel() {
					return true
				}
			}
			return false
		})
	}
}

// seeWith judges the pairs whose rows of one side lie in a raft group. If they can't
// be read nothing is seen.
func (s *Service) seeWith(group int, pairs []sight, side func(*sight) godwit.UserID, judge func(View, *sight) bool) {
	var v View
	for i := range pairs {
		p := &pairs[i]
		if p.sees || s.cfg.Store.Group(side(p).Partition()) != group {
			continue
		}
		if v == nil {
			v = s.cfg.Store.View(group)
			defer v.Close()
		}
		p.sees = judge(v, p) && v.Err() == nil
	}
	if v != nil {
		s.failed(v, group)
	}
}

// knows asks the target's rows; if they leave it open, p.groups are set.
func (s *Service) knows(v View, p *sight) bool {
	target, watcher := bytesOf(p.target), bytesOf(p.watcher)
	p.groups = nil
	switch {
	case p.target == p.watcher:
		return true
	case isBlockedBy(v, target, watcher):
		return false
	case s.cfg.PresenceOfAll:
		return true
	}
	if _, ok := conversationOf(v, p.target, watcher); ok || isContact(v, target, watcher) {
		return true
	}
	prefix := append(appendOwnedPrefix(nil, p.target.Partition(), rowConversation, target), "g:"...)
	v.Scan(prefix, func(key, value []byte) bool {
		var c conversationRow
		if c.parse(value) && c.isMember() && !c.isChannel() {
			p.groups = append(p.groups, append([]byte("g:"), key[len(prefix):]...))
		}
		return len(p.groups) < sharedGroupsMax
	})
	return false
}

// conversationOf reads a user's row of a conversation; peer as in its key.
func conversationOf(v View, user godwit.UserID, peer []byte) (c conversationRow, ok bool) {
	var key [8 + 2*godwit.IDBytesMax + 2]byte
	row, ok := v.Get(appendConversationKey(key[:0], user.Partition(), bytesOf(user), peer))
	return c, ok && c.parse(row)
}
