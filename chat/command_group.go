//tidy:apply

package chat

import (
	"bytes"
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// changeUsersMax bounds the users of one command about a group: the service makes
// several of a longer list.
const changeUsersMax = godwit.GroupChangeUsersMax

// bucketsNamedMax bounds the buckets one command names.
const bucketsNamedMax = changeUsersMax + 2

// groupCreateCommand makes a group. Its creator owns it.
type groupCreateCommand struct {
	by    []byte
	group []byte
	name  []byte
	flags uint8 // groupOpen, groupHistoryAll
	users userList
}

func (c *groupCreateCommand) append(dst []byte, home godwit.Partition) []byte {
	dst = appendShort(appendShort(appendHeader(dst, kindGroupCreate, home), c.by), c.group)
	return c.users.append(appendName(append(dst, c.flags), c.name), false)
}

func (c *groupCreateCommand) parse(r *reader) bool {
	c.by, c.group, c.flags = r.short(), r.short(), r.u8()
	c.name = r.take(int(r.u16()))
	return c.users.parse(r, false) && r.done() && validGroup(c.group) && godwit.ValidID(c.by) &&
		c.flags&^(groupOpen|groupHistoryAll) == 0 && len(c.name) <= godwit.GroupNameBytesMax
}

func (c *groupCreateCommand) reads(_ header, put func(key []byte)) {
	put(appendGroupKey(nil, c.group))
	put(appendKey(nil, groupOfID(c.group).Partition(), rowCounter))
	put(appendMemberKey(nil, c.group, c.by))
	for user := range c.users.each {
		put(appendMemberKey(nil, c.group, user))
	}
	for n := range c.buckets() {
		put(appendBucketKey(nil, c.group, uint32(n)))
	}
}

// buckets is how many all of its members fill.
func (c *groupCreateCommand) buckets() uint64 {
	return (c.users.count + 1 + bucketMembers - 1) / bucketMembers
}

// groupChangeCommand changes what a group is or who is in it.
//
// Apply does not search: the leader has looked where members are listed and where
// there is room, and names it. What is no longer so is refused as temporary.
type groupChangeCommand struct {
	do       changeDo
	operator bool // asked for by the operator: roles do not count
	group    []byte
	by       []byte // may be empty if operator

	// doSet
	has   uint8
	name  []byte
	flags uint8

	// doRole; the owner as the leader saw him: if the role is his, he has to give it up
	role        role
	owner       []byte
	ownerBucket uint64

	// doAdd, doJoin: buckets with room, ascending: all there are from the group's
	// room on up to the last one, as of groupRow.places
	places  uint64
	buckets bucketList

	// all but doSet. For those that are members already with their buckets.
	users userList
}

const changeOperator = 1 << 0

func (c *groupChangeCommand) append(dst []byte, home godwit.Partition) []byte {
	flags := byte(0)
	if c.operator {
		flags |= changeOperator
	}
	dst = append(appendHeader(dst, kindGroupChange, home), byte(c.do), flags)
	dst = appendShort(appendShort(dst, c.group), c.by)
	switch c.do {
	case doSet:
		return appendName(append(dst, c.has, c.flags), c.name)
	case doRole:
		dst = binary.AppendUvarint(appendShort(append(dst, byte(c.role)), c.owner), c.ownerBucket)
	case doAdd, doJoin:
		dst = c.buckets.append(binary.AppendUvarint(dst, c.places))
	}
	return c.users.append(dst, c.withBuckets())
}

// withBuckets: the users are members, and the command says where they are listed.
func (c *groupChangeCommand) withBuckets() bool { return c.do != doAdd && c.do != doJoin }

func (c *groupChangeCommand) parse(r *reader) bool {
	c.do = changeDo(r.u8())
	flags := r.u8()
	c.operator = flags&changeOperator != 0
	c.group, c.by = r.short(), r.short()
	if r.bad || flags&^changeOperator != 0 || !validGroup(c.group) || !(godwit.ValidID(c.by) || c.operator && len(c.by) == 0) {
		return false
	}
	switch c.do {
	case doSet:
		c.has, c.flags = r.u8(), r.u8()
		c.name = r.take(int(r.u16()))
		return r.done() && c.has != 0 && c.has&^hasAll == 0 && c.flags&^(groupOpen|groupHistoryAll) == 0 &&
			len(c.name) <= godwit.GroupNameBytesMax
	case doRole:
		c.role, c.owner, c.ownerBucket = role(r.u8()), r.short(), r.uvarint()
		if c.role < roleMember || c.role > roleOwner || c.ownerBucket >= 1<<32 || len(c.owner) > 0 && !godwit.ValidID(c.owner) {
			return false
		}
	case doAdd, doJoin:
		c.places = r.uvarint()
		if !c.buckets.parse(r) {
			return false
		}
	case doRemove, doLeave:
	default:
		return false
	}
	if !c.users.parse(r, c.withBuckets()) || !r.done() || c.users.count == 0 {
		return false
	}
	switch only, _ := c.users.only(); {
	case c.do == doJoin, c.do == doLeave:
		return c.users.count == 1 && bytes.Equal(only, c.by)
	case c.role == roleOwner:
		return c.users.count == 1
	}
	return true
}

func (c *groupChangeCommand) reads(_ header, put func(key []byte)) {
	put(appendGroupKey(nil, c.group))
	if len(c.by) > 0 {
		put(appendMemberKey(nil, c.group, c.by))
	}
	if len(c.owner) > 0 {
		put(appendMemberKey(nil, c.group, c.owner))
		put(appendBucketKey(nil, c.group, uint32(c.ownerBucket)))
	}
	for n := range c.buckets.each {
		put(appendBucketKey(nil, c.group, n))
	}
	for user, bucket := range c.users.each {
		put(appendMemberKey(nil, c.group, user))
		if c.withBuckets() {
			put(appendBucketKey(nil, c.group, bucket))
		}
	}
}

// validGroup: the command is about a group at all.
func validGroup(id []byte) bool { return godwit.ValidID(id) }

// userList is up to changeUsersMax users, ascending so that none is named twice,
// each with a bucket if they are members.
type userList struct {
	count   uint64
	list    []byte
	buckets bool
}

func (l *userList) add(user []byte) {
	l.list = appendShort(l.list, user)
	l.count++
}

func (l *userList) addMember(user []byte, bucket uint64) {
	l.add(user)
	l.list, l.buckets = binary.AppendUvarint(l.list, bucket), true
}

func (l *userList) append(dst []byte, buckets bool) []byte {
	if l.count > 0 && buckets != l.buckets {
		panic("BUG: a list of users with buckets where none belong, or without")
	}
	return append(binary.AppendUvarint(dst, l.count), l.list...)
}

func (l *userList) parse(r *reader, buckets bool) bool {
	l.count, l.buckets = r.uvarint(), buckets
	l.list = r.b
	if r.bad || l.count > changeUsersMax {
		return false
	}
	var last []byte
	for range l.count {
		user := r.short()
		if !godwit.ValidID(user) || last != nil && bytes.Compare(last, user) >= 0 {
			return false
		}
		if buckets && r.uvarint() >= 1<<32 {
			return false
		}
		last = user
	}
	l.list = l.list[:len(l.list)-len(r.b)]
	return !r.bad
}

// each yields the users and their buckets, 0 where they have none.
func (l *userList) each(yield func(user []byte, bucket uint32) bool) {
	for r := (reader{b: l.list}); len(r.b) > 0; {
		user, bucket := r.short(), uint32(0)
		if l.buckets {
			bucket = uint32(r.uvarint())
		}
		if !yield(user, bucket) {
			return
		}
	}
}

// only is the one user of a list of one, and his bucket.
func (l *userList) only() (user []byte, bucket uint32) {
	for user, bucket = range l.each {
	}
	return user, bucket
}

// bucketList names buckets, ascending.
type bucketList struct {
	count uint64
	list  []byte // uvarints
	last  uint64
}

func (l *bucketList) add(n uint64) {
	l.list = binary.AppendUvarint(l.list, n)
	l.count, l.last = l.count+1, n
}

func (l *bucketList) append(dst []byte) []byte {
	return append(binary.AppendUvarint(dst, l.count), l.list...)
}

func (l *bucketList) parse(r *reader) bool {
	l.count, l.list = r.uvarint(), r.b
	if r.bad || l.count == 0 || l.count > bucketsNamedMax {
		return false
	}
	for i := range l.count {
		n := r.uvarint()
		if r.bad || n >= 1<<32-1 || i > 0 && n <= l.last {
			return false
		}
		l.last = n
	}
	l.list = l.list[:len(l.list)-len(r.b)]
	return true
}

func (l *bucketList) each(yield func(n uint32) bool) {
	for r := (reader{b: l.list}); len(r.b) > 0; {
		if !yield(uint32(r.uvarint())) {
			return
		}
	}
}
