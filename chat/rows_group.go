//tidy:apply

package chat

import (
	"github.com/godwit-im/godwit"
)

// Rows of a group lie in the partition of its id, beside its log.

func appendGroupKey(dst []byte, group []byte) []byte {
	return append(append(appendKey(dst, groupOfID(group).Partition(), rowGroup), 0, 0), group...)
}

// appendGroupPrefix begins the keys of a group's buckets and members.
func appendGroupPrefix(dst []byte, row byte, group []byte) []byte {
	return appendShort(append(appendKey(dst, groupOfID(group).Partition(), row), 0, 0), group)
}

func appendBucketKey(dst []byte, group []byte, n uint32) []byte {
	dst = appendGroupPrefix(dst, rowBucket, group)
	return append(dst, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func appendMemberKey(dst []byte, group, user []byte) []byte {
	return append(appendGroupPrefix(dst, rowMember, group), user...)
}

func appendPendingKey(dst []byte, group []byte) []byte {
	return append(append(appendKey(dst, groupOfID(group).Partition(), rowPending), 0, 0), group...)
}

func groupOfID(b []byte) godwit.GroupID { return stringOf[godwit.GroupID](b) }

// groupRow is a group and the counts of its log.
type groupRow struct {
	log      uint64     // number of the log in its partition
	time     int64      // log time
	head     godwit.Seq // of the log
	messages uint64     // countable ones in the log: the ordinal of its head
	members  uint64
	buckets  uint64 // bucket rows, full or not
	room     uint64 // the lowest bucket that may have room
	version  uint64 // raised by every change of members
	fanned   godwit.Seq
	boundary godwit.Seq // entries after it come by the channel; 0: it is not one
	flags    uint64
	created  int64
	name     []byte // aliases the row
	creator  []byte
	owner    []byte     // empty: he was removed and his heir is not named yet
	overlays uint64     // messages of it that were edited or recalled
	freed    uint64     // times that former members left room in a bucket
	expired  godwit.Seq // entries up to here are gone: they were older than the group keeps them
	gone     uint64     // messages through expired: nobody has them to read
}

const (
	groupOpen       = 1 << 0 // who knows the id may join
	groupHistoryAll = 1 << 1 // members see what came before they joined
	groupDissolved  = 1 << 2 // its last member left: nobody may do anything
	groupFlags      = groupOpen | groupHistoryAll | groupDissolved
)

func (g *groupRow) append(dst []byte) []byte {
	dst = appendShort(appendShort(dst, g.creator), g.owner)
	dst = append(append(dst, byte(len(g.name)>>8), byte(len(g.name))), g.name...)
	return appendFields(dst, 12, g.log, uint64(g.time), uint64(g.head), g.messages, g.members, g.buckets, g.room,
		g.version, uint64(g.fanned), uint64(g.boundary), g.flags, uint64(g.created), g.overlays, g.freed, uint64(g.expired), g.gone)
}

func (g *groupRow) parse(src []byte) bool {
	r := reader{b: src}
	g.creator, g.owner = r.short(), r.short()
	g.name = r.take(int(r.u16()))
	g.log, g.time, g.head, g.messages, g.members = r.uvarint(), r.millis(), r.seq(), r.uvarint(), r.uvarint()
	g.buckets, g.room, g.version, g.fanned, g.boundary = r.uvarint(), r.uvarint(), r.uvarint(), r.seq(), r.seq()
	g.flags, g.created = r.uvarint(), r.millis()
	r.rest(&g.overlays, &g.freed, (*uint64)(&g.expired), &g.gone)
	return r.done() && g.log > 0 && g.fanned <= g.head && g.boundary <= g.head && g.expired <= g.fanned && g.gone <= g.messages
}

// places is a number that changes whenever there may be more or less room.
func (g *groupRow) places() uint64 { return g.version + g.freed }

func (g *groupRow) isChannel() bool { return g.boundary != 0 }

// inChannel: an entry is not in members' logs, unless it concerns whose log it is.
func (g *groupRow) inChannel(gseq godwit.Seq) bool { return g.isChannel() && gseq > g.boundary }

func (g *groupRow) logID(group []byte) godwit.LogID {
	return godwit.NewLogID(groupOfID(group).Partition(), g.log)
}

// bucketMembers is how many members one bucket row lists: few enough to be
// written for each that comes or goes, many enough to read a group in few rows.
const bucketMembers = 64

// bucketEntry is a member of a group, or one who left and whose log may still
// lack entries of the time before (left > fanned).
type bucketEntry struct {
	user  []byte
	role  role
	since godwit.Seq // the entry that made him a member: the first in his log
	left  godwit.Seq // the entry that ended it: the last in his log; 0: he is one
}

type role uint8

const (
	roleNone   role = 0
	roleMember role = 1
	roleAdmin  role = 2
	roleOwner  role = 3
)

func (r role) String() string {
	switch r {
	case roleMember:
		return godwit.RoleMember
	case roleAdmin:
		return godwit.RoleAdmin
	case roleOwner:
		return godwit.RoleOwner
	}
	return ""
}

func (e *bucketEntry) append(dst []byte) []byte {
	return appendFields(append(appendShort(dst, e.user), byte(e.role)), 2, uint64(e.since), uint64(e.left))
}

// nextBucketEntry takes an entry off a bucket row; ok is false at its end and
// where it is damaged (then r.bad).
func nextBucketEntry(r *reader) (e bucketEntry, ok bool) {
	if len(r.b) == 0 {
		return e, false
	}
	e = bucketEntry{user: r.short(), role: role(r.u8()), since: r.seq(), left: r.seq()}
	return e, !r.bad
}

// memberRow is what a group knows of a user who is or was a member.
type memberRow struct {
	bucket    uint64
	role      role
	since     godwit.Seq
	left      godwit.Seq // 0: he is a member
	delivered godwit.Seq // marks, in sequences of the group's log
	read      godwit.Seq
	sends     uint64 // messages of his in the group; the number of the last one
	// spans are earlier memberships, newest first, as pairs since, left; the oldest
	// are forgotten: what came in them is then no longer readable from the group.
	spans [memberSpansMax][2]godwit.Seq
}

const memberSpansMax = 8

func (m *memberRow) append(dst []byte) []byte {
	fields := make([]uint64, 0, 7+2*memberSpansMax)
	fields = append(fields, m.bucket, uint64(m.role), uint64(m.since), uint64(m.left), uint64(m.delivered), uint64(m.read), m.sends)
	for _, s := range m.spans {
		fields = append(fields, uint64(s[0]), uint64(s[1]))
	}
	return appendFields(dst, 4, fields...)
}

func (m *memberRow) parse(src []byte) bool {
	r := reader{b: src}
	m.bucket = r.uvarint()
	m.role, m.since, m.left = role(r.uvarint()), r.seq(), r.seq()
	r.rest((*uint64)(&m.delivered), (*uint64)(&m.read), &m.sends)
	for i := range m.spans {
		r.rest((*uint64)(&m.spans[i][0]), (*uint64)(&m.spans[i][1]))
	}
	return r.done() && m.role <= roleOwner && m.since > 0
}

func (m *memberRow) isMember() bool { return m.since != 0 && m.left == 0 }

// maySee tells whether an entry of the group's log lies in a membership, or
// before one when the group shows all of its history to members.
func (m *memberRow) maySee(gseq godwit.Seq, all bool) bool {
	if m.isMember() && (all || gseq >= m.since) {
		return true
	}
	if m.left != 0 && gseq >= m.since && gseq <= m.left {
		return true
	}
	for _, s := range m.spans {
		if s[0] != 0 && gseq >= s[0] && gseq <= s[1] {
			return true
		}
	}
	return false
}
