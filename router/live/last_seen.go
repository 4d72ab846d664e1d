package live

import "github.com/godwit-im/godwit"

// lastSeen remembers when users left, for at most max of them: the oldest
// departure makes room for a new one. Guarded by its shard.
type lastSeen struct {
	max   int
	at    map[godwit.UserID]departure
	order []turn // by number; a turn that is not its user's newest is stale
	next  uint64 // number of the next turn
}

type departure struct {
	ms   int64
	turn uint64
}

type turn struct {
	user   godwit.UserID
	number uint64
}

func newLastSeen(most int) lastSeen {
	return lastSeen{max: most, at: map[godwit.UserID]departure{}}
}

func (l *lastSeen) get(user godwit.UserID) int64 { return l.at[user].ms }

func (l *lastSeen) remove(user godwit.UserID) { delete(l.at, user) }

func (l *lastSeen) isNewest(t turn) bool {
	d, ok := l.at[t.user]
	return ok && d.turn == t.number
}

func (l *lastSeen) add(user godwit.UserID, ms int64) {
	l.at[user] = departure{ms, l.next}
	l.order = append(l.order, turn{user, l.next})
	l.next++
	for len(l.at) > l.max {
		if l.isNewest(l.order[0]) {
			delete(l.at, l.order[0].user)
		}
		l.order = l.order[1:]
	}
	if len(l.order) > 2*l.max { // at least half are stale
		kept := make([]turn, 0, len(l.order))
		for _, t := range l.order {
			if l.isNewest(t) {
				kept = append(kept, t)
			}
		}
		l.order = kept
	}
}
