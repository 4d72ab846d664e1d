package e2e

import (
	"bufio"
	be "encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// rawConn is a client without manners: what it writes is what the test says.
type rawConn struct {
	*net.TCPConn
	t      testing.TB
	reader *bufio.Reader
}

// dialFrom connects from an address of this machine; "" leaves it to the system.
func dialFrom(t testing.TB, s *server, from string) *rawConn {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := d.Dial("tcp", s.listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &rawConn{conn.(*net.TCPConn), t, bufio.NewReaderSize(conn, 64<<10)}
}

func dialServer(t testing.TB, s *server) *rawConn {
	t.Helper()
	return dialFrom(t, s, "")
}

// say writes and doesn't care: the server may have hung up already.
func (c *rawConn) say(b string) { _, _ = io.WriteString(c, b) }

// status reads an HTTP answer with its body.
func (c *rawConn) status() int {
	c.t.Helper()
	reply, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, reply.Body)
	return reply.StatusCode
}

// rest reads until the server ends the connection, and fails if it does not.
func (c *rawConn) rest() []byte {
	c.t.Helper()
	b, ends := c.toEnd()
	if !ends {
		c.t.Errorf("the server did not end the connection; it said %.200q", b)
	}
	return b
}

// toEnd reads until the server ends the connection; ends is false if it does not.
func (c *rawConn) toEnd() (b []byte, ends bool) {
	b, err := io.ReadAll(c.reader)
	ne := net.Error(nil)
	return b, !errors.As(err, &ne) || !ne.Timeout()
}

// upgradeLines is a good upgrade request without its last, empty line.
func upgradeLines(s *server, extra ...string) string {
	return "GET /v1/ws HTTP/1.1\r\nHost: " + s.listen + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + strings.Join(extra, "")
}

// upgraded opens a WebSocket by hand.
func upgraded(t testing.TB, s *server) *rawConn {
	t.Helper()
	c := dialServer(t, s)
	c.say(upgradeLines(s) + "\r\n")
	if status := c.status(); status != 101 {
		t.Fatalf("upgrade answered with %d", status)
	}
	return c
}

// session opens an authenticated JSON session by hand.
func session(t testing.TB, s *server, token, device string) *rawConn {
	t.Helper()
	c := upgraded(t, s)
	c.say(text(`{"id":1,"connect":{"token":"` + token + `","device":"` + device + `"}}`))
	if op, payload := c.frame(); op != 1 || !strings.Contains(string(payload), `"connect"`) {
		t.Fatalf("connect answered with opcode %d %q", op, payload)
	}
	return c
}

// wsFrame masks with zeros, so that the payload can be read in the test. The
// length is the one that is announced, which may be a lie.
func wsFrame(first byte, length int, payload string) string {
	b := []byte{first}
	switch {
	case length < 126:
		b = append(b, 0x80|byte(length))
	case length < 1<<16:
		b = be.BigEndian.AppendUint16(append(b, 0x80|126), uint16(length))
	default:
		b = be.BigEndian.AppendUint64(append(b, 0x80|127), uint64(length))
	}
	return string(append(append(b, 0, 0, 0, 0), payload...))
}

const (
	finText, partText, partMore, finMore, closing, ping = "\x81", "\x01", "\x00", "\x80", "\x88", "\x89"
)

func wsf(first, payload string) string { return wsFrame(first[0], len(payload), payload) }

func text(payload string) string { return wsf(finText, payload) }

// frame reads one frame of the server; opcode 0 with nothing: the end.
func (c *rawConn) frame() (opcode byte, payload []byte) {
	c.t.Helper()
	var head [10]byte
	if _, err := io.ReadFull(c.reader, head[:2]); err != nil {
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			c.t.Error("the server says nothing and does not end the connection")
		}
		return 0, nil
	}
	n := uint64(head[1] & 0x7F)
	switch n {
	case 126:
		_, _ = io.ReadFull(c.reader, head[2:4])
		n = uint64(be.BigEndian.Uint16(head[2:]))
	case 127:
		_, _ = io.ReadFull(c.reader, head[2:10])
		n = be.BigEndian.Uint64(head[2:])
	}
	payload = make([]byte, min(n, 32<<20))
	if _, err := io.ReadFull(c.reader, payload); err != nil {
		return 0, nil
	}
	return head[0] & 0x0F, payload
}

// closeCode reads up to the server's close frame; 0: it ended without one.
func (c *rawConn) closeCode() (code uint16, reason string) {
	c.t.Helper()
	for {
		op, payload := c.frame()
		switch {
		case op == 0:
			return 0, ""
		case op == 8 && len(payload) >= 2:
			return be.BigEndian.Uint16(payload), string(payload[2:])
		}
	}
}

// TestHostileHandshakes: each request gets its status, once, and no connection
// outlives a refusal.
func TestHostileHandshakes(t *testing.T) {
	s, bystanders := withControls(t)
	host, good := "Host: "+s.listen+"\r\n", upgradeLines(s)
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in the request", old)
		}
		return strings.Replace(good, old, new, 1) + "\r\n"
	}
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, c := range []struct {
		name, request string
		want          int
	}{
		{"short key", swap(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"), 400},
		{"long key", swap(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWFhYQ==\r\n"), 400},
		{"key that is no base64", swap(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q==\r\n"), 400},
		{"repeated key", swap(key, key+key), 400},
		{"no key", swap(key, ""), 400},
		{"HTTP/1.0", swap("HTTP/1.1", "HTTP/1.0"), 505},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"repeated Host", swap(host, host+host), 400},
		{"another Host beside", swap(host, host+"Host: evil.example\r\n"), 400},
		{"no Host", swap(host, ""), 400},
		{"bare LF", strings.ReplaceAll(good, "\r\n", "\n") + "\n", 400},
		{"bare CR", swap("Upgrade: websocket\r\n", "Upgrade: websocket\rX: y\r\n"), 400},
		{"obs-fold", swap("Upgrade: websocket\r\n", "Upgrade:\r\n websocket\r\n"), 400},
		{"leading space", swap(host, " "+host), 400},
		{"space before a colon", swap("Upgrade: websocket", "Upgrade : websocket"), 400},
		{"tab before a colon", swap("Host: ", "Host\t: "), 400},
		{"field without a colon", swap(host, host+"nonsense\r\n"), 400},
		{"field without a name", swap(host, host+": nonsense\r\n"), 400},
		{"NUL in a value", swap(host, host+"X: a\x00b\r\n"), 400},
		{"NUL in a name", swap(host, host+"X\x00: ab\r\n"), 400},
		{"NUL in the path", swap("/v1/ws", "/v1/ws\x00"), 400},
		{"control character in the path", swap("/v1/ws", "/v1/\x07ws"), 400},
		{"65 fields", swap(host, host+strings.Repeat("A: b\r\n", 64)), 431},
		{"a head of 9 KiB", swap(host, host+"X: "+strings.Repeat("y", 9<<10)+"\r\n"), 431},
		{"a megabyte of head", swap(host, host+strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 1024)), 431},
		{"a megabyte of path", "GET /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\n" + host + "\r\n", 414},
		{"a megabyte without a line", strings.Repeat("a", 1<<20), 400},
		{"lower-case method", swap("GET", "get"), 400},
		{"two spaces", swap("GET ", "GET  "), 400},
		{"no version", "GET /v1/ws\r\n" + host + "\r\n", 400},
		{"TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 500), 0},
		{"random bytes", "\xff\xfe\xfd\xfc\r\n\r\n", 400},
	} {
		conn := dialServer(t, s)
		go conn.say(c.request) // a megabyte may not fit; the answer comes before its end
		if got := conn.status(); got != c.want {
			t.Errorf("%s: answered with %d, want %d", c.name, got, c.want)
		}
		conn.CloseWrite()
		if rest := conn.rest(); len(rest) > 0 {
			t.Errorf("%s: after the answer came %.100q", c.name, rest)
		}
		bystanders.progress()
	}
}

// TestPathTricksReachNothing: neither the WebSocket nor a page is found by
// another way than its own.
func TestPathTricksReachNothing(t *testing.T) {
	s, bystanders := withControls(t)
	for path, want := range map[string]int{
		"/%2e%2e/v1/ws":                         400,
		"/..%2fv1/ws":                           400,
		"/v1/../v1/ws":                          400,
		"/v1/./ws":                              400,
		"//v1/ws":                               400,
		"/v1//ws":                               400,
		"/v1/%77s":                              400,
		"/v1/ws/":                               404,
		"/v1/ws%00":                             400,
		"/v1/ws%":                               400,
		"/v1/ws%zz":                             400,
		"/v1/ws;a=b":                            404,
		"/V1/WS":                                404,
		`/v1\ws`:                                400,
		"/v1/ws#top":                            400,
		"v1/ws":                                 400,
		"*":                                     400,
		"":                                      400,
		"http://" + s.listen + "/v1/ws":         400,
		"http://evil.example/v1/ws":             400,
		"//evil.example/v1/ws":                  400,
		"/%2e%2e/%2e%2e/%2e%2e/etc/passwd":      400,
		"/..%5c..%5cetc/passwd":                 400,
		"/static/..%2f..%2f..%2fetc%2fpasswd":   400,
		"/.%2e/":                                400,
		"/v1/ws?%00":                            101, // a query is the client's own affair
		"/v1/ws?a=/../":                         101,
		"/v1/ws?token=x":                        400,
		"/v1/ws?x=1&ACCESS_TOKEN=x":             400,
		"/" + strings.Repeat("../", 40) + "etc": 400,
	} {
		conn := dialServer(t, s)
		conn.say(strings.Replace(upgradeLines(s), "/v1/ws", path, 1) + "\r\n")
		if got := conn.status(); got != want {
			t.Errorf("%.80s: answered with %d, want %d", path, got, want)
		}
		conn.CloseWrite()
		_ = conn.rest()
	}
	bystanders.progress()
}

// TestNothingIsSmuggled: bytes that one server might read as a body and the next
// as a request are neither. Each gets one answer.
func TestNothingIsSmuggled(t *testing.T) {
	s, bystanders := withControls(t)
	host := "Host: " + s.listen + "\r\n"
	hidden := "GET /v1/ws HTTP/1.1\r\n" + host + "\r\n" // would be answered with 426
	for _, c := range []struct {
		name, head string
		want       int
	}{
		{"length and chunks", "POST / HTTP/1.1\r\n" + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"chunks and length", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400},
		{"two lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n", 400},
		{"a list of lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0, 5\r\n\r\n", 400},
		{"a signed length", "POST / HTTP/1.1\r\n" + host + "Content-Length: +5\r\n\r\n", 400},
		{"a negative length", "POST / HTTP/1.1\r\n" + host + "Content-Length: -5\r\n\r\n", 400},
		{"a hexadecimal length", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0x5\r\n\r\n", 400},
		{"a huge length", "POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n", 400},
		{"unknown coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n", 501},
		{"coding after chunks", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, identity\r\n\r\n", 400},
		{"two codings", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"a folded coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding:\r\n chunked\r\n\r\n", 400},
		{"a coding with a space", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n", 400},
		{"a coding in HTTP/1.0", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n", 400},
		{"a body of GET", "GET / HTTP/1.1\r\n" + host + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(hidden)), 200}, // read as a body, which no page wants
		{"a body of an upgrade", upgradeLines(s, fmt.Sprintf("Content-Length: %d\r\n", len(hidden))) + "\r\n", 400},
		{"chunks of an upgrade", upgradeLines(s, "Transfer-Encoding: chunked\r\n") + "\r\n", 400},
		{"a request behind a call without a token", "POST /v1/rpc HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\n{}", 401},
		{"a request behind a poll without a token", "GET /v1/poll?device=d HTTP/1.1\r\n" + host + "\r\n", 401},
		{"a call in chunks", "POST /v1/rpc HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 411},
	} {
		conn := dialServer(t, s)
		conn.say(c.head + hidden)
		_, _ = conn.reader.Peek(1) // an end of the input before the answer is an end of the connection
		conn.CloseWrite()
		all := string(conn.rest())
		if got := strings.Count(all, "HTTP/1.1 "); got != 1 || !strings.HasPrefix(all, fmt.Sprintf("HTTP/1.1 %d ", c.want)) {
			t.Errorf("%s: %d answers, want one with %d: %.300q", c.name, got, c.want, all)
		}
	}
	conn := dialServer(t, s) // what is no trick: two requests get two answers, in order
	conn.say("GET /nothing HTTP/1.1\r\n" + host + "\r\n" + hidden)
	if first, second := conn.status(), conn.status(); first != 404 || second != 426 {
		t.Errorf("a pipelined request: answered with %d and %d", first, second)
	}
	bystanders.progress()
}

// TestFramesBehindTheUpgradeAreProcessed: a client need not wait for the 101.
func TestFramesBehindTheUpgradeAreProcessed(t *testing.T) {
	s, bystanders := withControls(t)
	token := s.tokens("early")["early"]
	whole := upgradeLines(s) + "\r\n" + text(`{"id":1,"connect":{"token":"`+token+`"}}`) + wsf(ping, "hello") +
		text(`{"id":2,"send":{"to":"bob","cid":"c1","text":"one"}}`+"\n"+`{"id":3,"send":{"to":"bob","cid":"c2","text":"two"}}`)
	for _, piece := range []int{len(whole), 1, 7, 1000} {
		conn := dialServer(t, s)
		go func() {
			for rest := whole; rest != ""; rest = rest[min(piece, len(rest)):] {
				conn.say(rest[:min(piece, len(rest))])
			}
		}()
		if status := conn.status(); status != 101 {
			t.Fatalf("pieces of %d: status %d", piece, status)
		}
		waiting := []string{`1 {"id":1,"connect":`, "10 hello", `1 {"id":2,"send":{"state":"stored"`, `1 {"id":3,"send":{"state":"stored"`}
		for len(waiting) > 0 {
			op, payload := conn.frame()
			if op == 0 || op == 8 {
				t.Fatalf("pieces of %d: ended before %q: %q", piece, waiting, payload)
			}
			heard := fmt.Sprintf("%d %s", op, payload)
			waiting = slices.DeleteFunc(waiting, func(want string) bool { return strings.HasPrefix(heard, want) })
		}
		conn.say(wsf(closing, "\x03\xe8"))
		if code, _ := conn.closeCode(); code != 1000 {
			t.Errorf("pieces of %d: closed with %d", piece, code)
		}
		_ = conn.rest()
		bystanders.progress()
	}
	w, _ := connectWire(t, s.url(), godwit.EncodingJSON, token, "reader", godwit.Resume{})
	if entries := w.sync(0, 100).Entries; len(entries) != 2 {
		t.Errorf("%d messages were stored, want the two behind the upgrade", len(entries))
	}
}
