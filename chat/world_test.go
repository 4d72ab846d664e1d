package chat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
)

// world drives the machine alone, without a service: commands are built by hand
// and outcomes are looked at.
type world struct {
	t     testing.TB
	store *memStore
	ids   messageIDs
}

const testEpoch = 0xE0

func testSettings(groups int) settings {
	return settings{
		level: 1, epoch: testEpoch, messageKey: [16]byte{1, 2, 3}, groups: uint32(groups),
		dedupSends: 10000, dedupWindowMS: 7 * 24 * 3600 * 1000, conversationsMax: 100000,
	}
}

func newWorld(t testing.TB, groups int, change func(*settings)) *world {
	st := testSettings(groups)
	if change != nil {
		change(&st)
	}
	w := &world{t: t, store: newMemStore(groups)}
	var err error
	if w.ids, err = newMessageIDs(st.messageKey); err != nil {
		t.Fatal(err)
	}
	for g := range groups {
		c := genesisCommand{settings: st}
		if o := w.run(g, c.append(nil, homeOf(g, groups))); o.refusal != nil {
			t.Fatalf("genesis: %v", o.refusal)
		}
	}
	return w
}

// caught is a waiter that keeps its outcome.
type caught struct {
	outcome outcome
	err     error
	done    bool
}

func (c *caught) Fail(err error)                      { c.err, c.done = err, true }
func (c *caught) applied(o *outcome, _ *flushScratch) { c.outcome, c.done = *o, true }

// run applies one command alone.
func (w *world) run(group int, command []byte) outcome {
	w.t.Helper()
	c := &caught{}
	if err := w.store.Propose(group, command, c); err != nil {
		w.t.Fatal(err)
	}
	w.store.step()
	if !c.done || c.err != nil {
		w.t.Fatalf("command got no outcome: %+v", c)
	}
	return c.outcome
}

func (w *world) home(group int) godwit.Partition { return homeOf(group, w.store.Groups()) }

func (w *world) sendCommand(from, to godwit.UserID, cid, text string, clientTime int64) (group int, command []byte) {
	group = w.store.Group(from.Partition())
	command = appendSendHead(nil, w.home(group), clientTime)
	return group, appendBlock(command, []byte(from), []byte(to), []byte(cid), nil, []byte(text), true)
}

func (w *world) send(from, to godwit.UserID, cid, text string) outcome {
	w.t.Helper()
	group, command := w.sendCommand(from, to, cid, text, 0)
	return w.run(group, command)
}

// outbox lists a lane's rows, rebuilt as a forwarder would.
func (w *world) outbox(lane laneID) (first uint64, items []laneItem) {
	w.t.Helper()
	f := &forwarder{store: w.store, lanes: lanes()}
	l := f.laneLocked(lane)
	if err := f.reloadLocked(l); err != nil {
		w.t.Fatal(err)
	}
	return l.first, l.items
}

func lanes() map[laneID]*lane { return map[laneID]*lane{} }

func (w *world) forwardCommand(lane laneID, epoch, first uint64, items []laneItem) (group int, command []byte) {
	group = w.store.Group(lane.dst)
	command = appendForwardHead(nil, w.home(group), lane, epoch, first, len(items))
	for i := range items {
		command = appendForwardItem(command, &items[i])
	}
	return group, command
}

func (w *world) forward(lane laneID, epoch, first uint64, items []laneItem) outcome {
	w.t.Helper()
	group, command := w.forwardCommand(lane, epoch, first, items)
	return w.run(group, command)
}

func (w *world) ack(lane laneID, through uint64) outcome {
	w.t.Helper()
	group := w.store.Group(lane.src)
	return w.run(group, appendAckLane(appendAckHead(nil, w.home(group), 1), lane, through))
}

func (w *world) trim(user godwit.UserID, hashes ...uint64) outcome {
	w.t.Helper()
	group := w.store.Group(user.Partition())
	command := appendTrimHead(nil, w.home(group), user)
	for _, h := range hashes {
		command = binary.BigEndian.AppendUint64(command, h)
	}
	return w.run(group, command)
}

// log returns a user's entries as clients see them.
func (w *world) log(user godwit.UserID) (entries []godwit.Entry) {
	w.t.Helper()
	v := w.store.View(w.store.Group(user.Partition()))
	defer v.Close()
	u, _ := userOfView(v, user)
	for _, r := range v.Since(u.logID(user), 0, 1<<30, 1<<30, nil) {
		var e godwit.Entry
		if !w.ids.entry(&e, u.logID(user), &r) {
			w.t.Fatalf("entry %d of %s does not parse", r.Seq, user)
		}
		entries = append(entries, e)
	}
	return entries
}

// lines draws a log: "1 alice→u:bob hi".
func (w *world) lines(user godwit.UserID) (lines []string) {
	w.t.Helper()
	for _, e := range w.log(user) {
		lines = append(lines, fmt.Sprintf("%d %s %s %s", e.Seq, e.Msg.From, e.Msg.Conv, e.Msg.Body))
	}
	return lines
}

func (w *world) unread(user, peer godwit.UserID) uint64 {
	w.t.Helper()
	v := w.store.View(w.store.Group(user.Partition()))
	defer v.Close()
	var c conversationRow
	row, ok := v.Get(appendConversationKey(nil, user.Partition(), []byte(user), []byte(peer)))
	if ok && !c.parse(row) {
		w.t.Fatal("conversation row does not parse")
	}
	return c.unread(0)
}

// rows counts rows of one letter.
func (w *world) rows(letter byte) (n int) {
	for _, g := range w.store.groups {
		for key := range g.rows {
			if key[2] == letter {
				n++
			}
		}
	}
	return n
}

// failer is what *testing.T and *rapid.T share.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (o outcome) mustBe(t failer, refusal *godwit.Error) {
	t.Helper()
	if !errors.Is(errOf(o.refusal), errOf(refusal)) {
		t.Fatalf("refusal %v, want %v", o.refusal, refusal)
	}
}

func errOf(e *godwit.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// usersApart returns two users whose partitions lie in different groups, and
// their lane.
func usersApart(groups int) (from, to godwit.UserID, lane laneID) {
	from = "alice"
	for i := 0; ; i++ {
		to = godwit.UserID(fmt.Sprint("bob", i))
		if groupOf(to.Partition(), groups) != groupOf(from.Partition(), groups) {
			return from, to, laneID{from.Partition(), to.Partition()}
		}
	}
}
