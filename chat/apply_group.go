//tidy:apply

package chat

import (
	"bytes"
	"slices"

	"github.com/godwit-im/godwit"
)

// A group is a log and the rows of its members, all in the partition of its id.
// Members' own logs get pointers to its entries later, by the fan-out: what a
// command about a group changes is in one raft group only.

// groupConversation is the number of the one conversation of a group's log.
const groupConversation = 1

// group reads a group's row. ok is false for one that does not exist or is dissolved.
func (a *applier) group(tx Tx, id []byte) (g groupRow, ok bool) {
	row, have := tx.Get(a.keyOf(appendGroupKey(a.key[:0], id)))
	if !have {
		return g, false
	}
	if !g.parse(row) {
		panic("BUG: group row does not parse")
	}
	return g, g.flags&groupDissolved == 0
}

// putGroup's row may alias a row of the same key: it is written to scratch first.
func (a *applier) putGroup(tx Tx, id []byte, g *groupRow) {
	a.value = g.append(a.value[:0])
	tx.Put(a.keyOf(appendGroupKey(a.key[:0], id)), a.value)
}

// member reads what a group knows of a user; the zero row if nothing.
func (a *applier) member(tx Tx, group, user []byte) (m memberRow) {
	if row, ok := tx.Get(a.keyOf(appendMemberKey(a.key[:0], group, user))); ok && !m.parse(row) {
		panic("BUG: member row does not parse")
	}
	return m
}

func (a *applier) putMember(tx Tx, group, user []byte, m *memberRow) {
	a.value = m.append(a.value[:0])
	tx.Put(a.keyOf(appendMemberKey(a.key[:0], group, user)), a.value)
}

// enter appends a record to a group's log and asks for its fan-out. The caller
// has set the time and puts the row. personal: in a channel, too, it concerns
// the logs of some.
//
// A group's pending row exists exactly while fanned < head: what no log needs is
// fanned at once, unless something before it waits.
func (a *applier) enter(tx Tx, id []byte, g *groupRow, m meta, body []byte, personal bool) godwit.Seq {
	m.ordinal = g.messages
	a.meta = m.append(a.meta[:0])
	r := godwit.Record{Conv: groupConversation, Prev: g.head, Time: g.time, Meta: a.meta, Body: body}
	r.Seq = tx.Append(g.logID(id), r)
	r.Meta = slices.Clone(a.meta)
	channel := g.inChannel(r.Seq)
	waits := g.fanned < g.head
	g.head = r.Seq
	switch {
	case waits:
	case channel && !personal:
		g.fanned = r.Seq
	default:
		tx.Put(a.keyOf(appendPendingKey(a.key[:0], id)), nil)
	}
	a.effects.groups = append(a.effects.groups, groupEffect{group: id, log: g.logID(id), record: r, channel: channel, fanned: g.fanned == g.head})
	return r.Seq
}

// change appends the record of a change, and the one that makes the group a
// channel if it has become too large for members' logs.
func (a *applier) change(tx Tx, st *settings, id []byte, g *groupRow, c *groupChange) godwit.Seq {
	c.count = g.members
	seq := a.enter(tx, id, g, meta{kind: recordChange}, c.append(nil), c.do.isPersonal())
	if !g.isChannel() && g.members > uint64(st.policy.channelAbove) {
		g.boundary = g.head + 1
		becomes := groupChange{do: doChannel, by: c.by, count: g.members, boundary: g.boundary}
		a.enter(tx, id, g, meta{kind: recordChange}, becomes.append(nil), false)
	}
	return seq
}

// groupOutcome is the answer to who changed a group. extra is a *groupState: copies.
func groupOutcome(id []byte, g *groupRow, asker role, seq godwit.Seq, dup bool) outcome {
	row := *g
	row.name, row.creator, row.owner = bytes.Clone(g.name), nil, nil
	return outcome{log: g.logID(id), gseq: seq, time: g.time, dup: dup, extra: &groupState{row: row, role: asker}}
}

// groupState is what a reply tells of a group.
type groupState struct {
	row  groupRow
	role role
}

// places hands out room in the buckets that a command names.
type places struct {
	a     *applier
	tx    Tx
	group []byte
	list  bucketList

	at    uint32 // the bucket being filled
	row   []byte // its new value
	count int    // entries in it
	next  reader // of list: those not yet begun
	begun bool
}

// room counts what the named buckets can take, at most enough.
func (p *places) room(enough uint64) (n uint64) {
	for b := range p.list.each {
		_, count := p.load(b)
		if n += uint64(bucketMembers - min(bucketMembers, count)); n >= enough {
			break
		}
	}
	return n
}

func (p *places) load(bucket uint32) (row []byte, count int) {
	row, _ = p.tx.Get(p.a.keyOf(appendBucketKey(p.a.key[:0], p.group, bucket)))
	for r := (reader{b: row}); ; count++ {
		if _, ok := nextBucketEntry(&r); !ok {
			if r.bad {
				panic("BUG: bucket row does not parse")
			}
			return row, count
		}
	}
}

// take lists a member and returns his bucket. room has said that there is one.
func (p *places) take(e *bucketEntry) uint32 {
	if !p.begun {
		p.next, p.begun = reader{b: p.list.list}, true
		p.step()
	}
	for p.count >= bucketMembers {
		p.flush()
		p.step()
	}
	p.row = e.append(p.row)
	p.count++
	return p.at
}

func (p *places) step() {
	if len(p.next.b) == 0 {
		panic("BUG: a member without a place")
	}
	p.at = uint32(p.next.uvarint())
	row, count := p.load(p.at)
	p.row, p.count = append(p.row[:0], row...), count
}

// flush writes the bucket being filled.
func (p *places) flush() {
	if p.begun {
		p.tx.Put(p.a.keyOf(appendBucketKey(p.a.key[:0], p.group, p.at)), p.row)
	}
}

// lowest is the first bucket that may have room now.
func (p *places) lowest() uint64 {
	if p.count >= bucketMembers {
		return uint64(p.at) + 1
	}
	return uint64(p.at)
}

// relist changes a member's entry in his bucket, or takes it off if change says so;
// false if he is not in it: the leader looked at an older list.
func (a *applier) relist(tx Tx, group, user []byte, bucket uint32, change func(e *bucketEntry) (stays bool)) bool {
	key := a.keyOf(appendBucketKey(a.key[:0], group, bucket))
	row, _ := tx.Get(key)
	found := false
	a.value = a.value[:0]
	for r := (reader{b: row}); ; {
		e, ok := nextBucketEntry(&r)
		if !ok {
			break
		}
		if e.left == 0 && bytes.Equal(e.user, user) {
			found = true
			if !change(&e) {
				continue
			}
		}
		a.value = e.append(a.value)
	}
	if found {
		tx.Put(key, a.value)
	}
	return found
}
