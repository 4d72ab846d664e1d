package admin

import (
	"time"

	"github.com/godwit-im/godwit"
)

// retentionJSON is the rule of a conversation, as it was asked for.
type retentionJSON struct {
	Conv    godwit.ConversationID `json:"conv"`
	Seconds int64                 `json:"seconds"`
}

func (s *Server) setRetention(r *request) (any, error) {
	user, err := r.user()
	if err != nil {
		return nil, err
	}
	return s.retain(r, user, r.PathValue("conv"))
}

func (s *Server) setGroupRetention(r *request) (any, error) {
	return s.retain(r, by, "g:"+r.PathValue("group"))
}

// Bounds of a rule, in seconds: what is kept is looked at once an hour.
const (
	retentionMin = 3600
	retentionMax = 100 * 365 * 24 * 3600
)

// retain sets for how long a conversation is kept, for all who are in it.
func (s *Server) retain(r *request, user godwit.UserID, id string) (any, error) {
	conv, err := godwit.ParseConversationID(id)
	if err != nil {
		return nil, godwit.ErrBadConv
	}
	var in struct {
		Seconds *int64 `json:"seconds"`
	}
	if err := r.into(&in); err != nil {
		return nil, err
	}
	if in.Seconds == nil || *in.Seconds != 0 && (*in.Seconds < retentionMin || *in.Seconds > retentionMax) {
		return nil, invalid("seconds is 0, or from an hour (3600) to a hundred years.")
	}
	if err := s.cfg.Chat.SetRetention(r.ctx, user, conv, time.Duration(*in.Seconds)*time.Second, r.key.ID); err != nil {
		return nil, err
	}
	return retentionJSON{conv, *in.Seconds}, nil
}
