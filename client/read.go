package client

import (
	"context"
	"fmt"
	"iter"

	"github.com/godwit-im/godwit"
)

// Range says which part of a conversation History yields.
type Range struct {
	// Before yields entries below a sequence, newest first; 0: from the head.
	Before godwit.Seq
	// Forward yields entries above After instead, oldest first.
	Forward bool
	After   godwit.Seq
	// Limit bounds the number of entries; 0: to the end.
	Limit int
	// Group counts in the group's own sequences (Entry.GSeq), which also name what
	// came before the user joined. In a channel it makes no difference.
	Group bool
	// Page is the number of entries asked for at once; 0: the server's limit.
	Page int
}

// History yields the entries of a conversation ("bob", "u:bob", "g:42") page by
// page, newest first unless r.Forward. Sequences are those of the user's log. A
// page is asked for again after a lost connection. An error ends the iteration.
func (c *Client) History(ctx context.Context, conv string, r Range) iter.Seq2[godwit.Entry, error] {
	return func(yield func(godwit.Entry, error) bool) {
		id, err := godwit.ParseConversationID(conv)
		if err != nil {
			yield(godwit.Entry{}, fmt.Errorf("%w: %w", ErrMessage, godwit.ErrBadConv))
			return
		}
		left := r.Limit
		for more := true; more; {
			var entries []godwit.Entry
			entries, more, err = c.historyPage(ctx, id, r, left)
			if err != nil {
				yield(godwit.Entry{}, fmt.Errorf("history of %s: %w", id, err))
				return
			}
			for i := range entries {
				e := entries[i]
				if !r.Forward {
					e = entries[len(entries)-1-i]
				}
				if !yield(e, nil) {
					return
				}
				r.Before, r.After = e.Seq, end(&e)
				if e.Seq == 0 || r.Group {
					r.Before, r.After = e.GSeq, e.GSeq
				}
				if left--; left == 0 {
					return
				}
			}
			more = more && len(entries) > 0
		}
	}
}

func (c *Client) historyPage(ctx context.Context, id godwit.ConversationID, r Range, left int) ([]godwit.Entry, bool, error) {
	q := newRequest(godwit.KindHistory)
	h := &q.frame.History
	h.Conv, h.Limit = []byte(id), uint32(max(r.Page, 0))
	if left > 0 && (h.Limit == 0 || left < int(h.Limit)) {
		h.Limit = uint32(min(left, pageDefault))
	}
	switch {
	case r.Group && r.Forward:
		h.GAfter, h.HasGAfter = r.After, true
	case r.Group:
		h.GBefore = r.Before
	case r.Forward:
		h.After, h.HasAfter = r.After, true
	default:
		h.Before = r.Before
	}
	reply, err := c.ask(ctx, q)
	if err != nil {
		return nil, false, err
	}
	return reply.History.Entries, reply.History.More, nil
}

// Conversations yields the user's conversations, the most recent first.
func (c *Client) Conversations(ctx context.Context) iter.Seq2[godwit.ConversationItem, error] {
	return pages(func(next string) ([]godwit.ConversationItem, string, error) {
		reply, err := c.conversationsPage(ctx, next)
		return reply.Items, reply.Next, err
	})
}

func (c *Client) conversationsPage(ctx context.Context, next string) (godwit.ConversationsReply, error) {
	q := newRequest(godwit.KindConversations)
	q.frame.Conversations.Next = []byte(next)
	reply, err := c.ask(ctx, q)
	if err != nil {
		return godwit.ConversationsReply{}, fmt.Errorf("conversations: %w", err)
	}
	return reply.Conversations, nil
}

// Sync reads one page of the user's log after a sequence and returns the log's
// head with it. limit 0 is the server's. It does not touch what Receive returns.
func (c *Client) Sync(ctx context.Context, since godwit.Seq, limit int) (entries []godwit.Entry, head godwit.Seq, err error) {
	reply, err := c.syncPage(ctx, since, limit)
	return reply.Entries, reply.Head, err
}

func (c *Client) syncPage(ctx context.Context, since godwit.Seq, limit int) (godwit.SyncReply, error) {
	q := newRequest(godwit.KindSync)
	q.frame.Sync.Since, q.frame.Sync.Limit = since, uint32(max(limit, 0))
	reply, err := c.ask(ctx, q)
	if err != nil {
		return godwit.SyncReply{}, fmt.Errorf("sync since %d: %w", since, err)
	}
	return reply.Sync, nil
}

// Presence asks whether users are online; the answer is in the order asked.
func (c *Client) Presence(ctx context.Context, users ...godwit.UserID) ([]godwit.PresenceItem, error) {
	q := newRequest(godwit.KindPresence)
	for _, user := range users {
		if !godwit.ValidID(user) {
			return nil, fmt.Errorf("%w: presence of %q: %w", ErrMessage, user, godwit.ErrBadUser)
		}
		q.frame.Presence.Get = append(q.frame.Presence.Get, []byte(user))
	}
	reply, err := c.ask(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	return reply.Presence.Users, nil
}
