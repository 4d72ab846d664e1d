package chat

import (
	"slices"
	"sync"

	"github.com/godwit-im/godwit"
)

// channels knows which sessions follow which channels. An entry of a channel is
// written once, in the group's log, and told to the sessions that follow it.
//
// A session is entered before its worker looks at the log and at the membership,
// and counts as live only when the worker has told it all that there was, the
// entries heard of meanwhile included: so none is missed and none comes twice.
// Who leaves is taken out in the flush of the entry that ends his membership.
type channels struct {
	service *Service
	// tasks are per worker, and those of one session with the same one, in their
	// order: where it begins to follow a channel, the first of them says.
	tasks [followWorkers]chan *followTask

	mu sync.Mutex
	// opening are sessions that are not connected yet, which can't be told anything,
	// with what they will have to do then.
	opening  map[godwit.SessionID][]*followTask
	byLog    map[godwit.LogID]*channel
	sessions map[godwit.SessionID]*follower
	users    map[godwit.UserID][]*follower
}

const (
	followWorkers = 2
	// followTasksMax bounds the sessions that wait for one worker to bring them up to
	// date. Overflow: they are closed, and resume later.
	followTasksMax = 1 << 15
	// followBytesMax bounds what a session is told of all of its channels when it
	// resumes. Overflow: the channel is reset to its head, and the client takes
	// what lies between from history.
	followBytesMax = 1 << 20
	followPage     = 256 // entries read under one lock
	followBytes    = 256 << 10
)

// channel is one that somebody here follows. Guarded by channels.mu.
type channel struct {
	log    godwit.LogID
	heard  godwit.Seq // the newest entry that came by a flush; 0: none yet
	places map[godwit.SessionID]*following
	live   []godwit.SessionID // were told everything through heard
	ahead  []*following       // were told more: they read before the flush
}

// following is one session in one channel. Guarded by channels.mu.
type following struct {
	session godwit.SessionID
	channel *channel
	state   followState
	place   godwit.Seq // everything up to here was told; of followAhead and followEnded
	at      int        // in channel.live; of followLive
	ended   godwit.Seq // the entry that ended his membership; of followCatching
}

type followState uint8

const (
	followCatching followState = iota // a worker has it
	followAhead
	followLive
	followEnded // he is no member; kept, so that nothing comes twice if he is again
)

// followMax bounds the channels kept of one session. Overflow: one whose
// membership ended is forgotten at once.
const followMax = 2 * godwit.ChannelPlacesMax

// follower is a session that follows channels. Guarded by channels.mu.
type follower struct {
	session godwit.SessionID
	user    godwit.UserID
	logs    []godwit.LogID
}

func (c *channels) init(s *Service) {
	c.service = s
	for i := range c.tasks {
		c.tasks[i] = make(chan *followTask, followTasksMax)
	}
	c.opening = map[godwit.SessionID][]*followTask{}
	c.byLog = map[godwit.LogID]*channel{}
	c.sessions = map[godwit.SessionID]*follower{}
	c.users = map[godwit.UserID][]*follower{}
}

// enter adds a session to a channel; nil if it follows it already.
func (c *channels) enter(session godwit.SessionID, user godwit.UserID, log godwit.LogID) *following {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.byLog[log]
	if ch == nil {
		ch = &channel{log: log, places: map[godwit.SessionID]*following{}}
		c.byLog[log] = ch
	}
	if f := ch.places[session]; f != nil {
		if f.state != followEnded {
			return nil
		}
		f.state, f.ended = followCatching, 0
		return f
	}
	f := &following{session: session, channel: ch}
	ch.places[session] = f
	fo := c.sessions[session]
	if fo == nil {
		fo = &follower{session: session, user: user}
		c.sessions[session] = fo
		c.users[user] = append(c.users[user], fo)
	}
	fo.logs = append(fo.logs, log)
	return f
}

// leave takes a session out of all channels.
func (c *channels) leave(session godwit.SessionID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.opening, session)
	if fo := c.sessions[session]; fo != nil {
		for _, log := range slices.Clone(fo.logs) {
			c.removeLocked(c.byLog[log].places[session])
		}
	}
}

// removeLocked takes a session out of one channel.
func (c *channels) removeLocked(f *following) {
	ch, fo := f.channel, c.sessions[f.session]
	ch.stopLocked(f)
	delete(ch.places, f.session)
	if len(ch.places) == 0 {
		delete(c.byLog, ch.log)
	}
	fo.logs = slices.DeleteFunc(fo.logs, func(log godwit.LogID) bool { return log == ch.log })
	if len(fo.logs) > 0 {
		return
	}
	delete(c.sessions, f.session)
	if rest := slices.DeleteFunc(c.users[fo.user], func(other *follower) bool { return other == fo }); len(rest) > 0 {
		c.users[fo.user] = rest
	} else {
		delete(c.users, fo.user)
	}
}

// endLocked is for a session that was told everything through place, the end of
// its user's membership.
func (c *channels) endLocked(f *following, place godwit.Seq) {
	if len(c.sessions[f.session].logs) > followMax {
		c.removeLocked(f)
		return
	}
	f.channel.stopLocked(f)
	f.state, f.place = followEnded, place
}

// stopLocked: the session is told nothing more by flushes.
func (ch *channel) stopLocked(f *following) {
	switch f.state {
	case followLive:
		last := len(ch.live) - 1
		moved := ch.live[last]
		ch.live[f.at] = moved
		ch.places[moved].at = f.at
		ch.live = ch.live[:last]
	case followAhead:
		ch.ahead = slices.DeleteFunc(ch.ahead, func(other *following) bool { return other == f })
	case followCatching, followEnded:
	}
}

// settle ends the catching up of a session that was told everything through place
// and is a member since the entry since. done is false if there is more to tell.
func (c *channels) settle(f *following, place, since godwit.Seq) (done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := f.channel
	switch {
	case ch.places[f.session] != f:
		return true // its session has ended
	case f.ended >= since || place < ch.heard:
		return false
	}
	if place > ch.heard {
		f.state, f.place = followAhead, place
		ch.ahead = append(ch.ahead, f)
		return true
	}
	ch.goLive(f)
	return true
}

func (ch *channel) goLive(f *following) {
	f.state, f.at = followLive, len(ch.live)
	ch.live = append(ch.live, f.session)
}

// end is for a session whose user is no member any more, and was told everything
// through place. If he is one again by now, a task says so.
func (c *channels) end(f *following, place godwit.Seq) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.channel.places[f.session] == f {
		c.endLocked(f, place)
	}
}

// entered tells the sessions that follow a channel of its new entry. Called from
// flushes, for one channel in the order of its log; it does not block.
func (c *channels) entered(e *groupEffect, scratch *flushScratch) {
	ids := c.service.ids.Load()
	if !e.channel || ids == nil {
		return
	}
	var md meta
	scratch.sessions = scratch.sessions[:0]
	f := &scratch.frame
	*f = godwit.ServerFrame{Kind: godwit.KindEvent}
	seq := e.record.Seq

	c.mu.Lock()
	ch := c.byLog[e.log]
	if ch == nil || seq <= ch.heard {
		c.mu.Unlock()
		return
	}
	if ch.heard != 0 && seq != ch.heard+1 {
		c.lostLocked(ch)
	}
	ch.ahead = slices.DeleteFunc(ch.ahead, func(f *following) bool {
		if f.place < seq {
			ch.goLive(f)
			return true
		}
		return false
	})
	ch.heard = seq
	scratch.sessions = append(scratch.sessions, ch.live...)
	if md.parse(e.record.Meta) && md.kind == recordChange {
		c.changedLocked(ch, e)
	}
	c.mu.Unlock()

	if len(scratch.sessions) == 0 {
		return
	}
	if ids.groupEntry(&f.Event, &md, groupOfID(e.group), e.log, &e.record) != shownEntry {
		panic("BUG: a record that was just written does not parse")
	}
	c.service.cfg.Edge.Tell(scratch.sessions, f)
}

// changedLocked takes out those whose membership an entry ends: they are told of
// it, and of nothing after it.
func (c *channels) changedLocked(ch *channel, e *groupEffect) {
	change, ok := parseGroupChange(e.record.Body)
	if !ok || change.do != doRemove && change.do != doLeave {
		return
	}
	for user := range change.named() {
		for _, fo := range slices.Clone(c.users[userOf(user)]) {
			switch f := ch.places[fo.session]; {
			case f == nil || f.state == followEnded:
			case f.state == followCatching:
				f.ended = e.record.Seq
			default:
				c.endLocked(f, e.record.Seq)
			}
		}
	}
}

// lostLocked closes the sessions that would miss an entry whose flush told nobody.
// They come back and say where they stand.
func (c *channels) lostLocked(ch *channel) {
	for _, session := range ch.live {
		c.service.cfg.Edge.Close(session, godwit.CloseOverloaded, godwit.ErrUnavailable.Code)
	}
	for len(ch.live) > 0 {
		c.removeLocked(ch.places[ch.live[0]])
	}
}
