package edge

import (
	"io"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

// BenchmarkRequestReply is one client over loopback: 16 sends in one write, 16
// replies read back. The client's cost is in it too.
func BenchmarkRequestReply(b *testing.B) {
	const pipelined = 16
	for _, enc := range []godwit.Encoding{godwit.EncodingJSON, godwit.EncodingProto} {
		b.Run(enc.Subprotocol(), func(b *testing.B) {
			chat := &fakeChat{}
			reply := godwit.ServerFrame{Kind: godwit.KindSend, Send: godwit.SendReply{State: "stored", Seq: 918291, Conv: "u:bob", Time: 1795417297200}}
			chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
				reply.ID = f.ID
				chat.edge.Reply(s, &reply)
			}
			e := newEdge(b, chat, nil)
			c := connect(b, e, enc, "alice")
			var wire []byte
			for range pipelined {
				wire = ws.AppendMasked(wire, true, opcode(enc), 0x12345678, sendFrame(1000, "a message of the usual length, which is about a hundred bytes with its frame").AppendFrameTo(nil, enc))
			}
			reply.ID = 1000
			var codec codec
			answer := make([]byte, pipelined*len(codec.appendFrame(nil, formOf(enc), &reply)))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += pipelined {
				_ = c.conn.SetDeadline(time.Time{})
				if _, err := c.conn.Write(wire); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c.conn, answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDeliver is one entry put into the mailbox for 1,000 sessions of one
// loop and handled, frame by frame, up to the write, which a fake takes. One op
// is one delivered event.
func BenchmarkDeliver(b *testing.B) {
	const count = 1000
	b.Run("mailbox and loop", func(b *testing.B) {
		e, l, ids := liveSessions(b, count)
		entry := entryOf(1, "a message of the usual length, which is about a hundred bytes with its frame")
		b.ReportAllocs()
		b.ResetTimer()
		for n := 0; n < b.N; n += count {
			entry.Seq++
			e.Deliver(ids, &entry)
			l.drain()
		}
	})
	b.Run("loopback", func(b *testing.B) {
		chat := &fakeChat{}
		e := newEdge(b, chat, func(c *Config) { c.Limits.Window = 1 << 20; c.WindowBytesMax = 1 << 30 })
		var clients []*client
		for range count {
			clients = append(clients, connect(b, e, godwit.EncodingProto, "alice"))
		}
		var ids []godwit.SessionID
		for s := range chat.hellos {
			ids = append(ids, s)
		}
		entry := entryOf(0, "a message of the usual length, which is about a hundred bytes with its frame")
		var codec codec
		scratch := make([]byte, 1024)
		b.ReportAllocs()
		b.ResetTimer()
		for n := 0; n < b.N; n += count {
			entry.Seq++
			e.Deliver(ids, &entry)
			size := len(codec.appendEvent(codec.framed[:0], formOf(godwit.EncodingProto), &entry))
			for _, c := range clients {
				_ = c.conn.SetDeadline(time.Time{})
				if _, err := io.ReadFull(c.conn, scratch[:size]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// liveSessions makes sessions of one user on a loop without sockets.
func liveSessions(t testing.TB, count int) (*Edge, *loop, []godwit.SessionID) {
	e, err := New(Config{Listen: "127.0.0.1:0", Loops: 1, Chat: &fakeChat{}, Verifier: fakeVerifier{}, WindowBytesMax: 1 << 30, Limits: godwit.Limits{Window: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	l := e.loops[0]
	var ids []godwit.SessionID
	for range count {
		s, slots := l.sessions.take()
		l.wheel.grow(slots)
		s.conn, s.state, s.upgraded, s.encoding = &nullConn{}, stateLive, true, godwit.EncodingProto
		s.flow.opened(e.window, 1, 1, false)
		ids = append(ids, l.id(s))
	}
	return e, l, ids
}

// nullConn takes writes and forgets them.
type nullConn struct {
	fakeConn
	writes, bytes int
}

func (c *nullConn) Write(b []byte) (int, error) {
	c.writes++
	c.bytes += len(b)
	return len(b), nil
}

func (c *nullConn) OutboundBuffered() int { return 0 }

// TestDeliveryToLiveSessionsDoesNotAllocate: from Deliver to the write, in
// steady state, and with one write per session however many events came.
func TestDeliveryToLiveSessionsDoesNotAllocate(t *testing.T) {
	skipUnderRace(t)
	e, l, ids := liveSessions(t, 100)
	entry := entryOf(1, "a message of the usual length, which is about a hundred bytes with its frame")
	round := func() {
		for range 5 {
			entry.Seq++
			e.Deliver(ids, &entry)
		}
		l.drain()
	}
	for range 8 {
		round()
	}
	conn := l.sessions.find(ids[0]).conn.(*nullConn)
	conn.writes = 0
	if n := testing.AllocsPerRun(10, round); n >= 1 {
		t.Fatalf("%v allocations for 500 delivered events", n)
	}
	if conn.writes != 11 { // AllocsPerRun runs once more to warm up
		t.Fatalf("%d writes in 11 rounds of 5 events", conn.writes)
	}
	if got := l.stats.events.Load(); got != 19*5*100 {
		t.Fatalf("%d events written, want %d", got, 19*5*100)
	}
}

// TestRequestAndReplyDoNotAllocate: from the bytes of a send to the bytes of
// its reply.
func TestRequestAndReplyDoNotAllocate(t *testing.T) {
	skipUnderRace(t)
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		e, l, ids := liveSessions(t, 1)
		chat := &fakeChat{edge: e}
		reply := godwit.ServerFrame{Kind: godwit.KindSend, Send: godwit.SendReply{State: "stored", Seq: 9, Conv: "u:bob"}}
		chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
			reply.ID = f.ID
			e.Reply(s, &reply)
		}
		e.cfg.Chat = chat
		s := l.sessions.find(ids[0])
		s.encoding = enc
		conn := &windowConn{}
		s.conn = conn
		wire := ws.AppendMasked(nil, true, opcode(enc), 0x12345678, sendFrame(5, "hello, a message with an escape: \"\n\" and more").AppendFrameTo(nil, enc))
		var window []byte
		round := func() {
			window = append(window[:0], wire...) // the reader unmasks in place
			conn.window = window
			l.read(s)
			l.drain()
		}
		for range 8 {
			round()
		}
		before := conn.bytes
		if n := testing.AllocsPerRun(50, round); n >= 1 {
			t.Fatalf("%v allocations", n)
		}
		if conn.bytes == before || s.state != stateLive || s.inFlight != 0 {
			t.Fatalf("%d bytes written, %d in flight", conn.bytes-before, s.inFlight)
		}
	})
}

// windowConn is a nullConn with input.
type windowConn struct {
	nullConn
	window []byte
}

func (c *windowConn) InboundBuffered() int       { return len(c.window) }
func (c *windowConn) Peek(int) ([]byte, error)   { return c.window, nil }
func (c *windowConn) Discard(n int) (int, error) { c.window = c.window[n:]; return n, nil }
