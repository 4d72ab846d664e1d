package chat

import "github.com/godwit-im/godwit"

// flushScratch is reused by one group's flushes.
type flushScratch struct {
	frame    godwit.ServerFrame
	entry    godwit.Entry
	sessions []godwit.SessionID
	made     []godwit.Entry // of a fan-out
}

// Flush runs after a batch became visible to readers: it answers the waiters,
// then, if live, hands the effects on. Nothing in it blocks.
func (m *Machine) Flush(group int, live bool) {
	g := &m.groups[group]
	for i := range g.replies {
		g.replies[i].waiter.applied(&g.replies[i].outcome, &g.scratch)
	}
	e := &g.applier.effects
	if s := m.service; live && s != nil {
		s.fanouts.arrived(e, &g.scratch)
		for i := range e.channels {
			s.channels.begins(&e.channels[i], &g.scratch)
		}
		for i := range e.hints {
			s.deliver(&e.hints[i], &g.scratch)
		}
		if len(e.forwards) > 0 {
			s.forwarder.enqueue(e.forwards)
		}
		for i := range e.logouts {
			s.logouts.forget(userOf(e.logouts[i].user))
			s.closeLoggedOut(&e.logouts[i])
		}
		for i := range e.groups {
			s.fanouts.entered(&e.groups[i])
			s.channels.entered(&e.groups[i], &g.scratch)
		}
		for i := range e.memberMarks {
			s.startReceipt(&e.memberMarks[i])
		}
		for _, user := range e.trims {
			s.startTrim(user)
		}
		for _, t := range e.groupTrims {
			s.startGroupTrim(t[0], t[1])
		}
	}
	g.reset()
}

// reset lets go of the batch's commands and keeps the room.
func (g *machineGroup) reset() {
	clear(g.replies)
	g.replies = g.replies[:0]
	e := &g.applier.effects
	clear(e.hints)
	clear(e.forwards)
	clear(e.trims)
	clear(e.groups)
	clear(e.logouts)
	e.logouts = e.logouts[:0]
	clear(e.groupTrims)
	e.groupTrims = e.groupTrims[:0]
	clear(e.memberMarks)
	e.memberMarks = e.memberMarks[:0]
	clear(e.channels)
	e.channels = e.channels[:0]
	clear(e.fanouts)
	clear(e.pointers)
	e.fanouts, e.pointers, e.owns = e.fanouts[:0], e.pointers[:0], e.owns[:0]
	e.hints, e.forwards, e.trims, e.groups = e.hints[:0], e.forwards[:0], e.trims[:0], e.groups[:0]
}

// deliver tells the sessions of a user about a new entry of his log. It is a
// hint: an edge that misses it reads the log.
func (s *Service) deliver(h *hint, scratch *flushScratch) {
	scratch.sessions = s.cfg.Router.Sessions(userOf(h.user), scratch.sessions[:0])
	ids := s.ids.Load()
	if len(scratch.sessions) == 0 && h.incoming && !h.other {
		s.cfg.Presence.Missed(userOf(h.user))
	}
	if len(scratch.sessions) == 0 || ids == nil {
		return
	}
	e := &scratch.entry
	if h.made != nil {
		s.cfg.Edge.Deliver(scratch.sessions, h.made)
		return
	}
	if h.other {
		c := converter{ids: *ids, user: h.user, log: h.log}
		var md meta
		if c.entry(e, &md, &h.record) == shownEntry {
			s.cfg.Edge.Deliver(scratch.sessions, e)
		} else {
			s.cfg.Edge.Hint(scratch.sessions, h.seq)
		}
		return
	}
	*e = godwit.Entry{Seq: h.seq}
	h.block.message(&e.Msg, h.incoming, h.time)
	ids.make(&e.Msg.MID, h.origin, h.originSeq)
	s.cfg.Edge.Deliver(scratch.sessions, e)
}
