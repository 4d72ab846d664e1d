package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/lxzan/gws"
)

// wire is a synchronous client: it asks and waits for the answer, and keeps
// events apart. Not for concurrent use.
type wire struct {
	gws.BuiltinEventHandler
	t        testing.TB
	conn     *gws.Conn
	encoding godwit.Encoding
	frames   chan godwit.ServerFrame
	closed   chan *gws.CloseError // holds the close the server sent, or nil
	nextID   uint64
	events   []godwit.Entry
	apart    []godwit.ServerFrame // see await
}

// dialWire opens a WebSocket without saying anything on it yet.
func dialWire(t testing.TB, url string, encoding godwit.Encoding, header http.Header) *wire {
	t.Helper()
	w := &wire{t: t, encoding: encoding, frames: make(chan godwit.ServerFrame, 4096), closed: make(chan *gws.CloseError, 1)}
	if header == nil {
		header = http.Header{}
	}
	header.Set("Sec-Websocket-Protocol", encoding.Subprotocol())
	conn, _, err := gws.NewClient(w, &gws.ClientOption{Addr: url, HandshakeTimeout: patience, ReadMaxPayloadSize: 16 << 20, RequestHeader: header})
	if err != nil {
		t.Fatalf("dial %s: %v", url, err)
	}
	w.conn = conn
	go conn.ReadLoop()
	t.Cleanup(func() { conn.NetConn().Close() })
	return w
}

// connectWire opens a session and returns the connect reply.
func connectWire(t testing.TB, url string, encoding godwit.Encoding, token, device string, resume godwit.Resume) (*wire, godwit.ConnectReply) {
	t.Helper()
	w := dialWire(t, url, encoding, nil)
	f := godwit.ClientFrame{Kind: godwit.KindConnect}
	f.Connect.Token, f.Connect.Device, f.Connect.Resume = []byte(token), []byte(device), resume
	reply := w.ask(f)
	if reply.Kind != godwit.KindConnect {
		t.Fatalf("connect answered %+v", reply.Error)
	}
	return w, reply.Connect
}

func (w *wire) OnMessage(_ *gws.Conn, message *gws.Message) {
	defer message.Close()
	rest := append([]byte(nil), message.Bytes()...)
	for len(rest) > 0 {
		frame, left, err := godwit.NextFrame(w.encoding, rest)
		if err != nil {
			w.t.Errorf("unreadable frame: %v", err)
			return
		}
		rest = left
		var f godwit.ServerFrame
		if err := f.Parse(w.encoding, frame); err != nil {
			w.t.Errorf("frame does not parse: %v: %q", err, frame)
			return
		}
		if f.Kind == godwit.KindPing { // whatever the test waits for meanwhile
			w.writeFrame(&godwit.ClientFrame{Kind: godwit.KindPing})
		}
		w.frames <- f
	}
}

func (w *wire) OnClose(_ *gws.Conn, err error) {
	closeError, _ := err.(*gws.CloseError)
	w.closed <- closeError
	close(w.frames)
}

// write sends raw bytes as one message.
func (w *wire) write(opcode gws.Opcode, payload []byte) { _ = w.conn.WriteMessage(opcode, payload) }

func (w *wire) writeFrame(f *godwit.ClientFrame) {
	opcode := gws.OpcodeBinary
	if w.encoding.Text() {
		opcode = gws.OpcodeText
	}
	w.write(opcode, f.AppendFrameTo(nil, w.encoding))
}

// next returns the next frame that is neither a ping nor an event; ok is false
// when the connection ended.
func (w *wire) next() (f godwit.ServerFrame, ok bool) {
	w.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case f, ok = <-w.frames:
		case <-deadline:
			w.t.Fatal("the server did not answer")
		}
		switch {
		case !ok:
			return f, false
		case f.Kind == godwit.KindPing, f.Kind == godwit.KindResumed:
		case f.Kind == godwit.KindEvent:
			w.events = append(w.events, f.Event)
		default:
			return f, true
		}
	}
}

// ask sends a request and returns its answer.
func (w *wire) ask(f godwit.ClientFrame) godwit.ServerFrame {
	w.t.Helper()
	w.nextID++
	f.ID = w.nextID
	w.writeFrame(&f)
	reply, ok := w.next()
	if !ok {
		w.t.Fatalf("the connection ended instead of an answer")
	}
	if reply.ID != f.ID {
		w.t.Fatalf("answer %d to request %d: %+v", reply.ID, f.ID, reply)
	}
	return reply
}

func (w *wire) sync(since godwit.Seq, limit uint32) godwit.SyncReply {
	w.t.Helper()
	reply := w.ask(godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Since: since, Limit: limit}})
	if reply.Kind != godwit.KindSync {
		w.t.Fatalf("sync answered %+v", reply.Error)
	}
	return reply.Sync
}

func (w *wire) send(to, cid, text string) godwit.ServerFrame {
	w.t.Helper()
	f := godwit.ClientFrame{Kind: godwit.KindSend}
	f.Send.To, f.Send.CID, f.Send.Text, f.Send.HasText = []byte(to), []byte(cid), []byte(text), true
	return w.ask(f)
}

// history reads a whole conversation in pages, backwards or forwards.
func (w *wire) history(conv string, forward bool, limit uint32) []godwit.Entry {
	w.t.Helper()
	var all []godwit.Entry
	request := godwit.History{Conv: []byte(conv), Limit: limit, HasAfter: forward}
	for {
		reply := w.ask(godwit.ClientFrame{Kind: godwit.KindHistory, History: request})
		if reply.Kind != godwit.KindHistory {
			w.t.Fatalf("history answered %+v", reply.Error)
		}
		page := reply.History.Entries
		if forward {
			all = append(all, page...)
		} else {
			all = append(append([]godwit.Entry(nil), page...), all...)
		}
		if !reply.History.More {
			return all
		}
		if forward {
			request.After = page[len(page)-1].Seq
		} else {
			request.Before = page[0].Seq
		}
	}
}

func (w *wire) conversations(limit uint32) []godwit.ConversationItem {
	w.t.Helper()
	var all []godwit.ConversationItem
	request := godwit.Conversations{Limit: limit}
	for {
		reply := w.ask(godwit.ClientFrame{Kind: godwit.KindConversations, Conversations: request})
		if reply.Kind != godwit.KindConversations {
			w.t.Fatalf("conversations answered %+v", reply.Error)
		}
		all = append(all, reply.Conversations.Items...)
		if reply.Conversations.Next == "" {
			return all
		}
		request.Next = []byte(reply.Conversations.Next)
	}
}
