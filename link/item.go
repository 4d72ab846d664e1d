package link

import (
	"encoding/binary"
	"errors"

	"github.com/godwit-im/godwit"
)

// A batch is items one after another: a kind, the length of the rest as a varint,
// the rest. Numbers are varints, texts have their length before them, frames are
// in the Protobuf encoding. A kind that is not known is skipped, so that a later
// version may add one.
type itemKind byte

// From the edge process.
const (
	itemConnect    itemKind = 1 // session, flags, user, device, epoch, resume sequence, issued, number of channels, name and sequence of each, stamp
	itemDisconnect itemKind = 2 // session, user, device
	itemRequest    itemKind = 3 // session, user, frame to the end
	itemFetch      itemKind = 4 // session, user, after, limit, bytes
	itemReady      itemKind = 5 // nothing: clients may come
)

// From the engine process.
const (
	itemConnected itemKind = 16 // session, flags, epoch, head, start, reason, digest
	itemReply     itemKind = 17 // session, frame to the end
	itemDeliver   itemKind = 18 // number of sessions, sessions, event frame to the end
	itemFetched   itemKind = 19 // session, flags, head, number of entries, event frames
	itemClose     itemKind = 20 // session, code, reason
	itemDrain     itemKind = 21 // after ms, spread ms
	itemHint      itemKind = 22 // number of sessions, sessions, head
	itemTell      itemKind = 23 // number of sessions, sessions, frame to the end
	itemWhisper   itemKind = 24 // the same
)

const (
	flagResume = 1 << iota
	flagFailed
	flagChannels
	flagCall
)

var errItem = errors.New("link: malformed batch")

// lengthBytes is what each item's length takes: a varint of fixed width, so that
// it can be written last without moving the item.
const lengthBytes = 4

// itemBytesMax bounds one item; the length cannot say more.
const itemBytesMax = 1<<(7*lengthBytes) - 1

// begin appends the head of an item; end fills in its length.
func begin(dst []byte, kind itemKind) []byte { return append(dst, byte(kind), 0, 0, 0, 0) }

// end closes the item that begins at start, false if it is too long for one.
func end(dst []byte, start int) bool {
	size := len(dst) - start - 1 - lengthBytes
	if size > itemBytesMax {
		return false
	}
	b := dst[start+1:]
	b[0], b[1], b[2], b[3] = byte(size)|0x80, byte(size>>7)|0x80, byte(size>>14)|0x80, byte(size>>21)
	return true
}

func appendText[T ~string | ~[]byte](dst []byte, v T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
}

func appendSession(dst []byte, s godwit.SessionID) []byte {
	return binary.AppendUvarint(dst, uint64(s&sessionMask))
}

// fields reads one item. After bad everything reads as zero. What it returns
// aliases the batch.
type fields struct {
	rest []byte
	bad  bool
}

// nextItem cuts the first item of a batch.
func nextItem(batch []byte) (kind itemKind, item fields, rest []byte, err error) {
	size, n := binary.Uvarint(batch[1:])
	if n <= 0 || size > uint64(len(batch)-1-n) {
		return 0, item, nil, errItem
	}
	stop := 1 + n + int(size)
	return itemKind(batch[0]), fields{rest: batch[1+n : stop : stop]}, batch[stop:], nil
}

func (f *fields) uint() uint64 {
	v, n := binary.Uvarint(f.rest)
	if n <= 0 {
		f.bad, f.rest = true, nil
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

func (f *fields) text() []byte {
	size := f.uint()
	if size > uint64(len(f.rest)) {
		f.bad, f.rest = true, nil
		return nil
	}
	v := f.rest[:size:size]
	f.rest = f.rest[size:]
	return v
}

// session reads a session's id without the index of its process: whatever the
// peer wrote above is gone.
func (f *fields) session() godwit.SessionID { return godwit.SessionID(f.uint()) & sessionMask }

func (f *fields) seq() godwit.Seq { return godwit.Seq(f.uint()) }

// parseEntry reads an event frame with the memory of into and returns its entry.
func parseEntry(frame []byte, into *godwit.ServerFrame) (godwit.Entry, error) {
	if err := into.Parse(godwit.EncodingProto, frame); err != nil {
		return godwit.Entry{}, err
	}
	switch into.Kind {
	case godwit.KindEvent:
		return into.Event, nil
	case godwit.KindSkip:
		return godwit.Entry{Seq: into.Skip.From, SkipTo: into.Skip.To}, nil
	}
	return godwit.Entry{}, errItem
}
