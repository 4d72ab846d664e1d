// Package link joins an edge process to the engine process it serves: what the
// edge asks of the chat tier and what the chat tier tells the edge, as batches on
// one gRPC stream each way. Client is the edge process's end and looks like the
// chat tier there; Hub is the engine process's end and looks like an edge there.
//
// It knows no sockets of clients, no routes and no logs. What it carries it does
// not interpret, beyond the session ids: those of an edge process get its index in
// their upper bits, set by Hub, so that no process can name another's sessions.
//
// A stage hands on what queued while it was busy and waits for nothing else:
//
//	edge's loop ─▶ Client.Request ─▶ queue ─▶ writer ══ batch ══▶ Hub's reader ─▶ chat
//	edge's loop ◀─ Client's reader ◀══ batch ══ writer ◀─ queue ◀─ Hub.Reply ◀─ chat
//
// Nothing here blocks an event loop or the chat tier: queues are bounded, and the
// rule for each bound stands in queue.go. When a stream ends, all sessions that it
// carried end with it, on both sides.
package link
