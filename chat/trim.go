package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// startTrim looks for dedup rows of a user that have left the window. It is
// housekeeping: with no room among the reads it waits for the user's next turn.
func (s *Service) startTrim(user []byte) {
	if !s.ready.Load() {
		return
	}
	s.startRead(&read{request: request{what: requestTrim}, do: (*read).trim, user: godwit.UserID(user)})
}

// trim proposes the deletion of what it finds expired; apply judges again.
func (r *read) trim(w *readWorker, v View) answer {
	s := w.service
	groups := s.cfg.Store.Groups()
	p := r.user.Partition()
	u, refusal := userOfView(v, r.user)
	row, ok := v.Get(appendKey(nil, homeOf(r.group, groups), rowSettings))
	st, parsed := parseSettings(row)
	if refusal != nil || !ok || !parsed {
		return answerNone
	}
	command := appendTrimHead(nil, homeOf(r.group, groups), r.user)
	found := 0
	prefix := appendOwnedPrefix(nil, p, rowDedup, bytesOf(r.user))
	v.Scan(prefix, func(key, value []byte) bool {
		var d dedupRow
		if d.parse(value) && d.expired(&st, u.sends, u.time) && len(key) == len(prefix)+8 {
			command = binary.BigEndian.AppendUint64(command, binary.BigEndian.Uint64(key[len(prefix):]))
			found++
		}
		return found < trimHashesMax
	})
	if found == 0 {
		return answerNone
	}
	w.command = command
	return answerPropose
}

// trimWaiter: nobody waits; a trim that fails is done next time.
type trimWaiter struct{}

func (trimWaiter) Fail(error)                      {}
func (trimWaiter) applied(*outcome, *flushScratch) {}
