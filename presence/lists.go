package presence

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/godwit-im/godwit"
)

type listShard struct {
	mu    sync.Mutex
	users map[godwit.UserID][]*list
}

// list is whom a device watches; guarded by its shard but for session. Device and
// user never change.
type list struct {
	user    godwit.UserID
	device  string
	watches []*watch
	order   uint64           // of the request it is from
	asked   int              // requests that have it and were not answered
	held    godwit.SessionID // the device's session; 0: none
	left    int64            // ms since when it has none
	session atomic.Uint64    // held, unless a request must be answered first: whom to tell
}

// watch is one user on one list; guarded by the user's shard, list and user never
// change.
type watch struct {
	list   *list
	user   *watched
	at     int32 // in user.watchers
	told   bool  // what the device was told: online
	queued bool  // it is in a queue, once
	check  bool  // rights have to be asked though there is nothing to tell
	gone   bool  // off the list
}

// Order numbers requests as they arrive: of two lists of a device the later one
// counts, whichever is read first.
func (h *Hub) Order() uint64 { return h.orders.Add(1) }

// Watch replaces the list of the session's device, or of the device named, which
// a session without one (a call's) must do, and returns the device. hidden[i] says
// that targets[i] may not be seen. Nothing is told of the list until Answered is
// called, once for each Watch without an error.
func (h *Hub) Watch(order uint64, s godwit.SessionID, user godwit.UserID, device string, targets []godwit.UserID, hidden []bool) (string, error) {
	if len(targets) > h.cfg.ListMax {
		return "", ErrFull
	}
	if device == "" {
		var ok bool
		if device, ok = h.cfg.Router.Device(user, s); !ok {
			return "", ErrNoDevice
		}
	}
	now := h.cfg.Clock()
	sh := &h.lists[shardOf(user)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	l := sh.find(user, device)
	if l == nil && len(targets) == 0 {
		return device, nil
	}
	if l == nil {
		if l = h.addList(sh, user, device, now); l == nil {
			return "", ErrFull
		}
	}
	if order > l.order {
		if err := h.replace(l, targets, hidden, now); err != nil {
			return "", err
		}
		l.order = order
		l.hold(h.cfg.Router.Session(user, device), now)
	}
	l.asked++
	l.session.Store(0) // a change told before the answer would be undone by it
	return device, nil
}

// Answered says that the reply to Watch is on its way: from here on changes are told.
func (h *Hub) Answered(user godwit.UserID, device string) {
	sh := &h.lists[shardOf(user)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l := sh.find(user, device); l != nil && l.asked > 0 {
		if l.asked--; l.asked == 0 {
			h.resume(l)
		}
	}
}

// Attach says that a device has a session: what its list missed is told there.
func (h *Hub) Attach(user godwit.UserID, device string, s godwit.SessionID) {
	if h.devices.Load() == 0 {
		return
	}
	sh := &h.lists[shardOf(user)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l := sh.find(user, device); l != nil {
		l.held = s
		if l.asked == 0 {
			h.resume(l)
		}
	}
}

// Detach says that a session ended; the list waits a while for the next.
func (h *Hub) Detach(user godwit.UserID, device string, s godwit.SessionID) {
	if h.devices.Load() == 0 {
		return
	}
	sh := &h.lists[shardOf(user)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l := sh.find(user, device); l != nil && l.held == s {
		l.hold(0, h.cfg.Clock())
	}
}

// Recheck has looked at anew who may see a user: whom he blocks or has as contacts
// changed.
func (h *Hub) Recheck(target godwit.UserID) {
	if h.watches.Load() == 0 {
		return
	}
	sh := h.shard(target)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u := sh.users[target]; u != nil {
		for _, w := range u.watchers {
			w.check = true
			h.enqueue(w)
		}
	}
}

func (sh *listShard) find(user godwit.UserID, device string) *list {
	for _, l := range sh.users[user] {
		if l.device == device {
			return l
		}
	}
	return nil
}

// addList makes room among the user's lists for a new one; nil: there is none.
func (h *Hub) addList(sh *listShard, user godwit.UserID, device string, now int64) *list {
	lists := sh.users[user]
	if len(lists) >= deviceListsMax {
		var oldest *list
		for _, l := range lists {
			if l.held == 0 && l.asked == 0 && (oldest == nil || l.left < oldest.left) {
				oldest = l
			}
		}
		if oldest == nil {
			return nil
		}
		h.dropList(sh, oldest)
	}
	user = godwit.UserID(strings.Clone(string(user)))
	l := &list{user: user, device: strings.Clone(device), left: now}
	sh.users[user] = append(sh.users[user], l)
	h.devices.Add(1)
	return l
}

func (h *Hub) dropList(sh *listShard, l *list) {
	l.session.Store(0)
	for _, w := range l.watches {
		w.remove()
	}
	h.watches.Add(-int64(len(l.watches)))
	h.devices.Add(-1)
	lists := slices.DeleteFunc(sh.users[l.user], func(other *list) bool { return other == l })
	if len(lists) == 0 {
		delete(sh.users, l.user)
		return
	}
	sh.users[l.user] = lists
}

// replace makes targets the list. Who is on both lists keeps his watch.
func (h *Hub) replace(l *list, targets []godwit.UserID, hidden []bool, now int64) error {
	before := make(map[godwit.UserID]*watch, len(l.watches))
	for _, w := range l.watches {
		before[w.user.user] = w
	}
	named := make(map[godwit.UserID]bool, len(targets))
	for _, target := range targets {
		named[target] = true
	}
	more := int64(len(named) - len(before))
	if h.watches.Add(more) > int64(h.cfg.WatchesMax) && more > 0 {
		h.watches.Add(-more)
		return ErrFull
	}
	watches := make([]*watch, 0, len(named))
	for i, target := range targets {
		if named[target] { // for the first time
			named[target] = false
			watches = append(watches, h.put(l, before[target], target, hidden[i], now))
			delete(before, target)
		}
	}
	for _, w := range before {
		w.remove()
	}
	l.watches = watches
	return nil
}

// put adds a watch or keeps one; either is told what it now sees by the answer.
func (h *Hub) put(l *list, w *watch, target godwit.UserID, hidden bool, now int64) *watch {
	u := h.hold(target, now)
	defer u.shard.mu.Unlock()
	if w == nil {
		w = &watch{list: l, user: u, at: int32(len(u.watchers))}
		u.watchers = append(u.watchers, w)
	}
	w.told = u.shown && !hidden
	return w
}

// remove takes a watch off its user, whom nobody may be watching then.
func (w *watch) remove() {
	u := w.user
	u.shard.mu.Lock()
	defer u.shard.mu.Unlock()
	last := len(u.watchers) - 1
	u.watchers[w.at] = u.watchers[last]
	u.watchers[w.at].at = w.at
	u.watchers[last] = nil
	u.watchers = u.watchers[:last]
	w.gone = true
	if last == 0 {
		delete(u.shard.users, u.user)
	}
}

// hold notes the device's session, 0 for none.
func (l *list) hold(s godwit.SessionID, now int64) {
	l.held = s
	if s == 0 {
		l.left = now
		l.session.Store(0)
	}
}

// resume tells the list's session what it was not told.
func (h *Hub) resume(l *list) {
	l.session.Store(uint64(l.held))
	if l.held == 0 {
		return
	}
	for _, w := range l.watches {
		sh := w.user.shard
		sh.mu.Lock()
		h.enqueue(w)
		sh.mu.Unlock()
	}
}

// sweep looks at one shard of lists: it finds sessions that went without a word,
// as those of an edge process that died, and drops lists that waited long enough.
func (h *Hub) sweep(now int64) {
	if h.devices.Load() == 0 {
		return
	}
	sh := &h.lists[h.swept]
	h.swept = (h.swept + 1) % shardCount
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, lists := range sh.users {
		for _, l := range slices.Clone(lists) {
			if l.held != 0 && h.cfg.Router.Session(l.user, l.device) != l.held {
				l.hold(0, now)
			}
			if l.left = min(l.left, now); l.held == 0 && now-l.left >= keepAfter {
				h.dropList(sh, l)
			}
		}
	}
}
