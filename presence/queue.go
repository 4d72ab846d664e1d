package presence

import (
	"sync"

	"github.com/godwit-im/godwit"
)

// queues hold the watches that have something to tell, one queue for each edge
// process. A watch is in them at most once; those off their lists are thrown out
// before they are more than half.
type queues struct {
	perSecond int64
	mu        sync.Mutex
	edges     map[int]*queue
}

type queue struct {
	edge    int
	waiting []*watch
	next    int   // before it all were taken
	tokens  int64 // thousandths of a frame
	filled  int64 // ms; the run goroutine's, as tokens are
}

// enqueue has a watch told, if it has a session and there may be something to
// tell. The lock of the user's shard is held.
func (h *Hub) enqueue(w *watch) {
	s := w.list.session.Load()
	if w.queued || w.gone || s == 0 || w.told == w.user.shown && !w.check {
		return
	}
	w.queued = true
	h.queues.put(int(s>>godwit.SessionEdgeShift), w)
}

func (q *queues) put(edge int, w *watch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.edges[edge]
	if e == nil {
		if q.edges == nil {
			q.edges = map[int]*queue{}
		}
		e = &queue{edge: edge, tokens: q.burst()}
		q.edges[edge] = e
	}
	e.waiting = append(e.waiting, w)
}

// each calls f for every queue. One that is empty and may send a whole burst is
// as good as none.
func (q *queues) each(f func(*queue)) {
	q.mu.Lock()
	all := make([]*queue, 0, len(q.edges))
	for edge, e := range q.edges {
		if len(e.waiting) == 0 && e.tokens >= q.burst() {
			delete(q.edges, edge)
			continue
		}
		all = append(all, e)
	}
	q.mu.Unlock()
	for _, e := range all {
		f(e)
	}
}

// take moves up to n watches from the queue's head to dst.
func (q *queues) take(e *queue, n int, dst []*watch) []*watch {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(e.waiting)-e.next)
	dst = append(dst, e.waiting[e.next:e.next+n]...)
	clear(e.waiting[e.next : e.next+n])
	if e.next += n; e.next > len(e.waiting)/2 { // moved rarely: each watch about once
		left := copy(e.waiting, e.waiting[e.next:])
		clear(e.waiting[left:])
		e.waiting, e.next = e.waiting[:left], 0
	}
	return dst
}

// A sixth of a second's frames may be saved up, and five sixths come in a second:
// no second has more than all of them.
func (q *queues) burst() int64 { return q.perSecond * 1000 / 6 }

func (q *queues) fill(e *queue, now int64) {
	if e.filled == 0 || now < e.filled {
		e.filled = now
	}
	elapsed := min(now-e.filled, 1000)
	e.filled = now
	e.tokens = min(e.tokens+elapsed*q.perSecond*5/6, q.burst())
}

func (q *queues) left(e *queue) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(e.waiting) - e.next
}

func (q *queues) waiting() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.edges {
		n += len(e.waiting) - e.next
	}
	return n
}

// telling is the run goroutine's scratch.
type telling struct {
	taken    []*watch
	watches  []*watch
	watchers []godwit.UserID
	sessions []godwit.SessionID
	hide     []godwit.SessionID
	may      []bool
	frame    godwit.ServerFrame
}

// drain tells what is queued for one edge process, as far as its budget goes.
func (h *Hub) drain(q *queue, now int64) {
	h.queues.fill(q, now)
	t := &h.tell
	for looked := 0; looked < lookedAtMax; {
		t.taken = h.queues.take(q, int(q.tokens/1000), t.taken[:0])
		if len(t.taken) == 0 {
			break
		}
		looked += len(t.taken)
		for rest := t.taken; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].user == rest[0].user {
				n++
			}
			q.tokens -= 1000 * int64(h.tellOf(q, rest[0].user, rest[:n], now))
			rest = rest[n:]
		}
		clear(t.taken)
	}
	left := h.queues.left(q)
	if left > 0 {
		h.counters.limited.Add(1)
	}
	if left > 2*int(h.watches.Load())+goneMin {
		h.throwOut(q, left)
	}
}

// goneMin is how many watches off their lists are worth a look at all.
const goneMin = 1024

// throwOut removes the watches that are off their lists.
func (h *Hub) throwOut(q *queue, n int) {
	for _, w := range h.queues.take(q, n, nil) {
		sh := w.user.shard
		sh.mu.Lock()
		w.queued = false
		h.enqueue(w)
		sh.mu.Unlock()
	}
}

// tellOf tells some of a user's watchers what is shown of him, and returns to how
// many sessions.
func (h *Hub) tellOf(q *queue, u *watched, some []*watch, now int64) int {
	t := &h.tell
	t.watches, t.watchers, t.sessions = t.watches[:0], t.watchers[:0], t.sessions[:0]
	u.shard.mu.Lock()
	item := godwit.PresenceItem{User: u.user, Online: u.shown, LastSeen: u.lastSeen(now)}
	for _, w := range some {
		w.queued = false
		s := godwit.SessionID(w.list.session.Load())
		switch {
		case w.gone || s == 0:
			continue
		case w.told == u.shown && !w.check:
			h.counters.withdrawn.Add(1)
			continue
		case int(s>>godwit.SessionEdgeShift) != q.edge: // it moved: to the other's budget
			h.enqueue(w)
			continue
		}
		t.watches = append(t.watches, w)
		t.watchers = append(t.watchers, w.list.user)
		t.sessions = append(t.sessions, s)
	}
	u.shard.mu.Unlock()
	if len(t.watches) == 0 {
		return 0
	}
	t.may = append(t.may[:0], make([]bool, len(t.watches))...)
	h.cfg.Rights.MaySee(u.user, t.watchers, t.may)

	tell := t.sessions[:0]
	t.hide = t.hide[:0]
	u.shard.mu.Lock()
	for i, w := range t.watches {
		sees := item.Online && t.may[i]
		if w.told != sees {
			if t.may[i] {
				tell = append(tell, t.sessions[i])
			} else {
				t.hide = append(t.hide, t.sessions[i])
			}
		}
		w.told, w.check = sees, false
	}
	u.shard.mu.Unlock()
	h.whisper(tell, item)
	h.whisper(t.hide, godwit.PresenceItem{User: u.user})
	h.counters.hidden.Add(uint64(len(t.hide)))
	clear(t.watches)
	return len(tell) + len(t.hide)
}

func (h *Hub) whisper(sessions []godwit.SessionID, item godwit.PresenceItem) {
	if len(sessions) == 0 {
		return
	}
	f := &h.tell.frame
	*f = godwit.ServerFrame{Kind: godwit.KindEphemeral, Ephemeral: godwit.Ephemeral{Presence: item}}
	h.cfg.Edge.Whisper(sessions, f)
	h.counters.sent.Add(uint64(len(sessions)))
}
