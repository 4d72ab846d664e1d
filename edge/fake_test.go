package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	goleak.VerifyTestMain(m,
		// gnet's package-level worker pool, started by its init and unused here.
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"))
}

const waitMax = 60 * time.Second // only a failing test waits this long

// fakeChat answers as its fields say. The zero one opens every session at head
// 0 and answers a send with stored, seq 7.
type fakeChat struct {
	edge       *Edge
	onConnect  func(godwit.SessionID, Hello)
	onCall     func(godwit.SessionID, Hello) // Hello.Call; nil: it may
	onRequest  func(godwit.SessionID, godwit.UserID, *godwit.ClientFrame)
	onFetch    func(s godwit.SessionID, after godwit.Seq, limit, bytesMax int)
	connects   atomic.Int64
	disconnect chan godwit.SessionID
	mu         sync.Mutex
	hellos     map[godwit.SessionID]Hello
}

func (f *fakeChat) Connect(s godwit.SessionID, hello Hello) {
	if hello.Call {
		if f.onCall == nil {
			f.edge.Connected(s, godwit.Welcome{})
		} else {
			f.onCall(s, hello)
		}
		return
	}
	f.connects.Add(1)
	f.mu.Lock()
	f.hellos[s] = hello
	f.mu.Unlock()
	if f.onConnect != nil {
		f.onConnect(s, hello)
		return
	}
	f.edge.Connected(s, godwit.Welcome{Epoch: "e1"})
}

func (f *fakeChat) Disconnect(s godwit.SessionID, user godwit.UserID, device string) {
	f.mu.Lock()
	hello, ok := f.hellos[s]
	delete(f.hellos, s)
	f.mu.Unlock()
	if !ok || hello.User != user || hello.Device != device {
		panic(fmt.Sprintf("Disconnect(%v, %q, %q) without its Connect", s, user, device))
	}
	select {
	case f.disconnect <- s:
	default:
	}
}

func (f *fakeChat) Request(s godwit.SessionID, user godwit.UserID, frame *godwit.ClientFrame) {
	if f.onRequest != nil {
		f.onRequest(s, user, frame)
		return
	}
	f.edge.Reply(s, &godwit.ServerFrame{ID: frame.ID, Kind: frame.Kind, Send: godwit.SendReply{State: "stored", Seq: 7, Conv: "u:bob"}})
}

func (f *fakeChat) Fetch(s godwit.SessionID, _ godwit.UserID, after godwit.Seq, limit, bytesMax int) {
	if f.onFetch != nil {
		f.onFetch(s, after, limit, bytesMax)
		return
	}
	f.edge.Fetched(s, nil, after, nil)
}

func (f *fakeChat) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.hellos)
}

// fakeVerifier takes "user:NAME[:expires[:issued]]" for a token of NAME.
type fakeVerifier struct{ hold chan struct{} }

func (v fakeVerifier) Verify(token []byte) (godwit.Identity, error) {
	if v.hold != nil {
		<-v.hold
	}
	fields := strings.Split(strings.TrimPrefix(string(token), ticketPrefix), ":")
	if fields[0] == "later" {
		return godwit.Identity{}, fmt.Errorf("%w: the keys are being read", godwit.ErrUnavailable)
	}
	if len(fields) < 2 || fields[0] != "user" {
		return godwit.Identity{}, errors.New("not a token")
	}
	who := godwit.Identity{User: godwit.UserID(fields[1])}
	if len(fields) > 2 {
		_, _ = fmt.Sscan(fields[2], &who.Expires)
	}
	if len(fields) > 3 {
		_, _ = fmt.Sscan(fields[3], &who.Issued)
	}
	return who, nil
}

// newEdge starts an edge on a free loopback port and stops it with the test. No time
// passes for it but what a test makes pass with a clock: then no deadline, ping or look
// at a head comes between on a machine that stands still.
func newEdge(t testing.TB, chat *fakeChat, change func(*Config)) *Edge {
	t.Helper()
	cfg := Config{Listen: "127.0.0.1:0", Loops: 1, Chat: chat, Verifier: fakeVerifier{}, tickEvery: 5 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	if cfg.monotonic == nil {
		cfg.monotonic = noTime
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	chat.edge = e
	chat.hellos = map[godwit.SessionID]Hello{}
	if chat.disconnect == nil {
		chat.disconnect = make(chan godwit.SessionID, 4096)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitMax)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		if n := chat.open(); n != 0 {
			t.Errorf("%d sessions were connected and never disconnected", n)
		}
	})
	return e
}

func noTime() int64 { return 0 }

// client is one WebSocket connection of a test.
type client struct {
	t      testing.TB
	conn   net.Conn
	enc    godwit.Encoding
	reader ws.Reader
	window []byte
	used   int
	buf    ws.Buffer
	frames [][]byte // of the last message, not yet returned
	parsed godwit.ServerFrame
	code   ws.CloseCode
	reason string
}

var clientWS = ws.Config{Client: true, Deflate: true, MessageMaxBytes: 16 << 20, FragmentsMax: 16}

const upgradeHead = "GET /v1/ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// dialRaw opens a TCP connection that the test closes.
func dialRaw(t testing.TB, e *Edge) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", e.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(waitMax))
	return conn
}

// dial upgrades; extra are further header fields.
func dial(t testing.TB, e *Edge, enc godwit.Encoding, extra ...string) *client {
	t.Helper()
	return upgrade(t, dialRaw(t, e), enc, extra...)
}

func upgrade(t testing.TB, conn net.Conn, enc godwit.Encoding, extra ...string) *client {
	t.Helper()
	head := upgradeHead + "Sec-WebSocket-Protocol: " + enc.Subprotocol() + "\r\n" + strings.Join(extra, "") + "\r\n"
	if _, err := io.WriteString(conn, head); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	var answer strings.Builder
	for !strings.HasSuffix(answer.String(), "\r\n\r\n") {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("upgrade: %v after %q", err, answer.String())
		}
		answer.WriteString(line)
	}
	if !strings.HasPrefix(answer.String(), "HTTP/1.1 101 ") || !strings.Contains(answer.String(), "Sec-WebSocket-Protocol: "+enc.Subprotocol()) {
		t.Fatalf("upgrade refused: %q", answer.String())
	}
	c := &client{t: t, conn: conn, enc: enc}
	c.window = make([]byte, r.Buffered())
	_, _ = io.ReadFull(r, c.window)
	return c
}

// connect opens a session and returns its reply.
func connect(t testing.TB, e *Edge, enc godwit.Encoding, user string) *client {
	t.Helper()
	return open(t, dial(t, e, enc), user)
}

func open(t testing.TB, c *client, user string) *client {
	t.Helper()
	c.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("user:" + user), Device: []byte("dev")}})
	if f := c.next(); f.Kind != godwit.KindConnect || f.ID != 1 {
		t.Fatalf("connect answered by %+v", f)
	}
	return c
}

func (c *client) raw(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *client) message(op ws.Opcode, b []byte) {
	c.t.Helper()
	c.raw(ws.AppendMasked(nil, true, op, 0x01020304, b))
}

func (c *client) text(s string) {
	c.t.Helper()
	c.message(opcode(c.enc), []byte(s))
}

func (c *client) send(f *godwit.ClientFrame) {
	c.t.Helper()
	c.message(opcode(c.enc), f.AppendFrameTo(nil, c.enc))
}

// event returns the next WebSocket event, or false at the end of the stream.
func (c *client) event() (ws.Event, bool) {
	c.t.Helper()
	for {
		if c.used < len(c.window) {
			ev, n, need, err := c.reader.Message(&clientWS, c.window[c.used:], &c.buf)
			c.used += n
			if err != nil {
				c.t.Fatalf("the server broke RFC 6455: %v", err)
			}
			if need == 0 {
				return ev, true
			}
		}
		rest := copy(c.window, c.window[c.used:])
		c.window, c.used = c.window[:rest], 0
		var chunk [64 << 10]byte
		n, err := c.conn.Read(chunk[:])
		c.window = append(c.window, chunk[:n]...)
		if n == 0 && err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				c.t.Fatal("timed out waiting for the server")
			}
			return ws.Event{}, false
		}
	}
}

// try returns the next frame, or nil at a close frame or the end.
func (c *client) try() *godwit.ServerFrame {
	c.t.Helper()
	for len(c.frames) == 0 {
		ev, ok := c.event()
		if !ok {
			return nil
		}
		switch ev.Op {
		case ws.Close:
			c.code, c.reason = ev.Code, string(ev.Payload)
			return nil
		case ws.Ping, ws.Pong:
			continue
		}
		if ev.Op != opcode(c.enc) {
			c.t.Fatalf("message of kind %d", ev.Op)
		}
		for rest := append([]byte(nil), ev.Payload...); len(rest) > 0; {
			frame, more, err := godwit.NextFrame(c.enc, rest)
			if err != nil {
				c.t.Fatal(err)
			}
			c.frames, rest = append(c.frames, frame), more
		}
	}
	frame := c.frames[0]
	c.frames = c.frames[1:]
	if err := c.parsed.Parse(c.enc, frame); err != nil {
		c.t.Fatalf("frame %q: %v", frame, err)
	}
	return &c.parsed
}

// next returns the next frame that is not a ping.
func (c *client) next() *godwit.ServerFrame {
	c.t.Helper()
	for {
		f := c.try()
		if f == nil {
			c.t.Fatalf("closed with %d %s instead of a frame", c.code, c.reason)
		}
		if f.Kind != godwit.KindPing {
			return f
		}
	}
}

// wantClose reads on, dropping frames, until the close frame, and answers it.
func (c *client) wantClose(code godwit.CloseCode) {
	c.t.Helper()
	for c.code == 0 {
		if f := c.try(); f == nil && c.code == 0 {
			c.t.Fatalf("the connection ended without a close frame, want %d", code)
		}
	}
	if godwit.CloseCode(c.code) != code {
		c.t.Fatalf("closed with %d %s, want %d", c.code, c.reason, code)
	}
	_, _ = c.conn.Write(ws.AppendMasked(nil, true, ws.Close, 1, []byte{byte(c.code >> 8), byte(c.code)}))
	after, err := io.ReadAll(c.conn)
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		c.t.Fatal("the server did not hang up after the close handshake")
	}
	if after = append(c.window[c.used:], after...); len(after) > 0 {
		c.t.Fatalf("%d bytes after the close frame: %q", len(after), after[:min(len(after), 64)])
	}
}

func encodings(t *testing.T, test func(t *testing.T, enc godwit.Encoding)) {
	for _, enc := range []godwit.Encoding{godwit.EncodingJSON, godwit.EncodingProto} {
		t.Run(enc.Subprotocol(), func(t *testing.T) { test(t, enc) })
	}
}

func entryOf(seq godwit.Seq, body string) godwit.Entry {
	return godwit.Entry{Seq: seq, Msg: godwit.Message{MID: godwit.MessageID{byte(seq)}, Conv: []byte("u:bob"), From: []byte("bob"), CID: []byte("c"), Time: 1, Body: []byte(body), Text: true}}
}

// onlySession returns the id of the one session chat knows.
func onlySession(t testing.TB, chat *fakeChat) godwit.SessionID {
	t.Helper()
	chat.mu.Lock()
	defer chat.mu.Unlock()
	if len(chat.hellos) != 1 {
		t.Fatalf("%d sessions", len(chat.hellos))
	}
	for s := range chat.hellos {
		return s
	}
	return 0
}

// waitFor yields until cond holds, for what has no channel to wait on.
func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(waitMax); !cond(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

func accepted(t testing.TB, e *Edge, n uint64) {
	t.Helper()
	waitFor(t, func() bool { return e.Stats().Accepted == n })
}

var raceEnabled bool

// skipUnderRace: the race detector makes sync.Pool forget on purpose.
func skipUnderRace(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations are not counted under the race detector")
	}
}
