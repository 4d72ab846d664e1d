package edge

import (
	"bytes"

	"github.com/godwit-im/godwit"
)

// refresh has a new token of a live session verified; one at a time.
func (l *loop) refresh(s *session, f *godwit.ClientFrame) {
	switch token := f.Refresh.Token; {
	case len(token) == 0 || len(token) > tokenBytesMax:
		l.refuseFrame(s, f.ID, godwit.ErrUnauthorized, 0)
	case s.renewing || !l.edge.verify.submit(verifyJob{session: l.id(s), token: bytes.Clone(token), request: f.ID}):
		l.refuseFrame(s, f.ID, godwit.ErrRateLimited, inFlightRetryMS)
	default:
		s.renewing = true
	}
}

// renewed lets the session live until the new token's end. A bad token changes
// nothing: the old one still counts.
func (l *loop) renewed(s *session, v verdict) {
	s.renewing = false
	switch {
	case v.temporary():
		l.refuseFrame(s, v.request, godwit.ErrUnavailable, inFlightRetryMS)
	case v.err != nil:
		l.edge.cfg.Logger.Debug("token refused at a refresh", "error", v.err)
		l.refuseFrame(s, v.request, godwit.ErrUnauthorized, 0)
	case v.who.User != s.user:
		l.refuseFrame(s, v.request, godwit.ErrUnauthorized, 0)
		l.closeSession(s, closeTokenInvalid)
	default:
		s.expires = v.who.Expires
		l.arm(s)
		reply := godwit.ServerFrame{ID: v.request, Kind: godwit.KindRefresh, Refresh: godwit.RefreshReply{TTL: l.ttl(s)}}
		l.emitFrame(s, &reply)
	}
}

// ttl is how long the session's token still counts, in seconds; 0: for ever.
func (l *loop) ttl(s *session) uint32 {
	if left := s.expires - l.edge.cfg.Clock(); s.expires != 0 && left > 0 {
		return uint32(min(left/1000, 1<<31))
	}
	return 0
}
