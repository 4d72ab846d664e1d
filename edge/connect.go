package edge

import (
	"bytes"

	"github.com/godwit-im/godwit"
)

// firstFrame expects connect. whole is the frame and what follows it in its
// message, rest what follows only: it waits until the session is live.
func (l *loop) firstFrame(s *session, f *godwit.ClientFrame, whole, rest []byte) {
	switch {
	case f.Kind == godwit.KindPing:
	case f.Kind == godwit.KindConnect:
		l.connect(s, f, rest)
	case s.bearer:
		s.opening = &opening{ahead: bytes.Clone(whole)}
		l.open(s)
	default:
		l.refuseFrame(s, f.ID, godwit.ErrUnauthorized, 0)
		l.closeSession(s, closeNoToken)
	}
}

// connect checks the form of a connect frame and has its token verified.
func (l *loop) connect(s *session, f *godwit.ClientFrame, rest []byte) {
	c := &f.Connect
	channels, ok := takePlaces(c.Resume.Channels)
	echo, isStamp := godwit.ParseStamp(c.Resume.Stamp)
	switch {
	case len(c.Device) > 0 && !godwit.ValidID(c.Device), len(c.Resume.Epoch) > godwit.IDBytesMax, !ok, !isStamp:
		l.refuseFrame(s, f.ID, godwit.ErrFrameInvalid, 0)
		l.closeSession(s, closeInvalid)
		return
	case len(c.Token) == 0 && !s.bearer:
		l.refuseFrame(s, f.ID, godwit.ErrUnauthorized, 0)
		l.closeSession(s, closeNoToken)
		return
	case len(c.Token) > tokenBytesMax:
		l.refuseFrame(s, f.ID, godwit.ErrUnauthorized, 0)
		l.closeSession(s, closeTokenInvalid)
		return
	}
	s.opening = &opening{
		id:    f.ID,
		hello: Hello{Device: string(c.Device), Resume: c.Resume.Set, Epoch: string(c.Resume.Epoch), ResumeSeq: c.Resume.Seq, Channels: channels, Stamp: echo},
		ahead: bytes.Clone(rest),
	}
	if len(c.Token) == 0 {
		l.open(s)
		return
	}
	if l.edge.cfg.Sessions.Full() || !l.beginHandshake(s) || !l.edge.verify.submit(verifyJob{session: l.id(s), token: bytes.Clone(c.Token)}) {
		l.closeSession(s, overloaded())
		return
	}
	s.state = stateToken
	s.deadline = l.now + l.edge.ticks.answer
	l.arm(s)
}

// verified takes a Verifier's answer, if the session still waits for it.
func (l *loop) verified(s *session, v verdict) {
	switch s.state {
	case stateVerifying:
		l.bearerVerified(s, v)
	case stateToken:
		if v.err == nil && s.bearer && v.who.User != s.user {
			v.err = godwit.ErrUnauthorized
		}
		if v.err != nil {
			l.edge.cfg.Logger.Debug("token refused", "error", v.err)
			if v.temporary() {
				l.closeSession(s, overloaded())
				return
			}
			l.refuseFrame(s, s.opening.id, godwit.ErrUnauthorized, 0)
			l.closeSession(s, closeTokenInvalid)
			return
		}
		s.setIdentity(v.who)
		l.forgetSource(s)
		l.open(s)
	case stateLive:
		l.renewed(s, v)
	}
}

// open asks the chat tier for the session; input waits meanwhile.
func (l *loop) open(s *session) {
	if !l.beginHandshake(s) {
		l.closeSession(s, overloaded())
		return
	}
	if s.opening == nil {
		s.opening = new(opening)
	}
	hello := &s.opening.hello
	hello.User, hello.Issued = s.user, s.issued
	s.stamp = l.edge.cfg.Stamp(hello.Stamp)
	hello.Stamp = s.stamp
	if hello.Device == "" {
		hello.Device = godwit.DeviceOf(l.id(s))
	}
	s.device = hello.Device
	if l.edge.cfg.Hold && hello.Resume && len(hello.Channels) > 0 {
		l.keep(s).channels, _ = takePlaces(hello.Channels) // those of hello are the receiver's
	}
	s.state = stateOpening
	s.deadline = l.now + l.edge.ticks.answer
	l.arm(s)
	s.joined, s.attachment = true, l.edge.attachment.Load()
	l.edge.cfg.Sessions.Began(l.id(s), s.user, s.device, s.stamp, false)
	l.edge.cfg.Chat.Connect(l.id(s), *hello)
}

// connected makes the session live: the connect reply first, then what the
// delivery machine wants, then what the client sent ahead.
func (l *loop) connected(s *session, w godwit.Welcome) {
	switch s.state {
	case stateOpening:
	case statePollOpening:
		l.pollConnected(s, w)
		return
	case stateCallOpening:
		l.callOpened(s)
		return
	case stateLive:
		l.reopened(s, &w)
		return
	default:
		return
	}
	opening := s.opening
	s.opening = nil
	s.state = stateLive
	l.endHandshake(s)
	l.stats.sessions.Add(1)
	l.knowPlaces(s, &w)
	l.emitFrame(s, l.connectReply(s, opening.id, &w))
	s.pingAt = l.now + jitter(l.edge.ticks.ping)
	s.checkAt = l.now + compareIn(l.edge.ticks.compare)
	s.tokens, s.tokensAt = burstSeconds*ticksPerSecond*l.edge.cfg.Limits.SendPerS, l.now
	l.arm(s)
	l.follow(s, s.flow.opened(l.edge.window, w.Start, w.Head, w.Resumed), nil)
	if g := l.edge.goaway.Load(); g != nil {
		l.emit(s, g.framed[formOf(s.encoding)])
	}
	l.message(s, opening.ahead)
	l.read(s)
}

func (l *loop) connectReply(s *session, id uint64, w *godwit.Welcome) *godwit.ServerFrame {
	cfg := &l.edge.cfg
	now := cfg.Clock()
	reply := godwit.ConnectReply{
		Session: sessionName(l.id(s)), Node: cfg.Node, Epoch: w.Epoch, Seq: w.Head,
		Resumed: w.Resumed, Reason: w.Reason, Ping: seconds(cfg.PingEvery), Time: now,
		User: s.user, Device: s.device, Limits: cfg.Limits, Digest: w.Digest, Stamp: godwit.FormatStamp(s.stamp),
	}
	if w.Head > w.Start {
		reply.Missed = uint64(w.Head - w.Start)
	}
	reply.TTL = l.ttl(s)
	return &godwit.ServerFrame{ID: id, Kind: godwit.KindConnect, Connect: reply}
}
