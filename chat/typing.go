package chat

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/godwit-im/godwit"
)

// typingMembersMax bounds the groups whose members are told who is typing.
const typingMembersMax = 100

// typing tells the others of a conversation that the user writes there. It is
// never stored and never refused for what others decide: who is not to know learns
// nothing, and the user nothing of that.
func (s *Service) typing(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.Typing) {
	conv := conversationFrom(f.Conv)
	if conv == "" {
		if id != 0 {
			s.refuse(session, id, godwit.ErrBadConv)
		}
		return
	}
	peer, direct := conv.Peer()
	if direct && (peer == user || len(s.cfg.Router.Sessions(peer, nil)) == 0) || !s.typists.take(user, conv, f.Stop) {
		s.typed(session, id)
		return
	}
	l := &look{session: session, id: id, user: ownUser(user), kind: godwit.KindTyping, conv: conv, stop: f.Stop}
	if !s.startLook(l) {
		s.typed(session, id)
	}
}

// conversationFrom copies a conversation's id out of a frame; "" if it is none.
func conversationFrom(b []byte) godwit.ConversationID {
	conv, err := godwit.ParseConversationID(string(b))
	if err != nil {
		return ""
	}
	return conv
}

// typed answers a notice that has an id: nobody has to.
func (s *Service) typed(session godwit.SessionID, id uint64) {
	if id != 0 {
		s.cfg.Edge.Reply(session, &godwit.ServerFrame{ID: id, Kind: godwit.KindDone})
	}
}

// tellTyping whispers to those who may know: a peer who has a conversation with the
// user and does not block him, or the members of a small group who don't.
func (s *Service) tellTyping(l *look) {
	defer s.typed(l.session, l.id)
	notice := godwit.TypingNotice{Conv: l.conv, User: l.user, Stop: l.stop}
	listeners, direct := []godwit.UserID(nil), false
	if peer, ok := l.conv.Peer(); ok {
		notice.Conv, listeners, direct = godwit.Direct(l.user), []godwit.UserID{peer}, true
	} else {
		listeners, _ = s.onlineMembers(l, func(g *groupRow) bool { return g.members <= typingMembersMax })
	}
	var sessions []godwit.SessionID
	for g := range s.cfg.Store.Groups() {
		sessions = s.listening(g, listeners, l.user, direct, sessions)
	}
	if len(sessions) > 0 {
		s.cfg.Edge.Whisper(sessions, &godwit.ServerFrame{Kind: godwit.KindEphemeral, Ephemeral: godwit.Ephemeral{IsTyping: true, Typing: notice}})
	}
}

// onlineMembers are the other members of a group whose member the user is, those who
// are online, and what the group knows of him; none if the group is not a right one.
func (s *Service) onlineMembers(l *look, right func(*groupRow) bool) (members []godwit.UserID, m memberRow) {
	id := bytesOf(godwit.UserID(l.conv[len("g:"):]))
	group := s.cfg.Store.Group(groupOfID(id).Partition())
	v := s.cfg.Store.View(group)
	defer v.Close()
	g, ok := groupRowOf(v, id)
	if !ok || !right(&g) {
		return nil, m
	}
	if m, ok = memberOf(v, id, bytesOf(l.user)); !ok || !m.isMember() {
		return nil, m
	}
	eachMember(v, id, 0, func(e bucketEntry) bool {
		if member := userOf(e.user); e.left == 0 && member != l.user && len(s.cfg.Router.Sessions(member, nil)) > 0 {
			members = append(members, ownUser(member))
		}
		return true
	})
	s.failed(v, group)
	return members, m
}

// listening appends the sessions of those listeners of a raft group who don't
// block the user and, of a 1:1 conversation, have it.
func (s *Service) listening(group int, listeners []godwit.UserID, user godwit.UserID, direct bool, dst []godwit.SessionID) []godwit.SessionID {
	var v View
	for _, listener := range listeners {
		if s.cfg.Store.Group(listener.Partition()) != group {
			continue
		}
		if v == nil {
			v = s.cfg.Store.View(group)
			defer v.Close()
		}
		if isBlockedBy(v, bytesOf(listener), bytesOf(user)) {
			continue
		}
		if direct {
			if _, ok := conversationOf(v, listener, bytesOf(user)); !ok {
				continue
			}
		}
		if s.failed(v, group) {
			break
		}
		dst = s.cfg.Router.Sessions(listener, dst)
	}
	return dst
}

// typists hold each user to a notice of typing every typingEvery for a
// conversation, over all sessions, in few conversations at once. Who typed lately
// is remembered. Any goroutine takes, the tick loop moves the time on.
type typists struct {
	now    atomic.Uint32 // ticks
	shards [senderShards]typistShard
}

type typistShard struct {
	mu    sync.Mutex
	users map[godwit.UserID]*typist
}

// typist holds the conversations a user typed in last.
type typist [typingConversations]struct {
	conv uint64 // hash
	at   uint32 // tick of the last notice; 0: none
	stop bool   // it was the end
}

const (
	typingEvery = uint32(2 * time.Second / TickInterval)
	// typingForget is after how long the end of typing tells nobody anything new.
	typingForget = uint32(10 * time.Second / TickInterval)
	// typingConversations is in how many conversations a user types at once; notices
	// in others are dropped.
	typingConversations = 4
)

// take tells whether a notice is to be passed on. The end of typing is, once, at
// any time after its beginning was.
func (t *typists) take(user godwit.UserID, conv godwit.ConversationID, stop bool) bool {
	now, hash := t.now.Load()+typingForget, xxhash.Sum64String(string(conv))
	sh := &t.shards[xxhash.Sum64String(string(user))%senderShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c := sh.users[user]
	if c == nil {
		if stop || len(sh.users) >= shardSendersMax {
			return false
		}
		if sh.users == nil {
			sh.users = map[godwit.UserID]*typist{}
		}
		c = new(typist)
		sh.users[ownUser(user)] = c
	}
	oldest := &c[0]
	for i := range c {
		e := &c[i]
		if e.at < oldest.at {
			oldest = e
		}
		if e.at == 0 || e.conv != hash {
			continue
		}
		if stop && !e.stop {
			e.stop = true
			return true
		}
		if stop || now-e.at < typingEvery {
			return false
		}
		e.at, e.stop = now, false
		return true
	}
	if stop || oldest.at != 0 && now-oldest.at < typingEvery {
		return false
	}
	oldest.conv, oldest.at, oldest.stop = hash, now, false
	return true
}

// tick moves the time on and forgets who typed long ago, a shard at a time.
func (t *typists) tick() {
	now := t.now.Add(1) + typingForget
	sh := &t.shards[now%senderShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for user, c := range sh.users {
		newest := uint32(0)
		for i := range c {
			newest = max(newest, c[i].at)
		}
		if now-newest >= typingForget {
			delete(sh.users, user)
		}
	}
}
