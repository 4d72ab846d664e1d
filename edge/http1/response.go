package http1

import "strconv"

// Field is a header field of an answer.
type Field struct{ Name, Value string }

// AppendUpgradeResponse appends the answer that opens the WebSocket; frames
// follow it at once (RFC 6455 section 4.2.2).
func AppendUpgradeResponse(dst []byte, h *Handshake) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = append(dst, h.Accept[:]...)
	if h.Subprotocol != "" {
		dst = append(dst, "\r\nSec-WebSocket-Protocol: "...)
		dst = append(dst, h.Subprotocol...)
	}
	if h.Deflate.Agreed {
		dst = appendDeflate(dst, h.Deflate)
	}
	return append(dst, "\r\n\r\n"...)
}

// AppendResponse appends a whole answer with a Content-Length (statuses without
// a body, 204 and 304, get neither). It adds nothing else: Content-Type, Date
// and Connection are the caller's fields. Control characters in a value become
// spaces, so that no value can begin a field of its own.
func AppendResponse(dst []byte, status int, fields []Field, body []byte) []byte {
	bodiless := status == 204 || status == 304
	dst = appendStatus(dst, status)
	for _, f := range fields {
		dst = appendField(dst, f.Name, f.Value)
	}
	if bodiless {
		return append(dst, "\r\n"...)
	}
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

// AppendError appends the answer to a refused request, after which the
// connection is closed, with the fields its status demands: what is allowed
// (405, RFC 9110 section 15.5.6) or what to upgrade to (426, section 15.5.22, and
// RFC 6455 section 4.4). A nil body means the reason as plain text. Nothing is
// appended for a peer that does not speak HTTP.
func AppendError(dst []byte, e *Error, contentType string, body []byte) []byte {
	if e.Status == 0 {
		return dst
	}
	dst = appendStatus(dst, e.Status)
	switch e.Status {
	case 405:
		dst = append(dst, "Allow: GET\r\n"...)
	case 426:
		dst = append(dst, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade, close\r\n"...)
	}
	if e.Status != 426 {
		dst = append(dst, "Connection: close\r\n"...)
	}
	size := len(body)
	if body == nil {
		contentType, size = "text/plain; charset=utf-8", len(e.Reason)+1
	}
	dst = appendField(dst, "Content-Type", contentType)
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(size), 10)
	dst = append(dst, "\r\n\r\n"...)
	if body == nil {
		return append(append(dst, e.Reason...), '\n')
	}
	return append(dst, body...)
}

func appendStatus(dst []byte, status int) []byte {
	if status < 200 || status > 599 {
		panic("BUG: not a final status")
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, statusText(status)...)
	return append(dst, "\r\n"...)
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	for i := range len(value) {
		c := value[i]
		if c < ' ' || c == 0x7F {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, "\r\n"...)
}

// statusText names the statuses that the edge sends; a client must not depend
// on it, so the empty string is right for any other (RFC 9112 section 4).
func statusText(status int) string {
	switch status {
	case 200:
		return "OK"
	case 204:
		return "No Content"
	case 304:
		return "Not Modified"
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 410:
		return "Gone"
	case 411:
		return "Length Required"
	case 415:
		return "Unsupported Media Type"
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 426:
		return "Upgrade Required"
	case 429:
		return "Too Many Requests"
	case 431:
		return "Request Header Fields Too Large"
	case 500:
		return "Internal Server Error"
	case 501:
		return "Not Implemented"
	case 503:
		return "Service Unavailable"
	case 505:
		return "HTTP Version Not Supported"
	}
	return ""
}
