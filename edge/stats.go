package edge

import (
	"sync/atomic"

	"github.com/godwit-im/godwit"
)

// Stats is a snapshot of the edge's counters, for metrics. Counters only rise;
// gauges say so.
type Stats struct {
	Connections  uint64 // gauge: open sockets
	Sessions     uint64 // gauge: WebSocket sessions the chat tier has opened
	Polls        uint64 // gauge: polls held
	Held         uint64 // gauge: of Sessions, those that the chat tier has to open again
	Reopened     uint64 // sessions that it did open again
	HeldRefused  uint64 // requests refused meanwhile
	Accepted     uint64
	Upgrades     uint64
	Refused      map[int]uint64              // requests answered with an error, by HTTP status
	Closes       map[godwit.CloseCode]uint64 // WebSocket closes by us, by code
	FramesIn     uint64
	FramesOut    uint64
	BytesIn      uint64
	CopiedIn     uint64 // of BytesIn, bytes that were copied before a message was handed on; some count twice
	BytesOut     uint64
	Events       uint64 // ev and skip frames among FramesOut
	HintsLost    uint64 // hints dropped or robbed of their frame at a full mailbox
	Tells        uint64 // frames outside of the log among FramesOut
	TellsLost    uint64 // such frames that did not fit a mailbox; each closed its session
	Whispers     uint64 // ephemeral frames among FramesOut
	WhispersLost uint64 // ephemeral frames dropped: a full mailbox, or a session that reads slowly
	RepliesLost  uint64 // replies that did not fit; each closed its session
	Fetches      uint64
	QueueItems   uint64 // gauge: items waiting in all mailboxes
	QueueBytes   uint64 // gauge
	VerifyQueue  uint64 // gauge: tokens waiting to be verified
	Newcomers    uint64 // gauge: sockets that have not shown a good token
	Handshakes   uint64 // gauge: sessions whose token is being verified or that are being opened
	MemoryUsed   uint64 // gauge: bytes in use by the last reading; 0 without a budget
	MemoryMax    uint64 // gauge: the budget
	Shed         uint64 // connections ended because memory was short

	TLSHandshakes uint64 // done
	TLSFailed     uint64 // broken off, or nothing of TLS
	Forwarded     uint64 // connections that a trusted proxy named the client of
	ProxyRefused  uint64 // connections of trusted proxies without a good header
}

// counters belong to one loop, which adds to them; anyone reads.
type counters struct {
	connections, sessions, polls, held     atomic.Int64
	reopened, heldRefused                  atomic.Uint64
	accepted, upgrades                     atomic.Uint64
	framesIn, framesOut, bytesIn, bytesOut atomic.Uint64
	copiedIn                               atomic.Uint64
	events, fetches                        atomic.Uint64
	hintsLost, repliesLost                 atomic.Uint64
	tells, tellsLost                       atomic.Uint64
	whispers, whispersLost                 atomic.Uint64
	shakes, shakesFailed                   atomic.Uint64
	forwarded, proxyRefused                atomic.Uint64
	refused                                [200]atomic.Uint64 // by status, from 400 on
	closes                                 [closeCodes]atomic.Uint64
}

// closeCodes: 1000–1015 first, then 4000–4399.
const closeCodes = 16 + 400

func (c *counters) countClose(code godwit.CloseCode) {
	switch {
	case code >= 4000 && code < 4400:
		c.closes[16+int(code)-4000].Add(1)
	case code >= 1000 && code < 1016:
		c.closes[int(code)-1000].Add(1)
	}
}

func (c *counters) countRefused(status int) {
	if status >= 400 && status < 600 {
		c.refused[status-400].Add(1)
	}
}

// Stats sums the counters of all loops. Any goroutine may call it.
func (e *Edge) Stats() Stats {
	sum := Stats{Refused: map[int]uint64{}, Closes: map[godwit.CloseCode]uint64{}}
	sum.Refused[503] += e.overload.Load()
	for _, l := range e.loops {
		c := &l.stats
		sum.Connections += uint64(max(0, c.connections.Load()))
		sum.Sessions += uint64(max(0, c.sessions.Load()))
		sum.Polls += uint64(max(0, c.polls.Load()))
		sum.Held += uint64(max(0, c.held.Load()))
		sum.Reopened += c.reopened.Load()
		sum.HeldRefused += c.heldRefused.Load()
		sum.Accepted += c.accepted.Load()
		sum.Upgrades += c.upgrades.Load()
		sum.FramesIn += c.framesIn.Load()
		sum.FramesOut += c.framesOut.Load()
		sum.BytesIn += c.bytesIn.Load()
		sum.CopiedIn += c.copiedIn.Load()
		sum.BytesOut += c.bytesOut.Load()
		sum.Events += c.events.Load()
		sum.HintsLost += c.hintsLost.Load()
		sum.Tells += c.tells.Load()
		sum.TellsLost += c.tellsLost.Load()
		sum.Whispers += c.whispers.Load()
		sum.WhispersLost += c.whispersLost.Load()
		sum.RepliesLost += c.repliesLost.Load()
		sum.Fetches += c.fetches.Load()
		sum.TLSHandshakes += c.shakes.Load()
		sum.TLSFailed += c.shakesFailed.Load()
		sum.Forwarded += c.forwarded.Load()
		sum.ProxyRefused += c.proxyRefused.Load()
		items, bytes := l.box.queued()
		sum.QueueItems += uint64(items)
		sum.QueueBytes += uint64(bytes)
		for i := range c.refused {
			if n := c.refused[i].Load(); n > 0 {
				sum.Refused[400+i] += n
			}
		}
		for i := range c.closes {
			if n := c.closes[i].Load(); n > 0 {
				sum.Closes[closeCodeAt(i)] += n
			}
		}
	}
	sum.VerifyQueue = uint64(len(e.verify.jobs))
	_, newcomers := e.admission.sources.size()
	sum.Newcomers = uint64(newcomers)
	sum.Handshakes = uint64(max(0, e.admission.handshakes.Load()))
	sum.MemoryUsed, sum.MemoryMax = uint64(e.admission.memory.used.Load()), uint64(e.cfg.MemoryMax)
	sum.Shed = e.admission.memory.shed.Load()
	if n := e.crowded.Load(); n > 0 {
		sum.Refused[429] += n
	}
	if sum.Refused[503] == 0 {
		delete(sum.Refused, 503)
	}
	return sum
}

func closeCodeAt(i int) godwit.CloseCode {
	if i < 16 {
		return godwit.CloseCode(1000 + i)
	}
	return godwit.CloseCode(4000 + i - 16)
}
