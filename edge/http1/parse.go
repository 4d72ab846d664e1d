package http1

import (
	"bytes"
	"math"
)

// methodMaxBytes exceeds every registered method.
const methodMaxBytes = 24

// tlsHandshake is the first byte of a TLS ClientHello record.
const tlsHandshake = 0x16

// Parse reads the request head at the start of the window into r and returns its
// size, the empty line included: the next n bytes are body or another request.
// ErrMore asks for more bytes; any other error is an *Error. A head of more than
// maxBytes is refused as soon as so many bytes are there.
//
// After an error r says nothing. The window is not modified. The head is read anew at each call: a client that
// sends it in k pieces costs k readings of at most maxBytes.
func (r *Request) Parse(window []byte, maxBytes int) (n int, err error) {
	r.Method, r.Path, r.Query, r.Target, r.Host = nil, nil, nil, nil, nil
	r.Minor, r.bodyLen, r.count = 0, 0, 0
	full := len(window) >= maxBytes
	window = window[:min(len(window), maxBytes)]
	if len(window) > 0 && window[0] == tlsHandshake {
		return 0, ErrTLS
	}
	if len(window) > 0 && (window[0] < 'A' || window[0] > 'Z') {
		return 0, ErrMethod
	}

	line, n, err := nextLine(window, 0)
	if err == ErrMore && full {
		return 0, ErrTargetTooLong
	}
	if err != nil {
		return 0, err
	}
	if err := r.parseRequestLine(line); err != nil {
		return 0, err
	}
	for {
		line, n, err = nextLine(window, n)
		if err == ErrMore && full {
			return 0, ErrHeaderTooLarge
		}
		if err != nil {
			return 0, err
		}
		if len(line) == 0 {
			break
		}
		if err := r.parseHeader(line); err != nil {
			return 0, err
		}
	}
	if err := r.checkHost(); err != nil {
		return 0, err
	}
	if err := r.measureBody(); err != nil {
		return 0, err
	}
	return n, nil
}

// nextLine returns the line that begins at from, without its CRLF, and where
// the next one begins (RFC 9112 section 2.2; a bare LF is refused).
func nextLine(window []byte, from int) (line []byte, next int, err error) {
	i := bytes.IndexByte(window[from:], '\n')
	switch {
	case i < 0:
		return nil, 0, ErrMore
	case i == 0 || window[from+i-1] != '\r':
		return nil, 0, ErrLineEnd
	}
	end := from + i - 1
	return window[from:end:end], from + i + 1, nil
}

// parseRequestLine splits method, target and version, which stand apart by
// exactly one space (RFC 9112 section 3).
func (r *Request) parseRequestLine(line []byte) error {
	method, rest, found := bytes.Cut(line, space)
	if !found {
		return ErrRequestLine
	}
	if len(method) > methodMaxBytes || !isMethod(method) {
		return ErrMethod
	}
	r.Method = method
	if string(method) == "PRI" {
		return ErrHTTP2
	}
	target, version, found := bytes.Cut(rest, space)
	if !found || len(target) == 0 {
		return ErrRequestLine
	}
	if err := r.parseVersion(version); err != nil {
		return err
	}
	return r.parseTarget(target)
}

var space = []byte{' '}

// isMethod is stricter than a token: every registered method but one is written
// in capitals, and methods are compared with case.
func isMethod(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return len(b) > 0
}

// parseVersion takes HTTP/1.0 and HTTP/1.1 (RFC 9112 section 2.3).
func (r *Request) parseVersion(version []byte) error {
	if len(version) != len("HTTP/1.1") || string(version[:5]) != "HTTP/" || version[6] != '.' ||
		version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9' {
		return ErrRequestLine
	}
	if version[5] != '1' || version[7] > '1' {
		return ErrVersion
	}
	r.Minor = int(version[7] - '0')
	return nil
}

// parseTarget takes the origin form only (RFC 9112 section 3.2.1): proxies and
// CONNECT use the others, and no server behind us should see them.
func (r *Request) parseTarget(target []byte) error {
	if target[0] != '/' {
		return ErrTargetForm
	}
	r.Target = target
	r.Path, r.Query, _ = bytes.Cut(target, question)
	if err := checkPath(r.Path); err != nil {
		return err
	}
	for i, c := range r.Query {
		if !is(c, inQuery) && !isEscape(r.Query[i:]) {
			return ErrTargetCharacter
		}
	}
	return nil
}

var question = []byte{'?'}

// isEscape reports whether b begins with "%" and two hexadecimal digits.
func isEscape(b []byte) bool {
	return len(b) >= 3 && b[0] == '%' && is(b[1], isHex) && is(b[2], isHex)
}

// checkPath admits only paths that mean the same before and after decoding and
// cleaning: no empty, "." or ".." segment but the empty one at the end, and no
// escape of a character that could stand plainly, that separates or controls.
func checkPath(path []byte) error {
	for i, c := range path {
		switch {
		case c == '%':
			if !isEscape(path[i:]) {
				return ErrTargetCharacter
			}
			if d := unhex(path[i+1])<<4 | unhex(path[i+2]); is(d, isPlain) || d < ' ' || d == 0x7F || d == '/' || d == '\\' || d == '%' {
				return ErrPathSpelling
			}
		case !is(c, inPath):
			return ErrTargetCharacter
		}
	}
	for rest, more := path[1:], true; more; {
		var segment []byte
		segment, rest, more = bytes.Cut(rest, slash)
		if len(segment) == 0 && more || string(segment) == "." || string(segment) == ".." {
			return ErrPathSpelling
		}
	}
	return nil
}

var slash = []byte{'/'}

// parseHeader takes one field line (RFC 9112 section 5; folding, section 5.2, and
// space before the colon are refused).
func (r *Request) parseHeader(line []byte) error {
	if line[0] == ' ' || line[0] == '\t' {
		return ErrFold
	}
	name, value, found := bytes.Cut(line, colon)
	if !found || len(name) == 0 || !all(name, inToken) {
		return ErrHeaderName
	}
	if !isValue(value) {
		return ErrHeaderValue
	}
	if r.count == HeadersMax {
		return ErrTooManyHeaders
	}
	r.headers[r.count] = Header{Name: name, Value: trimSpace(value)}
	r.count++
	return nil
}

var colon = []byte{':'}

// checkHost wants one Host that is not empty (RFC 9112 section 3.2); HTTP/1.0
// need not have one.
func (r *Request) checkHost() error {
	r.Host = r.Get("Host")
	switch count := r.Count("Host"); {
	case count == 0 && r.Minor == 0:
		return nil
	case count != 1 || len(r.Host) == 0 || !all(r.Host, inHost):
		return ErrHost
	}
	return nil
}

// measureBody finds the length of the body (RFC 9112 section 6.3). A head with
// two answers is how requests are smuggled, so each field may stand once.
func (r *Request) measureBody() error {
	lengths, codings := r.Count("Content-Length"), r.Count("Transfer-Encoding")
	switch {
	case lengths > 0 && codings > 0:
		return ErrBodyLength
	case codings > 1 || codings == 1 && r.Minor == 0:
		return ErrTransferEncoding
	case codings == 1:
		coding := r.Get("Transfer-Encoding")
		if !equalFold(coding, "chunked") {
			if len(coding) == 0 || !all(coding, inToken) {
				return ErrTransferEncoding
			}
			return ErrCoding
		}
		r.bodyLen = ChunkedLength
	case lengths > 1:
		return ErrContentLength
	case lengths == 1:
		n, ok := parseLength(r.Get("Content-Length"))
		if !ok {
			return ErrContentLength
		}
		r.bodyLen = n
	}
	return nil
}

// parseLength takes decimal digits only: no sign, no list.
func parseLength(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' || n > (math.MaxInt64-int64(c-'0'))/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(b) > 0
}
