//tidy:apply

package chat

import (
	"slices"

	"github.com/godwit-im/godwit"
)

// apply edits or recalls a message whose author asks for it. A repeat changes
// nothing; a recalled message is no longer there. Ordinals stay as they are: what
// was unread is, also when it was taken back.
func (c *reviseCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	from, to := c.block.from[2:], c.block.to[2:]
	lane := laneID{c.block.sender().Partition(), c.block.recipient().Partition()}
	if st.group(lane.src) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	u := a.user(tx, lane.src, from)
	conv := a.conversation(tx, lane.src, from, to)
	if u.log != c.log || conv.number == 0 || c.seq <= conv.deleted {
		return outcome{refusal: godwit.ErrNoMessage}
	}
	log, now := c.logID(), max(u.time, tx.Stamp())
	o, ok := a.overlay(tx, lane.src, from, log, c.seq)
	switch {
	case ok && o.isRecalled() && !c.recall:
		return outcome{refusal: godwit.ErrNoMessage}
	case ok && (o.isRecalled() || !c.recall && o.content == c.block.contentHash()):
		return outcome{log: log, seq: o.last, dup: true}
	case st.policy.editWindowMS != 0 && now-c.time > int64(st.policy.editWindowMS):
		return outcome{refusal: godwit.ErrTooLate}
	}
	u.time = now
	seq := a.revise(tx, st, lane.src, &c.reviseItem, log, from, to, &u, &conv, false)
	if string(from) != string(to) {
		a.dispatch(tx, st, lane, &laneItem{
			kind: itemRevise, origin: log, seq: seq, time: now, block: appendRevise(nil, c.recall, c.seq, c.block.raw),
		})
	}
	return outcome{log: log, seq: seq}
}

// receiveRevise brings an edit or recall to the log of the message's recipient,
// unless he has deleted the conversation or blocks the author.
func (a *applier) receiveRevise(tx Tx, st *settings, p godwit.Partition, c *reviseItem, it *laneItem) {
	from, to := c.block.from[2:], c.block.to[2:]
	u := a.user(tx, p, to)
	conv := a.conversation(tx, p, to, from)
	if u.log == 0 || conv.number == 0 || conv.isHidden() || a.blocks(tx, st, p, &u, to, from) {
		return
	}
	u.time = max(u.time, it.time)
	a.revise(tx, st, p, c, it.origin, to, from, &u, &conv, true)
}

// revise appends the record to owner's log and makes it the message's overlay.
// origin is the author's log, which names the message in both.
//
//tidy:long the steps of one revision in their order
func (a *applier) revise(tx Tx, st *settings, p godwit.Partition, c *reviseItem, origin godwit.LogID,
	owner, peer []byte, u *userRow, conv *conversationRow, incoming bool,
) godwit.Seq {
	o, ok := a.overlay(tx, p, owner, origin, c.seq)
	if !ok {
		conv.overlays++
	}
	log := godwit.NewLogID(p, u.log)
	m := meta{kind: recordEdit, incoming: incoming, ordinal: conv.incoming, origin: origin, originSeq: c.seq}
	o.flags, o.content = 0, c.block.contentHash()
	if c.recall {
		m.kind, o.flags = recordRecall, overlayRecalled
	}
	a.meta = m.append(a.meta[:0])
	record := godwit.Record{Conv: uint32(conv.number), Prev: conv.last, Time: u.time, Meta: a.meta, Body: c.block.raw}
	record.Seq = tx.Append(log, record)
	conv.last = record.Seq
	a.putConversation(tx, p, st, owner, peer, u, conv)
	a.putUser(tx, p, owner, u)
	o.last, o.time, o.revision = record.Seq, u.time, o.revision+1
	a.value = o.append(a.value[:0])
	tx.Put(a.keyOf(appendOverlayKey(a.key[:0], p, owner, origin, c.seq)), a.value)
	record.Meta = slices.Clone(a.meta)
	a.effects.hints = append(a.effects.hints, hint{other: true, log: log, record: record, user: owner, seq: record.Seq})
	return record.Seq
}

// overlay reads what became of a message in a user's log.
func (a *applier) overlay(tx Tx, p godwit.Partition, owner []byte, origin godwit.LogID, seq godwit.Seq) (o overlayRow, ok bool) {
	row, ok := tx.Get(a.keyOf(appendOverlayKey(a.key[:0], p, owner, origin, seq)))
	if ok && !o.parse(row) {
		panic("BUG: overlay row does not parse")
	}
	return o, ok
}
