package http1

import "bytes"

// QueryValue appends the decoded value of the query field of that name to dst.
// found is false if there is none; ok is false if the name stands twice, so that
// nobody behind us may pick the other one. A "+" is a plus.
func (r *Request) QueryValue(dst []byte, name string) (value []byte, found, ok bool) {
	for rest, more := r.Query, true; more; {
		var field []byte
		field, rest, more = bytes.Cut(rest, ampersand)
		key, encoded, _ := bytes.Cut(field, equals)
		if string(key) != name {
			continue
		}
		if found {
			return dst, true, false
		}
		found = true
		dst = appendDecoded(dst, encoded)
	}
	return dst, found, true
}

var ampersand, equals = []byte{'&'}, []byte{'='}

// appendDecoded resolves the escapes, which Parse has checked.
func appendDecoded(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' {
			c = unhex(b[i+1])<<4 | unhex(b[i+2])
			i += 2
		}
		dst = append(dst, c)
	}
	return dst
}
