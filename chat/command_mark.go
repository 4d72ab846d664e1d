//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// markCommand moves a user's own marks of a conversation forward. What lies in
// logs was looked up by the leader: it does not change, so apply may trust it.
type markCommand struct {
	user, peer []byte // the peer as in the key of the conversation's row
	// channel: sequences are the group's. A command of before the conversation
	// became one is refused, since it means others.
	channel   bool
	delivered godwit.Seq // 0: not said
	read      godwit.Seq
	ordinal   uint64 // incoming messages through read; in a channel all of the group's
	total     uint64 // in a channel: the group's messages when the leader looked
	// What the other side is told, 0: nothing. In a 1:1 conversation in sequences of
	// the peer's log, else in the group's.
	peerDelivered, peerRead godwit.Seq
}

const markChannel = 1 << 0

func (c *markCommand) append(dst []byte, home godwit.Partition) []byte {
	dst = appendShort(appendShort(appendHeader(dst, kindMark, home), c.user), c.peer)
	flags := byte(0)
	if c.channel {
		flags |= markChannel
	}
	dst = append(dst, flags)
	for _, n := range [...]uint64{uint64(c.delivered), uint64(c.read), c.ordinal, c.total, uint64(c.peerDelivered), uint64(c.peerRead)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func (c *markCommand) parse(r *reader) bool {
	c.user, c.peer = r.short(), r.short()
	flags := r.u8()
	c.channel = flags&markChannel != 0
	c.delivered, c.read, c.ordinal, c.total = r.seq(), r.seq(), r.uvarint(), r.uvarint()
	c.peerDelivered, c.peerRead = r.seq(), r.seq()
	return r.done() && flags&^markChannel == 0 && godwit.ValidID(c.user) && validPeer(c.peer) &&
		(c.delivered != 0 || c.read != 0) && (!c.channel || isGroup(c.peer)) &&
		c.ordinal <= 1<<62 && c.total <= 1<<62
}

// validPeer tells whether a conversation's row may have such a key.
func validPeer(peer []byte) bool {
	if isGroup(peer) {
		return godwit.ValidID(peer[2:])
	}
	return godwit.ValidID(peer)
}

// item is what the other side is told, made before the own mark has its place.
func (c *markCommand) item() (dst godwit.Partition, it laneItem, ok bool) {
	delivered := max(c.peerDelivered, c.peerRead)
	switch {
	case delivered == 0 || string(c.user) == string(c.peer):
		return 0, it, false
	case isGroup(c.peer):
		m := memberMarkItem{group: c.peer[2:], user: c.user, delivered: delivered, read: c.peerRead}
		it = laneItem{kind: itemMemberMark, block: m.append(nil)}
		return groupOfID(m.group).Partition(), it, true
	}
	m := receiptItem{from: c.user, to: c.peer, delivered: delivered, read: c.peerRead}
	return userOf(c.peer).Partition(), laneItem{kind: itemReceipt, block: m.append(nil)}, true
}

func (c *markCommand) reads(_ header, put func(key []byte)) {
	p := userOf(c.user).Partition()
	put(appendUserKey(nil, p, c.user))
	put(appendConversationKey(nil, p, c.user, c.peer))
	if dst, it, ok := c.item(); ok {
		put(appendLaneOutKey(nil, laneID{p, dst}))
		it.reads(dst, put)
	}
}
