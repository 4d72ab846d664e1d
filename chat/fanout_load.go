package chat

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/godwit-im/godwit"
)

// fanEntry is an entry of a group's log as the fan-out keeps it.
type fanEntry struct {
	fanoutEntry
	change   bool // it may have changed who is a member
	personal bool // in a channel, too, it is for the logs of those whom it names
	record   godwit.Record
}

// fanEntryBytes is about what an entry takes beside its body.
const fanEntryBytes = 200

// of is false for a record that apply did not write: it counts for nothing.
func (e *fanEntry) of(r *godwit.Record) bool {
	*e = fanEntry{fanoutEntry: fanoutEntry{seq: r.Seq, time: r.Time}, record: *r}
	var md meta
	if !md.parse(r.Meta) {
		return false
	}
	e.messages = md.ordinal
	switch md.kind {
	case recordMessage:
		from := (&reader{b: r.Body}).short()
		if len(from) < 3 {
			return false
		}
		e.flags, e.sender = fanCounts, from[2:]
	case recordChange:
		c, ok := parseGroupChange(r.Body)
		e.change = true
		e.personal = ok && c.do.isPersonal()
		return ok
	}
	return true
}

// memberList is who has to get the entries of a group, by the raft group of their
// logs, in order of user and since. It is not changed once it is made.
type memberList struct {
	version uint64
	of      [][]fanoutMember
	marks   bool // delivered and read are set
	bytes   int
}

// fanLeaving is an entry of a bucket that goes once left is fanned out.
type fanLeaving struct {
	bucket uint32
	left   godwit.Seq
}

// fanLoaded is what was read of a group.
type fanLoaded struct {
	row     groupRow
	members *memberList // nil: not needed, or the one there is is still right
	leaving []fanLeaving
}

// loadLocked reads a group's rows.
func (w *fanWorker) loadLocked(g *fanGroup) {
	g.loading = true
	members, done := g.members, g.fanned
	if g.lanes != nil {
		done = g.done()
	}
	first := g.lanes == nil
	w.mu.Unlock()
	got, err := w.readGroup(g, members, done, first)
	w.mu.Lock()
	g.loading = false
	if err != nil {
		w.logger.Error("group can't be read", "group", g.id, "error", err)
		g.restUntil = w.now + backoff(g.attempts)
		g.attempts++
		g.missed = true
		w.queueGroupLocked(g)
		return
	}
	g.attempts = 0
	w.takeGroupLocked(g, got)
	w.queueGroupLocked(g)
	w.signal()
}

// takeGroupLocked makes what was read the group's.
func (f *fanouts) takeGroupLocked(g *fanGroup, got fanLoaded) {
	row := &got.row
	if g.lanes == nil {
		g.lanes = make([]fanLane, len(f.to))
		for i := range g.lanes {
			g.lanes[i] = fanLane{group: g, dst: i, through: row.fanned}
		}
		g.base = row.fanned
		if g.to == 0 {
			g.to, g.from = row.head, row.head+1
		}
	}
	for i := range g.lanes {
		if l := &g.lanes[i]; l.round == nil && !l.busy {
			l.through = max(l.through, row.fanned)
		}
	}
	if g.log == 0 { // it never changes, and rounds under way read it without the lock
		g.log = row.logID(bytesOf(g.id))
	}
	g.fanned, g.boundary = max(g.fanned, row.fanned), row.boundary
	g.head, g.known, g.missed = max(g.head, row.head), row.head, false
	if got.members != nil {
		g.members, g.leaving = got.members, got.leaving
	}
	f.useLocked(g)
}

// useLocked counts what a group takes, and forgets what was not used for longest.
func (f *fanouts) useLocked(g *fanGroup) {
	if g.element == nil {
		g.element = f.used.PushFront(g)
	} else {
		f.used.MoveToFront(g.element)
	}
	f.listBytes -= g.cost
	g.cost = fanGroupBytes + len(g.lanes)*fanLaneBytes
	if g.members != nil {
		g.cost += g.members.bytes
	}
	f.listBytes += g.cost
	for e := f.used.Back(); e != nil && f.listBytes > f.listBytesMax && e != g.element; e = f.used.Back() {
		old := e.Value.(*fanGroup)
		f.used.Remove(e)
		f.listBytes -= old.cost
		old.element, old.cost, old.members = nil, 0, nil
		f.dropLocked(old)
	}
}

// dropLocked forgets a group that is not counted any more, once it is idle: that is
// when its turn comes to make room, or when what it still had to do is written down.
func (f *fanouts) dropLocked(g *fanGroup) {
	if g.element == nil && g.isIdle() {
		f.forgetLocked(g)
		delete(f.groups, g.id)
	}
}

const (
	fanGroupBytes = 512
	fanLaneBytes  = 96
)

// isIdle: everything is done and written down.
func (g *fanGroup) isIdle() bool {
	if g.queued || g.loading || g.due || g.missed || g.fanned != g.head || g.done() != g.head {
		return false
	}
	for i := range g.lanes {
		if l := &g.lanes[i]; l.queued || l.busy || l.round != nil {
			return false
		}
	}
	return true
}

// readGroup reads a group's row, and its members unless had is still right or
// entries are for those only whom they name.
func (w *fanWorker) readGroup(g *fanGroup, had *memberList, done godwit.Seq, first bool) (got fanLoaded, err error) {
	v := w.store.View(g.src)
	defer v.Close()
	value, ok := v.Get(appendGroupKey(nil, bytesOf(g.id)))
	if !ok || !got.row.parse(bytes.Clone(value)) {
		if err := v.Err(); err != nil {
			return got, fmt.Errorf("chat: read the row of a group: %w", err)
		}
		return got, fmt.Errorf("chat: row of group %s is missing or does not parse", g.id)
	}
	row := &got.row
	if first {
		done = row.fanned
	}
	promoted := row.boundary != 0
	if done >= row.head || promoted && done >= row.boundary || had != nil && had.version == row.version && (had.marks || !promoted) {
		return got, v.Err()
	}
	if err = w.readMembers(v, g, &got); err != nil {
		return got, err
	}
	return got, v.Err()
}

func (w *fanWorker) readMembers(v View, g *fanGroup, got *fanLoaded) error {
	row := &got.row
	m := &memberList{version: row.version, of: make([][]fanoutMember, len(w.to)), marks: row.boundary != 0}
	arena := make([]byte, 0, 16*row.members)
	for n := range uint32(row.buckets) {
		bucket, _ := v.Get(appendBucketKey(nil, bytesOf(g.id), n))
		for r := (reader{b: bucket}); ; {
			e, ok := nextBucketEntry(&r)
			if !ok {
				if r.bad {
					return fmt.Errorf("chat: bucket %d of group %s does not parse", n, g.id)
				}
				break
			}
			start := len(arena)
			arena = append(arena, e.user...) // what was cut off it before stays where it is
			user := arena[start:len(arena):len(arena)]
			dst := w.store.Group(userOf(user).Partition())
			m.of[dst] = append(m.of[dst], fanoutMember{user: user, since: e.since, left: e.left})
			if e.left != 0 {
				got.leaving = append(got.leaving, fanLeaving{n, e.left})
			}
		}
	}
	m.bytes = cap(arena)
	for _, of := range m.of {
		slices.SortFunc(of, compareFanoutMembers)
		for i := 1; i < len(of); i++ {
			if bytes.Equal(of[i].user, of[i-1].user) {
				of[i].after = of[i-1].left
			}
		}
		m.bytes += cap(of) * 96
		for i := range of {
			if !m.marks {
				break
			}
			var member memberRow
			if value, ok := v.Get(appendMemberKey(nil, bytesOf(g.id), of[i].user)); ok && member.parse(value) {
				of[i].delivered, of[i].read = member.delivered, member.read
			}
		}
	}
	got.members = m
	return nil
}

func compareFanoutMembers(a, b fanoutMember) int {
	if c := bytes.Compare(a.user, b.user); c != 0 {
		return c
	}
	return int(min(max(int64(a.since)-int64(b.since), -1), 1))
}
