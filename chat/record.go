//tidy:apply

package chat

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// meta is what a record holds beside the block: which side of the conversation
// the log is on, the ordinal, and where an incoming message came from.
type meta struct {
	incoming  bool
	ordinal   uint64       // incoming messages of this conversation so far
	origin    godwit.LogID // incoming only: the sender's log and sequence
	originSeq godwit.Seq
}

const metaIncoming = 1 << 0

func (m *meta) append(dst []byte) []byte {
	if !m.incoming {
		return binary.AppendUvarint(append(dst, 0), m.ordinal)
	}
	dst = binary.AppendUvarint(append(dst, metaIncoming), m.ordinal)
	dst = binary.AppendUvarint(appendPartition(dst, m.origin.Partition()), logNumber(m.origin))
	return binary.AppendUvarint(dst, uint64(m.originSeq))
}

func (m *meta) parse(src []byte) bool {
	r := reader{b: src}
	flags := r.u8()
	m.ordinal = r.uvarint()
	if flags == 0 {
		return r.done()
	}
	p, number := r.partition(), r.uvarint()
	m.incoming, m.origin, m.originSeq = true, godwit.NewLogID(p, number), r.seq()
	return r.done() && flags == metaIncoming && number > 0 && number < 1<<48 && m.originSeq > 0
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

// entry fills e from a stored record of log; e's slices alias the record. It is
// false if the record is not one that apply wrote.
func (m messageIDs) entry(e *godwit.Entry, log godwit.LogID, r *godwit.Record) bool {
	var md meta
	b, ok := parseBlock(r.Body)
	if !ok || !md.parse(r.Meta) {
		return false
	}
	origin, originSeq := log, r.Seq
	if md.incoming {
		origin, originSeq = md.origin, md.originSeq
	}
	*e = godwit.Entry{Seq: r.Seq}
	b.message(&e.Msg, md.incoming, r.Time)
	m.make(&e.Msg.MID, origin, originSeq)
	return true
}

// message fills all of m but its id.
func (b *block) message(m *godwit.Message, incoming bool, time int64) {
	m.Conv = b.to
	if incoming {
		m.Conv = b.from
	}
	m.From, m.CID, m.Time = b.from[2:], b.cid, time
	m.Body, m.Text, m.Type = b.body, b.text, b.typ
}
