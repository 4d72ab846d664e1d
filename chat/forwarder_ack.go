package chat

// ackLocked notes that a lane's rows before first may go.
func (f *forwarder) ackLocked(l *lane) {
	if l.acking || l.first-1 <= l.acked {
		return
	}
	l.acking = true
	g := &f.acks[f.store.Group(l.id.src)]
	g.lanes = append(g.lanes, l)
}

// ackRequest is one ack command under way.
type ackRequest struct {
	forwarder *forwarder
	group     int
	lanes     []*lane
	through   []uint64
}

// ackNext proposes one ack command of a source group, if none is outstanding:
// meanwhile the next ones gather.
func (f *forwarder) ackNext(group int) {
	f.mu.Lock()
	g := &f.acks[group]
	if g.flying || len(g.lanes) == 0 || g.restUntil > f.now || f.closed {
		f.mu.Unlock()
		return
	}
	n := min(len(g.lanes), ackLanes)
	r := &ackRequest{forwarder: f, group: group, lanes: g.lanes[:n:n]}
	f.command = appendAckHead(f.command[:0], homeOf(group, f.store.Groups()), n)
	for _, l := range r.lanes {
		l.acking = false
		r.through = append(r.through, l.first-1)
		f.command = appendAckLane(f.command, l.id, l.first-1)
	}
	g.lanes = append([]*lane(nil), g.lanes[n:]...)
	g.flying = true
	f.mu.Unlock()
	if err := f.store.Propose(group, f.command, r); err != nil {
		r.Fail(err)
	}
}

func (r *ackRequest) applied(o *outcome, _ *flushScratch) {
	if o.refusal != nil {
		r.Fail(o.refusal)
		return
	}
	f := r.forwarder
	f.mu.Lock()
	defer f.mu.Unlock()
	g := &f.acks[r.group]
	g.flying, g.attempts, g.restUntil = false, 0, 0
	for i, l := range r.lanes {
		l.acked = max(l.acked, r.through[i])
		f.forgetLocked(l)
	}
	f.signal()
}

func (r *ackRequest) Fail(error) {
	f := r.forwarder
	f.mu.Lock()
	defer f.mu.Unlock()
	g := &f.acks[r.group]
	g.flying = false
	g.restUntil = f.now + backoff(g.attempts)
	g.attempts++
	for _, l := range r.lanes {
		f.ackLocked(l)
	}
}

// forgetLocked drops a lane without items: the next one begins where the rows are.
func (f *forwarder) forgetLocked(l *lane) {
	if l.acked == l.last && len(l.items) == 0 && !l.flying && !l.reload && !l.queued && !l.acking && f.lanes[l.id] == l {
		delete(f.lanes, l.id)
	}
}
