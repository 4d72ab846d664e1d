//tidy:apply

package chat

import (
	"bytes"
	"encoding/binary"
	"iter"

	"github.com/godwit-im/godwit"
)

// changeDo says what a change of a group is. The numbers are stored.
type changeDo uint8

const (
	doCreate  changeDo = 1
	doSet     changeDo = 2
	doAdd     changeDo = 3
	doRemove  changeDo = 4
	doLeave   changeDo = 5
	doJoin    changeDo = 6
	doRole    changeDo = 7
	doChannel changeDo = 8 // later entries come by the channel
)

var changeNames = [...]string{
	doCreate: godwit.GroupCreate, doSet: godwit.GroupSet, doAdd: godwit.GroupAdd, doRemove: godwit.GroupRemove,
	doLeave: godwit.GroupLeave, doJoin: godwit.GroupJoin, doRole: godwit.GroupRole, doChannel: godwit.GroupBecomesChannel,
}

func (d changeDo) String() string {
	if int(d) < len(changeNames) {
		return changeNames[d]
	}
	return ""
}

// isPersonal: also those need the entry in their logs, in a channel, whom it names.
func (d changeDo) isPersonal() bool {
	return d == doAdd || d == doRemove || d == doLeave || d == doJoin
}

// What a change sets.
const (
	hasName    = 1 << 0
	hasJoin    = 1 << 1
	hasHistory = 1 << 2
	hasAll     = hasName | hasJoin | hasHistory
)

// groupChange is the body of a recordChange. Its slices alias the record.
type groupChange struct {
	do       changeDo
	by       []byte // a user; empty: the operator
	count    uint64 // members after it
	has      uint8  // of what follows
	name     []byte
	open     bool // the join policy
	all      bool // the visibility of history
	role     role
	boundary godwit.Seq // of doChannel: entries after it come by the channel
	users    uint64     // how many it names
	list     []byte     // as appendShort writes them
}

// named are the users a change names: who was added (by a creation, too),
// removed, left, joined or was given a role.
func (c *groupChange) named() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for r := (reader{b: c.list}); len(r.b) > 0; {
			if !yield(r.short()) {
				return
			}
		}
	}
}

// names tells whether a user is one of them.
func (c *groupChange) names(user []byte) bool {
	for named := range c.named() {
		if bytes.Equal(named, user) {
			return true
		}
	}
	return false
}

func (c *groupChange) add(user []byte) {
	c.list = appendShort(c.list, user)
	c.users++
}

func (c *groupChange) append(dst []byte) []byte {
	dst = append(appendShort(append(dst, byte(c.do)), c.by), c.has, changeFlags(c.open, c.all), byte(c.role))
	dst = appendName(dst, c.name)
	dst = binary.AppendUvarint(dst, c.count)
	dst = binary.AppendUvarint(dst, uint64(c.boundary))
	dst = binary.AppendUvarint(dst, c.users)
	return append(dst, c.list...)
}

// parseGroupChange reads the body of a recordChange.
func parseGroupChange(body []byte) (c groupChange, ok bool) {
	r := reader{b: body}
	c.do, c.by, c.has = changeDo(r.u8()), r.short(), r.u8()
	flags := r.u8()
	c.open, c.all = flags&groupOpen != 0, flags&groupHistoryAll != 0
	c.role = role(r.u8())
	c.name = r.take(int(r.u16()))
	c.count, c.boundary, c.users = r.uvarint(), r.seq(), r.uvarint()
	c.list = r.b
	if r.bad || c.do < doCreate || c.do > doChannel || c.has&^hasAll != 0 || flags&^(groupOpen|groupHistoryAll) != 0 ||
		c.role > roleOwner || (c.do == doChannel) != (c.boundary != 0) || c.count >= 1<<32 {
		return c, false
	}
	for range c.users {
		if len(r.short()) == 0 {
			return c, false
		}
	}
	return c, r.done()
}

func changeFlags(open, all bool) (flags byte) {
	if open {
		flags |= groupOpen
	}
	if all {
		flags |= groupHistoryAll
	}
	return flags
}

// appendName writes a string of up to 65535 bytes behind its length.
func appendName(dst, s []byte) []byte {
	return append(append(dst, byte(len(s)>>8), byte(len(s))), s...)
}
