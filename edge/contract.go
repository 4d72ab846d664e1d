package edge

import "github.com/godwit-im/godwit"

// Chat is what the edge asks of the chat tier. Every method returns at once and
// never blocks: the edge calls them on its event loops. Answers come back
// through the Edge's methods, from any goroutine.
type Chat interface {
	// Connect registers the session and answers once: Edge.Connected or Edge.Close.
	Connect(s godwit.SessionID, hello Hello)
	// Disconnect ends what Connect began; called exactly once for each Connect.
	Disconnect(s godwit.SessionID, user godwit.UserID, device string)
	// Request serves a frame of a client that isRequest lets pass and answers once
	// with Edge.Reply under the frame's ID, which may be 0; a mark or a notice of
	// typing without an id is never answered. frame is valid during the call only.
	Request(s godwit.SessionID, user godwit.UserID, frame *godwit.ClientFrame)
	// Fetch reads the user's log after a sequence and answers once with Edge.Fetched.
	Fetch(s godwit.SessionID, user godwit.UserID, after godwit.Seq, limit, bytesMax int)
}

// Hello is a session that asks to be opened.
type Hello = godwit.Hello

// Sessions hears of sessions as the chat tier does: Began with Chat.Connect, Ended
// once for each with Chat.Disconnect. polled: it is one of the device's polls, and the
// next may follow. Both are called on event loops, as is Full: while it says so,
// newcomers are told to come back, but not who goes on polling. None of them may wait.
type Sessions interface {
	Began(s godwit.SessionID, user godwit.UserID, device string, stamp uint64, polled bool)
	Ended(s godwit.SessionID, user godwit.UserID, device string, stamp uint64, polled bool)
	Full() bool
}

// noSessions is for whom it is nobody's business.
type noSessions struct{}

func (noSessions) Began(godwit.SessionID, godwit.UserID, string, uint64, bool) {}

func (noSessions) Ended(godwit.SessionID, godwit.UserID, string, uint64, bool) {}

func (noSessions) Full() bool { return false }

// Tickets changes a token for a short-lived, single-use ticket, which the
// Verifier then takes in the token's place; it begins with "tk_". Called from goroutines of the edge.
type Tickets interface {
	Issue(who godwit.Identity) (ticket string, seconds int, err error)
}

// Verifier checks tokens. Called from the edge's verifying goroutines, never on
// an event loop. The error's text is for the log, not for the client; one that
// wraps a temporary godwit.Error says that the same token may be good in a moment.
type Verifier interface {
	Verify(token []byte) (who godwit.Identity, err error)
}
