package chat

import (
	"slices"

	"github.com/godwit-im/godwit"
)

// followTask asks a worker to bring a session up to date in channels, and to have
// it follow them.
type followTask struct {
	session  godwit.SessionID
	user     godwit.UserID
	channels []wanted
	begins   bool // the session is new: it is told when all of them have begun
}

// wanted is a channel and where the session stands in it.
type wanted struct {
	id    godwit.GroupID
	log   godwit.LogID
	place godwit.Seq
	// what is known of place
	head  bool       // nothing: the session begins at the head
	named bool       // the client said it
	owed  godwit.Seq // with head: a client that resumes may lack what came after it; 0: none does
}

// followNear is how far behind the entry that a channel took over from a client's
// log may stand and the client not have heard yet that the channel began: that is
// told after the entry, and a poll of 100 frames may have ended between the two.
const followNear = 128

// wanted lists the channels of a user whose session begins, and where it stands:
// where the client says; or, if his log tells of the channel only after what the
// client has of it, or just before, where the channel takes over; or else at the
// head. Who is no member any more gets what was his, if the client says where it
// stands.
func (r *read) wanted(v View, resumed bool) (list []wanted, ok bool) {
	named := map[string]godwit.Seq{}
	for _, p := range r.hello.Channels {
		named[string(p.Conv)] = p.GSeq
	}
	ok = eachGroup(v, r.user, func(id []byte, c *conversationRow) bool {
		place, said := named["g:"+string(id)]
		if !c.isChannel() || !c.isMember() && !(resumed && said && place < c.left) {
			return true
		}
		w := wanted{id: godwit.GroupID(id), log: c.groupLog, head: true}
		switch {
		case said:
			w.place, w.named, w.head = place, true, !resumed
		case resumed && c.channelSeq+followNear > r.after:
			w.place, w.head = c.channelFrom, false
		case resumed: // a client that does not say where it stands has to look
			w.owed = c.channelFrom
		}
		list = append(list, w)
		return true
	})
	return list, ok
}

// opens says that a session is about to begin; leave or opened follow.
func (c *channels) opens(session godwit.SessionID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opening[session] = nil
}

// opened has a session that has just begun follow its channels.
func (c *channels) opened(session godwit.SessionID, user godwit.UserID, list []wanted) {
	if len(list) > 0 {
		c.follow(&followTask{session: session, user: user, channels: list, begins: true})
	}
	c.mu.Lock()
	tasks := c.opening[session]
	delete(c.opening, session)
	c.mu.Unlock()
	for _, t := range tasks {
		c.follow(t)
	}
}

// later keeps a task for when its session has begun; false if it has.
func (c *channels) later(t *followTask) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	tasks, ok := c.opening[t.session]
	if ok {
		c.opening[t.session] = append(tasks, t)
	}
	return ok
}

// follow queues a task. It does not block.
func (c *channels) follow(t *followTask) {
	select {
	case c.tasks[uint64(t.session)*0x9E3779B97F4A7C15>>32%followWorkers] <- t:
	default:
		c.refuse(t)
	}
}

func (c *channels) refuse(t *followTask) {
	c.service.cfg.Edge.Close(t.session, godwit.CloseOverloaded, godwit.ErrUnavailable.Code)
}

// begins has the sessions of a user follow a channel from an entry on: his log
// has just got the pointer that says so. A session that connects meanwhile is
// known to the router by now, or finds the pointer.
func (c *channels) begins(e *channelEffect, scratch *flushScratch) {
	user := userOf(e.user)
	scratch.sessions = c.service.cfg.Router.Sessions(user, scratch.sessions[:0])
	if len(scratch.sessions) == 0 {
		return
	}
	user = godwit.UserID(slices.Clone(e.user))
	for _, session := range scratch.sessions {
		t := &followTask{session: session, user: user, channels: []wanted{
			{id: godwit.GroupID(slices.Clone(e.group)), log: e.log, place: e.from},
		}}
		if !c.later(t) {
			c.follow(t)
		}
	}
}

func (c *channels) loop(tasks <-chan *followTask) {
	w := &readWorker{service: c.service}
	for {
		select {
		case <-c.service.stop:
			return
		case t := <-tasks:
			c.serve(w, t)
		}
	}
}

func (c *channels) serve(w *readWorker, t *followTask) {
	fw := followWorker{channels: c, w: w, t: t, entries: c.service.cfg.ResumeMax, bytes: followBytesMax}
	for i := range t.channels {
		if !fw.catchUp(&t.channels[i]) {
			c.leave(t.session)
			c.refuse(t)
			return
		}
	}
	if t.begins {
		fw.tell(&godwit.ServerFrame{Kind: godwit.KindChannel})
	}
	// Who disconnects leaves the router first and the channels then: of one that did
	// so before it was entered here, the router does not know any more.
	if !slices.Contains(c.service.cfg.Router.Sessions(t.user, nil), t.session) {
		c.leave(t.session)
	}
}

// followWorker is one task at work.
type followWorker struct {
	channels *channels
	w        *readWorker
	t        *followTask
	// entries and bytes the session may still be told
	entries, bytes int
}

func (f *followWorker) tell(frame *godwit.ServerFrame) {
	f.channels.service.cfg.Edge.Tell([]godwit.SessionID{f.t.session}, frame)
}

func (f *followWorker) start(id godwit.GroupID, at godwit.Seq, reset bool) {
	f.tell(&godwit.ServerFrame{Kind: godwit.KindChannel, Channel: godwit.ChannelStart{
		Conv: godwit.ConversationID("g:" + id), GSeq: at, Reset: reset,
	}})
}

// catchUp tells the session what it lacks of one channel until it is live. The
// membership is looked at again with each page, at one moment with it. It is
// false for a failure.
func (f *followWorker) catchUp(to *wanted) (ok bool) {
	at := f.channels.enter(f.t.session, f.t.user, to.log)
	if at == nil {
		return true
	}
	to.place = max(to.place, at.place)
	begun := false
	for {
		page, more, sight, ok := f.read(to)
		if !ok {
			return false
		}
		if !sight.member.isMember() && sight.head <= to.place {
			f.channels.end(at, to.place)
			return true
		}
		if !begun {
			begun = true
			if f.begin(to, &sight) {
				continue // at the head: what was read is not told
			}
		} else if (len(page) > 0 || more) && f.tooMuch(to.place, sight.head) {
			to.place = sight.head
			f.start(to.id, to.place, true)
			continue
		}
		for i := range page {
			f.tell(&godwit.ServerFrame{Kind: godwit.KindEvent, Event: page[i]})
			f.bytes -= len(page[i].Msg.Body) + entryOverhead
		}
		f.entries -= len(page)
		if len(page) > 0 {
			to.place = max(page[len(page)-1].GSeq, page[len(page)-1].SkipTo)
		}
		if more {
			continue
		}
		to.place = max(to.place, sight.head)
		if sight.member.isMember() && f.channels.settle(at, to.place, sight.member.since) {
			return true
		}
	}
}

// entryOverhead is about what an entry takes beside its body.
const entryOverhead = 128

// begin says where the channel begins, unless the client knows. moved: not where
// it stood.
func (f *followWorker) begin(to *wanted, sight *groupSight) (moved bool) {
	reset := !to.head && (to.place > sight.head || f.tooMuch(to.place, sight.head))
	if moved = to.head || reset; moved {
		reset = reset || to.named && to.place != sight.head || to.owed != 0 && to.owed < sight.head
		to.place = sight.head
	}
	if moved || !to.named {
		f.start(to.id, to.place, reset)
	}
	return moved
}

func (f *followWorker) tooMuch(place, head godwit.Seq) bool {
	return f.bytes <= 0 || head > place && uint64(head-place) > uint64(max(f.entries, 0))
}

// read reads a page of the channel and what its reader may see, at one moment.
func (f *followWorker) read(to *wanted) (page []godwit.Entry, more bool, sight groupSight, ok bool) {
	w := f.w
	w.failed = false
	defer w.shut()
	v := w.open(f.channels.service.cfg.Store.Group(to.log.Partition()))
	sight, ok, refusal := w.openGroup(v, to.id, f.t.user, 0)
	if refusal != nil {
		return nil, false, sight, false
	}
	if !ok || sight.log != to.log {
		return nil, false, groupSight{}, true // he never was a member
	}
	w.referred, more = sight.page(v, godwit.Page{
		Forward: true, After: to.place, Limit: followPage, BytesMax: followBytes,
	}, w.referred[:0])
	if w.page, ok = w.reader.page(v, w.referred, w.page[:0]); !ok {
		w.damaged(sight.log, to.place)
		return nil, false, sight, false
	}
	clear(w.referred)
	w.shut()
	return w.page, more, sight, !w.failed
}
