package edge

import (
	"bufio"
	"bytes"
	"compress/flate"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

const deflateOffer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

func withDeflate(c *Config) { c.Deflate.Enabled = true }

// packed is a message of a client, compressed by the standard library.
func packed(op ws.Opcode, body []byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, 6)
	_, _ = w.Write(body)
	_ = w.Flush()
	b := ws.AppendMasked(nil, true, op, 0x0badcafe, out.Bytes()[:out.Len()-4])
	b[0] |= 0x40
	return b
}

// frames reads what a server sends, with the standard library's DEFLATE.
type frames struct {
	t testing.TB
	r *bufio.Reader
}

// next returns a message and whether it came compressed. Pings are left out.
func (f *frames) next() (body []byte, compressed bool) {
	f.t.Helper()
	for {
		var head [2]byte
		if _, err := io.ReadFull(f.r, head[:]); err != nil {
			f.t.Fatal(err)
		}
		n := int(head[1])
		if n == 126 {
			var wide [2]byte
			_, _ = io.ReadFull(f.r, wide[:])
			n = int(wide[0])<<8 | int(wide[1])
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(f.r, body); err != nil || n > 1<<16 {
			f.t.Fatalf("%d bytes, %v", n, err)
		}
		if op := ws.Opcode(head[0] & 15); op.Control() {
			if op == ws.Close {
				f.t.Fatalf("closed: %q", body)
			}
			continue
		}
		if head[0]&0x40 == 0 {
			return body, false
		}
		plain, err := io.ReadAll(flate.NewReader(strings.NewReader(string(body) + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
		if err != nil {
			f.t.Fatal(err)
		}
		return plain, true
	}
}

// dialDeflate opens a session that speaks compressed, and returns its connect reply.
func dialDeflate(t testing.TB, e *Edge, enc godwit.Encoding, user, offer string) (*client, *frames) {
	t.Helper()
	c := dial(t, e, enc, offer)
	f := &frames{t: t, r: bufio.NewReader(io.MultiReader(bytes.NewReader(c.window), c.conn))}
	hello := &godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("user:" + user), Device: []byte("dev")}}
	c.raw(packed(opcode(enc), hello.AppendFrameTo(nil, enc)))
	if body, _ := f.next(); parsed(t, enc, body).Kind != godwit.KindConnect {
		t.Fatalf("connect answered by %q", body)
	}
	return c, f
}

func parsed(t testing.TB, enc godwit.Encoding, body []byte) *godwit.ServerFrame {
	t.Helper()
	frame, rest, err := godwit.NextFrame(enc, body)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%q: %v", body, err)
	}
	f := new(godwit.ServerFrame)
	if err := f.Parse(enc, frame); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return f
}

func TestDeflateIsOffUnlessConfigured(t *testing.T) {
	e := newEdge(t, &fakeChat{}, nil)
	c := dial(t, e, godwit.EncodingJSON, deflateOffer)
	c.raw(packed(ws.Text, []byte("{}")))
	if ev, ok := c.event(); !ok || ev.Op != ws.Close || ev.Code != ws.CodeProtocol {
		t.Fatalf("%+v, %v", ev, ok)
	}
}

func TestDeflateNeedsAnOffer(t *testing.T) {
	e := newEdge(t, &fakeChat{}, withDeflate)
	f := func(offer string) {
		t.Helper()
		c := dial(t, e, godwit.EncodingJSON, offer)
		c.raw(packed(ws.Text, []byte("{}")))
		if ev, ok := c.event(); !ok || ev.Op != ws.Close || ev.Code != ws.CodeProtocol {
			t.Fatalf("%q: %+v, %v", offer, ev, ok)
		}
	}
	f("")
	f("Sec-WebSocket-Extensions: permessage-deflate; unknown\r\n")
	conn := dialRaw(t, e)
	_, _ = io.WriteString(conn, upgradeHead+"Sec-WebSocket-Extensions: permessage-deflate;\r\n\r\n")
	if answer, _ := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Fatalf("a malformed offer is answered by %q", answer)
	}
}

func TestLongMessagesAreCompressedBothWays(t *testing.T) {
	for _, enc := range []godwit.Encoding{godwit.EncodingJSON, godwit.EncodingProto} {
		chat := &fakeChat{}
		long := strings.Repeat("a message of some length, ", 40)
		var heard atomic.Int64
		chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
			if string(f.Send.Text) == long {
				heard.Add(1)
			}
			entry := entryOf(1, string(f.Send.Text))
			chat.edge.Deliver([]godwit.SessionID{s}, &entry)
			chat.edge.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: f.Kind, Send: godwit.SendReply{State: "stored", Seq: 1, Conv: "u:bob"}})
		}
		e := newEdge(t, chat, withDeflate)
		c, f := dialDeflate(t, e, enc, "alice", deflateOffer)
		send := &godwit.ClientFrame{ID: 2, Kind: godwit.KindSend, Send: godwit.Send{To: []byte("bob"), CID: []byte("c1"), Text: []byte(long), HasText: true}}
		c.raw(packed(opcode(enc), send.AppendFrameTo(nil, enc)))
		if body, compressed := f.next(); !compressed || !bytes.Contains(body, []byte(long)) {
			t.Fatalf("%v: the event came compressed %v: %.60q", enc, compressed, body)
		}
		if body, compressed := f.next(); compressed || parsed(t, enc, body).ID != 2 {
			t.Fatalf("%v: the short reply came compressed %v: %q", enc, compressed, body)
		}
		if heard.Load() != 1 {
			t.Fatalf("%v: the send arrived %d times", enc, heard.Load())
		}
	}
}

// A client that asks for a small window gets what may be shared uncompressed, as
// that is compressed for the large one.
func TestSmallWindowGetsSharedFramesUncompressed(t *testing.T) {
	chat := &fakeChat{}
	chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, _ *godwit.ClientFrame) {
		entry := entryOf(1, strings.Repeat("long ", 500))
		chat.edge.Deliver([]godwit.SessionID{s}, &entry)
	}
	e := newEdge(t, chat, withDeflate)
	c, f := dialDeflate(t, e, godwit.EncodingJSON, "bob", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n")
	c.send(sendFrame(2, "x"))
	if body, compressed := f.next(); compressed || parsed(t, godwit.EncodingJSON, body).Kind != godwit.KindEvent {
		t.Fatalf("compressed %v: %.80q", compressed, body)
	}
}

// TestDeliverCompressesOncePerForm: sessions that agreed on compression share one
// compressed frame on each loop, the others one plain frame.
func TestDeliverCompressesOncePerForm(t *testing.T) {
	e, err := New(Config{Listen: "127.0.0.1:0", Loops: 1, Chat: &fakeChat{}, Verifier: fakeVerifier{}, Deflate: DeflateConfig{Enabled: true}})
	if err != nil {
		t.Fatal(err)
	}
	entry := entryOf(3, strings.Repeat("to all of them, ", 50))
	var ids []godwit.SessionID
	for slot := range uint32(40) {
		ids = append(ids, makeID(form(slot%uint32(forms)), 0, slot, 1))
	}
	e.Deliver(ids, &entry)
	box := &e.loops[0].box
	_, size := box.queued()
	box.refill()
	at := map[uint32]form{} // where the bytes begin
	total := 0
	for it := box.next(); it != nil; it = box.next() {
		to := idForm(it.session)
		b := box.cur.bytes(it)
		if was, seen := at[it.off]; seen && was != to {
			t.Fatalf("form %d shares the bytes of form %d", to, was)
		} else if !seen {
			at[it.off] = to
			total += len(b)
		}
		if compressed := b[0]&0x40 != 0; compressed != (to&formDeflate != 0) || ws.Opcode(b[0]&15) != opcode(to.encoding()) {
			t.Fatalf("form %d gets a frame that begins with %x", to, b[0])
		}
	}
	if len(at) != int(forms) || size != total {
		t.Fatalf("%d frames for %d forms, %d bytes of %d shared", len(at), forms, total, size)
	}
}

// TestInflaterIsLentOnlyWithinAMessage: between messages a session holds nothing;
// in the middle of one it holds what the loop lent, and gives it back.
func TestInflaterIsLentOnlyWithinAMessage(t *testing.T) {
	h := newHarness(t)
	h.feed([]byte(upgradeHead + deflateOffer + "\r\n"))
	h.feed(packed(ws.Text, []byte(`{"id":1,"connect":{"token":"user:alice"}}`)))
	s := h.edge.loops[0].sessions.at(0)
	if s.state != stateLive || s.window != 15 || s.lent != nil {
		t.Fatalf("state %d, window %d, lent %v", s.state, s.window, s.lent)
	}
	message := packed(ws.Text, sendFrame(2, strings.Repeat("in two parts ", 20)).AppendFrameTo(nil, godwit.EncodingJSON))
	h.feed(message[:len(message)/2])
	if s.lent == nil {
		t.Fatal("the test does not reach the middle of a message")
	}
	h.feed(message[len(message)/2:])
	if s.lent != nil || s.reader.Partial() || s.flow.head != 6 {
		t.Fatalf("lent %v, head %d", s.lent, s.flow.head)
	}
	h.feed(message[:len(message)/2])
	_ = h.loop.Close(h.conn)
	if s.lent != nil {
		t.Fatal("a connection that is gone keeps its buffer")
	}
}

// TestIdleConnectionsCostNoMoreWithCompression compares the heap of this process,
// clients included, with many idle connections that have all sent and received a
// compressed message, and with as many plain ones.
func TestIdleConnectionsCostNoMoreWithCompression(t *testing.T) {
	skipUnderRace(t)
	const connections = 200
	heap := func() int64 {
		var m runtime.MemStats
		for range 3 { // pools give up what they hold after two
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	cost := func(offer string) int64 {
		e := newEdge(t, &fakeChat{}, func(c *Config) { withDeflate(c); c.EchoPath = "/echo" })
		body := []byte(strings.Repeat("text ", 200))
		message := ws.AppendMasked(nil, true, ws.Text, 5, body)
		if offer != "" {
			message = packed(ws.Text, body)
		}
		conns := make([]net.Conn, connections)
		before := heap()
		for i := range conns {
			conns[i] = dialRaw(t, e)
			_, _ = io.WriteString(conns[i], strings.Replace(upgradeHead, SocketPath, "/echo", 1)+offer+"\r\n")
			_, _ = conns[i].Write(message)
			r := bufio.NewReader(conns[i])
			for line := ""; line != "\r\n"; {
				line, _ = r.ReadString('\n')
			}
			f := frames{t: t, r: r}
			if got, compressed := f.next(); !bytes.Equal(got, body) || compressed != (offer != "") {
				t.Fatalf("%d bytes came back, compressed %v", len(got), compressed)
			}
		}
		after := heap()
		runtime.KeepAlive(conns)
		return (after - before) / connections
	}
	plain, deflate := cost(""), cost(deflateOffer)
	t.Logf("%d bytes a plain connection, %d a compressed one, both ends", plain, deflate)
	if deflate > plain+1024 {
		t.Errorf("an idle connection costs %d bytes more with compression", deflate-plain)
	}
}
