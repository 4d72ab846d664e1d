package http1

// Deflate is what a client and we can agree on for permessage-deflate (RFC 7692
// section 7). We always answer with server_no_context_takeover and
// client_no_context_takeover: between messages no side remembers anything.
type Deflate struct {
	// WindowBits: the window of what we send is 1<<WindowBits bytes, 8 to 15. 0:
	// no acceptable offer.
	WindowBits int
	Agreed     bool // set by the caller if it wants it: then the answer says so
	bitsAsked  bool // the offer had server_max_window_bits, and so must the answer
}

const (
	windowBitsMin = 8
	windowBitsMax = 15
)

// chooseDeflate goes through the client's offers, which may be spread over
// several fields, in its order of preference, and takes the first acceptable one
// (RFC 6455 section 9.1, RFC 7692 section 5.1). Unknown extensions are passed over;
// a field that breaks the grammar is an error even if we want no extension.
func chooseDeflate(r *Request) (chosen Deflate, err error) {
	for _, field := range r.Headers() {
		if !equalFold(field.Name, "Sec-WebSocket-Extensions") {
			continue
		}
		list, found := scanner{rest: field.Value}, false
		for list.element() {
			offer, ok := list.offer()
			if !ok {
				return Deflate{}, ErrExtensions
			}
			found = true
			if chosen.WindowBits == 0 {
				chosen = offer
			}
		}
		if !found || len(list.rest) > 0 {
			return Deflate{}, ErrExtensions
		}
	}
	return chosen, nil
}

// scanner reads a list of extensions (RFC 6455 section 9.1). Its methods skip the
// spaces before what they take.
type scanner struct {
	rest    []byte
	follows bool // an element was read: the next one needs a comma
}

// element moves to the next extension of the list. Empty elements are allowed
// and mean nothing (RFC 9110 section 5.6.1.2).
func (s *scanner) element() bool {
	comma := !s.follows
	for s.take(',') {
		comma = true
	}
	s.follows = true
	return comma && len(s.rest) > 0
}

// offer reads one extension. ok is false if it is malformed; a well-formed one
// that cannot be accepted gives a zero Deflate.
func (s *scanner) offer() (offer Deflate, ok bool) {
	name := s.token()
	if len(name) == 0 {
		return Deflate{}, false
	}
	// Tokens that stand for protocol values are compared as RFC 7692 spells them.
	acceptable := string(name) == "permessage-deflate"
	offer.WindowBits = windowBitsMax
	var seen parameter
	for s.take(';') {
		param := s.token()
		value, given, ok := s.value()
		if len(param) == 0 || !ok {
			return Deflate{}, false
		}
		kind := offer.add(param, value, given)
		if kind == 0 || seen&kind != 0 {
			acceptable = false
		}
		seen |= kind
	}
	if !acceptable {
		return Deflate{}, true
	}
	return offer, true
}

// value reads "=" and a token, which may be quoted, if they stand next.
func (s *scanner) value() (value []byte, given, ok bool) {
	if !s.take('=') {
		return nil, false, true
	}
	if !s.take('"') {
		value = s.token()
		return value, true, len(value) > 0
	}
	for i := 0; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '"':
			s.rest = s.rest[i+1:]
			return value, true, len(value) > 0 && all(value, inToken)
		case '\\':
			if i++; i == len(s.rest) {
				return nil, true, false
			}
		}
		value = append(value, s.rest[i])
	}
	return nil, true, false
}

func (s *scanner) token() []byte {
	s.rest = trimSpace(s.rest)
	n := 0
	for n < len(s.rest) && is(s.rest[n], inToken) {
		n++
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	return token
}

func (s *scanner) take(c byte) bool {
	s.rest = trimSpace(s.rest)
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// parameter is a set of the four parameters of permessage-deflate.
type parameter uint8

const (
	serverNoContext parameter = 1 << iota
	clientNoContext
	serverWindow
	clientWindow
)

// add takes one parameter into the offer; 0: it or its value is unknown, and the
// offer must be declined (RFC 7692 section 7.1). Whatever window the client offers
// to keep to, we can inflate the largest.
func (d *Deflate) add(name, value []byte, given bool) parameter {
	switch string(name) {
	case "server_no_context_takeover":
		if !given {
			return serverNoContext
		}
	case "client_no_context_takeover":
		if !given {
			return clientNoContext
		}
	case "server_max_window_bits":
		if bits, ok := windowBits(value); ok {
			d.WindowBits, d.bitsAsked = bits, true
			return serverWindow
		}
	case "client_max_window_bits":
		if _, ok := windowBits(value); ok || !given {
			return clientWindow
		}
	}
	return 0
}

// windowBits reads 8 to 15 without a leading zero (RFC 7692 section 7.1.2).
func windowBits(value []byte) (bits int, ok bool) {
	switch len(value) {
	case 1:
		bits = int(value[0]) - '0'
	case 2:
		if value[0] == '1' && is(value[1], isHex) && value[1] <= '9' {
			bits = 10 + int(value[1]-'0')
		}
	}
	return bits, bits >= windowBitsMin && bits <= windowBitsMax && (len(value) == 2 || bits <= 9)
}

// appendDeflate appends the field of the answer that agrees (RFC 7692 section 5.1).
func appendDeflate(dst []byte, d Deflate) []byte {
	dst = append(dst, "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"...)
	if d.bitsAsked {
		dst = append(dst, "; server_max_window_bits="...)
		if d.WindowBits >= 10 {
			dst = append(dst, '1')
		}
		dst = append(dst, '0'+byte(d.WindowBits%10))
	}
	return dst
}
