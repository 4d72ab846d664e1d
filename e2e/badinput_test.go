package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/lxzan/gws"
)

// A bystander's session must not notice what the hostile clients of these
// tests do; every test ends by asking it.
func withBystander(t *testing.T) (s *server, tokens map[string]string, stillServed func()) {
	t.Helper()
	s = newServer(t, "")
	s.start()
	tokens = s.tokens("alice", "bob", "mallory")
	w, _ := connectWire(t, s.url(), godwit.EncodingProto, tokens["bob"], "phone", godwit.Resume{})
	n := 0
	return s, tokens, func() {
		t.Helper()
		n++
		if reply := w.send("alice", fmt.Sprint("alive-", n), "still here"); reply.Kind != godwit.KindSend {
			t.Fatalf("the bystander is no longer served: %+v", reply.Error)
		}
	}
}

func TestEachBadRequestGetsItsError(t *testing.T) {
	s, tokens, stillServed := withBystander(t)
	w, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens["mallory"], "web", godwit.Resume{})
	big := strings.Repeat("x", 17000)
	for _, c := range []struct{ frame, want string }{
		{`"send":{"to":"bob","text":"no cid"}`, "cid.invalid"},
		{`"send":{"to":"bob","cid":"with space","text":"hi"}`, "cid.invalid"},
		{`"send":{"to":"bob","cid":"c1"}`, "body.invalid"},
		{`"send":{"to":"bob","cid":"c1","text":"a","data":"YQ=="}`, "body.invalid"},
		{`"send":{"to":"bob","cid":"c1","text":"` + big + `"}`, "body.too_large"},
		{`"send":{"to":"b/b","cid":"c1","text":"hi"}`, "conversation.invalid"},
		{`"send":{"to":"","cid":"c1","text":"hi"}`, "frame.invalid"},
		{`"send":{"to":"` + big[:65] + `","cid":"c1","text":"hi"}`, "conversation.invalid"},
		{`"send":{"to":"bob","cid":"c1","text":"hi","time":1}`, "message.too_old"},
		{`"send":{"group":"g42","cid":"c1","text":"hi"}`, "conversation.not_member"},
		{`"sync":{"since":9007199254740991}`, "cursor.invalid"},
		{`"history":{"conv":"g:42"}`, "conversation.not_member"},
		{`"history":{"conv":"x:42"}`, "conversation.invalid"},
		{`"history":{"conv":"u:bob","before":3,"after":1}`, "frame.invalid"},
		{`"conversations":{"next":"garbage"}`, "cursor.invalid"},
		{`"presence":{"get":["a b"]}`, "user.invalid"},
		{`"fly":{}`, "frame.unknown"},
		{`"send":{"to":"bob","cid":"c1","text":"hi"},"sync":{}`, "frame.invalid"},
	} {
		w.nextID++
		w.write(gws.OpcodeText, fmt.Appendf(nil, `{"id":%d,%s}`, w.nextID, c.frame))
		reply, ok := w.next()
		switch {
		case !ok:
			t.Fatalf("%.80s: closed instead of an error", c.frame)
		case reply.Kind != godwit.KindError || reply.ID != w.nextID:
			t.Errorf("%.80s: answered %+v", c.frame, reply)
		case reply.Error.Code != c.want:
			t.Errorf("%.80s: error %s, want %s", c.frame, reply.Error.Code, c.want)
		}
	}
	stillServed()
}

func TestEachBrokenFrameGetsItsCloseCode(t *testing.T) {
	s, tokens, stillServed := withBystander(t)
	open := func(encoding godwit.Encoding) *wire {
		w, _ := connectWire(t, s.url(), encoding, tokens["mallory"], "", godwit.Resume{})
		return w
	}
	fresh := func(encoding godwit.Encoding) *wire { return dialWire(t, s.url(), encoding, nil) }
	raw := func(bytes string) func(*wire) {
		return func(w *wire) { _, _ = w.conn.NetConn().Write([]byte(bytes)) }
	}
	text := func(payload string) func(*wire) {
		return func(w *wire) { w.write(gws.OpcodeText, []byte(payload)) }
	}
	for _, c := range []struct {
		name string
		open func(godwit.Encoding) *wire
		enc  godwit.Encoding
		do   func(*wire)
		want uint16
	}{
		{"unmasked frame", open, godwit.EncodingJSON, raw("\x81\x02hi"), 1002},
		{"reserved bit", open, godwit.EncodingJSON, raw("\xc1\x82\x00\x00\x00\x00hi"), 1002},
		{"reserved opcode", open, godwit.EncodingJSON, raw("\x83\x82\x00\x00\x00\x00hi"), 1002},
		{"fragmented ping", open, godwit.EncodingJSON, raw("\x09\x80\x00\x00\x00\x00"), 1002},
		{"long ping", open, godwit.EncodingJSON, raw("\x89\xfe\x00\x7e\x00\x00\x00\x00"), 1002},
		{"stray continuation", open, godwit.EncodingJSON, raw("\x80\x80\x00\x00\x00\x00"), 1002},
		{"huge length", open, godwit.EncodingJSON, raw("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"), 1009},
		{"top bit of length", open, godwit.EncodingJSON, raw("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"), 1002},
		{"over limits.frame", open, godwit.EncodingJSON, raw("\x81\xff\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00"), 1009},
		{"invalid UTF-8 text", open, godwit.EncodingJSON, raw("\x81\x82\x00\x00\x00\x00\xff\xfe"), 1007},
		{"broken JSON", open, godwit.EncodingJSON, text(`{"id":1,`), uint16(godwit.CloseProtocol)},
		{"deep JSON", open, godwit.EncodingJSON, text(strings.Repeat(`{"a":`, 1000)), uint16(godwit.CloseProtocol)},
		{"truncated protobuf", open, godwit.EncodingProto, func(w *wire) { w.write(gws.OpcodeBinary, []byte{200, 1, 2}) }, uint16(godwit.CloseProtocol)},
		{"first frame is no connect", fresh, godwit.EncodingJSON, text(`{"id":1,"sync":{}}`), uint16(godwit.CloseNoToken)},
		{"garbage token", fresh, godwit.EncodingJSON, text(`{"id":1,"connect":{"token":"a.b.c"}}`), uint16(godwit.CloseTokenInvalid)},
		{"huge token", fresh, godwit.EncodingJSON, text(`{"id":1,"connect":{"token":"` + strings.Repeat("a", 60000) + `"}}`), uint16(godwit.CloseTokenInvalid)},
	} {
		w := c.open(c.enc)
		c.do(w)
		select {
		case closed := <-w.closed:
			if closed == nil || closed.Code != c.want {
				t.Errorf("%s: closed with %v, want %d", c.name, closed, c.want)
			}
		case <-time.After(patience):
			t.Errorf("%s: not closed", c.name)
		}
	}
	stillServed()
}

func TestEachBadUpgradeGetsItsStatus(t *testing.T) {
	s, tokens, stillServed := withBystander(t)
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	upgrade := "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	host := "Host: " + s.listen + "\r\n"
	for _, c := range []struct {
		name, request string
		want          int
	}{
		{"not HTTP", "HELLO\r\n\r\n", 400},
		{"no host", "GET /v1/ws HTTP/1.1\r\n" + upgrade + key + "\r\n", 400},
		{"bare LF", "GET /v1/ws HTTP/1.1\n" + host + "\n", 400},
		{"obs-fold", "GET /v1/ws HTTP/1.1\r\n" + host + "A: b\r\n c\r\n" + upgrade + key + "\r\n", 400},
		{"no upgrade", "GET /v1/ws HTTP/1.1\r\n" + host + "\r\n", 426},
		{"version 8", "GET /v1/ws HTTP/1.1\r\n" + host + upgrade + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n", 426},
		{"short key", "GET /v1/ws HTTP/1.1\r\n" + host + upgrade + "Sec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n\r\n", 400},
		{"POST", "POST /v1/ws HTTP/1.1\r\n" + host + "Content-Length: 0\r\n" + upgrade + key + "\r\n", 405},
		{"foreign origin", "GET /v1/ws HTTP/1.1\r\n" + host + "Origin: http://evil.example\r\n" + upgrade + key + "\r\n", 403},
		{"token in the query", "GET /v1/ws?token=" + tokens["alice"] + " HTTP/1.1\r\n" + host + upgrade + key + "\r\n", 400},
		{"unknown path", "GET /v2/ws HTTP/1.1\r\n" + host + "\r\n", 404},
		{"path trick", "GET /%2e%2e/etc/passwd HTTP/1.1\r\n" + host + "\r\n", 400},
		{"smuggling", "GET / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"endless head", "GET / HTTP/1.1\r\n" + host + "A: " + strings.Repeat("b", 64<<10), 431},
	} {
		conn, err := net.Dial("tcp", s.listen)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		go func() { _, _ = conn.Write([]byte(c.request)) }()
		reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: no HTTP answer: %v", c.name, err)
		} else if reply.StatusCode != c.want {
			t.Errorf("%s: status %d, want %d", c.name, reply.StatusCode, c.want)
		}
		conn.Close()
	}
	stillServed()
}

func TestTheSameDeviceReplacesItsOlderConnection(t *testing.T) {
	s, tokens, stillServed := withBystander(t)
	older, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens["alice"], "web-1", godwit.Resume{})
	connectWire(t, s.url(), godwit.EncodingJSON, tokens["alice"], "web-1", godwit.Resume{})
	if closed := <-older.closed; closed == nil || closed.Code != uint16(godwit.CloseReplaced) {
		t.Fatalf("closed with %v, want %d", closed, godwit.CloseReplaced)
	}
	stillServed()
}
