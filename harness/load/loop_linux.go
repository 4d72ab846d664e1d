package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
)

// loopConfig is what one loop is given to do.
type loopConfig struct {
	target   target
	encoding godwit.Encoding
	runID    uint64
	first    uint32 // number of the first user; even
	count    int    // users
	prefix   string // of their names; their numbers follow
	tokens   []string
	secret   []byte // for tokens, when there are none
	wait     int    // seconds that polls may be held; 0: the sessions are WebSockets
	corpus   *Corpus
	shard    *record.Shard
	start    int64 // clock() at the start of the run
	unixMS   int64 // wall clock at the start of the run
	seed     uint64
	hinder   time.Duration // see Config
}

// Bounds of one round of the loop, so that no kind of work starves the clock.
const (
	dialsPerRound = 16
	resetsARound  = 64 // connections that are cut
	worksARound   = 16 // events or writes between two looks at the clock
	tickEvery     = 100 * time.Millisecond
	ackEvery      = 64 // entries; the server's window is 512
	attemptsMax   = 40
	// openPatience is when a connect that has not led to a session is given up and
	// begun anew, as the SDKs do. A handshake that a full listener dropped would be
	// repeated by TCP after 1, 2, 4, 8 … 64 s.
	openPatience = 10 * time.Second
	// openingMax is how many sessions the ramp has on their way at once, so that a
	// rate beyond the server's does not pile up handshakes until they time out.
	openingMax = 128
)

// loop owns sessions and everything they touch. One goroutine.
type loop struct {
	loopConfig
	poller   *poller
	sessions []session
	check    *Checker
	stages   *stageBook
	begun    time.Time

	plan    []arrival // what is due, from base
	planned int       // how many of plan have begun
	base    time.Duration
	perform func(a arrival, due time.Duration)
	again   func(i uint32) // closed loop: what a session does after an answer

	dials    []uint32 // sessions to connect in the coming rounds
	cuts     []uint32 // sessions to cut in the coming rounds
	cutAt    time.Duration
	waiting  []uint32  // sessions to connect at their retry time
	opening  []opening // dialled, by time
	dirty    []uint32
	owing    []uint32 // sessions with entries not acknowledged
	ticked   time.Duration
	hindered time.Duration
	open     int
	lost     uint64 // connections that ended unasked
	reason   error  // the last of them
	busy     int    // operations queued or in flight

	free    [][]byte // output buffers not in use
	read    []byte
	scratch []byte
	text    []byte
	frame   godwit.ServerFrame
	rng     *rand.Rand

	minter *Minter // nil: there are tokens
	token  []byte
	name   [2][]byte
	epoch  string   // of the last connect reply: all sessions share the string
	polls  int      // sessions whose poll was answered in the verify stage
	nodes  []string // edge processes by the position in session.node
	edges  result.Edges

	slow   slowPart
	flap   flapPart
	window int         // limits.window of the server
	gaveUp bool        // answers may come that nobody waits for
	stop   atomic.Bool // set by the coordinator: end now
	storm  struct {
		backlog []time.Duration // due, and no session was open
		next    int             // the session that goes next
	}
	scan struct { // of the verify stage
		next int  // the session that goes next
		all  bool // all are read back
	}
}

func newLoop(cfg loopConfig) (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	l := &loop{
		loopConfig: cfg, poller: p,
		sessions: make([]session, cfg.count),
		check:    newChecker(cfg.runID, cfg.first, cfg.count),
		stages:   &stageBook{},
		read:     make([]byte, 256<<10),
		rng:      rand.New(rand.NewPCG(cfg.seed, uint64(cfg.first))),
		begun:    time.Now().Add(-time.Duration(clock() - cfg.start)),
	}
	for i := range l.sessions {
		l.sessions[i].reading = true
	}
	if len(cfg.tokens) == 0 {
		l.minter = NewMinter(cfg.secret, time.Now().Add(tokenLife))
	}
	return l, nil
}

// appendName writes the name of the session's user.
func (l *loop) appendName(dst []byte, i uint32) []byte {
	return strconv.AppendUint(append(dst, l.prefix...), uint64(l.first+i), 10)
}

// remain ends the sessions from n on, of which only some may be connected.
func (l *loop) remain(n int) {
	for i := n; i < len(l.sessions); i++ {
		l.leave(uint32(i))
	}
	beyond := func(i uint32) bool { return int(i) >= n }
	l.dials, l.waiting = slices.DeleteFunc(l.dials, beyond), slices.DeleteFunc(l.waiting, beyond)
	l.dirty, l.owing = slices.DeleteFunc(l.dirty, beyond), slices.DeleteFunc(l.owing, beyond)
	l.opening = slices.DeleteFunc(l.opening, func(o opening) bool { return beyond(o.session) })
	l.sessions = l.sessions[:n]
	l.stages.rows[stageRamp].Succeeded = uint64(l.open)
}

// close ends every connection.
func (l *loop) close() {
	for i := range l.sessions {
		if l.sessions[i].state != stateClosed {
			reset(int(l.sessions[i].fd))
			l.sessions[i].state = stateClosed
		}
	}
	l.shard.Sessions.Store(0)
	l.poller.close()
}

// now is the time since the start of the run.
func (l *loop) now() time.Duration { return time.Since(l.begun) }

// pump runs the loop until done says so or the time has come. done is asked
// once a round.
func (l *loop) pump(until time.Duration, done func() bool) error {
	for {
		now := l.now()
		l.startDue(now)
		l.flapOn(now)
		l.cutSome()
		if err := l.dialSome(); err != nil {
			return err
		}
		if now >= l.ticked+tickEvery {
			l.ticked = now
			if err := l.tick(now); err != nil {
				return err
			}
		}
		l.flush()
		if l.stop.Load() {
			return errHalted
		}
		if done != nil && done() || now >= until {
			return nil
		}
		wake := min(until, l.ticked+tickEvery, l.flap.next())
		if l.planned < len(l.plan) {
			wake = min(wake, l.base+l.plan[l.planned].at)
		}
		if len(l.dials)+len(l.cuts) > 0 {
			wake = 0
		}
		events, err := l.poller.wait(l.start + int64(wake))
		if err != nil {
			return err
		}
		for k, e := range events {
			if k%worksARound == worksARound-1 {
				l.startDue(l.now())
			}
			l.event(uint32(e.Fd), e.Events)
		}
	}
}

// startDue begins every operation whose time has come.
func (l *loop) startDue(now time.Duration) {
	for l.planned < len(l.plan) {
		a := l.plan[l.planned]
		due := l.base + a.at
		if due > now {
			return
		}
		l.planned++
		l.shard.Scheduled.Add(1)
		l.stages.started(due, now)
		l.perform(a, due)
	}
}

// tick does what isn't urgent: retries of connects, acks of the rest.
func (l *loop) tick(now time.Duration) error {
	kept := l.waiting[:0]
	for _, i := range l.waiting {
		if l.sessions[i].retry <= now {
			l.dials = append(l.dials, i)
		} else {
			kept = append(kept, i)
		}
	}
	l.waiting = kept
	l.giveUpOpening(now)
	owing := l.owing[:0]
	for _, i := range l.owing {
		s := &l.sessions[i]
		if s.unacked > 0 && s.reading && s.state >= stateReplaying {
			l.ack(i)
		}
		if s.owing = s.unacked > 0; s.owing {
			owing = append(owing, i)
		}
	}
	l.owing = owing
	l.askOn()
	if l.hinder > 0 && now >= l.hindered+time.Second {
		l.hindered = now
		time.Sleep(l.hinder)
	}
	return nil
}

func (l *loop) event(token, events uint32) {
	if token == timerToken {
		l.poller.fired()
		return
	}
	s := &l.sessions[token]
	if s.state == stateClosed {
		return // closed earlier in this round
	}
	if s.state == stateConnecting && events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		l.connected(token)
		return
	}
	if events&unix.EPOLLOUT != 0 {
		l.write(token)
	}
	if s.state != stateClosed && events&(unix.EPOLLIN|unix.EPOLLERR|unix.EPOLLHUP|unix.EPOLLRDHUP) != 0 {
		l.readable(token)
	}
}

// interest tells the poller what the session waits for.
func (l *loop) interest(i uint32) {
	s := &l.sessions[i]
	events := uint32(0)
	if s.reading {
		events |= unix.EPOLLIN
	} else {
		events |= hangUps
	}
	if s.writing || s.state == stateConnecting {
		events |= unix.EPOLLOUT
	}
	if err := l.poller.control(unix.EPOLL_CTL_MOD, int(s.fd), events, i); err != nil {
		l.drop(i, err)
	}
}

// readable takes what came and hands complete messages on.
func (l *loop) readable(i uint32) {
	s := &l.sessions[i]
	n, err := unix.Read(int(s.fd), l.read)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return
	case err != nil:
		l.drop(i, fmt.Errorf("read: %w", err))
		return
	case n == 0:
		l.drop(i, errors.New("the server ended the connection"))
		return
	}
	b := l.read[:n]
	if len(s.in) > 0 {
		s.in = append(s.in, b...)
		b = s.in
	}
	used := l.consume(i, b)
	if s.state == stateClosed {
		return
	}
	if rest := b[used:]; len(rest) == 0 {
		s.in = nil
	} else if used > 0 || len(s.in) == 0 {
		s.in = append(s.in[:0], rest...)
	}
}

// consume handles the complete messages in b and returns their length. The
// session may be closed when it returns.
func (l *loop) consume(i uint32, b []byte) (used int) {
	s := &l.sessions[i]
	if l.wait > 0 {
		return l.consumePoll(i, b)
	}
	if s.state == stateUpgrading {
		n, err := parseHandshake(b)
		if err != nil {
			l.drop(i, err)
		}
		if n == 0 || err != nil {
			return 0
		}
		used = n
		l.hello(i)
	}
	for s.state != stateClosed {
		op, payload, n, err := parseMessage(b[used:])
		if err != nil {
			l.drop(i, err)
		}
		if err != nil || n == 0 {
			return used
		}
		used += n
		switch op {
		case opPing:
			l.message(i, opPong, payload)
		case opPong:
		case opClose:
			l.drop(i, fmt.Errorf("the server closed the session: %.100q", payload))
		default:
			l.frames(i, payload)
		}
	}
	return used
}

// frames handles the frames of one message.
func (l *loop) frames(i uint32, message []byte) {
	for len(message) > 0 && l.sessions[i].state != stateClosed {
		frame, rest, err := godwit.NextFrame(l.encoding, message)
		if err == nil {
			err = l.frame.Parse(l.encoding, frame)
		}
		if err != nil && !errors.Is(err, godwit.ErrFrameUnknown) {
			l.check.problem("user %d got a frame that does not parse: %v", l.first+i, err)
			l.drop(i, err)
			return
		}
		message = rest
		if err == nil {
			l.handle(i, &l.frame)
		}
	}
}

// message puts one WebSocket message into the session's output.
func (l *loop) message(i uint32, op byte, payload []byte) {
	s := &l.sessions[i]
	if s.out == nil && len(l.free) > 0 {
		s.out = l.free[len(l.free)-1]
		l.free = l.free[:len(l.free)-1]
	}
	s.out = appendMessage(s.out, op, l.rng.Uint32(), payload)
	l.soil(i)
}

func (l *loop) soil(i uint32) {
	if s := &l.sessions[i]; !s.dirty {
		s.dirty = true
		l.dirty = append(l.dirty, i)
	}
}

// request sends one frame.
func (l *loop) request(i uint32, f *godwit.ClientFrame) {
	op := byte(opBinary)
	if l.encoding.Text() {
		op = opText
	}
	l.scratch = f.AppendFrameTo(l.scratch[:0], l.encoding)
	l.message(i, op, l.scratch)
}

// flush writes what the round has put out: one write per session.
func (l *loop) flush() {
	for k := 0; k < len(l.dirty); k++ {
		if k%worksARound == worksARound-1 {
			l.startDue(l.now()) // may soil more
		}
		i := l.dirty[k]
		l.sessions[i].dirty = false
		if l.sessions[i].state > stateConnecting && !l.sessions[i].writing {
			l.write(i)
		}
	}
	l.dirty = l.dirty[:0]
}

func (l *loop) write(i uint32) {
	s := &l.sessions[i]
	if len(s.out) > 0 {
		n, err := unix.Write(int(s.fd), s.out)
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			l.drop(i, fmt.Errorf("write: %w", err))
			return
		}
		if n > 0 {
			s.out = s.out[:copy(s.out, s.out[n:])]
		}
	}
	if blocked := len(s.out) > 0; blocked != s.writing {
		s.writing = blocked
		l.interest(i)
	}
	if len(s.out) == 0 && s.out != nil {
		l.free = append(l.free, s.out[:0])
		s.out = nil
	}
}
