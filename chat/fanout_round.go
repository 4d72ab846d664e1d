package chat

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/godwit-im/godwit"
)

// fanRound is some entries of a group on their way to all members whose logs lie
// in one raft group. Guarded by fanouts.mu, but for head and members, which do
// not change, and next, which belongs to the worker that has the lane.
type fanRound struct {
	first, last godwit.Seq
	personal    bool
	boundary    bool
	head        []byte // of every command: all but the recipients
	members     []fanoutMember
	next        int   // of members: not yet sent
	again       []int // of members: where commands begin that failed
	flying      int   // commands
	gap         bool  // a recipient lacks what comes after
	after       godwit.Seq
}

func (r *fanRound) hasMore() bool { return r.next < len(r.members) || len(r.again) > 0 }

// turnLocked proposes the next command of a lane, and begins a round if none is
// under way. mu is given up meanwhile.
func (w *fanWorker) turnLocked(l *fanLane) {
	g := l.group
	if l.round == nil {
		if g.loading || g.isStale() {
			w.queueGroupLocked(g)
			return
		}
		l.busy = true
		err := w.beginLocked(l)
		l.busy = false
		if err != nil {
			w.logger.Error("group's entries can't be read", "group", g.id, "error", err)
			w.restLocked(l)
			return
		}
		if l.round == nil {
			w.queueLaneLocked(l)
			w.dueLocked(g)
			return
		}
	}
	r := l.round
	start, again := r.next, len(r.again) > 0
	if again {
		start = r.again[len(r.again)-1]
		r.again = r.again[:len(r.again)-1]
	} else if start >= len(r.members) {
		return // waits for what is under way
	}
	l.busy = true
	w.mu.Unlock()
	end, count := w.build(r, start)
	w.mu.Lock()
	if !again {
		r.next = end
	}
	if count > 0 {
		w.proposeLocked(l, r, start)
	}
	l.busy = false
	w.settleLocked(l)
}

// proposeLocked sends w.command. An answer can come before Propose returns.
func (w *fanWorker) proposeLocked(l *fanLane, r *fanRound, start int) {
	r.flying++
	w.to[l.dst].flying++
	w.mu.Unlock()
	c := &fanCommand{fanouts: w.fanouts, lane: l, round: r, start: start}
	err := w.store.Propose(l.dst, w.command, c)
	w.mu.Lock()
	if err != nil {
		c.failLocked()
	}
}

// build writes a command for up to fanoutRecipientsMax members from start on into
// w.command. Equal starts give equal commands.
func (w *fanWorker) build(r *fanRound, start int) (end, count int) {
	w.members = w.members[:0]
	for end = start; end < len(r.members); end++ {
		m := r.members[end]
		if !r.personal {
			if m.since > r.last || m.left != 0 && m.left < r.first {
				continue
			}
			if !r.boundary {
				m.delivered, m.read = 0, 0
			}
		}
		if count == fanoutRecipientsMax || r.personal && r.mayEnd(end, count) {
			break
		}
		w.members = m.append(w.members)
		count++
	}
	w.command = binary.AppendUvarint(append(w.command[:0], r.head...), uint64(count))
	w.command = append(w.command, w.members...)
	return end, count
}

// mayEnd: what one round has for a user goes in one command, since it is in order
// there; there is room for it if commands end early.
func (r *fanRound) mayEnd(end, count int) bool {
	return count > fanoutRecipientsMax-fanoutEntriesMax && string(r.members[end-1].user) != string(r.members[end].user)
}

// beginLocked makes the lane's next round, of what its members' logs lack. It
// leaves none if there is nothing for them.
func (w *fanWorker) beginLocked(l *fanLane) error {
	g := l.group
	limit, channel := g.head, g.boundary != 0 && l.through >= g.boundary
	if g.boundary != 0 && !channel {
		limit = min(limit, g.boundary)
	}
	if l.through >= limit {
		return nil
	}
	first := l.through + 1
	entries, last, ok := g.buffered(first, limit)
	members := g.members
	if !ok {
		w.mu.Unlock()
		var err error
		entries, last, err = w.readEntries(g, first, limit, channel)
		w.mu.Lock()
		if err != nil {
			return err
		}
	}
	r := &fanRound{first: first, last: last, personal: channel, boundary: last == g.boundary}
	if !channel {
		r.members = members.of[l.dst]
	} else {
		r.members, entries = w.namedBy(entries, l.dst)
	}
	if len(r.members) == 0 {
		l.through = last
		return nil
	}
	r.head = w.appendHead(g, entries, l.dst, channel)
	l.round = r
	return nil
}

// appendHead writes what all commands of a round begin with.
func (w *fanWorker) appendHead(g *fanGroup, entries []fanEntry, dst int, personal bool) []byte {
	c := fanoutCommand{conv: g.conv, log: g.log, epoch: w.epochs[g.src], base: g.base, personal: personal}
	for i := range entries {
		e := entries[i].fanoutEntry
		if e.seq == g.boundary {
			e.flags |= fanBoundary
		}
		c.entries = append(c.entries, e)
	}
	return appendFanoutHead(nil, homeOf(dst, len(w.to)), &c)
}

// buffered returns the kept entries from first on, of which members of a channel
// get those that are personal, and through which entry that is all. ok is false
// if they were not kept.
func (g *fanGroup) buffered(first, limit godwit.Seq) (entries []fanEntry, last godwit.Seq, ok bool) {
	if first < g.from || first > g.to {
		return nil, 0, false
	}
	limit = min(limit, g.to)
	entries = g.entries[searchEntries(g.entries, first):]
	for i := range entries {
		if entries[i].seq > limit {
			return entries[:i], limit, true
		}
		if i == fanoutEntriesMax {
			return entries[:i], entries[i].seq - 1, true
		}
	}
	return entries, limit, true
}

// fanScanMax bounds the entries of a channel that one round looks at.
const fanScanMax = 4096

// readEntries reads what was not kept. Erased entries of a group are told as ones
// that do not count, so that members' logs have no hole; of a channel only the
// personal ones are returned.
func (w *fanWorker) readEntries(g *fanGroup, first, limit godwit.Seq, channel bool) (entries []fanEntry, last godwit.Seq, err error) {
	most := godwit.Seq(fanoutEntriesMax)
	if channel {
		most = fanScanMax
	}
	limit = min(limit, first+most-1)
	v := w.store.View(g.src)
	defer v.Close()
	for last = first - 1; last < limit && len(entries) < fanoutEntriesMax; {
		w.records = v.Since(g.log, last, fanoutEntriesMax, 1<<20, w.records[:0])
		if err := v.Err(); err != nil {
			return nil, 0, fmt.Errorf("chat: read the log of a group: %w", err)
		}
		if len(w.records) == 0 {
			w.records = append(w.records, godwit.Record{Seq: limit + 1})
		}
		for i := range w.records {
			r := &w.records[i]
			for ; last+1 < r.Seq && last < limit; last++ {
				if !channel {
					entries = append(entries, fanEntry{fanoutEntry: fanoutEntry{seq: last + 1}})
				}
			}
			if last >= limit || len(entries) == fanoutEntriesMax {
				break
			}
			last = r.Seq
			var e fanEntry
			if !e.of(r) {
				w.logger.Error("entry of a group does not parse", "group", g.id, "seq", r.Seq)
			}
			if !channel || e.personal {
				entries = append(entries, e)
			}
		}
	}
	clear(w.records)
	return entries, last, nil
}

// namedBy returns the users of one raft group whom personal entries name, in
// order of user and entry, and the entries that are.
func (w *fanWorker) namedBy(entries []fanEntry, dst int) (members []fanoutMember, personal []fanEntry) {
	for i := range entries {
		e := &entries[i]
		change, ok := parseGroupChange(e.record.Body)
		if !e.personal || !ok {
			continue
		}
		personal = append(personal, *e)
		for user := range change.named() {
			if w.store.Group(userOf(user).Partition()) != dst {
				continue
			}
			m := fanoutMember{user: user, since: e.seq}
			if change.do == doRemove || change.do == doLeave {
				m.since, m.left = 0, e.seq
			}
			members = append(members, m)
		}
	}
	slices.SortStableFunc(members, func(a, b fanoutMember) int {
		return compareFanoutMembers(fanoutMember{user: a.user}, fanoutMember{user: b.user})
	})
	return members, personal
}

// fanCommand is one command under way.
type fanCommand struct {
	fanouts *fanouts
	lane    *fanLane
	round   *fanRound
	start   int
}

// Fail: the command may or may not have been applied; sending it again is harmless.
func (c *fanCommand) Fail(error) {
	f := c.fanouts
	f.mu.Lock()
	defer f.mu.Unlock()
	c.failLocked()
	f.settleLocked(c.lane)
}

func (c *fanCommand) failLocked() {
	f, l := c.fanouts, c.lane
	f.counters.fanoutsLost.Add(1)
	f.to[l.dst].flying--
	c.round.flying--
	c.round.again = append(c.round.again, c.start)
	l.restUntil = f.now + backoff(l.attempts)
	l.attempts++
	f.signal()
}

// applied: the members' logs have it.
func (c *fanCommand) applied(o *outcome, _ *flushScratch) {
	f, l, r := c.fanouts, c.lane, c.round
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.refusal != nil || o.stale {
		f.logger.Error("fan-out refused", "group", l.group.id, "destination", l.dst, "stale", o.stale, "refusal", o.refusal)
		c.failLocked()
		f.settleLocked(l)
		return
	}
	if gap, ok := o.extra.(fanoutGap); ok {
		if !r.gap || gap.after < r.after {
			r.after = gap.after
		}
		r.gap = true
	}
	f.to[l.dst].flying--
	r.flying--
	f.settleLocked(l)
	f.signal()
}

// restLocked puts a lane aside for a while.
func (f *fanouts) restLocked(l *fanLane) {
	l.restUntil = f.now + backoff(l.attempts)
	l.attempts++
	f.queueLaneLocked(l)
}

// settleLocked ends a round of which nothing is left, and gives the lane its turn.
func (f *fanouts) settleLocked(l *fanLane) {
	r, g := l.round, l.group
	if r == nil || l.busy {
		return
	}
	if r.flying > 0 || r.hasMore() {
		f.queueLaneLocked(l)
		return
	}
	l.round = nil
	if r.gap {
		f.logger.Warn("fan-out goes back", "group", g.id, "destination", l.dst, "sent", r.first, "after", r.after)
		l.through = min(r.after, r.first-1)
		f.restLocked(l)
		return
	}
	l.through, l.attempts, l.restUntil = r.last, 0, 0
	f.queueGroupLocked(g)
}
