package e2e

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// TestHostileFrames: each breach ends its own session with its code, and the
// connection ends after it.
func TestHostileFrames(t *testing.T) {
	s, bystanders := withControls(t)
	token := s.tokens("mallory")["mallory"]
	live := func() *rawConn { return session(t, s, token, "web") }
	early := func() *rawConn { return upgraded(t, s) }
	const euro = "\xe2\x82\xac"
	for _, c := range []struct {
		name string
		open func() *rawConn
		say  string
		want uint16
	}{
		{"bad UTF-8 in the first bytes of a long message", live, wsFrame(0x81, 60000, "\xc0\xaf"), 1007},
		{"bad UTF-8 before the last fragment", live, wsf(partText, "ok") + wsFrame(0x00, 60000, "\xff"), 1007},
		{"a character split by fragments is fine, its end is not", live, wsf(partText, euro[:1]) + wsf(partMore, euro[1:2]) + wsFrame(0x00, 100, "x"), 1007},
		{"a surrogate", live, wsFrame(0x81, 100, "\xed\xa0\x80"), 1007},
		{"beyond U+10FFFF", live, wsFrame(0x81, 100, "\xf4\x90"), 1007},
		{"a character cut by the end", live, wsf(finText, euro[:2]), 1007},
		{"a length beyond limits.frame, from the header alone", live, wsFrame(0x81, 65537, ""), 1009},
		{"a gigabyte announced", live, wsFrame(0x81, 1<<30, ""), 1009},
		{"the largest length", live, "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 1009},
		{"the top bit of the length", live, "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1002},
		{"fragments that exceed limits.frame together", live, wsf(partText, strings.Repeat("a", 60000)) + wsFrame(0x00, 6000, ""), 1009},
		{"a length longer than it need be", live, "\x81\xfe\x00\x05\x00\x00\x00\x00hello", 1002},
		{"no mask", live, "\x81\x05hello", 1002},
		{"RSV1 without an extension", live, wsf("\xc1", "hello"), 1002},
		{"a reserved opcode", live, wsf("\x83", ""), 1002},
		{"a reserved control opcode", live, wsf("\x8b", ""), 1002},
		{"a fragmented ping", live, wsf("\x09", ""), 1002},
		{"a long ping", live, wsf(ping, strings.Repeat("p", 126)), 1002},
		{"a continuation of nothing", live, wsf(finMore, "x"), 1002},
		{"a message within a message", live, wsf(partText, "a") + wsf(finText, "b"), 1002},
		{"a close of one byte", live, wsf(closing, "\x03"), 1002},
		{"a close with a reserved code", live, wsf(closing, "\x03\xed"), 1002},
		{"a close with a bad reason", live, wsf(closing, "\x03\xe8\xff"), 1007},
		{"a binary message on a JSON session", live, wsf("\x82", "x"), 1003},
		{"deep JSON", live, text(strings.Repeat(`{"a":`, 10000)), 4000},
		{"JSON without an end", live, text(`{"id":1,"send":{"to":"b`), 4000},
		{"a second connect", live, text(`{"id":2,"connect":{"token":"` + token + `"}}`), 4000},
		{"no connect first", early, text(`{"id":1,"sync":{}}`), 4100},
		{"an empty token", early, text(`{"id":1,"connect":{"token":""}}`), 4100},
		{"a token of nobody", early, text(`{"id":1,"connect":{"token":"e30.e30.e30"}}`), 4101},
		{"a huge token", early, text(`{"id":1,"connect":{"token":"` + strings.Repeat("a", 60000) + `"}}`), 4101},
		{"a bad device", early, text(`{"id":1,"connect":{"token":"` + token + `","device":"a b"}}`), 4000},
	} {
		conn := c.open()
		conn.say(c.say)
		if code, reason := conn.closeCode(); code != c.want {
			t.Errorf("%s: closed with %d %s, want %d", c.name, code, reason, c.want)
		}
		conn.say(wsf(closing, ""))
		_ = conn.rest()
		bystanders.progress()
	}
}

// endless writes a piece again and again, a million times and more, until the
// server cuts the connection.
func endless(conn *rawConn, piece string) (cut <-chan bool) {
	done := make(chan bool, 1)
	go func() {
		b := strings.Repeat(piece, 64<<10/len(piece)+1)
		for range floodBytes / len(b) {
			if _, err := io.WriteString(conn, b); err != nil {
				done <- true
				return
			}
		}
		done <- false
	}()
	return done
}

// floodBytes is more than ten million empty frames, and more than a server that
// has closed a session takes from it before it cuts the connection.
const floodBytes = 96 << 20

// TestFloodsAreCutOff: what costs the sender nothing must not cost the server,
// and none may go on for a million times.
func TestFloodsAreCutOff(t *testing.T) {
	s, bystanders := withControls(t)
	token := s.tokens("mallory")["mallory"]
	for _, c := range []struct {
		name, start, piece string
		want               uint16
	}{
		{"empty continuation frames", wsf(partText, "{"), wsf(partMore, ""), 1008},
		{"continuation frames of one byte", wsf(partText, `{"a":"`), wsf(partMore, "a"), 1008},
		{"pings", "", wsf(ping, "p"), 1008},
		{"pongs", "", wsf("\x8a", ""), 1008},
		{"pings between fragments", wsf(partText, "{"), wsf(ping, ""), 1008},
		{"protocol pings", "", text("{}"), 4201},
		{"unknown frames", "", text(`{"id":7,"fly":{}}`), 4201},
		{"acks", "", text(`{"ack":{"seq":0}}`), 4201},
		{"many frames in one message", "", text(strings.Repeat("{}\n", 1000)), 4201},
		{"reads", "", text(`{"id":7,"sync":{"since":0}}`), 4201},
		{"sends without a recipient", "", text(`{"id":7,"send":{"to":"","cid":"c","text":"x"}}`), 4201},
	} {
		conn := session(t, s, token, "web")
		conn.say(c.start)
		cut := endless(conn, c.piece)
		code, reason := conn.closeCode()
		if code != c.want {
			t.Errorf("%s: closed with %d %s, want %d", c.name, code, reason, c.want)
		}
		if c.want == 4201 && !strings.Contains(reason, "retry_after_ms") {
			t.Errorf("%s: no time to come back in %s", c.name, reason)
		}
		if !<-cut {
			t.Errorf("%s: the server read them all", c.name)
		}
		bystanders.progress()
	}
	for name, head := range map[string]string{"empty lines": "\r\n", "one header": "", "bytes": "\x00"} {
		conn := dialServer(t, s)
		if head == "" {
			conn.say("GET / HTTP/1.1\r\n")
			head = "A: b\r\n"
		}
		cut := endless(conn, head)
		if status := conn.status(); status != 400 && status != 431 {
			t.Errorf("%s: answered with %d", name, status)
		}
		if !<-cut {
			t.Errorf("%s: the server read them all", name)
		}
		bystanders.progress()
	}
}

// TestSocketsOfOneAddressAreBounded: those without a token; another address, and
// those inside, don't notice.
func TestSocketsOfOneAddressAreBounded(t *testing.T) {
	const most = 20
	// The time for a token is longer than the test takes to count, however slow it is.
	s, bystanders := withControls(t, fmt.Sprint("GODWIT_EDGE_PER_SOURCE=", most), "GODWIT_EDGE_TOKEN_TIMEOUT=1m")
	token := s.tokens("mallory")["mallory"]
	const attacker = "127.0.0.66"
	served, refused := 0, 0
	var held []*rawConn
	for range 5 * most {
		conn := dialFrom(t, s, attacker)
		conn.say(upgradeLines(s) + "\r\n")
		switch status := conn.status(); status {
		case 101:
			served++
			held = append(held, conn)
		case 429, 0: // closed before it was read, the answer may be lost to a reset
			refused++
		default:
			t.Fatalf("status %d", status)
		}
	}
	if served != most || refused != 4*most {
		t.Errorf("%d served, %d refused, want %d and %d", served, refused, most, 4*most)
	}
	if metric(t, s.ops, "godwit_edge_newcomers") < most {
		t.Error("they are not counted")
	}
	bystanders.progress()
	connectWire(t, s.url(), godwit.EncodingJSON, token, "elsewhere", godwit.Resume{})
	for i, conn := range held { // with a token they are sessions as any
		conn.say(text(fmt.Sprintf(`{"id":1,"connect":{"token":"%s","device":"d%d"}}`, token, i)))
		if op, payload := conn.frame(); op != 1 {
			t.Fatalf("opcode %d %s", op, payload)
		}
	}
	again := dialFrom(t, s, attacker)
	again.say(upgradeLines(s) + "\r\n")
	if status := again.status(); status != 101 {
		t.Errorf("refused with %d though all others have shown a token", status)
	}
	bystanders.progress()
}

// TestTheOldestOfTooManySessionsGivesWay, and the code tells it to stay away:
// otherwise two clients would throw each other out for ever.
func TestTheOldestOfTooManySessionsGivesWay(t *testing.T) {
	s, bystanders := withControls(t, "GODWIT_LIMITS_SESSIONS=3")
	token := s.tokens("mallory")["mallory"]
	var conns []*wire
	for i := range 5 {
		w, reply := connectWire(t, s.url(), godwit.EncodingProto, token, fmt.Sprint("device", i), godwit.Resume{})
		if reply.Limits.Sessions != 3 {
			t.Fatalf("limits.sessions is %d", reply.Limits.Sessions)
		}
		conns = append(conns, w)
	}
	for i, w := range conns[:2] {
		if closed := <-w.closed; closed == nil || closed.Code != uint16(godwit.CloseSessions) || !strings.Contains(string(closed.Reason), "too_many_sessions") {
			t.Errorf("device %d: closed with %v", i, closed)
		}
	}
	for i, w := range conns[2:] {
		if reply := w.send("bob", fmt.Sprint("c", i), "still here"); reply.Kind != godwit.KindSend {
			t.Errorf("device %d: %+v", i+2, reply.Error)
		}
	}
	bystanders.progress()
}

// TestAUsersSendsAreBoundedOverAllSessions, and nobody else's: two seconds' worth
// at once, and then no more than the rate.
func TestAUsersSendsAreBoundedOverAllSessions(t *testing.T) {
	const perS, devices, each = 400, 4, 1000
	s, bystanders := withControls(t, fmt.Sprint("GODWIT_LIMITS_USER_SEND_PER_S=", perS), fmt.Sprint("GODWIT_LIMITS_INFLIGHT=", each))
	token := s.tokens("mallory")["mallory"]
	stored, refused := 0, 0
	for device := range devices {
		conn := session(t, s, token, fmt.Sprint("d", device))
		go func() {
			for first := 0; first < each; first += 100 {
				var b strings.Builder
				for id := first + 1; id <= first+100; id++ {
					fmt.Fprintf(&b, `{"id":%d,"send":{"to":"bob","cid":"c-%d-%d","text":"x"}}`+"\n", id, device, id)
				}
				conn.say(text(b.String()))
			}
			conn.say(text(`{"ack":{"seq":0}}`))
		}()
		for answers := 0; answers < each; {
			op, payload := conn.frame()
			if op != 1 {
				t.Fatalf("opcode %d %s", op, payload)
			}
			switch {
			case strings.Contains(string(payload), `"code":"rate.limited"`):
				refused++
				answers++
			case strings.Contains(string(payload), `"stored"`):
				stored++
				answers++
			case !strings.Contains(string(payload), `"ev"`):
				t.Fatalf("%s", payload)
			}
		}
	}
	if stored < 2*perS || refused == 0 {
		t.Errorf("%d sends of %d devices stored, %d refused", stored, devices, refused)
	}
	bystanders.progress()
}
