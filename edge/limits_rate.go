package edge

import "github.com/godwit-im/godwit"

const (
	inFlightRetryMS = 100
	ticksPerSecond  = 1000 / tickMS
	burstSeconds    = 2       // what a session may save up while idle
	frameUnitBytes  = 4 << 10 // a frame counts once for each of these that it begins
)

// takeToken takes one send from the session's bucket, which gains perS sends a
// second; otherwise it returns the ms until there is one. The unit of the
// bucket is 1/ticksPerSecond of a send, so that a tick adds perS of them.
func (s *session) takeToken(now, perS uint32) (waitMS uint32) {
	full := burstSeconds * ticksPerSecond * perS
	gained := uint64(now-s.tokensAt) * uint64(perS)
	s.tokens = uint32(min(uint64(s.tokens)+gained, uint64(full)))
	s.tokensAt = now
	if s.tokens >= ticksPerSecond {
		s.tokens -= ticksPerSecond
		return 0
	}
	missing := ticksPerSecond - s.tokens
	return (missing + perS - 1) / perS * tickMS
}

// frameDebt is what a session's frames have used up and time has not yet given
// back, in 1/ticksPerSecond of a frame; the zero value owes nothing.
type frameDebt struct {
	owed uint32
	at   uint32 // tick of the last look
}

// charge counts one frame of a size. Within a burst the frame is fine; beyond
// it waitMS says when to come back; a client that goes on regardless until it
// owes a second burst is hopeless.
func (d *frameDebt) charge(now, perS uint32, sizeBytes int) (waitMS uint32, hopeless bool) {
	burst := uint64(burstSeconds * ticksPerSecond * perS)
	paid := uint64(now-d.at) * uint64(perS)
	owed := uint64(d.owed) - min(uint64(d.owed), paid)
	owed += ticksPerSecond * uint64(1+max(0, sizeBytes-1)/frameUnitBytes)
	d.owed, d.at = uint32(min(owed, 2*burst)), now
	if owed <= burst {
		return 0, false
	}
	return uint32((owed-burst+uint64(perS)-1)/uint64(perS)) * tickMS, owed > 2*burst
}

// pace counts what came in one request or frame; beyond Limits.FramesPerS it
// returns the ms after which there is room.
func (l *loop) pace(s *session, sizeBytes int) (waitMS uint32) {
	if perS := l.edge.cfg.Limits.FramesPerS; perS > 0 {
		waitMS, _ = s.charge(l.now, perS, sizeBytes)
	}
	return waitMS
}

// paceCommands counts the commands of a call, of which all are done or none.
func (l *loop) paceCommands(s *session, body []byte) (waitMS uint32) {
	return l.pace(s, max(len(body), len(s.exchange.replies)*frameUnitBytes))
}

// paceFrame holds a session to Limits.FramesPerS: true if the frame, which has
// been answered then, must be left alone.
func (l *loop) paceFrame(s *session, id uint64, sizeBytes int) (over bool) {
	perS := l.edge.cfg.Limits.FramesPerS
	if perS == 0 {
		return false
	}
	wait, hopeless := s.charge(l.now, perS, sizeBytes)
	if wait == 0 {
		return false
	}
	l.refuseFrame(s, id, godwit.ErrRateLimited, wait)
	if hopeless {
		l.closeSession(s, closeAgain(godwit.CloseRateLimited, "too_many_frames"))
	}
	return true
}
