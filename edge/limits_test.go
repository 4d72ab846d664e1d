package edge

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

func TestASourceIsAnAddressOrASubnet(t *testing.T) {
	f := func(a, b string, same bool) {
		t.Helper()
		sa, sb := sourceOf(netip.MustParseAddr(a)), sourceOf(netip.MustParseAddr(b))
		if sa == 0 || sb == 0 || (sa == sb) != same {
			t.Errorf("%s and %s: %x and %x", a, b, sa, sb)
		}
	}
	f("192.0.2.1", "192.0.2.1", true)
	f("192.0.2.1", "192.0.2.2", false)
	f("192.0.2.1", "::ffff:192.0.2.1", true)
	f("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true)
	f("2001:db8:1:2::1", "2001:db8:1:3::1", false)
	f("::1", "0.0.0.0", false)
	f("0.0.0.0", "2001:db8::", false)
	if sourceOf(netip.Addr{}) != 0 {
		t.Error("no address is counted")
	}
}

func TestSourcesHoldOnlyWhoIsCounted(t *testing.T) {
	table := sources{max: 3}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 3000 {
				s := ipv4Source | source(n*8+i)
				for k := range 4 {
					if table.enter(s) != (k < 3) {
						t.Errorf("socket %d of a source", k)
					}
				}
				for range 3 {
					table.leave(s)
				}
			}
		})
	}
	all.Wait()
	if addresses, sockets := table.size(); addresses != 0 || sockets != 0 {
		t.Errorf("%d addresses, %d sockets are left", addresses, sockets)
	}
	for s := range source(sourceShards * sourcesKeepMax * 2) {
		table.enter(s + 1)
	}
	for s := range source(sourceShards * sourcesKeepMax * 2) {
		table.leave(s + 1)
	}
	for i := range table.shards {
		if table.shards[i].counts != nil {
			t.Fatal("a table that was large is kept empty")
		}
	}
}

// TestUnauthenticatedSocketsOfASourceAreBounded: those that showed a good token
// or ended don't count, those that linger after a refusal do.
func TestUnauthenticatedSocketsOfASourceAreBounded(t *testing.T) {
	const most = 4
	chat := &fakeChat{}
	e := newEdge(t, chat, func(c *Config) { c.PerSourceMax = most })
	for i := range 3 * most {
		connect(t, e, godwit.EncodingJSON, fmt.Sprint("user", i))
	}
	for i := range 3 * most {
		dial(t, e, godwit.EncodingProto, fmt.Sprintf("Authorization: Bearer user:bearer%d\r\n", i))
	}
	var held []net.Conn
	for i := range most {
		conn := dialRaw(t, e)
		if i%2 == 0 { // answered, and the socket stays
			_, _ = conn.Write([]byte("GET /nothing HTTP/1.1\r\nHost: test\r\n\r\n"))
			if reply, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || reply.StatusCode != 404 {
				t.Fatalf("%v %v", reply, err)
			}
		}
		held = append(held, conn)
	}
	refused := func() *http.Response {
		reply, err := http.ReadResponse(bufio.NewReader(dialRaw(t, e)), nil)
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	await(t, func() bool { return e.Stats().Newcomers == most }) // the last one may be about to be accepted
	reply := refused()
	if wait, err := strconv.Atoi(reply.Header.Get("Retry-After")); reply.StatusCode != 429 || err != nil || wait < 1 || wait > 5 {
		t.Errorf("status %d, retry after %q", reply.StatusCode, reply.Header.Get("Retry-After"))
	}
	if n := e.Stats().Refused[429]; n != 1 {
		t.Errorf("%d refusals counted", n)
	}
	for _, conn := range held {
		_ = conn.Close()
	}
	await(t, func() bool { return e.Stats().Newcomers == 0 })
	connect(t, e, godwit.EncodingJSON, "late")
}

// TestHandshakesAtOnceAreBounded: more are told to come back, each at its own
// time; places are given back when a session is live, refused or lost.
func TestHandshakesAtOnceAreBounded(t *testing.T) {
	chat := &fakeChat{}
	held := make(chan godwit.SessionID, 16)
	var open atomic.Bool
	chat.onConnect = func(s godwit.SessionID, _ Hello) {
		if !open.Load() {
			held <- s
			return
		}
		chat.edge.Connected(s, godwit.Welcome{Epoch: "e1"})
	}
	e := newEdge(t, chat, func(c *Config) { c.HandshakesMax = 2 })
	late, bearer := dial(t, e, godwit.EncodingJSON), dialRaw(t, e)
	var first []*client
	var ids []godwit.SessionID
	for i := range 2 {
		c := dial(t, e, godwit.EncodingJSON)
		c.text(fmt.Sprintf(`{"id":1,"connect":{"token":"user:u%d"}}`, i))
		first, ids = append(first, c), append(ids, <-held)
	}
	if n := e.Stats().Handshakes; n != 2 {
		t.Errorf("%d handshakes counted", n)
	}
	late.text(`{"id":1,"connect":{"token":"user:late"}}`)
	late.wantClose(godwit.CloseOverloaded)
	if wait := retryOf(t, late.reason); wait < retryMinMS || wait > retryMinMS+retrySpreadMS {
		t.Errorf("retry after %d ms", wait)
	}
	for _, extra := range []string{"", "Authorization: Bearer user:late\r\n"} {
		conn := bearer
		if extra == "" {
			conn = dialRaw(t, e)
		}
		_, _ = conn.Write([]byte(upgradeHead + extra + "\r\n"))
		reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || reply.StatusCode != 503 || reply.Header.Get("Retry-After") == "" {
			t.Fatalf("%v %v", reply, err)
		}
	}
	open.Store(true)
	e.Connected(ids[0], godwit.Welcome{Epoch: "e1"}) // one becomes live,
	if f := first[0].next(); f.Kind != godwit.KindConnect {
		t.Fatalf("%+v", f)
	}
	_ = first[1].conn.Close() // one is lost
	await(t, func() bool { return e.Stats().Handshakes == 0 })
	bad := dial(t, e, godwit.EncodingJSON)
	bad.text(`{"id":1,"connect":{"token":"bad"}}`)
	if f := bad.next(); f.Kind != godwit.KindError {
		t.Fatalf("%+v", f)
	}
	bad.wantClose(godwit.CloseTokenInvalid)
	connect(t, e, godwit.EncodingJSON, "welcome")
	if n := e.Stats().Handshakes; n != 0 {
		t.Errorf("%d handshakes are left", n)
	}
}

// await waits for what must come true soon.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond) // who spins takes the processor from those it waits for
	defer look.Stop()
	for end := time.Now().Add(waitMax); !ok(); <-look.C {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

func retryOf(t *testing.T, reason string) (ms int) {
	t.Helper()
	var word string
	if _, err := fmt.Sscanf(reason, `{"reason":%q,"retry_after_ms":%d}`, &word, &ms); err != nil {
		t.Fatalf("reason %q: %v", reason, err)
	}
	return ms
}

func TestRetryTimesAreSpread(t *testing.T) {
	seen := map[int]bool{}
	for range 1000 {
		ms := retryAfterMS()
		if ms < retryMinMS || ms > retryMinMS+retrySpreadMS {
			t.Fatalf("%d ms", ms)
		}
		seen[ms] = true
	}
	if len(seen) < 500 {
		t.Errorf("1000 clients come back at %d moments", len(seen))
	}
}

func TestFrameDebt(t *testing.T) {
	f := func(name string, now []uint32, size int, want ...uint32) {
		t.Helper()
		var d frameDebt
		for i, at := range now {
			wait, hopeless := d.charge(at, 2, size)
			if hopeless {
				wait = 9999
			}
			if wait != want[i] {
				t.Errorf("%s: frame %d waits %d ms, want %d", name, i, wait, want[i])
			}
		}
	}
	// 2 a second: 4 at once, 4 more are answered by errors, then it is over.
	f("all at once", []uint32{7, 7, 7, 7, 7, 7, 7, 7, 7}, 1, 0, 0, 0, 0, 500, 1000, 1500, 2000, 9999)
	f("at its rate", []uint32{8, 10, 12, 14, 16, 18, 20, 22, 24}, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	f("large ones count more", []uint32{0, 0, 0}, 2*frameUnitBytes, 0, 0, 1000)
	f("one unit", []uint32{0, 0, 0, 0, 0}, frameUnitBytes, 0, 0, 0, 0, 500)
	f("ticks wrap around", []uint32{1<<32 - 2, 1<<32 - 2, 1<<32 - 2, 1<<32 - 2, 0, 0}, 1, 0, 0, 0, 0, 0, 500)
}

func TestTooManyFramesAreAnsweredThenEndTheSession(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		e := newEdge(t, &fakeChat{}, func(c *Config) {
			c.Limits.FramesPerS = 10
		})
		c := connect(t, e, enc, "alice")
		const burst = 10 * burstSeconds
		for id := range uint64(burst - 1) { // connect counted too
			c.send(sendFrame(id+2, "fine"))
			if f := c.next(); f.Kind != godwit.KindSend {
				t.Fatalf("frame %d: %+v", id, f)
			}
		}
		for id := range uint64(burst) {
			c.send(&godwit.ClientFrame{ID: id + 100, Kind: godwit.KindAck})
			if f := c.next(); f.Kind != godwit.KindError || f.ID != id+100 || f.Error.Code != godwit.ErrRateLimited.Code || f.Error.RetryAfterMS == 0 {
				t.Fatalf("frame %d over the rate: %+v", id, f)
			}
		}
		c.send(&godwit.ClientFrame{})
		c.wantClose(godwit.CloseRateLimited)
		if wait := retryOf(t, c.reason); wait < retryMinMS {
			t.Errorf("retry after %d ms", wait)
		}
	})
}

func TestPingsBeforeTheTokenCountAsFrames(t *testing.T) {
	e := newEdge(t, &fakeChat{}, func(c *Config) {
		c.Limits.FramesPerS = 10
	})
	c := dial(t, e, godwit.EncodingJSON)
	for range 41 {
		c.message(ws.Text, []byte(`{}`))
	}
	c.wantClose(godwit.CloseRateLimited)
}
