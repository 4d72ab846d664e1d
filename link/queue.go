package link

import (
	"sync"
	"sync/atomic"
)

// bounds of a queue, in bytes of items that wait, and what happens beyond.
type bounds struct {
	// To an edge process. hint: a delivery is dropped. It is a hint; the session
	// learns of the entry by the next one or by its slow compare of heads.
	hint int
	// whisper: an ephemeral frame is dropped.
	whisper int
	// owed: a fetch's answer becomes a failure, and the edge fetches again later; a
	// reply, a Connected or a Tell closes its session (4200), which resumes.
	owed int
	// last: for those failures and closes. Beyond it the edge process is cut off; it
	// attaches again, and its clients resume.
	last int
	// To the engine process. asked: a request is answered with unavailable, a fetch
	// with a failure, a connect with close 4200. A disconnect is always taken: there
	// is one for each connect, and without it a route would stay.
	asked int
}

var defaultBounds = bounds{hint: 4 << 20, whisper: 2 << 20, owed: 64 << 20, last: 68 << 20, asked: 32 << 20}

const (
	batchBytesMax = 256 << 10 // of one gRPC message, unless a single item is larger
	batchBytesMin = 4 << 10   // what a batch has room for at first
	keepBytesMax  = 2 * batchBytesMax
)

// batches lends the memory of batches; gRPC gives it back when a batch is written.
type batches struct{ free sync.Pool }

// Get implements mem.BufferPool.
func (p *batches) Get(length int) *[]byte {
	b, _ := p.free.Get().(*[]byte)
	if b == nil || cap(*b) < length {
		fresh := make([]byte, 0, max(length, batchBytesMin))
		b = &fresh
	}
	*b = (*b)[:length]
	return b
}

// Put implements mem.BufferPool.
func (p *batches) Put(b *[]byte) {
	if cap(*b) <= keepBytesMax {
		p.free.Put(b)
	}
}

// queue holds items until the writer takes them, in the order in which they were
// put. Any goroutine puts, one takes.
type queue struct {
	pool *batches
	wake chan struct{} // one wake-up is enough for everything that waits

	mu      sync.Mutex
	waiting []*[]byte // batches to be; only the last one grows
	bytes   int       // in all of them
	closed  bool

	items *atomic.Uint64 // counts what is put
}

func newQueue(pool *batches, items *atomic.Uint64) *queue {
	return &queue{pool: pool, items: items, wake: make(chan struct{}, 1)}
}

// put adds one item, given in parts, unless more than bound bytes would wait then.
// False also when the queue is closed.
func (q *queue) put(bound int, item ...[]byte) bool {
	size := 0
	for _, part := range item {
		size += len(part)
	}
	q.mu.Lock()
	if q.closed || q.bytes+size > bound {
		q.mu.Unlock()
		return false
	}
	first := len(q.waiting) == 0
	if first || len(*q.waiting[len(q.waiting)-1])+size > batchBytesMax {
		q.waiting = append(q.waiting, q.pool.Get(0))
	}
	batch := q.waiting[len(q.waiting)-1]
	for _, part := range item {
		*batch = append(*batch, part...)
	}
	q.bytes += size
	q.mu.Unlock()
	q.items.Add(1)
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// take returns the oldest batch, which is the caller's then, or nil.
func (q *queue) take() *[]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil
	}
	batch := q.waiting[0]
	q.waiting = append(q.waiting[:0], q.waiting[1:]...)
	q.bytes -= len(*batch)
	return batch
}

// close drops what waits and whatever comes later.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.waiting, q.bytes = true, nil, 0
}

// size is how many bytes wait, for metrics.
func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
