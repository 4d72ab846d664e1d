package node

import (
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit/edge"
)

const holdMax = time.Hour

func (cfg *Config) checkHold(bad *complaints) {
	l := &cfg.Link
	bad.unless(between(time.Duration(l.Hold), 0, holdMax), "link.hold", "is %s; it must be 0 to 1h", l.Hold)
	bad.unless(between(l.AnnouncePerS, 1, 1_000_000), "link.announce_per_s", "is %d; it must be 1 to 1000000", l.AnnouncePerS)
}

// hold has an edge process keep its sessions while the engine process is away, as
// configured. They can be told apart then only by their stamps: a new engine
// process hears of them in any order.
func (n *Node) hold(config *edge.Config) {
	config.Hold, config.AnnouncePerS = n.cfg.Link.Hold > 0, n.cfg.Link.AnnouncePerS
	if config.Stamp == nil {
		config.Stamp = newStamps(n.now).next
	}
}

// stamps gives the sessions of an edge process their stamps, as timestamps of a
// cluster's directory are made: the upper 46 bits are ms since the Unix epoch.
// Without a directory the processes of one machine have its clock in common.
type stamps struct {
	now  func() int64
	last atomic.Uint64
}

const (
	stampShift = 18
	// echoAheadMax is how far before our clock a client may be with the stamp that it
	// was told last: more than clocks of servers differ, and no client could have it.
	echoAheadMax = uint64(24*time.Hour/time.Millisecond) << stampShift
)

func newStamps(now func() int64) *stamps { return &stamps{now: now} }

// see keeps stamps above one of elsewhere.
func (s *stamps) see(stamp uint64) {
	for last := s.last.Load(); stamp > last && !s.last.CompareAndSwap(last, stamp); last = s.last.Load() {
	}
}

// next returns a stamp above all before it, and above the client's echo. That
// counts for its own session alone: clients don't set our clock.
func (s *stamps) next(echo uint64) uint64 {
	clock := uint64(max(0, s.now())) << stampShift
	for {
		last := s.last.Load()
		next := max(clock, last+1)
		if !s.last.CompareAndSwap(last, next) {
			continue
		}
		if echo >= next && echo-next < echoAheadMax {
			return echo + 1
		}
		return next
	}
}
