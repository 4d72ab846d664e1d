package client

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/godwit-im/godwit"
)

// event takes a live entry of the user's log or of a channel.
func (l *loop) event(e godwit.Entry) {
	if e.Seq == 0 {
		l.channels.offer(e)
		return
	}
	l.pushed = max(l.pushed, end(&e))
	l.feed.offer(e)
}

// received heeds what the application has just taken.
func (l *loop) received(item *Item) {
	if item.left != "" {
		l.channels.drop(item.left)
	}
	l.delivered.note(item, l.state.Welcome.User)
	l.markDelivered(l.now())
}

// ephemeral hands on what is never stored.
func (l *loop) ephemeral(e *godwit.Ephemeral) {
	switch {
	case e.IsTyping && l.cfg.OnTyping != nil:
		l.cfg.OnTyping(e.Typing)
	case e.IsReceipt && l.cfg.OnReceipt != nil:
		l.cfg.OnReceipt(e.Receipt)
	case !e.IsTyping && !e.IsReceipt && e.Presence.User != "" && l.cfg.OnPresence != nil:
		l.cfg.OnPresence(e.Presence)
	}
}

// fetchChannels asks for pages of channels with a hole, one of each at a time.
func (l *loop) fetchChannels() {
	for {
		conv, after, ok := l.channels.missing(l.queue.page)
		if !ok {
			return
		}
		r := newRequest(godwit.KindHistory)
		h := &r.frame.History
		h.Conv, h.GAfter, h.HasGAfter, h.Limit = []byte(conv), after, true, uint32(l.queue.page)
		ch := l.channels.by[conv]
		ch.fetching, ch.asked = true, ch.owed
		r.then = func(r *request) {
			if r.err != nil { // no longer a member, or the client ends
				l.channels.drop(conv)
				return
			}
			l.channels.fill(conv, &r.reply.History)
		}
		l.queue.push(r)
	}
}

// askGates asks for the head of the log when channels began that the client did
// not know.
func (l *loop) askGates() {
	convs := l.channels.ungated
	if len(convs) == 0 {
		return
	}
	l.channels.ungated = nil
	r := newRequest(godwit.KindSync)
	r.frame.Sync.Since, r.frame.Sync.Limit = l.feed.cursor, 1
	r.then = func(r *request) {
		if r.err != nil {
			l.channels.setGate(convs, 0)
			return
		}
		l.channels.setGate(convs, r.reply.Sync.Head)
	}
	l.queue.push(r)
}

// request takes one from a caller. What is written once and never again is done
// here: nobody wants to know later that someone was typing.
func (l *loop) request(r *request) {
	if f := &r.frame; f.Kind == godwit.KindPresence && f.Presence.HasWatch {
		l.watched = f.Presence.Watch
	}
	if r.frame.Kind != godwit.KindTyping {
		l.queue.push(r)
		return
	}
	if l.current == nil {
		r.finish(nil, ErrNotSent)
		return
	}
	if l.poller() != nil { // a POST answers each of its commands
		r.frame.ID = l.queue.nextID()
		l.queue.flying[r.frame.ID] = nil // whose answer nobody waits for
	}
	if !l.write(l.current, &r.frame) {
		r.finish(nil, ErrNotSent)
		return
	}
	r.finish(nil, nil)
}

// watchAgain tells a new session whom to watch.
func (l *loop) watchAgain() {
	if len(l.watched) == 0 {
		return
	}
	r := newRequest(godwit.KindPresence)
	r.frame.Presence.Watch, r.frame.Presence.HasWatch = l.watched, true
	r.then = func(r *request) {
		if r.err == nil { // what changed meanwhile
			l.seen(r.reply.Presence.Users)
		}
	}
	l.queue.push(r)
}

// seen hands on where users are now.
func (l *loop) seen(users []godwit.PresenceItem) {
	for _, item := range users {
		if l.cfg.OnPresence != nil {
			l.cfg.OnPresence(item)
		}
	}
}

// Delivered marks go out at most this often, and for so many conversations at a
// time: those that waited longer than a second are no later for it.
const (
	deliveredEvery = time.Second
	deliveredMax   = 20
)

// delivered gathers how far each conversation was received. Marks only move
// forward, so that only the newest of each counts.
type delivered struct {
	off     bool // not wanted, or the server has none
	pending map[godwit.ConversationID]godwit.Seq
	at      time.Time // not before
}

func (d *delivered) init(cfg *Config) {
	d.off, d.pending = cfg.NoDelivered, map[godwit.ConversationID]godwit.Seq{}
}

func (d *delivered) note(item *Item, self godwit.UserID) {
	e := &item.Entry
	if d.off || item.Gap != nil || e.IsSkip() || e.Kind != godwit.EntryMessage || string(e.Msg.From) == string(self) {
		return
	}
	seq := e.Seq
	if seq == 0 {
		seq = e.GSeq
	}
	d.pending[godwit.ConversationID(e.Msg.Conv)] = seq
}

// deliverAt is when marks are due; zero: none wait.
func (l *loop) deliverAt() time.Time {
	if len(l.delivered.pending) == 0 || l.current == nil {
		return time.Time{}
	}
	if l.delivered.at.IsZero() {
		return l.now()
	}
	return l.delivered.at
}

func (l *loop) markDelivered(now time.Time) {
	d := &l.delivered
	if len(d.pending) == 0 || l.current == nil || now.Before(d.at) {
		return
	}
	d.at = now.Add(deliveredEvery)
	convs := slices.Sorted(maps.Keys(d.pending))
	for _, conv := range convs[:min(len(convs), deliveredMax)] {
		r := newRequest(godwit.KindMark)
		r.wants = godwit.KindDone
		r.frame.Mark.Conv, r.frame.Mark.Delivered = []byte(conv), d.pending[conv]
		delete(d.pending, conv)
		r.then = func(r *request) {
			if errors.Is(r.err, godwit.ErrUnsupported) || errors.Is(r.err, godwit.ErrFrameUnknown) {
				d.off = true
				clear(d.pending)
			}
		}
		l.queue.push(r)
	}
}
