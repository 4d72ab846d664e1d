//tidy:apply

package chat

import "github.com/godwit-im/godwit"

// trimEvery is how many sends of a user lie between two looks for expired
// dedup rows; a user holds at most settings.dedupSends + about this many.
const trimEvery = 1000

// send stores one message: the sender's log first, then the recipient's in the
// same command if this group owns it, else an outbox item.
//
//tidy:long the steps of one message in their order
func (a *applier) send(tx Tx, st *settings, c *sendCommand) outcome {
	b := &c.block
	from, to := b.from[2:], b.to[2:]
	lane := laneID{b.sender().Partition(), b.recipient().Partition()}
	if st.group(lane.src) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	u := a.user(tx, lane.src, from)
	now := max(u.time, tx.Stamp())

	identity, content := b.identityHash(), b.contentHash()
	if row, ok := tx.Get(a.keyOf(appendDedupKey(a.key[:0], lane.src, from, identity))); ok {
		var d dedupRow
		if !d.parse(row) {
			panic("BUG: dedup row does not parse")
		}
		switch {
		case d.expired(st, u.sends, now):
		case d.content != content:
			return outcome{refusal: godwit.ErrConflict}
		case seeded.storeAgain(uint64(d.seq)):
		default:
			return outcome{log: godwit.NewLogID(lane.src, u.log), seq: d.seq, time: d.time, dup: true, conv: b.to}
		}
	}
	if c.clientTime > 0 && now-c.clientTime > int64(st.dedupWindowMS) {
		return outcome{refusal: godwit.ErrTooOld}
	}
	conv := a.conversation(tx, lane.src, from, to)
	if conv.number == 0 && u.conversations >= uint64(st.conversationsMax) {
		return outcome{refusal: godwit.ErrConversations}
	}

	if conv.number == 0 && !c.granted && st.level >= 2 && st.policy.whoMayStart != startAll && string(from) != string(to) {
		return outcome{refusal: godwit.ErrNotMember}
	}

	a.allot(tx, lane.src, &u)
	u.open(&conv)
	u.sends++
	u.time = now
	log := godwit.NewLogID(lane.src, u.log)
	m := meta{ordinal: conv.incoming}
	a.meta = m.append(a.meta[:0])
	seq := tx.Append(log, godwit.Record{Conv: uint32(conv.number), Prev: conv.last, Time: now, Meta: a.meta, Body: b.raw})
	conv.last = seq
	if st.level >= 2 {
		conv.time = now
	}
	a.putConversation(tx, lane.src, st, from, to, &u, &conv)
	a.putUser(tx, lane.src, from, &u)
	d := dedupRow{send: u.sends, seq: seq, time: now, content: content}
	a.value = d.append(a.value[:0])
	tx.Put(a.keyOf(appendDedupKey(a.key[:0], lane.src, from, identity)), a.value)
	a.effects.hints = append(a.effects.hints, hint{user: from, seq: seq, time: now, origin: log, originSeq: seq, block: *b})
	if u.sends%trimEvery == 0 {
		a.effects.trims = append(a.effects.trims, from)
	}

	item := laneItem{origin: log, seq: seq, time: now, block: b.raw}
	switch {
	case string(from) == string(to): // one entry is both sides
	case st.group(lane.dst) == tx.Group():
		a.receive(tx, st, lane.dst, b, &item)
	default:
		a.enqueue(tx, lane, &item)
	}
	return outcome{log: log, seq: seq, time: now, conv: b.to}
}

// receive appends a message to its recipient's log. Its time is the sender's,
// raised where the recipient's log is ahead. What a blocked sender writes is
// dropped, and nobody is told.
func (a *applier) receive(tx Tx, st *settings, p godwit.Partition, b *block, it *laneItem) {
	from, to := b.from[2:], b.to[2:]
	u := a.user(tx, p, to)
	if a.blocks(tx, st, p, &u, to, from) {
		return
	}
	conv := a.conversation(tx, p, to, from)
	a.allot(tx, p, &u)
	u.open(&conv)
	u.time = max(u.time, it.time)
	conv.incoming++
	m := meta{incoming: true, ordinal: conv.incoming, origin: it.origin, originSeq: it.seq}
	a.meta = m.append(a.meta[:0])
	conv.last = tx.Append(godwit.NewLogID(p, u.log),
		godwit.Record{Conv: uint32(conv.number), Prev: conv.last, Time: u.time, Meta: a.meta, Body: b.raw})
	if st.level >= 2 {
		conv.time = u.time
	}
	a.putConversation(tx, p, st, to, from, &u, &conv)
	a.putUser(tx, p, to, &u)
	a.effects.hints = append(a.effects.hints, hint{
		user: to, seq: conv.last, time: u.time, incoming: true, origin: it.origin, originSeq: it.seq, block: *b,
	})
}

// trim deletes those of the named dedup rows that are outside the window. It
// goes by the log's own time, not by the stamp: a row once expired stays so.
func (a *applier) trim(tx Tx, st *settings, c *trimCommand) outcome {
	p := userOf(c.user).Partition()
	if st.group(p) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	u := a.user(tx, p, c.user)
	for hashes := c.hashes; !hashes.done(); {
		var d dedupRow
		row, ok := tx.Get(a.keyOf(appendDedupKey(a.key[:0], p, c.user, hashes.u64())))
		if ok && d.parse(row) && d.expired(st, u.sends, u.time) {
			tx.Delete(a.key)
		}
	}
	return outcome{}
}
