package client

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/lxzan/gws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come; never for what must not.
const patience = 60 * time.Second

// fakeServer is a server on a real socket that does only what a test tells it.
type fakeServer struct {
	url   string
	http  *httptest.Server
	peers chan *peer
}

func newFakeServer(t *testing.T, start func(http.Handler) *httptest.Server) *fakeServer {
	s := &fakeServer{peers: make(chan *peer, 16)}
	var loops sync.WaitGroup
	hs := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		enc, ok := godwit.EncodingOf(r.Header.Get("Sec-WebSocket-Protocol"))
		if !ok {
			http.Error(w, "no subprotocol", http.StatusBadRequest)
			return
		}
		p := &peer{enc: enc, frames: make(chan godwit.ClientFrame, 4096), ended: make(chan struct{})}
		conn, err := gws.NewUpgrader(p, &gws.ServerOption{SubProtocols: []string{enc.Subprotocol()}}).Upgrade(w, r)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		p.conn = conn
		loops.Go(conn.ReadLoop) // before a test can see it and end
		s.peers <- p
	}))
	s.http = hs
	s.url = "ws" + strings.TrimPrefix(hs.URL, "http")
	t.Cleanup(func() {
		hs.Close()
		close(s.peers)
		for p := range s.peers {
			p.drop()
		}
		loops.Wait()
	})
	return s
}

// accept returns the next connection.
func (s *fakeServer) accept(t *testing.T) *peer {
	t.Helper()
	select {
	case p := <-s.peers:
		t.Cleanup(p.drop)
		return p
	case <-time.After(patience):
		t.Fatal("the client did not connect")
		return nil
	}
}

// peer is the server's end of one connection.
type peer struct {
	gws.BuiltinEventHandler
	conn    *gws.Conn
	enc     godwit.Encoding
	frames  chan godwit.ClientFrame
	ended   chan struct{}
	largest atomic.Int64 // bytes of a message of the client
}

func (p *peer) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	p.largest.Store(max(p.largest.Load(), int64(len(m.Bytes()))))
	for rest := bytes.Clone(m.Bytes()); len(rest) > 0; {
		var frame []byte
		var err error
		if frame, rest, err = godwit.NextFrame(p.enc, rest); err != nil {
			panic(err)
		}
		var f godwit.ClientFrame
		if err := f.Parse(p.enc, frame); err != nil {
			panic(fmt.Sprintf("the client wrote %q: %v", frame, err))
		}
		p.frames <- f
	}
}

func (p *peer) OnClose(*gws.Conn, error) { close(p.ended) }

// drop breaks the connection without a word.
func (p *peer) drop() { _ = p.conn.NetConn().Close() }

func (p *peer) send(frames ...godwit.ServerFrame) {
	var message []byte
	for i := range frames {
		message = frames[i].AppendFrameTo(message, p.enc)
	}
	opcode := gws.OpcodeBinary
	if p.enc.Text() {
		opcode = gws.OpcodeText
	}
	_ = p.conn.WriteMessage(opcode, message)
}

// expect returns the next frame and fails if it is of another kind.
func (p *peer) expect(t *testing.T, kind godwit.FrameKind) *godwit.ClientFrame {
	t.Helper()
	select {
	case f := <-p.frames:
		if f.Kind != kind {
			t.Fatalf("got a frame of kind %d, want %d: %+v", f.Kind, kind, f)
		}
		return &f
	case <-time.After(patience):
		t.Fatalf("no frame of kind %d came", kind)
		return nil
	}
}

// barrier proves that nothing else came: the client answers frames in order, so
// the answer to a ping stands after whatever it wrote before.
func (p *peer) barrier(t *testing.T) {
	t.Helper()
	p.send(godwit.ServerFrame{Kind: godwit.KindPing})
	p.expect(t, godwit.KindPing)
}

// welcome reads the connect frame and answers it.
func (p *peer) welcome(t *testing.T, r godwit.ConnectReply) *godwit.ClientFrame {
	t.Helper()
	f := p.expect(t, godwit.KindConnect)
	if r.Epoch == "" {
		r.Epoch = "e1"
	}
	if r.Limits == (godwit.Limits{}) {
		r.Limits = godwit.Limits{Frame: 65536, Body: 16384, InFlight: 64, Page: 100, Window: 512}
	}
	p.send(godwit.ServerFrame{ID: f.ID, Kind: godwit.KindConnect, Connect: r})
	return f
}

func (p *peer) stored(f *godwit.ClientFrame, seq godwit.Seq) {
	p.send(godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSend, Send: godwit.SendReply{
		State: "stored", Seq: seq, MID: godwit.MessageID{byte(seq)}, Conv: "u:bob", Time: 7,
	}})
}

func (p *peer) refuse(f *godwit.ClientFrame, e *godwit.Error) {
	p.send(godwit.ServerFrame{ID: f.ID, Kind: godwit.KindError, Error: e.Reply(0)})
}

func entry(seq godwit.Seq) godwit.Entry {
	return godwit.Entry{Seq: seq, Msg: godwit.Message{
		MID: godwit.MessageID{1, byte(seq)}, Conv: []byte("u:bob"), From: []byte("bob"), CID: fmt.Appendf(nil, "c%d", seq),
		Time: 1000 + int64(seq), Body: fmt.Appendf(nil, "text \"%d\" 文", seq), Text: true,
	}}
}

func entries(from, to godwit.Seq) (all []godwit.Entry) {
	for seq := from; seq <= to; seq++ {
		all = append(all, entry(seq))
	}
	return all
}

func pushed(seq godwit.Seq) godwit.ServerFrame {
	return godwit.ServerFrame{Kind: godwit.KindEvent, Event: entry(seq)}
}

func skip(from, to godwit.Seq) godwit.ServerFrame {
	return godwit.ServerFrame{Kind: godwit.KindSkip, Skip: godwit.Skip{From: from, To: to}}
}

func (p *peer) page(f *godwit.ClientFrame, head godwit.Seq, entries ...godwit.Entry) {
	p.send(godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSync, Sync: godwit.SyncReply{Entries: entries, Head: head}})
}

// handClock stands still until it is turned.
type handClock struct {
	mu     sync.Mutex
	now    time.Time
	alarms []handAlarm
}

type handAlarm struct {
	at time.Time
	c  chan time.Time
}

func newHandClock() *handClock { return &handClock{now: time.UnixMilli(1_700_000_000_000)} }

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) Alarm(at time.Time) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := handAlarm{at, make(chan time.Time, 1)}
	c.alarms = append(c.alarms, a)
	c.ring()
	return a.c, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.alarms = slices.DeleteFunc(c.alarms, func(b handAlarm) bool { return b.c == a.c })
	}
}

func (c *handClock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.ring()
}

func (c *handClock) ring() {
	c.alarms = slices.DeleteFunc(c.alarms, func(a handAlarm) bool {
		if a.at.After(c.now) {
			return false
		}
		a.c <- c.now
		return true
	})
}

// fixture is a client under a clock turned by hand, whose random numbers are the
// largest possible, so that every wait equals its bound less one nanosecond.
type fixture struct {
	*fakeServer
	*Client
	clock  *handClock
	states chan State
}

func start(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{fakeServer: newFakeServer(t, httptest.NewServer), clock: newHandClock(), states: make(chan State, 4096)}
	cfg := Config{
		URL: f.url, Transport: WebSocket, Token: "t", Device: "d", clock: f.clock, NoDelivered: true,
		OpenTimeout: 10 * time.Minute, // part of it is measured by the machine's clock
		random:      func(n int64) int64 { return n - 1 },
		OnState:     func(s State) { f.states <- s },
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Client = c
	t.Cleanup(func() { _ = c.Close() })
	return f
}

// live starts a client, connects it at a head and returns both ends.
func live(t *testing.T, head godwit.Seq, change func(*Config)) (*fixture, *peer) {
	t.Helper()
	f := start(t, change)
	p := f.accept(t)
	p.welcome(t, godwit.ConnectReply{Seq: head})
	f.await(t, Live)
	return f, p
}

// await skips states up to one of a phase.
func (f *fixture) await(t *testing.T, phase Phase) State {
	t.Helper()
	for {
		select {
		case s := <-f.states:
			if s.Phase == phase {
				return s
			}
		case <-time.After(patience):
			t.Fatalf("the client did not come to be %v; it is %+v", phase, f.State())
		}
	}
}

// again waits for the client to wait, turns the clock to the end of that, and
// accepts the new connection.
func (f *fixture) again(t *testing.T) *peer {
	t.Helper()
	s := f.await(t, Waiting)
	f.clock.turn(s.Until.Sub(f.clock.Now()))
	defer func() {
		if t.Failed() {
			t.Logf("the client is %+v", f.State())
		}
	}()
	return f.accept(t)
}

func (f *fixture) receive(t *testing.T) Item {
	t.Helper()
	ctx, cancel := withPatience()
	defer cancel()
	item, err := f.Receive(ctx)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return item
}

// receiveEntries wants exactly the entries from..to, as entry makes them.
func (f *fixture) receiveEntries(t *testing.T, from, to godwit.Seq) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		item, want := f.receive(t), entry(seq)
		if item.Gap != nil || item.Entry.Seq != seq || item.Entry.Msg.MID != want.Msg.MID ||
			!bytes.Equal(item.Entry.Msg.Body, want.Msg.Body) || string(item.Entry.Msg.Conv) != "u:bob" || !item.Entry.Msg.Text ||
			cap(item.Entry.Msg.Body) != len(want.Msg.Body) { // memory of its own
			t.Fatalf("got %+v, want entry %d", item, seq)
		}
		if at := (Position{"e1", seq}); item.At != at || f.Position() != at {
			t.Fatalf("position after %d: item %v, client %v", seq, item.At, f.Position())
		}
	}
}
