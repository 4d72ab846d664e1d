package godwit

import (
	"encoding/base64"
	"unicode/utf8"
)

// decoder reads one frame from src. Like the encoder it serves both encodings:
//
//	for m := d.open(sendFields); d.next(&m); {
//		switch m.field {
//		case 1:
//			s.To = d.str()
//
// next skips what is unknown, so that a case only meets its own field, with the
// right wire type in Protobuf. After err nothing more is read and values mean
// nothing; refused marks a well-formed value that the protocol does not allow,
// and reading goes on, so that the frame's id is found wherever it stands.
//
// Byte slices it returns alias src or scratch.
type decoder struct {
	enc     Encoding
	src     []byte
	pos     int
	end     int // of the open message; Protobuf only
	scratch []byte
	lists   [2][][]byte // as in ClientFrame
	err     *Error
	refused bool
	unknown bool // a body is known and what it must hold is not
}

// message is the state of reading one message (in JSON, an object).
type message struct {
	fields  fields
	field   int    // number of the field to be read now
	outer   int    // Protobuf: end of the enclosing message
	seen    uint32 // bits of the fields met that may come only once
	begun   bool   // JSON: a member was read
	unknown bool   // something was skipped
}

// list is the state of reading one field that may repeat.
type list struct{ begun, done bool }

// listMax bounds the elements of a list in a client's frame: an empty string
// costs 3 bytes on the wire and a slice header of 24 in memory.
const listMax = 1024

func newDecoder(enc Encoding, src, scratch []byte) decoder {
	d := decoder{enc: enc, src: src, end: len(src), scratch: scratch[:0]}
	if enc == EncodingJSON && !utf8.Valid(src) {
		d.malformed()
	}
	return d
}

// begin opens the frame itself.
func (d *decoder) begin(fs fields) message {
	if d.enc == EncodingJSON {
		d.expect('{')
	}
	return message{fields: fs, outer: len(d.src)}
}

// finish returns what is wrong with the frame, the gravest first. empty tells
// that it has no body.
func (d *decoder) finish(empty bool, id uint64, m *message) error {
	if d.enc == EncodingJSON && d.err == nil && d.token() != 0 {
		d.malformed()
	}
	switch {
	case d.err != nil:
		return d.err
	case d.refused:
		return ErrFrameInvalid
	case d.unknown, empty && (id != 0 || m.unknown):
		return ErrFrameUnknown // a ping has nothing in it at all
	}
	return nil
}

// open starts the message in the current field.
func (d *decoder) open(fs fields) message {
	m := message{fields: fs, outer: d.end}
	if d.enc == EncodingJSON {
		d.expect('{')
	} else {
		d.end = d.pos + d.length()
	}
	return m
}

// next goes to the next field the schema knows. It returns false at the
// message's end, which it leaves behind, or after an error.
func (d *decoder) next(m *message) bool {
	if d.err != nil {
		return false
	}
	if d.enc == EncodingJSON {
		return d.nextMember(m)
	}
	return d.nextField(m)
}

// more goes to the next element of the current field: those of an array in JSON,
// the one at hand in Protobuf, where the field itself repeats.
func (d *decoder) more(l *list) bool {
	if d.err != nil || l.done {
		return false
	}
	if d.enc == EncodingProto {
		l.done = true
		return true
	}
	return d.nextElement(l)
}

func (d *decoder) malformed() {
	if d.err == nil {
		d.err = ErrFrameMalformed
	}
}

// uint reads an integer from 0 to most.
func (d *decoder) uint(most uint64) uint64 {
	var v uint64
	ok := true
	if d.enc == EncodingJSON {
		v, ok = d.number()
	} else {
		v = d.varint()
	}
	if !ok || v > most {
		d.refused = true
		return 0
	}
	return v
}

func (d *decoder) uint32() uint32 { return uint32(d.uint(1<<32 - 1)) }
func (d *decoder) big() uint64    { return d.uint(uint64(SeqMax)) }
func (d *decoder) seq() Seq       { return Seq(d.big()) }
func (d *decoder) time() int64    { return int64(d.big()) }

func (d *decoder) bool() bool {
	if d.enc == EncodingProto {
		return d.varint() != 0
	}
	if d.literal("true") {
		return true
	}
	if !d.literal("false") {
		d.malformed()
	}
	return false
}

// str reads a UTF-8 string.
func (d *decoder) str() []byte {
	if d.enc == EncodingJSON {
		return d.quoted()
	}
	v := d.raw()
	if !utf8.Valid(v) {
		d.malformed()
	}
	return v
}

// data reads opaque bytes; in JSON padded standard base64, without newlines.
func (d *decoder) data() []byte {
	if d.enc == EncodingProto {
		return d.raw()
	}
	text := d.quoted()
	for _, c := range text {
		if c == '\n' || c == '\r' { // the decoder would skip them
			d.malformed()
			return nil
		}
	}
	start := len(d.scratch)
	dst, err := dataEncoding.AppendDecode(d.scratch, text)
	if err != nil {
		d.malformed()
		return nil
	}
	d.scratch = dst
	return dst[start:len(dst):len(dst)]
}

// Strict: the same bytes have one text.
var dataEncoding = base64.StdEncoding.Strict()

// mid reads a message id; an empty one is the zero id, as if it were absent.
func (d *decoder) mid() MessageID {
	text := d.str()
	id, err := ParseMessageID(text)
	if err != nil && len(text) != 0 {
		d.refused = true
	}
	return id
}
