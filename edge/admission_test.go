package edge

import (
	"bufio"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

const testBudget = 64 << 20

// memoryEdge is an edge whose memory the test makes up. use returns once the
// edge has seen it.
func memoryEdge(t *testing.T, chat *fakeChat, change func(*Config)) (e *Edge, use func(bytes int64)) {
	var used atomic.Int64
	e = newEdge(t, chat, func(c *Config) {
		c.MemoryMax = testBudget
		c.readMemory = used.Load
		c.lookEvery = time.Millisecond
		if change != nil {
			change(c)
		}
	})
	return e, func(bytes int64) {
		used.Store(bytes)
		await(t, func() bool { return e.Stats().MemoryUsed/(1<<20) == uint64(bytes)>>20 })
	}
}

func TestShortMemoryKeepsNewcomersOutAndServesTheOthers(t *testing.T) {
	e, use := memoryEdge(t, &fakeChat{}, nil)
	inside := connect(t, e, godwit.EncodingJSON, "inside")
	upgraded := dial(t, e, godwit.EncodingProto)
	asks := 0
	stillServed := func() {
		t.Helper()
		asks++
		inside.send(sendFrame(uint64(asks+1), "hi"))
		if f := inside.next(); f.Kind != godwit.KindSend {
			t.Fatalf("%+v", f)
		}
	}
	use(testBudget - testBudget/8 + 1<<20) // above the soft limit
	upgraded.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("user:late")}})
	upgraded.wantClose(godwit.CloseOverloaded)
	if retryOf(t, upgraded.reason) < retryMinMS {
		t.Errorf("reason %s", upgraded.reason)
	}
	answer := func() *http.Response {
		t.Helper()
		conn := dialRaw(t, e)
		_, _ = conn.Write([]byte(upgradeHead + "\r\n"))
		reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	if reply := answer(); reply.StatusCode != 503 || reply.Header.Get("Retry-After") == "" {
		t.Errorf("status %d", reply.StatusCode)
	}
	stillServed()
	use(testBudget + 1<<20) // above the budget nobody is heard out
	if reply, err := http.ReadResponse(bufio.NewReader(dialRaw(t, e)), nil); err != nil || reply.StatusCode != 503 || reply.Header.Get("Retry-After") == "" {
		t.Errorf("%v %v", reply, err)
	}
	stillServed()
	if st := e.Stats(); st.Shed != 0 || st.Sessions != 1 {
		t.Errorf("%d sessions shed, %d left", st.Shed, st.Sessions)
	}
	use(1 << 20)
	connect(t, e, godwit.EncodingJSON, "later")
}

// TestOverTheBudgetTheSlowestReadersGoFirst: the longest queue that does it, and
// it alone; the others are told nothing.
func TestOverTheBudgetTheSlowestReadersGoFirst(t *testing.T) {
	chat := &fakeChat{disconnect: make(chan godwit.SessionID, 8)}
	body := strings.Repeat("b", 15000)
	chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
		entries := make([]godwit.Entry, f.History.Limit)
		for i := range entries {
			entries[i] = entryOf(godwit.Seq(i+1), body)
		}
		chat.edge.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindHistory, History: godwit.HistoryReply{Entries: entries}})
	}
	var over atomic.Int64 // readings above the budget still to come
	e, _ := memoryEdge(t, chat, func(c *Config) {
		c.OutboundBytesMax = 1 << 30
		c.readMemory = func() int64 {
			if over.Load() > 0 {
				over.Add(-1)
				return testBudget + 1<<20
			}
			return 1 << 20
		}
	})
	var clients []*client
	var ids []godwit.SessionID
	for i, answers := range []int{0, 4, 16, 8} { // of 1.5 MB; the sockets take a few MB
		c := connect(t, e, godwit.EncodingProto, fmt.Sprint("reader", i))
		chat.mu.Lock()
		for id, hello := range chat.hellos {
			if hello.User == godwit.UserID(fmt.Sprint("reader", i)) {
				ids = append(ids, id)
			}
		}
		chat.mu.Unlock()
		for id := range uint64(answers) {
			c.send(&godwit.ClientFrame{ID: id + 2, Kind: godwit.KindHistory, History: godwit.History{Conv: []byte("u:bob"), Limit: 100}})
		}
		clients = append(clients, c)
	}
	await(t, func() bool { return e.Stats().FramesOut == 4+28 })
	over.Store(2) // before and after garbage was collected
	if gone := <-chat.disconnect; gone != ids[2] {
		t.Fatalf("session %v was closed first, want %v", gone, ids[2])
	}
	clients[2].wantClose(godwit.CloseSlowConsumer)
	if !strings.Contains(clients[2].reason, "memory") {
		t.Errorf("reason %s", clients[2].reason)
	}
	for _, i := range []int{0, 3} {
		clients[i].send(&godwit.ClientFrame{ID: 99, Kind: godwit.KindHistory})
		for f := clients[i].next(); f.ID != 99; f = clients[i].next() {
		}
	}
	if st := e.Stats(); st.Shed != 1 || st.Sessions != 3 {
		t.Errorf("%d sessions shed, %d left", st.Shed, st.Sessions)
	}
}

// TestAShedSessionThatNeverReadsIsCut: its memory is needed now.
func TestAShedSessionThatNeverReadsIsCut(t *testing.T) {
	h := newHarness(t)
	h.feed([]byte(upgradeHead + "\r\n"))
	h.feed(ws.AppendMasked(nil, true, ws.Text, 3, []byte(`{"id":1,"connect":{"token":"user:alice"}}`)))
	h.conn.stuck, h.conn.buffered = true, shedBytesMin
	l := h.edge.loops[0]
	h.edge.shed(1, true)
	h.settle()
	if l.sessions.at(0).state != stateLive {
		t.Fatal("a session was taken for a stranger")
	}
	h.edge.shed(1, false)
	h.settle()
	if s := l.sessions.at(0); s.state != stateClosing || h.conn.closed {
		t.Fatalf("state %d, closed %v", s.state, h.conn.closed)
	}
	for range shedCloseTicks {
		h.pass(tickMS)
	}
	if !h.conn.closed {
		t.Error("the connection is still open")
	}
	h.end()
}

// TestGarbageKeepsNobodyOut: an idle process does not collect by itself.
func TestGarbageKeepsNobodyOut(t *testing.T) {
	collections := func() uint32 {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.NumForcedGC
	}
	var before atomic.Int64
	before.Store(-1)
	e, _ := memoryEdge(t, &fakeChat{}, func(c *Config) {
		c.readMemory = func() int64 {
			if b := before.Load(); b >= 0 && int64(collections()) == b {
				return testBudget - 1<<20 // above the soft limit, below the budget
			}
			return 1 << 20
		}
	})
	before.Store(int64(collections()))
	await(t, func() bool { return e.Stats().MemoryUsed > 1<<21 || int64(collections()) > before.Load() })
	await(t, func() bool { return !e.admission.memory.tight() })
	connect(t, e, godwit.EncodingJSON, "newcomer")
}

// TestStrangersInMidMessageGoFirst: what they hold is nobody's yet.
func TestStrangersInMidMessageGoFirst(t *testing.T) {
	h := newHarness(t)
	h.feed([]byte(upgradeHead + "\r\n"))
	long := ws.AppendMasked(nil, false, ws.Text, 3, make([]byte, 2*strangerBytesMin))
	for i := range long[8:] {
		long[8+i] = 'a' ^ long[4+i%4]
	}
	h.feed(long)
	l := h.edge.loops[0]
	s := l.sessions.at(0)
	if s.state != stateFirst || s.lent == nil || s.lent.Size() < 2*strangerBytesMin {
		t.Fatalf("state %d: the test does not reach the middle of a message", s.state)
	}
	if all := l.hoards(); len(all) != 1 || !all[0].stranger {
		t.Fatalf("%+v", all)
	}
	h.edge.shed(1, true)
	h.settle()
	if !h.conn.closed {
		t.Error("the connection is still open")
	}
	h.end()

	reader := newHarness(t)
	reader.feed([]byte(upgradeHead + "\r\n"))
	reader.feed(ws.AppendMasked(nil, true, ws.Text, 3, []byte(`{"id":1,"connect":{"token":"user:alice"}}`)))
	reader.feed(long)
	if all := reader.edge.loops[0].hoards(); len(all) != 0 {
		t.Errorf("a session in the middle of a small message is listed: %+v", all)
	}
	reader.end()
}

func TestMemoryLooksAddWhatCameSince(t *testing.T) {
	var open atomic.Int64
	used := int64(40 << 20)
	m := memory{budget: testBudget, read: func() int64 { return used }, open: &open}
	if over := m.look(); over != used-testBudget || m.tight() || m.spent() {
		t.Errorf("over %d, tight %v", over, m.tight())
	}
	open.Store((m.soft()-used)/newcomerBytes + 1)
	if !m.tight() || m.spent() {
		t.Error("a flood of newcomers between two looks goes unnoticed")
	}
	m.look()
	if m.tight() {
		t.Error("newcomers are still counted after the look that saw them")
	}
	used = testBudget + 1
	if over := m.look(); over <= 0 || !m.spent() {
		t.Errorf("over %d", over)
	}
	if n := usedMemory()(); n < 1<<20 || n > 1<<40 {
		t.Errorf("this process uses %d bytes", n)
	}
}
