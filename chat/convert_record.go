package chat

import "github.com/godwit-im/godwit"

// shown says what a record is to the reader of its log.
type shown uint8

const (
	shownBroken  shown = iota // not one that apply wrote
	shownSkip                 // nothing to see, or no longer
	shownEntry                // filled
	shownPointer              // it stands in a group's log
)

// message fills all of m but its id.
func (b *block) message(m *godwit.Message, incoming bool, time int64) {
	m.Conv = b.to
	if incoming && isDirect(b.to) {
		m.Conv = b.from
	}
	m.From, m.CID, m.Time = b.from[2:], b.cid, time
	m.Body, m.Text, m.Type = b.body, b.text, b.typ
}

// message fills e from a message, an edit or a recall of log; e's slices alias the
// record. An edit and a recall have the id of the message they are of.
func (m messageIDs) message(e *godwit.Entry, md *meta, log godwit.LogID, r *godwit.Record) shown {
	b, ok := parseBlock(r.Body)
	if !ok {
		return shownBroken
	}
	origin, seq := log, r.Seq
	if md.hasOrigin() {
		origin, seq = md.origin, md.originSeq
	}
	*e = godwit.Entry{Seq: r.Seq}
	b.message(&e.Msg, md.incoming, r.Time)
	switch md.kind {
	case recordEdit:
		e.Kind, e.Msg.CID = godwit.EntryEdit, nil
	case recordRecall:
		e.Kind = godwit.EntryRecall
		e.Msg.CID, e.Msg.Body, e.Msg.Text, e.Msg.Type = nil, nil, false, nil
	}
	m.make(&e.Msg.MID, origin, seq)
	return shownEntry
}

// groupEntry fills e from a record of a group's log, as all members see it.
func (m messageIDs) groupEntry(e *godwit.Entry, md *meta, group godwit.GroupID, log godwit.LogID, r *godwit.Record) shown {
	if !md.parse(r.Meta) {
		return shownBroken
	}
	result := shownBroken
	switch md.kind {
	case recordMessage, recordEdit, recordRecall:
		result = m.message(e, md, log, r)
	case recordChange:
		result = changeEntry(e, group, r)
	}
	e.Seq, e.GSeq = 0, r.Seq
	return result
}

// changeEntry fills e from a recordChange of a group.
func changeEntry(e *godwit.Entry, group godwit.GroupID, r *godwit.Record) shown {
	c, ok := parseGroupChange(r.Body)
	if !ok {
		return shownBroken
	}
	g := &godwit.GroupChange{
		Conv: godwit.ConversationID("g:" + group), By: userOf(c.by), Time: r.Time, Do: c.do.String(), Count: uint32(c.count),
	}
	if c.has&hasName != 0 {
		g.Name = string(c.name)
	}
	if c.has&hasJoin != 0 {
		g.Join = joinName(c.open)
	}
	if c.has&hasHistory != 0 {
		g.History = historyName(c.all)
	}
	if c.do == doRole {
		g.Role = c.role.String()
	}
	for user := range c.named() {
		g.Users = append(g.Users, userOf(user))
	}
	*e = godwit.Entry{Kind: godwit.EntryGroup, Group: g}
	return shownEntry
}

func joinName(open bool) string {
	if open {
		return godwit.JoinOpen
	}
	return godwit.JoinInvite
}

func historyName(all bool) string {
	if all {
		return godwit.HistoryAll
	}
	return godwit.HistoryJoined
}
