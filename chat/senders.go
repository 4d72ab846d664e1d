package chat

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/godwit-im/godwit"
)

// senders holds each user to a rate of sends over all his sessions. Only who
// sent lately is remembered: once time has paid a user's sends back he is
// forgotten. Any goroutine takes, the tick loop moves the time on.
type senders struct {
	perS   uint32 // 0: not limited
	now    atomic.Uint32
	shards [senderShards]senderShard
}

// A shard with as many users as it may have lets further ones send unpaced: so
// many at once are not the flood of one.
const (
	senderShards      = 64
	shardSendersMax   = 4096
	sendBurstSeconds  = 2
	sendTicksPerS     = uint32(time.Second / TickInterval)
	sendTickMS        = uint32(TickInterval / time.Millisecond)
	senderUserPerSMax = 1 << 20
)

type senderShard struct {
	mu    sync.Mutex
	users map[godwit.UserID]sendDebt
}

// sendDebt is what a user's sends have used up and time has not yet given back,
// in 1/sendTicksPerS of a send.
type sendDebt struct{ owed, at uint32 }

func (d sendDebt) left(now, perS uint32) uint32 {
	return d.owed - uint32(min(uint64(d.owed), uint64(now-d.at)*uint64(perS)))
}

// take counts one send; otherwise it returns the ms after which there is room.
func (t *senders) take(user godwit.UserID) (waitMS uint32) { return t.takeMany(user, 1) }

// takeMany counts n at once, which must not be more than may be saved up.
func (t *senders) takeMany(user godwit.UserID, n uint32) (waitMS uint32) {
	if t.perS == 0 {
		return 0
	}
	now := t.now.Load()
	sh := &t.shards[xxhash.Sum64String(string(user))%senderShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	debt, known := sh.users[user]
	owed := debt.left(now, t.perS) + n*sendTicksPerS
	if burst := sendBurstSeconds * sendTicksPerS * t.perS; owed > burst {
		return (owed - burst + t.perS - 1) / t.perS * sendTickMS
	}
	if !known {
		if len(sh.users) >= shardSendersMax {
			return 0
		}
		if sh.users == nil {
			sh.users = map[godwit.UserID]sendDebt{}
		}
		user = godwit.UserID(strings.Clone(string(user)))
	}
	sh.users[user] = sendDebt{owed, now}
	return 0
}

// give takes back one send that was counted and not made.
func (t *senders) give(user godwit.UserID) {
	if t.perS == 0 {
		return
	}
	sh := &t.shards[xxhash.Sum64String(string(user))%senderShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if debt, known := sh.users[user]; known {
		debt.owed -= min(debt.owed, sendTicksPerS)
		sh.users[user] = debt
	}
}

// tick moves the time on and forgets who owes nothing, a shard at a time.
func (t *senders) tick() {
	if t.perS == 0 {
		return
	}
	now := t.now.Add(1)
	sh := &t.shards[now%senderShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for user, debt := range sh.users {
		if debt.left(now, t.perS) == 0 {
			delete(sh.users, user)
		}
	}
}
