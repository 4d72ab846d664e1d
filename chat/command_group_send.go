//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// groupSendCommand stores one message in a group's log.
type groupSendCommand struct {
	operator   bool  // the sender need not be a member
	clientTime int64 // ms, of the client's first attempt; 0: not given
	block      block
}

const sendOperator = 1 << 0

func appendGroupSendHead(dst []byte, home godwit.Partition, operator bool, clientTime int64) []byte {
	flags := byte(0)
	if operator {
		flags |= sendOperator
	}
	return binary.AppendUvarint(append(appendHeader(dst, kindGroupSend, home), flags), uint64(clientTime))
}

func (c *groupSendCommand) parse(r *reader) (ok bool) {
	flags := r.u8()
	c.operator, c.clientTime = flags&sendOperator != 0, r.millis()
	if r.bad || flags&^sendOperator != 0 {
		return false
	}
	c.block, ok = parseBlock(r.b)
	return ok && isGroup(c.block.to) && c.block.valid()
}

func (c *groupSendCommand) reads(_ header, put func(key []byte)) {
	group, from := c.block.to[2:], c.block.from[2:]
	put(appendGroupKey(nil, group))
	put(appendMemberKey(nil, group, from))
	put(appendGroupDedupKey(nil, group, from, c.block.identityHash()))
}

// appendGroupDedupPrefix begins the keys of the sends to a group that one member
// made. The ':' keeps them apart from those of any user.
func appendGroupDedupPrefix(dst []byte, group, user []byte) []byte {
	dst = append(appendKey(dst, groupOfID(group).Partition(), rowDedup), 0, 0, byte(len(group)+1+len(user)))
	return append(append(append(dst, group...), ':'), user...)
}

func appendGroupDedupKey(dst []byte, group, user []byte, identity uint64) []byte {
	return binary.BigEndian.AppendUint64(appendGroupDedupPrefix(dst, group, user), identity)
}

// groupReviseCommand edits or recalls a message of a group. What never changes of
// the message, its author and time, the leader has read.
type groupReviseCommand struct {
	operator bool
	recall   bool
	by       []byte     // the block's from, unless operator
	seq      godwit.Seq // of the message in the group's log
	time     int64      // of the message
	author   []byte
	block    block // from who asks, to the group; with the new body, or none
}

const (
	reviseOperator = 1 << 0
	reviseRecall   = 1 << 1
)

func appendGroupReviseHead(dst []byte, home godwit.Partition, operator, recall bool, seq godwit.Seq, time int64, author []byte) []byte {
	flags := byte(0)
	if operator {
		flags |= reviseOperator
	}
	if recall {
		flags |= reviseRecall
	}
	dst = binary.AppendUvarint(append(appendHeader(dst, kindGroupRevise, home), flags), uint64(seq))
	return appendShort(binary.AppendUvarint(dst, uint64(time)), author)
}

func (c *groupReviseCommand) parse(r *reader) (ok bool) {
	flags := r.u8()
	c.operator, c.recall = flags&reviseOperator != 0, flags&reviseRecall != 0
	c.seq, c.time, c.author = r.seq(), r.millis(), r.short()
	if r.bad || flags&^(reviseOperator|reviseRecall) != 0 || c.seq == 0 || !godwit.ValidID(c.author) {
		return false
	}
	c.block, ok = parseBlock(r.b)
	if !ok || !isGroup(c.block.to) || !c.block.valid() || c.recall && len(c.block.body)+len(c.block.typ) > 0 {
		return false
	}
	c.by = c.block.from[2:]
	return true
}

func (c *groupReviseCommand) reads(_ header, put func(key []byte)) {
	group := c.block.to[2:]
	put(appendGroupKey(nil, group))
	put(appendMemberKey(nil, group, c.by))
	put(appendGroupOverlayKey(nil, group, c.seq))
}

// appendGroupOverlayKey names the last edit or recall of a message of a group.
func appendGroupOverlayKey(dst []byte, group []byte, seq godwit.Seq) []byte {
	return binary.BigEndian.AppendUint64(appendGroupPrefix(dst, rowOverlay, group), uint64(seq))
}

// groupTrimCommand names dedup rows of one member that the leader found expired.
type groupTrimCommand struct {
	group  []byte
	user   []byte
	hashes reader // 8 bytes each
}

func appendGroupTrimHead(dst []byte, home godwit.Partition, group, user []byte) []byte {
	return appendShort(appendShort(appendHeader(dst, kindGroupTrim, home), group), user)
}

func (c *groupTrimCommand) parse(r *reader) bool {
	c.group, c.user = r.short(), r.short()
	c.hashes = *r
	n := len(r.b)
	return !r.bad && godwit.ValidID(c.group) && godwit.ValidID(c.user) && n > 0 && n%8 == 0 && n/8 <= trimHashesMax
}

func (c *groupTrimCommand) reads(_ header, put func(key []byte)) {
	put(appendGroupKey(nil, c.group))
	put(appendMemberKey(nil, c.group, c.user))
	for hashes := c.hashes; !hashes.done(); {
		put(appendGroupDedupKey(nil, c.group, c.user, hashes.u64()))
	}
}
