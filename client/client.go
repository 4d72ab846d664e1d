package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/godwit-im/godwit"
)

// Errors of a client. A refusal by the server is a *godwit.Error instead: the
// sentinel of its code, for errors.Is.
var (
	// ErrClosed: Close was called.
	ErrClosed = errors.New("client: closed")
	// ErrStopped: the server told the client to stop, or the token was refused and
	// there is no other. Wraps the reason.
	ErrStopped = errors.New("client: stopped")
	// ErrUnknown: the message was handed to a server and no answer came in time.
	// It was stored at most once; sending it again with the same CID finds out.
	ErrUnknown = errors.New("client: not known whether the message was stored")
	// ErrNotSent: the message or request had no effect; it may be sent again.
	ErrNotSent = errors.New("client: not sent")
	// ErrMessage: the message cannot be sent at all.
	ErrMessage = errors.New("client: invalid message")
)

// Phase is what a client is doing.
type Phase uint8

// The phases. Live means that everything up to the head at the time of the
// connect has been received.
const (
	Connecting Phase = iota
	Replaying
	Live
	Waiting
	Stopped
)

var phaseNames = [...]string{"connecting", "replaying", "live", "waiting", "stopped"}

// String returns the phase in lower case.
func (p Phase) String() string { return phaseNames[p] }

// State is what a client is doing, and why.
type State struct {
	Phase Phase
	// Until is when the next attempt starts (Waiting).
	Until time.Time
	// Err is why the last connection or attempt ended (Connecting, Waiting), or why
	// the client stopped.
	Err error
	// Welcome is the newest connect reply; zero before the first.
	Welcome godwit.ConnectReply
	// Transport is what the session runs on, WebSocket or LongPoll; empty without one.
	Transport Transport
}

// Item is one thing the application must see, in order: an entry of the log
// (which may be a skip range: Entry.IsSkip), or a Discontinuity when Gap is set.
// The application owns all of it.
type Item struct {
	Entry godwit.Entry
	Gap   *Discontinuity
	// At is where a later client resumes so that the item after this one is its
	// first: keep it together with what the item changed.
	At Position

	left       godwit.ConversationID // of an entry by which the user left a group
	generation uint64                // see feed.generation
	ordinal    uint64                // rises with every item of this client
}

// Discontinuity says that the log could not be continued: entries after From
// were not and will not be delivered, and the next item follows To. Take
// Conversations as a snapshot and page History as needed.
type Discontinuity struct {
	Reason   string // "epoch": another incarnation of the log; "too_far"; "ahead": the log is shorter than From
	From, To Position
	// Conv is set when it is a channel that could not be continued: From.Seq and
	// To.Seq are the channel's then, and History by Range.Group has what lies between.
	Conv godwit.ConversationID
}

// Client is one session of one device. All methods may be called concurrently.
type Client struct {
	cfg Config

	items    chan Item     // unbuffered: an item that left it was taken, and may be acked
	requests chan *request // unbuffered: read only while the queue has room
	withdraw chan *request // requests whose caller no longer waits
	quit     chan struct{} // closed by Close
	drained  chan struct{} // closed when the client stopped and every item was taken
	done     chan struct{} // closed when the loop and all its goroutines have ended
	quitOnce sync.Once

	mu        sync.Mutex
	state     State
	stateTurn chan struct{}                        // closed and replaced at each change of state
	position  Position                             // At of the last item received
	received  uint64                               // its ordinal
	places    map[godwit.ConversationID]godwit.Seq // of channels, by the items received
	head      godwit.Seq                           // newest sequence known to exist
	connected bool                                 // a connect reply has come
}

// New starts a client and returns at once; it connects in the background and
// stays connected until Close, or until a server tells it to stop.
func New(cfg Config) (*Client, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	c := &Client{
		cfg:       cfg,
		items:     make(chan Item),
		requests:  make(chan *request),
		withdraw:  make(chan *request),
		quit:      make(chan struct{}),
		drained:   make(chan struct{}),
		done:      make(chan struct{}),
		stateTurn: make(chan struct{}),
		places:    map[godwit.ConversationID]godwit.Seq{},
	}
	for _, p := range cfg.Channels {
		c.places[p.Conv] = p.GSeq
	}
	switch {
	case cfg.Resume != nil:
		c.position = *cfg.Resume
	case cfg.Since != nil:
		c.position.Seq = *cfg.Since
	}
	go newLoop(c).run()
	return c, nil
}

// Dial is New and Connect; on an error the client is closed.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	c, err := New(cfg)
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Connect waits until the client has been connected once. When ctx ends first,
// the error also wraps why the last attempt failed.
func (c *Client) Connect(ctx context.Context) error {
	for {
		c.mu.Lock()
		state, connected, turn := c.state, c.connected, c.stateTurn
		c.mu.Unlock()
		switch {
		case connected:
			return nil
		case state.Phase == Stopped:
			return state.Err
		}
		select {
		case <-turn:
		case <-c.done:
			return c.endError()
		case <-ctx.Done():
			if state.Err != nil {
				return fmt.Errorf("connect: %w, last attempt: %w", ctx.Err(), state.Err)
			}
			return fmt.Errorf("connect: %w", ctx.Err())
		}
	}
}

// Receive returns the next item. Taking it is what the client acknowledges to
// the server. After Close it returns ErrClosed; after a
// stop it returns what is left, then the reason.
func (c *Client) Receive(ctx context.Context) (Item, error) {
	select {
	case item := <-c.items:
		c.mu.Lock()
		if item.ordinal > c.received {
			c.received, c.position = item.ordinal, item.At
			c.moveChannelLocked(&item)
		}
		c.mu.Unlock()
		return item, nil
	case <-c.drained:
		return Item{}, c.endError()
	case <-c.done:
		return Item{}, c.endError()
	case <-ctx.Done():
		return Item{}, ctx.Err()
	}
}

// Events yields what Receive returns until it returns an error, and then that.
func (c *Client) Events(ctx context.Context) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for {
			item, err := c.Receive(ctx)
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// State returns what the client is doing.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Position returns where a later client can Resume: At of the last item that
// Receive returned. Before the first, it is where this client began; without
// Resume its epoch is empty until the client has been connected.
func (c *Client) Position() Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position
}

// Channels returns the places in channels that belong to Position: keep them with
// it and pass both to a later client.
func (c *Client) Channels() []ChannelPlace {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]ChannelPlace, 0, len(c.places))
	for conv, gseq := range c.places {
		list = append(list, ChannelPlace{conv, gseq})
	}
	slices.SortFunc(list, func(a, b ChannelPlace) int { return strings.Compare(string(a.Conv), string(b.Conv)) })
	return list
}

func (c *Client) moveChannelLocked(item *Item) {
	switch e := &item.Entry; {
	case item.Gap != nil && item.Gap.Conv != "":
		c.places[item.Gap.Conv] = item.Gap.To.Seq
	case item.Gap != nil && item.Gap.Reason == "epoch":
		clear(c.places)
	case item.left != "":
		delete(c.places, item.left)
	case item.Gap == nil && e.Seq == 0:
		c.places[convOf(e)] = e.GSeq
	}
}

// beginChannel notes where a channel begins of which nothing was received yet.
func (c *Client) beginChannel(conv godwit.ConversationID, place godwit.Seq) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.places[conv]; !known {
		c.places[conv] = place
	}
}

// Head returns the newest sequence of the log that the client knows of.
func (c *Client) Head() godwit.Seq {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head
}

// Close ends the session and every goroutine of the client. It is idempotent and
// returns when all have ended. Sends that have no answer return ErrUnknown, or
// ErrNotSent if they never left.
func (c *Client) Close() error {
	c.quitOnce.Do(func() { close(c.quit) })
	<-c.done
	return nil
}

// endError is why nothing more comes.
func (c *Client) endError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Phase == Stopped && c.state.Err != nil {
		return c.state.Err
	}
	return ErrClosed
}

// setState publishes a change and tells those who wait for one.
func (c *Client) setState(s State) {
	c.mu.Lock()
	c.state = s
	c.connected = c.connected || s.Phase == Replaying || s.Phase == Live
	close(c.stateTurn)
	c.stateTurn = make(chan struct{})
	c.mu.Unlock()
	if c.cfg.OnState != nil {
		c.cfg.OnState(s)
	}
}

// setPlace notes where a new connection stands.
func (c *Client) setPlace(epoch string, cursor, head godwit.Seq) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head = head
	if c.position.Epoch == "" {
		c.position = Position{epoch, cursor}
	}
}

func (c *Client) setHead(head godwit.Seq) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head = max(c.head, head)
}
