package link

import (
	"fmt"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// holdingEdge is an edge that is asked to keep its sessions.
type holdingEdge struct{ *fakeEdge }

func (e holdingEdge) Hold()     { e.add("hold") }
func (e holdingEdge) Announce() { e.add("announce") }
func (e holdingEdge) Abandon()  { e.add("abandon") }

// attachHolding is attach with an edge that holds its sessions for a time.
func (w *world) attachHolding(hold time.Duration, lease uint64) *process {
	w.t.Helper()
	cfg := w.config("edge-1")
	cfg.Hold, cfg.About.Lease = hold, lease
	p := &process{edge: &fakeEdge{log: newLog()}, hooks: newLog()}
	cfg.Lost = func() { p.edge.add("lost") }
	cfg.Attached = func() { p.edge.add("attached") }
	client, err := Attach(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	p.Client = client
	w.t.Cleanup(client.Close)
	client.Start(holdingEdge{p.edge})
	p.edge.waitHas(w.t, "attached")
	return p
}

func TestSessionsAreHeldWhileTheEngineProcessIsAway(t *testing.T) {
	w := newWorld(t, nil)
	p := w.attachHolding(time.Hour, 0)
	w.connect(p, 5, "alice")
	w.hub.Stop()
	p.edge.waitHas(t, "hold")
	p.Request(5, "alice", &godwit.ClientFrame{ID: 9, Kind: godwit.KindPresence})
	p.Fetch(5, "alice", 3, 10, 1000)
	p.Connect(6, Hello{User: "bob", Device: "phone"}) // a newcomer who got in
	p.Disconnect(5, "alice", "phone")                 // not of this attachment
	p.Connect(7, Hello{User: "carol", Device: "phone", Again: true})
	w.start(nil)
	again := Hello{User: "alice", Device: "phone", Resume: true, Epoch: "e", ResumeSeq: 3, Stamp: 1 << 60, Again: true}
	p.edge.waitHas(t, "announce")
	p.Connect(8, again)
	again.Again = false // which is the edge's business alone
	w.chat.waitHas(t, fmt.Sprintf("connect %x %+v", uint64(p.at(8)), again))
	lines := p.edge.wait(t, func(lines []string) bool { return len(lines) >= 8 })
	want := []string{
		"attached", "lost", "hold", `reply 5 {"id":9,"error":`, "fetched 5 0 true", "close 6 4301 engine_lost", "attached", "announce",
	}
	for i, line := range want {
		if len(lines[i]) < len(line) || lines[i][:len(line)] != line {
			t.Errorf("%d: %s, want %s", i, lines[i], line)
		}
	}
	for _, line := range w.chat.wait(t, func([]string) bool { return true }) {
		if line == fmt.Sprintf("disconnect %x alice phone", uint64(p.at(5))) {
			t.Error(line)
		}
	}
}

func TestSessionsAreHeldForATimeOnly(t *testing.T) {
	w := newWorld(t, nil)
	p := w.attachHolding(time.Nanosecond, 0)
	w.connect(p, 5, "alice")
	w.hub.Stop()
	p.edge.waitHas(t, "abandon")
	w.start(nil)
	p.edge.waitHas(t, "announce")
}

func TestSessionsOfASupersededProcessAreNotHeld(t *testing.T) {
	w := newWorld(t, nil)
	p := w.attachHolding(time.Hour, 1)
	w.connect(p, 5, "alice")
	w.attach("edge-1", leased(2))
	if lines := p.edge.waitFor(t, 3); lines[1] != "lost" || lines[2] != "close 5 4301 engine_lost" {
		t.Errorf("%q", lines)
	}
}
