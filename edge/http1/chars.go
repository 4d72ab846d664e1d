package http1

// class holds what a byte may be part of.
type class uint8

const (
	inToken class = 1 << iota // RFC 9110 section 5.6.2
	inPath                    // pchar without "%", and "/" (RFC 3986 section 3.3)
	inQuery                   // pchar without "%", "/" and "?" (section 3.4)
	inHost                    // names, addresses in brackets, a port
	isPlain                   // unreserved: encoding it would be a second spelling
	isHex
)

var classes = func() (t [256]class) {
	mark := func(c class, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= c
		}
	}
	const (
		digits      = "0123456789"
		letters     = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		unreserved  = letters + digits + "-._~"
		subDelims   = "!$&'()*+,;="
		tokenPoints = "!#$%&'*+-.^_`|~"
	)
	mark(inToken, letters+digits+tokenPoints)
	mark(inPath, unreserved+subDelims+":@/")
	mark(inQuery, unreserved+subDelims+":@/?")
	mark(inHost, unreserved+":[]")
	mark(isPlain, unreserved)
	mark(isHex, digits+"abcdefABCDEF")
	return t
}()

func is(c byte, k class) bool { return classes[c]&k != 0 }

func all(b []byte, k class) bool {
	for _, c := range b {
		if classes[c]&k == 0 {
			return false
		}
	}
	return true
}

// isValue reports whether b holds only what RFC 9110 section 5.5 allows in a
// field value: visible characters, space, tab and bytes from 0x80 on.
func isValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7F {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// equalFold compares ASCII without case. bytes.EqualFold would also fold the
// Kelvin sign to k.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// unhex returns the value of a byte of class isHex.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return lower(c) - 'a' + 10
}
