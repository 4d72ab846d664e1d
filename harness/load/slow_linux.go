package load

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
)

// slowPart is a loop's share of a scenario with slow consumers.
type slowPart struct {
	sessions int           // see isSlow
	from     time.Duration // when they stop reading; of what is due before, latency is "before"
	active   bool          // they have stopped
	found    result.Slow
}

const (
	asksPerTick = 5       // pages that a session asks for and does not read, every 100 ms
	askPage     = 100     // entries of each
	askIDs      = 1 << 48 // requests from here on are asked without waiting for the answer
)

// isSlow reports whether the session is a slow consumer: one of each of the
// last pairs. It sends nothing; its partner writes to it.
func (l *loop) isSlow(i uint32) bool {
	return i&1 == 1 && int(i) >= len(l.sessions)-2*l.slow.sessions
}

// isAsking reports whether a slow consumer keeps asking.
func isAsking(i uint32) bool { return i&2 != 0 }

// planSlow decides every arrival of an open loop with slow consumers: rate
// a second in all, of which perSlow go to each of them.
func (l *loop) planSlow(arrivals string, rate, perSlow float64, length time.Duration) []arrival {
	others := len(l.sessions) - 2*l.slow.sessions
	toAll := perSlow * float64(l.slow.sessions)
	plan := planArrivals(arrivals, rate-toAll, length, others, l.seed)
	if l.slow.sessions > 0 {
		for _, a := range planArrivals(arrivals, toAll, length, l.slow.sessions, l.seed+1<<32) {
			plan = append(plan, arrival{a.at, uint32(others) + 2*a.actor})
		}
	}
	slices.SortStableFunc(plan, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	return plan
}

// setSlow lets the slow consumers stop reading, or read again.
func (l *loop) setSlow(active bool) {
	l.slow.active = active
	for i := range l.sessions {
		s := &l.sessions[i]
		if !l.isSlow(uint32(i)) || s.state <= stateConnecting {
			continue
		}
		switch {
		case active && isAsking(uint32(i)):
			l.slow.found.Asking++
		case active:
			l.slow.found.Silent++
		case !s.reading && l.behind(uint32(i)) > l.window:
			l.slow.found.WindowFull++
			s.held = true
		}
		s.reading = !active
		s.stalled = s.stalled || active
		l.interest(uint32(i))
	}
}

// behind is how many messages were stored for a slow consumer and have not come.
func (l *loop) behind(i uint32) int {
	stored := 0
	for _, fate := range l.check.users[i^1].sent {
		if fate == outcomeStored {
			stored++
		}
	}
	a := &l.check.users[i]
	return stored - int(a.next-a.start-1)
}

// askOn lets the asking ones ask for more of what they don't read.
func (l *loop) askOn() {
	for i := len(l.sessions) - 2*l.slow.sessions; l.slow.active && i < len(l.sessions); i++ {
		s := &l.sessions[i]
		if !l.isSlow(uint32(i)) || !isAsking(uint32(i)) || s.reading || s.state != stateOpen {
			continue
		}
		for range asksPerTick {
			s.asked++
			f := godwit.ClientFrame{ID: askIDs + s.asked, Kind: godwit.KindHistory}
			f.History = godwit.History{Conv: l.appendName([]byte("u:"), uint32(i)^1), Limit: askPage}
			l.request(uint32(i), &f)
		}
	}
}

// cutOff counts a slow consumer that was ended by the server: at once, or after
// the server's patience with the close frame that lies behind the unread rest.
func (l *loop) cutOff(i uint32) {
	s := &l.sessions[i]
	if !s.stalled {
		return
	}
	l.slow.found.CutOff++
	if s.held { // counted as one whose connection stayed
		l.slow.found.WindowFull--
	}
	s.stalled, s.held = false, false
}

// besides records the latency of a message to a session that reads.
func (l *loop) besides(due, now time.Duration) {
	name := latencyBefore
	if due >= l.slow.from {
		name = latencyBeside
	}
	l.shard.Record(name, due, now)
}

// closesMetric is what the server counts its closes in.
const closesMetric = `godwit_edge_closes_total{code="`

// concludeSlow sums what the agents found, and takes its latencies from the rest.
func (c *coordinator) concludeSlow(latencies map[string]*record.Distribution) *result.Slow {
	sum := &result.Slow{CloseCodes: map[string]uint64{}}
	for i := range c.reports {
		s := &c.reports[i].Slow
		sum.Silent, sum.Asking = sum.Silent+s.Silent, sum.Asking+s.Asking
		sum.WindowFull, sum.CutOff = sum.WindowFull+s.WindowFull, sum.CutOff+s.CutOff
	}
	for name, after := range c.measured.after {
		code, ok := strings.CutPrefix(name, closesMetric)
		if before := c.measured.before[name]; ok && after > before {
			sum.CloseCodes[strings.TrimSuffix(code, `"}`)] = uint64(after - before)
		}
	}
	for name, to := range map[string]*result.Latency{othersBefore: &sum.OthersBefore, othersBeside: &sum.OthersBeside, toSlow: &sum.ToSlow} {
		if d := latencies[name]; d != nil {
			*to = d.ToLatency()
			delete(latencies, name)
		}
	}
	return sum
}

// hangUps is what a session that does not read is still told of.
const hangUps = unix.EPOLLRDHUP
