package link

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// The methods in this file are what the edge calls, on its event loops.

// Connect asks for a session.
func (c *Client) Connect(s godwit.SessionID, hello Hello) {
	x := c.loose.Get().(*scratch)
	defer c.loose.Put(x)
	flags := uint64(0)
	if hello.Resume {
		flags = flagResume
	}
	if hello.Call {
		flags |= flagCall
	}
	b := binary.AppendUvarint(appendSession(begin(x.item[:0], itemConnect), s), flags)
	b = appendText(appendText(appendText(b, hello.User), hello.Device), hello.Epoch)
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(hello.ResumeSeq)), uint64(hello.Issued))
	b = binary.AppendUvarint(b, uint64(len(hello.Channels)))
	for _, place := range hello.Channels {
		b = binary.AppendUvarint(appendText(b, place.Conv), uint64(place.GSeq))
	}
	b = binary.AppendUvarint(b, hello.Stamp)
	x.item = b
	end(x.item, 0)
	c.mu.Lock()
	q := c.queue.Load()
	taken := q != nil && q.put(c.bounds.asked, x.item)
	if taken && !hello.Call {
		c.live[s] = struct{}{}
	}
	c.mu.Unlock()
	switch {
	case taken:
	case q == nil && hello.Again: // it is held, and announced when there is a stream
	case q == nil:
		c.edge.Close(s, godwit.CloseRebalance, lostReason)
	default:
		c.traffic.closed.Add(1)
		c.edge.Close(s, godwit.CloseOverloaded, overloaded)
	}
}

// Disconnect ends what Connect began, unless its stream has ended before.
func (c *Client) Disconnect(s godwit.SessionID, user godwit.UserID, device string) {
	x := c.loose.Get().(*scratch)
	defer c.loose.Put(x)
	x.item = appendText(appendText(appendSession(begin(x.item[:0], itemDisconnect), s), user), device)
	end(x.item, 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.live[s]; known {
		delete(c.live, s)
		c.queue.Load().put(maxInt, x.item)
	}
}

const maxInt = int(^uint(0) >> 1)

// Request hands a client's frame on.
func (c *Client) Request(s godwit.SessionID, user godwit.UserID, frame *godwit.ClientFrame) {
	x := c.loose.Get().(*scratch)
	defer c.loose.Put(x)
	b := appendText(appendSession(begin(x.item[:0], itemRequest), s), user)
	x.item = frame.AppendTo(b, godwit.EncodingProto)
	if !c.ask(x.item) {
		c.edge.Reply(s, &godwit.ServerFrame{ID: frame.ID, Kind: godwit.KindError, Error: godwit.ErrUnavailable.Reply(retryAfterMS)})
	}
	x.trim()
}

// retryAfterMS is when a request may find room, or an engine process.
const retryAfterMS = 1000

// Fetch asks for a part of a user's log.
func (c *Client) Fetch(s godwit.SessionID, user godwit.UserID, after godwit.Seq, limit, bytesMax int) {
	x := c.loose.Get().(*scratch)
	defer c.loose.Put(x)
	b := appendText(appendSession(begin(x.item[:0], itemFetch), s), user)
	b = binary.AppendUvarint(b, uint64(after))
	x.item = binary.AppendUvarint(binary.AppendUvarint(b, uint64(max(limit, 0))), uint64(max(bytesMax, 0)))
	if !c.ask(x.item) {
		c.edge.Fetched(s, nil, 0, godwit.ErrUnavailable)
	}
}

// ask queues one item if there is a stream and room.
func (c *Client) ask(item []byte) bool {
	q := c.queue.Load()
	switch {
	case q == nil || !end(item, 0):
		return false
	case !q.put(c.bounds.asked, item):
		c.traffic.closed.Add(1)
		return false
	}
	return true
}
