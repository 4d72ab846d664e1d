package chat

import (
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/godwit-im/godwit"
)

// logouts remembers what users who make calls were logged out of, as their rows
// say, so that a call reads no row. A logout makes it forget the user, and the next
// call reads anew.
type logouts struct {
	shards [logoutShards]logoutShard
}

const logoutShards = 64

// logoutWeightMax bounds a shard: each user and each of his devices that was logged
// out weighs 1, which is 100 B or so. What is too much takes the place of any others.
const logoutWeightMax = 2048

type logoutShard struct {
	mu     sync.Mutex
	users  map[godwit.UserID]*userLogouts
	weight int
	heard  uint64 // logouts so far: a read from before one is not remembered
}

// userLogouts says before which times tokens are void. It is immutable.
type userLogouts struct {
	all     userRow // only loggedOut
	devices []deviceLogouts
}

type deviceLogouts struct {
	device string
	row    deviceRow // only loggedOut
}

func (u *userLogouts) weight() int { return 1 + len(u.devices) }

// isVoid tells whether a token issued then is void on a device; without one, only
// logouts of all count.
func (u *userLogouts) isVoid(device string, issued int64) bool {
	var d deviceRow
	if i := slices.IndexFunc(u.devices, func(d deviceLogouts) bool { return d.device == device }); i >= 0 {
		d = u.devices[i].row
	}
	return d.isVoid(&u.all, issued)
}

func (l *logouts) init() {
	for i := range l.shards {
		l.shards[i].users = map[godwit.UserID]*userLogouts{}
	}
}

func (l *logouts) shard(user godwit.UserID) *logoutShard {
	return &l.shards[xxhash.Sum64String(string(user))%logoutShards]
}

// get returns what is remembered of a user, nil if nothing is, and then the number
// that remember wants.
func (l *logouts) get(user godwit.UserID) (u *userLogouts, heard uint64) {
	sh := l.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.users[user], sh.heard
}

// remember keeps what was read of a user after get, unless a logout came since.
func (l *logouts) remember(user godwit.UserID, u *userLogouts, heard uint64) {
	sh := l.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.heard != heard {
		return
	}
	sh.dropLocked(user)
	for other := range sh.users {
		if sh.weight+u.weight() <= logoutWeightMax {
			break
		}
		sh.dropLocked(other)
	}
	sh.users[user] = u
	sh.weight += u.weight()
}

// forget is told of a logout once readers see it.
func (l *logouts) forget(user godwit.UserID) {
	sh := l.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.heard++
	sh.dropLocked(user)
}

func (sh *logoutShard) dropLocked(user godwit.UserID) {
	if u := sh.users[user]; u != nil {
		sh.weight -= u.weight()
		delete(sh.users, user)
	}
}

// admitCall tells the edge whether a token may make requests without a session, by
// Edge.Connected or Edge.Close.
func (s *Service) admitCall(session godwit.SessionID, h godwit.Hello) {
	u, heard := s.logouts.get(h.User)
	switch {
	case u == nil:
		s.startRead(&read{
			request: request{session: session, what: requestConnect}, do: (*read).admitCall, user: h.User,
			hello: h, logouts: heard,
		})
	case u.isVoid(h.Device, h.Issued):
		s.cfg.Edge.Close(session, godwit.CloseLoggedOut, godwit.ErrLoggedOut.Code)
	default:
		s.cfg.Edge.Connected(session, godwit.Welcome{})
	}
}

// admitCall reads what the user was logged out of.
func (r *read) admitCall(w *readWorker, v View) answer {
	row, refusal := userOfView(v, r.user)
	u := &userLogouts{all: userRow{loggedOut: row.loggedOut}}
	prefix := appendOwnedPrefix(nil, r.user.Partition(), rowDevice, bytesOf(r.user))
	v.Scan(prefix, func(key, value []byte) bool {
		var d deviceRow
		switch {
		case !d.parse(value):
			refusal = godwit.ErrInternal
		case d.loggedOut > int64(row.loggedOut): // else the user's own time says it
			u.devices = append(u.devices, deviceLogouts{string(key[len(prefix):]), deviceRow{loggedOut: d.loggedOut}})
		}
		return refusal == nil
	})
	if refusal != nil || v.Err() != nil {
		return w.refuse(godwit.ErrInternal)
	}
	w.service.logouts.remember(r.user, u, r.logouts)
	if u.isVoid(r.hello.Device, r.hello.Issued) {
		return answerLoggedOut
	}
	return answerAdmitted
}
