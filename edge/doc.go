// Package edge holds the clients' connections: it accepts them on gnet event
// loops, upgrades them to WebSocket, checks who they are, and carries frames of
// godwit.v1 between them and the chat tier.
//
// Use it by New, Start, and at the end Drain and Stop. The chat tier is seen
// through Chat; its answers come back by Connected, Reply, Deliver, Fetched and
// Close, from any goroutine.
//
// Each connection belongs to one loop, and only that loop's goroutine touches
// it; everything else reaches it through the loop's mailbox. A connection costs
// one session of fixed size while idle and borrows its buffers for the length
// of a callback. Notification is a hint, the log is the truth: what a session
// has seen is decided by the pure delivery machine, and gaps are fetched.
//
// The package refuses to know what a message means, where it is stored, how a
// token is verified and who else is online.
package edge
