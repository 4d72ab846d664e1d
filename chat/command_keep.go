//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// keepOp says what a keep command does. The numbers are part of the log's format.
type keepOp uint8

const (
	keepUser    keepOp = 1 // sets for how long a side of a 1:1 conversation is kept
	keepGroup   keepOp = 2 // the same of a group
	keepExpired keepOp = 3 // entries of a group's log go that are older than it keeps them
)

// keptByMax bounds the name of who set it, in bytes.
const keptByMax = 64

// keepCommand sets how long a conversation is kept, or takes from a group what is
// older. What is older in a user's log goes with conversationCommand, as if he had
// deleted it. Which fields it has depends on op.
type keepCommand struct {
	op   keepOp
	id   []byte // a user, or a group
	peer []byte // of keepUser: a user
	kept int64  // ms; 0: as long as all others
	by   []byte

	// of keepExpired, with kept as the leader found it
	before  int64 // entries with an older time go
	upTo    godwit.Seq
	ordinal uint64 // messages through upTo
}

func (c *keepCommand) append(dst []byte, home godwit.Partition) []byte {
	dst = appendShort(append(appendHeader(dst, kindKeep, home), byte(c.op)), c.id)
	if c.op == keepUser {
		dst = appendShort(dst, c.peer)
	}
	dst = binary.AppendUvarint(dst, uint64(c.kept))
	if c.op != keepExpired {
		return appendShort(dst, c.by)
	}
	for _, n := range [...]uint64{uint64(c.before), uint64(c.upTo), c.ordinal} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func (c *keepCommand) parse(r *reader) bool {
	c.op, c.id = keepOp(r.u8()), r.short()
	if c.op == keepUser {
		c.peer = r.short()
	}
	if c.kept = r.millis(); c.op == keepExpired {
		c.before, c.upTo, c.ordinal = r.millis(), r.seq(), r.uvarint()
	} else {
		c.by = r.short()
	}
	return r.done() && c.op >= keepUser && c.op <= keepExpired && godwit.ValidID(c.id) &&
		(c.op == keepUser) == godwit.ValidID(c.peer) && c.kept <= keptMax && len(c.by) <= keptByMax &&
		(c.op != keepExpired || c.kept > 0 && c.before > 0 && c.before < 1<<62 && c.upTo > 0 && c.ordinal <= 1<<62)
}

// key is that of the row. Users and groups have partitions by their ids alike.
func (c *keepCommand) key(dst []byte) []byte {
	if c.op == keepUser {
		return appendKeptKey(dst, userOf(c.id).Partition(), c.id, c.peer)
	}
	return appendKeptKey(dst, groupOfID(c.id).Partition(), nil, c.id)
}

func (c *keepCommand) reads(_ header, put func(key []byte)) {
	if c.op != keepUser {
		put(appendGroupKey(nil, c.id))
	}
	if c.op == keepExpired {
		put(c.key(nil))
	}
}

func (c *keepCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	p := userOf(c.id).Partition()
	var g groupRow
	if c.op != keepUser {
		p = groupOfID(c.id).Partition()
	}
	if st.group(p) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	if c.op != keepUser {
		if g, _ = a.group(tx, c.id); g.log == 0 {
			return outcome{refusal: godwit.ErrNotMember}
		}
	}
	switch {
	case c.op == keepExpired:
		return a.expireGroup(tx, c, &g)
	case c.kept == 0:
		tx.Delete(a.keyOf(c.key(a.key[:0])))
	default:
		k := keptRow{kept: c.kept, since: tx.Stamp(), by: c.by}
		a.value = k.append(a.value[:0])
		tx.Put(a.keyOf(c.key(a.key[:0])), a.value)
	}
	return outcome{}
}

// expireGroup erases what a group's log has of the time before. What members' logs
// have yet to get stays, and so does all if the rule is another one by now.
func (a *applier) expireGroup(tx Tx, c *keepCommand, g *groupRow) outcome {
	var k keptRow
	row, ok := tx.Get(a.keyOf(c.key(a.key[:0])))
	if ok && !k.parse(row) {
		panic("BUG: row of what is kept does not parse")
	}
	switch {
	case k.kept != c.kept, c.before+c.kept > tx.Stamp(), c.upTo > g.fanned, c.ordinal > g.messages:
		return outcome{refusal: godwit.ErrFrameInvalid}
	case c.upTo <= g.expired:
		return outcome{dup: true}
	}
	tx.Erase(g.logID(c.id), c.upTo)
	g.expired, g.gone = c.upTo, max(g.gone, c.ordinal)
	a.putGroup(tx, c.id, g)
	return outcome{}
}
