package client

import (
	"context"
	"fmt"
	"time"

	"github.com/godwit-im/godwit"
)

// Marks say how far the user has got a conversation; zero: not said. Sequences are
// those of Entry.Seq, in a channel of Entry.GSeq.
type Marks struct{ Delivered, Read godwit.Seq }

// do asks for something whose answer is godwit.Done.
func (c *Client) do(ctx context.Context, what string, r *request) (godwit.Done, error) {
	r.wants = godwit.KindDone
	reply, err := c.ask(ctx, r)
	if err != nil {
		return godwit.Done{}, fmt.Errorf("%s: %w", what, err)
	}
	return reply.Done, nil
}

func parseConv(conv string) ([]byte, error) {
	id, err := godwit.ParseConversationID(conv)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, godwit.ErrBadConv)
	}
	return []byte(id), nil
}

// Mark moves the user's marks of a conversation forward, on all devices. One that
// is behind changes nothing.
func (c *Client) Mark(ctx context.Context, conv string, m Marks) (godwit.Done, error) {
	id, err := parseConv(conv)
	if err != nil {
		return godwit.Done{}, err
	}
	r := newRequest(godwit.KindMark)
	r.frame.Mark = godwit.Mark{Conv: id, Delivered: m.Delivered, Read: m.Read}
	return c.do(ctx, "mark "+conv, r)
}

// Edit gives a message of one's own another body. m.CID is not used.
func (c *Client) Edit(ctx context.Context, mid godwit.MessageID, m Message) (godwit.Done, error) {
	m.CID = "edit"
	if err := m.validate(); err != nil {
		return godwit.Done{}, err
	}
	r := newRequest(godwit.KindEdit)
	e := &r.frame.Edit
	e.MID, e.Type = mid.AppendTo(nil), []byte(m.Type)
	if m.Data != nil {
		e.Data, e.HasData = append([]byte{}, m.Data...), true
	} else {
		e.Text, e.HasText = []byte(m.Text), true
	}
	return c.do(ctx, "edit "+mid.String(), r)
}

// Recall takes a message back, for everyone.
func (c *Client) Recall(ctx context.Context, mid godwit.MessageID) (godwit.Done, error) {
	r := newRequest(godwit.KindRecall)
	r.frame.Recall.MID = mid.AppendTo(nil)
	return c.do(ctx, "recall "+mid.String(), r)
}

// Typing tells the others of a conversation that the user is writing, or has
// stopped. It is said once or, without a session, not at all: ErrNotSent.
func (c *Client) Typing(ctx context.Context, conv string, stop bool) error {
	id, err := parseConv(conv)
	if err != nil {
		return err
	}
	r := newRequest(godwit.KindTyping)
	r.frame.Typing = godwit.Typing{Conv: id, Stop: stop}
	_, err = c.ask(ctx, r)
	return err
}

// Watch replaces the list of users whose coming and going Config.OnPresence is
// told of, also after a lost connection; without users it ends that. It returns
// what the server says of them now.
func (c *Client) Watch(ctx context.Context, users ...godwit.UserID) ([]godwit.PresenceItem, error) {
	list, err := userList(users)
	if err != nil {
		return nil, err
	}
	r := newRequest(godwit.KindPresence)
	r.frame.Presence.Watch, r.frame.Presence.HasWatch = list, true
	reply, err := c.ask(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	return reply.Presence.Users, nil
}

// Devices lists the user's devices.
func (c *Client) Devices(ctx context.Context) ([]godwit.DeviceItem, error) {
	r := newRequest(godwit.KindDevice)
	r.frame.Device.Do = []byte(godwit.DeviceList)
	reply, err := c.ask(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("devices: %w", err)
	}
	return reply.Devices.Devices, nil
}

// Logout ends the sessions of one of the user's devices; it needs a newer token to
// come back. The client's own device may be named.
func (c *Client) Logout(ctx context.Context, device string) error {
	if !godwit.ValidID(device) {
		return fmt.Errorf("%w: device: %w", ErrMessage, godwit.ErrBadID)
	}
	return c.logout(ctx, godwit.Device{Device: []byte(device)})
}

// LogoutAll ends the sessions of all of the user's devices, this one included.
func (c *Client) LogoutAll(ctx context.Context) error {
	return c.logout(ctx, godwit.Device{All: true})
}

func (c *Client) logout(ctx context.Context, d godwit.Device) error {
	r := newRequest(godwit.KindDevice)
	d.Do = []byte(godwit.DeviceLogout)
	r.frame.Device = d
	_, err := c.do(ctx, "logout", r)
	return err
}

// People is a change of a list of users.
type People struct{ Add, Remove []godwit.UserID }

// Block changes the list of users the user hears nothing of, and returns it.
func (c *Client) Block(ctx context.Context, p People) ([]godwit.UserID, error) {
	return c.people(ctx, godwit.KindBlock, p)
}

// Contacts changes the user's list of contacts, and returns it.
func (c *Client) Contacts(ctx context.Context, p People) ([]godwit.UserID, error) {
	return c.people(ctx, godwit.KindContact, p)
}

func (c *Client) people(ctx context.Context, kind godwit.FrameKind, p People) ([]godwit.UserID, error) {
	r := newRequest(kind)
	f := &r.frame.Block
	if kind == godwit.KindContact {
		f = &r.frame.Contact
	}
	var err error
	if f.Add, err = userList(p.Add); err != nil {
		return nil, err
	}
	if f.Remove, err = userList(p.Remove); err != nil {
		return nil, err
	}
	reply, err := c.ask(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("change a list of users: %w", err)
	}
	return reply.People.Users, nil
}

// ConversationSettings is what the user alone sees of a conversation; nil and zero
// stay as they are.
type ConversationSettings struct {
	Mute    *time.Time // silent until then; the zero time: not silent
	Pin     *bool
	Archive *bool
	// Delete removes the entries up to here, for the user alone.
	Delete godwit.Seq
}

// SetConversation changes what the user alone sees of a conversation, on all devices.
func (c *Client) SetConversation(ctx context.Context, conv string, s ConversationSettings) (godwit.Done, error) {
	id, err := parseConv(conv)
	if err != nil {
		return godwit.Done{}, err
	}
	r := newRequest(godwit.KindConversation)
	f := &r.frame.Conversation
	f.Conv, f.Delete = id, s.Delete
	if s.Mute != nil {
		f.HasMute = true
		if !s.Mute.IsZero() {
			f.Mute = s.Mute.UnixMilli()
		}
	}
	if s.Pin != nil {
		f.HasPin, f.Pin = true, *s.Pin
	}
	if s.Archive != nil {
		f.HasArchive, f.Archive = true, *s.Archive
	}
	return c.do(ctx, "settings of "+conv, r)
}
