//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// eraseOp says what an erase command removes. The numbers are part of the log's
// format.
type eraseOp uint8

const (
	eraseExpired      eraseOp = 1 // entries of all logs of the group older than before
	eraseConversation eraseOp = 2 // of a user's log, with a peer
	eraseGroup        eraseOp = 3 // a group's log
	eraseRows         eraseOp = 4 // rows of a user, those named
	eraseUser         eraseOp = 5 // a user's log, once his rows are gone; and his tokens are void
)

// eraseRowsMax bounds the rows that one command removes.
const eraseRowsMax = 1000

// eraseCommand removes for good. Which fields it has depends on op.
type eraseCommand struct {
	op     eraseOp
	before int64
	id     []byte // a user, or a group
	peer   []byte
	count  uint64
	rows   reader // count letters, each with the rest of a key behind its length
}

func appendEraseHead(dst []byte, home godwit.Partition, op eraseOp) []byte {
	return append(appendHeader(dst, kindErase, home), byte(op))
}

func appendEraseExpired(dst []byte, home godwit.Partition, before int64) []byte {
	return binary.AppendUvarint(appendEraseHead(dst, home, eraseExpired), uint64(before))
}

// appendErase is a command of any op but eraseExpired; an eraseRows goes on with
// count rows.
func appendErase(dst []byte, home godwit.Partition, op eraseOp, id, peer []byte, count int) []byte {
	dst = appendShort(appendEraseHead(dst, home, op), id)
	switch op {
	case eraseConversation:
		dst = appendShort(dst, peer)
	case eraseRows:
		dst = binary.AppendUvarint(dst, uint64(count))
	}
	return dst
}

func (c *eraseCommand) parse(r *reader) bool {
	if c.op = eraseOp(r.u8()); c.op == eraseExpired {
		c.before = r.millis()
		return r.done() && c.before > 0
	}
	c.id = r.short()
	switch c.op {
	case eraseConversation:
		c.peer = r.short()
		if !godwit.ValidID(c.peer) {
			return false
		}
	case eraseGroup, eraseUser:
	case eraseRows:
		if c.count, c.rows = r.uvarint(), *r; c.count == 0 || c.count > eraseRowsMax {
			return false
		}
		for range c.count {
			if letter, rest := c.next(r); !isOwnedRow(letter) || len(rest) == 0 {
				return false
			}
		}
	default:
		return false
	}
	return r.done() && godwit.ValidID(c.id)
}

// owner is the partition of the user or group.
func (c *eraseCommand) owner() godwit.Partition {
	if c.op == eraseGroup {
		return groupOfID(c.id).Partition()
	}
	return userOf(c.id).Partition()
}

// next takes one row off r: its letter, and its key behind the owner.
func (c *eraseCommand) next(r *reader) (letter byte, rest []byte) { return r.u8(), r.short() }

// ownedRows are the rows of a user that an erase of his account removes.
const ownedRows = string(rowConversation) + string(rowDedup) + string(rowMark) + string(rowOverlay) +
	string(rowBlock) + string(rowContact) + string(rowDevice) + string(rowKept)

func isOwnedRow(letter byte) bool {
	for i := range len(ownedRows) {
		if ownedRows[i] == letter {
			return true
		}
	}
	return false
}

func (c *eraseCommand) reads(_ header, put func(key []byte)) {
	p := c.owner()
	switch c.op {
	case eraseExpired:
	case eraseGroup:
		put(appendGroupKey(nil, c.id))
	case eraseConversation:
		put(appendUserKey(nil, p, c.id))
		put(appendConversationKey(nil, p, c.id, c.peer))
	default:
		put(appendUserKey(nil, p, c.id))
		for rows := c.rows; !rows.done(); {
			letter, rest := c.next(&rows)
			put(appendPeerKey(nil, p, letter, c.id, rest))
		}
	}
}
