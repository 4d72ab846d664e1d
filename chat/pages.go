package chat

import (
	"github.com/godwit-im/godwit"
)

// limit clamps the page a client asks for; 0 is the server's page.
func (s *Service) limit(asked uint32) int {
	if asked == 0 || asked > uint32(s.cfg.PageMax) {
		return s.cfg.PageMax
	}
	return int(asked)
}

// sync reads the user's log: after Since, or From..To.
func (s *Service) sync(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.Sync) {
	after := f.Since
	ranged := f.From != 0 || f.To != 0
	switch {
	case ranged && (f.Since != 0 || f.From == 0 || f.To < f.From):
		s.refuse(session, id, godwit.ErrFrameInvalid)
		return
	case f.Since > godwit.SeqMax || f.To > godwit.SeqMax:
		s.refuse(session, id, godwit.ErrBadCursor)
		return
	case ranged:
		after = f.From - 1
	}
	s.startRead(&read{
		request: request{session: session, id: id, what: requestRead}, do: (*read).sync, user: user,
		after: after, to: f.To, limit: s.limit(f.Limit), bytesMax: s.cfg.PageBytesMax,
	})
}

func (r *read) sync(w *readWorker, v View) answer {
	entries, head, refusal := w.since(v, r, w.entries[:0])
	if refusal != nil {
		return w.refuse(refusal)
	}
	w.entries = entries
	w.frame.Kind, w.frame.Sync = godwit.KindSync, godwit.SyncReply{Entries: entries, Head: head, Digest: w.digest}
	return answerFrame
}
