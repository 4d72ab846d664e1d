package link

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// stuckWorld has an edge process that takes nothing, with what gRPC and the
// sockets hold filled up, and one that is well.
func stuckWorld(t *testing.T, b bounds) (w *world, stuck, well *process) {
	t.Helper()
	w = newWorld(t, nil)
	w.hub.bounds = b
	hold := make(chan struct{})
	stuck = w.attach("stuck", func(p *process, _ *ClientConfig) { p.edge.hold = hold })
	t.Cleanup(func() { close(hold) }) // before the client is closed
	well = w.attach("well", nil)
	w.connect(stuck, 1, "alice")
	w.connect(well, 1, "bob")
	// Entries of 64 KiB until the first is dropped: from here on bytes only wait.
	e := entry(1, strings.Repeat("x", 64<<10))
	for edgeNamed(w, "stuck").HintsLost == 0 {
		w.hub.Deliver([]godwit.SessionID{stuck.at(1)}, &e)
	}
	return w, stuck, well
}

func edgeNamed(w *world, name string) Stats {
	list := w.hub.Edges()
	i := slices.IndexFunc(list, func(s Stats) bool { return s.Node == name })
	if i < 0 {
		return Stats{}
	}
	return list[i]
}

func TestAStuckProcessHoldsUpNobodyAndIsBounded(t *testing.T) {
	b := bounds{hint: 1 << 20, owed: 2 << 20, last: 3 << 20, asked: 1 << 20}
	w, stuck, well := stuckWorld(t, b)
	e := entry(2, "hi")
	for seq := range godwit.Seq(1000) {
		e.Seq = seq + 1
		w.hub.Deliver([]godwit.SessionID{stuck.at(1), well.at(1)}, &e)
	}
	if got := well.edge.waitFor(t, 1000); !strings.HasPrefix(got[999], `deliver [1] {"ev":{"seq":1000,`) {
		t.Errorf("the process that is well got %q last", got[999])
	}
	if got := edgeNamed(w, "stuck"); got.QueueBytes > b.hint || got.Overflows > 0 {
		t.Errorf("%d bytes wait for the stuck process, at most %d may: %+v", got.QueueBytes, b.hint, got)
	}
}

func TestAnOwedAnswerWithoutRoomClosesItsSession(t *testing.T) {
	w := newWorld(t, nil)
	w.hub.bounds = bounds{hint: 256 << 10, owed: 512 << 10, last: 1 << 20, asked: 1 << 20}
	hold := make(chan struct{})
	p := w.attach("slow", func(p *process, _ *ClientConfig) { p.edge.hold = hold })
	w.connect(p, 1, "alice")
	e := entry(1, strings.Repeat("x", 64<<10))
	for edgeNamed(w, "slow").HintsLost == 0 {
		w.hub.Deliver([]godwit.SessionID{p.at(1)}, &e)
	}
	answered, page := uint64(0), []godwit.Entry{entry(1, strings.Repeat("y", 32<<10))}
	for edgeNamed(w, "slow").Overflows == 0 {
		answered++
		w.hub.Reply(p.at(2), &godwit.ServerFrame{ID: answered, Kind: godwit.KindSync, Sync: godwit.SyncReply{Entries: page}})
	}
	w.hub.Connected(p.at(3), godwit.Welcome{Epoch: strings.Repeat("e", 64<<10)})
	w.hub.Fetched(p.at(4), page, 9, nil)
	w.hub.Close(p.at(5), godwit.CloseReplaced, "replaced")
	close(hold) // it gets on again, and sees every answer or that there is none
	p.edge.waitHas(t, "close 2 4200 overloaded")
	p.edge.waitHas(t, "close 3 4200 overloaded")
	p.edge.waitHas(t, "fetched 4 0 true")
	lines := p.edge.wait(t, func(lines []string) bool { return has(lines, "close 5 4003 replaced") })
	for id := uint64(1); id < answered; id++ {
		prefix := fmt.Sprintf(`reply 2 {"id":%d,`, id)
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, prefix) }) {
			t.Errorf("answer %d of %d is missing, and its session was not closed for it", id, answered)
		}
	}
}

func TestAProcessThatDoesNotTakeWhatItIsOwedIsCutOff(t *testing.T) {
	w, stuck, well := stuckWorld(t, bounds{hint: 256 << 10, owed: 512 << 10, last: 520 << 10, asked: 1 << 20})
	gone := int(stuck.index.Load())
	for edgeNamed(w, "stuck").Node != "" {
		w.hub.Reply(stuck.at(1), &godwit.ServerFrame{ID: 1, Kind: godwit.KindSend})
	}
	w.chat.waitHas(t, fmt.Sprintf("unregister %d", gone))
	if edgeNamed(w, "well").Node == "" {
		t.Error("the other process was cut off, too")
	}
	w.hub.Close(well.at(1), 4000, "x")
	well.edge.waitHas(t, "close 1 4000 x")
}

func TestWhatDoesNotFitOnTheWayUpIsAnsweredAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	hold := make(chan struct{})
	w.chat.onRequest = func(godwit.SessionID, godwit.UserID, *godwit.ClientFrame) { <-hold }
	p := w.attach("edge-1", nil)
	p.bounds.asked = 256 << 10
	w.connect(p, 1, "alice")
	w.connect(p, 2, "alice")
	asked, text := uint64(0), []byte(strings.Repeat("x", 16<<10))
	for p.Stats().Overflows == 0 {
		asked++
		p.Request(1, "alice", &godwit.ClientFrame{ID: asked, Kind: godwit.KindSend, Send: godwit.Send{Text: text, HasText: true}})
	}
	p.Fetch(1, "alice", 0, 1, 1) // small, and fits
	for p.Stats().QueueBytes+1<<10 <= p.bounds.asked {
		p.Request(1, "alice", &godwit.ClientFrame{ID: 1 << 40, Kind: godwit.KindSend, Send: godwit.Send{Text: text[:900], HasText: true}})
	}
	p.Connect(3, Hello{User: "bob", Device: strings.Repeat("d", 2<<10)})
	p.Disconnect(2, "alice", "phone") // always taken
	got := p.edge.waitFor(t, 2)
	if !strings.HasPrefix(got[0], fmt.Sprintf(`reply 1 {"id":%d,"error":{"code":"unavailable"`, asked)) || got[1] != "close 3 4200 overloaded" {
		t.Errorf("got %q", got)
	}
	close(hold)
	w.chat.waitHas(t, fmt.Sprintf("disconnect %x alice phone", uint64(p.at(2))))
}
