package client

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/godwit-im/godwit"
)

// Inbox keeps what an application shows of conversations (unread, marks, settings,
// the newest entry) from one snapshot and the items that Receive returns, without
// asking again. It proves itself: where the server tells the digest of its own
// counts, the two are compared, and on a difference a new snapshot is taken.
//
//	inbox := client.NewInbox(c)
//	for item, err := range c.Events(ctx) {
//		if err != nil {
//			return err
//		}
//		if _, err := inbox.Take(ctx, item); err != nil {
//			return err
//		}
//		show(inbox.Conversations())
//	}
//
// Methods may be called concurrently; Take only in the order of Receive.
type Inbox struct {
	client *Client
	takes  sync.Mutex // one Take, Load or Verify at a time

	mu    sync.Mutex
	state inboxState
}

// NewInbox returns an inbox that has taken no snapshot yet: the first Take does.
func NewInbox(c *Client) *Inbox { return &Inbox{client: c} }

// Conversations returns all conversations, the one with the newest entry first.
// Their entries are shared: do not change them.
func (in *Inbox) Conversations() []godwit.ConversationItem {
	in.mu.Lock()
	defer in.mu.Unlock()
	list := make([]godwit.ConversationItem, 0, len(in.state.convs))
	for _, conv := range in.state.convs {
		list = append(list, conv.ConversationItem)
	}
	slices.SortFunc(list, func(a, b godwit.ConversationItem) int {
		return int(timeOf(&b.Last) - timeOf(&a.Last))
	})
	return list
}

// Conversation returns one conversation.
func (in *Inbox) Conversation(conv godwit.ConversationID) (godwit.ConversationItem, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	c := in.state.convs[conv]
	if c == nil {
		return godwit.ConversationItem{}, false
	}
	return c.ConversationItem, true
}

// Take applies the next item. repaired says that the counts were not what the
// server has, or the log was not continued, and a new snapshot was taken.
func (in *Inbox) Take(ctx context.Context, item Item) (repaired bool, err error) {
	in.takes.Lock()
	defer in.takes.Unlock()
	welcome := in.client.State().Welcome
	in.mu.Lock()
	first := in.state.convs == nil
	in.state.expect(welcome.Epoch, welcome.Seq, welcome.Digest)
	sound := in.state.apply(&item, welcome.User)
	in.mu.Unlock()
	if sound && !first {
		return false, nil
	}
	return !first, in.load(ctx)
}

// Load takes a new snapshot.
func (in *Inbox) Load(ctx context.Context) error {
	in.takes.Lock()
	defer in.takes.Unlock()
	return in.load(ctx)
}

func (in *Inbox) load(ctx context.Context) error {
	fresh := map[godwit.ConversationID]*inboxConversation{}
	var page godwit.ConversationsReply
	for first := true; first || page.Next != ""; first = false {
		var err error
		if page, err = in.client.conversationsPage(ctx, page.Next); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		for _, item := range page.Items {
			fresh[item.Conv] = &inboxConversation{item, page.AsOf}
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.state.convs = fresh
	in.state.expect(in.state.at.Epoch, page.AsOf, page.Digest)
	return nil
}

// Verify asks the server for its digest and compares. repaired says that they
// differed and a new snapshot was taken. checked is false when the log has moved on
// by more than one page, or the server tells no digest.
func (in *Inbox) Verify(ctx context.Context) (checked, repaired bool, err error) {
	in.takes.Lock()
	defer in.takes.Unlock()
	in.mu.Lock()
	ahead := in.state.clone()
	in.mu.Unlock()
	if ahead.convs == nil {
		return false, false, in.load(ctx)
	}
	page, err := in.client.syncPage(ctx, ahead.at.Seq, 0)
	if err != nil {
		return false, false, fmt.Errorf("verify: %w", err)
	}
	user := in.client.State().Welcome.User
	for i := range page.Entries {
		e := page.Entries[i]
		ahead.apply(&Item{Entry: e, At: Position{ahead.at.Epoch, end(&e)}}, user)
	}
	ahead.expected = inboxDigest{}
	ahead.expect(ahead.at.Epoch, page.Head, page.Digest)
	switch same, known := ahead.compare(); {
	case !known:
		return false, false, nil
	case same:
		return true, false, nil
	}
	return true, true, in.load(ctx)
}

// inboxConversation is a conversation as of some sequence of the user's log:
// entries up to there are in it already.
type inboxConversation struct {
	godwit.ConversationItem
	asOf godwit.Seq
}

// inboxDigest is what the server says of its counts at a sequence; zero: nothing.
type inboxDigest struct {
	at     Position
	digest uint64
}

// inboxState is the pure part of an Inbox.
type inboxState struct {
	at       Position // everything up to here was applied
	convs    map[godwit.ConversationID]*inboxConversation
	expected inboxDigest
}

func (s *inboxState) clone() inboxState {
	c := *s
	if c.convs = maps.Clone(s.convs); c.convs != nil {
		for conv, item := range c.convs {
			own := *item
			c.convs[conv] = &own
		}
	}
	return c
}

// expect notes a digest that is compared when the log has been applied up to it.
func (s *inboxState) expect(epoch string, at godwit.Seq, digest uint64) {
	if digest != 0 && at > s.expected.at.Seq {
		s.expected = inboxDigest{Position{epoch, at}, digest}
	}
}

// compare says whether the counts are the server's; known is false when it cannot
// be told here.
func (s *inboxState) compare() (same, known bool) {
	if s.expected.digest == 0 || s.expected.at != s.at || s.convs == nil {
		return false, false
	}
	sum := uint64(0)
	for _, conv := range s.convs {
		if conv.asOf > s.at.Seq {
			return false, false // it knows more than the digest
		}
		sum += conv.digest()
	}
	return sum&digestMask == s.expected.digest, true
}

// digestMask keeps the bits that a browser can hold; docs/protocol.md defines the sum.
const digestMask = 1<<53 - 1

func (c *inboxConversation) digest() uint64 {
	if c.Channel {
		return 0
	}
	buf := append(make([]byte, 0, 2+godwit.IDBytesMax+16), c.Conv...)
	buf = binary.BigEndian.AppendUint64(buf, c.Unread)
	return xxhash.Sum64(binary.BigEndian.AppendUint64(buf, uint64(c.Read)))
}

// apply takes one item; false: a snapshot is needed.
func (s *inboxState) apply(item *Item, self godwit.UserID) bool {
	if item.Gap != nil {
		if item.Gap.Conv == "" {
			s.at, s.expected = item.At, inboxDigest{}
		}
		return false
	}
	s.at = item.At
	if e := &item.Entry; !e.IsSkip() && s.convs != nil {
		s.entry(e, self)
	}
	same, known := s.compare()
	return same || !known
}

func (s *inboxState) entry(e *godwit.Entry, self godwit.UserID) {
	conv := convOf(e)
	c := s.convs[conv]
	if c == nil {
		c = &inboxConversation{ConversationItem: godwit.ConversationItem{Conv: conv}}
		s.convs[conv] = c
	}
	switch {
	case e.Seq != 0 && e.Seq <= c.asOf, e.Seq == 0 && e.GSeq <= c.GSeq:
		return // in the snapshot
	case e.GSeq > c.GSeq:
		c.GSeq = e.GSeq
	}
	switch e.Kind {
	case godwit.EntryMessage:
		c.Last = *e
		if string(e.Msg.From) != string(self) {
			c.Unread++
		}
	case godwit.EntryReceipt:
		c.receipt(e.Receipt, self)
	case godwit.EntryEdit, godwit.EntryRecall:
		c.revise(e)
	case godwit.EntryGroup:
		c.Last = *e
		c.group(e.Group)
	case godwit.EntrySettings:
		c.Mute, c.Pin, c.Archive = e.Settings.Mute, e.Settings.Pin, e.Settings.Archive
	}
}

func (c *inboxConversation) receipt(r *godwit.Receipt, self godwit.UserID) {
	if r.User != self {
		c.PeerDelivered, c.PeerRead = max(c.PeerDelivered, r.Delivered), max(c.PeerRead, r.Read)
		return
	}
	c.Delivered, c.Read, c.Unread = r.Delivered, r.Read, r.Unread
}

// revise changes the newest message, if it is that one.
func (c *inboxConversation) revise(e *godwit.Entry) {
	m := &c.Last.Msg
	if c.Last.Kind != godwit.EntryMessage || m.MID != e.Msg.MID {
		return
	}
	m.Body, m.Text, m.Type, m.Edited = e.Msg.Body, e.Msg.Text, e.Msg.Type, e.Msg.Time
	if e.Kind == godwit.EntryRecall {
		m.Body, m.Text, m.Type, m.Recalled = nil, false, nil, true
	}
}

func (c *inboxConversation) group(g *godwit.GroupChange) {
	if g.Name != "" {
		c.Name = g.Name
	}
	if g.Do == godwit.GroupBecomesChannel {
		c.Channel = true
	}
}

func timeOf(e *godwit.Entry) int64 {
	if e.Group != nil {
		return e.Group.Time
	}
	return e.Msg.Time
}
