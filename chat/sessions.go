package chat

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"github.com/godwit-im/godwit"
)

// sessions are those between two states: opening, from Connect until they are
// registered, and ended, from when another took their place or they were logged out
// until the edge has closed them. Those in between are the router's alone. Both are
// bounded by the connections of the edges.
type sessions struct {
	service *Service
	ends    atomic.Int64 // in ended of all shards: mostly 0, and a request looks no further
	shards  [sessionShards]sessionShard
}

const sessionShards = 64

// sessionShard is locked while a session of its users enters or leaves the router,
// so that what ended is noted exactly until its Disconnect.
type sessionShard struct {
	mu      sync.RWMutex
	opening map[godwit.UserID][]openingSession // in the order of Connect
	ended   map[godwit.SessionID]*godwit.Error
}

type openingSession struct {
	session godwit.SessionID
	device  string
	stamp   uint64
}

func (t *sessions) init(s *Service) {
	t.service = s
	for i := range t.shards {
		t.shards[i].opening, t.shards[i].ended = map[godwit.UserID][]openingSession{}, map[godwit.SessionID]*godwit.Error{}
	}
}

func (t *sessions) shard(user godwit.UserID) *sessionShard {
	return &t.shards[xxhash.Sum64String(string(user))%sessionShards]
}

// opens notes a session that has asked to begin; begin or leave follows.
func (t *sessions) opens(session godwit.SessionID, h *godwit.Hello) {
	sh := t.shard(h.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.opening[h.User] = append(sh.opening[h.User], openingSession{session, h.Device, h.Stamp})
}

// takeLocked removes those that want to go from a user's opening sessions.
func (sh *sessionShard) takeLocked(user godwit.UserID, goes func(openingSession) bool) {
	if left := slices.DeleteFunc(sh.opening[user], goes); len(left) > 0 {
		sh.opening[user] = left
	} else {
		delete(sh.opening, user)
	}
}

// begin registers a session, unless it has left meanwhile or the same device has
// begun another that is newer: by its stamp, or else because it connected after it.
// Whoever gives way, to it or itself, can do nothing more once it returns.
func (t *sessions) begin(session godwit.SessionID, h *godwit.Hello) bool {
	cfg := &t.service.cfg
	sh := t.shard(h.User)
	sh.mu.Lock()
	at := slices.IndexFunc(sh.opening[h.User], func(o openingSession) bool { return o.session == session })
	if at < 0 {
		sh.mu.Unlock()
		return false
	}
	gone, why := cfg.Router.Register(h.User, h.Device, session, h.Stamp)
	gives := why != 0
	if gives {
		t.endLocked(sh, gone, godwit.ErrUnavailable)
	}
	if gives && gone == session {
		sh.takeLocked(h.User, func(o openingSession) bool { return o.session == session })
		sh.mu.Unlock()
		cfg.Edge.Close(session, why, giveWayReason(why))
		return false
	}
	var late []godwit.SessionID
	for _, o := range sh.opening[h.User][:at] {
		if o.device == h.Device && (h.Stamp == 0 || o.stamp <= h.Stamp) {
			late = append(late, o.session)
		}
	}
	sh.takeLocked(h.User, func(o openingSession) bool { return o.session == session || slices.Contains(late, o.session) })
	cfg.Presence.Attach(h.User, h.Device, session)
	sh.mu.Unlock()
	if gives {
		cfg.Edge.Close(gone, why, giveWayReason(why))
	}
	for _, s := range late {
		cfg.Edge.Close(s, godwit.CloseReplaced, giveWayReason(godwit.CloseReplaced))
	}
	return true
}

func giveWayReason(why godwit.CloseCode) string {
	if why == godwit.CloseSessions {
		return "too_many_sessions"
	}
	return "replaced"
}

func (t *sessions) endLocked(sh *sessionShard, session godwit.SessionID, e *godwit.Error) {
	if _, ok := sh.ended[session]; !ok {
		t.ends.Add(1)
	}
	sh.ended[session] = e
}

// leave ends a session in whatever state it is.
func (t *sessions) leave(session godwit.SessionID, user godwit.UserID, device string) {
	sh := t.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.takeLocked(user, func(o openingSession) bool { return o.session == session })
	if _, ok := sh.ended[session]; ok {
		delete(sh.ended, session)
		t.ends.Add(-1)
	}
	t.service.cfg.Router.Unregister(user, device, session)
}

// logOut ends a user's sessions of a device, or all of them, and returns them.
func (t *sessions) logOut(user godwit.UserID, device []byte) (out []godwit.SessionID) {
	sh := t.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, d := range t.service.cfg.Router.Devices(user, nil) {
		if len(device) == 0 || d.Device == string(device) {
			t.endLocked(sh, d.Session, godwit.ErrLoggedOut)
			out = append(out, d.Session)
		}
	}
	return out
}

// ended is how a request of a session that has ended is refused; nil: it has not.
func (t *sessions) ended(session godwit.SessionID, user godwit.UserID) *godwit.Error {
	if t.ends.Load() == 0 {
		return nil
	}
	sh := t.shard(user)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.ended[session]
}

// ForgetEdge forgets the sessions of an edge process that is gone and will not
// disconnect them. The router is told after it.
func (s *Service) ForgetEdge(index int) {
	for i := range s.sessions.shards {
		s.sessions.forgetEdge(&s.sessions.shards[i], index)
	}
}

func (t *sessions) forgetEdge(sh *sessionShard, index int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for user := range sh.opening {
		sh.takeLocked(user, func(o openingSession) bool { return int(o.session>>godwit.SessionEdgeShift) == index })
	}
	for session := range sh.ended {
		if int(session>>godwit.SessionEdgeShift) == index {
			delete(sh.ended, session)
			t.ends.Add(-1)
		}
	}
}
