package link

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"github.com/godwit-im/godwit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const waitMax = 60 * time.Second // only a failing test waits this long

// log is what a fake was told, a line each, in order.
type log struct {
	mu    sync.Mutex
	lines []string
	grew  chan struct{} // closed and replaced with each line
}

func newLog() *log { return &log{grew: make(chan struct{})} }

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
	close(l.grew)
	l.grew = make(chan struct{})
}

// wait returns the lines once ok says so of them.
func (l *log) wait(t testing.TB, ok func(lines []string) bool) []string {
	t.Helper()
	late := time.After(waitMax)
	for {
		l.mu.Lock()
		lines, grew := l.lines[:len(l.lines):len(l.lines)], l.grew
		l.mu.Unlock()
		if ok(lines) {
			return lines
		}
		select {
		case <-grew:
		case <-late:
			t.Fatalf("waited in vain; so far %d lines: %.2000q", len(lines), lines)
		}
	}
}

func (l *log) waitFor(t testing.TB, n int) []string {
	t.Helper()
	return l.wait(t, func(lines []string) bool { return len(lines) >= n })
}

// fakeChat is the chat tier of an engine process.
type fakeChat struct {
	*log
	onRequest func(s godwit.SessionID, user godwit.UserID, f *godwit.ClientFrame)
}

func (c *fakeChat) Connect(s godwit.SessionID, h Hello) { c.add("connect %x %+v", uint64(s), h) }

func (c *fakeChat) Disconnect(s godwit.SessionID, user godwit.UserID, device string) {
	c.add("disconnect %x %s %s", uint64(s), user, device)
}

func (c *fakeChat) Request(s godwit.SessionID, user godwit.UserID, f *godwit.ClientFrame) {
	if c.onRequest != nil {
		c.onRequest(s, user, f)
		return
	}
	c.add("request %x %s %s", uint64(s), user, f.AppendTo(nil, godwit.EncodingJSON))
}

func (c *fakeChat) Fetch(s godwit.SessionID, user godwit.UserID, after godwit.Seq, limit, bytesMax int) {
	c.add("fetch %x %s %d %d %d", uint64(s), user, after, limit, bytesMax)
}

func (c *fakeChat) UnregisterEdge(index int) { c.add("unregister %d", index) }

// fakeEdge holds no connections. hold, if any, is waited for in Deliver.
type fakeEdge struct {
	*log
	hold chan struct{}
}

func (e *fakeEdge) Connected(s godwit.SessionID, w godwit.Welcome) {
	e.add("connected %x %+v", uint64(s), w)
}

func (e *fakeEdge) Reply(s godwit.SessionID, f *godwit.ServerFrame) {
	e.add("reply %x %s", uint64(s), f.AppendTo(nil, godwit.EncodingJSON))
}

func (e *fakeEdge) Deliver(sessions []godwit.SessionID, entry *godwit.Entry) {
	if e.hold != nil {
		<-e.hold
	}
	e.add("deliver %x %s", sessions, godwit.AppendEvent(nil, godwit.EncodingJSON, entry))
}

func (e *fakeEdge) Fetched(s godwit.SessionID, entries []godwit.Entry, head godwit.Seq, err error) {
	var text []byte
	for i := range entries {
		text = godwit.AppendEvent(append(text, ' '), godwit.EncodingJSON, &entries[i])
	}
	e.add("fetched %x %d%s %v", uint64(s), head, text, err != nil)
}

func (e *fakeEdge) Close(s godwit.SessionID, code godwit.CloseCode, reason string) {
	e.add("close %x %d %s", uint64(s), code, reason)
}

// world is one engine process and the edge processes that a test attaches to it.
type world struct {
	t        *testing.T
	hub      *Hub
	chat     *fakeChat
	local    *fakeEdge
	listener atomic.Pointer[bufconn.Listener]
}

func newWorld(t *testing.T, change func(*HubConfig)) *world {
	t.Helper()
	w := &world{t: t, chat: &fakeChat{log: newLog()}}
	w.start(change)
	return w
}

// start is the engine process's start, also after stop.
func (w *world) start(change func(*HubConfig)) {
	w.t.Helper()
	cfg := HubConfig{Chat: w.chat, Router: w.chat, Node: "engine", Settings: testSettings}
	cfg.alive.Time = time.Hour // who is only slow is not taken for stopped
	if w.local != nil {
		cfg.Local = w.local
	}
	if change != nil {
		change(&cfg)
	}
	hub, err := NewHub(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	w.hub = hub
	w.listener.Store(listener)
	hub.Serve(listener)
	w.t.Cleanup(hub.Stop)
}

var testSettings = Settings{Limits: godwit.Limits{Frame: 65536, Body: 4096}, PingMS: 25000, OutboundBytes: 1 << 20}

// process is one edge process.
type process struct {
	*Client
	edge  *fakeEdge
	hooks *log
}

// index is of the present attachment.
func (p *process) at(s godwit.SessionID) godwit.SessionID {
	return sessionAt(int(p.index.Load()), s)
}

func (w *world) config(name string) ClientConfig {
	return ClientConfig{
		About:   About{Node: name, PID: 7, Ops: "127.0.0.1:1"},
		Resolve: At("engine"),
		Dial:    func(ctx context.Context, _ string) (net.Conn, error) { return w.listener.Load().DialContext(ctx) },
		alive:   keepalive.ClientParameters{Time: time.Hour}, attachTimeout: waitMax, callTimeout: waitMax,
	}
}

func (w *world) attach(name string, change func(*process, *ClientConfig)) *process {
	w.t.Helper()
	p := &process{edge: &fakeEdge{log: newLog()}, hooks: newLog()}
	cfg := w.config(name)
	cfg.Lost = func() { p.hooks.add("lost") }
	cfg.Attached = func() { p.hooks.add("attached") }
	cfg.Drain = func(after, spread time.Duration) { p.hooks.add("drain %s %s", after, spread) }
	if change != nil {
		change(p, &cfg)
	}
	client, err := Attach(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	p.Client = client
	w.t.Cleanup(client.Close)
	client.Start(p.edge)
	p.hooks.waitFor(w.t, 1)
	return p
}

// connect opens a session and waits until the chat tier has it.
func (w *world) connect(p *process, s godwit.SessionID, user godwit.UserID) {
	w.t.Helper()
	p.Connect(s, Hello{User: user, Device: "phone"})
	want := fmt.Sprintf("connect %x %+v", uint64(p.at(s)), Hello{User: user, Device: "phone"})
	w.chat.wait(w.t, func(lines []string) bool { return has(lines, want) })
}

func has(lines []string, want string) bool {
	for _, line := range lines {
		if line == want {
			return true
		}
	}
	return false
}

func (l *log) waitHas(t testing.TB, want string) {
	t.Helper()
	l.wait(t, func(lines []string) bool { return has(lines, want) })
}

func entry(seq godwit.Seq, text string) godwit.Entry {
	return godwit.Entry{Seq: seq, Msg: godwit.Message{
		MID: godwit.MessageID{byte(seq), 2}, Conv: []byte("u:bob"), From: []byte("bob"), CID: []byte("c1"), Time: 1234, Body: []byte(text), Text: true,
	}}
}

func (e *fakeEdge) Hint(sessions []godwit.SessionID, head godwit.Seq) {
	e.add("hint %x %d", sessions, head)
}

func (e *fakeEdge) Tell(sessions []godwit.SessionID, f *godwit.ServerFrame) {
	e.add("tell %x %s", sessions, f.AppendTo(nil, godwit.EncodingJSON))
}

func (e *fakeEdge) Whisper(sessions []godwit.SessionID, f *godwit.ServerFrame) {
	e.add("whisper %x %s", sessions, f.AppendTo(nil, godwit.EncodingJSON))
}
