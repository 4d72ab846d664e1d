package admin

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// Bounds of what is remembered of changes with an Idempotency-Key. Over answersMax
// the oldest is forgotten, though its time has not come: a repeat of it is done
// again. It lies in memory: a restart forgets all. Sends have their cid as well,
// which is durable.
const (
	answersMax  = 10000
	answersTime = 24 * time.Hour
	keyBytesMax = 255
)

// answers remembers what was answered under an Idempotency-Key. Any goroutine.
type answers struct {
	now func() time.Time

	mu    sync.Mutex
	byKey map[string]*list.Element
	order *list.List // of *remembered, oldest first
}

type remembered struct {
	key     string
	request [sha256.Size]byte // of method, path and body
	at      time.Time
	done    bool // else the first request is still under way
	answer  answer
}

func newAnswers(now func() time.Time) *answers {
	return &answers{now: now, byKey: map[string]*list.Element{}, order: list.New()}
}

// begin takes a key for a request. first tells that the request is to be done and
// ended; else got is the answer it had, or refused says why there is none.
func (a *answers) begin(key string, request [sha256.Size]byte) (first bool, got answer, refused *problem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for e := a.order.Front(); e != nil && (len(a.byKey) >= answersMax || now.Sub(e.Value.(*remembered).at) > answersTime); e = a.order.Front() {
		delete(a.byKey, e.Value.(*remembered).key)
		a.order.Remove(e)
	}
	if e := a.byKey[key]; e != nil {
		r := e.Value.(*remembered)
		switch {
		case r.request != request:
			return false, got, refuse(422, "idempotency.conflict", "This Idempotency-Key was used for another request; use a new one.")
		case !r.done:
			return false, got, refuse(409, "idempotency.busy", "The first request with this Idempotency-Key is still under way; ask again in a moment.")
		}
		return false, r.answer, nil
	}
	a.byKey[key] = a.order.PushBack(&remembered{key: key, request: request, at: now})
	return true, got, nil
}

// end keeps the answer of a request that began. One that may succeed later, or of
// which it is not known what was done, is forgotten, so that it can be repeated.
func (a *answers) end(key string, got answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.byKey[key]
	if e == nil {
		return
	}
	if got.status >= 500 || got.status == 429 {
		delete(a.byKey, key)
		a.order.Remove(e)
		return
	}
	r := e.Value.(*remembered)
	r.done, r.answer = true, got
}
