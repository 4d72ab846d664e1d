package link

import (
	"sync/atomic"
	"time"
)

// traffic counts what one stream carried.
type traffic struct {
	sentBytes, sentBatches, putItems atomic.Uint64
	gotBytes, gotBatches, gotItems   atomic.Uint64
	hints, whispers, fetches, closed atomic.Uint64 // dropped or failed at a full queue
}

func (t *traffic) received(items, bytes int) {
	t.gotBatches.Add(1)
	t.gotItems.Add(uint64(items))
	t.gotBytes.Add(uint64(bytes))
}

// sender is either end of a stream, to write to.
type sender interface{ SendMsg(m any) error }

// writeAll is the one writer of a stream: it sends batches as they queue, until an
// error or done. SendMsg waits for the peer, and so batches grow when it is slow.
func writeAll(to sender, q *queue, t *traffic, done <-chan struct{}) error {
	for {
		batch := q.take()
		if batch == nil {
			select {
			case <-q.wake:
				continue
			case <-done:
				return nil
			}
		}
		t.sentBatches.Add(1)
		t.sentBytes.Add(uint64(len(*batch)))
		if err := to.SendMsg(&message{data: batch, pool: q.pool}); err != nil {
			return err
		}
	}
}

// Stats are one stream's counters.
type Stats struct {
	About
	Address  string // the peer's
	TLSName  string // in its certificate; empty: no TLS
	Version  int    // of the link, as chosen
	Index    int
	Since    time.Time
	Ready    bool // accepts clients
	Sessions int

	QueueBytes                        int
	SentBytes, SentBatches, SentItems uint64
	GotBytes, GotBatches, GotItems    uint64
	HintsLost                         uint64 // deliveries dropped at a full queue
	WhispersLost                      uint64 // ephemeral frames for a session, dropped at a full queue
	FetchesFailed                     uint64 // fetches answered with a failure at a full queue
	Overflows                         uint64 // sessions closed (Hub) or requests refused (Client) at a full queue
	Untrusted                         uint64 // of a Client: attempts that ended at a certificate
}

func (t *traffic) stats() Stats {
	return Stats{
		SentBytes: t.sentBytes.Load(), SentBatches: t.sentBatches.Load(), SentItems: t.putItems.Load(),
		GotBytes: t.gotBytes.Load(), GotBatches: t.gotBatches.Load(), GotItems: t.gotItems.Load(),
		HintsLost: t.hints.Load(), WhispersLost: t.whispers.Load(), FetchesFailed: t.fetches.Load(), Overflows: t.closed.Load(),
	}
}

// Edges returns the edge processes attached now, by index.
func (h *Hub) Edges() []Stats {
	var list []Stats
	for _, a := range h.all() {
		s := a.traffic.stats()
		s.QueueBytes = a.queue.size()
		s.About, s.Index, s.Since = a.about, a.index, time.UnixMilli(a.since).UTC()
		s.Address, s.TLSName, s.Version = a.address, a.tlsName, a.version
		s.Ready, s.Sessions = a.ready.Load(), int(a.sessions.Load())
		list = append(list, s)
	}
	return list
}

// HubTotals count since the start, over all edge processes. Untrusted are handshakes
// of TLS that failed, and certificates of others than were to be.
type HubTotals struct{ Attached, Refused, Lost, Untrusted uint64 }

// Totals returns them.
func (h *Hub) Totals() HubTotals {
	return HubTotals{Attached: h.attaches.Load(), Refused: h.refused.Load(), Lost: h.lost.Load(), Untrusted: h.untrusted.Load()}
}

// Stats returns what this process's streams carried since the start.
func (c *Client) Stats() Stats {
	s := c.traffic.stats()
	if q := c.queue.Load(); q != nil {
		s.Ready, s.QueueBytes = true, q.size()
	}
	s.About, s.About.Lease, s.Untrusted = c.cfg.About, c.lease.Load(), c.untrusted.Load()
	s.Index, s.Since = int(c.index.Load()), time.UnixMilli(c.since.Load()).UTC()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Sessions = len(c.live)
	return s
}
