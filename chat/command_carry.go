//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// itemKind says what an item of a lane is. The numbers are part of the log's
// format. Messages go alone in a forward, which is of level 1; a run with
// anything else goes in a carry.
type itemKind uint8

const (
	itemMessage    itemKind = 0 // a block
	itemReceipt    itemKind = 1 // the recipient of a conversation's messages has got this far
	itemRevise     itemKind = 2 // an edit or recall, to the message's recipient
	itemMemberMark itemKind = 3 // a member's marks, to the group
)

// carryCommand is a forward whose items are of any kind.
type carryCommand struct{ forwardCommand }

func appendCarryItem(dst []byte, it *laneItem) []byte {
	return appendForwardItem(append(dst, byte(it.kind)), it)
}

// parse checks every item once, so that apply either takes all of them or none.
func (c *carryCommand) parse(r *reader) bool {
	if !c.parseHead(r) {
		return false
	}
	items := c.items
	for range c.count {
		it, ok := c.next(&items)
		if !ok || !it.valid(c.lane) {
			return false
		}
	}
	return items.done()
}

// next takes one item off r.
func (c *carryCommand) next(r *reader) (it laneItem, ok bool) {
	it.kind = itemKind(r.u8())
	ok = takeLaneItem(r, c.lane, &it)
	return it, ok
}

// valid tells whether an item may be on a lane.
func (it *laneItem) valid(lane laneID) bool {
	switch it.kind {
	case itemMessage:
		b, ok := parseBlock(it.block)
		return ok && b.isForLane(lane)
	case itemReceipt:
		var c receiptItem
		return c.parse(it.block) && userOf(c.from).Partition() == lane.src && userOf(c.to).Partition() == lane.dst
	case itemRevise:
		var c reviseItem
		return c.parse(it.block) && c.block.isForLane(lane)
	case itemMemberMark:
		var c memberMarkItem
		return c.parse(it.block) && userOf(c.user).Partition() == lane.src && groupOfID(c.group).Partition() == lane.dst
	}
	return false
}

// isForLane tells whether a block of a 1:1 conversation goes by a lane.
func (b *block) isForLane(lane laneID) bool {
	return isDirect(b.to) && b.valid() && b.recipient().Partition() == lane.dst && b.sender().Partition() == lane.src
}

func (c *carryCommand) reads(h header, put func(key []byte)) {
	put(appendKey(nil, c.lane.dst, rowCounter))
	put(appendLaneInKey(nil, c.lane))
	for items := c.items; !items.done(); {
		it, _ := c.next(&items)
		it.reads(c.lane.dst, put)
	}
}

// reads names the rows that taking the item may Get, but for the lane's own.
func (it *laneItem) reads(p godwit.Partition, put func(key []byte)) {
	switch it.kind {
	case itemMessage:
		b, _ := parseBlock(it.block)
		put(appendUserKey(nil, p, b.to[2:]))
		put(appendConversationKey(nil, p, b.to[2:], b.from[2:]))
		put(appendPeerKey(nil, p, rowBlock, b.to[2:], b.from[2:]))
	case itemReceipt:
		var c receiptItem
		c.parse(it.block)
		put(appendUserKey(nil, p, c.to))
		put(appendConversationKey(nil, p, c.to, c.from))
		put(appendPeerKey(nil, p, rowBlock, c.to, c.from))
		put(appendMarkKey(nil, p, c.to, c.from))
	case itemRevise:
		var c reviseItem
		c.parse(it.block)
		put(appendUserKey(nil, p, c.block.to[2:]))
		put(appendConversationKey(nil, p, c.block.to[2:], c.block.from[2:]))
		put(appendPeerKey(nil, p, rowBlock, c.block.to[2:], c.block.from[2:]))
		put(appendOverlayKey(nil, p, c.block.to[2:], it.origin, c.seq))
	case itemMemberMark:
		var c memberMarkItem
		c.parse(it.block)
		put(appendGroupKey(nil, c.group))
		put(appendMemberKey(nil, c.group, c.user))
	}
}

// receiptItem tells the author of messages how far their recipient has got, in
// sequences of the author's log. The item's origin is the recipient's own mark.
type receiptItem struct {
	from, to        []byte // users: who has read, whose messages
	delivered, read godwit.Seq
}

func (c *receiptItem) append(dst []byte) []byte {
	return appendMarks(appendShort(appendShort(dst, c.from), c.to), c.delivered, c.read)
}

func (c *receiptItem) parse(src []byte) bool {
	r := reader{b: src}
	c.from, c.to = r.short(), r.short()
	return takeMarks(&r, &c.delivered, &c.read) && r.done() && godwit.ValidID(c.from) && godwit.ValidID(c.to)
}

// memberMarkItem brings a member's marks, in the group's sequences, to the group.
type memberMarkItem struct {
	group, user     []byte
	delivered, read godwit.Seq
}

func (c *memberMarkItem) append(dst []byte) []byte {
	return appendMarks(appendShort(appendShort(dst, c.group), c.user), c.delivered, c.read)
}

func (c *memberMarkItem) parse(src []byte) bool {
	r := reader{b: src}
	c.group, c.user = r.short(), r.short()
	return takeMarks(&r, &c.delivered, &c.read) && r.done() && godwit.ValidID(c.group) && godwit.ValidID(c.user)
}

func appendMarks(dst []byte, delivered, read godwit.Seq) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(delivered)), uint64(read))
}

// takeMarks: what is read is delivered, and nothing at all is no mark.
func takeMarks(r *reader, delivered, read *godwit.Seq) bool {
	*delivered, *read = r.seq(), r.seq()
	return !r.bad && *delivered != 0 && *read <= *delivered
}

// reviseItem brings an edit or recall to the recipient of the message. The item's
// origin is the author's log and the record of the edit there.
type reviseItem struct {
	recall bool
	seq    godwit.Seq // of the message in the author's log
	block  block
}

func appendRevise(dst []byte, recall bool, seq godwit.Seq, block []byte) []byte {
	what := byte(0)
	if recall {
		what = 1
	}
	return append(binary.AppendUvarint(append(dst, what), uint64(seq)), block...)
}

func (c *reviseItem) parse(src []byte) bool { return c.take(&reader{b: src}) }

// take is all of r.
func (c *reviseItem) take(r *reader) (ok bool) {
	what := r.u8()
	c.recall, c.seq = what == 1, r.seq()
	if r.bad || what > 1 || c.seq == 0 {
		return false
	}
	c.block, ok = parseBlock(r.b)
	return ok && c.block.valid() && (!c.recall || len(c.block.body)+len(c.block.typ) == 0 && !c.block.text)
}
