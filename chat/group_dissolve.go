package chat

import (
	"bytes"
	"context"
	"slices"

	"github.com/godwit-im/godwit"
)

// Dissolve ends a group for ever: the operator, in the name of by, removes everybody
// in it. Members keep what they have of it. It returns when that is done, at the
// latest with ctx; a group that does not exist, or no more, is ErrNotMember. Asking
// again goes on where an earlier call ended.
func (s *Service) Dissolve(ctx context.Context, group godwit.GroupID, by godwit.UserID) error {
	if !s.ready.Load() {
		return godwit.ErrUnavailable
	}
	if !godwit.ValidID(group) || !godwit.ValidID(by) {
		return godwit.ErrBadConv
	}
	t := &groupTask{service: s, operator: true, user: by, do: doRemove, group: []byte(group)}
	t.gone = make(chan struct{})
	defer context.AfterFunc(ctx, func() { close(t.gone) })()
	if refusal := t.current(t.at()); refusal != nil {
		return cmpContext(ctx, refusal)
	}
	for from, removed := uint64(0), false; ; removed = true {
		users, next, exists, refusal := t.some(from)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case refusal != nil:
			return refusal
		case !exists && removed:
			return nil
		case !exists:
			return godwit.ErrNotMember
		}
		if from = next; len(users) > 0 {
			if _, refusal = t.changePart(users); refusal != nil && refusal != godwit.ErrNotMember {
				return cmpContext(ctx, refusal)
			}
		}
	}
}

// cmpContext prefers the context's own end to what came of it.
func cmpContext(ctx context.Context, refusal *godwit.Error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return refusal
}

// some returns members that one command can name, from a bucket on, and where to go
// on: from the start again, after the last, for those who came meanwhile.
func (t *groupTask) some(from uint64) (users [][]byte, next uint64, exists bool, refusal *godwit.Error) {
	refusal = t.view(t.at(), func(v View) {
		var g groupRow
		if g, exists = groupRowOf(v, t.group); !exists {
			return
		}
		for next = from; next < g.buckets && len(users)+bucketMembers <= changeUsersMax; next++ {
			eachOfBucket(v, t.group, next, func(e bucketEntry) bool {
				if e.left == 0 {
					users = append(users, bytes.Clone(e.user))
				}
				return true
			})
		}
		if next >= g.buckets {
			next = 0
		}
	})
	slices.SortFunc(users, bytes.Compare)
	return users, next, exists, refusal
}
