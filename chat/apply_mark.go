//tidy:apply

package chat

import "github.com/godwit-im/godwit"

// A mark is a row, and a record that moves: its newest one stands in the log, and
// every older one is a skip to readers. The record says only whose mark it is; what
// it says lies in the row, and its ordinal is the count of incoming messages when
// it moved. Records of marks and settings are of no conversation (0), so that its
// chain holds what people wrote.

// apply raises the marks of the user and tells the other side.
func (c *markCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	p := userOf(c.user).Partition()
	if st.group(p) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	u := a.user(tx, p, c.user)
	conv := a.conversation(tx, p, c.user, c.peer)
	switch {
	case u.log == 0 || conv.number == 0:
		return outcome{refusal: godwit.ErrNotMember}
	case conv.isChannel() != c.channel:
		return outcome{refusal: godwit.ErrUnavailable} // the leader looks again
	}
	log := godwit.NewLogID(p, u.log)
	if !conv.raise(c.delivered, c.read, c.ordinal) {
		return outcome{log: log, seq: conv.markSeq, dup: true}
	}
	u.time = max(u.time, tx.Stamp())
	a.moveMark(tx, log, c.user, c.peer, &u, &conv, c.total)
	a.putConversation(tx, p, st, c.user, c.peer, &u, &conv)
	a.putUser(tx, p, c.user, &u)
	if dst, it, ok := c.item(); ok && (!isGroup(c.peer) || conv.isMember()) {
		it.origin, it.seq, it.time = log, conv.markSeq, u.time
		a.dispatch(tx, st, laneID{p, dst}, &it)
	}
	return outcome{log: log, seq: conv.markSeq}
}

// raise moves the owner's marks forward and tells whether one moved. What is read
// is delivered.
func (c *conversationRow) raise(delivered, read godwit.Seq, ordinal uint64) bool {
	if delivered = max(delivered, read); delivered <= c.delivered && read <= c.read {
		return false
	}
	c.delivered = max(c.delivered, delivered)
	if read > c.read {
		c.read = read
		if !c.isChannel() {
			ordinal = min(ordinal, c.incoming)
		}
		c.readIncoming = max(c.readIncoming, ordinal)
	}
	return true
}

// moveMark gives the owner's mark its new place in the log. total counts the
// group's messages in a channel, which the row does not.
func (a *applier) moveMark(tx Tx, log godwit.LogID, user, peer []byte, u *userRow, conv *conversationRow, total uint64) {
	m := meta{kind: recordMark, ordinal: conv.incoming}
	if conv.isChannel() {
		m.ordinal = total
	}
	a.meta = m.append(a.meta[:0])
	record := godwit.Record{Time: u.time, Meta: a.meta, Body: peer}
	conv.markSeq = tx.Append(log, record)
	e := &godwit.Entry{Seq: conv.markSeq, Kind: godwit.EntryReceipt, Receipt: conv.receipt(user, peer, m.ordinal)}
	a.effects.hints = append(a.effects.hints, hint{other: true, made: e, user: user, seq: conv.markSeq})
}

// receipt is the owner's mark as he sees it; ordinal is that of its record. The
// result aliases user and peer.
func (c *conversationRow) receipt(user, peer []byte, ordinal uint64) *godwit.Receipt {
	return &godwit.Receipt{
		Conv: conversationWith(peer), User: userOf(user), Delivered: c.delivered, Read: c.read,
		Unread: ordinal - min(ordinal, c.readIncoming),
	}
}

// conversationWith is the id of the conversation whose row has that peer in its key.
func conversationWith(peer []byte) godwit.ConversationID {
	if isGroup(peer) {
		return stringOf[godwit.ConversationID](peer)
	}
	return godwit.Direct(userOf(peer))
}

// receipt raises the marks of the other one in the log of a messages' author.
func (a *applier) receipt(tx Tx, st *settings, p godwit.Partition, c *receiptItem, it *laneItem) {
	u := a.user(tx, p, c.to)
	conv := a.conversation(tx, p, c.to, c.from)
	if u.log == 0 || conv.number == 0 || a.blocks(tx, st, p, &u, c.to, c.from) {
		return
	}
	var m peerMarkRow
	if row, ok := tx.Get(a.keyOf(appendMarkKey(a.key[:0], p, c.to, c.from))); ok && !m.parse(row) {
		panic("BUG: mark row does not parse")
	}
	if !m.raise(c.delivered, c.read) {
		return
	}
	u.time = max(u.time, it.time)
	md := meta{kind: recordMark, incoming: true, ordinal: conv.incoming, origin: it.origin, originSeq: it.seq}
	a.meta = md.append(a.meta[:0])
	m.seq = tx.Append(godwit.NewLogID(p, u.log), godwit.Record{Time: u.time, Meta: a.meta, Body: c.from})
	a.value = m.append(a.value[:0])
	tx.Put(a.keyOf(appendMarkKey(a.key[:0], p, c.to, c.from)), a.value)
	a.putUser(tx, p, c.to, &u)
	e := &godwit.Entry{Seq: m.seq, Kind: godwit.EntryReceipt, Receipt: m.receipt(c.from)}
	a.effects.hints = append(a.effects.hints, hint{other: true, made: e, user: c.to, seq: m.seq})
}

// receipt is the mark as the author sees it.
func (m *peerMarkRow) receipt(peer []byte) *godwit.Receipt {
	return &godwit.Receipt{Conv: conversationWith(peer), User: userOf(peer), Delivered: m.delivered, Read: m.read}
}

// memberMark raises a member's marks in the group's row of him. In a small group
// the others are to be told.
func (a *applier) memberMark(tx Tx, st *settings, c *memberMarkItem) {
	var g groupRow
	var m memberRow
	row, ok := tx.Get(a.keyOf(appendGroupKey(a.key[:0], c.group)))
	if ok && !g.parse(row) {
		panic("BUG: group row does not parse")
	}
	row, have := tx.Get(a.keyOf(appendMemberKey(a.key[:0], c.group, c.user)))
	if have && !m.parse(row) {
		panic("BUG: member row does not parse")
	}
	delivered, read := min(c.delivered, g.head), min(c.read, g.head)
	if !ok || !m.isMember() || delivered <= m.delivered && read <= m.read {
		return
	}
	m.delivered, m.read = max(m.delivered, delivered), max(m.read, read)
	a.value = m.append(a.value[:0])
	tx.Put(a.keyOf(appendMemberKey(a.key[:0], c.group, c.user)), a.value)
	if g.members > 1 && g.members <= uint64(st.policy.receiptMembers) && !g.isChannel() {
		a.effects.memberMarks = append(a.effects.memberMarks, memberMarkEffect{c.group, c.user, st.policy.receiptMembers})
	}
}
