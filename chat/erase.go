package chat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/godwit-im/godwit"
)

// Erasure says what was erased.
type Erasure struct {
	What     string                // "user" or "conversation"
	User     godwit.UserID         // whose account, or one side of the conversation
	Conv     godwit.ConversationID // as User saw it
	By       string                // who asked for it
	Recalled int                   // messages of his that others hold, taken back
	Groups   int                   // groups he was taken out of
	Rows     int
}

// EraseUser removes an account: his messages are taken back where others hold
// them, he leaves his groups, his log and all that was kept of him goes, and his
// tokens are void. What may be left of it was erased before, when he deleted a
// conversation for himself: messages he had written there stay with the other.
// It may be repeated after an error, and goes on then.
func (s *Service) EraseUser(ctx context.Context, user godwit.UserID, by string) (Erasure, error) {
	e := Erasure{What: "user", User: user, By: by}
	if !godwit.ValidID(user) {
		return e, godwit.ErrBadUser
	}
	out := deviceCommand{op: deviceLogoutAll, user: bytesOf(user)}
	if _, err := s.run(ctx, user.Partition(), out.append(nil, s.homeFor(user))); err != nil {
		return e, fmt.Errorf("erase %s: log out: %w", user, err)
	}
	groups, err := s.groupsOf(ctx, user)
	if err == nil {
		err = s.recallAll(ctx, user, groups, &e)
	}
	for _, g := range groups {
		if err == nil {
			err = s.leaveForGood(ctx, user, g, &e)
		}
	}
	if err == nil {
		err = s.awaitLanes(ctx, user.Partition())
	}
	if err == nil {
		err = s.eraseAccount(ctx, user, &e)
	}
	if err != nil {
		return e, fmt.Errorf("erase %s: %w", user, err)
	}
	s.gate.forget()
	return e, nil
}

// EraseConversation removes a conversation for everybody: of a 1:1 conversation
// both sides, of a group its log.
func (s *Service) EraseConversation(ctx context.Context, user godwit.UserID, conv godwit.ConversationID, by string) (Erasure, error) {
	e := Erasure{What: "conversation", User: user, Conv: conv, By: by}
	if id, ok := strings.CutPrefix(string(conv), "g:"); ok {
		if !godwit.ValidID(id) {
			return e, godwit.ErrBadConv
		}
		group := godwit.GroupID(id)
		_, err := s.run(ctx, group.Partition(), appendErase(nil, s.homeAt(group.Partition()), eraseGroup, []byte(id), nil, 0))
		return e, err
	}
	peer := godwit.UserID(strings.TrimPrefix(string(conv), "u:"))
	if !godwit.ValidID(peer) || !godwit.ValidID(user) {
		return e, godwit.ErrBadConv
	}
	if err := s.awaitLanes(ctx, user.Partition()); err != nil {
		return e, err
	}
	if err := s.awaitLanes(ctx, peer.Partition()); err != nil {
		return e, err
	}
	found := false
	for _, side := range [...][2]godwit.UserID{{user, peer}, {peer, user}} {
		command := appendErase(nil, s.homeFor(side[0]), eraseConversation, bytesOf(side[0]), bytesOf(side[1]), 0)
		_, err := s.run(ctx, side[0].Partition(), command)
		if err != nil && !errors.Is(err, godwit.ErrNotMember) {
			return e, err
		}
		found = found || err == nil
	}
	if !found {
		return e, godwit.ErrNotMember
	}
	return e, nil
}

func (s *Service) homeAt(p godwit.Partition) godwit.Partition {
	return homeOf(s.cfg.Store.Group(p), s.cfg.Store.Groups())
}

func (s *Service) homeFor(user godwit.UserID) godwit.Partition { return s.homeAt(user.Partition()) }

// run proposes a command to the group of a partition and waits for its outcome.
func (s *Service) run(ctx context.Context, p godwit.Partition, command []byte) (outcome, error) {
	if !s.ready.Load() {
		return outcome{}, godwit.ErrUnavailable
	}
	w := make(outcomeWaiter, 1)
	if err := s.cfg.Store.Propose(s.cfg.Store.Group(p), command, w); err != nil {
		return outcome{}, err
	}
	select {
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	case <-s.stop:
		return outcome{}, godwit.ErrUnavailable
	case done := <-w:
		return done.outcome, done.err
	}
}

// outcomeWaiter gets the outcome of one command; what aliases the command in it
// may be read as long as the outcome is held.
type outcomeWaiter chan struct {
	outcome outcome
	err     error
}

func (w outcomeWaiter) put(o outcome, err error) {
	w <- struct {
		outcome outcome
		err     error
	}{o, err}
}

func (w outcomeWaiter) Fail(err error) { w.put(outcome{}, err) }

func (w outcomeWaiter) applied(o *outcome, _ *flushScratch) {
	if o.refusal != nil {
		w.put(outcome{}, o.refusal)
		return
	}
	w.put(*o, nil)
}

// look reads in the group of a partition, after all that was acknowledged before.
func (s *Service) look(ctx context.Context, p godwit.Partition, f func(v View)) error {
	group := s.cfg.Store.Group(p)
	if err := s.readBarrier(ctx, group); err != nil {
		return err
	}
	v := s.cfg.Store.View(group)
	defer v.Close()
	f(v)
	return v.Err()
}

// groupOfUser is a group that a user is or was in.
type groupOfUser struct {
	id  godwit.GroupID
	log godwit.LogID
}

func (s *Service) groupsOf(ctx context.Context, user godwit.UserID) (groups []groupOfUser, err error) {
	prefix := appendOwnedPrefix(nil, user.Partition(), rowConversation, bytesOf(user))
	err = s.look(ctx, user.Partition(), func(v View) {
		v.Scan(prefix, func(key, value []byte) bool {
			var c conversationRow
			if peer := key[len(prefix):]; bytes.HasPrefix(peer, groupPrefix) && c.parse(value) && c.groupLog != 0 {
				groups = append(groups, groupOfUser{godwit.GroupID(peer[len(groupPrefix):]), c.groupLog})
			}
			return true
		})
	})
	return groups, err
}

// recallAll takes back what the user wrote: the messages of his own log, and of
// the logs of his groups, which have those of channels, too.
func (s *Service) recallAll(ctx context.Context, user godwit.UserID, groups []groupOfUser, e *Erasure) error {
	var own godwit.LogID
	err := s.look(ctx, user.Partition(), func(v View) {
		if u, refusal := userOfView(v, user); refusal == nil && u.log != 0 {
			own = u.logID(user)
		}
	})
	if err != nil {
		return err
	}
	if own != 0 {
		err = s.recallIn(ctx, user, own, e)
	}
	for _, g := range groups {
		if err == nil {
			err = s.recallIn(ctx, user, g.log, e)
		}
	}
	return err
}

// recallPage is how many records are read at once, so that no view is held long.
const recallPage = 500

// recallIn takes back the messages in a log that user wrote.
func (s *Service) recallIn(ctx context.Context, user godwit.UserID, log godwit.LogID, e *Erasure) error {
	for after := godwit.Seq(0); ; {
		var records []godwit.Record
		if err := s.look(ctx, log.Partition(), func(v View) { records = v.Since(log, after, recallPage, 1<<20, nil) }); err != nil {
			return err
		}
		if len(records) == 0 {
			return nil
		}
		after = records[len(records)-1].Seq
		for i := range records {
			var m meta
			if !m.parse(records[i].Meta) || m.kind != recordMessage || m.incoming {
				continue
			}
			if b, ok := parseBlock(records[i].Body); !ok || b.sender() != user {
				continue
			}
			if err := s.recallOne(ctx, user, log, records[i].Seq, e); err != nil {
				return err
			}
		}
	}
}

func (s *Service) recallOne(ctx context.Context, user godwit.UserID, log godwit.LogID, seq godwit.Seq, e *Erasure) error {
	var mid godwit.MessageID
	s.ids.Load().make(&mid, log, seq)
	text := mid.AppendTo(nil)
	reply, err := s.insist(ctx, user, &godwit.ClientFrame{Kind: godwit.KindRecall, Recall: godwit.Recall{MID: text}})
	switch {
	case errors.Is(err, godwit.ErrNoMessage): // gone meanwhile
		return nil
	case err != nil:
		return fmt.Errorf("recall: %w", err)
	case !reply.Done.Dup:
		e.Recalled++
	}
	return nil
}

// insist makes a request as the operator until it is not refused for now.
func (s *Service) insist(ctx context.Context, user godwit.UserID, f *godwit.ClientFrame) (*godwit.ServerFrame, error) {
	for {
		reply, err := s.Call(ctx, user, f, true)
		var refusal *godwit.Error
		if err == nil || !errors.As(err, &refusal) || !refusal.Temporary {
			return reply, err
		}
		if err := s.pause(ctx); err != nil {
			return nil, err
		}
	}
}

// pause waits a moment before something is looked at again.
func (s *Service) pause(ctx context.Context) error {
	t := time.NewTimer(TickInterval)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stop:
		return godwit.ErrUnavailable
	case <-t.C:
		return nil
	}
}

// leaveForGood takes the user out of a group and waits until nothing more of it
// comes to his log. An owner leaves the group to an admin, or else to any member.
func (s *Service) leaveForGood(ctx context.Context, user godwit.UserID, g groupOfUser, e *Erasure) error {
	ask := func(f godwit.Group) (*godwit.ServerFrame, error) {
		f.Group = bytesOf(g.id)
		return s.insist(ctx, user, &godwit.ClientFrame{Kind: godwit.KindGroup, Group: f})
	}
	var m memberRow
	var heir []byte
	err := s.look(ctx, g.id.Partition(), func(v View) {
		m, _ = memberOf(v, bytesOf(g.id), bytesOf(user))
		if row, exists := groupRowOf(v, bytesOf(g.id)); exists && m.isMember() && m.role == roleOwner {
			heir = heirOf(v, &row, bytesOf(g.id), func(other []byte) bool { return string(other) == string(user) })
		}
	})
	if err != nil {
		return err
	}
	if !m.isMember() {
		return s.awaitFanned(ctx, user, g.id)
	}
	if heir != nil {
		if _, err := ask(godwit.Group{Do: []byte(godwit.GroupRole), Role: []byte(godwit.RoleOwner), Users: [][]byte{heir}}); err != nil {
			return fmt.Errorf("leave %s to %s: %w", g.id, heir, err)
		}
	}
	if _, err := ask(godwit.Group{Do: []byte(godwit.GroupLeave)}); err != nil && !errors.Is(err, godwit.ErrNotMember) {
		return fmt.Errorf("leave %s: %w", g.id, err)
	}
	e.Groups++
	return s.awaitFanned(ctx, user, g.id)
}

// awaitFanned waits until nothing of a group is on its way to a former member any
// more: a pointer that is sent again would begin his conversation anew.
func (s *Service) awaitFanned(ctx context.Context, user godwit.UserID, group godwit.GroupID) error {
	for {
		var g groupRow
		var m memberRow
		err := s.look(ctx, group.Partition(), func(v View) {
			row, _ := v.Get(appendGroupKey(nil, bytesOf(group)))
			g.parse(row)
			m, _ = memberOf(v, bytesOf(group), bytesOf(user))
		})
		if err != nil || m.left <= g.fanned {
			return err
		}
		if err := s.pause(ctx); err != nil {
			return fmt.Errorf("leave %s: %w", group, err)
		}
	}
}

// awaitLanes waits until what users of a partition have sent so far has arrived:
// lanes are rebuilt from their logs.
func (s *Service) awaitLanes(ctx context.Context, src godwit.Partition) error {
	ends := s.forwarder.ends(src)
	for len(ends) > 0 {
		if err := s.pause(ctx); err != nil {
			return fmt.Errorf("messages on their way: %w", err)
		}
		s.forwarder.arrived(ends)
	}
	return nil
}

// ends returns the lanes of a partition that hold items, and their last ones.
func (f *forwarder) ends(src godwit.Partition) map[laneID]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	ends := map[laneID]uint64{}
	for id, l := range f.lanes {
		if id.src == src && (len(l.items) > 0 || l.reload) {
			ends[id] = l.last
		}
	}
	return ends
}

// arrived drops the ends that the destinations hold.
func (f *forwarder) arrived(ends map[laneID]uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, last := range ends {
		if l := f.lanes[id]; l == nil || !l.reload && l.first > last {
			delete(ends, id)
		}
	}
}

// eraseAccount removes the user's rows, and then his log, until no new row is in
// the way.
func (s *Service) eraseAccount(ctx context.Context, user godwit.UserID, e *Erasure) error {
	home, p := s.homeFor(user), user.Partition()
	for {
		var rows []byte
		count := 0
		err := s.look(ctx, p, func(v View) { rows, count = rowsOf(v, user) })
		if err != nil {
			return err
		}
		if count == 0 {
			_, err := s.run(ctx, p, appendErase(nil, home, eraseUser, bytesOf(user), nil, 0))
			if !errors.Is(err, godwit.ErrUnavailable) {
				return err
			}
			if err := s.pause(ctx); err != nil {
				return err
			}
			continue
		}
		command := append(appendErase(nil, home, eraseRows, bytesOf(user), nil, count), rows...)
		if _, err := s.run(ctx, p, command); err != nil {
			return err
		}
		e.Rows += count
	}
}

// rowsOf names up to eraseRowsMax rows of a user, as an erase command lists them.
func rowsOf(v View, user godwit.UserID) (rows []byte, count int) {
	for _, letter := range []byte(ownedRows) {
		prefix := appendOwnedPrefix(nil, user.Partition(), letter, bytesOf(user))
		v.Scan(prefix, func(key, _ []byte) bool {
			if count == eraseRowsMax {
				return false
			}
			if letter == rowOverlay && len(key)-len(prefix) != 16 {
				return true // of a group of the user's name, in the same partition by chance
			}
			rows = appendShort(append(rows, letter), key[len(prefix):])
			count++
			return true
		})
	}
	return rows, count
}
