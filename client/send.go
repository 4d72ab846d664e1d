package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/godwit-im/godwit"
)

// Message is what Send sends. The client copies it.
type Message struct {
	// CID names the message across retries and for ever, see godwit.ValidID.
	// Default: a random one.
	CID string
	// Text is the body, unless Data is not nil.
	Text string
	// Data is an opaque body.
	Data []byte
	// Type is the media type of the body, optional, at most 64 bytes.
	Type string
}

// Sent says where a message is stored, durably.
type Sent struct {
	CID  string
	MID  godwit.MessageID
	Seq  godwit.Seq // in the sender's own log; 0: it has no place there (a channel) or not yet
	GSeq godwit.Seq // in the group's log; 0: not a group
	Conv godwit.ConversationID
	Time int64 // server's clock, ms since the Unix epoch
	Dup  bool  // an earlier attempt had stored it
}

// Send sends a message to a user ("bob", "u:bob") or a group ("g:42") and waits
// for its fate, however many connections that takes:
//
//   - nil: stored, on every disk that it must be on
//   - a *godwit.Error, ErrNotSent or ErrMessage: no effect
//   - ErrUnknown: ctx ended or the client closed while the message was with a
//     server. Send it again with the same CID to find out.
//
// When ctx ends the client forgets the message and does not send it again.
func (c *Client) Send(ctx context.Context, to string, m Message) (Sent, error) {
	t, err := c.Submit(ctx, to, m)
	if err != nil {
		return Sent{}, err
	}
	return t.Wait(ctx)
}

// Submit gives a message its place in the order of this client's sends and
// returns; it waits only while the queue is full. The Ticket must be waited for.
func (c *Client) Submit(ctx context.Context, to string, m Message) (*Ticket, error) {
	conv, err := godwit.ParseConversationID(to)
	if err != nil {
		return nil, fmt.Errorf("%w: to: %w", ErrMessage, godwit.ErrBadConv)
	}
	if m.CID == "" {
		m.CID = rand.Text()
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	r := newRequest(godwit.KindSend)
	s := &r.frame.Send
	if peer, ok := conv.Peer(); ok {
		s.To = []byte(peer)
	} else {
		s.Group = []byte(conv[len("g:"):])
	}
	s.CID, s.Type, s.Time = []byte(m.CID), []byte(m.Type), c.cfg.clock.Now().UnixMilli()
	if m.Data != nil {
		s.Data, s.HasData = append([]byte{}, m.Data...), true
	} else {
		s.Text, s.HasText = []byte(m.Text), true
	}
	if err := c.submit(ctx, r); err != nil {
		return nil, err
	}
	return &Ticket{client: c, request: r, cid: m.CID}, nil
}

func (m *Message) validate() error {
	switch {
	case !godwit.ValidID(m.CID):
		return fmt.Errorf("%w: %w", ErrMessage, godwit.ErrBadCID)
	case m.Data != nil && m.Text != "",
		!utf8.ValidString(m.Text), len(m.Type) > godwit.TypeBytesMax, !utf8.ValidString(m.Type):
		return fmt.Errorf("%w: %w", ErrMessage, godwit.ErrBadBody)
	}
	return nil
}

// Ticket is a message on its way.
type Ticket struct {
	client  *Client
	request *request
	cid     string
}

// CID returns the client id of the message.
func (t *Ticket) CID() string { return t.cid }

// Wait returns the fate of the message as Send does. The end of ctx withdraws
// the message.
func (t *Ticket) Wait(ctx context.Context) (Sent, error) {
	reply, err := t.client.await(ctx, t.request)
	if err != nil {
		return Sent{}, fmt.Errorf("send %s: %w", t.cid, err)
	}
	r := &reply.Send
	return Sent{CID: t.cid, MID: r.MID, Seq: r.Seq, GSeq: r.GSeq, Conv: r.Conv, Time: r.Time, Dup: r.Dup}, nil
}

// request is one frame that wants an answer. The caller owns it until submit
// and after done is closed; between them only the loop may touch it.
type request struct {
	frame godwit.ClientFrame // owns its slices; its ID is set for each attempt
	wants godwit.FrameKind   // of the answer
	done  chan struct{}      // closed when reply or err is set
	then  func(r *request)   // the loop's own requests: called by it after done

	reply *godwit.ServerFrame
	err   error

	flying    bool      // written to the current connection, not answered there
	maybe     bool      // an earlier attempt may have had an effect
	notBefore time.Time // of a read that was refused for a while
}

func newRequest(kind godwit.FrameKind) *request {
	return &request{frame: godwit.ClientFrame{Kind: kind}, wants: kind, done: make(chan struct{})}
}

// finish sets the outcome and wakes the caller.
func (r *request) finish(reply *godwit.ServerFrame, err error) {
	r.reply, r.err = reply, err
	close(r.done)
	if r.then != nil {
		r.then(r)
	}
}

// changes reports whether the request may have an effect: all but reads do.
func (r *request) changes() bool {
	switch r.frame.Kind {
	case godwit.KindSync, godwit.KindHistory, godwit.KindConversations, godwit.KindPresence, godwit.KindTyping:
		return false
	case godwit.KindGroup:
		switch string(r.frame.Group.Do) {
		case godwit.GroupInfo, godwit.GroupMembers, godwit.GroupList, godwit.GroupReceipts:
			return false
		}
	case godwit.KindDevice:
		return string(r.frame.Device.Do) != godwit.DeviceList
	}
	return true
}

// abandon finishes a request without an answer: unknown if it may have had an
// effect, else not sent. Reads have none.
func (r *request) abandon(why error) {
	outcome := ErrNotSent
	if (r.flying || r.maybe) && r.changes() {
		outcome = ErrUnknown
	}
	r.finish(nil, fmt.Errorf("%w: %w", outcome, why))
}

func (c *Client) submit(ctx context.Context, r *request) error {
	select {
	case c.requests <- r:
		return nil
	case <-c.done:
		return fmt.Errorf("%w: %w", ErrNotSent, c.endError())
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrNotSent, ctx.Err())
	}
}

// errWithdrawn stands in for the caller's own ctx error.
var errWithdrawn = errors.New("withdrawn")

// await waits for the answer; when ctx ends it withdraws the request, and the
// loop finishes it at once.
func (c *Client) await(ctx context.Context, r *request) (*godwit.ServerFrame, error) {
	select {
	case <-r.done:
		return r.reply, r.err
	case <-ctx.Done():
	}
	select {
	case c.withdraw <- r:
	case <-r.done:
		return r.reply, r.err
	case <-c.done: // the loop has finished every request it had
	}
	<-r.done
	if errors.Is(r.err, errWithdrawn) {
		outcome := ErrNotSent
		if errors.Is(r.err, ErrUnknown) {
			outcome = ErrUnknown
		}
		return nil, fmt.Errorf("%w: %w", outcome, context.Cause(ctx))
	}
	return r.reply, r.err
}

// ask submits a request and waits for its answer.
func (c *Client) ask(ctx context.Context, r *request) (*godwit.ServerFrame, error) {
	if err := c.submit(ctx, r); err != nil {
		return nil, err
	}
	return c.await(ctx, r)
}
