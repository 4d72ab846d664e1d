package godwit

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// encoder appends one frame to dst. The frame's messages are written once for
// both encodings, field by field by number: the table of the open message gives
// the JSON name. A method whose name ends in Opt leaves a zero value out; the
// others leave it out in Protobuf only, as proto3 does.
//
// Values live on the stack of AppendTo and nothing here escapes, so that a frame
// costs no allocation but dst's growth.
type encoder struct {
	enc    Encoding
	dst    []byte
	fields fields // of the open message
}

// opened remembers what close needs.
type opened struct {
	start int    // of the message's content
	outer fields // of the enclosing message
}

// begin opens the frame itself, which has no name and no length of its own.
func (e *encoder) begin(fs fields) {
	e.fields = fs
	if e.enc == EncodingJSON {
		e.dst = append(e.dst, '{')
	}
}

func (e *encoder) end() []byte {
	if e.enc == EncodingJSON {
		e.dst = append(e.dst, '}')
	}
	return e.dst
}

// open starts the message in field n, whose own fields are fs.
func (e *encoder) open(n int, fs fields) opened {
	e.key(n)
	return e.content(fs)
}

// element starts the next message of the repeated field n, within array(n).
func (e *encoder) element(n int, fs fields) opened {
	e.next(n)
	return e.content(fs)
}

func (e *encoder) content(fs fields) opened {
	o := opened{outer: e.fields}
	e.fields = fs
	// '{' in JSON; in Protobuf room for the shortest length, which close sets.
	e.dst = append(e.dst, '{')
	o.start = len(e.dst)
	return o
}

func (e *encoder) close(o opened) {
	e.fields = o.outer
	if e.enc == EncodingJSON {
		e.dst = append(e.dst, '}')
	} else {
		e.dst = setLength(e.dst, o.start)
	}
}

// setLength writes len(dst)-start as a varint before start, where one byte is
// free, and moves the content on when the length needs more.
func setLength(dst []byte, start int) []byte {
	size := len(dst) - start
	if size < 0x80 {
		dst[start-1] = byte(size)
		return dst
	}
	var prefix [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(prefix[:], uint64(size))
	dst = append(dst, prefix[1:n]...) // only to grow by n-1
	copy(dst[start-1+n:], dst[start:start+size])
	copy(dst[start-1:], prefix[:n])
	return dst
}

// array starts the repeated field n; each element follows by element or item.
func (e *encoder) array(n int) {
	if e.enc == EncodingJSON {
		e.key(n)
		e.dst = append(e.dst, '[')
	}
}

func (e *encoder) endArray() {
	if e.enc == EncodingJSON {
		e.dst = append(e.dst, ']')
	}
}

// item writes the next string of the repeated field n.
func (e *encoder) item(n int, v []byte) {
	e.next(n)
	e.value(v)
}

// next writes what stands before an element: a comma or the tag.
func (e *encoder) next(n int) {
	if e.enc == EncodingJSON {
		e.comma()
	} else {
		e.tag(n)
	}
}

// key writes what stands before a value: its name or its tag.
func (e *encoder) key(n int) {
	if e.enc == EncodingProto {
		e.tag(n)
		return
	}
	e.comma()
	e.dst = append(e.dst, '"')
	e.dst = append(e.dst, e.fields[n].name...)
	e.dst = append(e.dst, '"', ':')
}

func (e *encoder) comma() {
	if c := e.dst[len(e.dst)-1]; c != '{' && c != '[' {
		e.dst = append(e.dst, ',')
	}
}

// tag writes a tag of one byte, or two from field 16 on (a test bounds them to 31).
func (e *encoder) tag(n int) {
	if n < 16 {
		e.dst = append(e.dst, byte(n)<<3|e.fields[n].wire())
	} else {
		e.dst = append(e.dst, byte(n)<<3|e.fields[n].wire()|0x80, byte(n>>4))
	}
}

func (e *encoder) uint(n int, v uint64) {
	if e.enc == EncodingJSON {
		e.key(n)
		e.dst = strconv.AppendUint(e.dst, v, 10)
	} else if v != 0 {
		e.tag(n)
		e.dst = binary.AppendUvarint(e.dst, v)
	}
}

func (e *encoder) uintOpt(n int, v uint64) {
	if v != 0 {
		e.uint(n, v)
	}
}

// uintPresent writes a value whose presence tells something, zero or not.
func (e *encoder) uintPresent(n int, v uint64) {
	if v != 0 || e.enc == EncodingJSON {
		e.uint(n, v)
	} else {
		e.tag(n)
		e.dst = append(e.dst, 0)
	}
}

func (e *encoder) bool(n int, v bool) {
	switch {
	case e.enc == EncodingJSON:
		e.key(n)
		e.dst = strconv.AppendBool(e.dst, v)
	case v:
		e.tag(n)
		e.dst = append(e.dst, 1)
	}
}

// boolOpt leaves false out in JSON, too.
func (e *encoder) boolOpt(n int, v bool) {
	if v {
		e.bool(n, v)
	}
}

// boolPresent writes a value whose presence tells something, false or not.
func (e *encoder) boolPresent(n int, v bool) {
	if v || e.enc == EncodingJSON {
		e.bool(n, v)
	} else {
		e.tag(n)
		e.dst = append(e.dst, 0)
	}
}

// str and strOpt convert without a copy: nothing below changes or keeps v.
func (e *encoder) str(n int, v string) { e.bytes(n, []byte(v)) }

func (e *encoder) strOpt(n int, v string) { e.bytesOpt(n, []byte(v)) }

func (e *encoder) bytes(n int, v []byte) {
	if len(v) != 0 || e.enc == EncodingJSON {
		e.text(n, v)
	}
}

func (e *encoder) bytesOpt(n int, v []byte) {
	if len(v) != 0 {
		e.text(n, v)
	}
}

// text writes a UTF-8 string, empty or not.
func (e *encoder) text(n int, v []byte) {
	e.key(n)
	e.value(v)
}

// value writes a string. Invalid UTF-8 would make the receiver refuse the whole
// frame, again at each resume, so bad bytes become U+FFFD.
func (e *encoder) value(v []byte) {
	if !utf8.Valid(v) {
		v = bytes.ToValidUTF8(v, []byte("\uFFFD"))
	}
	if e.enc == EncodingProto {
		e.dst = binary.AppendUvarint(e.dst, uint64(len(v)))
		e.dst = append(e.dst, v...)
		return
	}
	e.dst = append(e.dst, '"')
	e.dst = appendEscaped(e.dst, v)
	e.dst = append(e.dst, '"')
}

// data writes opaque bytes, empty or not: base64 in JSON.
func (e *encoder) data(n int, v []byte) {
	e.key(n)
	if e.enc == EncodingProto {
		e.dst = binary.AppendUvarint(e.dst, uint64(len(v)))
		e.dst = append(e.dst, v...)
		return
	}
	e.dst = append(e.dst, '"')
	e.dst = base64.StdEncoding.AppendEncode(e.dst, v)
	e.dst = append(e.dst, '"')
}

func (e *encoder) mid(n int, id MessageID) {
	e.key(n)
	if e.enc == EncodingProto {
		e.dst = id.AppendTo(append(e.dst, messageIDChars))
		return
	}
	e.dst = append(id.AppendTo(append(e.dst, '"')), '"')
}

// appendEscaped escapes what JSON requires and nothing else (RFC 8259, 7).
func appendEscaped(dst, v []byte) []byte {
	const hex = "0123456789abcdef"
	for {
		n := plainLen(v)
		dst = append(dst, v[:n]...)
		if n == len(v) {
			return dst
		}
		switch c := v[n]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		v = v[n+1:]
	}
}

// plainLen returns how many bytes stand in a JSON string as they are: those
// before the first quote, backslash or control character.
func plainLen(v []byte) int {
	i := 0
	for ; i+8 <= len(v); i += 8 {
		// A byte's top bit is set if it or, for want of a borrow, a byte after it
		// is one of these; the loop below then looks closely.
		w := binary.LittleEndian.Uint64(v[i:])
		if (lacks(w^(ones*'"'), 1)|lacks(w^(ones*'\\'), 1)|lacks(w, 0x20))&(ones<<7) != 0 {
			break
		}
	}
	for ; i < len(v); i++ {
		if c := v[i]; c < 0x20 || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

const ones = 0x0101010101010101

// lacks sets the top bit of every byte below n (n up to 0x80), exactly so for the
// lowest of them.
func lacks(w, n uint64) uint64 { return (w - ones*n) &^ w }
