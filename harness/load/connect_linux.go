package load

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godwit-im/godwit"
)

// dialSome starts some of the connects that are wanted.
func (l *loop) dialSome() error {
	n := min(len(l.dials), dialsPerRound)
	for _, i := range l.dials[:n] {
		if err := l.dial(i); err != nil {
			return err
		}
	}
	l.dials = l.dials[:copy(l.dials, l.dials[n:])]
	return nil
}

// connect asks for a session to be connected; due is when it should have begun.
func (l *loop) connect(i uint32, due time.Duration) {
	l.sessions[i].due = due
	l.dials = append(l.dials, i)
}

func (l *loop) dial(i uint32) error {
	s := &l.sessions[i]
	if s.state != stateClosed {
		panic(fmt.Sprintf("BUG: session %d is dialled while in state %d", i, s.state))
	}
	fd, err := dial(l.target.address, int(l.first+i))
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		return fmt.Errorf("%w: this process may open no more files; use more agents", err)
	}
	if err != nil {
		l.later(i, err)
		return nil
	}
	s.fd, s.state, s.reading, s.writing = int32(fd), stateConnecting, true, false
	s.retry = l.now() + openPatience
	l.opening = append(l.opening, opening{i, s.retry})
	return l.poller.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLOUT, i)
}

// opening is a connect on its way.
type opening struct {
	session uint32
	until   time.Duration // what session.retry is, unless it was dialled again since
}

var errOpening = errors.New("no connect reply within " + openPatience.String())

// giveUpOpening ends connects that have led to nothing.
func (l *loop) giveUpOpening(now time.Duration) {
	n := 0
	for ; n < len(l.opening) && l.opening[n].until <= now; n++ {
		o := l.opening[n]
		if s := &l.sessions[o.session]; s.retry == o.until && s.state > stateClosed && s.state < stateReplaying {
			l.drop(o.session, errOpening)
		}
	}
	if l.opening = l.opening[n:]; len(l.opening) == 0 {
		l.opening = nil
	}
}

// later plans another attempt of a connect that failed, at a time of its own.
func (l *loop) later(i uint32, err error) {
	s := &l.sessions[i]
	l.reason = err
	s.attempts++
	wait := min(50*time.Millisecond<<min(s.attempts, 6), time.Second)
	s.retry = l.now() + wait/2 + time.Duration(l.rng.Int64N(int64(wait/2)))
	l.waiting = append(l.waiting, i)
}

// connected goes on when TCP is there.
func (l *loop) connected(i uint32) {
	s := &l.sessions[i]
	if err := socketError(int(s.fd)); err != nil {
		l.drop(i, fmt.Errorf("connect: %w", err))
		return
	}
	if l.wait > 0 {
		l.pollOn(i)
		l.interest(i)
		return
	}
	s.state = stateUpgrading
	s.out = appendHandshake(s.out, l.target.host, l.target.path, l.encoding.Subprotocol())
	l.interest(i)
	l.soil(i)
}

// deviceName is the only device of every user.
const deviceName = "bench"

// hello opens the session, and resumes where it was.
func (l *loop) hello(i uint32) {
	s := &l.sessions[i]
	s.state = stateOpening
	f := godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect}
	f.Connect.Token, f.Connect.Device = l.tokenOf(i), []byte(deviceName)
	if s.known {
		f.Connect.Resume = godwit.Resume{Set: true, Epoch: []byte(s.epoch), Seq: l.check.users[i].next - 1}
	}
	s.nextID = 1
	l.request(i, &f)
}

// opened takes the connect reply.
func (l *loop) opened(i uint32, reply *godwit.ConnectReply) {
	s := &l.sessions[i]
	user := l.first + i
	s.inFlight, s.attempts, s.unacked = int32(reply.Limits.InFlight), 0, 0
	s.node = l.nodeOf(reply.Node)
	l.window = int(reply.Limits.Window)
	l.open++
	l.shard.Sessions.Add(1)
	now := l.now()
	switch {
	case !s.known:
		if l.epoch != reply.Epoch {
			l.epoch = reply.Epoch
		}
		s.known, s.epoch = true, l.epoch
		l.check.opened(user, reply.Seq)
		l.shard.Record(latencyConnect, s.due, now)
	case !reply.Resumed:
		l.check.problem("user %d could not resume: %s", user, reply.Reason)
	default:
		if !s.replaced {
			l.shard.Record(latencyConnect, s.due, now)
		}
		s.state = stateReplaying
	}
	if s.state == stateOpening {
		s.state = stateOpen
	}
	if s.storming {
		s.storming = false
		l.busy--
		l.shard.Stored.Add(1)
		l.stages.row(s.due).Succeeded++
		l.reconnectSome()
	}
	l.submit(i)
}

// resumed takes the end of the replay.
func (l *loop) resumed(i uint32) {
	s := &l.sessions[i]
	if s.state != stateReplaying {
		return
	}
	s.state = stateOpen
	if s.replaced {
		s.replaced = false
		l.shard.Record(latencyResume, s.due, l.now())
	}
}

// leave closes a connection on purpose.
func (l *loop) leave(i uint32) {
	s := &l.sessions[i]
	if s.state == stateClosed {
		return
	}
	if s.state >= stateReplaying {
		l.open--
		l.shard.Sessions.Add(-1)
	}
	reset(int(s.fd))
	s.state, s.in, s.out, s.unacked, s.writing = stateClosed, nil, nil, 0, false
	s.requeue()
}

// drop takes note of a connection that ended unasked, and connects anew.
func (l *loop) drop(i uint32, err error) {
	s := &l.sessions[i]
	if s.state >= stateReplaying {
		l.lost++
		l.cutOff(i)
	}
	l.leave(i)
	l.later(i, err)
}
