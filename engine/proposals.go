package engine

import "sync"

// proposals is the side of a group that callers meet: batches not yet
// proposed, batches in flight, and reads not yet asked of raft.
type proposals struct {
	mu     sync.Mutex
	closed error // why nothing is taken any more; nil while open

	// open holds batches not yet proposed, oldest first; the last takes commands.
	// Bounded by Config.QueueBytesMax together with flight.
	open      []*openBatch
	openBytes int
	number    uint64 // of the newest batch
	// flight holds proposed batches in log order until they are applied.
	flight []*openBatch
	free   []*openBatch // at most freeBatchesMax, for reuse

	// reads wait for the loop; at most readsMax, overflow: ErrUnavailable.
	reads []func(error)

	// queued: the loop has been told that there is work.
	queued bool
}

const (
	freeBatchesMax   = 4
	freeBytesMax     = 1 << 20 // a larger buffer is not kept for reuse
	readsMax         = 1 << 16
	pipelineMinBytes = 64 << 10 // see raftLoop.mayPropose
)

// add copies command into the newest open batch. wake is true when the loop
// must be told. The caller has reserved costBytes of the queue.
func (p *proposals) add(command []byte, w Waiter, costBytes int64, batchBytesMax int) (wake bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return false, p.closed
	}
	b := p.roomLocked(len(command)+commandOverhead, batchBytesMax)
	before := p.openBytes - len(b.buf)
	wasSmall := p.openBytes < pipelineMinBytes
	b.add(command, w)
	b.costBytes += costBytes
	p.openBytes = before + len(b.buf)
	wake = !p.queued || wasSmall && p.openBytes >= pipelineMinBytes
	return wake, nil
}

// roomLocked returns the batch that takes a command of size bytes.
func (p *proposals) roomLocked(size, batchBytesMax int) *openBatch {
	if n := len(p.open); n > 0 && len(p.open[n-1].buf)+size <= batchBytesMax {
		return p.open[n-1]
	}
	var b *openBatch
	if n := len(p.free); n > 0 {
		b, p.free = p.free[n-1], p.free[:n-1]
	} else {
		b = &openBatch{}
	}
	p.number++
	b.reset(p.number)
	p.open = append(p.open, b)
	p.openBytes += len(b.buf)
	return b
}

// addRead queues a read for the loop.
func (p *proposals) addRead(done func(error)) (wake bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return false, p.closed
	}
	if len(p.reads) >= readsMax {
		return false, ErrUnavailable
	}
	p.reads = append(p.reads, done)
	return !p.queued || len(p.reads) == 1, nil
}

// markQueued returns whether the caller has to put the group on the loop's list.
func (p *proposals) markQueued() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.queued
	p.queued = true
	return !was
}

// takeReads moves the waiting reads to dst.
func (p *proposals) takeReads(dst []func(error)) []func(error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	dst = append(dst, p.reads...)
	clear(p.reads)
	p.reads = p.reads[:0]
	return dst
}

// takeOpen moves the open batches to dst and, before anyone can see them
// applied, to the flight.
func (p *proposals) takeOpen(dst []*openBatch) []*openBatch {
	p.mu.Lock()
	defer p.mu.Unlock()
	dst = append(dst, p.open...)
	p.flight = append(p.flight, p.open...)
	clear(p.open)
	p.open, p.openBytes, p.queued = p.open[:0], 0, false
	return dst
}

// unqueue tells whether batches are still open; if not, the next add wakes.
func (p *proposals) unqueue() (openBytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.openBytes == 0 {
		p.queued = false
	}
	return p.openBytes
}

// applied takes the batch with this number off the flight for the applier.
// Older ones can't be applied any more: a batch is proposed once and in order.
// They come back as lost. b is nil if its waiters were failed already.
func (p *proposals) applied(number uint64, lost []*openBatch) (b *openBatch, _ []*openBatch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.flight) && p.flight[n].number < number {
		n++
	}
	lost = append(lost, p.flight[:n]...)
	if n < len(p.flight) && p.flight[n].number == number {
		b = p.flight[n]
		n++
	}
	p.flight = append(p.flight[:0], p.flight[n:]...)
	return b, lost
}

// remove takes b, which raft refused, off the flight.
func (p *proposals) remove(b *openBatch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.flight {
		if p.flight[i] == b {
			p.flight = append(p.flight[:i], p.flight[i+1:]...)
			return
		}
	}
}

// takeFlight empties the flight: its batches are in doubt.
func (p *proposals) takeFlight() []*openBatch {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.flight
	p.flight = nil
	return b
}

// close refuses everything from now on with err, unless it is refused already.
func (p *proposals) close(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed == nil {
		p.closed = err
	}
}

// idle reports whether nothing is open, in flight or waiting to be read.
func (p *proposals) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open) == 0 && len(p.flight) == 0 && len(p.reads) == 0
}

// recycle gives b back for reuse; nobody may hold it any more.
func (p *proposals) recycle(b *openBatch) {
	clear(b.waiters)
	b.waiters = b.waiters[:0]
	if cap(b.buf) > freeBytesMax {
		b.buf = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < freeBatchesMax {
		p.free = append(p.free, b)
	}
}
