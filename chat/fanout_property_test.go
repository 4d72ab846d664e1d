package chat

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

// fanChaos is the machine under a fan-out that does everything a real one may: it
// sends any entries to any members, of a list as it was at some time, late, twice,
// in pieces and in another order, and says late or never what is done. Only of a
// channel's entries it begins none before those ahead of them have arrived.
type fanChaos struct {
	*world
	rt      *rapid.T
	group   string
	users   []godwit.UserID
	sent    int
	worker  *fanWorker
	pool    []fanPooled
	through []godwit.Seq // per raft group: what was confirmed, of a channel
	flying  [][]fanPooled
	last    []godwit.Seq // of the channel's round under way
}

type fanPooled struct {
	group   int
	command []byte
}

func levelTwo(channelAbove int) func(*settings) {
	return func(st *settings) {
		st.level = 2
		p := Policy{ChannelAbove: channelAbove}
		if err := p.validate(); err != nil {
			panic(err)
		}
		st.policy = p.replicated()
	}
}

func newFanChaos(t *testing.T, rt *rapid.T, groups int) *fanChaos {
	c := &fanChaos{
		world: newWorld(t, groups, levelTwo(5)), rt: rt, group: "gfriends",
		users:   []godwit.UserID{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"},
		through: make([]godwit.Seq, groups), flying: make([][]fanPooled, groups), last: make([]godwit.Seq, groups),
	}
	create := groupCreateCommand{by: []byte("alice"), group: []byte(c.group), name: []byte("Friends"), flags: groupOpen}
	create.users.add([]byte("bob"))
	create.users.add([]byte("carol"))
	c.run(c.at(), create.append(nil, c.home(c.at()))).mustBe(rt, nil)
	return c
}

// attach gives the worker's scratch the store of now.
func (c *fanChaos) attach() *fanWorker {
	groups := len(c.store.groups)
	epochs := make([]uint64, groups)
	for g := range epochs {
		epochs[g] = testEpoch
	}
	c.worker = &fanWorker{fanouts: &fanouts{store: c.store, logger: slog.New(slog.DiscardHandler), to: make([]fanDestination, groups), epochs: epochs}}
	return c.worker
}

func (c *fanChaos) at() int { return c.store.Group(godwit.GroupID(c.group).Partition()) }

func (c *fanChaos) user(name string) []byte {
	return []byte(rapid.SampledFrom(c.users).Draw(c.rt, name))
}

func (c *fanChaos) send() {
	command := appendGroupSendHead(nil, c.home(c.at()), false, 0)
	command = appendGroupBlock(command, c.user("from"), []byte(c.group), fmt.Append(nil, "c", c.sent), nil, []byte("hi"), true)
	c.sent++
	c.run(c.at(), command)
}

func (c *fanChaos) change() {
	g := groupOfStore(c.rt, c.store, c.group)
	cmd := &groupChangeCommand{group: []byte(c.group), by: c.user("by")}
	cmd.do = rapid.SampledFrom([]changeDo{doAdd, doAdd, doRemove, doRemove, doLeave, doJoin}).Draw(c.rt, "do")
	var users [][]byte
	if cmd.do == doLeave || cmd.do == doJoin {
		users = [][]byte{cmd.by}
	} else {
		cmd.operator = true
		for range rapid.IntRange(1, 3).Draw(c.rt, "users") {
			users = append(users, c.user("user"))
		}
		slices.SortFunc(users, func(a, b []byte) int { return slices.Compare(a, b) })
		users = slices.CompactFunc(users, slices.Equal)
	}
	if cmd.do == doRemove {
		users = slices.DeleteFunc(users, func(u []byte) bool { return string(u) == string(g.owner) })
	}
	v := c.store.View(c.at())
	(&groupTask{group: cmd.group}).look(v, &g, cmd, users, 2)
	v.Close()
	if command := cmd.append(nil, c.home(c.at())); cmd.users.count > 0 {
		if _, ok := parseCommand(command); ok {
			c.run(c.at(), command)
		}
	}
}

// known reads the group as a worker does, with all of its members.
func (c *fanChaos) known() (g *fanGroup, got fanLoaded) {
	w := c.attach()
	row := groupOfStore(c.rt, c.store, c.group)
	g = &fanGroup{id: c.group, conv: []byte("g:" + c.group), src: c.at(), log: row.logID([]byte(c.group)), boundary: row.boundary, head: row.head, fanned: row.fanned}
	got.row = row
	v := c.store.View(c.at())
	defer v.Close()
	if err := w.readMembers(v, g, &got); err != nil {
		c.rt.Fatalf("%v", err)
	}
	g.members, g.leaving = got.members, got.leaving
	return g, got
}

// round makes the commands of some entries for one raft group.
func (c *fanChaos) round(g *fanGroup, dst int, first, limit godwit.Seq, channel bool, members []fanoutMember) (pooled []fanPooled, last godwit.Seq) {
	w := c.worker
	entries, last, err := w.readEntries(g, first, limit, channel)
	if err != nil {
		c.rt.Fatalf("%v", err)
	}
	r := &fanRound{first: first, last: last, personal: channel, boundary: last == g.boundary, members: members}
	if channel {
		r.members, entries = w.namedBy(entries, dst)
	}
	r.head = w.appendHead(g, entries, dst, channel)
	for next := 0; next < len(r.members); {
		end, count := w.build(r, next)
		if next = end; count > 0 {
			pooled = append(pooled, fanPooled{dst, slices.Clone(w.command)})
		}
	}
	return pooled, last
}

// fan makes commands of any run of entries for any members and applies some of
// them, and of those made before.
func (c *fanChaos) fan() {
	g, _ := c.known()
	dst := rapid.IntRange(0, len(c.store.groups)-1).Draw(c.rt, "destination")
	limit := g.head
	if g.boundary != 0 {
		limit = g.boundary
	}
	first := godwit.Seq(rapid.IntRange(1, int(limit)).Draw(c.rt, "first"))
	last := godwit.Seq(rapid.IntRange(int(first), int(limit)).Draw(c.rt, "last"))
	var members []fanoutMember
	for _, m := range g.members.of[dst] {
		if rapid.Bool().Draw(c.rt, "member") {
			members = append(members, m)
		}
	}
	pooled, _ := c.round(g, dst, first, last, false, members)
	c.pool = append(c.pool, pooled...)
	c.late()
}

// late applies a command that was made before, once more perhaps.
func (c *fanChaos) late() {
	if len(c.pool) > 0 {
		p := rapid.SampledFrom(c.pool).Draw(c.rt, "late")
		c.run(p.group, p.command).mustBe(c.rt, nil)
	}
}

// fanChannel begins or goes on with a round of a channel's entries.
func (c *fanChaos) fanChannel() {
	g, _ := c.known()
	dst := rapid.IntRange(0, len(c.store.groups)-1).Draw(c.rt, "destination")
	if g.boundary == 0 || c.done(g, dst) < g.boundary {
		return
	}
	c.through[dst] = max(c.through[dst], g.boundary)
	if len(c.flying[dst]) == 0 && c.through[dst] < g.head {
		limit := godwit.Seq(rapid.IntRange(int(c.through[dst])+1, int(g.head)).Draw(c.rt, "last"))
		c.flying[dst], c.last[dst] = c.round(g, dst, c.through[dst]+1, limit, true, nil)
		c.pool = append(c.pool, c.flying[dst]...)
	}
	if n := len(c.flying[dst]); n > 0 {
		i := rapid.IntRange(0, n-1).Draw(c.rt, "command")
		c.run(dst, c.flying[dst][i].command).mustBe(c.rt, nil)
		c.flying[dst] = slices.Delete(c.flying[dst], i, i+1)
	}
	if len(c.flying[dst]) == 0 {
		c.through[dst] = max(c.through[dst], c.last[dst])
	}
}

// done is through which entry the members' logs of a raft group have the group's.
func (c *fanChaos) done(g *fanGroup, dst int) godwit.Seq {
	limit := g.head
	if g.boundary != 0 {
		limit = g.boundary
	}
	done := max(limit, c.through[dst])
	for _, m := range g.members.of[dst] {
		_, row, _ := pointersOf(c.rt, c.store, userOf(m.user), c.group)
		need := limit
		if m.left != 0 {
			need = min(limit, m.left)
		}
		if m.since <= limit && row.gseq < need {
			done = min(done, max(row.gseq, m.since-1, m.after))
		}
	}
	return done
}

// fanned writes down at most what is done.
func (c *fanChaos) fanned() {
	g, _ := c.known()
	done := g.head
	for dst := range c.store.groups {
		done = min(done, c.done(g, dst))
	}
	if done <= g.fanned {
		return
	}
	through := godwit.Seq(rapid.IntRange(int(g.fanned)+1, int(done)).Draw(c.rt, "through"))
	command := appendFannedItem(appendFannedHead(nil, c.home(c.at()), testEpoch, 1), c.group, through, g.emptied(through))
	c.run(c.at(), command).mustBe(c.rt, nil)
}

func (c *fanChaos) crash() {
	before := c.store.digests()
	c.store = c.store.replica()
	if !slices.Equal(before, c.store.digests()) {
		c.rt.Fatalf("a replay gives another state")
	}
}

// drain does what is left in order, twice: the second time nothing changes.
func (c *fanChaos) drain() {
	for range 2 {
		g, _ := c.known()
		for dst := range c.store.groups {
			limit := g.head
			if g.boundary != 0 {
				limit = g.boundary
			}
			for after := g.fanned; after < limit; {
				var pooled []fanPooled
				pooled, after = c.round(g, dst, after+1, limit, false, g.members.of[dst])
				for _, p := range pooled {
					if o := c.run(p.group, p.command); o.refusal != nil || o.extra != nil {
						c.rt.Fatalf("the rest in order is answered %+v", o)
					}
				}
			}
			for _, p := range c.flying[dst] {
				c.run(dst, p.command).mustBe(c.rt, nil)
			}
			if len(c.flying[dst]) > 0 {
				c.flying[dst], c.through[dst] = nil, max(c.through[dst], c.last[dst])
			}
			for after := max(g.boundary, c.through[dst]); g.boundary != 0 && after < g.head; {
				var pooled []fanPooled
				pooled, after = c.round(g, dst, after+1, g.head, true, nil)
				for _, p := range pooled {
					c.run(p.group, p.command).mustBe(c.rt, nil)
				}
			}
		}
	}
}

// finish writes down that all is done.
func (c *fanChaos) finish() {
	if g, _ := c.known(); g.fanned < g.head {
		command := appendFannedItem(appendFannedHead(nil, c.home(c.at()), testEpoch, 1), c.group, g.head, g.emptied(g.head))
		c.run(c.at(), command).mustBe(c.rt, nil)
	}
	if g, _ := c.known(); len(g.leaving) > 0 {
		c.rt.Fatalf("%d former members are still listed", len(g.leaving))
	}
	checkFanned(c.rt, c.store, c.group)
}

func TestMembersHaveEveryEntryOnceAndInOrder(t *testing.T) {
	for _, groups := range []int{1, 8} {
		t.Run(fmt.Sprint(groups, " groups"), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				c := newFanChaos(t, rt, groups)
				step := func(f func()) func(*rapid.T) { return func(*rapid.T) { f() } }
				rt.Repeat(map[string]func(*rapid.T){
					"send": step(c.send), "send again": step(c.send), "change": step(c.change), "change again": step(c.change),
					"fan": step(c.fan), "fan again": step(c.fan), "late": step(c.late), "channel": step(c.fanChannel),
					"fanned": step(c.fanned), "crash": step(c.crash),
				})
				c.drain()
				c.finish()
				c.crash()
				checkFanout(rt, c.store, c.group)
				checkGroupCounts(rt, c.store, c.group)
			})
		})
	}
}
