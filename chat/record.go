//tidy:apply

package chat

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// meta is what a record holds beside its body: what it is, which side of the
// conversation the log is on, the ordinal, and where it came from.
type meta struct {
	kind      recordKind
	incoming  bool
	ordinal   uint64       // countable messages of this conversation so far
	origin    godwit.LogID // of all but one's own messages: the log and sequence that name it
	originSeq godwit.Seq
}

// recordKind says what the body of a record is. The numbers are stored.
type recordKind uint8

const (
	recordMessage  recordKind = 0 // a block
	recordMark     recordKind = 1 // apply_mark.go
	recordEdit     recordKind = 2 // a block with the new body; origin names the message
	recordRecall   recordKind = 3 // a block without a body; origin names the message
	recordPointer  recordKind = 4 // no body: the record of a group's log at origin
	recordChange   recordKind = 5 // of a group's log: a groupChange
	recordSettings recordKind = 6 // of a user's conversation
	recordKindMax             = recordSettings
)

const (
	metaIncoming = 1 << 0
	metaKind     = 4 // bits above are the kind
)

// hasOrigin: one's own messages and marks name nothing but themselves.
func (m *meta) hasOrigin() bool {
	return m.incoming || m.kind == recordEdit || m.kind == recordRecall || m.kind == recordPointer
}

// isCounted tells whether the record raised its conversation's ordinal.
func (m *meta) isCounted() bool {
	return m.incoming && (m.kind == recordMessage || m.kind == recordPointer)
}

func (m *meta) append(dst []byte) []byte {
	flags := byte(m.kind) << metaKind
	if m.incoming {
		flags |= metaIncoming
	}
	dst = binary.AppendUvarint(append(dst, flags), m.ordinal)
	if !m.hasOrigin() {
		return dst
	}
	dst = binary.AppendUvarint(appendPartition(dst, m.origin.Partition()), logNumber(m.origin))
	return binary.AppendUvarint(dst, uint64(m.originSeq))
}

func (m *meta) parse(src []byte) bool {
	r := reader{b: src}
	flags := r.u8()
	m.kind, m.incoming = recordKind(flags>>metaKind), flags&metaIncoming != 0
	m.ordinal = r.uvarint()
	if flags&^(metaIncoming|0xF<<metaKind) != 0 || m.kind > recordKindMax {
		return false
	}
	if !m.hasOrigin() {
		return r.done()
	}
	p, number := r.partition(), r.uvarint()
	m.origin, m.originSeq = godwit.NewLogID(p, number), r.seq()
	return r.done() && number > 0 && number < 1<<48 && m.originSeq > 0
}

// messageIDs makes message ids: one AES block over the origin, so that an id
// names its origin to the cluster and tells a client nothing.
type messageIDs struct{ block cipher.Block }

func newMessageIDs(key [16]byte) (messageIDs, error) {
	b, err := aes.NewCipher(key[:])
	return messageIDs{b}, err
}

// make writes the id of the message at (log, seq) to id, which must lie on the
// heap already: the cipher is behind an interface.
func (m messageIDs) make(id *godwit.MessageID, log godwit.LogID, seq godwit.Seq) {
	binary.BigEndian.PutUint64(id[:8], uint64(log))
	binary.BigEndian.PutUint64(id[8:], uint64(seq))
	m.block.Encrypt(id[:], id[:])
}
