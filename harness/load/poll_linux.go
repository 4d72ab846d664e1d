package load

import (
	"errors"
	"time"
)

// A session by long-polls is a connection with one request on its way: the first
// is answered with the connect reply, each later one is held by the server. What
// goes on in it is what goes on in a WebSocket session, except that nothing is sent.

// pollOn asks for what comes next. A session that was open before is so again
// with its request: an answer may take as long as the server is asked to wait.
func (l *loop) pollOn(i uint32) {
	s := &l.sessions[i]
	if s.known && s.state < stateReplaying {
		s.state, s.attempts = stateOpen, 0
		l.open++
		l.shard.Sessions.Add(1)
	} else if !s.known {
		s.state = stateOpening
	}
	if s.out == nil && len(l.free) > 0 {
		s.out = l.free[len(l.free)-1]
		l.free = l.free[:len(l.free)-1]
	}
	s.out = appendPoll(s.out, l.target.host, deviceName, s.epoch, l.wait, l.tokenOf(i))
	l.soil(i)
}

// consumePoll handles the complete answers in b and returns their length.
func (l *loop) consumePoll(i uint32, b []byte) (used int) {
	for s := &l.sessions[i]; s.state != stateClosed; {
		body, n, err := parsePoll(b[used:])
		if err != nil {
			l.drop(i, err)
		}
		if err != nil || n == 0 {
			return used
		}
		used += n
		s.cursored = false
		l.frames(i, body)
		if s.state != stateClosed && !s.cursored {
			l.check.problem("user %d got the answer to a poll without a cursor", l.first+i)
			l.drop(i, errors.New("a poll's answer had no cursor"))
		}
	}
	return used
}

// polled takes the end of an answer and polls again.
func (l *loop) polled(i uint32, cursor string) {
	s := &l.sessions[i]
	if s.state == stateOpening || s.cursored || cursor == "" {
		l.check.problem("user %d got a cursor out of turn", l.first+i)
		return
	}
	if l.epoch != cursor { // sessions without messages all have the same
		l.epoch = cursor
	}
	s.cursored, s.epoch = true, l.epoch
	if !s.answered {
		s.answered = true
		l.polls++
	}
	l.pollOn(i)
}

// verifyPolls waits until each held poll was answered once more.
func (l *loop) verifyPolls(until time.Duration) error {
	l.polls = 0
	for i := range l.sessions {
		l.sessions[i].answered = false
	}
	row := &l.stages.rows[stageVerify]
	row.Scheduled, row.Started = uint64(len(l.sessions)), uint64(len(l.sessions))
	err := l.pump(until, func() bool { return l.polls == len(l.sessions) })
	row.Succeeded = uint64(l.polls)
	if l.polls < len(l.sessions) {
		l.check.problem("%d of %d held polls were not answered in the verify stage", len(l.sessions)-l.polls, len(l.sessions))
	}
	return err
}

// tokenOf returns the token of the session's user; it is valid until the next call.
func (l *loop) tokenOf(i uint32) []byte {
	if l.minter == nil {
		l.token = append(l.token[:0], l.tokens[i]...)
	} else {
		l.name[0] = l.appendName(l.name[0][:0], i)
		l.token = l.minter.AppendToken(l.token[:0], l.name[0])
	}
	return l.token
}
