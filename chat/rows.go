//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
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

	// from level 2 on
	rowGroup   = 'G' // group → groupRow
	rowBucket  = 'B' // group, number → up to bucketMembers of its members
	rowMember  = 'm' // group, user → memberRow
	rowPending = 'F' // group → nothing: entries of its log that members' logs lack
	rowMark    = 'k' // user, conversation, peer → the peer's marks
	rowOverlay = 'e' // owner, message → its last edit or recall
	rowBlock   = 'b' // user, peer: the user blocks the peer
	rowContact = 'f' // user, peer: the peer is a contact of the user
	rowDevice  = 'v' // user, device → deviceRow
	rowKept    = 'r' // user, peer; or of a group none, group → keptRow
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

// Row values are lists of uvarints. A later level adds fields at the end, and a row
// ends with its last field that is not zero: so a row without anything new is the
// same at every level, byte by byte.

// appendFields writes the first least fields, and the others up to the last that
// is not zero.
func appendFields(dst []byte, least int, fields ...uint64) []byte {
	n := len(fields)
	for n > least && fields[n-1] == 0 {
		n--
	}
	for _, v := range fields[:n] {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

// rest takes fields as long as there are any.
func (r *reader) rest(fields ...*uint64) {
	for _, f := range fields {
		if len(r.b) == 0 {
			return
		}
		*f = r.uvarint()
	}
}

// userRow is a user's log and what is counted per user.
type userRow struct {
	log           uint64 // number of the log in its partition, from 1
	sends         uint64 // messages sent; the number of the last one
	time          int64  // log time: of the newest entry
	conversations uint64 // also the number of the newest one

	// from level 2 on
	digest   uint64 // sum of the digests of the conversations that count
	counted  uint64 // conversations in it
	groups   uint64 // the user is in, channels included
	channels uint64
	blocked  uint64 // users he blocks
	contacts uint64
	devices  uint64
	// loggedOut: tokens issued before it (ms) are void on every device.
	loggedOut uint64
}

func (u *userRow) append(dst []byte) []byte {
	return appendFields(dst, 4, u.log, u.sends, uint64(u.time), u.conversations,
		u.digest, u.counted, u.groups, u.channels, u.blocked, u.contacts, u.devices, u.loggedOut)
}

func (u *userRow) parse(src []byte) bool {
	r := reader{b: src}
	u.log, u.sends, u.time, u.conversations = r.uvarint(), r.uvarint(), r.millis(), r.uvarint()
	r.rest(&u.digest, &u.counted, &u.groups, &u.channels, &u.blocked, &u.contacts, &u.devices, &u.loggedOut)
	return r.done() && u.log > 0
}

// conversationRow is one conversation as its owner sees it. Ordinals count
// incoming messages, so unread = incoming − readIncoming, without a scan. The peer
// in its key is a user, or "g:" and a group.
type conversationRow struct {
	number       uint64 // within the log, from 1
	last         godwit.Seq
	incoming     uint64
	read         godwit.Seq // the read mark: of the owner's log, in a channel of the group's
	readIncoming uint64     // the ordinal there

	// from level 2 on
	time      int64 // of last
	delivered godwit.Seq
	markSeq   godwit.Seq // where the owner's mark stands in the log; older ones are skips
	mute      int64      // ms until which it is silent
	flags     uint64     // conv…
	deleted   godwit.Seq // entries up to here are gone for the owner
	overlays  uint64     // messages of it that were edited or recalled
	// settingsSeq is where mute, flags and deleted stand in the log; older ones are skips.
	settingsSeq godwit.Seq
	// deletedGSeq is what deleted will be when the group becomes a channel.
	deletedGSeq godwit.Seq

	// of a group
	groupLog    godwit.LogID
	groupEpoch  uint64     // incarnation of the group's log that gseq counts in
	gseq        godwit.Seq // through which the owner's log has the group's entries
	since       godwit.Seq // of the group's log, when the owner joined
	left        godwit.Seq // the owner's last entry of it; 0: he is a member
	channelFrom godwit.Seq // later entries come by the channel; 0: it is none
	channelSeq  godwit.Seq // where the owner's log tells of that

	// was is what the row counted for in the owner's digest when it was read.
	was uint64
}

const (
	convPinned   = 1 << 0
	convArchived = 1 << 1
	convCounted  = 1 << 2 // in the owner's digest
)

func (c *conversationRow) append(dst []byte) []byte {
	return appendFields(dst, 5, c.number, uint64(c.last), c.incoming, uint64(c.read), c.readIncoming,
		uint64(c.time), uint64(c.delivered), uint64(c.markSeq), uint64(c.mute), c.flags, uint64(c.deleted), c.overlays,
		uint64(c.settingsSeq), uint64(c.deletedGSeq), uint64(c.groupLog), c.groupEpoch, uint64(c.gseq), uint64(c.since), uint64(c.left), uint64(c.channelFrom), uint64(c.channelSeq))
}

func (c *conversationRow) parse(src []byte) bool {
	r := reader{b: src}
	c.number, c.last, c.incoming, c.read, c.readIncoming = r.uvarint(), r.seq(), r.uvarint(), r.seq(), r.uvarint()
	var time, mute uint64
	r.rest(&time, (*uint64)(&c.delivered), (*uint64)(&c.markSeq), &mute, &c.flags, (*uint64)(&c.deleted), &c.overlays,
		(*uint64)(&c.settingsSeq), (*uint64)(&c.deletedGSeq), (*uint64)(&c.groupLog), &c.groupEpoch, (*uint64)(&c.gseq), (*uint64)(&c.since), (*uint64)(&c.left),
		(*uint64)(&c.channelFrom), (*uint64)(&c.channelSeq))
	c.time, c.mute = int64(time), int64(mute)
	return r.done() && c.number > 0 && c.number < 1<<32 && (c.isChannel() || c.readIncoming <= c.incoming)
}

// digest is what a conversation counts for in its owner's digest: XXH64 of its id
// as clients see it, unread and read mark. Channels, whose count lies elsewhere,
// and what the owner has deleted count nothing.
func (c *conversationRow) digest(peer []byte) uint64 {
	if c.isChannel() || c.isHidden() {
		return 0
	}
	var buf [2 + godwit.IDBytesMax + 16]byte
	b := buf[:0]
	if len(peer) < 2 || peer[1] != ':' {
		b = append(b, "u:"...)
	}
	b = binary.BigEndian.AppendUint64(append(b, peer...), c.unread(0))
	return xxhash.Sum64(binary.BigEndian.AppendUint64(b, uint64(c.read)))
}

// isHidden: the owner has deleted all of it; it is back with its next entry.
func (c *conversationRow) isHidden() bool { return c.deleted != 0 && c.last <= c.deleted }

// isMember: the owner is in the group now.
func (c *conversationRow) isMember() bool { return c.groupLog != 0 && c.left == 0 }

func (c *conversationRow) isChannel() bool { return c.channelFrom != 0 }

// unread counts what the owner's log has. In a channel ordinals are those of the
// group's log, whose count is given.
func (c *conversationRow) unread(channel uint64) uint64 {
	if c.isChannel() {
		return channel - min(channel, c.readIncoming)
	}
	return c.incoming - c.readIncoming
}

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

// outboxRow names the entry an item is rebuilt from. An item that is not a message
// stands in the row itself.
type outboxRow struct {
	log     uint64 // number in the source partition
	seq     godwit.Seq
	bytes   uint64 // the lane's total through this item
	kind    itemKind
	time    int64  // of other kinds than messages, as is payload
	payload []byte // aliases the row
}

func (o *outboxRow) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, o.log)
	dst = binary.AppendUvarint(dst, uint64(o.seq))
	dst = binary.AppendUvarint(dst, o.bytes)
	if o.kind == itemMessage {
		return dst
	}
	return append(binary.AppendUvarint(append(dst, byte(o.kind)), uint64(o.time)), o.payload...)
}

func (o *outboxRow) parse(src []byte) bool {
	r := reader{b: src}
	o.log, o.seq, o.bytes = r.uvarint(), r.seq(), r.uvarint()
	if len(r.b) > 0 {
		o.kind, o.time = itemKind(r.u8()), r.millis()
		o.payload = r.take(len(r.b))
		if o.kind == itemMessage || len(o.payload) == 0 {
			return false
		}
	}
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
