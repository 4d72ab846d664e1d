package godwit

// Error is a refusal a client sees: a stable code, its number (grouped like
// HTTP status codes) and whether the same request may succeed later. The
// variables below are the whole public table; docs/protocol.md prints it.
type Error struct {
	Code      string
	Num       uint32
	Temporary bool
	Message   string // a sentence that says what to do
}

// Error returns the code and the sentence.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Is lets errors.Is find an error of the table in one with another sentence, such as
// what the operator's own service says with message.refused.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// The errors of godwit.v1.
var (
	ErrFrameMalformed = &Error{"frame.malformed", 4001, false, "The frame is not valid in the negotiated encoding; check it against docs/protocol.md."}
	ErrFrameUnknown   = &Error{"frame.unknown", 4002, false, "The frame has no known body; this server may be older than the client."}
	ErrFrameInvalid   = &Error{"frame.invalid", 4003, false, "A field of the frame is missing, out of range or contradicts another."}
	ErrBadUser        = &Error{"user.invalid", 4004, false, "A user id is 1 to 64 ASCII letters, digits or -_.@+~=|."}
	ErrBadConv        = &Error{"conversation.invalid", 4005, false, "A conversation is a user (bob or u:bob) or a group (g:ID)."}
	ErrBadCID         = &Error{"cid.invalid", 4006, false, "A send needs a client id of 1 to 64 ASCII letters, digits or -_.@+~=|."}
	ErrBadCursor      = &Error{"cursor.invalid", 4007, false, "The cursor or sequence was not given by this server; start again without it."}
	ErrBadBody        = &Error{"body.invalid", 4008, false, "Give exactly one of text (UTF-8) and data, and a type of at most 64 bytes."}
	ErrUnauthorized   = &Error{"token.invalid", 4010, false, "The token is missing, expired or not signed by a known key; get a new one."}
	ErrNotMember      = &Error{"conversation.not_member", 4031, false, "The conversation does not exist or you are not a member of it."}
	ErrConversations  = &Error{"limit.conversations", 4032, false, "You have as many conversations as this server keeps for one user; write in one of them."}
	ErrForbidden      = &Error{"group.forbidden", 4033, false, "Your role in the group does not allow that."}
	ErrMembers        = &Error{"limit.members", 4034, false, "The group has as many members as this server allows."}
	ErrGroups         = &Error{"limit.groups", 4035, false, "That user is in as many groups as this server allows."}
	ErrTooLate        = &Error{"message.too_late", 4036, false, "The message can no longer be changed: limits.edit seconds have passed."}
	ErrRefused        = &Error{"message.refused", 4037, false, "The operator's rules refused the message."}
	ErrListFull       = &Error{"limit.list", 4038, false, "The list is as long as this server allows."}
	ErrNoMessage      = &Error{"message.not_found", 4041, false, "There is no such message, or you may not change it."}
	ErrLoggedOut      = &Error{"device.logged_out", 4011, false, "This device was logged out; sign in again."}
	ErrConflict       = &Error{"cid.conflict", 4091, false, "This client id already names a message with another body; use a new id."}
	ErrTooLarge       = &Error{"body.too_large", 4131, false, "The body is larger than limits.body of the connect reply."}
	ErrTooOld         = &Error{"message.too_old", 4101, false, "The first attempt lies more than 7 days back, so a repeat could not be told from it; send it anew with a new client id."}
	ErrPollGone       = &Error{"poll.gone", 4102, false, "The cursor can't be resumed (another epoch, or too far behind); take conversations and poll again without it."}
	ErrRateLimited    = &Error{"rate.limited", 4291, true, "Too many requests in flight or per second; wait retry_after_ms."}
	ErrInternal       = &Error{"internal", 5001, true, "The server failed to answer; retry with the same client id."}
	ErrUnsupported    = &Error{"unsupported", 5011, false, "This server does not offer that yet."}
	ErrUnavailable    = &Error{"unavailable", 5031, true, "Not accepted, nothing was stored; retry with the same client id."}
	ErrUnknown        = &Error{"unknown", 5041, true, "It is not known whether the message was stored; retry with the same client id to find out."}
)

var allErrors = []*Error{
	ErrFrameMalformed, ErrFrameUnknown, ErrFrameInvalid, ErrBadUser, ErrBadConv, ErrBadCID, ErrBadCursor, ErrBadBody,
	ErrUnauthorized, ErrLoggedOut, ErrNotMember, ErrConversations, ErrForbidden, ErrMembers, ErrGroups, ErrTooLate, ErrRefused, ErrListFull, ErrNoMessage, ErrConflict, ErrTooOld, ErrTooLarge, ErrPollGone, ErrRateLimited,
	ErrInternal, ErrUnsupported, ErrUnavailable, ErrUnknown,
}

// ErrorOf returns the error of the table with that code, or nil: what a client
// compares a reply with.
func ErrorOf(code string) *Error {
	for _, e := range allErrors {
		if e.Code == code {
			return e
		}
	}
	return nil
}

// Reply returns the error as the body of a ServerFrame.
func (e *Error) Reply(retryAfterMS uint32) ErrorReply {
	return ErrorReply{Code: e.Code, Num: e.Num, Temporary: e.Temporary, RetryAfterMS: retryAfterMS, Message: e.Message}
}

// CloseCode is a WebSocket close code of the server; its hundred is the
// instruction to the client.
type CloseCode uint16

// The close codes. 40xx: stop and tell the app. 41xx: get a new token, then
// reconnect. 42xx: back off, then resume. 43xx: reconnect at once with jitter.
const (
	CloseProtocol     CloseCode = 4000 // a frame was malformed or out of turn
	CloseVersion      CloseCode = 4001 // no common protocol version
	CloseReplaced     CloseCode = 4003 // the same device connected again
	CloseSessions     CloseCode = 4004 // a newer session of the user took the place
	CloseTooLarge     CloseCode = 4005 // a message over limits.frame
	CloseLoggedOut    CloseCode = 4006 // this device was logged out
	CloseNoToken      CloseCode = 4100 // no valid token within the deadline
	CloseTokenInvalid CloseCode = 4101 // token refused
	CloseTokenExpired CloseCode = 4102 // token ended and was not refreshed
	CloseOverloaded   CloseCode = 4200
	CloseRateLimited  CloseCode = 4201
	CloseSlowConsumer CloseCode = 4202 // outbound queue full; resume loses nothing
	CloseInternal     CloseCode = 4203
	CloseDrain        CloseCode = 4300 // the server is going down or moving
	CloseRebalance    CloseCode = 4301
	ClosePingTimeout  CloseCode = 4302
)
