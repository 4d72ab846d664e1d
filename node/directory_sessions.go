package node

import (
	"context"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/router"
)

const (
	pollOutlives  = time.Minute // a device that polls is there between two polls
	pollToldAgain = time.Minute // … and is told of no more often
	pollSweeps    = 5 * time.Second
	pollShards    = 64
)

// registrar is what of a router.Registrar the sessions need.
type registrar interface {
	Add(user string, r router.Route)
	Remove(user string, r router.Route)
	Full() (after time.Duration, full bool)
}

// sessionBook tells the directory of sessions: of a WebSocket when it comes and goes,
// of a device that polls once, until it polls no more. It is edge.Sessions.
type sessionBook struct {
	registrar registrar
	now       func() time.Time
	shards    [pollShards]pollShard // by user
}

// pollShard is locked by event loops: a sweep holds it for a few thousand devices at
// most.
type pollShard struct {
	mu    sync.Mutex
	polls map[pollKey]*poller
}

type pollKey struct {
	user   godwit.UserID
	device string
}

// poller is a device that polls, about 250 B while it does and a minute longer.
type poller struct {
	route router.Route
	held  int       // polls under way
	told  time.Time // when the route was told last
	until time.Time // when it ends, with no poll under way
}

func newSessionBook(r registrar) *sessionBook {
	b := &sessionBook{registrar: r, now: time.Now}
	for i := range b.shards {
		b.shards[i].polls = map[pollKey]*poller{}
	}
	return b
}

// run ends the routes of devices that poll no more, until ctx ends.
func (b *sessionBook) run(ctx context.Context) {
	tick := time.NewTicker(pollSweeps)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.sweep()
		case <-ctx.Done():
			return
		}
	}
}

func (b *sessionBook) shard(user godwit.UserID) *pollShard {
	return &b.shards[xxhash.Sum64String(string(user))%pollShards]
}

func (b *sessionBook) Full() bool {
	_, full := b.registrar.Full()
	return full
}

func (b *sessionBook) Began(s godwit.SessionID, user godwit.UserID, device string, stamp uint64, polled bool) {
	route := router.Route{Device: device, Conn: uint64(s), Stamp: router.Timestamp(stamp)}
	if !polled {
		b.registrar.Add(string(user), route)
		return
	}
	sh := b.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now, key := b.now(), pollKey{user, device}
	p := sh.polls[key]
	if p == nil {
		p = &poller{route: route}
		sh.polls[key] = p
	}
	p.held++
	if p.told.IsZero() || now.Sub(p.told) >= pollToldAgain {
		p.route.Stamp, p.told = route.Stamp, now
		b.registrar.Add(string(user), p.route)
	}
}

func (b *sessionBook) Ended(s godwit.SessionID, user godwit.UserID, device string, stamp uint64, polled bool) {
	if !polled {
		b.registrar.Remove(string(user), router.Route{Device: device, Conn: uint64(s), Stamp: router.Timestamp(stamp)})
		return
	}
	sh := b.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.polls[pollKey{user, device}]; p != nil {
		p.held--
		p.until = b.now().Add(pollOutlives)
	}
}

func (b *sessionBook) sweep() {
	for i := range b.shards {
		b.sweepShard(&b.shards[i], b.now())
	}
}

func (b *sessionBook) sweepShard(sh *pollShard, now time.Time) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for key, p := range sh.polls {
		if p.held == 0 && now.After(p.until) {
			delete(sh.polls, key)
			b.registrar.Remove(string(key.user), p.route)
		}
	}
}
