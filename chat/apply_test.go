package chat

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

const day = int64(24 * 3600 * 1000)

func wantLines(t *testing.T, w *world, user godwit.UserID, want ...string) {
	t.Helper()
	if got := w.lines(user); !slices.Equal(got, want) {
		t.Errorf("log of %s:\n  %s\nwant\n  %s", user, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestSendStoresInBothLogsUnderOneID(t *testing.T) {
	w := newWorld(t, 1, nil)
	o := w.send("alice", "bob", "c1", "hi")
	if o.refusal != nil || o.seq != 1 || o.dup || string(o.conv) != "u:bob" || o.time != w.store.clock {
		t.Fatalf("outcome %+v", o)
	}
	w.send("bob", "alice", "c1", "hello")
	wantLines(t, w, "alice", "1 alice u:bob hi", "2 bob u:bob hello")
	wantLines(t, w, "bob", "1 alice u:alice hi", "2 bob u:alice hello")
	a, b := w.log("alice"), w.log("bob")
	if a[0].Msg.MID != b[0].Msg.MID || a[1].Msg.MID != b[1].Msg.MID || a[0].Msg.MID == a[1].Msg.MID {
		t.Error("a message must have one id in both logs, and no other message the same")
	}
	var mid godwit.MessageID
	if w.ids.make(&mid, o.log, o.seq); mid != a[0].Msg.MID {
		t.Error("the reply's id differs from the entry's")
	}
	if string(a[0].Msg.CID) != "c1" || !a[0].Msg.Text || a[0].Msg.Time != o.time {
		t.Errorf("message %+v", a[0].Msg)
	}
}

func TestRetryGetsTheFirstAnswer(t *testing.T) {
	w := newWorld(t, 1, nil)
	first := w.send("alice", "bob", "c1", "hi")
	w.store.clock += 5000
	w.send("alice", "bob", "c2", "there")
	again := w.send("alice", "bob", "c1", "hi")
	if !again.dup || again.seq != first.seq || again.time != first.time || again.log != first.log || string(again.conv) != "u:bob" {
		t.Errorf("retry %+v, first %+v", again, first)
	}
	wantLines(t, w, "alice", "1 alice u:bob hi", "2 alice u:bob there")
	wantLines(t, w, "bob", "1 alice u:alice hi", "2 alice u:alice there")
	// The id is scoped to sender and conversation.
	if o := w.send("alice", "carol", "c1", "hi"); o.dup || o.seq != 3 {
		t.Errorf("same id to another user: %+v", o)
	}
	if o := w.send("bob", "alice", "c1", "hi"); o.dup {
		t.Errorf("same id of another user: %+v", o)
	}
}

func TestSameIDWithAnotherBodyIsAConflict(t *testing.T) {
	w := newWorld(t, 1, nil)
	w.send("alice", "bob", "c1", "hi")
	before := w.store.digests()
	w.send("alice", "bob", "c1", "ho").mustBe(t, godwit.ErrConflict)
	f := func(typ, body string, text bool) {
		t.Helper()
		command := appendSendHead(nil, 0, 0)
		command = appendBlock(command, []byte("alice"), []byte("bob"), []byte("c1"), []byte(typ), []byte(body), text)
		w.run(0, command).mustBe(t, godwit.ErrConflict)
	}
	f("", "hi", false)
	f("text/plain", "hi", true)
	f("h", "i", true)
	if !slices.Equal(before, w.store.digests()) {
		t.Error("a refused send changed the state")
	}
}

func TestDedupWindowEndsAfterItsSends(t *testing.T) {
	w := newWorld(t, 1, func(s *settings) { s.dedupSends = 100 })
	w.send("alice", "bob", "first", "x")
	for i := range 99 {
		w.send("alice", "bob", fmt.Sprint("n", i), "x")
	}
	if o := w.send("alice", "bob", "first", "x"); !o.dup {
		t.Fatal("99 sends later the id is within the last 100")
	}
	w.send("alice", "bob", "one-more", "x")
	if o := w.send("alice", "bob", "first", "other"); o.dup || o.refusal != nil || o.seq != 102 {
		t.Errorf("100 sends later the id is free again: %+v", o)
	}
}

func TestDedupWindowEndsAfterSevenDays(t *testing.T) {
	w := newWorld(t, 1, nil)
	w.send("alice", "bob", "c1", "x")
	start := w.store.clock
	w.store.clock = start + 7*day
	if o := w.send("alice", "bob", "c1", "x"); !o.dup {
		t.Fatal("after exactly 7 days the id is remembered")
	}
	w.store.clock = start + 7*day + 1
	group, command := w.sendCommand("alice", "bob", "c1", "x", start)
	w.run(group, command).mustBe(t, godwit.ErrTooOld)
	group, command = w.sendCommand("alice", "bob", "c1", "x", start+1)
	if o := w.run(group, command); o.dup || o.refusal != nil || o.seq != 2 {
		t.Errorf("a first attempt within 7 days, id expired: %+v", o)
	}
}

func TestClientTimeFromTheFutureIsAccepted(t *testing.T) {
	w := newWorld(t, 1, nil)
	group, command := w.sendCommand("alice", "bob", "c1", "x", w.store.clock+30*day)
	w.run(group, command).mustBe(t, nil)
}

func TestTrimRemovesOnlyWhatIsExpired(t *testing.T) {
	w := newWorld(t, 1, func(s *settings) { s.dedupSends = 3 })
	hash := func(cid string) uint64 {
		b, _ := parseBlock(appendBlock(nil, []byte("alice"), []byte("bob"), []byte(cid), nil, nil, true))
		return b.identityHash()
	}
	var hashes []uint64
	for i := range 5 {
		w.send("alice", "bob", fmt.Sprint(i), "x")
		hashes = append(hashes, hash(fmt.Sprint(i)))
	}
	w.trim("alice", append(hashes, 42)...).mustBe(t, nil)
	if n := w.rows(rowDedup); n != 3 {
		t.Errorf("%d dedup rows, want 3", n)
	}
	for i := 2; i < 5; i++ {
		if o := w.send("alice", "bob", fmt.Sprint(i), "x"); !o.dup {
			t.Errorf("%d was trimmed inside the window", i)
		}
	}
	// The leader's clock does not expire a row: only the log's time does.
	w.store.clock += 8 * day
	w.trim("alice", hashes...)
	if n := w.rows(rowDedup); n != 3 {
		t.Errorf("%d dedup rows after the clock jumped, want 3", n)
	}
}

// The textbook case: Alice's M1 and Bob's M2 cross. Each of them has one order.
func TestCrossingMessagesHaveOneOrderPerUser(t *testing.T) {
	w := newWorld(t, 8, nil)
	alice, bob, there := usersApart(8)
	back := laneID{there.dst, there.src}
	w.send(alice, bob, "m1", "M1")
	w.send(bob, alice, "m2", "M2")
	first, items := w.outbox(there)
	w.forward(there, testEpoch, first, items)
	first, items = w.outbox(back)
	w.forward(back, testEpoch, first, items)
	wantLines(t, w, alice, fmt.Sprintf("1 alice u:%s M1", bob), fmt.Sprintf("2 %s u:%s M2", bob, bob))
	wantLines(t, w, bob, fmt.Sprintf("1 %s u:alice M2", bob), "2 alice u:alice M1")
	if w.log(alice)[0].Msg.MID != w.log(bob)[1].Msg.MID {
		t.Error("M1 has two ids")
	}
	if w.unread(alice, bob) != 1 || w.unread(bob, alice) != 1 {
		t.Error("each has one unread message")
	}
}

func TestSendToOneselfIsOneReadEntry(t *testing.T) {
	for _, groups := range []int{1, 8} {
		w := newWorld(t, groups, nil)
		w.send("alice", "alice", "c1", "note")
		wantLines(t, w, "alice", "1 alice u:alice note")
		if w.unread("alice", "alice") != 0 || w.rows(rowOutbox) != 0 {
			t.Error("a note to oneself is unread or in the outbox")
		}
	}
}

func TestTimeNeverDecreasesWithinALog(t *testing.T) {
	w := newWorld(t, 8, nil)
	alice, bob, lane := usersApart(8)
	noon := w.store.clock
	w.send(alice, bob, "1", "x")
	for _, g := range w.store.groups {
		g.stamp = 0 // a new leader whose clock is behind
	}
	w.store.clock = noon - day
	if o := w.send(alice, bob, "2", "x"); o.time != noon {
		t.Errorf("time %d, want %d", o.time, noon)
	}
	w.send(bob, alice, "1", "x")
	first, items := w.outbox(lane)
	w.forward(lane, testEpoch, first, items)
	if log := w.log(bob); log[0].Msg.Time != noon-day || log[1].Msg.Time != noon || log[2].Msg.Time != noon {
		t.Errorf("times %d %d %d", log[0].Msg.Time, log[1].Msg.Time, log[2].Msg.Time)
	}
}

func TestConversationsCapRefusesOnlyNewOnes(t *testing.T) {
	w := newWorld(t, 1, func(s *settings) { s.conversationsMax = 2 })
	w.send("alice", "bob", "1", "x")
	w.send("alice", "carol", "1", "x")
	before := w.store.digests()
	w.send("alice", "dave", "1", "x").mustBe(t, godwit.ErrConversations)
	if !slices.Equal(before, w.store.digests()) {
		t.Error("a refused send changed the state")
	}
	w.send("alice", "bob", "2", "x").mustBe(t, nil)
	w.send("dave", "alice", "1", "x").mustBe(t, nil) // receiving is not refused
	w.send("alice", "dave", "1", "x").mustBe(t, nil)
}

func TestGenesisIsTakenOnce(t *testing.T) {
	w := newWorld(t, 8, nil)
	before := w.store.digests()
	for g := range 8 {
		c := genesisCommand{settings: testSettings(8)}
		c.settings.epoch, c.settings.dedupSends = 99, 1
		w.run(g, c.append(nil, w.home(g))).mustBe(t, nil)
	}
	if !slices.Equal(before, w.store.digests()) {
		t.Error("a second genesis changed the settings")
	}
}

func TestApplyRefusesWhatNoLeaderProposes(t *testing.T) {
	w := newWorld(t, 8, nil)
	alice, bob, lane := usersApart(8)
	group, send := w.sendCommand(alice, bob, "c1", "hi", 0)
	_, other := w.sendCommand(bob, alice, "c1", "hi", 0)
	w.send(alice, bob, "c0", "x")
	_, items := w.outbox(lane)
	dst, forward := w.forwardCommand(lane, testEpoch, 1, items)
	ack := appendAckLane(appendAckHead(nil, w.home(group), 1), lane, 1)
	before := w.store.digests()
	refused := func(name string, group int, command []byte, want *godwit.Error) {
		t.Helper()
		if o := w.run(group, command); o.refusal != want {
			t.Errorf("%s: %v, want %v", name, o.refusal, want)
		}
	}
	set := func(command []byte, at int, b ...byte) []byte {
		command = slices.Clone(command)
		copy(command[at:], b)
		return command
	}
	refused("empty", group, nil, godwit.ErrFrameInvalid)
	refused("kind", group, set(send, 0, 99), godwit.ErrFrameInvalid)
	refused("version", group, set(send, 1, 2), godwit.ErrFrameInvalid)
	refused("tenant", group, set(send, 2, 0, 1), godwit.ErrFrameInvalid)
	refused("home of another group", group, set(send, 4, other[4], other[5]), godwit.ErrUnavailable)
	refused("another group's send", w.store.Group(bob.Partition()), send, godwit.ErrUnavailable)
	refused("another group's send, our home", w.store.Group(bob.Partition()), set(send, 4, other[4], other[5]), godwit.ErrFrameInvalid)
	refused("forward to the wrong group", group, set(forward, 4, send[4], send[5]), godwit.ErrFrameInvalid)
	refused("forward without items", dst, forward[:18], godwit.ErrFrameInvalid)
	refused("forward with a tail", dst, append(slices.Clone(forward), 0), godwit.ErrFrameInvalid)
	refused("ack with a tail", group, append(slices.Clone(ack), 0), godwit.ErrFrameInvalid)
	refused("ack of the wrong group is skipped", dst, set(ack, 4, other[4], other[5]), nil)
	for n := range len(send) - len("hi") {
		refused(fmt.Sprint("cut at ", n), group, send[:n], godwit.ErrFrameInvalid)
	}
	if bytes.Equal(send, other) || !slices.Equal(before, w.store.digests()) {
		t.Error("a refused command changed the state")
	}
}

func TestLevelAboveThisBinaryStopsIt(t *testing.T) {
	w := newWorld(t, 1, nil)
	st := testSettings(1)
	st.level, st.policy = levelMax+1, policy{channelAbove: 1, membersMax: 1}
	w.store.groups[0].rows[string(appendKey(nil, 0, rowSettings))] = st.append(nil)
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "older than the data") {
			t.Errorf("panic %q", p)
		}
	}()
	w.send("alice", "bob", "c1", "hi")
	t.Error("a group of a level this binary does not know was served")
}

func TestCommandBeforeGenesisHasNoEffect(t *testing.T) {
	w := &world{t: t, store: newMemStore(1)}
	w.send("alice", "bob", "c1", "hi").mustBe(t, godwit.ErrUnavailable)
	if len(w.store.groups[0].rows) != 0 {
		t.Error("rows without genesis")
	}
}
