package godwit

import (
	"errors"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// UserID names a user: 1 to 64 bytes of ASCII letters, digits and "-_.@+~=|".
// The embedding product chooses it; the server never interprets it.
type UserID string

// GroupID names a group, with the same alphabet as UserID.
type GroupID string

// ConversationID names a conversation as its reader sees it: "u:bob" is the
// reader's 1:1 conversation with bob, "g:42" the group 42.
type ConversationID string

// Seq is the position of an entry in one log: 1, 2, 3 … without gaps. Zero
// means "before the first". It stays below 2^53 so that a browser can hold it.
type Seq uint64

// SeqMax is the largest sequence a log may reach and a client may name.
const SeqMax Seq = 1<<53 - 1

// SessionID names one live connection at this process's edge. It is never
// reused while the process lives; its bits are the edge's business.
type SessionID uint64

// Limits of identifiers, in bytes.
const (
	IDBytesMax     = 64
	CIDBytesMax    = 64
	DeviceBytesMax = 64
	TypeBytesMax   = 64
)

// ErrBadID refuses a user, group, conversation, device or client id that is
// empty, too long or outside the alphabet.
var ErrBadID = errors.New("id must be 1 to 64 ASCII letters, digits or -_.@+~=|")

// ValidID reports whether id may name a user, a group or a device, or be a
// client id.
func ValidID[T ~string | ~[]byte](id T) bool {
	if len(id) == 0 || len(id) > IDBytesMax {
		return false
	}
	for i := range len(id) {
		if !idByte[id[i]] {
			return false
		}
	}
	return true
}

var idByte = func() (table [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@+~=|") {
		table[c] = true
	}
	return table
}()

// ParseUserID accepts a user id.
func ParseUserID(s string) (UserID, error) {
	if !ValidID(s) {
		return "", ErrBadID
	}
	return UserID(s), nil
}

// Direct returns the id of the 1:1 conversation with peer.
func Direct(peer UserID) ConversationID { return ConversationID("u:" + string(peer)) }

// ParseConversationID accepts "u:bob", "g:42", or a bare user id as short for
// its 1:1 conversation.
func ParseConversationID(s string) (ConversationID, error) {
	switch {
	case ValidID(s):
		return Direct(UserID(s)), nil
	case (strings.HasPrefix(s, "u:") || strings.HasPrefix(s, "g:")) && ValidID(s[2:]):
		return ConversationID(s), nil
	}
	return "", ErrBadID
}

// Peer returns the other user of a 1:1 conversation; ok is false for a group.
func (c ConversationID) Peer() (peer UserID, ok bool) {
	if strings.HasPrefix(string(c), "u:") {
		return UserID(c[2:]), true
	}
	return "", false
}

// Partitions is the number of logical partitions. It is part of every format
// and never changes.
const Partitions = 1024

// Partition is one of the Partitions logical shards of all logs.
type Partition uint16

// Partition returns the partition that owns the user's log: the top ten bits
// of XXH64 (seed 0) over "u:" and the id. Test vectors: docs/formats/partition.md.
func (u UserID) Partition() Partition { return partitionOf("u:", string(u)) }

// Partition returns the partition that owns the group's log: the top ten bits
// of XXH64 (seed 0) over "g:" and the id.
func (g GroupID) Partition() Partition { return partitionOf("g:", string(g)) }

func partitionOf(kind, id string) Partition {
	var buf [2 + IDBytesMax]byte
	b := append(append(buf[:0], kind...), id...)
	return Partition(xxhash.Sum64(b) >> 54)
}
