package edge

import (
	"slices"

	"github.com/godwit-im/godwit"
)

// Hint says that the log of the user of these sessions has entries up to head.
func (e *Edge) Hint(sessions []godwit.SessionID, head godwit.Seq) {
	e.spread(sessions, func(l *loop, _ form, sessions []godwit.SessionID) {
		if !l.box.lock() {
			return
		}
		defer l.box.unlock()
		for _, id := range sessions {
			if len(l.box.in.items) >= hintsMax {
				l.stats.hintsLost.Add(1)
				continue
			}
			l.box.putLocked(item{kind: itemHint, session: id, seq: head, to: head}, nil)
		}
	})
}

// Tell writes a frame outside of the user's log to sessions that are connected,
// in order with everything else. It is encoded at most once per form. A session
// that cannot be told is closed, and its client finds what it missed by its
// places when it comes back.
func (e *Edge) Tell(sessions []godwit.SessionID, f *godwit.ServerFrame) {
	e.announce(itemTell, sessions, f)
}

// Whisper writes an ephemeral frame to those sessions that have room for it.
func (e *Edge) Whisper(sessions []godwit.SessionID, f *godwit.ServerFrame) {
	e.announce(itemWhisper, sessions, f)
}

// What an itemTell's field to says of the place in a channel that it tells of.
const (
	placeMoves  godwit.Seq = 1 + iota // everything up to seq was told, if this is written
	placeStarts                       // the channel begins here, whatever was told before
	placesEnd                         // every channel has begun; there is no frame
)

// placeOf finds what a frame says of a channel. conv aliases the frame.
func placeOf(f *godwit.ServerFrame) (conv []byte, at, what godwit.Seq) {
	switch e := &f.Event; {
	case f.Kind == godwit.KindChannel && f.Channel.Conv == "":
		return nil, 0, placesEnd
	case f.Kind == godwit.KindChannel:
		return []byte(f.Channel.Conv), f.Channel.GSeq, placeStarts
	case f.Kind != godwit.KindEvent || e.Seq != 0 || e.GSeq == 0:
		return nil, 0, 0
	case e.Group != nil:
		return []byte(e.Group.Conv), e.GSeq, placeMoves
	case e.Receipt != nil:
		return []byte(e.Receipt.Conv), e.GSeq, placeMoves
	default:
		return e.Msg.Conv, e.GSeq, placeMoves
	}
}

// announce puts a frame into the mailboxes of its sessions. In the arena the
// channel's name stands before the frame: polls keep its place by it.
func (e *Edge) announce(kind itemKind, sessions []godwit.SessionID, f *godwit.ServerFrame) {
	conv, at, what := placeOf(f)
	it := item{kind: kind, seq: at, to: what, extra: uint32(len(conv))}
	c := e.codecs.get()
	defer e.codecs.put(c)
	made := form(forms) // the form that framed is in
	e.spread(sessions, func(l *loop, to form, sessions []godwit.SessionID) {
		if made != to {
			made = to
			c.framed = append(c.framed[:0], conv...)
			if what != placesEnd {
				c.framed = c.appendFrame(c.framed, to, f)
			}
		}
		l.take(it, sessions, c.framed)
	})
}

// take puts one frame into the loop's mailbox for some of its sessions. Any
// goroutine calls it.
func (l *loop) take(it item, sessions []godwit.SessionID, b []byte) {
	box := &l.box
	if !box.lock() {
		return
	}
	defer box.unlock()
	itemsMax, bytesMax := tellsMax, owedBytesMax
	if it.kind == itemWhisper {
		itemsMax, bytesMax = whispersMax, whisperBytesMax
	}
	fits := len(box.in.items) < itemsMax && len(box.in.arena)+len(b) <= bytesMax
	switch {
	case it.kind == itemWhisper && !fits:
		l.stats.whispersLost.Add(uint64(len(sessions)))
		return
	case it.kind == itemTell && (!fits || box.in.untold != nil):
		l.stats.tellsLost.Add(uint64(len(sessions)))
		for _, id := range sessions {
			box.in.oweLocked(idSlot(id))
		}
		return
	}
	box.in.items = roomFor(box.in.items, len(sessions), hintsMax)
	for i, id := range sessions {
		it.session = id
		if i == 0 {
			box.putLocked(it, b)
		} else {
			box.shareLocked(it)
		}
	}
}

// oweLocked notes a session that missed something it was owed: it is closed once
// what came before is written, and from here on nobody is told anything by these
// letters, so that nobody is told what comes after a hole.
func (ls *letters) oweLocked(slot uint32) {
	word := int(slot / 64)
	if word >= len(ls.untold) {
		ls.untold = append(ls.untold, make([]uint64, word+1-len(ls.untold))...)
	}
	ls.untold[word] |= 1 << (slot % 64)
}

// closeUntold ends the sessions that these letters had no room for.
func (l *loop) closeUntold() {
	untold := l.box.cur.untold
	l.box.cur.untold = nil
	for word, set := range untold {
		for bit := range 64 {
			slot := uint32(word*64 + bit)
			if set&(1<<bit) == 0 || int(slot) >= l.sessions.slots() {
				continue
			}
			if s := l.sessions.at(slot); s.state == stateLive || s.state == statePoll {
				l.closeSession(s, overloaded())
				l.readOn(s)
			}
		}
	}
}

// told writes what a session is told, or whispers to it.
func (l *loop) told(s *session, it *item) {
	b := l.box.cur.bytes(it)
	frame := b[it.extra:]
	whisper := it.kind == itemWhisper
	switch s.state {
	case stateLive:
		if whisper && s.conn.OutboundBuffered() > whisperWaitingMax {
			l.stats.whispersLost.Add(1)
			return
		}
		l.emit(s, frame)
		if l.edge.cfg.Hold && it.to != 0 && it.to != placesEnd {
			l.moveIn(s, b[:it.extra], it.seq, it.to)
		}
	case statePoll:
		if whisper {
			l.whisperPoll(s, frame)
			return
		}
		l.tellPoll(s, b[:it.extra], it.seq, it.to, frame)
		return
	default:
		return // it was opened before it could be told, so it has ended since
	}
	l.countTold(whisper)
}

func (l *loop) countTold(whisper bool) {
	if whisper {
		l.stats.whispers.Add(1)
	} else {
		l.stats.tells.Add(1)
	}
}

// whisperWaitingMax is what may wait for a session that ephemeral frames are
// still added to.
const whisperWaitingMax = 16 << 10

// spread calls put once for each form and loop that some of the sessions are of,
// with those sessions in the order given.
func (e *Edge) spread(sessions []godwit.SessionID, put func(l *loop, to form, sessions []godwit.SessionID)) {
	if len(sessions) == 1 {
		if i := idLoop(sessions[0]); i < len(e.loops) {
			put(e.loops[i], idForm(sessions[0]), sessions)
		}
		return
	}
	sorted, ok := e.sorting.Get().(*[]godwit.SessionID)
	if !ok {
		sorted = new([]godwit.SessionID)
	}
	*sorted = slices.Grow((*sorted)[:0], len(sessions))[:len(sessions)]
	var ends [int(forms) * loopsMax]uint32
	for _, id := range sessions {
		ends[spreadKey(id)]++
	}
	sum := uint32(0)
	for i, n := range ends {
		ends[i] = sum
		sum += n
	}
	for _, id := range sessions {
		at := &ends[spreadKey(id)]
		(*sorted)[*at] = id
		*at++
	}
	start := uint32(0)
	for key, end := range ends {
		if i := key % loopsMax; end > start && i < len(e.loops) {
			put(e.loops[i], form(key/loopsMax), (*sorted)[start:end])
		}
		start = end
	}
	if cap(*sorted) <= sortKeep {
		e.sorting.Put(sorted)
	}
}

// spreadKey orders by form first, so that each is encoded once.
func spreadKey(id godwit.SessionID) int { return int(idForm(id))*loopsMax + idLoop(id) }

const sortKeep = 64 << 10 // sessions
