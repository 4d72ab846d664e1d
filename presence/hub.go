package presence

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/godwit-im/godwit"
)

// Hub holds who watches whom. Its methods may be called from any goroutine; none
// but Close blocks for long. Locks are taken in this order: a shard of lists, the
// router's, a shard of watched users, the queues.
type Hub struct {
	cfg      Config
	lists    [shardCount]listShard
	users    [shardCount]userShard
	queues   queues
	orders   atomic.Uint64
	watches  atomic.Int64 // of all lists
	devices  atomic.Int64 // lists
	counters counters

	tell     telling // the run goroutine's
	swept    int     // its next shard of lists to be swept
	stop     chan struct{}
	stopOnce sync.Once
	running  sync.WaitGroup
}

const shardCount = 64

type userShard struct {
	mu      sync.Mutex
	users   map[godwit.UserID]*watched
	waiting []*watched // a change that nobody was told of; each once
}

// watched is a user whom somebody watches; guarded by its shard.
type watched struct {
	user     godwit.UserID
	shard    *userShard
	watchers []*watch
	since    int64 // ms of the last change of live
	seen     int64 // ms when his last session ended; 0: not known
	credit   int64 // ms: flipEvery for each flip he may make at once
	paid     int64 // ms when credit was last added to
	known    bool  // live and shown are set
	live     bool  // he has a session
	shown    bool  // what others see
	waits    bool  // he is in shard.waiting
	missed   bool  // a message did not reach him since he went
	erased   bool  // the end of his last session is not to be remembered
}

// New returns a hub; nobody is told anything before Start.
func New(cfg Config) (*Hub, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	h := &Hub{cfg: cfg, stop: make(chan struct{})}
	for i := range shardCount {
		h.lists[i].users = map[godwit.UserID][]*list{}
		h.users[i].users = map[godwit.UserID]*watched{}
	}
	h.queues.perSecond = int64(cfg.PerSecond)
	return h, nil
}

// Start begins to tell watchers.
func (h *Hub) Start() { h.running.Go(h.run) }

// Close ends that and returns when it has ended.
func (h *Hub) Close() {
	h.stopOnce.Do(func() { close(h.stop) })
	h.running.Wait()
}

func (h *Hub) run() {
	ticks := h.cfg.Ticks
	if ticks == nil {
		t := time.NewTicker(TickInterval)
		defer t.Stop()
		ticks = t.C
	}
	for {
		select {
		case <-h.stop:
			return
		case <-ticks:
			h.tick(h.cfg.Clock())
		}
	}
}

// tick shows what changed, and tells as much of it as the budget allows.
func (h *Hub) tick(now int64) {
	for i := range h.users {
		h.users[i].flip(h, now)
	}
	h.sweep(now)
	h.queues.each(func(q *queue) { h.drain(q, now) })
}

func shardOf(user godwit.UserID) uint64 { return xxhash.Sum64String(string(user)) % shardCount }

func (h *Hub) shard(user godwit.UserID) *userShard { return &h.users[shardOf(user)] }

// Changed says that a user's first session began, or his last one ended. The
// router calls it in the order in which it happened, so under its own lock: the
// hub calls nobody from here.
func (h *Hub) Changed(user godwit.UserID, online bool, nowMS int64) {
	if h.watches.Load() == 0 {
		return
	}
	sh := h.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.users[user]
	if u == nil {
		return
	}
	if !u.known { // he is being added: what he was is the opposite
		u.known, u.live, u.shown = true, !online, !online
	}
	if u.live == online {
		return
	}
	u.live, u.since, u.missed = online, nowMS, false
	if !online {
		u.seen = nowMS
		if u.erased {
			u.seen, u.erased = 0, false
		}
	}
	if u.live == u.shown {
		h.counters.suppressed.Add(2) // this change, and the one it undoes
	}
	u.wait()
}

// wait has the next tick look at a user who is not what is shown of him.
func (u *watched) wait() {
	if !u.waits && u.live != u.shown {
		u.waits = true
		u.shard.waiting = append(u.shard.waiting, u)
	}
}

// Missed says that a message found no session of a user: if he is gone and still
// shown as online, that ends sooner.
func (h *Hub) Missed(user godwit.UserID) {
	if h.watches.Load() == 0 {
		return
	}
	sh := h.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u := sh.users[user]; u != nil && u.known && !u.live {
		u.missed = true
	}
}

// Forget is for a user whose account was erased: when he was last seen is not told to
// who watches him, also if his last session is yet to end.
func (h *Hub) Forget(user godwit.UserID) {
	sh := h.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u := sh.users[user]; u != nil {
		u.seen, u.erased = 0, u.live
	}
}

// Look returns what others see of a user: the same whether he is watched or not,
// but that who is not watched is online as soon as he has a session.
func (h *Hub) Look(user godwit.UserID) (online bool, lastSeenMS int64) {
	now := h.cfg.Clock()
	if h.watches.Load() > 0 {
		sh := h.shard(user)
		sh.mu.Lock()
		if u := sh.users[user]; u != nil && u.known {
			defer sh.mu.Unlock()
			return u.shown, u.lastSeen(now)
		}
		sh.mu.Unlock()
	}
	online, lastSeenMS = h.cfg.Router.Presence(user)
	if !online && h.bridged(lastSeenMS, now) {
		return true, now
	}
	return online, lastSeenMS
}

// bridged tells whether who left then may still be back in time.
func (h *Hub) bridged(leftMS, now int64) bool {
	return leftMS != 0 && now-leftMS < h.cfg.Debounce.Milliseconds()
}

func (u *watched) lastSeen(now int64) int64 {
	if u.shown {
		return now
	}
	return u.seen
}

// flip shows the changes that have lasted.
func (sh *userShard) flip(h *Hub, now int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	kept := sh.waiting[:0]
	for _, u := range sh.waiting {
		switch {
		case u.live == u.shown || len(u.watchers) == 0:
			u.waits = false
		case !u.due(&h.cfg, now):
			kept = append(kept, u)
		default:
			u.waits = false
			u.shown = u.live
			h.counters.flips.Add(1)
			for _, w := range u.watchers {
				h.enqueue(w)
			}
		}
	}
	clear(sh.waiting[len(kept):])
	sh.waiting = kept
}

// due tells whether a change has lasted long enough and the user may make one
// more; if so he has made it.
func (u *watched) due(cfg *Config, now int64) bool {
	u.since, u.paid = min(u.since, now), min(u.paid, now) // the clock may be set back
	after := cfg.OnlineDelay.Milliseconds()
	if !u.live {
		if after = cfg.Debounce.Milliseconds(); u.missed {
			after = min(after, missedAfter)
		}
	}
	if now-u.since < after {
		return false
	}
	u.credit = min(u.credit+now-u.paid, flipsSaved*flipEvery)
	u.paid = now
	if u.credit < flipEvery {
		return false
	}
	u.credit -= flipEvery
	return true
}

// hold finds a user to watch or begins to follow him. The router is asked while
// changes already arrive: one that comes first is newer than its answer.
func (h *Hub) hold(user godwit.UserID, now int64) *watched {
	sh := h.shard(user)
	sh.mu.Lock()
	u := sh.users[user]
	if u != nil && u.known {
		return u // locked
	}
	if u == nil {
		user = godwit.UserID(strings.Clone(string(user)))
		u = &watched{user: user, shard: sh, credit: flipsSaved * flipEvery, paid: now}
		sh.users[user] = u
	}
	sh.mu.Unlock()
	online, seen := h.cfg.Router.Presence(user)
	sh.mu.Lock()
	if sh.users[user] != u { // who else added him has gone again
		sh.mu.Unlock()
		return h.hold(user, now)
	}
	if !u.known {
		u.known, u.live, u.shown, u.since = true, online, online, now
		if !online {
			u.since, u.seen, u.shown = seen, seen, h.bridged(seen, now)
		}
		u.wait()
	}
	return u
}
