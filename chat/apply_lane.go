//tidy:apply

package chat

import "github.com/godwit-im/godwit"

// A lane is the ordered queue from a partition to one of another group. The
// source counts its items 1, 2, 3 … in a replicated row; the destination takes
// only the next one. Numbers are dense and never a raft index, so "late" and
// "never sent" can't be confused, whatever was repeated, split or reordered.

// enqueue puts an item on its lane: the outbox row says which entry it is.
func (a *applier) enqueue(tx Tx, lane laneID, it *laneItem) {
	l := a.laneOut(tx, lane)
	l.last++
	l.bytes += uint64(len(it.block))
	o := outboxRow{log: logNumber(it.origin), seq: it.seq, bytes: l.bytes}
	if it.kind != itemMessage {
		o.kind, o.time, o.payload = it.kind, it.time, it.block
	}
	a.value = o.append(a.value[:0])
	tx.Put(a.keyOf(appendOutboxKey(a.key[:0], lane, l.last)), a.value)
	a.putLaneOut(tx, lane, &l)
	a.effects.forwards = append(a.effects.forwards, forwardEffect{lane: lane, n: l.last, item: *it})
}

// forward takes the items of a lane that come next and tells what it holds.
//
// Incarnations: a source that was restored alone has a new epoch and counts its
// lanes from 1 again. An epoch not seen before is taken only with item 1, unless
// it is this group's own: both were restored together, as of one moment, and the
// lane goes on. One that was followed by another is refused for ever, so that a
// late forward of the time before can't come through.
func (a *applier) forward(tx Tx, st *settings, c *forwardCommand) outcome {
	l, o, ok := a.openLane(tx, st, c)
	if !ok {
		return o
	}
	items := c.items
	for n := c.first; n < c.first+c.count; n++ {
		var it laneItem
		b, _ := c.next(&items, &it)
		if n <= l.last && !seeded.storeAgain(n) {
			continue
		}
		a.receive(tx, st, c.lane.dst, &b, &it)
		l.last = max(l.last, n)
	}
	return a.putLaneIn(tx, c.lane, &l)
}

// openLane reads the destination's side of a lane; ok is false if none of the
// command's items may be taken, and then the outcome says why.
func (a *applier) openLane(tx Tx, st *settings, c *forwardCommand) (l laneInRow, o outcome, ok bool) {
	if st.group(c.lane.dst) != tx.Group() || st.group(c.lane.src) == tx.Group() {
		return l, outcome{refusal: godwit.ErrFrameInvalid}, false
	}
	if row, ok := tx.Get(a.keyOf(appendLaneInKey(a.key[:0], c.lane))); ok && !l.parse(row) {
		panic("BUG: lane-in row does not parse")
	}
	if l.isPast(c.epoch) || st.isPast(c.epoch) {
		return l, outcome{last: l.last, stale: true}, false
	}
	if l.epoch != c.epoch {
		last := l.last
		l.begin(c.epoch) // kept only if the next item is taken
		if c.epoch == st.epoch {
			l.last = last
		}
	}
	return l, outcome{last: l.last}, c.first <= l.last+1
}

func (a *applier) putLaneIn(tx Tx, lane laneID, l *laneInRow) outcome {
	a.value = l.append(a.value[:0])
	tx.Put(a.keyOf(appendLaneInKey(a.key[:0], lane)), a.value)
	return outcome{last: l.last}
}

// ack removes the outbox rows that destinations hold. A number beyond the
// lane's last one, or one that was acked before, changes nothing.
func (a *applier) ack(tx Tx, st *settings, c *ackCommand) outcome {
	for lanes := c.lanes; !lanes.done(); {
		lane, through := c.next(&lanes)
		if st.group(lane.src) != tx.Group() {
			continue
		}
		l := a.laneOut(tx, lane)
		if through <= l.acked || through > l.last {
			continue
		}
		var o outboxRow
		row, ok := tx.Get(a.keyOf(appendOutboxKey(a.key[:0], lane, through)))
		if !ok || !o.parse(row) {
			panic("BUG: outbox row of an item that was not acked is gone")
		}
		for n := l.acked + 1; n <= through; n++ {
			tx.Delete(a.keyOf(appendOutboxKey(a.key[:0], lane, n)))
		}
		l.acked, l.bytesAcked = through, o.bytes
		a.putLaneOut(tx, lane, &l)
	}
	return outcome{}
}

func (a *applier) laneOut(tx Tx, lane laneID) (l laneOutRow) {
	if row, ok := tx.Get(a.keyOf(appendLaneOutKey(a.key[:0], lane))); ok && !l.parse(row) {
		panic("BUG: lane-out row does not parse")
	}
	return l
}

func (a *applier) putLaneOut(tx Tx, lane laneID, l *laneOutRow) {
	a.value = l.append(a.value[:0])
	tx.Put(a.keyOf(appendLaneOutKey(a.key[:0], lane)), a.value)
}
