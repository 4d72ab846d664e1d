package admin

import (
	"crypto/rand"

	"github.com/godwit-im/godwit"
)

// send stores a message in the name of a user, by default of the system.
func (s *Server) send(r *request) (any, error) {
	var in struct {
		From  godwit.UserID  `json:"from"`
		To    godwit.UserID  `json:"to"`
		Group godwit.GroupID `json:"group"`
		CID   string         `json:"cid"`
		Text  *string        `json:"text"`
		Data  []byte         `json:"data"`
		Type  string         `json:"type"`
	}
	if err := r.into(&in); err != nil {
		return nil, err
	}
	if in.From == "" {
		in.From = by
	}
	if in.CID == "" {
		in.CID = r.Header.Get("Idempotency-Key")
	}
	if !godwit.ValidID(in.CID) {
		in.CID = rand.Text()
	}
	f := &godwit.ClientFrame{Kind: godwit.KindSend, Send: godwit.Send{
		To: []byte(in.To), Group: []byte(in.Group), CID: []byte(in.CID), Type: []byte(in.Type),
		Data: in.Data, HasData: in.Data != nil,
	}}
	if in.Text != nil {
		f.Send.Text, f.Send.HasText = []byte(*in.Text), true
	}
	return s.ask(r.ctx, in.From, f, true)
}

// recall takes a message back for everyone.
func (s *Server) recall(r *request) (any, error) {
	var in struct {
		User godwit.UserID `json:"user"`
	}
	if err := r.into(&in); err != nil {
		return nil, err
	}
	if !godwit.ValidID(in.User) {
		return nil, invalid("user is who sent the message.")
	}
	f := &godwit.ClientFrame{Kind: godwit.KindRecall, Recall: godwit.Recall{MID: []byte(r.PathValue("mid"))}}
	return s.ask(r.ctx, in.User, f, true)
}
