//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// overlayRow is what became of a message since it was stored: the record of its
// last edit or recall, in the log its owner reads, a user's or a group's.
type overlayRow struct {
	last     godwit.Seq // the record
	time     int64
	flags    uint64
	revision uint64 // how many there were
	content  uint64 // hash of the new body: a repeat is told by it
}

const overlayRecalled = 1 << 0

// appendOverlayKey names the overlay of a message in a user's log. The message is
// named by its origin, as its id is, so that an edit that arrives needs no search.
// (In a group's log a message is named by its sequence: appendGroupOverlayKey.)
func appendOverlayKey(dst []byte, p godwit.Partition, user []byte, origin godwit.LogID, seq godwit.Seq) []byte {
	dst = appendOwnedPrefix(dst, p, rowOverlay, user)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(origin)), uint64(seq))
}

func (o *overlayRow) append(dst []byte) []byte {
	return appendFields(dst, 5, uint64(o.last), uint64(o.time), o.flags, o.revision, o.content)
}

func (o *overlayRow) parse(src []byte) bool {
	r := reader{b: src}
	o.last, o.time, o.flags, o.revision, o.content = r.seq(), r.millis(), r.uvarint(), r.uvarint(), r.uvarint()
	return r.done() && o.last > 0
}

func (o *overlayRow) isRecalled() bool { return o.flags&overlayRecalled != 0 }
