package link

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func leased(epoch uint64) func(*process, *ClientConfig) {
	return func(_ *process, c *ClientConfig) { c.Lease = func() uint64 { return epoch } }
}

// TestAYoungerProcessOfTheNameTakesThePlace: its lease's epoch is larger. All of the
// older one is forgotten before it is welcomed, and the older one ends.
func TestAYoungerProcessOfTheNameTakesThePlace(t *testing.T) {
	w := newWorld(t, nil)
	old := w.attach("edge-1", leased(5))
	other := w.attach("edge-2", leased(9))
	w.connect(old, 1, "alice")
	gone := int(old.index.Load())
	w.attach("edge-1", leased(6))
	w.chat.mu.Lock() // no need to wait for it
	if !has(w.chat.lines, fmt.Sprintf("unregister %d", gone)) {
		t.Errorf("the younger is welcomed and the older not forgotten: %q", w.chat.lines)
	}
	w.chat.mu.Unlock()
	if err := old.waitEnd(t); !errors.Is(err, ErrSuperseded) {
		t.Errorf("the older process ended with %v", err)
	}
	old.edge.waitHas(t, "close 1 4301 engine_lost")
	list := w.hub.Edges()
	if len(list) != 2 || edgeNamed(w, "edge-1").Lease != 6 || edgeNamed(w, "edge-2").Lease != 9 {
		t.Errorf("%+v", list)
	}
	w.connect(other, 1, "bob")
}

func TestAProcessWithoutTheLatestLeaseIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.attach("edge-1", leased(5))
	f := func(epoch uint64) {
		t.Helper()
		cfg := w.config("edge-1")
		cfg.About.Lease = epoch
		client, err := Attach(t.Context(), cfg)
		if err == nil {
			client.Close()
		}
		if !errors.Is(err, ErrSuperseded) {
			t.Errorf("lease epoch %d: %v", epoch, err)
		}
	}
	f(4)
	f(5)
	if list := w.hub.Edges(); len(list) != 1 || list[0].Lease != 5 {
		t.Errorf("%+v", list)
	}
}

// TestAProcessTakesItsOwnPlaceAgain: its stream broke, the hub has not noticed.
func TestAProcessTakesItsOwnPlaceAgain(t *testing.T) {
	w := newWorld(t, nil)
	p := w.attach("edge-1", leased(5))
	silent, _, err := w.hub.admit(About{Node: "edge-2", Lease: 7, Instance: 3}, origin{})
	if err != nil {
		t.Fatal(err)
	}
	a, older, err := w.hub.admit(About{Node: "edge-2", Lease: 7, Instance: 3}, origin{})
	if a != nil || len(older) != 1 || older[0] != silent || err != nil {
		t.Fatalf("%v, %v, %v", a, older, err)
	}
	if _, older, err := w.hub.admit(About{Node: "edge-2", Lease: 7, Instance: 4}, origin{}); older != nil || err == nil {
		t.Errorf("another process with that lease: %v, %v", older, err)
	}
	w.hub.forget(silent)
	if a, _, err = w.hub.admit(About{Node: "edge-2", Lease: 7, Instance: 3}, origin{}); a == nil || err != nil {
		t.Fatal(err)
	}
	w.hub.forget(a)
	w.connect(p, 1, "alice")
}

// TestNobodyIsAdmittedWhileTheOlderOneStands, though that is cut off.
func TestNobodyIsAdmittedWhileTheOlderOneStands(t *testing.T) {
	w := newWorld(t, nil)
	old, _, err := w.hub.admit(About{Node: "edge-1", Lease: 5, Instance: 3}, origin{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-old.cut
		cancel()
	}()
	if a, err := w.hub.admitAlone(ctx, About{Node: "edge-1", Lease: 6, Instance: 4}, origin{}); a != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("admitted %v, %v", a, err)
	}
	w.hub.forget(old)
	if a, err := w.hub.admitAlone(t.Context(), About{Node: "edge-1", Lease: 6, Instance: 4}, origin{}); a == nil || err != nil {
		t.Errorf("not admitted: %v", err)
	}
}

// TestProcessesWithoutALeaseMayShareAName, as before there were leases, until one
// comes that has a lease.
func TestProcessesWithoutALeaseMayShareAName(t *testing.T) {
	w := newWorld(t, nil)
	a, b := w.attach("edge-1", nil), w.attach("edge-1", nil)
	w.connect(a, 1, "alice")
	w.connect(b, 1, "alice")
	c := w.attach("edge-1", leased(1))
	for _, old := range []*process{a, b} {
		if err := old.waitEnd(t); !errors.Is(err, ErrSuperseded) {
			t.Errorf("a process without a lease ended with %v", err)
		}
	}
	if list := w.hub.Edges(); len(list) != 1 || list[0].Lease != 1 {
		t.Errorf("%+v", list)
	}
	w.connect(c, 1, "alice")
}
