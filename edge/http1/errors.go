package http1

import "errors"

// ErrMore says that the head is sound so far but not complete: call Parse again
// when more bytes follow the same ones.
var ErrMore = errors.New("http1: request head not complete")

// Error is a refusal: answer with its status and close the connection, because
// where the next request would begin is not known.
type Error struct {
	Status int // 0: the peer does not speak HTTP; close without an answer
	Reason string
}

// Error returns the reason.
func (e *Error) Error() string { return "http1: " + e.Reason }

// Everything Parse, Upgrade and the checks of Request refuse. The same value is
// returned each time, so a refusal costs no allocation and compares with ==.
var (
	// The peer speaks something else.
	ErrTLS   = &Error{0, "TLS on a plain port"}
	ErrHTTP2 = &Error{505, "HTTP/2 without TLS"}

	// The request line.
	ErrRequestLine     = &Error{400, "malformed request line"}
	ErrMethod          = &Error{400, "malformed method"}
	ErrTargetForm      = &Error{400, "request target is not an absolute path"}
	ErrTargetCharacter = &Error{400, "character not allowed in a request target"}
	ErrPathSpelling    = &Error{400, "path is not in its one plain spelling"}
	ErrVersion         = &Error{505, "HTTP version not supported"}
	ErrTargetTooLong   = &Error{414, "request line too long"}

	// The header fields.
	ErrHeaderTooLarge   = &Error{431, "request head too large"}
	ErrTooManyHeaders   = &Error{431, "too many header fields"}
	ErrLineEnd          = &Error{400, "line does not end in CRLF"}
	ErrFold             = &Error{400, "folded header field"}
	ErrHeaderName       = &Error{400, "malformed header field name"}
	ErrHeaderValue      = &Error{400, "control character in a header field"}
	ErrHost             = &Error{400, "Host must be given exactly once"}
	ErrContentLength    = &Error{400, "malformed or repeated Content-Length"}
	ErrTransferEncoding = &Error{400, "malformed or repeated Transfer-Encoding"}
	ErrBodyLength       = &Error{400, "both Content-Length and Transfer-Encoding"}
	ErrCoding           = &Error{501, "transfer coding not supported"}

	// The body that would follow.
	ErrBodyTooLarge = &Error{413, "request body too large"}

	// The upgrade.
	ErrMethodNotGet     = &Error{405, "only GET can be upgraded"}
	ErrUpgradeVersion   = &Error{505, "only HTTP/1.1 can be upgraded"}
	ErrUpgradeBody      = &Error{400, "an upgrade has no body"}
	ErrUpgradeMissing   = &Error{426, "this address speaks WebSocket"}
	ErrConnection       = &Error{400, "Connection lacks the token upgrade"}
	ErrWebSocketVersion = &Error{426, "WebSocket version 13 needed"}
	ErrWebSocketKey     = &Error{400, "Sec-WebSocket-Key is not 16 bytes in base64, once"}
	ErrSubprotocol      = &Error{400, "malformed Sec-WebSocket-Protocol"}
	ErrExtensions       = &Error{400, "malformed Sec-WebSocket-Extensions"}
)
