package http1

import "bytes"

// HeadersMax bounds the header fields of a request.
const HeadersMax = 64

// HeadMaxBytes is the customary bound of a request head.
const HeadMaxBytes = 8 << 10

// Header is one field; the value is without the white space around it.
type Header struct{ Name, Value []byte }

// Request is the head of a request. All slices alias the window given to Parse
// and die with it. A Request is large (3 KiB): keep one per loop and parse every
// head into it.
type Request struct {
	Method []byte // upper-case letters
	Path   []byte // as sent, in its one spelling; begins with "/"
	Query  []byte // as sent, without the "?"
	Target []byte // path, and the query with its "?"
	Host   []byte // nil only for HTTP/1.0
	Minor  int    // of the version HTTP/1.x: 0 or 1

	bodyLen int64 // ChunkedLength, or the Content-Length, or 0
	count   int
	headers [HeadersMax]Header
}

// ChunkedLength is the BodyLen of a chunked body, whose size shows at its end.
const ChunkedLength = -1

// Headers returns the fields in their order.
func (r *Request) Headers() []Header { return r.headers[:r.count] }

// Get returns the value of the first field of that name, nil if there is none;
// case does not matter. Where a second field would be an attack, see Count.
func (r *Request) Get(name string) []byte {
	for i := range r.Headers() {
		if equalFold(r.headers[i].Name, name) {
			return r.headers[i].Value
		}
	}
	return nil
}

// Count returns how many fields have the name.
func (r *Request) Count(name string) int {
	n := 0
	for i := range r.Headers() {
		if equalFold(r.headers[i].Name, name) {
			n++
		}
	}
	return n
}

// HasToken reports whether the comma-separated lists in the fields of that name
// hold the token; case does not matter (RFC 9110 section 5.6.1).
func (r *Request) HasToken(name, token string) bool {
	for i := range r.Headers() {
		if !equalFold(r.headers[i].Name, name) {
			continue
		}
		var item []byte
		for rest, more := r.headers[i].Value, true; more; {
			item, rest, more = bytes.Cut(rest, comma)
			if equalFold(trimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

var comma = []byte{','}

// BodyLen returns the length of the body that follows the head: 0 without one,
// ChunkedLength if it comes in chunks.
func (r *Request) BodyLen() int64 { return r.bodyLen }

// HasBody reports whether body bytes follow the head.
func (r *Request) HasBody() bool { return r.bodyLen != 0 }

// CheckBody refuses a body that announces more than maxBytes. A chunked body
// announces nothing: count it while reading.
func (r *Request) CheckBody(maxBytes int64) error {
	if r.bodyLen > maxBytes {
		return ErrBodyTooLarge
	}
	return nil
}

// KeepAlive reports whether the connection may carry another request after the
// answer (RFC 9112 section 9.3).
func (r *Request) KeepAlive() bool {
	if r.HasToken("Connection", "close") {
		return false
	}
	return r.Minor >= 1 || r.HasToken("Connection", "keep-alive")
}
