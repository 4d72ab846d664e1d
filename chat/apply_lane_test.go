package chat

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
)

// laneWorld has n messages from alice waiting for a user in another group.
func laneWorld(t *testing.T, n int) (w *world, bob godwit.UserID, lane laneID, items []laneItem) {
	t.Helper()
	w = newWorld(t, 8, nil)
	alice, bob, lane := usersApart(8)
	for i := range n {
		w.send(alice, bob, fmt.Sprint("c", i), fmt.Sprint(i+1))
	}
	first, items := w.outbox(lane)
	if first != 1 || len(items) != n {
		t.Fatalf("outbox from %d with %d items, want %d", first, len(items), n)
	}
	return w, bob, lane, items
}

func wantBodies(t *testing.T, w *world, user godwit.UserID, want string) {
	t.Helper()
	got := ""
	for _, e := range w.log(user) {
		got += string(e.Msg.Body)
	}
	if got != want {
		t.Errorf("log of %s has %q, want %q", user, got, want)
	}
}

func wantLast(t *testing.T, o outcome, last uint64, stale bool) {
	t.Helper()
	if o.refusal != nil || o.last != last || o.stale != stale {
		t.Errorf("outcome last %d stale %v refusal %v, want %d %v", o.last, o.stale, o.refusal, last, stale)
	}
}

// Traces S1-1a: items that come late are not taken for old.
func TestLaneRefusesAGap(t *testing.T) {
	w, bob, lane, items := laneWorld(t, 5)
	wantLast(t, w.forward(lane, testEpoch, 4, items[3:]), 0, false)
	wantLast(t, w.forward(lane, testEpoch, 1, items[:2]), 2, false)
	wantLast(t, w.forward(lane, testEpoch, 4, items[3:]), 2, false)
	wantLast(t, w.forward(lane, testEpoch, 3, items[2:]), 5, false)
	wantBodies(t, w, bob, "12345")
}

func TestLaneSkipsWhatItHolds(t *testing.T) {
	w, bob, lane, items := laneWorld(t, 5)
	wantLast(t, w.forward(lane, testEpoch, 1, items[:3]), 3, false)
	wantLast(t, w.forward(lane, testEpoch, 1, items[:3]), 3, false)
	wantLast(t, w.forward(lane, testEpoch, 2, items[1:]), 5, false)
	wantLast(t, w.forward(lane, testEpoch, 1, items), 5, false)
	wantBodies(t, w, bob, "12345")
	if got := w.unread(bob, "alice"); got != 5 {
		t.Errorf("unread %d, want 5", got)
	}
}

// Traces S1-1b: a batch split in two is taken whole.
func TestLaneTakesASplitBatch(t *testing.T) {
	w, bob, lane, items := laneWorld(t, 6)
	for i := range items {
		wantLast(t, w.forward(lane, testEpoch, uint64(i+1), items[i:i+1]), uint64(i+1), false)
	}
	wantBodies(t, w, bob, "123456")
}

// Traces S1-1c, S1-5: a restored source counts from 1 in a new epoch.
func TestLaneKeepsIncarnationsApart(t *testing.T) {
	w, bob, lane, items := laneWorld(t, 4)
	const restored = testEpoch + 1
	wantLast(t, w.forward(lane, testEpoch, 1, items[:2]), 2, false)
	wantLast(t, w.forward(lane, restored, 3, items[2:]), 0, false) // a new epoch begins at 1
	wantLast(t, w.forward(lane, testEpoch, 3, items[2:3]), 3, false)
	wantLast(t, w.forward(lane, restored, 1, items[3:]), 1, false)
	wantLast(t, w.forward(lane, testEpoch, 1, items), 1, true) // late, of the time before
	wantLast(t, w.forward(lane, testEpoch, 4, items[3:]), 1, true)
	wantLast(t, w.forward(lane, restored, 1, items[3:]), 1, false)
	wantBodies(t, w, bob, "1234")
	for e := uint64(restored + 1); e < restored+10; e++ { // the list of past epochs stays bounded
		wantLast(t, w.forward(lane, e, 1, items[:1]), 1, false)
		wantLast(t, w.forward(lane, e-1, 1, items[:1]), 1, true)
	}
}

func TestAckRemovesOutboxRowsOnce(t *testing.T) {
	w, _, lane, items := laneWorld(t, 5)
	size := len(items[0].block)
	w.ack(lane, 9) // beyond the last: nothing
	w.ack(lane, 2)
	w.ack(lane, 2)
	w.ack(lane, 1)
	first, rest := w.outbox(lane)
	if first != 3 || len(rest) != 3 || w.rows(rowOutbox) != 3 {
		t.Fatalf("outbox from %d with %d items, %d rows", first, len(rest), w.rows(rowOutbox))
	}
	var l laneOutRow
	row, _ := w.store.groups[w.store.Group(lane.src)].Get(appendLaneOutKey(nil, lane))
	if !l.parse(row) || l.last != 5 || l.acked != 2 || l.bytes != uint64(5*size) || l.bytesAcked != uint64(2*size) {
		t.Errorf("lane row %+v, items of %d bytes", l, size)
	}
	w.ack(lane, 5)
	if w.rows(rowOutbox) != 0 {
		t.Error("outbox rows stay after the last ack")
	}
}

// After a restart the items are rebuilt from the entries the rows name.
func TestOutboxSurvivesARestart(t *testing.T) {
	w, bob, lane, items := laneWorld(t, 5)
	w.forward(lane, testEpoch, 1, items[:3])
	w.ack(lane, 2)
	w.store = w.store.replica()
	first, rest := w.outbox(lane)
	if first != 3 || len(rest) != 3 {
		t.Fatalf("outbox from %d with %d items after the restart", first, len(rest))
	}
	wantLast(t, w.forward(lane, testEpoch, first, rest), 5, false)
	wantBodies(t, w, bob, "12345")
	a, b := w.log("alice"), w.log(bob)
	for i := range a {
		if a[i].Msg.MID != b[i].Msg.MID || a[i].Msg.Time != b[i].Msg.Time {
			t.Errorf("message %d differs after the restart: %+v, %+v", i+1, a[i].Msg, b[i].Msg)
		}
	}
}
