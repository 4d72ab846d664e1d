package live

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/godwit-im/godwit"
)

// What a Journal has of a Router. Each of these takes the shards one after the other,
// none for longer than its users take to be copied.

// changes are the users of a shard whose state the journal's file does not have.
type changes struct {
	users map[godwit.UserID]struct{} // nil: there is no journal
	all   bool                       // there were more than there may be: it has to write everything
}

// noteLocked has the journal write the user's state. Of more users than a shard
// remembers none is noted: the whole file is then written anew.
func (sh *shard) noteLocked(user godwit.UserID) {
	switch c := &sh.changes; {
	case c.users == nil || c.all:
	case len(c.users) < sh.seen.max:
		c.users[user] = struct{}{}
	default:
		c.users, c.all = map[godwit.UserID]struct{}{}, true
	}
}

// leaveLocked is the end of a user's last session.
func (sh *shard) leaveLocked(user godwit.UserID, now int64) {
	delete(sh.users, user)
	if _, erased := sh.erased[user]; erased {
		delete(sh.erased, user)
	} else {
		sh.seen.add(user, now)
	}
	sh.noteLocked(user)
}

// forget removes what is known of when a user was seen, be it later.
func (r *Router) forget(user godwit.UserID) {
	sh := r.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.seen.remove(user)
	if len(sh.users[user]) > 0 {
		if sh.erased == nil {
			sh.erased = map[godwit.UserID]struct{}{}
		}
		sh.erased[user] = struct{}{}
	}
	sh.noteLocked(user)
}

// collect begins to note changes.
func (r *Router) collect() {
	for i := range r.shards {
		sh := &r.shards[i]
		sh.mu.Lock()
		sh.changes = changes{users: map[godwit.UserID]struct{}{}}
		sh.mu.Unlock()
	}
}

// recall takes over what a file says. Of too many users those stay who were seen
// last. A time that is yet to come is taken for now: the clock was set back.
func (r *Router) recall(told *journal) {
	now := r.clock()
	seen := func(user godwit.UserID) int64 {
		if k := told.users[user]; !k.online {
			return min(k.ms, now)
		}
		return min(told.ms, now)
	}
	users := slices.SortedFunc(maps.Keys(told.users), func(a, b godwit.UserID) int {
		return cmp.Or(cmp.Compare(seen(a), seen(b)), cmp.Compare(a, b))
	})
	for _, user := range users {
		sh := r.shard(user)
		sh.mu.Lock()
		sh.seen.add(user, seen(user))
		sh.mu.Unlock()
	}
}

// takeChanges moves the noted users to e and counts them in taken. online tells
// whether anybody is; all is false if more changed than was noted.
func (sh *shard) takeChanges(e *blocks, taken *atomic.Int64) (online, all bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for user := range sh.changes.users {
		sh.writeLocked(e, user)
	}
	taken.Add(int64(len(sh.changes.users)))
	clear(sh.changes.users)
	return len(sh.users) > 0, !sh.changes.all
}

// takeAll writes every user of the shard: those seen last, and as many online ones
// as would be remembered if the process ended now.
func (sh *shard) takeAll(e *blocks, taken *atomic.Int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for user := range sh.seen.at {
		sh.writeLocked(e, user)
	}
	left := sh.seen.max
	for user := range sh.users {
		if left--; left < 0 {
			break
		}
		sh.writeLocked(e, user)
	}
	taken.Add(int64(len(sh.changes.users)))
	sh.changes.all = false
	clear(sh.changes.users)
}

// writeLocked writes what is so of a user.
func (sh *shard) writeLocked(e *blocks, user godwit.UserID) {
	_, erased := sh.erased[user]
	ms := sh.seen.get(user)
	switch {
	case erased || len(sh.users[user]) == 0 && ms <= 0:
		e.add(recordUnknown, user, 0)
	case len(sh.users[user]) > 0:
		e.add(recordOnline, user, 0)
	default:
		e.add(recordLeft, user, ms)
	}
}

// counts tells how many users' last times are remembered, and how many changed and
// are not written.
func (r *Router) counts() (seen, unwritten int) {
	for i := range r.shards {
		sh := &r.shards[i]
		sh.mu.RLock()
		seen += len(sh.seen.at)
		unwritten += len(sh.changes.users)
		if sh.changes.all {
			unwritten++
		}
		sh.mu.RUnlock()
	}
	return seen, unwritten
}
