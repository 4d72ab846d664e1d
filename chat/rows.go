//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// Row keys: the partition, big endian, then one of these letters. Every key of
// a user also has the tenant (0 today). docs/formats/rows.md draws them.
const (
	rowSettings     = 'g' // home partition of a group → settings
	rowCounter      = 'n' // → logs allotted in the partition
	rowUser         = 'u'
	rowConversation = 'c'
	rowDedup        = 'd'
	rowLaneOut      = 'l' // source partition, destination → laneOutRow
	rowOutbox       = 'o' // source partition, destination, number → outboxRow
	rowLaneIn       = 'i' // destination partition, source → laneInRow
)

func appendKey(dst []byte, p godwit.Partition, row byte) []byte {
	return append(appendPartition(dst, p), row)
}

func appendUserKey(dst []byte, p godwit.Partition, user []byte) []byte {
	return append(append(appendKey(dst, p, rowUser), 0, 0), user...)
}

// appendOwnedPrefix begins the keys of a user's conversations and dedup rows.
func appendOwnedPrefix(dst []byte, p godwit.Partition, row byte, user []byte) []byte {
	return appendShort(append(appendKey(dst, p, row), 0, 0), user)
}

func appendConversationKey(dst []byte, p godwit.Partition, user, peer []byte) []byte {
	return append(appendOwnedPrefix(dst, p, rowConversation, user), peer...)
}

func appendDedupKey(dst []byte, p godwit.Partition, user []byte, identity uint64) []byte {
	return binary.BigEndian.AppendUint64(appendOwnedPrefix(dst, p, rowDedup, user), identity)
}

func appendLaneOutKey(dst []byte, lane laneID) []byte {
	return appendPartition(appendKey(dst, lane.src, rowLaneOut), lane.dst)
}

func appendOutboxPrefix(dst []byte, lane laneID) []byte {
	return appendPartition(appendKey(dst, lane.src, rowOutbox), lane.dst)
}

func appendOutboxKey(dst []byte, lane laneID, n uint64) []byte {
	return binary.BigEndian.AppendUint64(appendOutboxPrefix(dst, lane), n)
}

func appendLaneInKey(dst []byte, lane laneID) []byte {
	return appendPartition(appendKey(dst, lane.dst, rowLaneIn), lane.src)
}

// Row values are lists of uvarints. A later level adds fields at the end: a row
// that ends early has zeros there.

// userRow is a user's log and what is counted per user.
type userRow struct {
	log           uint64 // number of the log in its partition, from 1
	sends         uint64 // messages sent; the number of the last one
	time          int64  // log time: of the newest entry
	conversations uint64 // also the number of the newest one
}

func (u *userRow) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, u.log)
	dst = binary.AppendUvarint(dst, u.sends)
	dst = binary.AppendUvarint(dst, uint64(u.time))
	return binary.AppendUvarint(dst, u.conversations)
}

func (u *userRow) parse(src []byte) bool {
	r := reader{b: src}
	u.log, u.sends, u.time, u.conversations = r.uvarint(), r.uvarint(), r.millis(), r.uvarint()
	return r.done() && u.log > 0
}

// conversationRow is one conversation as its owner sees it. Ordinals count
// incoming messages, so unread = incoming − readIncoming, without a scan.
type conversationRow struct {
	number       uint64 // within the log, from 1
	last         godwit.Seq
	incoming     uint64
	read         godwit.Seq // the read mark; 0 until marks are built
	readIncoming uint64     // the ordinal there
}

func (c *conversationRow) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, c.number)
	dst = binary.AppendUvarint(dst, uint64(c.last))
	dst = binary.AppendUvarint(dst, c.incoming)
	dst = binary.AppendUvarint(dst, uint64(c.read))
	return binary.AppendUvarint(dst, c.readIncoming)
}

func (c *conversationRow) parse(src []byte) bool {
	r := reader{b: src}
	c.number, c.last, c.incoming, c.read, c.readIncoming = r.uvarint(), r.seq(), r.uvarint(), r.seq(), r.uvarint()
	return r.done() && c.number > 0 && c.number < 1<<32 && c.readIncoming <= c.incoming
}

func (c *conversationRow) unread() uint64 { return c.incoming - c.readIncoming }

// dedupRow remembers one send: a retry gets the same answer.
type dedupRow struct {
	send    uint64 // the sender's send number
	seq     godwit.Seq
	time    int64
	content uint64 // hash
}

func (d *dedupRow) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, d.content)
	dst = binary.AppendUvarint(dst, d.send)
	dst = binary.AppendUvarint(dst, uint64(d.seq))
	return binary.AppendUvarint(dst, uint64(d.time))
}

func (d *dedupRow) parse(src []byte) bool {
	r := reader{b: src}
	d.content, d.send, d.seq, d.time = r.u64(), r.uvarint(), r.seq(), r.millis()
	return r.done() && d.send > 0 && d.seq > 0
}

// expired reports whether the row lies outside the window of a sender who has
// made sends and whose log time is now. It then counts as absent.
func (d *dedupRow) expired(s *settings, sends uint64, now int64) bool {
	return sends-d.send >= uint64(s.dedupSends) || now-d.time > int64(s.dedupWindowMS)
}

// laneOutRow is the source's side of a lane. acked ≤ last; items in between are
// outbox rows. Byte counts are totals since item 1.
type laneOutRow struct {
	last       uint64
	acked      uint64
	bytes      uint64 // through last
	bytesAcked uint64 // through acked
}

func (l *laneOutRow) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, l.last)
	dst = binary.AppendUvarint(dst, l.acked)
	dst = binary.AppendUvarint(dst, l.bytes)
	return binary.AppendUvarint(dst, l.bytesAcked)
}

func (l *laneOutRow) parse(src []byte) bool {
	r := reader{b: src}
	l.last, l.acked, l.bytes, l.bytesAcked = r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	return r.done() && l.acked <= l.last && l.bytesAcked <= l.bytes
}

// outboxRow names the entry an item is rebuilt from.
type outboxRow struct {
	log   uint64 // number in the source partition
	seq   godwit.Seq
	bytes uint64 // the lane's total through this item
}

func (o *outboxRow) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, o.log)
	dst = binary.AppendUvarint(dst, uint64(o.seq))
	return binary.AppendUvarint(dst, o.bytes)
}

func (o *outboxRow) parse(src []byte) bool {
	r := reader{b: src}
	o.log, o.seq, o.bytes = r.uvarint(), r.seq(), r.uvarint()
	return r.done() && o.log > 0 && o.seq > 0
}

// laneInRow is the destination's side: of incarnation epoch it holds 1..last.
// past are earlier incarnations, newest first; they are refused for ever.
type laneInRow struct {
	epoch uint64
	last  uint64
	past  [pastEpochsMax]uint64
}

// pastEpochsMax bounds the restores a lane remembers; the oldest is forgotten.
const pastEpochsMax = 4

func (l *laneInRow) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, l.epoch)
	dst = binary.AppendUvarint(dst, l.last)
	for _, e := range l.past {
		if e != 0 {
			dst = binary.BigEndian.AppendUint64(dst, e)
		}
	}
	return dst
}

func (l *laneInRow) parse(src []byte) bool {
	r := reader{b: src}
	l.epoch, l.last = r.u64(), r.uvarint()
	for i := 0; i < len(l.past) && !r.done() && !r.bad; i++ {
		l.past[i] = r.u64()
	}
	return r.done() && l.epoch != 0
}

func (l *laneInRow) isPast(epoch uint64) bool {
	for _, e := range l.past {
		if e == epoch {
			return true
		}
	}
	return false
}

// begin moves to a new incarnation of the source, whose lanes start at 1.
func (l *laneInRow) begin(epoch uint64) {
	if l.epoch != 0 {
		copy(l.past[1:], l.past[:pastEpochsMax-1])
		l.past[0] = l.epoch
	}
	l.epoch, l.last = epoch, 0
}
