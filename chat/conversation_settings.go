package chat

import (
	"bytes"

	"github.com/godwit-im/godwit"
)

// changeConversation sets what the user alone sees of a conversation.
func (s *Service) changeConversation(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.ConversationChange) {
	peer, refusal := peerOf(f.Conv)
	c := &conversationChange{
		service: s, request: request{session: session, id: id, what: requestSend},
		group:   s.cfg.Store.Group(user.Partition()),
		command: conversationCommand{user: bytes.Clone(bytesOf(user)), peer: []byte(peer), deleted: f.Delete},
	}
	c.command.set(givenMute, f.HasMute, 0, false)
	c.command.set(givenPin, f.HasPin, convPinned, f.Pin)
	c.command.set(givenArchive, f.HasArchive, convArchived, f.Archive)
	if f.HasMute {
		c.command.mute = f.Mute
	}
	switch {
	case refusal != nil:
	case c.command.given == 0 && f.Delete == 0, f.Mute < 0 || f.Mute > 1<<62:
		refusal = godwit.ErrFrameInvalid
	case f.Delete > godwit.SeqMax:
		refusal = godwit.ErrBadCursor
	case !s.deadlines.add(&c.request):
		refusal = godwit.ErrUnavailable
	}
	if refusal != nil {
		s.refuse(session, id, refusal)
		return
	}
	s.changes.start(c)
}

// set notes one field of a change.
func (c *conversationCommand) set(given uint8, has bool, flag uint64, on bool) {
	if !has {
		return
	}
	c.given |= given
	if on {
		c.flags |= flag
	}
}

// conversationChange is one such command on its way.
type conversationChange struct {
	service *Service
	request
	group   int          // where to look next
	channel godwit.LogID // of the group, if the conversation is a channel and its log is to be looked at
	command conversationCommand
	refusal *godwit.Error
}

func (c *conversationChange) place() int { return c.group }

// look finds the ordinal of what is deleted.
func (c *conversationChange) look(v View) (command []byte, next step) {
	user, p := userOf(c.command.user), userOf(c.command.user).Partition()
	switch {
	case c.channel != 0:
		return c.lookAtChannel(v)
	case c.command.deleted == 0:
		return c.propose(p)
	}
	u, refusal := userOfView(v, user)
	var row conversationRow
	value, ok := v.Get(appendConversationKey(nil, p, c.command.user, c.command.peer))
	switch {
	case refusal != nil || ok && !row.parse(value):
		return c.refuse(godwit.ErrInternal)
	case !ok:
		return c.refuse(godwit.ErrNotMember)
	case row.isChannel():
		c.channel, c.group = row.groupLog, c.service.cfg.Store.Group(row.groupLog.Partition())
		return nil, stepAgain
	case c.command.deleted > v.Head(u.logID(user)):
		return c.refuse(godwit.ErrBadCursor)
	case owes(v, laneID{p, userOf(c.command.peer).Partition()}, u.log, c.command.deleted):
		return c.refuse(godwit.ErrUnavailable)
	}
	at := positionAt(v, u.logID(user), &row, c.command.deleted)
	if c.command.ordinal = at.ordinal; isGroup(c.command.peer) {
		c.command.gseq = at.peer
	}
	return c.propose(p)
}

// owes tells whether a lane still has to bring messages of a log up to a sequence
// to their recipients: its rows name the entries, which must not be erased before.
// What the log has by now enters no lane any more, so the answer no stays true.
func owes(v View, lane laneID, log uint64, upTo godwit.Seq) (found bool) {
	v.Scan(appendOutboxPrefix(nil, lane), func(_, value []byte) bool {
		var o outboxRow
		found = !o.parse(value) || o.kind == itemMessage && o.log == log && o.seq <= upTo
		return !found
	})
	return found
}

func (c *conversationChange) lookAtChannel(v View) (command []byte, next step) {
	var g groupRow
	value, ok := v.Get(appendGroupKey(nil, c.command.peer[2:]))
	switch {
	case ok && !g.parse(value):
		return c.refuse(godwit.ErrInternal)
	case !ok:
		return c.refuse(godwit.ErrNotMember)
	case c.command.deleted > g.head:
		return c.refuse(godwit.ErrBadCursor)
	}
	c.command.channel = true
	c.command.ordinal = channelOrdinal(v, c.channel, c.command.deleted, g.messages)
	return c.propose(userOf(c.command.user).Partition())
}

func (c *conversationChange) propose(p godwit.Partition) ([]byte, step) {
	c.group = c.service.cfg.Store.Group(p)
	return c.command.append(nil, homeOf(c.group, c.service.cfg.Store.Groups())), stepPropose
}

func (c *conversationChange) refuse(e *godwit.Error) ([]byte, step) {
	c.refusal = e
	return nil, stepDone
}

func (c *conversationChange) finish() { c.Fail(c.refusal) }

func (c *conversationChange) Fail(err error) {
	if c.service.deadlines.claim(&c.request) {
		c.service.refuse(c.session, c.id, publicError(err))
	}
}

func (c *conversationChange) applied(o *outcome, scratch *flushScratch) {
	if o.refusal != nil {
		c.Fail(o.refusal)
		return
	}
	if c.service.deadlines.claim(&c.request) {
		f := &scratch.frame
		*f = godwit.ServerFrame{ID: c.id, Kind: godwit.KindDone, Done: godwit.Done{Seq: o.seq, Dup: o.dup}}
		c.service.cfg.Edge.Reply(c.session, f)
	}
}
