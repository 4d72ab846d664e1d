//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

const (
	fanoutEntriesMax    = 64
	fanoutRecipientsMax = 256
	fannedGroupsMax     = 256
	fannedBucketsMax    = 4096
)

// fanoutCommand brings entries of a group's log, as pointers, into the logs of
// members whose partitions this raft group has. What may be said twice is: a
// recipient takes only what comes next for him.
type fanoutCommand struct {
	conv  []byte // "g:" and the group's id
	log   godwit.LogID
	epoch uint64 // of the raft group of the group's log
	// base is where the count begins for who has an older incarnation's, if only
	// the source was restored.
	base godwit.Seq
	// personal: the entries lie in a channel. They are not consecutive, and each
	// recipient takes the one that made him a member (since) or ended that (left).
	personal bool
	entries  []fanoutEntry
	count    uint64
	members  reader // count recipients, not yet parsed
}

// fanoutEntry is what a member's log needs to know of an entry.
type fanoutEntry struct {
	seq      godwit.Seq
	flags    uint8
	time     int64
	sender   []byte // of what counts
	messages uint64 // at the boundary and of personal ones: countable entries of the group's log up to it
}

const (
	fanCounts   = 1 << 0 // as unread, for all but its sender
	fanBoundary = 1 << 1 // entries after it come by the channel
)

// fanoutMember is a recipient.
type fanoutMember struct {
	user  []byte
	since godwit.Seq // the first entry that is his; personal: 0 if he left
	left  godwit.Seq // the last; 0: he is a member
	// after is the last entry of his membership before this one, if that may not be
	// in his log yet: he does not jump over it.
	after godwit.Seq
	// delivered and read are his marks as the group knows them: at the boundary they
	// become those of the conversation, which counts in the group's sequences then.
	delivered, read godwit.Seq
}

const (
	fanLeft  = 1 << 0
	fanAfter = 1 << 1
	fanMarks = 1 << 2
)

// appendFanoutHead writes all but the recipients and their count.
func appendFanoutHead(dst []byte, home godwit.Partition, c *fanoutCommand) []byte {
	dst = appendShort(appendHeader(dst, kindFanout, home), c.conv)
	dst = binary.AppendUvarint(dst, logNumber(c.log))
	dst = binary.BigEndian.AppendUint64(dst, c.epoch)
	dst = binary.AppendUvarint(dst, uint64(c.base))
	personal := byte(0)
	if c.personal {
		personal = 1
	}
	dst = binary.AppendUvarint(append(dst, personal), uint64(len(c.entries)))
	last := godwit.Seq(0)
	for i := range c.entries {
		e := &c.entries[i]
		dst = binary.AppendUvarint(append(dst, e.flags), uint64(e.seq-last))
		dst = binary.AppendUvarint(dst, uint64(e.time))
		if e.flags&fanCounts != 0 {
			dst = appendShort(dst, e.sender)
		}
		if c.personal || e.flags&fanBoundary != 0 {
			dst = binary.AppendUvarint(dst, e.messages)
		}
		last = e.seq
	}
	return dst
}

func (m *fanoutMember) append(dst []byte) []byte {
	flags := byte(0)
	if m.left != 0 {
		flags |= fanLeft
	}
	if m.after != 0 {
		flags |= fanAfter
	}
	if m.delivered|m.read != 0 {
		flags |= fanMarks
	}
	dst = binary.AppendUvarint(append(appendShort(dst, m.user), flags), uint64(m.since))
	if m.left != 0 {
		dst = binary.AppendUvarint(dst, uint64(m.left))
	}
	if m.after != 0 {
		dst = binary.AppendUvarint(dst, uint64(m.after))
	}
	if flags&fanMarks != 0 {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(m.delivered)), uint64(m.read))
	}
	return dst
}

// parse checks all recipients once, so that apply takes the command whole.
func (c *fanoutCommand) parse(r *reader) bool {
	c.conv = r.short()
	number := r.uvarint()
	c.epoch, c.base = r.u64(), r.seq()
	personal, n := r.u8(), r.uvarint()
	if r.bad || !isGroupConv(c.conv) || number == 0 || number >= 1<<48 || c.epoch == 0 || personal > 1 || n == 0 || n > fanoutEntriesMax {
		return false
	}
	c.log = godwit.NewLogID(groupOfID(c.conv[2:]).Partition(), number)
	c.personal = personal != 0
	if !c.parseEntries(r, int(n)) {
		return false
	}
	c.count = r.uvarint()
	c.members = *r
	if r.bad || c.count == 0 || c.count > fanoutRecipientsMax {
		return false
	}
	members := c.members
	for range c.count {
		m := nextFanoutMember(&members)
		if members.bad || !godwit.ValidID(m.user) {
			return false
		}
		if c.personal && (m.since == 0) == (m.left == 0) || !c.personal && (m.since == 0 || m.left != 0 && m.left < m.since) {
			return false
		}
	}
	return members.done()
}

func (c *fanoutCommand) parseEntries(r *reader, n int) bool {
	c.entries = make([]fanoutEntry, n)
	last := godwit.Seq(0)
	for i := range c.entries {
		e := &c.entries[i]
		e.flags = r.u8()
		step := r.seq()
		e.time = r.millis()
		if e.flags&fanCounts != 0 {
			e.sender = r.short()
		}
		if c.personal || e.flags&fanBoundary != 0 {
			e.messages = r.uvarint()
		}
		e.seq = last + step
		if r.bad || e.flags&^(fanCounts|fanBoundary) != 0 || step == 0 || i > 0 && step != 1 && !c.personal || e.seq > godwit.SeqMax {
			return false
		}
		last = e.seq
	}
	return true
}

func isGroupConv(conv []byte) bool {
	return len(conv) > 2 && conv[0] == 'g' && conv[1] == ':' && godwit.ValidID(conv[2:])
}

// nextFanoutMember takes a recipient off r.
func nextFanoutMember(r *reader) (m fanoutMember) {
	m.user = r.short()
	flags := r.u8()
	m.since = r.seq()
	if flags&fanLeft != 0 {
		m.left = r.seq()
	}
	if flags&fanAfter != 0 {
		m.after = r.seq()
	}
	if flags&fanMarks != 0 {
		m.delivered, m.read = r.seq(), r.seq()
	}
	r.bad = r.bad || flags&^(fanLeft|fanAfter|fanMarks) != 0
	return m
}

func (c *fanoutCommand) reads(_ header, put func(key []byte)) {
	key := make([]byte, 0, 256)
	members := c.members
	for range c.count {
		user := nextFanoutMember(&members).user
		p := userOf(user).Partition()
		put(appendConversationKey(key, p, user, c.conv))
		put(appendUserKey(key, p, user))
		put(appendKey(key, p, rowCounter))
	}
}

// fannedCommand says of groups through which entry members' logs have them, and
// names the buckets that list members who left before that.
type fannedCommand struct {
	epoch  uint64
	count  uint64
	groups reader // count items, not yet parsed
}

// fannedItem is one group. buckets are uvarints.
type fannedItem struct {
	group   []byte
	through godwit.Seq
	buckets reader
}

func appendFannedHead(dst []byte, home godwit.Partition, epoch uint64, count int) []byte {
	return binary.AppendUvarint(binary.BigEndian.AppendUint64(appendHeader(dst, kindFanned, home), epoch), uint64(count))
}

func appendFannedItem(dst []byte, group string, through godwit.Seq, buckets []uint32) []byte {
	dst = binary.AppendUvarint(appendShort(dst, bytesOf(group)), uint64(through))
	dst = binary.AppendUvarint(dst, uint64(len(buckets)))
	for _, b := range buckets {
		dst = binary.AppendUvarint(dst, uint64(b))
	}
	return dst
}

func (c *fannedCommand) parse(r *reader) bool {
	c.epoch, c.count = r.u64(), r.uvarint()
	c.groups = *r
	if r.bad || c.epoch == 0 || c.count == 0 || c.count > fannedGroupsMax {
		return false
	}
	groups := c.groups
	for range c.count {
		if it := nextFannedItem(&groups); groups.bad || !godwit.ValidID(it.group) || it.through == 0 {
			return false
		}
	}
	return groups.done()
}

func nextFannedItem(r *reader) (it fannedItem) {
	it.group, it.through = r.short(), r.seq()
	n := r.uvarint()
	if n > fannedBucketsMax {
		r.bad = true
		return it
	}
	it.buckets = *r
	for range n {
		if r.uvarint() >= 1<<32 {
			r.bad = true
		}
	}
	it.buckets.b = it.buckets.b[:len(it.buckets.b)-len(r.b)]
	return it
}

func (c *fannedCommand) reads(_ header, put func(key []byte)) {
	key := make([]byte, 0, 256)
	groups := c.groups
	for range c.count {
		it := nextFannedItem(&groups)
		put(appendGroupKey(key, it.group))
		for b := it.buckets; len(b.b) > 0; {
			put(appendBucketKey(key, it.group, uint32(b.uvarint())))
		}
	}
}
