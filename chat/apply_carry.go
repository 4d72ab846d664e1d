//tidy:apply

package chat

import "github.com/godwit-im/godwit"

// apply takes the items of a lane that come next, as forward does.
func (c *carryCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	l, o, ok := a.openLane(tx, st, &c.forwardCommand)
	if !ok {
		return o
	}
	items := c.items
	for n := c.first; n < c.first+c.count; n++ {
		it, _ := c.next(&items)
		if n <= l.last && !seeded.storeAgain(n) {
			continue
		}
		a.take(tx, st, c.lane.dst, &it)
		l.last = max(l.last, n)
	}
	return a.putLaneIn(tx, c.lane, &l)
}

// dispatch brings an item to its destination: at once if this group owns it, else
// by the lane. The item's payload must not be scratch.
func (a *applier) dispatch(tx Tx, st *settings, lane laneID, it *laneItem) {
	if st.group(lane.dst) == tx.Group() {
		a.take(tx, st, lane.dst, it)
		return
	}
	a.enqueue(tx, lane, it)
}

// take stores an item at its destination.
func (a *applier) take(tx Tx, st *settings, p godwit.Partition, it *laneItem) {
	switch it.kind {
	case itemMessage:
		b, _ := parseBlock(it.block)
		a.receive(tx, st, p, &b, it)
	case itemReceipt:
		var c receiptItem
		c.parse(it.block)
		a.receipt(tx, st, p, &c, it)
	case itemRevise:
		var c reviseItem
		c.parse(it.block)
		a.receiveRevise(tx, st, p, &c, it)
	case itemMemberMark:
		var c memberMarkItem
		c.parse(it.block)
		a.memberMark(tx, st, &c)
	}
}
