package link

import "github.com/godwit-im/godwit"

// Chat is the chat tier of the engine process. Its methods return at once and
// answer through the Edge that Hub is.
type Chat interface {
	Connect(s godwit.SessionID, hello Hello)
	Disconnect(s godwit.SessionID, user godwit.UserID, device string)
	Request(s godwit.SessionID, user godwit.UserID, frame *godwit.ClientFrame)
	Fetch(s godwit.SessionID, user godwit.UserID, after godwit.Seq, limit, bytesMax int)
}

// Hello is a session that asks to be opened.
type Hello = godwit.Hello

// Edge is who holds the connections of one process. Methods never block and
// take what they need of their arguments before they return.
type Edge interface {
	Connected(s godwit.SessionID, w godwit.Welcome)
	Reply(s godwit.SessionID, f *godwit.ServerFrame)
	Deliver(sessions []godwit.SessionID, e *godwit.Entry)
	Hint(sessions []godwit.SessionID, head godwit.Seq)
	Tell(sessions []godwit.SessionID, f *godwit.ServerFrame)
	Whisper(sessions []godwit.SessionID, f *godwit.ServerFrame)
	Fetched(s godwit.SessionID, entries []godwit.Entry, head godwit.Seq, err error)
	Close(s godwit.SessionID, code godwit.CloseCode, reason string)
}

// Router forgets the routes of an edge process that is gone.
type Router interface {
	UnregisterEdge(index int)
}

// Tickets are the engine process's: one that was issued at one edge is redeemed
// at any, once.
type Tickets interface {
	Issue(who godwit.Identity) (ticket string, seconds int, err error)
	Redeem(ticket string) (who godwit.Identity, err error)
}

const sessionMask = 1<<godwit.SessionEdgeShift - 1

// sessionAt gives a session the index of its edge process, whatever was there.
func sessionAt(index int, s godwit.SessionID) godwit.SessionID {
	return s&sessionMask | godwit.SessionID(index)<<godwit.SessionEdgeShift
}

// edgeOf is the index of the edge process that holds a session.
func edgeOf(s godwit.SessionID) int { return int(s >> godwit.SessionEdgeShift) }
