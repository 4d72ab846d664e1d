package edge

import (
	"slices"
	"strconv"
	"time"

	"github.com/godwit-im/godwit"
)

// PollPath is where long-polling clients wait for frames.
const PollPath = "/v1/poll"

// Bounds of one poll's answer, and how long it may be held.
const (
	pollFramesMax = 100
	pollBytesMax  = 256 << 10
	pollWait      = 25 // s
	pollLinger    = 15 * time.Millisecond
	// pollTellsMax and pollTellBytesMax are what frames outside of the log may take
	// of an answer, so that the log is never kept waiting by a busy channel.
	pollTellsMax     = pollFramesMax * 3 / 4
	pollTellBytesMax = pollBytesMax * 3 / 4
	// pollWhisperBytesMax is the body to which ephemeral frames are still added.
	pollWhisperBytesMax = whisperWaitingMax
	pollBeginTicks      = ticksPerSecond // how long the ends of Welcome.Channels are awaited
	pollQuietTicks      = ticksPerSecond // ephemeral frames end no poll younger than this
)

// pollQuery is what a poll asks, as the query says it.
type pollQuery struct {
	hello Hello
	wait  uint32 // ticks
}

// poll begins GET /v1/poll: the token is verified, then the chat tier is asked
// to open a session that lives until the answer.
func (l *loop) poll(s *session, headBytes int) {
	r := &l.request
	switch {
	case string(r.Method) == "OPTIONS":
		l.preflight(s, headBytes)
		return
	case string(r.Method) != "GET":
		l.refuse(s, 405, "Poll with GET; requests go to POST "+CallPath+".")
		return
	case r.HasBody():
		l.refuse(s, 413, "No body is expected here.")
		return
	case !l.beginExchange(s):
		return
	}
	q, ok := l.parsePoll()
	if !ok {
		l.refuse(s, 400, "Give device, and c as the last poll frame gave it, or epoch, seq and channels, or none of them; wait is a number of seconds.")
		return
	}
	enc, ok := encodingOf(r.Get("Accept"))
	if !ok && r.HasToken("Accept", protobufType) {
		enc = godwit.EncodingProto
	}
	if !s.bearer {
		l.verifyBearer(s)
		return
	}
	if !l.beginHandshake(s) || !q.hello.Resume && l.edge.cfg.Sessions.Full() {
		l.refuse(s, 503, "Too many sessions are on their way; try again.")
		return
	}
	x := l.newExchange()
	x.wait, x.first, x.epoch = q.wait, !q.hello.Resume, q.hello.Epoch
	x.channels = q.hello.Channels
	q.hello.Channels, _ = takePlaces(x.channels) // the receiver's own
	s.exchange, s.encoding = x, enc
	s.flow.cursor = q.hello.ResumeSeq
	l.discard(s, headBytes)
	q.hello.User, q.hello.Issued = s.user, s.issued
	s.stamp = l.edge.cfg.Stamp(q.hello.Stamp)
	q.hello.Stamp = s.stamp
	s.device = q.hello.Device
	s.state = statePollOpening
	s.deadline = l.now + l.edge.ticks.answer
	l.arm(s)
	s.joined, s.attachment = true, l.edge.attachment.Load()
	l.edge.cfg.Sessions.Began(l.id(s), s.user, s.device, s.stamp, true)
	l.edge.cfg.Chat.Connect(l.id(s), q.hello)
}

// parsePoll reads the query. Where a poll goes on is said by a cursor, or by
// epoch and seq for a client that comes from a WebSocket.
func (l *loop) parsePoll() (q pollQuery, ok bool) {
	r := &l.request
	value := func(name string) (v []byte, found bool) {
		v, found, once := r.QueryValue(nil, name)
		ok = ok && once
		return v, found
	}
	ok = true
	device, _ := value("device")
	wait, hasWait := value("wait")
	cursor, hasCursor := value("c")
	epoch, hasEpoch := value("epoch")
	seq, hasSeq := value("seq")
	channels, hasChannels := value("channels")
	stamp, hasStamp := value("stamp")
	seconds := uint64(pollWait)
	var err error
	if hasWait {
		if seconds, err = strconv.ParseUint(string(wait), 10, 32); err != nil {
			return q, false
		}
	}
	q.wait = uint32(min(seconds, uint64(l.edge.cfg.Limits.Wait))) * ticksPerSecond
	q.hello.Device = string(device)
	echo, isStamp := godwit.ParseStamp(stamp)
	q.hello.Stamp, ok = echo, ok && isStamp
	if hasCursor {
		at, isCursor := parseCursor(cursor)
		ok = ok && isCursor && !hasEpoch && !hasSeq && !hasChannels && !hasStamp
		q.hello.Epoch, q.hello.ResumeSeq, q.hello.Stamp, q.hello.Channels = at.epoch, at.seq, at.stamp, at.channels
	} else if hasEpoch || hasSeq {
		n, err := strconv.ParseUint(string(seq), 10, 64)
		ok = ok && err == nil && godwit.Seq(n) <= godwit.SeqMax && hasEpoch && len(epoch) <= godwit.IDBytesMax
		q.hello.Epoch, q.hello.ResumeSeq = string(epoch), godwit.Seq(n)
		if hasChannels {
			places, good := parsePlaces(append([]byte{','}, channels...), 10)
			slices.SortFunc(places, comparePlaces)
			q.hello.Channels, ok = places, ok && good && isAscending(places)
		}
	} else {
		ok = ok && !hasChannels
	}
	q.hello.Resume = hasCursor || hasEpoch
	return q, ok && godwit.ValidID(q.hello.Device)
}

// pollConnected goes on when the chat tier has opened the session.
func (l *loop) pollConnected(s *session, w godwit.Welcome) {
	l.endHandshake(s)
	x := s.exchange
	x.epoch = w.Epoch
	switch {
	case x.first:
		reply := l.connectReply(s, 0, &w)
		s.flow.cursor = w.Head
		x.body = reply.AppendFrameTo(x.body, s.encoding)
		if !w.Channels {
			l.answerPoll(s)
			return
		}
		l.holdPoll(s, &w)
	case !w.Resumed:
		l.respondError(s, godwit.ErrPollGone, 0)
	default:
		l.holdPoll(s, &w)
		l.follow(s, s.flow.opened(l.edge.pollWindow, w.Start, w.Head, false), nil)
		if !s.flow.fetching && !x.beginning && (x.wait == 0 || l.edge.goaway.Load() != nil) {
			l.answerPoll(s)
		}
	}
}

// holdPoll has the poll collect frames until there is a reason to answer.
func (l *loop) holdPoll(s *session, w *godwit.Welcome) {
	x := s.exchange
	s.state = statePoll
	l.stats.polls.Add(1)
	x.since, x.beginning = l.now, w.Channels
	s.deadline = l.now + x.wait
	if x.beginning {
		s.deadline = l.now + pollBeginTicks
	}
	s.checkAt = l.now + compareIn(l.edge.ticks.compare)
	l.arm(s)
}

// showPoll adds an entry's frame to the answer.
func (l *loop) showPoll(s *session, framed []byte) {
	x := s.exchange
	l.stats.framesOut.Add(1)
	x.body = appendJoined(x.body, s.encoding, framed)
}

// settlePoll answers a poll that has something to say: at once when it caught up
// or is full, a moment later when more may be on its way. live tells that what
// it has was just sent.
func (l *loop) settlePoll(s *session, live bool) {
	x := s.exchange
	switch {
	case s.state != statePoll || s.flow.fetching:
	case x.beginning && s.flow.open(l.window(s)):
	case len(x.body) == 0:
		if x.wait == 0 {
			l.answerPoll(s)
		}
	case live && s.flow.open(l.window(s)):
		if !x.lingers {
			x.lingers = true
			l.linger(s)
		}
	default:
		l.answerPoll(s)
	}
}

// overduePoll answers a poll whose time is up. One that awaited the places of its
// channels in vain goes on as if they had come.
func (l *loop) overduePoll(s *session) {
	x := s.exchange
	if x.beginning && !x.first {
		x.beginning = false
		if s.deadline = x.since + x.wait; !l.reached(s.deadline) {
			l.settlePoll(s, false)
			return
		}
	}
	l.answerPoll(s)
}

// tellPoll adds a frame outside of the log to the answer. One that has no room any
// more is left to the next poll: the place in the cursor stays before it, and none
// that comes later finds room.
func (l *loop) tellPoll(s *session, conv []byte, at, what godwit.Seq, frame []byte) {
	x := s.exchange
	if what == placesEnd {
		x.beginning = false
		if !x.first && len(x.body) == 0 { // now it is held as long as it asked
			s.deadline = x.since + x.wait
			l.arm(s)
		}
		l.settlePoll(s, false)
		return
	}
	if x.told.events < pollTellsMax && x.told.bytes < pollTellBytesMax && s.flow.open(l.window(s)) {
		l.showPoll(s, frame)
		l.stats.tells.Add(1)
		x.told.events++
		x.told.bytes += uint32(len(frame))
		if what != 0 {
			x.channels = movePlace(x.channels, conv, at, what == placeStarts)
		}
		l.settlePoll(s, true)
		return
	}
	x.beginning = false
	l.settlePoll(s, false)
}

// whisperPoll adds an ephemeral frame to the answer, which it ends, but never more
// than once a second: a poll for each key stroke would cost more than it tells.
func (l *loop) whisperPoll(s *session, frame []byte) {
	x := s.exchange
	if len(x.body) > pollWhisperBytesMax || x.first || x.told.events >= pollTellsMax || !s.flow.open(l.window(s)) {
		l.stats.whispersLost.Add(1)
		return
	}
	l.showPoll(s, frame)
	l.stats.whispers.Add(1)
	x.told.events++
	x.told.bytes += uint32(len(frame))
	if earliest := x.since + pollQuietTicks; l.reached(earliest) {
		l.settlePoll(s, true)
	} else if int32(earliest-s.deadline) < 0 {
		s.deadline = earliest
		l.arm(s)
	}
}

// linger has the poll answered a moment later, with one timer for all polls of
// the loop that wait for that.
func (l *loop) linger(s *session) {
	l.lingering = append(l.lingering, l.id(s))
	if len(l.lingering) == 1 {
		time.AfterFunc(pollLinger, func() { l.box.put(item{kind: itemLinger}, nil) })
	}
}

func (l *loop) lingered() {
	for _, id := range l.lingering {
		if s := l.sessions.find(id); s != nil && s.state == statePoll {
			l.answerPoll(s)
			l.readOn(s)
		}
	}
	l.lingering = l.lingering[:0]
}

// answerPoll ends the poll with what it has and the cursor behind that.
func (l *loop) answerPoll(s *session) {
	x := s.exchange
	enc := s.encoding
	body := x.body
	if g := l.edge.goaway.Load(); g != nil {
		body = appendJoined(body, enc, g.framed[formOf(enc)])
	}
	var cursor [godwit.IDBytesMax + 1 + seqChars + 1 + stampChars]byte
	end := godwit.ServerFrame{Kind: godwit.KindPoll, Poll: godwit.Poll{
		Cursor: string(appendCursor(cursor[:0], &pollPlace{x.epoch, s.flow.cursor, s.stamp, x.channels})),
	}}
	l.stats.framesOut.Add(1)
	l.respondFrames(s, appendNext(body, enc, &end))
}

// appendNext adds a frame made here to the body of an answer.
func appendNext(body []byte, enc godwit.Encoding, f *godwit.ServerFrame) []byte {
	return godwit.AppendFrame(body, enc, f.AppendTo(nil, enc))
}

// readOn goes on with what a client sent behind a request that was answered from
// elsewhere than its own read.
func (l *loop) readOn(s *session) {
	if s.conn != nil && s.state == stateHead && s.conn.InboundBuffered() > 0 {
		l.read(s)
	}
}
