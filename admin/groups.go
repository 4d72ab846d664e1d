package admin

import (
	"github.com/godwit-im/godwit"
)

type groupJSON struct {
	Group    godwit.GroupID        `json:"group"`
	Conv     godwit.ConversationID `json:"conv"`
	Name     string                `json:"name"`
	Creator  godwit.UserID         `json:"creator"`
	Created  int64                 `json:"created"`
	Members  uint64                `json:"members"`
	Messages uint64                `json:"messages"`
	Head     godwit.Seq            `json:"head"`
	Channel  bool                  `json:"channel"`
}

func (s *Server) groups(r *request) (any, error) {
	limit, next, err := r.page()
	if err != nil {
		return nil, err
	}
	if next != "" && !godwit.ValidID(next) {
		return nil, godwit.ErrBadCursor
	}
	records, err := s.cfg.Chat.Groups(r.ctx, godwit.GroupID(next), limit)
	if err != nil {
		return nil, err
	}
	page := struct {
		Groups []groupJSON    `json:"groups"`
		Next   godwit.GroupID `json:"next,omitempty"`
	}{Groups: []groupJSON{}}
	for _, g := range records {
		page.Groups = append(page.Groups, groupJSON{
			g.Group, godwit.ConversationID("g:" + g.Group), g.Name, g.Creator, g.Created, g.Members, g.Messages, g.Head, g.Channel,
		})
	}
	if len(records) == limit {
		page.Next = records[limit-1].Group
	}
	return page, nil
}

func (s *Server) groupsOf(r *request) (any, error) {
	user, err := r.user()
	if err != nil {
		return nil, err
	}
	limit, next, err := r.page()
	if err != nil {
		return nil, err
	}
	f := groupFrame(godwit.GroupList, "")
	f.Group.Limit, f.Group.Next = uint32(limit), []byte(next)
	return s.ask(r.ctx, user, f, true)
}

func groupFrame(do, group string) *godwit.ClientFrame {
	return &godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{Do: []byte(do), Group: []byte(group)}}
}

func bytesOf(users []godwit.UserID) [][]byte {
	b := make([][]byte, len(users))
	for i, user := range users {
		b[i] = []byte(user)
	}
	return b
}

// groupSettings are what a group is made with and what may be changed.
type groupSettings struct {
	Name    *string `json:"name"`
	Join    string  `json:"join"`
	History string  `json:"history"`
}

func (in *groupSettings) into(g *godwit.Group) {
	if in.Name != nil {
		g.Name, g.HasName = []byte(*in.Name), true
	}
	g.Join, g.History = []byte(in.Join), []byte(in.History)
}

func (s *Server) createGroup(r *request) (any, error) {
	var in struct {
		groupSettings
		Owner   godwit.UserID   `json:"owner"`
		Members []godwit.UserID `json:"members"`
		CID     string          `json:"cid"`
	}
	if err := r.into(&in); err != nil {
		return nil, err
	}
	if !godwit.ValidID(in.Owner) {
		return nil, invalid("owner is the user to whom the group belongs.")
	}
	f := groupFrame(godwit.GroupCreate, "")
	in.groupSettings.into(&f.Group)
	f.Group.Users, f.Group.CID = bytesOf(in.Members), []byte(in.CID)
	return s.ask(r.ctx, in.Owner, f, true)
}

func (s *Server) group(r *request) (any, error) {
	return s.ask(r.ctx, by, groupFrame(godwit.GroupInfo, r.PathValue("group")), true)
}

func (s *Server) setGroup(r *request) (any, error) {
	var in groupSettings
	if err := r.into(&in); err != nil {
		return nil, err
	}
	f := groupFrame(godwit.GroupSet, r.PathValue("group"))
	in.into(&f.Group)
	return s.ask(r.ctx, by, f, true)
}

// dissolveGroup ends a group; what its members' logs hold stays theirs.
func (s *Server) dissolveGroup(r *request) (any, error) {
	group := r.PathValue("group")
	if !godwit.ValidID(group) {
		return nil, godwit.ErrBadConv
	}
	if err := s.cfg.Chat.Dissolve(r.ctx, godwit.GroupID(group), by); err != nil {
		return nil, err
	}
	return struct {
		Group string `json:"group"`
	}{group}, nil
}

func (s *Server) members(r *request) (any, error) {
	limit, next, err := r.page()
	if err != nil {
		return nil, err
	}
	f := groupFrame(godwit.GroupMembers, r.PathValue("group"))
	f.Group.Limit, f.Group.Next = uint32(limit), []byte(next)
	return s.ask(r.ctx, by, f, true)
}

func (s *Server) addMembers(r *request) (any, error) {
	var in struct {
		Users []godwit.UserID `json:"users"`
	}
	if err := r.into(&in); err != nil {
		return nil, err
	}
	f := groupFrame(godwit.GroupAdd, r.PathValue("group"))
	f.Group.Users = bytesOf(in.Users)
	return s.ask(r.ctx, by, f, true)
}

func (s *Server) setRole(r *request) (any, error) {
	user, err := r.user()
	if err != nil {
		return nil, err
	}
	var in struct {
		Role string `json:"role"`
	}
	if err := r.into(&in); err != nil {
		return nil, err
	}
	f := groupFrame(godwit.GroupRole, r.PathValue("group"))
	f.Group.Users, f.Group.Role = [][]byte{[]byte(user)}, []byte(in.Role)
	return s.ask(r.ctx, by, f, true)
}

func (s *Server) removeMember(r *request) (any, error) {
	user, err := r.user()
	if err != nil {
		return nil, err
	}
	f := groupFrame(godwit.GroupRemove, r.PathValue("group"))
	f.Group.Users = [][]byte{[]byte(user)}
	return s.ask(r.ctx, by, f, true)
}

// groupHistory reads the group's log: by its own sequences.
func (s *Server) groupHistory(r *request) (any, error) {
	return s.page(r, by, "g:"+r.PathValue("group"))
}
