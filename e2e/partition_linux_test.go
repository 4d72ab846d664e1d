package e2e

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/lxzan/gws"
)

// old is a connection whose user has gone to another edge, and what it tries to do.
type old struct {
	w     *wire
	tried int
	ended chan *gws.CloseError
	taken chan string // client ids that were answered as stored
}

// tryOn has the connection go on sending without waiting for answers, which may
// never come; whatever was stored of it is told.
func tryOn(w *wire) *old {
	o := &old{w: w, ended: make(chan *gws.CloseError, 1), taken: make(chan string, 4096)}
	go func() {
		for f := range w.frames {
			if f.Kind == godwit.KindSend {
				o.taken <- fmt.Sprint("request ", f.ID)
			}
		}
		o.ended <- <-w.closed
	}()
	return o
}

// send tries once more.
func (o *old) send(to string) {
	o.tried++
	o.w.nextID++
	f := godwit.ClientFrame{ID: o.w.nextID, Kind: godwit.KindSend}
	f.Send.To, f.Send.CID = []byte(to), []byte(fmt.Sprint("old-", o.tried))
	f.Send.Text, f.Send.HasText = []byte("from the old connection"), true
	o.w.writeFrame(&f)
}

// sessionAt opens a session at an edge.
func sessionAt(t *testing.T, h *hosts, at *hosted, user, device string, resume godwit.Resume) (*wire, godwit.ConnectReply) {
	t.Helper()
	return connectWire(t, at.listen, godwit.EncodingJSON, h.token(user), device, resume)
}

// mustSend sends until it is stored: what is temporary is tried again.
func (w *wire) mustSend(to, cid, text string) {
	w.t.Helper()
	var reply godwit.ServerFrame
	until(w.t, cid+" is stored", func() bool {
		reply = w.send(to, cid, text)
		if reply.Kind != godwit.KindSend && !reply.Error.Temporary {
			w.t.Fatalf("%s: %+v", cid, reply.Error)
		}
		return reply.Kind == godwit.KindSend
	})
}

// TestAnOldConnectionBehindAPartitionCannotActAfterANewerOne: an edge can't hear the
// engine, or isn't heard either, for a moment or until the engine gives it up, while
// clients reach both. The user connects elsewhere with the same device. From then on nothing that the old
// connection does may have an effect, also after the partition is healed; the new
// one gets everything once and in order.
func TestAnOldConnectionBehindAPartitionCannotActAfterANewerOne(t *testing.T) {
	t.Parallel()
	if ownNetwork(t) {
		partitioned(t, newHosts(t), cutOff{}, cutOff{both: true}, cutOff{both: true, long: true})
	}
}

// The same, where the directory stamps connections and names the engine.
func TestAnOldConnectionCannotActAfterOneWithANewerStamp(t *testing.T) {
	t.Parallel()
	if !ownNetwork(t) {
		return
	}
	h := newHosts(t)
	h.directoryHost()
	partitioned(t, h, cutOff{}, cutOff{both: true, long: true})
}

// cutOff is how an edge is cut off from the engine.
type cutOff struct {
	both bool // it isn't heard either
	long bool // until the engine gives it up
}

func partitioned(t *testing.T, h *hosts, cases ...cutOff) {
	t.Helper()
	h.certify("engine:engine", "edge:edge-1", "edge:edge-2")
	engine := h.engineHost()
	far, near := h.edgeHost("edge-1", engine), h.edgeHost("edge-2", engine)
	bob, _ := sessionAt(t, h, near, "bob", "web", godwit.Resume{})
	for i, c := range cases {
		user := fmt.Sprint("alice-", i)
		first, hello := sessionAt(t, h, far, user, "phone", godwit.Resume{})
		first.mustSend("bob", fmt.Sprint("before-", i), "before")
		stuck := tryOn(first)

		err := engine.Mute(far.Address)
		if err == nil && c.both {
			err = far.Mute(engine.Address)
		}
		if err != nil {
			t.Fatal(err)
		}
		second, _ := sessionAt(t, h, near, user, "phone", godwit.Resume{Set: true, Epoch: []byte(hello.Epoch), Seq: hello.Seq})
		for n := range 20 {
			stuck.send("bob")
			bob.mustSend(user, fmt.Sprintf("during-%d-%d", i, n), fmt.Sprintf("during %d", n))
			second.mustSend("bob", fmt.Sprintf("new-%d-%d", i, n), fmt.Sprintf("new %d", n))
		}
		if c.long {
			until(t, "the engine has given the edge up", func() bool { return h.attached(engine) == 1 })
			stuck.send("bob")
		}
		if err := engine.Unmute(far.Address); err != nil {
			t.Fatal(err)
		}
		if c.both {
			if err := far.Unmute(engine.Address); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "both edges are attached again", func() bool { return h.attached(engine) == 2 })
		var how *gws.CloseError
		until(t, "the old connection is closed", func() bool {
			stuck.send("bob")
			select {
			case how = <-stuck.ended:
				return true
			default:
				return false
			}
		})
		t.Logf("%+v: the old connection tried %d sends and was closed with %v", c, stuck.tried, how)
		for len(stuck.taken) > 0 {
			t.Errorf("%+v: the old connection was told that %s is stored", c, <-stuck.taken)
		}
		second.mustSend("bob", fmt.Sprint("after-", i), "after") // it is still the user's
		checkLog(t, second, user, i)
	}
}

// checkLog reads the user's log: each message once, in order, none of the old
// connection; and the session was shown exactly that.
func checkLog(t *testing.T, w *wire, user string, round int) {
	t.Helper()
	want := []string{fmt.Sprint("before-", round)}
	for n := range 20 {
		want = append(want, fmt.Sprintf("during-%d-%d", round, n), fmt.Sprintf("new-%d-%d", round, n))
	}
	want = append(want, fmt.Sprint("after-", round))
	var stored []godwit.Entry
	for since := godwit.Seq(0); ; {
		page := w.sync(since, 0)
		stored = append(stored, page.Entries...)
		if len(page.Entries) > 0 {
			since = page.Entries[len(page.Entries)-1].Seq
		}
		if since >= page.Head {
			break
		}
	}
	cids := func(entries []godwit.Entry) (out []string) {
		for i := range entries {
			if entries[i].Kind == godwit.EntryMessage && !entries[i].IsSkip() {
				out = append(out, string(entries[i].Msg.CID))
			}
		}
		return out
	}
	if got := cids(stored); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the log of %s holds %q, want %q", user, got, want)
	}
	until(t, "the session has been shown the last message", func() bool {
		w.sync(0, 1) // reads what has come
		seen := cids(w.events)
		return len(seen) > 0 && seen[len(seen)-1] == want[len(want)-1]
	})
	if got := cids(w.events); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the session of %s was shown %q, want %q", user, got, want)
	}
}
