package ws

// Opcode is the kind of a frame (RFC 6455 section 5.2).
type Opcode uint8

// The opcodes; 3 to 7 and 11 to 15 are reserved and refused.
const (
	Continuation Opcode = 0x0 // never in an Event: its parts carry the message's opcode
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// Control reports whether frames of this kind are control frames (section 5.5).
func (op Opcode) Control() bool { return op&0x8 != 0 }

func (op Opcode) defined() bool { return op <= Binary || op >= Close && op <= Pong }

// CloseCode is the status code of a close frame (section 7.4). The codes from
// 4000 on belong to the application.
type CloseCode uint16

// The codes of section 7.4.1 and of the IANA registry it founded.
const (
	CodeNormal         CloseCode = 1000
	CodeGoingAway      CloseCode = 1001
	CodeProtocol       CloseCode = 1002
	CodeUnsupported    CloseCode = 1003
	CodeNoStatus       CloseCode = 1005 // stands for an empty close frame, never on the wire
	CodeAbnormal       CloseCode = 1006 // stands for no close frame, never on the wire
	CodeInvalidPayload CloseCode = 1007
	CodePolicy         CloseCode = 1008
	CodeTooBig         CloseCode = 1009
	CodeExtension      CloseCode = 1010
	CodeInternal       CloseCode = 1011
	CodeRestart        CloseCode = 1012
	CodeTryLater       CloseCode = 1013
	CodeBadGateway     CloseCode = 1014
	CodeTLS            CloseCode = 1015 // stands for a failed TLS handshake, never on the wire
)

// OnWire reports whether a close frame may carry the code (section 7.4.2 and
// the IANA registry): 1000 to 1014 except 1004 to 1006, and 3000 to 4999.
func (c CloseCode) OnWire() bool {
	switch {
	case c >= CodeNormal && c <= CodeUnsupported, c >= CodeInvalidPayload && c <= CodeBadGateway:
		return true
	default:
		return c >= 3000 && c <= 4999
	}
}

// Error is a peer's breach of the protocol or of a limit: answer with a close
// frame of this code and end the connection (section 7.1.7).
type Error struct {
	Code   CloseCode
	Reason string // fits a close frame
}

// Error returns the reason.
func (e *Error) Error() string { return "ws: " + e.Reason }

// Everything a Reader refuses. The same value is returned each time, so an
// error costs no allocation and compares with ==.
var (
	ErrReservedBits   = &Error{CodeProtocol, "reserved bit set"}
	ErrReservedOpcode = &Error{CodeProtocol, "reserved opcode"}
	ErrUnmasked       = &Error{CodeProtocol, "frame of a client is not masked"}
	ErrMasked         = &Error{CodeProtocol, "frame of a server is masked"}
	ErrControlLong    = &Error{CodeProtocol, "control frame over 125 bytes"}
	ErrControlSplit   = &Error{CodeProtocol, "control frame fragmented"}
	ErrLengthForm     = &Error{CodeProtocol, "payload length not in its shortest form"}
	ErrLengthRange    = &Error{CodeProtocol, "payload length over 63 bits"}
	ErrContinuation   = &Error{CodeProtocol, "continuation without a message under way"}
	ErrInterleaved    = &Error{CodeProtocol, "new message before the end of the last"}
	ErrClosePayload   = &Error{CodeProtocol, "close frame with one byte"}
	ErrCloseCode      = &Error{CodeProtocol, "close code not allowed on the wire"}
	ErrCloseReason    = &Error{CodeInvalidPayload, "close reason is not UTF-8"}
	ErrText           = &Error{CodeInvalidPayload, "text is not UTF-8"}
	ErrDeflate        = &Error{CodeInvalidPayload, "compressed data is damaged"}
	ErrMessageTooBig  = &Error{CodeTooBig, "message too big"}
	ErrFragments      = &Error{CodePolicy, "message in too many fragments"}
)
