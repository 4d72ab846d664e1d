//tidy:apply

package chat

import (
	"github.com/godwit-im/godwit"
)

// apply stores one message in the group's log. A repeat gets the first answer
// also if its sender is no longer a member: it is about what he sent as one.
func (c *groupSendCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	b := &c.block
	group, from := b.to[2:], b.from[2:]
	if st.group(groupOfID(group).Partition()) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	g, ok := a.group(tx, group)
	if g.log == 0 {
		return outcome{refusal: godwit.ErrNotMember}
	}
	m := a.member(tx, group, from)
	now := max(g.time, tx.Stamp())
	identity, content := b.identityHash(), b.contentHash()
	if row, have := tx.Get(a.keyOf(appendGroupDedupKey(a.key[:0], group, from, identity))); have {
		var d dedupRow
		if !d.parse(row) {
			panic("BUG: dedup row does not parse")
		}
		switch {
		case d.expired(st, m.sendsIn(&g), now):
		case d.content != content:
			return outcome{refusal: godwit.ErrConflict}
		default:
			return outcome{log: g.logID(group), gseq: d.seq, time: d.time, dup: true, conv: b.to, channel: g.inChannel(d.seq)}
		}
	}
	switch {
	case !ok || !m.isMember() && !c.operator:
		return outcome{refusal: godwit.ErrNotMember}
	case c.clientTime > 0 && now-c.clientTime > int64(st.dedupWindowMS):
		return outcome{refusal: godwit.ErrTooOld}
	}
	g.time = now
	g.messages++
	if m.since != 0 {
		m.sends++
		a.putMember(tx, group, from, &m)
	}
	sends := m.sendsIn(&g)
	seq := a.enter(tx, group, &g, meta{}, b.raw, false)
	a.putGroup(tx, group, &g)
	d := dedupRow{send: sends, seq: seq, time: now, content: content}
	a.value = d.append(a.value[:0])
	tx.Put(a.keyOf(appendGroupDedupKey(a.key[:0], group, from, identity)), a.value)
	if sends%trimEvery == 0 {
		a.effects.groupTrims = append(a.effects.groupTrims, [2][]byte{group, from})
	}
	return outcome{log: g.logID(group), gseq: seq, time: now, conv: b.to, channel: g.inChannel(seq)}
}

// sendsIn counts what the window of a member's repeats is measured in. The operator
// may send as who never was a member: then all messages of the group count.
func (m *memberRow) sendsIn(g *groupRow) uint64 {
	if m.since == 0 {
		return g.messages
	}
	return m.sends
}

// apply deletes those of the named rows that are outside the window.
func (c *groupTrimCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	if st.group(groupOfID(c.group).Partition()) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	g, _ := a.group(tx, c.group)
	m := a.member(tx, c.group, c.user)
	for hashes := c.hashes; !hashes.done(); {
		var d dedupRow
		row, ok := tx.Get(a.keyOf(appendGroupDedupKey(a.key[:0], c.group, c.user, hashes.u64())))
		if ok && d.parse(row) && d.expired(st, m.sendsIn(&g), g.time) {
			tx.Delete(a.key)
		}
	}
	return outcome{}
}

// apply edits or recalls a message: its author may, within the window; admins and
// the owner may recall what others wrote. A repeat changes nothing.
func (c *groupReviseCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	group := c.block.to[2:]
	if st.group(groupOfID(group).Partition()) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	g, ok := a.group(tx, group)
	if !ok || c.seq > g.head {
		return outcome{refusal: godwit.ErrNoMessage}
	}
	m := a.member(tx, group, c.by)
	g.time = max(g.time, tx.Stamp())
	own := string(c.by) == string(c.author)
	var o overlayRow
	row, have := tx.Get(a.keyOf(appendGroupOverlayKey(a.key[:0], group, c.seq)))
	if have && !o.parse(row) {
		panic("BUG: overlay row does not parse")
	}
	content := c.block.contentHash()
	switch {
	case c.operator:
	case !m.isMember() || !m.maySee(c.seq, g.flags&groupHistoryAll != 0), !own && (!c.recall || m.role < roleAdmin):
		return outcome{refusal: godwit.ErrNoMessage}
	}
	switch {
	case o.isRecalled() && !c.recall:
		return outcome{refusal: godwit.ErrNoMessage}
	case o.isRecalled(), have && o.content == content && !c.recall:
		return outcome{log: g.logID(group), gseq: o.last, time: o.time, dup: true, conv: c.block.to}
	case !c.operator && st.policy.editWindowMS > 0 && g.time-c.time > int64(st.policy.editWindowMS):
		return outcome{refusal: godwit.ErrTooLate}
	}
	if !have {
		g.overlays++
	}
	kind := recordEdit
	if c.recall {
		kind = recordRecall
		o.flags |= overlayRecalled
	}
	o.last = a.enter(tx, group, &g, meta{kind: kind, origin: g.logID(group), originSeq: c.seq}, c.block.raw, false)
	o.time, o.content, o.revision = g.time, content, o.revision+1
	a.value = o.append(a.value[:0])
	tx.Put(a.keyOf(appendGroupOverlayKey(a.key[:0], group, c.seq)), a.value)
	a.putGroup(tx, group, &g)
	return outcome{log: g.logID(group), gseq: o.last, time: g.time, conv: c.block.to}
}
