//tidy:apply

package chat

import (
	"bytes"

	"github.com/godwit-im/godwit"
)

func (c *groupCreateCommand) apply(a *applier, tx Tx, h header, st *settings) outcome {
	p := groupOfID(c.group).Partition()
	if st.group(p) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	if g, ok := a.group(tx, c.group); ok || g.log != 0 {
		if !bytes.Equal(g.creator, c.by) {
			return outcome{refusal: godwit.ErrConflict} // two names of the same hash
		}
		m := a.member(tx, c.group, c.by)
		return groupOutcome(c.group, &g, m.current(), 1, true)
	}
	others := uint64(0)
	for user := range c.users.each {
		if !bytes.Equal(user, c.by) {
			others++
		}
	}
	if others+1 > uint64(st.policy.membersMax) {
		return outcome{refusal: godwit.ErrMembers}
	}
	g := groupRow{
		log: a.allotLog(tx, p), time: tx.Stamp(), created: tx.Stamp(), flags: uint64(c.flags),
		name: c.name, creator: c.by, owner: c.by, members: others + 1, version: 1,
	}
	change := groupChange{
		do: doCreate, by: c.by, has: hasAll, name: c.name,
		open: c.flags&groupOpen != 0, all: c.flags&groupHistoryAll != 0,
	}
	places := places{a: a, tx: tx, group: c.group}
	for n := range c.buckets() {
		places.list.add(n)
	}
	a.admit(&places, &g, c.by, roleOwner, 1)
	for user := range c.users.each {
		if !bytes.Equal(user, c.by) {
			a.admit(&places, &g, user, roleMember, 1)
			change.add(user)
		}
	}
	places.flush()
	g.room = places.lowest()
	seq := a.change(tx, st, c.group, &g, &change)
	a.putGroup(tx, c.group, &g)
	return groupOutcome(c.group, &g, roleOwner, seq, false)
}

// admit makes a user a member, by the entry since.
func (a *applier) admit(p *places, g *groupRow, user []byte, r role, since godwit.Seq) {
	m := a.member(p.tx, p.group, user)
	if m.left != 0 {
		copy(m.spans[1:], m.spans[:memberSpansMax-1])
		m.spans[0] = [2]godwit.Seq{m.since, m.left}
	}
	m.role, m.since, m.left = r, since, 0
	m.bucket = uint64(p.take(&bucketEntry{user: user, role: r, since: since}))
	g.buckets = max(g.buckets, m.bucket+1)
	a.putMember(p.tx, p.group, user, &m)
}

// current is the member's role now.
func (m *memberRow) current() role {
	if m.isMember() {
		return m.role
	}
	return roleNone
}

func (c *groupChangeCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	if st.group(groupOfID(c.group).Partition()) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	g, ok := a.group(tx, c.group)
	if !ok {
		return outcome{refusal: godwit.ErrNotMember}
	}
	asker := roleNone
	if len(c.by) > 0 {
		m := a.member(tx, c.group, c.by)
		asker = m.current()
	}
	power := asker
	if c.operator {
		power = roleOperator
	}
	switch {
	case power != roleNone:
	case c.do == doJoin && g.flags&groupOpen != 0:
	default:
		return outcome{refusal: godwit.ErrNotMember}
	}
	if c.do == doJoin && asker != roleNone {
		return groupOutcome(c.group, &g, asker, g.head, true)
	}
	g.time = max(g.time, tx.Stamp())
	k := groupChanging{applier: a, tx: tx, st: st, c: c, g: &g, asker: asker, power: power}
	k.change = groupChange{do: c.do, by: c.by}
	switch c.do {
	case doSet:
		return k.set()
	case doAdd, doJoin:
		return k.add()
	case doRemove:
		return k.remove()
	case doLeave:
		return k.leave()
	case doRole:
		return k.giveRole()
	}
	panic("BUG: a change of a group that parses and is unknown")
}

// roleOperator is above all roles; it is never stored.
const roleOperator role = 255

// groupChanging is one change while it is applied. Until done, which writes the
// group's row, a step returns a refusal only as long as nothing was written.
type groupChanging struct {
	*applier
	tx     Tx
	st     *settings
	c      *groupChangeCommand
	g      *groupRow
	asker  role
	power  role // asker's, or the operator's
	change groupChange
}

func (k *groupChanging) refuse(e *godwit.Error) outcome { return outcome{refusal: e} }

// same: what was asked for is so already.
func (k *groupChanging) same() outcome { return groupOutcome(k.c.group, k.g, k.asker, k.g.head, true) }

// done enters the change; asker is his role after it.
func (k *groupChanging) done(asker role) outcome {
	g := k.g
	if g.members == 0 {
		g.flags |= groupDissolved
	}
	seq := k.applier.change(k.tx, k.st, k.c.group, g, &k.change)
	o := groupOutcome(k.c.group, g, asker, seq, false) // before the row it aliases is gone
	k.putGroup(k.tx, k.c.group, g)
	return o
}

// set: the name is the admins', who may join and what they see the owner's.
func (k *groupChanging) set() outcome {
	c, g := k.c, k.g
	flags := g.flags
	if c.has&hasJoin != 0 {
		flags = flags&^groupOpen | uint64(c.flags&groupOpen)
	}
	if c.has&hasHistory != 0 {
		flags = flags&^groupHistoryAll | uint64(c.flags&groupHistoryAll)
	}
	switch {
	case k.power < roleAdmin, c.has&(hasJoin|hasHistory) != 0 && k.power < roleOwner:
		return k.refuse(godwit.ErrForbidden)
	case flags == g.flags && (c.has&hasName == 0 || bytes.Equal(c.name, g.name)):
		return k.same()
	}
	g.flags = flags
	k.change.has = c.has
	k.change.open, k.change.all = flags&groupOpen != 0 && c.has&hasJoin != 0, flags&groupHistoryAll != 0 && c.has&hasHistory != 0
	if c.has&hasName != 0 {
		g.name, k.change.name = c.name, c.name
	}
	return k.done(k.asker)
}

// add: those who are members already are left out.
func (k *groupChanging) add() outcome {
	c, g := k.c, k.g
	if c.do == doAdd && k.power < roleAdmin {
		return k.refuse(godwit.ErrForbidden)
	}
	for user := range c.users.each {
		if m := k.member(k.tx, c.group, user); !m.isMember() {
			k.change.add(user)
		}
	}
	places := places{a: k.applier, tx: k.tx, group: c.group, list: c.buckets}
	switch {
	case k.change.users == 0:
		return k.same()
	case g.members+k.change.users > uint64(k.st.policy.membersMax):
		return k.refuse(godwit.ErrMembers)
	case places.room(k.change.users) < k.change.users:
		return k.refuse(godwit.ErrUnavailable)
	}
	for user := range k.change.named() {
		k.admit(&places, g, user, roleMember, g.head+1)
	}
	places.flush()
	if g.places() == c.places {
		g.room = places.lowest()
	}
	g.members += k.change.users
	g.version++
	asker := k.asker
	if c.do == doJoin {
		asker = roleMember
	}
	return k.done(asker)
}

// remove: only who has a lower role, and only members.
func (k *groupChanging) remove() outcome {
	c := k.c
	if k.power < roleAdmin {
		return k.refuse(godwit.ErrForbidden)
	}
	for user, bucket := range c.users.each {
		m := k.member(k.tx, c.group, user)
		switch {
		case !m.isMember():
			continue
		case m.role >= k.power:
			return k.refuse(godwit.ErrForbidden)
		case m.bucket != uint64(bucket):
			return k.refuse(godwit.ErrUnavailable)
		}
		k.change.add(user)
	}
	if k.change.users == 0 {
		return k.same()
	}
	for user := range k.change.named() {
		k.end(user)
	}
	asker := k.asker
	if k.change.names(c.by) { // the operator in a user's name
		asker = roleNone
	}
	return k.done(asker)
}

// leave: the owner hands the group over first, unless he is the last.
func (k *groupChanging) leave() outcome {
	user, bucket := k.c.users.only()
	m := k.member(k.tx, k.c.group, user)
	switch {
	case !m.isMember():
		return k.refuse(godwit.ErrNotMember) // the operator in the name of who is none
	case m.bucket != uint64(bucket):
		return k.refuse(godwit.ErrUnavailable)
	case m.role == roleOwner && k.g.members > 1:
		return k.refuse(godwit.ErrForbidden)
	}
	k.change.add(user)
	k.end(user)
	return k.done(roleNone)
}

// end ends a membership by the next entry.
func (k *groupChanging) end(user []byte) {
	m, g := k.member(k.tx, k.c.group, user), k.g
	if m.role == roleOwner {
		g.owner = nil
	}
	m.left = g.head + 1
	// A channel's fan-out goes by what entries name: once all have the boundary, nobody
	// looks for former members in the buckets.
	atOnce := g.isChannel() && g.fanned >= g.boundary
	k.putMember(k.tx, k.c.group, user, &m)
	if !k.relist(k.tx, k.c.group, user, uint32(m.bucket), func(e *bucketEntry) bool { e.left = m.left; return !atOnce }) {
		panic("BUG: a member is not listed in his bucket")
	}
	if atOnce {
		g.room = min(g.room, m.bucket)
		g.freed++
	}
	g.members--
	g.version++
}

// giveRole: only the owner, who then is an admin if it is his own.
func (k *groupChanging) giveRole() outcome {
	c, g := k.c, k.g
	if k.power < roleOwner {
		return k.refuse(godwit.ErrForbidden)
	}
	for user, bucket := range c.users.each {
		m := k.member(k.tx, c.group, user)
		switch {
		case !m.isMember():
			return k.refuse(godwit.ErrNotMember)
		case m.role == c.role:
			continue
		case m.role == roleOwner:
			return k.refuse(godwit.ErrForbidden) // he gives it to another
		case m.bucket != uint64(bucket):
			return k.refuse(godwit.ErrUnavailable)
		}
		k.change.add(user)
	}
	if k.change.users == 0 {
		return k.same()
	}
	asker := k.asker
	if c.role == roleOwner {
		if !bytes.Equal(g.owner, c.owner) {
			return k.refuse(godwit.ErrUnavailable)
		}
		if len(c.owner) > 0 {
			m := k.member(k.tx, c.group, c.owner)
			if m.bucket != c.ownerBucket {
				return k.refuse(godwit.ErrUnavailable)
			}
			k.rank(c.owner, roleAdmin)
			if bytes.Equal(c.owner, c.by) {
				asker = roleAdmin
			}
		}
		g.owner, _ = c.users.only()
	}
	for user := range k.change.named() {
		k.rank(user, c.role)
		if bytes.Equal(user, c.by) {
			asker = c.role
		}
	}
	k.change.role = c.role
	g.version++
	return k.done(asker)
}

func (k *groupChanging) rank(user []byte, r role) {
	m := k.member(k.tx, k.c.group, user)
	m.role = r
	k.putMember(k.tx, k.c.group, user, &m)
	if !k.relist(k.tx, k.c.group, user, uint32(m.bucket), func(e *bucketEntry) bool { e.role = r; return true }) {
		panic("BUG: a member is not listed in his bucket")
	}
}
