package admin

import (
	"context"

	"github.com/godwit-im/godwit"
)

// Eraser removes what users wrote, for good. It returns the record of what was
// erased, as it was signed and stored.
type Eraser interface {
	EraseUser(ctx context.Context, user godwit.UserID, by string) (record any, err error)
	EraseConversation(ctx context.Context, user godwit.UserID, conv godwit.ConversationID, by string) (record any, err error)
}

type userJSON struct {
	User          godwit.UserID `json:"user"`
	Online        bool          `json:"online"`
	LastSeen      int64         `json:"last_seen"`
	Head          godwit.Seq    `json:"head"`
	Sent          uint64        `json:"sent"`
	Conversations uint64        `json:"conversations"`
	Groups        uint64        `json:"groups"`
	Devices       uint64        `json:"devices"`
	Blocked       uint64        `json:"blocked"`
	Contacts      uint64        `json:"contacts"`
}

func userOf(u *godwit.UserRecord) userJSON {
	return userJSON{u.User, u.Online, u.LastSeen, u.Head, u.Sent, u.Conversations, u.Groups, u.Devices, u.Blocked, u.Contacts}
}

func (s *Server) users(r *request) (any, error) {
	limit, next, err := r.page()
	if err != nil {
		return nil, err
	}
	if next != "" && !godwit.ValidID(next) {
		return nil, godwit.ErrBadCursor
	}
	records, err := s.cfg.Chat.Users(r.ctx, godwit.UserID(next), limit)
	if err != nil {
		return nil, err
	}
	page := struct {
		Users []userJSON    `json:"users"`
		Next  godwit.UserID `json:"next,omitempty"`
	}{Users: []userJSON{}}
	for i := range records {
		page.Users = append(page.Users, userOf(&records[i]))
	}
	if len(records) == limit {
		page.Next = records[limit-1].User
	}
	return page, nil
}

func (s *Server) user(r *request) (any, error) {
	user, err := r.user()
	if err != nil {
		return nil, err
	}
	record, ok, err := s.cfg.Chat.User(r.ctx, user)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, notFound("user")
	}
	return userOf(&record), nil
}

func (s *Server) eraseUser(r *request) (any, error) {
	user, err := r.user()
	if err != nil {
		return nil, err
	}
	if s.cfg.Eraser == nil {
		return nil, godwit.ErrUnsupported
	}
	return s.cfg.Eraser.EraseUser(r.ctx, user, r.key.ID)
}

func (s *Server) eraseConversation(r *request) (any, error) {
	user, err := r.user()
	if err != nil {
		return nil, err
	}
	conv, err := godwit.ParseConversationID(r.PathValue("conv"))
	if err != nil {
		return nil, godwit.ErrBadConv
	}
	if s.cfg.Eraser == nil {
		return nil, godwit.ErrUnsupported
	}
	return s.cfg.Eraser.EraseConversation(r.ctx, user, conv, r.key.ID)
}

func (s *Server) devices(r *request) (any, error) {
	user, err := r.user()
	if err != nil {
		return nil, err
	}
	f := &godwit.ClientFrame{Kind: godwit.KindDevice, Device: godwit.Device{Do: []byte(godwit.DeviceList)}}
	return s.ask(r.ctx, user, f, true)
}

// logout ends one device's right to act, or that of all, until it has a new token.
func (s *Server) logout(r *request) (any, error) {
	user, err := r.user()
	if err != nil {
		return nil, err
	}
	var in struct {
		Device string `json:"device"`
		All    bool   `json:"all"`
	}
	if err := r.into(&in); err != nil {
		return nil, err
	}
	if (in.Device == "") == !in.All {
		return nil, invalid("Give either device or all.")
	}
	f := &godwit.ClientFrame{Kind: godwit.KindDevice, Device: godwit.Device{
		Do: []byte(godwit.DeviceLogout), Device: []byte(in.Device), All: in.All,
	}}
	return s.ask(r.ctx, user, f, true)
}

// kick closes the user's sessions; their clients may come back at once.
func (s *Server) kick(r *request) (any, error) {
	user, err := r.user()
	if err != nil {
		return nil, err
	}
	n := s.cfg.Chat.Kick(user, godwit.CloseRebalance, "kicked")
	return struct {
		Sessions int `json:"sessions"`
	}{n}, nil
}

func (s *Server) conversations(r *request) (any, error) {
	user, err := r.user()
	if err != nil {
		return nil, err
	}
	limit, next, err := r.page()
	if err != nil {
		return nil, err
	}
	f := &godwit.ClientFrame{Kind: godwit.KindConversations, Conversations: godwit.Conversations{Limit: uint32(limit), Next: []byte(next)}}
	return s.ask(r.ctx, user, f, true)
}

func (s *Server) history(r *request) (any, error) {
	user, err := r.user()
	if err != nil {
		return nil, err
	}
	return s.page(r, user, r.PathValue("conv"))
}

// page reads a page of a conversation as the user sees it.
func (s *Server) page(r *request, user godwit.UserID, conv string) (any, error) {
	limit, _, err := r.page()
	if err != nil {
		return nil, err
	}
	h := godwit.History{Conv: []byte(conv), Limit: uint32(limit)}
	if h.Before, _, err = r.sequence("before"); err != nil {
		return nil, err
	}
	if h.After, h.HasAfter, err = r.sequence("after"); err != nil {
		return nil, err
	}
	if h.GBefore, _, err = r.sequence("gbefore"); err != nil {
		return nil, err
	}
	if h.GAfter, h.HasGAfter, err = r.sequence("gafter"); err != nil {
		return nil, err
	}
	return s.ask(r.ctx, user, &godwit.ClientFrame{Kind: godwit.KindHistory, History: h}, true)
}
