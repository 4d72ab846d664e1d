package link

import (
	"time"

	"github.com/godwit-im/godwit"
)

// Holder is an Edge that can keep its sessions while the engine process is away.
type Holder interface {
	Edge
	// Hold says that it is gone, with all that it was asked. Nothing of it comes any
	// more when Hold is called.
	Hold()
	// Announce says that it is back: the sessions that are held are connected again,
	// with Hello.Again, each when its turn comes.
	Announce()
	// Abandon closes those that are still held.
	Abandon()
}

// held is what a client that holds sessions has to remember. It belongs to run.
type held struct {
	edge  Holder      // nil: sessions are not held
	since time.Time   // zero: the engine process is there
	late  *time.Timer // abandons them; nil: not since the engine process was there last
}

// hold has the sessions wait for the engine process, and no longer than
// ClientConfig.Hold.
func (c *Client) hold() {
	c.held.edge.Hold()
	c.held.since = time.Now()
	c.held.late = time.AfterFunc(c.cfg.Hold, func() {
		c.cfg.Logger.Warn("the engine process has been away for too long: sessions are closed", "hold", c.cfg.Hold)
		c.held.edge.Abandon()
	})
}

// release has the sessions announced, if they were held.
func (c *Client) release() {
	if c.held.late == nil {
		return
	}
	c.held.late.Stop()
	c.held.late = nil
	c.cfg.Logger.Info("sessions that were held are announced", "away", time.Since(c.held.since).Round(time.Millisecond))
	c.held.edge.Announce()
}

// lose ends what the stream carried. Sessions are held, or they reconnect, with
// jitter, to whoever is attached by then.
func (c *Client) lose(hold bool) {
	c.cfg.Lost()
	c.mu.Lock()
	gone := c.live
	c.live = map[godwit.SessionID]struct{}{}
	if q := c.queue.Swap(nil); q != nil {
		q.close()
	}
	c.mu.Unlock()
	if hold && c.held.edge != nil {
		c.hold()
		return
	}
	for s := range gone {
		c.edge.Close(s, godwit.CloseRebalance, lostReason)
	}
}

const lostReason = "engine_lost"
