//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// peopleChangeMax bounds the users that one command adds and removes together.
const peopleChangeMax = 1000

// peopleList says which of a user's lists of people is meant. The numbers are
// part of the log's format.
type peopleList uint8

const (
	listBlocked  peopleList = 1 // whose messages, marks and typing do not reach him
	listContacts peopleList = 2 // who may start a conversation, and see his presence
)

// row is the letter of the list's rows.
func (l peopleList) row() byte {
	if l == listContacts {
		return rowContact
	}
	return rowBlock
}

// peopleCommand changes a list of one user. What is added twice, or removed and
// not there, changes nothing.
type peopleCommand struct {
	list        peopleList
	user        []byte
	add, remove reader // of adds and removes ids, each behind its length
	adds        uint64
	removes     uint64
}

func appendPeople(dst []byte, home godwit.Partition, list peopleList, user godwit.UserID, add, remove [][]byte) []byte {
	dst = appendShort(append(appendHeader(dst, kindPeople, home), byte(list)), bytesOf(user))
	for _, ids := range [...][][]byte{add, remove} {
		dst = binary.AppendUvarint(dst, uint64(len(ids)))
		for _, id := range ids {
			dst = appendShort(dst, id)
		}
	}
	return dst
}

func (c *peopleCommand) parse(r *reader) bool {
	c.list, c.user = peopleList(r.u8()), r.short()
	c.adds, c.add = takeIDs(r, c.user)
	c.removes, c.remove = takeIDs(r, c.user)
	return r.done() && (c.list == listBlocked || c.list == listContacts) && godwit.ValidID(c.user) &&
		c.adds+c.removes >= 1 && c.adds+c.removes <= peopleChangeMax
}

// takeIDs takes a count and so many ids, none of which is not. r is bad if they
// are not valid.
func takeIDs(r *reader, not []byte) (count uint64, ids reader) {
	count = r.uvarint()
	start := r.b
	if count > peopleChangeMax {
		r.bad = true
		return 0, ids
	}
	for range count {
		if id := r.short(); !godwit.ValidID(id) || string(id) == string(not) {
			r.bad = true
			return 0, ids
		}
	}
	return count, reader{b: start[:len(start)-len(r.b)]}
}

func (c *peopleCommand) reads(_ header, put func(key []byte)) {
	p := userOf(c.user).Partition()
	put(appendKey(nil, p, rowCounter))
	put(appendUserKey(nil, p, c.user))
	for _, ids := range [...]reader{c.add, c.remove} {
		for !ids.done() {
			put(appendPeerKey(nil, p, c.list.row(), c.user, ids.short()))
		}
	}
}

// appendPeerKey is the key of what a user holds of another: rowBlock, rowContact.
func appendPeerKey(dst []byte, p godwit.Partition, row byte, user, peer []byte) []byte {
	return append(appendOwnedPrefix(dst, p, row, user), peer...)
}
