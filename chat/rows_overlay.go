//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// overlayRow is what became of a message: its last edit, or its recall. It lies
// beside the log that holds both, a user's or a group's.
type overlayRow struct {
	seq      godwit.Seq // of that edit or recall in the same log: its record has the body
	time     int64
	recalled bool
}

// appendOverlayKey names the overlay of a message in a user's log. The message is
// named by its origin, as its id is, so that an edit that arrives needs no search.
// (In a group's log a message is named by its sequence: appendGroupOverlayKey.)
func appendOverlayKey(dst []byte, p godwit.Partition, user []byte, origin godwit.LogID, seq godwit.Seq) []byte {
	dst = appendOwnedPrefix(dst, p, rowOverlay, user)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(origin)), uint64(seq))
}

func (o *overlayRow) append(dst []byte) []byte {
	recalled := uint64(0)
	if o.recalled {
		recalled = 1
	}
	return appendFields(dst, 2, uint64(o.seq), uint64(o.time), recalled)
}

func (o *overlayRow) parse(src []byte) bool {
	r := reader{b: src}
	var recalled uint64
	o.seq, o.time = r.seq(), r.millis()
	r.rest(&recalled)
	o.recalled = recalled == 1
	return r.done() && o.seq > 0 && recalled <= 1
}
