package edge

import (
	"slices"

	"github.com/godwit-im/godwit"
)

// kept is what a session needs, beside itself, to be opened again. A session that
// asks for nothing, follows no channel and watches nobody has none. Only with
// Config.Hold.
type kept struct {
	asked    []asked               // requests not yet answered, at most Limits.InFlight and one
	channels []godwit.ChannelPlace // where its client stands in channels
	watch    []byte                // the presence request that watches whom it watches; nil: nobody
	listed   uint32                // number of that request
	requests uint32                // that change whom it watches, so far
	watches  bool                  // that request is to be made again
}

// asked is one request that the chat tier was asked to answer.
type asked struct {
	id       uint64
	watch    []byte // as it stands in kept, if the request names a list
	number   uint32 // of kept.requests, likewise
	lists    bool   // it names a list
	doubtful bool   // it changes something
}

const (
	keptSpareMax  = 256 // of one loop, for sessions that ask again
	keptAskedKeep = 32
)

// watchAgainID names the request that the edge makes in a session's name. Its
// answer goes to the client without an id. No client may use it.
const watchAgainID = uint64(godwit.SeqMax)

// watchAgainTicks is how long after a session was opened again its list is asked
// for at the earliest, and how long that is spread: most of those on it, who are
// announced as well, are online again by then.
const watchAgainTicks = 2 * ticksPerSecond

// keep returns what is kept of a session, made now if there was nothing.
func (l *loop) keep(s *session) *kept {
	if s.kept == nil {
		if n := len(l.spareKept); n > 0 {
			s.kept = l.spareKept[n-1]
			l.spareKept = l.spareKept[:n-1]
		} else {
			s.kept = new(kept)
		}
	}
	return s.kept
}

// letGo gives back what is kept of a session, if that is nothing any more.
func (l *loop) letGo(s *session) {
	k := s.kept
	if k == nil || len(k.asked) > 0 || len(k.channels) > 0 || len(k.watch) > 0 {
		return
	}
	s.kept = nil
	if len(l.spareKept) < keptSpareMax && cap(k.asked) <= keptAskedKeep {
		*k = kept{asked: k.asked}
		l.spareKept = append(l.spareKept, k)
	}
}

// ask notes a request that the chat tier is about to be asked to answer.
func (l *loop) ask(s *session, f *godwit.ClientFrame) {
	k := l.keep(s)
	a := asked{id: f.ID, doubtful: isChange(f)}
	if p := &f.Presence; f.Kind == godwit.KindPresence && p.HasWatch && (len(p.Device) == 0 || string(p.Device) == s.device) {
		k.requests++
		a.number, a.lists = k.requests, true
		if len(p.Watch) > 0 {
			watch := godwit.ClientFrame{ID: watchAgainID, Kind: godwit.KindPresence, Presence: godwit.Presence{Watch: p.Watch, HasWatch: true}}
			a.watch = watch.AppendTo(nil, godwit.EncodingProto)
		}
	}
	k.asked = append(k.asked, a)
}

// answered takes a request off those not yet answered; false if it is not one of
// them, so that its client has its answer.
func (l *loop) answered(s *session, id uint64, failed bool) bool {
	k := s.kept
	if k == nil {
		return false
	}
	i := slices.IndexFunc(k.asked, func(a asked) bool { return a.id == id })
	if i < 0 {
		return false
	}
	a := k.asked[i]
	k.asked = slices.Delete(k.asked, i, i+1)
	switch {
	case failed && id == watchAgainID:
		k.watches = true
	case !failed && a.lists && int32(a.number-k.listed) > 0:
		k.watch, k.listed, k.watches = a.watch, a.number, false
	}
	l.letGo(s)
	return true
}

// watchAgain asks for whom the session watched, once it may ask. Where they are
// now goes to the client, as an answer that it did not ask for.
func (l *loop) watchAgain(s *session) {
	k := s.kept
	if k == nil || !k.watches || s.held || slices.ContainsFunc(k.asked, func(a asked) bool { return a.lists }) {
		return // of a list that the client asks for itself the answer comes first
	}
	k.watches = false
	var f godwit.ClientFrame
	if len(k.watch) == 0 || f.Parse(godwit.EncodingProto, k.watch) != nil {
		return
	}
	k.asked = append(k.asked, asked{id: watchAgainID})
	s.inFlight++
	l.edge.cfg.Chat.Request(l.id(s), s.user, &f)
}

// moveIn notes what a session was told of a channel.
func (l *loop) moveIn(s *session, conv []byte, at, what godwit.Seq) {
	k := l.keep(s)
	k.channels = movePlace(k.channels, conv, at, what == placeStarts)
}

// isChange tells whether a request may have had an effect when its answer is lost.
func isChange(f *godwit.ClientFrame) bool {
	switch f.Kind {
	case godwit.KindSync, godwit.KindHistory, godwit.KindConversations, godwit.KindPresence, godwit.KindTyping:
		return false
	case godwit.KindGroup:
		switch string(f.Group.Do) {
		case godwit.GroupInfo, godwit.GroupMembers, godwit.GroupList, godwit.GroupReceipts:
			return false
		}
	case godwit.KindDevice:
		return string(f.Device.Do) != godwit.DeviceList
	case godwit.KindBlock:
		return len(f.Block.Add)+len(f.Block.Remove) > 0
	case godwit.KindContact:
		return len(f.Contact.Add)+len(f.Contact.Remove) > 0
	}
	return true
}

// epochs are the incarnations of logs that sessions of a loop were opened with:
// one for each raft group, and one more for each restore. A session holds the place
// of its own.
type epochs struct {
	names []string
	at    map[string]uint32
}

func (e *epochs) of(name string) uint32 {
	at, known := e.at[name]
	if !known {
		if e.at == nil {
			e.at = map[string]uint32{}
		}
		at = uint32(len(e.names))
		e.names = append(e.names, name)
		e.at[name] = at
	}
	return at
}
