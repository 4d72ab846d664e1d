//tidy:apply

package chat

import "github.com/godwit-im/godwit"

// fanoutEffect says that logs of members have pointers to entries of a group's log.
type fanoutEffect struct {
	conv       []byte
	log        godwit.LogID // of the group
	epoch      uint64
	recipients []pointersEffect
}

// pointersEffect is a run of consecutive entries of one member's log which point
// to consecutive entries of the group's.
type pointersEffect struct {
	user  []byte
	seq   godwit.Seq // the first
	gseq  godwit.Seq
	count int
}

// ownEffect says that a message to a group is in its sender's own log.
type ownEffect struct {
	log  godwit.LogID // of the group
	gseq godwit.Seq
	seq  godwit.Seq
}

// channelEffect says that a member's log has the pointer after which a group's
// entries come to him by the channel.
type channelEffect struct {
	user  []byte
	group []byte
	log   godwit.LogID // of the group
	from  godwit.Seq
}

// fanoutGap answers a fan-out of entries before which a recipient lacks others.
type fanoutGap struct {
	after godwit.Seq // what comes after it is to be sent again
}

// apply appends pointers to the recipients' logs. In its member's log a group's
// entries lie without a gap from since to left: the conversation row counts them,
// so what was repeated, late or reordered is skipped or refused one by one.
func (c *fanoutCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	members := c.members
	for range c.count {
		if m := nextFanoutMember(&members); st.group(userOf(m.user).Partition()) != tx.Group() {
			return outcome{refusal: godwit.ErrFrameInvalid}
		}
	}
	if st.isPast(c.epoch) {
		return outcome{stale: true}
	}
	out := outcome{}
	start := len(a.effects.pointers)
	members = c.members
	for range c.count {
		m := nextFanoutMember(&members)
		after, gap := a.point(tx, st, c, &m)
		if !gap {
			continue
		}
		if was, ok := out.extra.(fanoutGap); !ok || after < was.after {
			out.extra = fanoutGap{after}
		}
	}
	if n := len(a.effects.pointers); n > start {
		a.effects.fanouts = append(a.effects.fanouts, fanoutEffect{c.conv, c.log, c.epoch, a.effects.pointers[start:n:n]})
	}
	return out
}

// point appends what is next for one recipient. gap: something before it is not
// in his log, which has the group's entries, or needs none, through after.
func (a *applier) point(tx Tx, st *settings, c *fanoutCommand, m *fanoutMember) (after godwit.Seq, gap bool) {
	p := userOf(m.user).Partition()
	row := a.conversation(tx, p, m.user, c.conv)
	if row.groupEpoch != c.epoch {
		// Restored together, as of one moment: the count goes on. The source alone: it
		// goes back, and what came after the backup comes again.
		if row.groupEpoch != 0 && c.epoch != st.epoch {
			row.gseq = min(row.gseq, c.base)
		}
		row.groupEpoch = c.epoch
	}
	if row.gseq >= c.entries[len(c.entries)-1].seq {
		return 0, false
	}
	var u userRow
	var effect pointersEffect
	for i := range c.entries {
		e := &c.entries[i]
		takes, hole := row.takes(c, m, e.seq)
		if hole {
			gap = true
			break
		}
		if !takes {
			continue
		}
		if effect.count == 0 {
			u = a.user(tx, p, m.user)
			a.allot(tx, p, &u)
			u.open(&row)
			row.groupLog = c.log
			effect = pointersEffect{user: m.user, gseq: e.seq}
		}
		a.pointTo(tx, p, c, m, e, &u, &row)
		if effect.count++; effect.count == 1 {
			effect.seq = row.last
		}
		if e.flags&fanCounts != 0 && string(e.sender) == string(m.user) {
			a.effects.owns = append(a.effects.owns, ownEffect{c.log, e.seq, row.last})
		}
	}
	if effect.count > 0 {
		a.putConversation(tx, p, st, m.user, c.conv, &u, &row)
		a.putUser(tx, p, m.user, &u)
		a.effects.pointers = append(a.effects.pointers, effect)
	}
	if row.gseq < m.since && row.gseq >= m.after {
		return m.since - 1, gap
	}
	return row.gseq, gap
}

// takes tells whether entry n comes next, and whether one before it is missing.
func (c *conversationRow) takes(f *fanoutCommand, m *fanoutMember, n godwit.Seq) (takes, hole bool) {
	switch {
	case n <= c.gseq, m.left != 0 && n > m.left:
	case f.personal:
		return n == m.since || n == m.left, false
	case n < m.since:
	case n == c.gseq+1:
		return true, false
	case n == m.since && c.gseq >= m.after:
		return true, false
	default:
		return false, true
	}
	return false, false
}

// isInGroup: the owner's log has the entry that made him a member, and not the one
// that ended it.
func (c *conversationRow) isInGroup() bool { return c.since != 0 && c.left == 0 }

// pointTo appends one pointer and keeps the rows, which the caller puts.
func (a *applier) pointTo(tx Tx, p godwit.Partition, c *fanoutCommand, m *fanoutMember, e *fanoutEntry, u *userRow, row *conversationRow) {
	incoming := e.flags&fanCounts != 0 && string(e.sender) != string(m.user)
	if incoming {
		row.incoming++
	}
	u.time = max(u.time, e.time)
	md := meta{kind: recordPointer, incoming: incoming, ordinal: row.incoming, origin: c.log, originSeq: e.seq}
	a.meta = md.append(a.meta[:0])
	row.last = tx.Append(godwit.NewLogID(p, u.log),
		godwit.Record{Conv: uint32(row.number), Prev: row.last, Time: u.time, Meta: a.meta})
	row.time, row.gseq = u.time, e.seq

	if e.seq == m.since {
		if !row.isInGroup() {
			u.groups++
		}
		if c.personal && !(row.isInGroup() && row.isChannel()) {
			u.channels++
		}
		row.since, row.left, row.channelFrom, row.channelSeq = e.seq, 0, 0, 0
		row.readIncoming = min(row.readIncoming, row.incoming) // a channel's counts the group's messages
		if c.personal {
			row.becomesChannel(e, e.seq, e.seq)
			row.readIncoming = e.messages
			a.followFrom(c, m, e)
		}
	}
	if e.flags&fanBoundary != 0 {
		unread := row.incoming - min(row.incoming, row.readIncoming)
		row.becomesChannel(e, m.delivered, m.read)
		row.readIncoming = e.messages - min(e.messages, unread)
		if unread == 0 {
			row.delivered, row.read = e.seq, e.seq
		}
		u.channels++
		a.followFrom(c, m, e)
	}
	if e.seq == m.left && row.isInGroup() {
		row.left = e.seq
		u.groups -= min(u.groups, 1)
		if row.isChannel() {
			u.channels -= min(u.channels, 1)
		}
	}
}

// followFrom asks for a member's sessions to follow the channel.
func (a *applier) followFrom(c *fanoutCommand, m *fanoutMember, e *fanoutEntry) {
	a.effects.channels = append(a.effects.channels, channelEffect{m.user, c.conv[2:], c.log, e.seq})
}

// becomesChannel: from here on the marks are sequences of the group's log.
func (c *conversationRow) becomesChannel(e *fanoutEntry, delivered, read godwit.Seq) {
	c.channelFrom, c.channelSeq = e.seq, c.last
	c.delivered, c.read = max(delivered, read, c.deletedGSeq), max(read, c.deletedGSeq)
	c.deleted, c.deletedGSeq = c.deletedGSeq, 0
}

// apply notes how far groups are fanned out, and forgets members who left before.
func (c *fannedCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	if c.epoch != st.epoch {
		return outcome{stale: true}
	}
	groups := c.groups
	for range c.count {
		it := nextFannedItem(&groups)
		if st.group(groupOfID(it.group).Partition()) == tx.Group() {
			a.fanned(tx, &it)
		}
	}
	return outcome{}
}

func (a *applier) fanned(tx Tx, it *fannedItem) {
	var g groupRow
	row, ok := tx.Get(a.keyOf(appendGroupKey(a.key[:0], it.group)))
	if ok && !g.parse(row) {
		panic("BUG: group row does not parse")
	}
	if !ok || it.through <= g.fanned || it.through > g.head {
		return
	}
	g.fanned = it.through
	for b := it.buckets; len(b.b) > 0; {
		if n := b.uvarint(); a.forgetLeft(tx, it.group, uint32(n), g.fanned) {
			g.room = min(g.room, n)
			g.freed++
		}
	}
	if g.fanned == g.head {
		tx.Delete(a.keyOf(appendPendingKey(a.key[:0], it.group)))
	}
	a.value = g.append(a.value[:0])
	tx.Put(a.keyOf(appendGroupKey(a.key[:0], it.group)), a.value)
}

// forgetLeft takes those off a bucket whose logs have their last entry.
func (a *applier) forgetLeft(tx Tx, group []byte, n uint32, fanned godwit.Seq) (found bool) {
	key := a.keyOf(appendBucketKey(a.key[:0], group, n))
	row, ok := tx.Get(key)
	if !ok {
		return false
	}
	a.value = a.value[:0]
	for r := (reader{b: row}); ; {
		e, more := nextBucketEntry(&r)
		if r.bad {
			panic("BUG: bucket row does not parse")
		}
		if !more {
			break
		}
		if e.left != 0 && e.left <= fanned {
			found = true
			continue
		}
		a.value = e.append(a.value)
	}
	if found {
		tx.Put(key, a.value)
	}
	return found
}
