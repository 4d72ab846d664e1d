package client

import (
	"slices"
	"time"

	"github.com/godwit-im/godwit"
)

// queue holds every request without an answer, bounded by Config.QueueMax (the
// loop reads no more from callers at it). Sends stay in the order of Submit from
// first to last: a lost connection or a refusal for a while only clears flying,
// so that walking the list from its front resends in the original order.
type queue struct {
	sends, reads []*request
	flying       map[uint64]*request // by ID on the current connection; nil: withdrawn
	sending      int                 // sends with flying set

	last       uint64     // ID last given; never used twice in the life of a client
	fetch      uint64     // ID of the fetch of a hole; 0: none is in flight
	fetchSince godwit.Seq // what it asked for
	fetchAt    time.Time  // not before

	// holding: a send was refused for a while. The rest in flight drains first, then
	// all go out again from the front, so that later ones do not overtake it.
	holding bool
	sendAt  time.Time
	pause   backoff   // between refusals for a while
	wake    time.Time // when something held back may go out; zero: nothing is

	sendsMax, inFlightMax, page int
	closed                      error // why the queue takes nothing more
}

const (
	pauseFirst  = 100 * time.Millisecond
	pauseMax    = 5 * time.Second
	pageDefault = 100
	pageMax     = 256 // entries of one fetch: the feed must have room for a page
)

func (q *queue) init(cfg *Config) {
	q.flying = map[uint64]*request{}
	q.sendsMax, q.inFlightMax, q.page = cfg.SendsInFlight, cfg.SendsInFlight, pageDefault
	q.pause = backoff{first: pauseFirst, limit: pauseMax, random: cfg.random}
}

// limits takes over the server's bounds; zero means that it named none.
func (q *queue) limits(l *godwit.Limits) {
	q.inFlightMax = max(q.sendsMax, 1)
	if l.InFlight > 0 {
		q.inFlightMax = int(l.InFlight)
	}
	q.page = pageDefault
	if l.Page > 0 {
		q.page = min(int(l.Page), pageMax)
	}
}

func (q *queue) nextID() uint64 { q.last++; return q.last }

func (q *queue) len() int { return len(q.sends) + len(q.reads) }

func (q *queue) push(r *request) {
	switch {
	case q.closed != nil:
		r.abandon(q.closed)
	case r.frame.Kind == godwit.KindSend:
		q.sends = append(q.sends, r)
	default:
		q.reads = append(q.reads, r)
	}
}

func (q *queue) inFlight() int {
	if q.fetch != 0 {
		return len(q.flying) + 1
	}
	return len(q.flying)
}

// next returns the request that may go out now: reads first, for someone looks at
// an empty page, then sends from the front.
func (q *queue) next(now time.Time) *request {
	if q.inFlight() >= q.inFlightMax {
		return nil
	}
	for _, r := range q.reads {
		if !r.flying && !now.Before(r.notBefore) {
			return r
		}
	}
	if q.holding {
		if q.sending > 0 || now.Before(q.sendAt) {
			return nil
		}
		q.holding, q.sendAt = false, time.Time{}
	}
	if q.sending >= q.sendsMax {
		return nil
	}
	for _, r := range q.sends {
		if !r.flying {
			return r
		}
	}
	return nil
}

// launch marks a request as written to the current connection.
func (q *queue) launch(r *request) {
	q.setFlying(r, true)
	r.frame.ID = q.nextID()
	q.flying[r.frame.ID] = r
}

func (q *queue) setFlying(r *request, flying bool) {
	if r.frame.Kind == godwit.KindSend && r.flying != flying {
		if flying {
			q.sending++
		} else {
			q.sending--
		}
	}
	r.flying = flying
}

// answer returns the request that an ID belongs to, no longer flying.
func (q *queue) answer(id uint64) *request {
	r := q.flying[id]
	delete(q.flying, id)
	if r != nil {
		q.setFlying(r, false)
	}
	return r
}

// finish ends a request with its answer.
func (q *queue) finish(r *request, f *godwit.ServerFrame) {
	q.remove(r)
	q.pause.reset()
	r.finish(f, nil)
}

// reject ends a request that had and will have no effect.
func (q *queue) reject(r *request, err *godwit.Error) {
	q.remove(r)
	r.finish(nil, err)
}

// refuse ends a request, or keeps it when the refusal is for a while.
func (q *queue) refuse(r *request, now time.Time, e *godwit.ErrorReply) {
	err := refusal(e)
	if !e.Temporary {
		q.reject(r, err)
		return
	}
	if err.Code != godwit.ErrUnavailable.Code && err.Code != godwit.ErrRateLimited.Code {
		r.maybe = true
	}
	q.postpone(r, now, e)
}

// postpone holds a request back that was refused for a while, or that follows
// such a one. Sends refused while a pause lasts count as one refusal.
func (q *queue) postpone(r *request, now time.Time, e *godwit.ErrorReply) {
	var at time.Time
	if r.frame.Kind == godwit.KindSend && q.holding && now.Before(q.sendAt) {
		at = now.Add(time.Duration(e.RetryAfterMS) * time.Millisecond)
	} else {
		at = now.Add(q.wait(e))
	}
	q.wakeBy(at)
	if r.frame.Kind != godwit.KindSend {
		r.notBefore = at
		return
	}
	q.holding = true
	if at.After(q.sendAt) {
		q.sendAt = at
	}
}

func (q *queue) wait(e *godwit.ErrorReply) time.Duration {
	return q.pause.after(backOff, closeReason{RetryAfterMS: e.RetryAfterMS})
}

func (q *queue) mayFetch(now time.Time) bool {
	return q.fetch == 0 && !now.Before(q.fetchAt) && q.inFlight() < q.inFlightMax
}

func (q *queue) holdFetch(now time.Time, e *godwit.ErrorReply) {
	q.fetchAt = now.Add(q.wait(e))
	q.wakeBy(q.fetchAt)
}

func (q *queue) wakeBy(at time.Time) {
	if q.wake.IsZero() || at.Before(q.wake) {
		q.wake = at
	}
}

// woken sets the next wake after the one that has come.
func (q *queue) woken(now time.Time) {
	for _, r := range q.reads {
		if r.notBefore.After(now) {
			q.wakeBy(r.notBefore)
		}
	}
	for _, at := range []time.Time{q.fetchAt, q.sendAt} {
		if at.After(now) {
			q.wakeBy(at)
		}
	}
}

// withdraw forgets a request whose caller does not wait.
func (q *queue) withdraw(r *request) {
	if q.remove(r) {
		if r.flying {
			q.flying[r.frame.ID] = nil // still counts as in flight: the server is at it
		}
		r.abandon(errWithdrawn)
		q.setFlying(r, false)
	}
}

func (q *queue) remove(r *request) bool {
	list := &q.reads
	if r.frame.Kind == godwit.KindSend {
		list = &q.sends
	}
	i := slices.Index(*list, r)
	if i < 0 {
		return false
	}
	*list = slices.Delete(*list, i, i+1)
	return true
}

// connectionLost takes back everything that was written and not answered.
func (q *queue) connectionLost() {
	for _, r := range q.flying {
		if r != nil {
			q.setFlying(r, false)
			r.maybe = true
		}
	}
	clear(q.flying)
	q.fetch, q.holding = 0, false
	q.fetchAt, q.sendAt, q.wake = time.Time{}, time.Time{}, time.Time{}
	for _, r := range q.reads {
		r.notBefore = time.Time{}
	}
}

// close abandons every request, and every later one.
func (q *queue) close(err error) {
	q.closed = err
	for _, r := range slices.Concat(q.sends, q.reads) {
		r.abandon(err)
	}
	q.sends, q.reads = nil, nil
	q.connectionLost()
}
