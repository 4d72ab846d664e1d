package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/godwit-im/godwit"
)

// NewGroup says what group to create; the creator owns it.
type NewGroup struct {
	// CID names the request across retries and for ever. Default: a random one.
	CID     string
	Name    string
	Members []godwit.UserID
	Join    string // godwit.JoinInvite (the standard) or JoinOpen
	History string // godwit.HistoryJoined (the standard) or HistoryAll
}

// GroupSettings changes a group; what is empty or nil stays.
type GroupSettings struct {
	Name    *string
	Join    string
	History string
}

// groupID accepts "42" and "g:42".
func groupID(group string) ([]byte, error) {
	id := strings.TrimPrefix(group, "g:")
	if !godwit.ValidID(id) {
		return nil, fmt.Errorf("%w: group %q: %w", ErrMessage, group, godwit.ErrBadConv)
	}
	return []byte(id), nil
}

func userList(users []godwit.UserID) (list [][]byte, err error) {
	for _, user := range users {
		if !godwit.ValidID(user) {
			return nil, fmt.Errorf("%w: user %q: %w", ErrMessage, user, godwit.ErrBadUser)
		}
		list = append(list, []byte(user))
	}
	return list, nil
}

// CreateGroup creates a group and returns it.
func (c *Client) CreateGroup(ctx context.Context, g NewGroup) (godwit.GroupReply, error) {
	if g.CID == "" {
		g.CID = rand.Text()
	}
	users, err := userList(g.Members)
	switch {
	case err != nil:
		return godwit.GroupReply{}, err
	case !godwit.ValidID(g.CID):
		return godwit.GroupReply{}, fmt.Errorf("%w: %w", ErrMessage, godwit.ErrBadCID)
	case !utf8.ValidString(g.Name) || len(g.Name) > godwit.GroupNameBytesMax:
		return godwit.GroupReply{}, fmt.Errorf("%w: name: %w", ErrMessage, godwit.ErrFrameInvalid)
	}
	return c.group(ctx, godwit.GroupCreate, "", func(f *godwit.Group) {
		f.CID, f.Name, f.HasName, f.Users = []byte(g.CID), []byte(g.Name), true, users
		f.Join, f.History = []byte(g.Join), []byte(g.History)
	})
}

// group asks for one thing about groups; with change nil nothing but do and group
// is said.
func (c *Client) group(ctx context.Context, do, group string, change func(*godwit.Group)) (godwit.GroupReply, error) {
	r := newRequest(godwit.KindGroup)
	f := &r.frame.Group
	f.Do = []byte(do)
	if group != "" || do != godwit.GroupCreate && do != godwit.GroupList {
		id, err := groupID(group)
		if err != nil {
			return godwit.GroupReply{}, err
		}
		f.Group = id
	}
	if change != nil {
		change(f)
	}
	reply, err := c.ask(ctx, r)
	if err != nil {
		return godwit.GroupReply{}, fmt.Errorf("group %s %s: %w", do, group, err)
	}
	return reply.Group, nil
}

// GroupInfo returns what a group is called, how many are in it, and the asker's role.
func (c *Client) GroupInfo(ctx context.Context, group string) (godwit.GroupReply, error) {
	return c.group(ctx, godwit.GroupInfo, group, nil)
}

// SetGroup changes a group's name, join policy or visibility of history.
func (c *Client) SetGroup(ctx context.Context, group string, s GroupSettings) (godwit.GroupReply, error) {
	if s.Name != nil && (!utf8.ValidString(*s.Name) || len(*s.Name) > godwit.GroupNameBytesMax) {
		return godwit.GroupReply{}, fmt.Errorf("%w: name: %w", ErrMessage, godwit.ErrFrameInvalid)
	}
	return c.group(ctx, godwit.GroupSet, group, func(f *godwit.Group) {
		if s.Name != nil {
			f.Name, f.HasName = []byte(*s.Name), true
		}
		f.Join, f.History = []byte(s.Join), []byte(s.History)
	})
}

func (c *Client) groupUsers(ctx context.Context, do, group, role string, users []godwit.UserID) (godwit.GroupReply, error) {
	list, err := userList(users)
	if err != nil {
		return godwit.GroupReply{}, err
	}
	return c.group(ctx, do, group, func(f *godwit.Group) { f.Users, f.Role = list, []byte(role) })
}

// AddMembers adds users to a group. Those who are in it already stay as they are.
func (c *Client) AddMembers(ctx context.Context, group string, users ...godwit.UserID) (godwit.GroupReply, error) {
	return c.groupUsers(ctx, godwit.GroupAdd, group, "", users)
}

// RemoveMembers takes users out of a group.
func (c *Client) RemoveMembers(ctx context.Context, group string, users ...godwit.UserID) (godwit.GroupReply, error) {
	return c.groupUsers(ctx, godwit.GroupRemove, group, "", users)
}

// SetRole gives members of a group a role: godwit.RoleOwner, RoleAdmin or RoleMember.
func (c *Client) SetRole(ctx context.Context, group, role string, users ...godwit.UserID) (godwit.GroupReply, error) {
	return c.groupUsers(ctx, godwit.GroupRole, group, role, users)
}

// LeaveGroup ends the user's own membership.
func (c *Client) LeaveGroup(ctx context.Context, group string) (godwit.GroupReply, error) {
	return c.group(ctx, godwit.GroupLeave, group, nil)
}

// JoinGroup makes the user a member of a group that is open to all.
func (c *Client) JoinGroup(ctx context.Context, group string) (godwit.GroupReply, error) {
	return c.group(ctx, godwit.GroupJoin, group, nil)
}

// GroupReceipts counts the members who have the group's entry gseq delivered, and
// who have read it.
func (c *Client) GroupReceipts(ctx context.Context, group string, gseq godwit.Seq) (delivered, read uint32, err error) {
	reply, err := c.group(ctx, godwit.GroupReceipts, group, func(f *godwit.Group) { f.GSeq = gseq })
	return reply.Delivered, reply.Read, err
}

// Members yields the members of a group.
func (c *Client) Members(ctx context.Context, group string) iter.Seq2[godwit.Member, error] {
	return pages(func(next string) ([]godwit.Member, string, error) {
		reply, err := c.group(ctx, godwit.GroupMembers, group, func(f *godwit.Group) { f.Next = []byte(next) })
		return reply.Members, reply.Next, err
	})
}

// Groups yields the groups the user is in.
func (c *Client) Groups(ctx context.Context) iter.Seq2[godwit.GroupItem, error] {
	return pages(func(next string) ([]godwit.GroupItem, string, error) {
		reply, err := c.group(ctx, godwit.GroupList, "", func(f *godwit.Group) { f.Next = []byte(next) })
		return reply.Groups, reply.Next, err
	})
}

// pages yields what a paged request gives, until a page has no cursor.
func pages[T any](page func(next string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for next := ""; ; {
			items, following, err := page(next)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next = following; next == "" {
				return
			}
		}
	}
}
