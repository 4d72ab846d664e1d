package node

import (
	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/chat"
	"github.com/godwit-im/godwit/engine"
)

// The tiers declare what they need of one another in their own types; these
// adapters are where the types meet. They hold no state and decide nothing.

// machineAdapter shows chat's machine to the engine.
type machineAdapter struct{ *chat.Machine }

func (a machineAdapter) Apply(tx *engine.Tx, command []byte, w engine.Waiter) {
	a.Machine.Apply(tx, command, w)
}

// storeAdapter shows the engine to chat. chat comes first, because the engine
// replays its log into chat's machine while it opens: store is set before
// chat.Service.Start, and nothing calls it earlier.
type storeAdapter struct {
	store  *engine.Store
	groups int
}

func (a *storeAdapter) Group(p godwit.Partition) int { return a.store.Group(p) }

func (a *storeAdapter) Groups() int { return a.groups }

func (a *storeAdapter) Propose(group int, command []byte, w chat.Waiter) error {
	return a.store.Propose(group, command, w)
}

func (a *storeAdapter) ReadIndex(group int, done func(error)) { a.store.ReadIndex(group, done) }

func (a *storeAdapter) View(group int) chat.View { return a.store.View(group) }

// chatAdapter stands for chat, which is made after those who call it and set
// before they start.
type chatAdapter struct{ *chat.Service }
