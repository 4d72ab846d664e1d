package chat

import (
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

// fanWorld has a group of users whose logs are all in one raft group.
type fanWorld struct {
	*world
	dst   int
	group string
}

func newFanWorld(t *testing.T, groups int) *fanWorld {
	w := &fanWorld{world: newWorld(t, groups, levelTwo(500)), group: "gfriends"}
	w.dst = w.store.Group(godwit.UserID("bob").Partition())
	return w
}

// fan sends entries first … last of a made-up log, all written by alice.
func (w *fanWorld) fan(epoch uint64, base, first, last godwit.Seq, members ...fanoutMember) outcome {
	w.t.Helper()
	c := fanoutCommand{conv: []byte("g:" + w.group), epoch: epoch, base: base}
	c.log = godwit.NewLogID(godwit.GroupID(w.group).Partition(), 7)
	for n := first; n <= last; n++ {
		c.entries = append(c.entries, fanoutEntry{seq: n, flags: fanCounts, time: int64(n), sender: []byte("alice")})
	}
	command := appendFanoutHead(nil, w.home(w.dst), &c)
	command = append(command, byte(len(members)))
	for i := range members {
		command = members[i].append(command)
	}
	if _, ok := parseCommand(command); !ok {
		w.t.Fatal("the command does not parse")
	}
	return w.run(w.dst, command)
}

func (w *fanWorld) want(user godwit.UserID, pointers ...godwit.Seq) {
	w.t.Helper()
	if got, _, _ := pointersOf(w.t, w.store, user, w.group); !slices.Equal(got, pointers) {
		w.t.Errorf("log of %s points to %v, want %v", user, got, pointers)
	}
}

func bob(since, left godwit.Seq) fanoutMember {
	return fanoutMember{user: []byte("bob"), since: since, left: left}
}

func TestFanoutTakesOnlyWhatComesNext(t *testing.T) {
	w := newFanWorld(t, 8)
	gap := func(o outcome, after godwit.Seq) {
		t.Helper()
		if o.refusal != nil || o.extra != (fanoutGap{after}) {
			t.Errorf("answer %+v, want a gap after %d", o, after)
		}
	}
	gap(w.fan(testEpoch, 0, 4, 6, bob(3, 0)), 2) // he lacks the entry that made him a member
	w.want("bob")
	w.fan(testEpoch, 0, 1, 4, bob(3, 0))
	w.want("bob", 3, 4)
	gap(w.fan(testEpoch, 0, 6, 9, bob(3, 0)), 4)
	w.fan(testEpoch, 0, 1, 4, bob(3, 0))
	w.fan(testEpoch, 0, 3, 6, bob(3, 0))
	w.want("bob", 3, 4, 5, 6)
	w.fan(testEpoch, 0, 7, 9, bob(3, 8)) // his last entry is 8
	w.want("bob", 3, 4, 5, 6, 7, 8)
	w.fan(testEpoch, 0, 9, 12, bob(11, 0)) // and again a member
	w.want("bob", 3, 4, 5, 6, 7, 8, 11, 12)
}

// A membership is not begun before the one ahead of it has ended in the log.
func TestFanoutDoesNotJumpOverAMembership(t *testing.T) {
	w := newFanWorld(t, 1)
	w.fan(testEpoch, 0, 1, 3, bob(1, 0))
	again := bob(7, 0)
	again.after = 5
	if o := w.fan(testEpoch, 0, 6, 8, bob(1, 5), again); o.extra != (fanoutGap{3}) {
		t.Errorf("answer %+v", o)
	}
	w.want("bob", 1, 2, 3)
	w.fan(testEpoch, 0, 4, 8, bob(1, 5), again)
	w.want("bob", 1, 2, 3, 4, 5, 7, 8)
	if _, row, u := pointersOf(t, w.store, "bob", w.group); row.since != 7 || row.left != 0 || u.groups != 1 {
		t.Errorf("row %+v, %d groups", row, u.groups)
	}
}

// What no replica may take: a recipient of another raft group, an epoch that ended.
func TestFanoutRefusesWhatIsNotItsOwn(t *testing.T) {
	w := newFanWorld(t, 8)
	far := godwit.UserID("far")
	for i := 0; w.store.Group(far.Partition()) == w.dst; i++ {
		far = godwit.UserID(fmt.Sprint("far", i))
	}
	w.fan(testEpoch, 0, 1, 1, bob(1, 0), fanoutMember{user: []byte(far), since: 1}).mustBe(t, godwit.ErrFrameInvalid)
	w.want("bob")
	w.fan(testEpoch, 0, 1, 2, bob(1, 0))
	restore := restoreCommand{epoch: testEpoch + 1}
	w.run(w.dst, restore.append(nil, w.home(w.dst))).mustBe(t, nil)
	if o := w.fan(testEpoch, 0, 3, 4, bob(1, 0)); !o.stale {
		t.Errorf("a command of before the restore is answered %+v", o)
	}
	w.want("bob", 1, 2)
	w.fan(testEpoch+1, 0, 1, 4, bob(1, 0)) // restored together: the count goes on
	w.want("bob", 1, 2, 3, 4)
}

// Only the source was restored: what came after its backup comes again.
func TestFanoutCountsAgainAfterTheSourceWasRestored(t *testing.T) {
	w := newFanWorld(t, 8)
	w.fan(testEpoch, 0, 1, 6, bob(1, 0))
	if o := w.fan(testEpoch+9, 4, 6, 6, bob(1, 0)); o.extra != (fanoutGap{4}) {
		t.Errorf("answer %+v", o)
	}
	w.fan(testEpoch+9, 4, 5, 7, bob(1, 0))
	w.fan(testEpoch+9, 4, 5, 8, bob(1, 0))
	w.want("bob", 1, 2, 3, 4, 5, 6, 5, 6, 7, 8)
}

// A group of level 1 has no such rows: it refuses, as every replica of it does.
func TestFanoutNeedsLevelTwo(t *testing.T) {
	w := &fanWorld{world: newWorld(t, 1, nil), group: "gfriends"}
	before := w.store.digests()
	w.fan(testEpoch, 0, 1, 1, bob(1, 0)).mustBe(t, godwit.ErrFrameInvalid)
	if !slices.Equal(before, w.store.digests()) {
		t.Error("the state changed")
	}
}

func TestFanoutGoesOnInANewEpoch(t *testing.T) {
	bubbles(t, nil, func(s *served) {
		g := s.createGroup("alice", "c1", "Friends", manyUsers(12)...)
		id, conv := string(g.Group), string(g.Conv)
		for i := range 3 {
			s.send("alice", conv, fmt.Sprint("m", i), "hi")
			s.restoredAs(uint64(77 + i))
			checkFanout(t, s.store, id)
		}
		s.mustGroup(s.askGroup("alice", godwit.GroupAdd, id, withUsers("zoe")))
		s.send("alice", conv, "last", "hi")
		s.fannedOut(id)
	})
}

func TestFanoutCommandsAreCheckedWhole(t *testing.T) {
	c := fanoutCommand{conv: []byte("g:g1"), log: godwit.NewLogID(1, 2), epoch: 3}
	c.entries = []fanoutEntry{{seq: 4, time: 5}, {seq: 5, time: 6}}
	f := func(want bool, change func(c *fanoutCommand, m *fanoutMember)) {
		t.Helper()
		c, m := c, bob(1, 0)
		c.entries = slices.Clone(c.entries)
		change(&c, &m)
		if _, ok := parseCommand(m.append(append(appendFanoutHead(nil, 0, &c), 1))); ok != want {
			t.Errorf("parses: %v, want %v", ok, want)
		}
	}
	f(true, func(*fanoutCommand, *fanoutMember) {})
	f(false, func(c *fanoutCommand, _ *fanoutMember) { c.conv = []byte("u:g1") })
	f(false, func(c *fanoutCommand, _ *fanoutMember) { c.epoch = 0 })
	f(false, func(c *fanoutCommand, _ *fanoutMember) { c.entries[1].seq = 6 })
	f(false, func(c *fanoutCommand, _ *fanoutMember) { c.entries[1].seq = 4 })
	f(false, func(c *fanoutCommand, _ *fanoutMember) { c.entries[0].flags = 8 })
	f(false, func(c *fanoutCommand, _ *fanoutMember) { c.entries = make([]fanoutEntry, fanoutEntriesMax+1) })
	f(false, func(_ *fanoutCommand, m *fanoutMember) { m.since = 0 })
	f(false, func(_ *fanoutCommand, m *fanoutMember) { m.since, m.left = 5, 4 })
	f(false, func(_ *fanoutCommand, m *fanoutMember) { m.user = []byte("b b") })
	f(true, func(c *fanoutCommand, _ *fanoutMember) { c.personal, c.entries[1].seq = true, 9 })
	f(true, func(c *fanoutCommand, m *fanoutMember) { c.personal, m.since, m.left = true, 0, 4 })
	f(false, func(c *fanoutCommand, m *fanoutMember) { c.personal, m.left = true, 4 })
	f(false, func(c *fanoutCommand, m *fanoutMember) { c.personal, m.since = true, 0 })
}

// A channel whose log was restored to a time before it was one is a group again.
func TestFanoutOfAGroupThatWasAChannel(t *testing.T) {
	w := newFanWorld(t, 8)
	w.fan(testEpoch, 0, 1, 2, bob(1, 0))
	c := fanoutCommand{conv: []byte("g:" + w.group), epoch: testEpoch, personal: true}
	c.log = godwit.NewLogID(godwit.GroupID(w.group).Partition(), 7)
	c.entries = []fanoutEntry{{seq: 3, time: 3}, {seq: 90, time: 90, messages: 80}}
	left, again := fanoutMember{user: []byte("bob"), left: 3}, fanoutMember{user: []byte("bob"), since: 90}
	w.run(w.dst, again.append(left.append(append(appendFanoutHead(nil, w.home(w.dst), &c), 2)))).mustBe(t, nil)
	if _, row, _ := pointersOf(t, w.store, "bob", w.group); !row.isChannel() || row.readIncoming != 80 {
		t.Fatalf("row %+v", row)
	}
	for n := godwit.Seq(3); n < 5; n++ { // the second command reads what the first one wrote
		w.fan(testEpoch+1, 2, n, n, bob(3, 0)).mustBe(t, nil)
	}
	w.want("bob", 1, 2, 3, 90, 3, 4)
	if _, row, _ := pointersOf(t, w.store, "bob", w.group); row.isChannel() || row.unread(0) != 1 {
		t.Errorf("row %+v", row)
	}
}
