package chat

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/godwit-im/godwit"
)

// SetRetention keeps a conversation, for everybody, no longer than d: entries that
// are older go, with the hourly looks. 0 takes the rule back. Of a 1:1 conversation
// it holds for both sides, whether they have written yet or not; after an error it
// may hold for one of them, and is to be asked for again. by is who asked.
func (s *Service) SetRetention(ctx context.Context, user godwit.UserID, conv godwit.ConversationID, d time.Duration, by string) error {
	if id, ok := strings.CutPrefix(string(conv), "g:"); ok {
		return s.SetGroupRetention(ctx, godwit.GroupID(id), d, by)
	}
	peer := godwit.UserID(strings.TrimPrefix(string(conv), "u:"))
	switch {
	case !godwit.ValidID(user):
		return godwit.ErrBadUser
	case !godwit.ValidID(peer):
		return godwit.ErrBadConv
	}
	sides := [][2]godwit.UserID{{user, peer}, {peer, user}}
	if user == peer {
		sides = sides[:1]
	}
	for _, side := range sides {
		c := keepCommand{op: keepUser, id: bytesOf(side[0]), peer: bytesOf(side[1])}
		if err := s.keep(ctx, side[0].Partition(), &c, d, by); err != nil {
			return fmt.Errorf("retention of %s with %s: %w", side[0], side[1], err)
		}
	}
	return nil
}

// SetGroupRetention is SetRetention for a group.
func (s *Service) SetGroupRetention(ctx context.Context, group godwit.GroupID, d time.Duration, by string) error {
	if !godwit.ValidID(group) {
		return godwit.ErrBadConv
	}
	if err := s.keep(ctx, group.Partition(), &keepCommand{op: keepGroup, id: bytesOf(group)}, d, by); err != nil {
		return fmt.Errorf("retention of group %s: %w", group, err)
	}
	return nil
}

// RetentionMin and RetentionMax bound for how long a conversation may be kept.
const (
	RetentionMin = retentionEvery
	RetentionMax = 100 * 365 * 24 * time.Hour
)

func (s *Service) keep(ctx context.Context, p godwit.Partition, c *keepCommand, d time.Duration, by string) error {
	if d != 0 && (d < RetentionMin || d > RetentionMax) {
		return godwit.ErrFrameInvalid
	}
	c.kept, c.by = d.Milliseconds(), []byte(by[:min(len(by), keptByMax)])
	_, err := s.run(ctx, p, c.append(nil, s.homeAt(p)))
	return err
}

// sweep goes through the conversations that are kept for a time of their own, once
// after each look. The zero sweep is over.
type sweep struct {
	agreed    int64            // what two looks hold to be past; 0: there is nothing to do
	rules     bool             // it came upon one
	partition godwit.Partition // whose rows come next
	queue     []keptSide       // of the partition before, or of a group
}

// keptSide is one user's log of a conversation, or without a user a group's log.
type keptSide struct {
	user, peer []byte
	kept       int64
}

// sweepStep bounds the logs that one step looks at; the next tick goes on.
const sweepStep = 64

// step does a part of a sweep.
func (r *retention) step() {
	w := &r.sweep
	for n := 0; w.agreed != 0; {
		switch {
		case len(w.queue) == 0 && w.partition == godwit.Partitions:
			w.agreed = 0
		case len(w.queue) == 0:
			w.queue = r.keptIn(w.partition)
			w.rules = w.rules || len(w.queue) > 0
			w.partition++
		case n == sweepStep:
			r.pending.Store(true)
			return
		default:
			n++
			side := w.queue[0]
			if w.queue = w.queue[1:]; len(side.user) != 0 {
				r.expireSide(&side)
			} else {
				w.queue = append(r.expireGroup(&side), w.queue...)
			}
		}
	}
	r.pending.Store(false)
}

// keptIn returns the conversations of a partition that have a rule.
func (r *retention) keptIn(p godwit.Partition) (sides []keptSide) {
	s := r.service
	group := s.cfg.Store.Group(p)
	v := s.cfg.Store.View(group)
	defer v.Close()
	prefix := append(appendKey(nil, p, rowKept), 0, 0)
	v.Scan(prefix, func(key, value []byte) bool {
		var k keptRow
		rest := reader{b: bytes.Clone(key[len(prefix):])}
		user := rest.short()
		if rest.bad || !k.parse(value) {
			s.cfg.Logger.Error("stored row does not parse", "key", fmt.Sprintf("%x", key))
			return true
		}
		sides = append(sides, keptSide{user, rest.b, k.kept})
		return true
	})
	s.failed(v, group)
	return sides
}

// expireSide deletes what is too old from a user's log of a conversation, as if he
// had done that himself: it counts as read, his devices are told, and nobody else.
func (r *retention) expireSide(k *keptSide) {
	s, user := r.service, userOf(k.user)
	group := s.cfg.Store.Group(user.Partition())
	v := s.cfg.Store.View(group)
	defer v.Close()
	u, refusal := userOfView(v, user)
	row, ok := conversationOf(v, user, k.peer)
	if refusal != nil || !ok || row.isChannel() || row.last <= row.deleted {
		return
	}
	log := u.logID(user)
	upTo := olderThan(v, log, row.deleted, row.last, r.sweep.agreed-k.kept)
	if upTo <= row.deleted {
		return
	}
	page := godwit.Page{Newest: upTo, After: row.deleted, Forward: true, Limit: 1, BytesMax: 1}
	if found, _ := v.Conversation(log, uint32(row.number), page, nil); len(found) == 0 {
		return // it is of other conversations
	}
	if !isGroup(k.peer) && owes(v, laneID{user.Partition(), userOf(k.peer).Partition()}, u.log, upTo) {
		return // rebuilt from the log when it is sent
	}
	c := conversationCommand{user: k.user, peer: k.peer, deleted: upTo}
	c.ordinal, c.gseq = passed(v, log, &row, upTo)
	if s.failed(v, group) {
		return
	}
	r.propose(group, c.append(nil, s.homeFor(user)))
}

// passed counts the incoming messages of a conversation through a sequence, which
// the record behind it tells, and how much of the group's log that is, if it is one.
func passed(v View, log godwit.LogID, row *conversationRow, upTo godwit.Seq) (ordinal uint64, gseq godwit.Seq) {
	ordinal = row.incoming
	var md meta
	if upTo >= row.last {
		if last, ok := v.Entry(log, row.last); ok && md.parse(last.Meta) && md.kind == recordPointer {
			gseq = md.originSeq
		}
		return ordinal, gseq
	}
	ordinal = ordinalBefore(v, log, row, upTo)
	page := godwit.Page{Newest: row.last, After: upTo, Forward: true, Limit: 1, BytesMax: 1}
	if next, _ := v.Conversation(log, uint32(row.number), page, nil); len(next) > 0 && md.parse(next[0].Meta) && md.kind == recordPointer {
		gseq = md.originSeq - 1
	}
	return ordinal, gseq
}

// expireGroup erases what is too old from a group's log, and returns the logs of
// those who are or were members: pointers in them to it show nothing any more, but
// count as unread. In a channel there are none to go through.
func (r *retention) expireGroup(k *keptSide) (members []keptSide) {
	s, id := r.service, groupOfID(k.peer)
	group := s.cfg.Store.Group(id.Partition())
	v := s.cfg.Store.View(group)
	defer v.Close()
	var g groupRow
	if value, ok := v.Get(appendGroupKey(nil, k.peer)); !ok || !g.parse(value) {
		return nil
	}
	log := g.logID(k.peer)
	c := keepCommand{op: keepExpired, id: k.peer, kept: k.kept, before: r.sweep.agreed - k.kept}
	if c.upTo = olderThan(v, log, g.expired, g.fanned, c.before); c.upTo > g.expired && c.before > 0 {
		c.ordinal = channelOrdinal(v, log, c.upTo, g.messages)
		if !s.failed(v, group) {
			r.propose(group, c.append(nil, s.homeAt(id.Partition())))
		}
	}
	if g.isChannel() {
		return nil
	}
	prefix := appendGroupPrefix(nil, rowMember, k.peer)
	conv := append([]byte("g:"), k.peer...)
	v.Scan(prefix, func(key, _ []byte) bool {
		members = append(members, keptSide{bytes.Clone(key[len(prefix):]), conv, k.kept})
		return true
	})
	return members
}

// olderThan returns through which sequence up to last a log's entries are older
// than before; those up to after are known to be. Times ascend in a log.
func olderThan(v View, log godwit.LogID, after, last godwit.Seq, before int64) godwit.Seq {
	for after < last {
		middle := after + (last-after+1)/2
		r, ok := v.Entry(log, middle)
		if !ok {
			// It was erased, as may be many of other conversations. The next one tells.
			if next := v.Since(log, middle, 1, 1, nil); len(next) > 0 {
				r, ok = next[0], true
			}
		}
		if ok && r.Time >= before {
			last = middle - 1
		} else {
			after = middle
		}
	}
	return after
}

// propose does not wait: what is not done the next look finds again.
func (r *retention) propose(group int, command []byte) {
	if err := r.service.cfg.Store.Propose(group, command, trimWaiter{}); err != nil {
		r.service.cfg.Logger.Warn("expiry put off for an hour", "group", group, "err", err)
		return
	}
	r.erased.Add(1)
}
