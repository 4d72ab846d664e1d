package chat

import (
	"sync"

	"github.com/godwit-im/godwit"
)

// request is the part of every accepted request that says whom to answer. It is
// answered by whoever claims it: the result, a failure, the deadline or Close.
type request struct {
	session godwit.SessionID
	id      uint64
	what    requestKind
	gone    chan struct{} // if not nil, closed when the deadline has answered

	stored     *storedSend // of requestStored: the whole of it
	due        uint64      // tick
	linked     bool        // waiting for an answer; guarded by the shard, as are the next two
	prev, next *request
}

type requestKind uint8

const (
	requestSend requestKind = iota
	requestRead
	requestConnect
	requestFetch
	requestTrim   // nobody waits
	requestStored // a send that is done, but for the place of its pointer
)

// deadlines holds requests until they are answered. All wait equally long, so a
// list in order of arrival is in order of deadline and nothing needs a timer.
type deadlines struct {
	waitTicks uint64
	shards    [16]deadlineShard
}

type deadlineShard struct {
	mu     sync.Mutex
	now    uint64 // ticks so far
	closed bool
	head   request // sentinel of a ring
	_      [64]byte
}

func newDeadlines(waitTicks uint64) *deadlines {
	d := &deadlines{waitTicks: waitTicks}
	for i := range d.shards {
		h := &d.shards[i].head
		h.prev, h.next = h, h
	}
	return d
}

func (d *deadlines) shard(s godwit.SessionID) *deadlineShard {
	return &d.shards[uint64(s)*0x9E3779B97F4A7C15>>60]
}

// add starts r's time. It is false after close: nothing may wait then.
func (d *deadlines) add(r *request) bool {
	s := d.shard(r.session)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	r.due, r.linked = s.now+d.waitTicks, true
	r.prev, r.next = s.head.prev, &s.head
	r.prev.next, s.head.prev = r, r
	return true
}

// claim reports whether the caller is the one to answer r.
func (d *deadlines) claim(r *request) bool {
	s := d.shard(r.session)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.linked {
		return false
	}
	r.unlink()
	return true
}

// become changes what an unanswered request is when its deadline comes; false: it
// has been answered.
func (d *deadlines) become(r *request, what requestKind) bool {
	s := d.shard(r.session)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.linked {
		r.what = what
	}
	return r.linked
}

func (r *request) unlink() {
	r.prev.next, r.next.prev = r.next, r.prev
	r.prev, r.next, r.linked = nil, nil, false
}

// replace puts by, of the same session, in r's place: its time goes on. It is
// false if r was answered.
func (d *deadlines) replace(r, by *request, stored *storedSend) bool {
	s := d.shard(r.session)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.linked {
		return false
	}
	*by = *r
	by.what, by.stored = requestStored, stored
	by.prev.next, by.next.prev = by, by
	r.prev, r.next, r.linked = nil, nil, false
	return true
}

// tick moves time on and appends copies of the requests that are due: their
// owners may reuse the originals at once.
func (d *deadlines) tick(dst []request) []request {
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		s.now++
		for r := s.head.next; r != &s.head && r.due <= s.now; r = s.head.next {
			dst = append(dst, *r)
			r.unlink()
		}
		s.mu.Unlock()
	}
	return dst
}

// close appends all that wait and refuses more.
func (d *deadlines) close(dst []request) []request {
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		s.closed = true
		for r := s.head.next; r != &s.head; r = s.head.next {
			dst = append(dst, *r)
			r.unlink()
		}
		s.mu.Unlock()
	}
	return dst
}
