package e2e

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// request writes a request and returns its id; the answer is awaited elsewhere.
func (w *wire) request(f godwit.ClientFrame) uint64 {
	w.nextID++
	f.ID = w.nextID
	w.writeFrame(&f)
	return f.ID
}

// await returns the first frame that is wanted of those that came and were not.
func (w *wire) await(what string, wanted func(*godwit.ServerFrame) bool) godwit.ServerFrame {
	w.t.Helper()
	if i := slices.IndexFunc(w.apart, func(f godwit.ServerFrame) bool { return wanted(&f) }); i >= 0 {
		f := w.apart[i]
		w.apart = slices.Delete(w.apart, i, i+1)
		return f
	}
	late := time.After(patience)
	for {
		select {
		case f, ok := <-w.frames:
			switch {
			case !ok:
				w.t.Fatalf("the connection ended before %s", what)
			case f.Kind == godwit.KindPing:
			case wanted(&f):
				return f
			default:
				w.apart = append(w.apart, f)
			}
		case <-late:
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func sendOf(to, cid, text string) godwit.ClientFrame {
	f := godwit.ClientFrame{Kind: godwit.KindSend}
	f.Send.To, f.Send.CID, f.Send.Text, f.Send.HasText = []byte(to), []byte(cid), []byte(text), true
	return f
}

// sendUntilStored repeats a send as its refusals say, and returns them.
func (w *wire) sendUntilStored(to, cid, text string) (reply godwit.SendReply, refusals []string) {
	w.t.Helper()
	for {
		id := w.request(sendOf(to, cid, text))
		f := w.await("an answer", func(f *godwit.ServerFrame) bool { return f.ID == id })
		switch {
		case f.Kind == godwit.KindSend:
			return f.Send, refusals
		case !f.Error.Temporary:
			w.t.Fatalf("%s: %+v", cid, f.Error)
		}
		refusals = append(refusals, f.Error.Code)
		<-time.After(time.Duration(f.Error.RetryAfterMS) * time.Millisecond)
	}
}

// The engine process is killed and comes back: on the same connections messages,
// watch lists and notices of typing go on.
//
//tidy:long the steps of one story, in order
func TestSessionsOutliveTheirEngineProcess(t *testing.T) {
	t.Parallel()
	r := newRoles(t)
	r.env = []string{"GODWIT_PRESENCE_VISIBLE=all"}
	r.engine()
	s := &server{t: t, path: r.path, dir: r.dir, listen: r.edge("edge-1", "127.0.0.1:0")}
	other := &server{t: t, path: r.path, dir: r.dir, listen: r.edge("edge-2", "127.0.0.1:0")}
	tokens := s.tokens("alice", "bob", "carol")
	alice, _ := connectWire(t, s.url(), godwit.EncodingProto, tokens["alice"], "phone", godwit.Resume{})
	bob, _ := connectWire(t, other.url(), godwit.EncodingJSON, tokens["bob"], "phone", godwit.Resume{})
	carol, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens["carol"], "phone", godwit.Resume{})
	if f := alice.send("bob", "c1", "before"); f.Kind != godwit.KindSend {
		t.Fatalf("%+v", f.Error)
	}
	bob.awaitEvent("before")
	watch := [][]byte{[]byte("bob"), []byte("carol")}
	if f := alice.ask(godwit.ClientFrame{Kind: godwit.KindPresence, Presence: godwit.Presence{Watch: watch, HasWatch: true}}); f.Kind != godwit.KindPresence {
		t.Fatalf("%+v", f.Error)
	}

	// Stopped first, so that a send is under way when the process dies.
	if err := r.running["engine"].Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	sent := alice.request(sendOf("bob", "c2", "under way"))
	asked := alice.request(godwit.ClientFrame{Kind: godwit.KindHistory, History: godwit.History{Conv: []byte("u:bob")}})
	r.kill("engine")
	codes := map[uint64]string{}
	for range 2 {
		f := alice.await("what was under way is answered", func(f *godwit.ServerFrame) bool { return f.Kind == godwit.KindError })
		codes[f.ID] = f.Error.Code
	}
	if codes[sent] != godwit.ErrUnknown.Code || codes[asked] != godwit.ErrUnavailable.Code {
		t.Errorf("answered %v", codes)
	}
	early := alice.request(sendOf("bob", "c3", "meanwhile"))
	if f := alice.await("an answer", func(f *godwit.ServerFrame) bool { return f.ID == early }); f.Kind != godwit.KindError || f.Error.Code != godwit.ErrUnavailable.Code || f.Error.RetryAfterMS == 0 {
		t.Errorf("%+v", f)
	}
	_ = carol.conn.NetConn().Close() // goes while nobody looks

	r.engine()
	alice.sendUntilStored("bob", "c2", "under way")
	reply, refusals := alice.sendUntilStored("bob", "c3", "meanwhile")
	bob.awaitEvent("meanwhile")
	texts := ""
	for _, e := range bob.events {
		texts += string(e.Msg.Body) + ";"
	}
	if texts != "before;under way;meanwhile;" {
		t.Errorf("bob was shown %q", texts)
	}
	t.Logf("stored as %d after %q", reply.Seq, refusals)
	item := map[godwit.UserID]bool{}
	f := alice.await("where those watched are now", func(f *godwit.ServerFrame) bool { return f.Kind == godwit.KindPresence && f.ID == 0 })
	for _, u := range f.Presence.Users {
		item[u.User] = u.Online
	}
	if len(item) != 2 || item["carol"] {
		t.Errorf("alice was told %v", item)
	}
	if !item["bob"] { // his edge was slower to find the engine
		alice.await("bob is online again", func(f *godwit.ServerFrame) bool {
			p := f.Ephemeral.Presence
			return f.Kind == godwit.KindEphemeral && p.User == "bob" && p.Online
		})
	}
	bob.writeFrame(&godwit.ClientFrame{Kind: godwit.KindTyping, Typing: godwit.Typing{Conv: []byte("u:alice")}})
	alice.await("bob is typing", func(f *godwit.ServerFrame) bool {
		return f.Kind == godwit.KindEphemeral && f.Ephemeral.IsTyping && f.Ephemeral.Typing.User == "bob"
	})
	connectWire(t, other.url(), godwit.EncodingJSON, tokens["carol"], "phone", godwit.Resume{})
	alice.await("carol is back", func(f *godwit.ServerFrame) bool {
		p := f.Ephemeral.Presence
		return f.Kind == godwit.KindEphemeral && p.User == "carol" && p.Online
	})
}
