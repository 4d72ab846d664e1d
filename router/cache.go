package router

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// CacheConfig of a Cache. The zero value of a field means its default.
type CacheConfig struct {
	// UsersMax bounds the users remembered, about 300 B each; 65536. One more makes it
	// forget any other.
	UsersMax int
	// OnlineFor is how long an answer with routes is used unless one of them bounces,
	// OfflineFor one without; 10 s and 2 s.
	OnlineFor, OfflineFor time.Duration
	// Join is how long a lookup waits for others to join its read; 1 ms. BatchMax
	// bounds the users of one read; 256: one more begins another.
	Join     time.Duration
	BatchMax int
}

func (c *CacheConfig) validate() error {
	if c.UsersMax < 0 || c.OnlineFor < 0 || c.OfflineFor < 0 || c.Join < 0 || c.BatchMax < 0 {
		return errors.New("router: a bound of the cache is negative")
	}
	if c.UsersMax == 0 {
		c.UsersMax = 65536
	}
	if c.OnlineFor == 0 {
		c.OnlineFor = 10 * time.Second
	}
	if c.OfflineFor == 0 {
		c.OfflineFor = 2 * time.Second
	}
	if c.Join == 0 {
		c.Join = time.Millisecond
	}
	if c.BatchMax == 0 {
		c.BatchMax = 256
	}
	return nil
}

// Cache remembers where users are. What it says may be old: send to it, and tell
// Bounced when the edge says that the connection is not there.
type Cache struct {
	d   *Directory
	cfg CacheConfig

	mu      sync.Mutex
	entries map[string]*cached
	next    *batch // still takes users
	seq     uint64 // counts reads and bounces, in their order
	stats   CacheStats
}

// CacheStats counts lookups of users.
type CacheStats struct {
	Users                        int
	Hits, Misses, Bounces, Reads uint64
}

// cached is what is known of a user. Answers are made from it, never handed out.
type cached struct {
	found   Whereabouts
	read    time.Duration // by the directory's monotonic clock
	have    bool          // found was read at all
	stale   bool          // a route bounced: read again
	bounced uint64        // seq of the last bounce: older reads say nothing new
	bad     []Route       // bounced ones, which a read may still name; bounded by badMax
}

const badMax = 4

// batch is one read of several users.
type batch struct {
	users map[string]struct{}
	seq   uint64
	done  chan struct{} // closed when what is below it stands
	found map[string]Whereabouts
	err   error
}

// NewCache returns an empty cache.
func (d *Directory) NewCache(cfg CacheConfig) (*Cache, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Cache{d: d, cfg: cfg, entries: map[string]*cached{}}, nil
}

// Lookup answers where users are, in their order. While the store is away it answers
// from what it has, however old, and fails only for who it knows nothing of.
func (c *Cache) Lookup(ctx context.Context, users []string) ([]Whereabouts, error) {
	answers := make([]Whereabouts, len(users))
	waits := make([]*batch, len(users))
	c.mu.Lock()
	now := c.d.cfg.Monotonic()
	for i, user := range users {
		if err := checkUser(user); err != nil {
			c.mu.Unlock()
			return nil, err
		}
		if e := c.entries[user]; e != nil && c.fresh(e, now) {
			answers[i] = c.answer(e)
			c.stats.Hits++
			continue
		}
		c.stats.Misses++
		waits[i] = c.joinLocked(user)
	}
	c.mu.Unlock()
	for i, b := range waits {
		if b == nil {
			continue
		}
		select {
		case <-b.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if b.err == nil {
			answers[i] = c.answerOf(users[i], b)
			continue
		}
		var ok bool
		if answers[i], ok = c.old(users[i]); !ok {
			return nil, b.err
		}
	}
	return answers, nil
}

func (c *Cache) fresh(e *cached, now time.Duration) bool {
	if !e.have || e.stale {
		return false
	}
	if len(c.answer(e).Routes) == 0 {
		return now-e.read < c.cfg.OfflineFor
	}
	return now-e.read < c.cfg.OnlineFor
}

// answer copies what is known, without routes that are not worth a try.
func (c *Cache) answer(e *cached) Whereabouts {
	w := Whereabouts{LastSeenMS: e.found.LastSeenMS, Routes: slices.Clone(e.found.Routes)}
	w.Routes = slices.DeleteFunc(w.Routes, func(r Route) bool { return slices.Contains(e.bad, r) })
	w.prune(c.d.View())
	return w
}

// answerOf is the answer of a read, less what has bounced before it or since.
func (c *Cache) answerOf(user string, b *batch) Whereabouts {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := cached{found: b.found[user]}
	if known := c.entries[user]; known != nil {
		e.bad = known.bad
	}
	return c.answer(&e)
}

// old is what is known of a user, however old.
func (c *Cache) old(user string) (Whereabouts, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[user]
	if e == nil || !e.have {
		return Whereabouts{}, false
	}
	return c.answer(e), true
}

// joinLocked puts a user into the read that is about to begin.
func (c *Cache) joinLocked(user string) *batch {
	if c.next == nil {
		b := &batch{users: map[string]struct{}{}, done: make(chan struct{})}
		if !c.d.start(func() { c.read(b) }) {
			b.err = ErrUnavailable
			close(b.done)
			return b
		}
		c.next = b
	}
	b := c.next
	b.users[user] = struct{}{}
	if len(b.users) >= c.cfg.BatchMax {
		c.next = nil
	}
	return b
}

// read waits for others to join, and reads.
func (c *Cache) read(b *batch) {
	defer close(b.done)
	wait := time.NewTimer(c.cfg.Join)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-c.d.ctx.Done():
	}
	c.mu.Lock()
	if c.next == b {
		c.next = nil
	}
	c.seq++
	b.seq = c.seq
	c.stats.Reads++
	users := make([]string, 0, len(b.users))
	for user := range b.users {
		users = append(users, user)
	}
	c.mu.Unlock()
	now := c.d.cfg.Monotonic()
	found, err := c.d.read(c.d.ctx, users)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		b.err = err
		return
	}
	b.found = make(map[string]Whereabouts, len(users))
	for i, user := range users {
		b.found[user] = found[i]
		c.keepLocked(user, found[i], b.seq, now)
	}
}

// keepLocked remembers a reading, unless one of the user's routes bounced after it
// began.
func (c *Cache) keepLocked(user string, found Whereabouts, seq uint64, now time.Duration) {
	e := c.entryLocked(user)
	if e.bounced > seq {
		return
	}
	if !e.stale {
		e.bad = nil // it was simply too old: what bounced long ago is tried again
	}
	e.found, e.read, e.have, e.stale = found, now, true, false
}

func (c *Cache) entryLocked(user string) *cached {
	e := c.entries[user]
	if e == nil {
		for other := range c.entries {
			if len(c.entries) < c.cfg.UsersMax {
				break
			}
			delete(c.entries, other)
		}
		e = &cached{}
		c.entries[user] = e
	}
	return e
}

// Bounced says that the edge does not have the connection r: the user is read again
// when he is next looked up, and r is not answered for a while even if the store
// still names it. Looking up once more is right; after a second bounce the user is
// to be taken for offline.
func (c *Cache) Bounced(user string, r Route) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Bounces++
	e := c.entryLocked(user)
	if slices.Contains(e.bad, r) {
		return // told before; the reading since is as good
	}
	if e.have && !e.stale && !slices.Contains(e.found.Routes, r) {
		return // a newer reading has other routes already
	}
	if e.bad = append(e.bad, r); len(e.bad) > badMax {
		e.bad = e.bad[1:]
	}
	c.seq++
	e.bounced, e.stale = c.seq, true
}

// Forget makes the next lookup of the user read: he has just come or gone.
func (c *Cache) Forget(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[user]; e != nil {
		c.seq++
		e.bounced, e.stale = c.seq, true
	}
}

// Stats returns the counters.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Users = len(c.entries)
	return s
}
