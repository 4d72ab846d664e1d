package chat

import (
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

// chaos is the machine under a forwarder that does everything a real one may:
// it forwards late, twice, in pieces, from the wrong place, and forgets acks.
type chaos struct {
	*world
	rt    *rapid.T
	users []godwit.UserID
	sent  []chaosSend
	lanes []laneID
}

type chaosSend struct {
	from, to godwit.UserID
	cid      string
	text     string
	first    outcome
}

func (c *chaos) send() {
	s := chaosSend{
		from: rapid.SampledFrom(c.users).Draw(c.rt, "from"), to: rapid.SampledFrom(c.users).Draw(c.rt, "to"),
		cid: fmt.Sprint("c", len(c.sent)), text: fmt.Sprint("text", len(c.sent)),
	}
	s.first = c.world.send(s.from, s.to, s.cid, s.text)
	s.first.mustBe(c.rt, nil)
	if s.first.dup {
		c.rt.Fatalf("a new id is called a repeat: %+v", s)
	}
	c.sent = append(c.sent, s)
}

func (c *chaos) retry() {
	if len(c.sent) == 0 {
		return
	}
	s := rapid.SampledFrom(c.sent).Draw(c.rt, "retry")
	o := c.world.send(s.from, s.to, s.cid, s.text)
	if !o.dup || o.seq != s.first.seq || o.time != s.first.time || o.log != s.first.log {
		c.rt.Fatalf("retry of %+v answers %+v", s, o)
	}
	c.world.send(s.from, s.to, s.cid, "another").mustBe(c.rt, godwit.ErrConflict)
}

// forward takes any run of a lane's undelivered items.
func (c *chaos) forward() {
	if len(c.lanes) == 0 {
		return
	}
	lane := rapid.SampledFrom(c.lanes).Draw(c.rt, "lane")
	first, items := c.outbox(lane)
	if len(items) == 0 {
		return
	}
	from := rapid.IntRange(0, len(items)-1).Draw(c.rt, "item")
	to := rapid.IntRange(from+1, len(items)).Draw(c.rt, "end")
	c.world.forward(lane, testEpoch, first+uint64(from), items[from:to])
}

func (c *chaos) ackHeld() {
	if len(c.lanes) > 0 {
		lane := rapid.SampledFrom(c.lanes).Draw(c.rt, "lane")
		if held := c.held(lane); held > 0 {
			c.ack(lane, held)
		}
	}
}

// held is what the destination has of a lane.
func (c *chaos) held(lane laneID) uint64 {
	var l laneInRow
	if row, ok := c.store.groups[c.store.Group(lane.dst)].Get(appendLaneInKey(nil, lane)); ok && !l.parse(row) {
		c.rt.Fatal("lane-in row does not parse")
	}
	return l.last
}

// crash replays all commands on a new machine.
func (c *chaos) crash() {
	before := c.store.digests()
	c.store = c.store.replica()
	if after := c.store.digests(); !slices.Equal(before, after) {
		c.rt.Fatal("a replay gives another state")
	}
}

func (c *chaos) jumpClock() {
	c.store.clock += rapid.Int64Range(-100_000, 100_000).Draw(c.rt, "ms")
	for _, g := range c.store.groups {
		g.stamp = 0
	}
}

// drain delivers everything, as a forwarder does in the end.
func (c *chaos) drain() {
	for _, lane := range c.lanes {
		first, items := c.outbox(lane)
		if len(items) > 0 {
			if o := c.world.forward(lane, testEpoch, first, items); o.last != first+uint64(len(items))-1 {
				c.rt.Fatalf("lane %v holds %d after everything was sent", lane, o.last)
			}
			c.ack(lane, first+uint64(len(items))-1)
		}
	}
	if n := c.rows(rowOutbox); n != 0 {
		c.rt.Fatalf("%d outbox rows after all was acked", n)
	}
}

// check compares the logs with what was sent.
func (c *chaos) check() {
	counts := map[string]int{}
	for _, user := range c.users {
		lastOf := map[string]int{} // sender → number of the send
		incoming := map[string]uint64{}
		var mids []godwit.MessageID
		for i, e := range c.log(user) {
			var n int
			if _, err := fmt.Sscanf(string(e.Msg.Body), "text%d", &n); err != nil || e.Seq != godwit.Seq(i+1) {
				c.rt.Fatalf("entry %d of %s: %+v", i+1, user, e)
			}
			s := c.sent[n]
			from := string(e.Msg.From)
			if from != string(s.from) || string(e.Msg.CID) != s.cid || (user != s.from && user != s.to) {
				c.rt.Fatalf("%s has %+v, sent was %+v", user, e.Msg, s)
			}
			if last, ok := lastOf[from]; ok && last >= n {
				c.rt.Fatalf("%s has send %d of %s after %d", user, n, from, last)
			}
			lastOf[from] = n
			counts[fmt.Sprint(user, " ", n)]++
			if user == s.from && e.Seq != s.first.seq {
				c.rt.Fatalf("send %d was answered %d and lies at %d", n, s.first.seq, e.Seq)
			}
			if user != s.from {
				incoming[from]++
			}
			mids = append(mids, e.Msg.MID)
		}
		slices.SortFunc(mids, func(a, b godwit.MessageID) int { return slices.Compare(a[:], b[:]) })
		if len(slices.Compact(mids)) != len(c.log(user)) {
			c.rt.Fatalf("%s has two messages of one id", user)
		}
		for _, peer := range c.users {
			if got := c.unread(user, peer); got != incoming[string(peer)] {
				c.rt.Fatalf("%s has %d unread of %s, want %d", user, got, peer, incoming[string(peer)])
			}
		}
	}
	for n, s := range c.sent {
		for _, user := range []godwit.UserID{s.from, s.to} {
			if got := counts[fmt.Sprint(user, " ", n)]; got != 1 {
				c.rt.Fatalf("send %d is %d times in the log of %s", n, got, user)
			}
		}
	}
}

func TestAckedMessagesAreInBothLogsExactlyOnce(t *testing.T) {
	for _, groups := range []int{1, 8} {
		t.Run(fmt.Sprint(groups, " groups"), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				c := &chaos{world: newWorld(t, groups, nil), rt: rt, users: []godwit.UserID{"alice", "bob", "carol", "dave", "erin"}}
				for _, from := range c.users {
					for _, to := range c.users {
						lane := laneID{from.Partition(), to.Partition()}
						if c.store.Group(lane.src) != c.store.Group(lane.dst) && !slices.Contains(c.lanes, lane) {
							c.lanes = append(c.lanes, lane)
						}
					}
				}
				if (groups > 1) != (len(c.lanes) > 0) {
					t.Fatalf("%d lanes between %d groups", len(c.lanes), groups)
				}
				step := func(f func()) func(*rapid.T) { return func(*rapid.T) { f() } }
				rt.Repeat(map[string]func(*rapid.T){
					"send": step(c.send), "send again": step(c.send), "retry": step(c.retry), "forward": step(c.forward),
					"ack": step(c.ackHeld), "crash": step(c.crash), "clock": step(c.jumpClock),
				})
				c.drain()
				c.crash()
				c.check()
			})
		})
	}
}
