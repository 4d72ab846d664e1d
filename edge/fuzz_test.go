package edge

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
	"github.com/panjf2000/gnet/v2"
)

// fakeConn is a connection without a socket. Its windows die with the callback,
// as gnet's do: what outlives it is overwritten.
type fakeConn struct {
	gnet.Conn // nil: a method not listed here is not expected
	loop      *fakeLoop
	ctx       any
	in, out   []byte
	peeked    [][]byte
	closed    bool
	stuck     bool // the peer does not read
	buffered  int
}

func (c *fakeConn) RemoteAddr() net.Addr      { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }
func (c *fakeConn) Context() any              { return c.ctx }
func (c *fakeConn) SetContext(ctx any)        { c.ctx = ctx }
func (c *fakeConn) EventLoop() gnet.EventLoop { return c.loop }
func (c *fakeConn) InboundBuffered() int      { return len(c.in) }
func (c *fakeConn) OutboundBuffered() int     { return c.buffered }
func (c *fakeConn) Fd() int                   { return -1 }

func (c *fakeConn) Peek(n int) ([]byte, error) {
	if n <= 0 || n > len(c.in) {
		n = len(c.in)
	}
	window := bytes.Clone(c.in[:n])
	c.peeked = append(c.peeked, window)
	return window, nil
}

func (c *fakeConn) Discard(n int) (int, error) {
	if n <= 0 || n > len(c.in) {
		panic("Discard of nothing or of too much throws everything away")
	}
	c.in = c.in[n:]
	return n, nil
}

func (c *fakeConn) Write(b []byte) (int, error) {
	if c.closed {
		panic("write after close")
	}
	if c.stuck {
		c.buffered += len(b)
	}
	c.out = append(c.out, b...)
	return len(b), nil
}

func (c *fakeConn) Writev(bs [][]byte) (int, error) {
	n := 0
	for _, b := range bs {
		m, _ := c.Write(b)
		n += m
	}
	return n, nil
}

// fakeLoop runs what is executed when the test says so.
type fakeLoop struct {
	gnet.EventLoop
	handler handler
	tasks   []gnet.Runnable
}

func (l *fakeLoop) Execute(_ context.Context, r gnet.Runnable) error {
	l.tasks = append(l.tasks, r)
	return nil
}

func (l *fakeLoop) Close(c gnet.Conn) error {
	if conn := c.(*fakeConn); !conn.closed {
		conn.closed = true
		l.handler.OnClose(conn, nil)
		conn.ctx = nil
	}
	return nil
}

// harness drives the state machine of one connection without goroutines.
type harness struct {
	t    *testing.T
	edge *Edge
	chat *fakeChat
	loop *fakeLoop
	conn *fakeConn
	now  int64
}

func newHarness(t *testing.T) *harness {
	h := &harness{t: t}
	h.chat = &fakeChat{hellos: map[godwit.SessionID]Hello{}, disconnect: make(chan godwit.SessionID, 1)}
	head := godwit.Seq(5)
	h.chat.onConnect = func(s godwit.SessionID, hello Hello) {
		h.edge.Connected(s, godwit.Welcome{Epoch: "e", Head: head, Start: min(hello.ResumeSeq, head), Resumed: hello.Resume})
	}
	h.chat.onFetch = func(s godwit.SessionID, after godwit.Seq, limit, _ int) {
		var entries []godwit.Entry
		for seq := after + 1; seq <= head && len(entries) < limit; seq++ {
			entries = append(entries, entryOf(seq, "old"))
		}
		h.edge.Fetched(s, entries, head, nil)
	}
	h.chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
		if f.Kind == godwit.KindSend {
			head++
			entry := entryOf(head, string(f.Send.Text))
			h.edge.Deliver([]godwit.SessionID{s}, &entry)
		}
		h.edge.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindError, Error: godwit.ErrUnsupported.Reply(0)})
	}
	e, err := New(Config{
		Listen: "127.0.0.1:0", Loops: 1, Chat: h.chat, Verifier: fakeVerifier{},
		Deflate: DeflateConfig{Enabled: true}, OutboundBytesMax: 4096, monotonic: func() int64 { return h.now }, Clock: func() int64 { return h.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.edge, h.chat.edge = e, e
	h.loop = &fakeLoop{handler: handler{e}}
	h.conn = &fakeConn{loop: h.loop}
	if _, action := h.loop.handler.OnOpen(h.conn); action != gnet.None {
		t.Fatal("refused at once")
	}
	return h
}

// feed is one read event; then everything it led to runs.
func (h *harness) feed(b []byte) {
	if !h.conn.closed {
		h.conn.in = append(h.conn.in, b...)
		if h.loop.handler.OnTraffic(h.conn) == gnet.Close {
			_ = h.loop.Close(h.conn)
		}
		h.dropWindows()
	}
	h.settle()
}

func (h *harness) dropWindows() {
	for _, window := range h.conn.peeked {
		for i := range window {
			window[i] = 0xA5
		}
	}
	h.conn.peeked = nil
}

func (h *harness) settle() {
	for busy := true; busy; {
		busy = false
		for len(h.loop.tasks) > 0 {
			task := h.loop.tasks[0]
			h.loop.tasks, busy = h.loop.tasks[1:], true
			_ = task.Run(context.Background())
			h.dropWindows()
		}
		select {
		case job := <-h.edge.verify.jobs:
			who, err := fakeVerifier{}.Verify(job.token)
			h.edge.boxOf(job.session).note(item{kind: itemVerified, session: job.session}, verdict{who: who, err: err})
			busy = true
		case l := <-h.edge.yielded:
			l.box.rewake()
			busy = true
		default:
		}
	}
}

func (h *harness) pass(ms int64) {
	h.now += ms
	h.loop.handler.OnTick()
	h.settle()
}

// checkOutput reads back everything written: an HTTP answer, then only good
// WebSocket and godwit frames, events in order, nothing after a close frame.
func (h *harness) checkOutput(enc godwit.Encoding) {
	rest := h.conn.out
	if len(rest) == 0 {
		return
	}
	head, body, ok := bytes.Cut(rest, []byte("\r\n\r\n"))
	if !ok || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		h.t.Fatalf("no HTTP answer: %q", rest)
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		return
	}
	if bytes.Contains(head, []byte("godwit.v1.proto")) {
		enc = godwit.EncodingProto
	}
	var r ws.Reader
	var buf ws.Buffer
	var seq godwit.Seq
	for len(body) > 0 {
		ev, n, need, err := r.Message(&clientWS, body, &buf)
		if err != nil || need > 0 {
			h.t.Fatalf("the output is not RFC 6455: %v, needs %d: %q", err, need, body)
		}
		body = body[n:]
		if ev.Op == ws.Close && len(body) > 0 {
			h.t.Fatalf("%q after the close frame", body)
		}
		if ev.Op.Control() {
			continue
		}
		frame, more, err := godwit.NextFrame(enc, ev.Payload)
		var f godwit.ServerFrame
		if err := errors.Join(err, f.Parse(enc, frame)); err != nil || len(more) > 0 {
			h.t.Fatalf("frame %q: %v, %d more", ev.Payload, err, len(more))
		}
		switch f.Kind {
		case godwit.KindConnect:
			seq = f.Connect.Seq - godwit.Seq(f.Connect.Missed)
		case godwit.KindEvent:
			if f.Event.Seq != seq+1 {
				h.t.Fatalf("event %d after %d", f.Event.Seq, seq)
			}
			seq = f.Event.Seq
		}
	}
}

func (h *harness) end() {
	_ = h.loop.Close(h.conn)
	h.settle()
	if n := len(h.chat.hellos); n != 0 {
		h.t.Fatalf("%d sessions never disconnected", n)
	}
	if st := h.edge.Stats(); st.Sessions != 0 || st.Connections != 0 || h.edge.open.Load() != 0 {
		h.t.Fatalf("after the end: %+v", st)
	}
	if a := &h.edge.admission; a.handshakes.Load() != 0 {
		h.t.Fatalf("%d handshakes are still counted", a.handshakes.Load())
	} else if addresses, sockets := a.sources.size(); addresses != 0 || sockets != 0 {
		h.t.Fatalf("%d sockets of %d addresses are still counted", sockets, addresses)
	}
	if s := h.edge.loops[0].sessions; s.used != 0 {
		h.t.Fatalf("%d slots are still taken", s.used)
	}
}

// FuzzSession feeds a connection arbitrary bytes in arbitrary pieces: raw, or
// after an upgrade as masked messages, with time passing between them.
func FuzzSession(f *testing.F) {
	up := func(sub string) []byte { return []byte(upgradeHead + "Sec-WebSocket-Protocol: " + sub + "\r\n\r\n") }
	const connectJSON = `{"id":1,"connect":{"token":"user:alice","device":"d","resume":{"epoch":"e","seq":2}}}`
	f.Add(byte(0), up("godwit.v1.json"))
	f.Add(byte(0), append(up("godwit.v1.json"), ws.AppendMasked(nil, true, ws.Text, 7, []byte(connectJSON))...))
	f.Add(byte(0), []byte("GET /x HTTP/1.1\r\nHost: a\r\n\r\nmore"))
	f.Add(byte(0), []byte(upgradeHead+"Authorization: Bearer user:bob\r\n\r\n"))
	f.Add(byte(1), []byte("\x55"+connectJSON+"\x2a"+`{"id":2,"send":{"to":"b","cid":"c","text":"x"}}`+"\x0e"+`{"ack":{"seq":3}}`))
	f.Add(byte(1), []byte(connectJSON+"\n"+`{"id":2,"send":{"to":"b","cid":"c","text":"x"}}`+"\n{}\n"))
	f.Add(byte(2), (&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("user:alice")}}).AppendFrameTo(nil, godwit.EncodingProto))
	f.Add(byte(1|4), []byte(connectJSON))
	const live = `{"ack":{"seq":3}}` + "\n" + `{"id":3,"send":{"to":"b","cid":"c","text":"x"}}` + "\n" + `{"id":4,"history":{"conv":"u:b"}}` + "\n{}\n"
	f.Add(byte(3), []byte(live))
	f.Add(byte(3|4), []byte(live+"{]\n"))
	f.Add(byte(3|8), bytes.Repeat([]byte(live), 30))
	f.Add(byte(3|128), []byte(`{"id":9,"connect":{"token":"user:alice"}}`))
	f.Add(byte(3|16), []byte(live+`{"id":5,"send":{"to":"b","cid":"d","text":"`+strings.Repeat("long ", 60)+`"}}`))
	f.Add(byte(2|16), (&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("user:alice")}}).AppendFrameTo(nil, godwit.EncodingProto))
	f.Add(byte(0x70), append(up("godwit.v1.json"), 0x88, 0x80, 0, 0, 0, 0))
	f.Add(byte(0x70), append(up("godwit.v1.json"), 0x01, 0x83, 0, 0, 0, 0, 'a', 0xC3, 0xC3))
	f.Fuzz(func(t *testing.T, mode byte, data []byte) {
		h := newHarness(t)
		enc := godwit.EncodingJSON
		switch mode & 3 {
		case 0:
			for step := 1 + int(mode>>4); len(data) > 0; {
				n := min(step*step, len(data))
				h.feed(data[:n])
				data = data[n:]
			}
		default:
			if mode&3 == 2 {
				enc = godwit.EncodingProto
			}
			if mode&16 != 0 {
				h.feed([]byte(upgradeHead + deflateOffer + "Sec-WebSocket-Protocol: " + enc.Subprotocol() + "\r\n\r\n"))
			} else {
				h.feed(up(enc.Subprotocol()))
			}
			if mode&3 == 3 {
				h.feed(ws.AppendMasked(nil, true, ws.Text, 3, []byte(connectJSON)))
				h.conn.stuck = mode&8 != 0
			}
			h.feedMessages(mode, enc, data)
		}
		h.pass(int64(mode) * 300)
		h.pass(40_000)
		h.checkOutput(enc)
		h.end()
	})
}

// feedMessages sends data as messages that end at newlines or, by their first
// byte, after a length; bit 2 of mode cuts them into fragments, bit 4 compresses them.
func (h *harness) feedMessages(mode byte, enc godwit.Encoding, data []byte) {
	for len(data) > 0 {
		n := len(data)
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			n = i + 1
		} else if data[0] < 0x80 && int(data[0]) < n && mode&3 == 1 {
			n, data = int(data[0]), data[1:]
		}
		message := data[:n]
		data = data[n:]
		if mode&4 != 0 && len(message) > 1 {
			h.feed(ws.AppendMasked(nil, false, opcode(enc), 11, message[:1]))
			h.feed(ws.AppendMasked(nil, true, ws.Ping, 12, nil))
			h.feed(ws.AppendMasked(nil, true, ws.Continuation, 13, message[1:]))
			continue
		}
		if mode&16 != 0 {
			h.feed(packed(opcode(enc), message))
		} else {
			h.feed(ws.AppendMasked(nil, true, opcode(enc), 14, message))
		}
		h.pass(250)
	}
}

// TestIdleSessionHoldsNoBuffers: once it has gone through upgrade, connect, a
// message in fragments, a request and events, only the session itself is left.
func TestIdleSessionHoldsNoBuffers(t *testing.T) {
	h := newHarness(t)
	h.feed([]byte(upgradeHead + "\r\n"))
	h.feed(ws.AppendMasked(nil, true, ws.Text, 3, []byte(`{"id":1,"connect":{"token":"user:alice","resume":{"epoch":"e","seq":2}}}`)))
	message := sendFrame(2, "in two parts").AppendFrameTo(nil, godwit.EncodingJSON)
	h.feed(ws.AppendMasked(nil, false, ws.Text, 3, message[:20]))
	l := h.edge.loops[0]
	s := l.sessions.at(0)
	if s.state != stateLive || s.lent == nil {
		t.Fatalf("state %d, lent %v: the test does not reach the middle of a message", s.state, s.lent)
	}
	h.feed(ws.AppendMasked(nil, true, ws.Continuation, 3, message[20:]))
	if s.lent != nil || s.opening != nil || s.inFlight != 0 || s.outHead != 0 || len(h.conn.in) != 0 {
		t.Errorf("the idle session holds %+v and %d bytes of input", s, len(h.conn.in))
	}
	if o := &l.out; len(o.pieces)+len(o.dirty)+len(o.iov)+len(o.own) != 0 {
		t.Error("output is left in the loop")
	}
	if s.flow.cursor != 6 {
		t.Errorf("cursor %d, want the 3 missed entries and the new one", s.flow.cursor)
	}
	h.checkOutput(godwit.EncodingJSON)
	h.end()
}
