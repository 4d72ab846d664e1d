package chat

import (
	"bytes"
	"context"

	"github.com/godwit-im/godwit"
)

// operatorPageMax bounds a page of an operator's list.
const operatorPageMax = 1000

// Users lists users in the order of their partitions, after the one named ("":
// from the first), up to limit. There is no index of users by name: a page costs
// the rows of the partitions it passes. The last user of a page continues it.
func (s *Service) Users(ctx context.Context, after godwit.UserID, limit int) ([]godwit.UserRecord, error) {
	var users []godwit.UserRecord
	err := s.eachRow(ctx, rowUser, after.Partition(), []byte(after), limit, func(v View, id, value []byte) {
		var u userRow
		if u.parse(value) {
			users = append(users, s.userRecord(v, godwit.UserID(id), &u))
		}
	})
	for i := range users {
		users[i].Online, users[i].LastSeen = s.cfg.Router.Presence(users[i].User)
	}
	return users, err
}

// User returns one user; ok is false if nobody has named him yet.
func (s *Service) User(ctx context.Context, user godwit.UserID) (record godwit.UserRecord, ok bool, err error) {
	group := s.cfg.Store.Group(user.Partition())
	if err := s.readBarrier(ctx, group); err != nil {
		return record, false, err
	}
	v := s.cfg.Store.View(group)
	defer v.Close()
	u, refusal := userOfView(v, user)
	if refusal != nil {
		return record, false, refusal
	}
	if err := v.Err(); err != nil || u.log == 0 {
		return record, false, err
	}
	record = s.userRecord(v, user, &u)
	record.Online, record.LastSeen = s.cfg.Router.Presence(user)
	return record, true, nil
}

func (s *Service) userRecord(v View, user godwit.UserID, u *userRow) godwit.UserRecord {
	return godwit.UserRecord{
		User: user, Head: v.Head(u.logID(user)), Sent: u.sends, Conversations: u.conversations, Groups: u.groups,
		Blocked: u.blocked, Contacts: u.contacts, Devices: u.devices,
	}
}

// Groups lists groups like Users does users.
func (s *Service) Groups(ctx context.Context, after godwit.GroupID, limit int) ([]godwit.GroupRecord, error) {
	var groups []godwit.GroupRecord
	err := s.eachRow(ctx, rowGroup, after.Partition(), []byte(after), limit, func(_ View, id, value []byte) {
		var g groupRow
		if g.parse(value) {
			groups = append(groups, godwit.GroupRecord{
				Group: godwit.GroupID(id), Name: string(g.name), Creator: godwit.UserID(string(g.creator)), Created: g.created,
				Members: g.members, Messages: g.messages, Head: g.head, Channel: g.isChannel(),
			})
		}
	})
	return groups, err
}

// eachRow calls fn for up to limit rows of a kind, in the order of partitions and
// then of ids, after the one given. No view is held for longer than a partition.
func (s *Service) eachRow(ctx context.Context, row byte, p godwit.Partition, after []byte, limit int, fn func(v View, id, value []byte)) error {
	if len(after) == 0 {
		p = 0
	}
	left := min(max(limit, 1), operatorPageMax)
	for group := -1; p < godwit.Partitions && left > 0; p++ {
		if g := s.cfg.Store.Group(p); g != group {
			group = g
			if err := s.readBarrier(ctx, g); err != nil {
				return err
			}
		}
		v := s.cfg.Store.View(group)
		type found struct{ id, value []byte }
		var rows []found
		prefix := append(appendKey(nil, p, row), 0, 0)
		v.Scan(prefix, func(key, value []byte) bool {
			if id := key[len(prefix):]; bytes.Compare(id, after) > 0 {
				rows = append(rows, found{bytes.Clone(id), bytes.Clone(value)})
			}
			return len(rows) < left
		})
		for _, r := range rows {
			fn(v, r.id, r.value)
		}
		err := v.Err()
		v.Close()
		if err != nil {
			return err
		}
		left -= len(rows)
		after = nil
	}
	return nil
}

// readBarrier returns when all that was acknowledged before is visible.
func (s *Service) readBarrier(ctx context.Context, group int) error {
	if !s.ready.Load() {
		return godwit.ErrUnavailable
	}
	done := make(chan error, 1)
	s.cfg.Store.ReadIndex(group, func(err error) { done <- err })
	return await(ctx, done)
}

// Kick closes the sessions of a user; their clients may come back at once. It
// returns how many there were.
func (s *Service) Kick(user godwit.UserID, code godwit.CloseCode, reason string) int {
	sessions := s.cfg.Router.Sessions(user, nil)
	for _, session := range sessions {
		s.cfg.Edge.Close(session, code, reason)
	}
	return len(sessions)
}
