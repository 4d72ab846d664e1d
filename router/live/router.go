package live

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/godwit-im/godwit"
)

// Config of a Router. The zero value of a field means its default.
type Config struct {
	Clock func() int64 // ms since the Unix epoch; time.Now
	// LastSeenMax bounds the users whose last time is remembered, about 100 B
	// each; 262144. A full table forgets the user who left first of all in it
	// (within one shard): he is shown as never seen.
	LastSeenMax int
	// SessionsMax bounds the sessions of one user, one for each device: the oldest
	// gives way to a new one. 32.
	SessionsMax int
	// Changed is told of a user's first session and of the end of his last, in
	// order: under a lock of the router, which it must not call. nil: nobody is.
	Changed func(user godwit.UserID, online bool, nowMS int64)
}

func (c *Config) validate() error {
	if c.LastSeenMax < 0 || c.SessionsMax < 0 {
		return errors.New("router/live: a bound is negative")
	}
	if c.SessionsMax == 0 {
		c.SessionsMax = 32
	}
	if c.LastSeenMax == 0 {
		c.LastSeenMax = 262144
	}
	if c.Clock == nil {
		c.Clock = func() int64 { return time.Now().UnixMilli() }
	}
	if c.Changed == nil {
		c.Changed = func(godwit.UserID, bool, int64) {}
	}
	return nil
}

// Router holds user → sessions. A device has at most one session, the newest;
// the number of users is bounded by the edge's connections. Methods may be
// called from any goroutine and never block for long.
type Router struct {
	clock       func() int64
	changed     func(user godwit.UserID, online bool, nowMS int64)
	sessionsMax int
	shards      [shardCount]shard
}

const shardCount = 64

type shard struct {
	mu    sync.RWMutex
	users map[godwit.UserID][]place
	seen  lastSeen
	// erased are users with sessions whose end is not to be remembered.
	erased  map[godwit.UserID]struct{}
	changes changes
}

// place is one device of a user; a user's places stand in the order of arrival.
type place struct {
	device  string
	session godwit.SessionID
	stamp   uint64 // the largest that the device came with
}

// New returns an empty router.
func New(cfg Config) (*Router, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &Router{clock: cfg.Clock, changed: cfg.Changed, sessionsMax: cfg.SessionsMax}
	for i := range r.shards {
		r.shards[i].users = map[godwit.UserID][]place{}
		r.shards[i].seen = newLastSeen(max(1, cfg.LastSeenMax/shardCount))
	}
	return r, nil
}

func (r *Router) shard(user godwit.UserID) *shard {
	return &r.shards[xxhash.Sum64String(string(user))%shardCount]
}

// Register makes s the session of the device. At most one has to give way, and the
// caller closes it: the device's older one (CloseReplaced), or the user's oldest if
// he has too many (CloseSessions); or s itself (CloseReplaced), which is not
// registered then, if the device has one with a larger stamp. Stamp 0 is that of
// one that is newer than all before it. why is 0 if there is none.
func (r *Router) Register(user godwit.UserID, device string, s godwit.SessionID, stamp uint64) (gone godwit.SessionID, why godwit.CloseCode) {
	now := r.clock()
	sh := r.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	places := sh.users[user]
	if i := slices.IndexFunc(places, func(p place) bool { return p.device == device }); i >= 0 {
		moved := places[i]
		if stamp != 0 && stamp < moved.stamp {
			return s, godwit.CloseReplaced
		}
		gone, moved.session, moved.stamp = moved.session, s, max(stamp, moved.stamp)
		copy(places[i:], places[i+1:])
		places[len(places)-1] = moved
		if gone == s {
			return 0, 0
		}
		return gone, godwit.CloseReplaced
	}
	if len(places) == 0 {
		user = godwit.UserID(strings.Clone(string(user)))
		places = make([]place, 0, 1)
		sh.seen.remove(user)
		sh.noteLocked(user)
		r.changed(user, true, now)
	}
	if len(places) >= r.sessionsMax {
		gone, why = places[0].session, godwit.CloseSessions
		places = slices.Delete(places, 0, 1)
	}
	sh.users[user] = append(places, place{strings.Clone(device), s, stamp})
	return gone, why
}

// Unregister removes exactly this session: if the device has a newer one by
// now, nothing happens.
func (r *Router) Unregister(user godwit.UserID, device string, s godwit.SessionID) {
	now := r.clock()
	sh := r.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	places := sh.users[user]
	i := slices.IndexFunc(places, func(p place) bool { return p.session == s && p.device == device })
	switch {
	case i < 0:
	case len(places) > 1:
		sh.users[user] = slices.Delete(places, i, i+1)
	default:
		sh.leaveLocked(godwit.UserID(strings.Clone(string(user))), now)
		r.changed(user, false, now)
	}
}

// UnregisterEdge removes every session of one edge process, by the index in the
// upper bits of its sessions. It looks at all users.
func (r *Router) UnregisterEdge(index int) {
	now := r.clock()
	for i := range r.shards {
		r.shards[i].unregisterEdge(index, now, r.changed)
	}
}

func (sh *shard) unregisterEdge(index int, now int64, changed func(godwit.UserID, bool, int64)) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for user, places := range sh.users {
		left := slices.DeleteFunc(places, func(p place) bool { return int(p.session>>godwit.SessionEdgeShift) == index })
		switch {
		case len(left) == len(places):
		case len(left) > 0:
			sh.users[user] = left
		default:
			sh.leaveLocked(user, now)
			changed(user, false, now)
		}
	}
}

// Sessions appends the user's live sessions to dst.
func (r *Router) Sessions(user godwit.UserID, dst []godwit.SessionID) []godwit.SessionID {
	sh := r.shard(user)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, p := range sh.users[user] {
		dst = append(dst, p.session)
	}
	return dst
}

// Devices appends the user's live sessions with their devices to dst.
func (r *Router) Devices(user godwit.UserID, dst []godwit.DeviceSession) []godwit.DeviceSession {
	sh := r.shard(user)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, p := range sh.users[user] {
		dst = append(dst, godwit.DeviceSession{Device: p.device, Session: p.session})
	}
	return dst
}

// Presence tells whether the user has a live session, and when he was last
// seen: now while online, the time of the last Unregister after, 0 if unknown.
func (r *Router) Presence(user godwit.UserID) (online bool, lastSeenMS int64) {
	sh := r.shard(user)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if len(sh.users[user]) > 0 {
		return true, r.clock()
	}
	return false, sh.seen.get(user)
}

// Session is the session of a user's device; 0: it has none.
func (r *Router) Session(user godwit.UserID, device string) godwit.SessionID {
	sh := r.shard(user)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, p := range sh.users[user] {
		if p.device == device {
			return p.session
		}
	}
	return 0
}

// Device is the device of a user's session; ok is false if it is not registered.
func (r *Router) Device(user godwit.UserID, s godwit.SessionID) (device string, ok bool) {
	sh := r.shard(user)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, p := range sh.users[user] {
		if p.session == s {
			return p.device, true
		}
	}
	return "", false
}
