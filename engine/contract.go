package engine

import (
	"fmt"

	"github.com/godwit-im/godwit"
)

// LogID and Entry are the shared nouns: see godwit.LogID and godwit.Record.
type (
	LogID = godwit.LogID
	Entry = godwit.Record
)

// Machine is the deterministic state above the logs. The engine calls Apply
// and Flush of one group from one goroutine; different groups run concurrently.
type Machine interface {
	// Reads names every row that Apply of the command may Get, so that they can
	// be fetched before it; Apply may use no other.
	Reads(command []byte, add func(key []byte))
	// Apply executes one committed command. It is a pure function of tx and
	// command: waiter (nil on replay and on followers) may only be kept for Flush.
	// command stays valid and immutable for ever; Append may alias it.
	Apply(tx *Tx, command []byte, waiter Waiter)
	// Flush runs after a batch of Apply calls became visible to readers. live is
	// false while the log is replayed at start: effects are dropped then.
	Flush(group int, live bool)
}

// Waiter is what a proposer left with its command. If the command is applied,
// Machine.Apply gets the Waiter back; otherwise the engine calls Fail once with
// ErrUnavailable (nothing was proposed) or ErrUnknown. Exactly one of both
// happens for each command that Propose took. (An alias, so that chat need not
// import engine.)
type Waiter = interface{ Fail(err error) }

// Errors of the engine. Those a client may see wrap the public error.
var (
	// ErrUnavailable: not proposed, no effect. The queue is full or the node stops.
	ErrUnavailable = fmt.Errorf("engine: not proposed: %w", godwit.ErrUnavailable)
	// ErrUnknown: proposed, and whether it was or will be applied is not known.
	ErrUnknown = fmt.Errorf("engine: outcome unknown: %w", godwit.ErrUnknown)
	// ErrCommandTooLarge: a command over Config.CommandBytesMax. No effect.
	ErrCommandTooLarge = fmt.Errorf("engine: command too large: %w", godwit.ErrTooLarge)
	// ErrClosed: the store was closed. No effect.
	ErrClosed = fmt.Errorf("engine: closed: %w", godwit.ErrUnavailable)
)
