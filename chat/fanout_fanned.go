package chat

import (
	"slices"

	"github.com/godwit-im/godwit"
)

// fannedQueue holds the groups of one raft group whose rows are to be told how
// far they are fanned out; one such command is under way.
type fannedQueue struct {
	due       []*fanGroup
	flying    bool
	attempts  int
	restUntil uint64
}

// fannedCommand under way.
type fannedRequest struct {
	fanouts *fanouts
	src     int
	groups  []*fanGroup
	through []godwit.Seq
}

// dueLocked notes that a group's row is behind what is done.
func (f *fanouts) dueLocked(g *fanGroup) {
	if g.due || len(g.lanes) == 0 || g.done() <= g.fanned {
		return
	}
	g.due, g.dueAt = true, f.now+fannedTicks
	q := &f.fanned[g.src]
	q.due = append(q.due, g)
	f.signal()
}

// fannedLocked proposes what is due of one raft group: at once where members have
// left, since who erases one of them waits for it. mu is given up meanwhile.
func (w *fanWorker) fannedLocked(src int) bool {
	q := &w.fanned[src]
	if q.flying || q.restUntil > w.now || len(q.due) == 0 {
		return false
	}
	r := &fannedRequest{fanouts: w.fanouts, src: src}
	rest := q.due[:0]
	buckets := 0
	var items []byte
	for _, g := range q.due {
		done := g.done()
		if g.dueAt > w.now && done < g.fanned+fannedEntries && len(g.leaving) == 0 || len(r.groups) == fannedGroupsMax || buckets >= fannedBucketsMax/2 {
			rest = append(rest, g)
			continue
		}
		g.due = false
		if done <= g.fanned {
			continue // it went back
		}
		named := g.emptied(done)
		buckets += len(named)
		items = appendFannedItem(items, g.id, done, named)
		r.groups, r.through = append(r.groups, g), append(r.through, done)
	}
	clear(q.due[len(rest):])
	q.due = rest
	if len(r.groups) == 0 {
		return false
	}
	q.flying = true
	w.mu.Unlock()
	command := append(appendFannedHead(nil, homeOf(src, len(w.to)), w.epochs[src], len(r.groups)), items...)
	err := w.store.Propose(src, command, r)
	w.mu.Lock()
	if err != nil {
		r.failLocked()
	}
	return true
}

// emptied names buckets with members whose last entry is in their logs.
func (g *fanGroup) emptied(done godwit.Seq) (buckets []uint32) {
	for _, l := range g.leaving {
		if n := len(buckets); l.left <= done && (n == 0 || buckets[n-1] != l.bucket) && n < fannedBucketsMax/2 {
			buckets = append(buckets, l.bucket)
		}
	}
	return buckets
}

func (r *fannedRequest) applied(o *outcome, _ *flushScratch) {
	f := r.fanouts
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.refusal != nil || o.stale {
		f.logger.Error("fanned mark refused", "raftGroup", r.src, "stale", o.stale, "refusal", o.refusal)
		r.failLocked()
		return
	}
	q := &f.fanned[r.src]
	q.flying, q.attempts = false, 0
	for i, g := range r.groups {
		g.fanned = max(g.fanned, r.through[i])
		f.releaseLocked(g, g.fanned)
		g.leaving = slices.DeleteFunc(g.leaving, func(l fanLeaving) bool { return l.left <= r.through[i] })
		f.dueLocked(g)
		f.dropLocked(g)
	}
	f.signal()
}

// Fail: it is said again later.
func (r *fannedRequest) Fail(error) {
	r.fanouts.mu.Lock()
	defer r.fanouts.mu.Unlock()
	r.failLocked()
}

func (r *fannedRequest) failLocked() {
	f := r.fanouts
	q := &f.fanned[r.src]
	q.flying = false
	q.restUntil = f.now + backoff(q.attempts)
	q.attempts++
	for _, g := range r.groups {
		f.dueLocked(g)
	}
}
