package chat

import "github.com/godwit-im/godwit"

// markWalkMax bounds the entries a look follows back to the newest incoming one.
// Beyond it the peer is told with a later mark.
const markWalkMax = 4096

// look finds the ordinals and the peer's sequences of the marks asked for.
func (c *markChange) look(v View) (command []byte, next step) {
	if c.channel != nil {
		return c.lookAtChannel(v)
	}
	user := c.key.user
	p := user.Partition()
	u, refusal := userOfView(v, user)
	var row conversationRow
	value, ok := v.Get(appendConversationKey(nil, p, bytesOf(user), bytesOf(c.key.peer)))
	switch {
	case refusal != nil || ok && !row.parse(value):
		return c.refuse(godwit.ErrInternal)
	case !ok:
		return c.refuse(godwit.ErrNotMember)
	}
	c.markSeq = row.markSeq
	c.command = markCommand{user: bytesOf(user), peer: bytesOf(c.key.peer)}
	if row.isChannel() {
		if !row.isMember() {
			return c.refuse(godwit.ErrNotMember)
		}
		c.channel, c.group = &row, c.service.cfg.Store.Group(row.groupLog.Partition())
		return nil, stepAgain
	}
	log := u.logID(user)
	if head := v.Head(log); c.delivered > head || c.read > head {
		return c.refuse(godwit.ErrBadCursor)
	}
	if c.read <= row.read && max(c.delivered, c.read) <= row.delivered {
		return nil, stepDone
	}
	m := &c.command
	if c.read > row.read {
		at := positionAt(v, log, &row, c.read)
		m.read, m.ordinal, m.peerRead = c.read, at.ordinal, at.peer
	}
	if c.delivered > max(row.delivered, m.read) {
		m.delivered, m.peerDelivered = c.delivered, positionAt(v, log, &row, c.delivered).peer
	}
	if !isGroup(m.peer) && isBlockedBy(v, m.user, m.peer) {
		m.peerDelivered, m.peerRead = 0, 0 // whom one blocks is told nothing
	}
	return c.propose(p)
}

func (c *markChange) refuse(e *godwit.Error) ([]byte, step) {
	c.refusal = e
	return nil, stepDone
}

// propose goes to the user's group, if the other side has room to be told.
func (c *markChange) propose(p godwit.Partition) ([]byte, step) {
	s := c.service
	c.group = s.cfg.Store.Group(p)
	if dst, _, ok := c.command.item(); ok && s.cfg.Store.Group(dst) != c.group && !s.forwarder.hasRoom(laneID{p, dst}) {
		return c.refuse(godwit.ErrUnavailable)
	}
	return c.command.append(nil, homeOf(c.group, s.cfg.Store.Groups())), stepPropose
}

// position is what a sequence of the reader's log is in a conversation.
type position struct {
	ordinal uint64     // incoming messages through it
	peer    godwit.Seq // of the newest of them in the peer's log, or the group's; 0: none, or far back
}

// positionAt looks up a sequence, which need not be one of the conversation. What
// was erased counts as what follows it says.
func positionAt(v View, log godwit.LogID, row *conversationRow, seq godwit.Seq) (at position) {
	record, ok := recordAt(v, log, row, seq)
	var md meta
	if !ok || !md.parse(record.Meta) {
		return position{ordinal: ordinalBefore(v, log, row, seq)}
	}
	at.ordinal = md.ordinal
	for range markWalkMax {
		if md.kind == recordPointer || md.incoming && md.kind == recordMessage {
			at.peer = md.originSeq
			break
		}
		if md.ordinal <= row.readIncoming || record.Prev == 0 {
			break // what came before is told already, or there is none
		}
		if record, ok = v.Entry(log, record.Prev); !ok || !md.parse(record.Meta) {
			break
		}
	}
	return at
}

// recordAt returns the newest record of the conversation at or before seq.
func recordAt(v View, log godwit.LogID, row *conversationRow, seq godwit.Seq) (godwit.Record, bool) {
	if seq >= row.last {
		return v.Entry(log, row.last)
	}
	if r, ok := v.Entry(log, seq); ok && uint64(r.Conv) == row.number {
		return r, true
	}
	page := godwit.Page{Newest: row.last, Before: seq + 1, Limit: 1, BytesMax: 1}
	records, _ := v.Conversation(log, uint32(row.number), page, nil)
	if len(records) == 0 {
		return godwit.Record{}, false
	}
	return records[0], true
}

// ordinalBefore counts incoming messages through seq by the record behind it.
func ordinalBefore(v View, log godwit.LogID, row *conversationRow, seq godwit.Seq) uint64 {
	page := godwit.Page{Newest: row.last, After: seq, Forward: true, Limit: 1, BytesMax: 1}
	records, _ := v.Conversation(log, uint32(row.number), page, nil)
	var md meta
	if len(records) == 0 || !md.parse(records[0].Meta) {
		return row.incoming
	}
	if md.isCounted() {
		return md.ordinal - min(md.ordinal, 1)
	}
	return md.ordinal
}

// lookAtChannel finds the ordinals in the group's log.
func (c *markChange) lookAtChannel(v View) (command []byte, next step) {
	row, group := c.channel, bytesOf(c.key.peer[2:])
	var g groupRow
	value, ok := v.Get(appendGroupKey(nil, group))
	switch {
	case ok && !g.parse(value):
		return c.refuse(godwit.ErrInternal)
	case !ok || g.logID(group) != row.groupLog:
		return c.refuse(godwit.ErrNotMember)
	case c.delivered > g.head || c.read > g.head:
		return c.refuse(godwit.ErrBadCursor)
	case c.read <= row.read && max(c.delivered, c.read) <= row.delivered:
		return nil, stepDone
	}
	m := &c.command
	m.channel, m.total = true, g.messages
	m.delivered, m.read = c.delivered, c.read
	m.peerDelivered, m.peerRead = c.delivered, c.read
	if c.read != 0 {
		m.ordinal = channelOrdinal(v, row.groupLog, c.read, g.messages)
	}
	return c.propose(c.key.user.Partition())
}

// channelOrdinal counts the messages of a group's log through gseq. What was
// erased counts as what follows it says.
func channelOrdinal(v View, log godwit.LogID, gseq godwit.Seq, messages uint64) uint64 {
	var md meta
	if r, ok := v.Entry(log, gseq); ok && md.parse(r.Meta) {
		return md.ordinal
	}
	records := v.Since(log, gseq, 1, 1, nil)
	switch {
	case len(records) == 0 || !md.parse(records[0].Meta):
		return messages
	case md.kind == recordMessage:
		return md.ordinal - min(md.ordinal, 1)
	}
	return md.ordinal
}
