package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/godwit-im/godwit"
)

// soonClosed is a deadline that a test can wait for; it is tested to hold, not how
// long it is.
const soonClosed = "GODWIT_EDGE_CLOSE_TIMEOUT=1s"

// trickle writes a byte whenever the bystanders have got a message through, until
// the server has had enough.
func trickle(conn *rawConn, c *controls, b string) {
	go func() {
		for i := range len(b) {
			if _, err := conn.Write([]byte{b[i]}); err != nil || !c.another() {
				return
			}
		}
	}()
}

// TestSlowPeersAreCutOff: whoever takes his time at the door, byte by byte or not
// at all, is told so if that is possible, and the connection ends.
func TestSlowPeersAreCutOff(t *testing.T) {
	// Longer than an honest client needs for its own head and token on a slow machine.
	s, bystanders := withControls(t, "GODWIT_EDGE_HEAD_TIMEOUT=3s", "GODWIT_EDGE_TOKEN_TIMEOUT=3s", soonClosed)
	token := s.tokens("mallory")["mallory"]
	head := "GET /v1/ws HTTP/1.1\r\nHost: " + s.listen + "\r\n" + strings.Repeat("X: "+strings.Repeat("y", 100)+"\r\n", 60)
	connectFrame := text(`{"id":1,"connect":{"token":"` + token + `","caps":["` + strings.Repeat("x", 4000) + `"]}}`)
	var waiting sync.WaitGroup // all at once: they only wait
	status := func(name string, want int, start, slowly string) {
		t.Helper()
		conn := dialServer(t, s)
		conn.say(start)
		trickle(conn, bystanders, slowly)
		waiting.Go(func() {
			if got := conn.status(); got != want {
				t.Errorf("%s: answered with %d, want %d", name, got, want)
			}
			_ = conn.rest()
		})
	}
	code := func(name string, want uint16, slowly string) {
		t.Helper()
		conn := upgraded(t, s)
		trickle(conn, bystanders, slowly)
		waiting.Go(func() {
			if got, reason := conn.closeCode(); got != want {
				t.Errorf("%s: closed with %d %s, want %d", name, got, reason, want)
			}
			_ = conn.rest() // our side answers no close: the server ends it all the same
		})
	}
	status("says nothing", 0, "", "")
	status("half a request line", 408, "GET /v1", "")
	status("a head byte by byte", 408, "", head)
	status("a head without its end", 408, head, "")
	status("a body that never comes", 408, "POST /v1/rpc HTTP/1.1\r\nHost: "+s.listen+"\r\nContent-Length: 100\r\n\r\n", "")
	code("no connect frame", 4100, "")
	code("a connect frame byte by byte", 4100, connectFrame)
	code("pings instead of a token", 4100, strings.Repeat(wsf(ping, ""), 500))
	code("half a WebSocket header", 4100, "\x81")
	waiting.Wait()
	bystanders.progress()
}

// TestClosingEnds: an unanswered close ends in the end of the connection, and a
// client that has shut its half is cleaned up, whatever state it is in.
func TestClosingEnds(t *testing.T) {
	s, bystanders := withControls(t, soonClosed)
	token := s.tokens("mallory")["mallory"]
	devices := 0
	live := func() *rawConn {
		devices++
		return session(t, s, token, fmt.Sprint("web-", devices))
	}
	var waiting sync.WaitGroup
	for _, c := range []struct {
		name string
		open func() *rawConn
		say  string
		half bool // shuts its half of the connection instead of answering
	}{
		{"a close by the server, unanswered", live, text("nonsense"), false},
		{"a close by the server for a breach, unanswered", live, wsf("\x83", ""), false},
		{"a refused request, unread", func() *rawConn { return dialServer(t, s) }, "GET /nothing HTTP/1.1\r\nHost: " + s.listen + "\r\nConnection: close\r\n\r\n", false},
		{"half closed before a head", func() *rawConn { return dialServer(t, s) }, "", true},
		{"half closed in a head", func() *rawConn { return dialServer(t, s) }, "GET / HT", true},
		{"half closed before the token", func() *rawConn { return upgraded(t, s) }, "", true},
		{"half closed while live", live, "", true},
		{"half closed in a message", live, wsf(partText, "{"), true},
		{"half closed after a breach", live, wsf("\x83", ""), true},
		{"the client's close", live, wsf(closing, "\x03\xe8"), false},
	} {
		conn := c.open()
		conn.say(c.say)
		if c.half {
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		waiting.Go(func() {
			if _, ends := conn.toEnd(); !ends {
				t.Errorf("%s: the server does not end the connection", c.name)
			}
		})
		bystanders.progress()
	}
	waiting.Wait()
	bystanders.await("the connections that ended are still counted", func() bool {
		return metric(t, s.ops, "godwit_edge_connections") == 2 && metric(t, s.ops, "godwit_edge_sessions") == 2
	})
}

// TestASlowReaderIsClosedAndLosesNothing: it asks and asks and does not read; its
// queue is bounded, the close says why, and a resume brings what it missed.
func TestASlowReaderIsClosedAndLosesNothing(t *testing.T) {
	const messages, bodyBytes = 40, 15000
	// It reads up to the close once it is seen to be closed, however late that is.
	s, bystanders := withControls(t, "GODWIT_EDGE_CLOSE_TIMEOUT=1m", "GODWIT_EDGE_OUTBOUND=128KiB")
	tokens := s.tokens("mallory", "friend")
	slow := session(t, s, tokens["mallory"], "slow")
	_ = slow.SetReadBuffer(64 << 10)
	friend, _ := connectWire(t, s.url(), godwit.EncodingProto, tokens["friend"], "f", godwit.Resume{})
	for i := range messages {
		if reply := friend.send("mallory", fmt.Sprint("c", i), strings.Repeat("m", bodyBytes)); reply.Kind != godwit.KindSend {
			t.Fatalf("%+v", reply.Error)
		}
	}
	var asking sync.WaitGroup
	asking.Go(func() { // 600 KB each: more than the sockets hold and the bound
		for id := range 64 {
			slow.say(text(fmt.Sprintf(`{"id":%d,"sync":{"since":0}}`, id+2)))
		}
	})
	bystanders.await("the slow reader is not closed", func() bool {
		return strings.Contains(get(t, "http://"+s.ops+"/metrics"), `godwit_edge_closes_total{code="4202"} 1`)
	})
	asking.Wait()
	code, reason := slow.closeCode()
	if code != 4202 || !strings.Contains(reason, "retry_after_ms") {
		t.Errorf("closed with %d %s", code, reason)
	}
	slow.say(wsf(closing, ""))
	_ = slow.rest()
	again, reply := connectWire(t, s.url(), godwit.EncodingJSON, tokens["mallory"], "slow", godwit.Resume{Set: true, Epoch: []byte(""), Seq: 0})
	if !reply.Resumed || reply.Missed != messages {
		t.Fatalf("%+v", reply)
	}
	again.sync(0, 1) // what was replayed comes before or is on its way
	for len(again.events) < messages {
		f, ok := <-again.frames
		if !ok {
			t.Fatal("the connection ended")
		}
		if f.Kind == godwit.KindEvent {
			again.events = append(again.events, f.Event)
		}
	}
	for i, e := range again.events {
		if e.Seq != godwit.Seq(i+1) || len(e.Msg.Body) != bodyBytes {
			t.Errorf("event %d has sequence %d and %d bytes", i, e.Seq, len(e.Msg.Body))
		}
	}
}

// TestMemoryIsBoundedWhenNobodyReads: many sessions ask for much and read nothing,
// each within its own bound and together far beyond what the process may use. The
// longest queues go, and whoever reads is not disturbed.
func TestMemoryIsBoundedWhenNobodyReads(t *testing.T) {
	const messages, bodyBytes, users, devices, budget = 40, 15000, 6, 30, 160 << 20
	s, bystanders := withControls(t, soonClosed, fmt.Sprint("GODWIT_EDGE_MEMORY=", budget), "GODWIT_EDGE_OUTBOUND=4MiB")
	var names []string
	for i := range users {
		names = append(names, fmt.Sprint("mallory-", i))
	}
	tokens := s.tokens(append(names, "friend")...)
	friend, _ := connectWire(t, s.url(), godwit.EncodingProto, tokens["friend"], "f", godwit.Resume{})
	for i := range users * messages {
		if reply := friend.send(names[i%users], fmt.Sprint("c", i), strings.Repeat("m", bodyBytes)); reply.Kind != godwit.KindSend {
			t.Fatalf("%+v", reply.Error)
		}
		if n := len(friend.events); n > 0 && n%20 == 0 {
			friend.writeFrame(&godwit.ClientFrame{Kind: godwit.KindAck, Ack: godwit.Ack{Seq: friend.events[n-1].Seq}})
		}
	}
	var conns []*rawConn
	for i := range users * devices {
		conn := session(t, s, tokens[names[i%users]], fmt.Sprint("d", i))
		_ = conn.SetReadBuffer(4 << 10)
		conns = append(conns, conn)
	}
	var asks strings.Builder
	for id := range 9 { // 600 KB each: beyond what the sockets hold, 3 MB wait
		asks.WriteString(text(fmt.Sprintf(`{"id":%d,"sync":{"since":0}}`, id+2)))
	}
	for _, conn := range conns {
		conn.say(asks.String())
		bystanders.progress()
	}
	bystanders.await("no slow reader had to go", func() bool { return metric(t, s.ops, "godwit_edge_shed_total") > 0 })
	bystanders.await("the memory is not given back", func() bool { return metric(t, s.ops, "godwit_edge_memory_used_bytes") < budget })
	peak := peakResident(t, s.cmd.Process.Pid)
	t.Logf("%v of %d sessions shed, at most %d MiB resident", metric(t, s.ops, "godwit_edge_shed_total"), len(conns), peak>>20)
	if peak > budget*2 { // with garbage; without the bound it is 390 MiB
		t.Errorf("%d MiB were resident, the budget is %d MiB", peak>>20, budget>>20)
	}
}

// TestStrangersCannotFillTheMemory: many addresses, each within its bound, begin
// long messages before they show a token and never end them.
func TestStrangersCannotFillTheMemory(t *testing.T) {
	const sockets, addresses, budget = 1600, 8, 96 << 20
	s, bystanders := withControls(t, fmt.Sprint("GODWIT_EDGE_MEMORY=", budget), "GODWIT_EDGE_TOKEN_TIMEOUT=1m")
	token := s.tokens("honest")["honest"]
	var conns []*rawConn
	for i := range sockets {
		conn := dialFrom(t, s, fmt.Sprint("127.0.2.", 1+i%addresses))
		conn.say(upgradeLines(s) + "\r\n")
		if status := conn.status(); status != 101 {
			t.Fatalf("socket %d: status %d", i, status)
		}
		conns = append(conns, conn)
	}
	half := wsFrame(partText[0], 60000, strings.Repeat("x", 59000))
	for i, conn := range conns {
		conn.say(half)
		if i%100 == 0 {
			bystanders.progress()
		}
	}
	bystanders.await("no stranger had to go", func() bool { return metric(t, s.ops, "godwit_edge_shed_total") > 0 })
	bystanders.await("nobody is let in any more", func() bool {
		conn := dialServer(t, s)
		defer conn.Close()
		conn.say(upgradeLines(s, "Authorization: Bearer "+token+"\r\n") + "\r\n")
		return conn.status() == 101
	})
	left := metric(t, s.ops, "godwit_edge_connections")
	peak := peakResident(t, s.cmd.Process.Pid)
	t.Logf("%v of %d sockets are left, at most %d MiB resident", left-2, // the bystanders
		sockets, peak>>20)
	if peak > budget*2 {
		t.Errorf("%d MiB were resident, the budget is %d MiB", peak>>20, budget>>20)
	}
}
