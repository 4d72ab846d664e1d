package chat

import "github.com/godwit-im/godwit"

// Rows is the replicated key-value state while a command is applied.
type Rows interface {
	Get(key []byte) ([]byte, bool) // valid until the next Put or Delete of the key
	Put(key, value []byte)         // copies both
	Delete(key []byte)
}

// Tx is what apply sees of the store: rows, logs and the leader's stamp.
type Tx interface {
	Rows
	Group() int
	Stamp() int64                                        // the leader's clock for the batch, ms
	Append(log godwit.LogID, r godwit.Record) godwit.Seq // Seq is assigned; Meta and Body are copied
	// What is erased is gone for readers at once. Its sequences are not used again.
	Erase(log godwit.LogID, upTo godwit.Seq)
	EraseConversation(log godwit.LogID, conv uint32, upTo godwit.Seq)
	ExpireBefore(time int64) // in all logs of the group; never goes back
}

// View is one group for reading; Close it soon. Rows and heads read before the
// first record are of one moment. Values and records are valid until Close, Meta
// and Body of records for ever.
type View interface {
	Get(key []byte) ([]byte, bool)
	Scan(prefix []byte, fn func(key, value []byte) bool)
	Head(log godwit.LogID) godwit.Seq
	Since(log godwit.LogID, after godwit.Seq, limit, bytesMax int, dst []godwit.Record) []godwit.Record
	Conversation(log godwit.LogID, conv uint32, page godwit.Page, dst []godwit.Record) ([]godwit.Record, bool)
	Entry(log godwit.LogID, seq godwit.Seq) (godwit.Record, bool)
	IsWarm(log godwit.LogID) bool                         // the newest messages are in memory
	Warm(log godwit.LogID, conversations []godwit.Newest) // reads them
	Err() error                                           // the first failure to read; what was returned since is incomplete
	Close()
}

// Waiter is what a proposer leaves with its command; see engine.Waiter.
type Waiter = interface{ Fail(err error) }

// Store is the engine as chat uses it: a set of raft groups. No method blocks
// for I/O; all are safe for concurrent use.
type Store interface {
	Group(p godwit.Partition) int
	Groups() int
	// Propose queues a copy of command. An error means no effect, and then the
	// waiter is not called; else it is called exactly once, by Machine or Fail.
	Propose(group int, command []byte, w Waiter) error
	// ReadIndex calls done when all that was acknowledged before is visible.
	ReadIndex(group int, done func(error))
	View(group int) View
}

// Edge holds the client connections. Methods never block and may be called from
// any goroutine; an unknown or closed session is ignored.
type Edge interface {
	Connected(s godwit.SessionID, w godwit.Welcome)
	Reply(s godwit.SessionID, f *godwit.ServerFrame)      // encodes before it returns
	Deliver(sessions []godwit.SessionID, e *godwit.Entry) // a live hint to the sessions of one user
	// Hint says that the log of the user of these sessions has entries up to head:
	// they are read with Fetch.
	Hint(sessions []godwit.SessionID, head godwit.Seq)
	// Tell writes a frame that has no place in the user's log, an entry or the
	// start of a channel, in order with what else they are sent. It is owed: a
	// session without room for it is closed as a slow reader.
	Tell(sessions []godwit.SessionID, f *godwit.ServerFrame)
	// Whisper writes an ephemeral frame to those who have room for it.
	Whisper(sessions []godwit.SessionID, f *godwit.ServerFrame)
	// Fetched encodes before it returns, too.
	Fetched(s godwit.SessionID, entries []godwit.Entry, head godwit.Seq, err error)
	Close(s godwit.SessionID, code godwit.CloseCode, reason string)
}

// Router knows which sessions a user has. Methods never block. Register names the
// one session that has to give way, and why; 0: none. That may be s itself, if the
// device has a session with a larger stamp.
type Router interface {
	Register(user godwit.UserID, device string, s godwit.SessionID, stamp uint64) (gone godwit.SessionID, why godwit.CloseCode)
	Unregister(user godwit.UserID, device string, s godwit.SessionID)
	Sessions(user godwit.UserID, dst []godwit.SessionID) []godwit.SessionID
	Devices(user godwit.UserID, dst []godwit.DeviceSession) []godwit.DeviceSession
	Presence(user godwit.UserID) (online bool, lastSeenMS int64)
}
