package godwit

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// The JSON side of the decoder: RFC 8259 in valid UTF-8 (checked for the whole
// frame at once), and narrower where the RFC leaves a choice. A known name comes
// at most once in an object; names are compared exactly; null stands for an
// absent member; an escaped lone surrogate is malformed; numbers are integers.

// depthMax bounds the nesting of a value that is skipped.
const depthMax = 32

// token skips whitespace and returns the next byte without taking it; 0 at the end.
func (d *decoder) token() byte {
	for ; d.pos < len(d.src); d.pos++ {
		switch c := d.src[d.pos]; c {
		case ' ', '\t', '\n', '\r':
		case 0:
			return 1 // never valid, and not the end
		default:
			return c
		}
	}
	return 0
}

func (d *decoder) expect(c byte) {
	if d.token() != c {
		d.malformed()
		return
	}
	d.pos++
}

// literal takes the word if it comes next.
func (d *decoder) literal(word string) bool {
	d.token()
	end := d.pos + len(word)
	if end > len(d.src) || string(d.src[d.pos:end]) != word {
		return false
	}
	d.pos = end
	return true
}

// nextMember reads members up to the next known one that is not null.
func (d *decoder) nextMember(m *message) bool {
	for d.separator(&m.begun, '}') {
		m.field = m.fields.lookup(d.quoted())
		d.expect(':')
		switch bit := uint32(1) << m.field; {
		case d.err != nil:
			return false
		case m.field == 0:
			m.unknown = d.skipValue(depthMax) || m.unknown
		case m.seen&bit != 0:
			d.refused = true
			d.skipValue(depthMax)
		default:
			m.seen |= bit
			if !d.literal("null") {
				return true
			}
		}
	}
	return false
}

// nextElement goes to the next element of an array. Its elements can't be null.
func (d *decoder) nextElement(l *list) bool {
	if !l.begun {
		if d.expect('['); d.err != nil {
			return false
		}
	}
	l.done = !d.separator(&l.begun, ']')
	return !l.done
}

// separator takes what stands before the next member or element, or the closing
// byte, and then returns false. What must follow a comma is for those who read it.
func (d *decoder) separator(begun *bool, closing byte) bool {
	c := d.token()
	switch {
	case d.err != nil:
		return false
	case c == closing:
		d.pos++
		return false
	case !*begun:
		*begun = true
		return true
	case c != ',':
		d.malformed()
		return false
	}
	d.pos++
	return true
}

// quoted reads a string. Without escapes it aliases src, else scratch.
func (d *decoder) quoted() []byte {
	d.expect('"')
	if d.err != nil {
		return nil
	}
	rest := d.src[d.pos:]
	n := plainLen(rest)
	switch {
	case n < len(rest) && rest[n] == '"':
		d.pos += n + 1
		return rest[:n:n]
	case n < len(rest) && rest[n] == '\\':
		return d.unescape(n)
	}
	d.malformed() // a control character, or no end
	return nil
}

// unescape reads the string at pos into scratch; its first plain bytes need
// nothing.
func (d *decoder) unescape(plain int) []byte {
	start := len(d.scratch)
	d.scratch = append(d.scratch, d.src[d.pos:d.pos+plain]...)
	d.pos += plain
	for d.pos < len(d.src) {
		switch d.src[d.pos] {
		case '"':
			d.pos++
			return d.scratch[start:len(d.scratch):len(d.scratch)]
		case '\\':
			if !d.escape() {
				d.malformed()
				return nil
			}
		}
		n := plainLen(d.src[d.pos:])
		d.scratch = append(d.scratch, d.src[d.pos:d.pos+n]...)
		if d.pos += n; d.pos < len(d.src) && d.src[d.pos] < 0x20 {
			break
		}
	}
	d.malformed()
	return nil
}

// escape reads one escape sequence.
func (d *decoder) escape() bool {
	if d.pos+1 >= len(d.src) {
		return false
	}
	c := d.src[d.pos+1]
	if c == 'u' {
		return d.escapeUnicode()
	}
	i := bytes.IndexByte([]byte(`"\/bfnrt`), c)
	if i < 0 {
		return false
	}
	d.scratch = append(d.scratch, "\"\\/\b\f\n\r\t"[i])
	d.pos += 2
	return true
}

func (d *decoder) escapeUnicode() bool {
	r := d.hex4()
	if utf16.IsSurrogate(r) {
		r = utf16.DecodeRune(r, d.hex4())
		if r == utf8.RuneError {
			return false // a lone surrogate
		}
	}
	if r < 0 {
		return false
	}
	d.scratch = utf8.AppendRune(d.scratch, r)
	return true
}

// hex4 takes \uXXXX and returns its value, or -1.
func (d *decoder) hex4() rune {
	s := d.src[d.pos:]
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range s[2:6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	d.pos += 6
	return r
}

// number reads a number; ok is false when it is no integer from 0 to 2^64-1.
func (d *decoder) number() (v uint64, ok bool) {
	negative := d.token() == '-'
	if negative {
		d.pos++
	}
	v, ok = d.digits(false)
	if d.pos < len(d.src) && d.src[d.pos] == '.' {
		d.pos++
		d.digits(true)
		ok = false
	}
	if d.pos < len(d.src) && d.src[d.pos]|0x20 == 'e' {
		d.pos++
		if d.pos < len(d.src) && (d.src[d.pos] == '+' || d.src[d.pos] == '-') {
			d.pos++
		}
		d.digits(true)
		ok = false
	}
	return v, ok && !negative
}

// digits reads one or more digits; a leading zero stands alone unless it may
// lead. ok is false when the value passes 2^64-1.
func (d *decoder) digits(mayLeadZero bool) (v uint64, ok bool) {
	start := d.pos
	ok = true
	for ; d.pos < len(d.src); d.pos++ {
		c := uint64(d.src[d.pos] - '0')
		if c > 9 {
			break
		}
		if v > (1<<64-1-c)/10 {
			ok = false
		}
		v = v*10 + c
	}
	n := d.pos - start
	if n == 0 || n > 1 && !mayLeadZero && d.src[start] == '0' {
		d.malformed()
	}
	return v, ok
}

// skipValue reads any value and reports whether it was other than null.
func (d *decoder) skipValue(depth int) bool {
	if depth == 0 {
		d.malformed()
		return true
	}
	c := d.token()
	switch {
	case c == '{':
		d.skipObject(depth)
	case c == '[':
		d.pos++
		for begun := false; d.separator(&begun, ']'); {
			d.skipValue(depth - 1)
		}
	case c == '"':
		d.quoted()
	case c == '-' || '0' <= c && c <= '9':
		d.number()
	case d.literal("null"):
		return false
	case !d.literal("true") && !d.literal("false"):
		d.malformed()
	}
	return true
}

func (d *decoder) skipObject(depth int) {
	d.pos++
	for begun := false; d.separator(&begun, '}'); {
		d.quoted()
		if d.expect(':'); d.err != nil {
			return
		}
		d.skipValue(depth - 1)
	}
}
