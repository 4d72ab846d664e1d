package local

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
}

func (c *Config) validate() error {
	if c.LastSeenMax < 0 {
		return errors.New("router/local: LastSeenMax is negative")
	}
	if c.LastSeenMax == 0 {
		c.LastSeenMax = 262144
	}
	if c.Clock == nil {
		c.Clock = func() int64 { return time.Now().UnixMilli() }
	}
	return nil
}

// Router holds user → sessions. A device has at most one session, the newest;
// the number of users is bounded by the edge's connections. Methods may be
// called from any goroutine and never block for long.
type Router struct {
	clock  func() int64
	shards [shardCount]shard
}

const shardCount = 64

type shard struct {
	mu    sync.RWMutex
	users map[godwit.UserID][]place
	seen  lastSeen
}

// place is one device of a user.
type place struct {
	device  string
	session godwit.SessionID
}

// New returns an empty router.
func New(cfg Config) (*Router, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &Router{clock: cfg.Clock}
	for i := range r.shards {
		r.shards[i].users = map[godwit.UserID][]place{}
		r.shards[i].seen = newLastSeen(max(1, cfg.LastSeenMax/shardCount))
	}
	return r, nil
}

func (r *Router) shard(user godwit.UserID) *shard {
	return &r.shards[xxhash.Sum64String(string(user))%shardCount]
}

// Register makes s the session of the device. The session it replaces, if any,
// is returned; the caller closes it.
func (r *Router) Register(user godwit.UserID, device string, s godwit.SessionID) (replaced godwit.SessionID, had bool) {
	sh := r.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	places := sh.users[user]
	if i := slices.IndexFunc(places, func(p place) bool { return p.device == device }); i >= 0 {
		replaced, places[i].session = places[i].session, s
		return replaced, true
	}
	if len(places) == 0 {
		user = godwit.UserID(strings.Clone(string(user)))
		places = make([]place, 0, 1)
		sh.seen.remove(user)
	}
	sh.users[user] = append(places, place{strings.Clone(device), s})
	return 0, false
}

// Unregister removes exactly this session: if the device has a newer one by
// now, nothing happens.
func (r *Router) Unregister(user godwit.UserID, device string, s godwit.SessionID) {
	now := r.clock()
	sh := r.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	places := sh.users[user]
	i := slices.Index(places, place{device, s})
	switch {
	case i < 0:
	case len(places) > 1:
		sh.users[user] = slices.Delete(places, i, i+1)
	default:
		delete(sh.users, user)
		sh.seen.add(godwit.UserID(strings.Clone(string(user))), now)
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
