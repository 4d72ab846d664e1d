package admin

import (
	"context"
	"time"

	"github.com/godwit-im/godwit"
)

// Chat is the chat tier of this process. Its methods may be called from any
// goroutine; refusals are *godwit.Error.
type Chat interface {
	// Call makes a request in the name of a user. With operator it passes what binds
	// users alone.
	Call(ctx context.Context, user godwit.UserID, f *godwit.ClientFrame, operator bool) (*godwit.ServerFrame, error)
	Users(ctx context.Context, after godwit.UserID, limit int) ([]godwit.UserRecord, error)
	User(ctx context.Context, user godwit.UserID) (record godwit.UserRecord, ok bool, err error)
	Groups(ctx context.Context, after godwit.GroupID, limit int) ([]godwit.GroupRecord, error)
	// Dissolve ends a group: nobody is a member any more.
	Dissolve(ctx context.Context, group godwit.GroupID, by godwit.UserID) error
	// SetRetention keeps a conversation no longer than d; 0 takes the rule back.
	SetRetention(ctx context.Context, user godwit.UserID, conv godwit.ConversationID, d time.Duration, by string) error
	Kick(user godwit.UserID, code godwit.CloseCode, reason string) int
}
