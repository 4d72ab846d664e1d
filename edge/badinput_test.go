package edge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

// TestBadFramesBeforeConnect: whatever comes in place of a good connect frame
// gets its error and its close code.
func TestBadFramesBeforeConnect(t *testing.T) {
	chat := &fakeChat{}
	e := newEdge(t, chat, nil)
	f := func(name, frame string, want *godwit.Error, code godwit.CloseCode) {
		t.Run(name, func(t *testing.T) {
			c := dial(t, e, godwit.EncodingJSON)
			c.text(frame)
			if f := c.next(); f.Kind != godwit.KindError || f.Error.Code != want.Code || f.Error.Num != want.Num || f.Error.Message == "" {
				t.Fatalf("%+v, want error %s", f, want.Code)
			}
			c.wantClose(code)
		})
	}
	f("not JSON", "hello", godwit.ErrFrameMalformed, godwit.CloseProtocol)
	f("half JSON", `{"id":1,"connect":{"token":"user:a`, godwit.ErrFrameMalformed, godwit.CloseProtocol)
	f("two bodies", `{"connect":{"token":"user:a"},"ack":{"seq":1}}`, godwit.ErrFrameInvalid, godwit.CloseProtocol)
	f("unknown body", `{"id":1,"hello":{}}`, godwit.ErrFrameUnknown, godwit.CloseProtocol)
	f("request first", `{"id":1,"sync":{"since":0}}`, godwit.ErrUnauthorized, godwit.CloseNoToken)
	f("no token", `{"id":1,"connect":{"device":"d"}}`, godwit.ErrUnauthorized, godwit.CloseNoToken)
	f("bad token", `{"id":1,"connect":{"token":"nonsense"}}`, godwit.ErrUnauthorized, godwit.CloseTokenInvalid)
	f("huge token", `{"id":1,"connect":{"token":"`+strings.Repeat("x", tokenBytesMax+1)+`"}}`, godwit.ErrUnauthorized, godwit.CloseTokenInvalid)
	f("bad device", `{"id":1,"connect":{"token":"user:a","device":"my phone"}}`, godwit.ErrFrameInvalid, godwit.CloseProtocol)
	f("long device", `{"id":1,"connect":{"token":"user:a","device":"`+strings.Repeat("d", 65)+`"}}`, godwit.ErrFrameInvalid, godwit.CloseProtocol)
	f("long epoch", `{"id":1,"connect":{"token":"user:a","resume":{"epoch":"`+strings.Repeat("e", 65)+`","seq":1}}}`, godwit.ErrFrameInvalid, godwit.CloseProtocol)
	f("negative seq", `{"id":1,"connect":{"token":"user:a","resume":{"epoch":"e","seq":-1}}}`, godwit.ErrFrameInvalid, godwit.CloseProtocol)
	if n := chat.connects.Load(); n != 0 {
		t.Errorf("chat heard of %d of them", n)
	}
}

// TestBadFramesInALiveSession: a broken encoding ends the session, anything
// else is answered under its id and the session lives on.
func TestBadFramesInALiveSession(t *testing.T) {
	e := newEdge(t, &fakeChat{}, nil)
	f := func(name, frame string, id uint64, want *godwit.Error, code godwit.CloseCode) {
		t.Run(name, func(t *testing.T) {
			c := connect(t, e, godwit.EncodingJSON, "alice")
			c.text(frame)
			if f := c.next(); f.Kind != godwit.KindError || f.ID != id || f.Error.Code != want.Code {
				t.Fatalf("%+v, want error %s for %d", f, want.Code, id)
			}
			if code != 0 {
				c.wantClose(code)
				return
			}
			c.send(sendFrame(99, "still here"))
			if f := c.next(); f.ID != 99 {
				t.Fatalf("%+v", f)
			}
		})
	}
	f("not JSON", "{]", 0, godwit.ErrFrameMalformed, godwit.CloseProtocol)
	f("invalid", `{"id":5,"send":{"to":"bob","cid":"c","text":"x"},"ack":{"seq":1}}`, 5, godwit.ErrFrameInvalid, 0)
	f("unknown", `{"id":5,"dance":{}}`, 5, godwit.ErrFrameUnknown, 0)
	f("connect again", `{"id":5,"connect":{"token":"user:alice"}}`, 5, godwit.ErrFrameInvalid, godwit.CloseProtocol)
	f("ack of the future", `{"id":5,"ack":{"seq":1000}}`, 5, godwit.ErrFrameInvalid, 0)
	f("seq over 2^53", `{"id":5,"sync":{"since":9007199254740993}}`, 5, godwit.ErrFrameInvalid, 0)
	t.Run("protobuf cut short", func(t *testing.T) {
		c := connect(t, e, godwit.EncodingProto, "alice")
		c.message(ws.Binary, []byte{0x05, 0x08})
		if f := c.next(); f.Error.Code != godwit.ErrFrameMalformed.Code {
			t.Fatalf("%+v", f)
		}
		c.wantClose(godwit.CloseProtocol)
	})
	t.Run("what follows a broken frame is not read", func(t *testing.T) {
		c := connect(t, e, godwit.EncodingJSON, "alice")
		c.text("{]\n" + `{"id":7,"send":{"to":"bob","cid":"c","text":"x"}}`)
		_ = c.next()
		c.wantClose(godwit.CloseProtocol)
	})
}

// TestBreachesOfRFC6455 get the codes of the RFC.
func TestBreachesOfRFC6455(t *testing.T) {
	e := newEdge(t, &fakeChat{}, func(c *Config) { c.Limits.Frame, c.Limits.Body = 1024, 512 })
	f := func(name string, code ws.CloseCode, enc godwit.Encoding, wire ...byte) {
		t.Run(name, func(t *testing.T) {
			c := connect(t, e, enc, "alice")
			c.raw(wire)
			c.wantClose(godwit.CloseCode(code))
		})
	}
	masked := func(fin bool, op ws.Opcode, payload string) []byte {
		return ws.AppendMasked(nil, fin, op, 9, []byte(payload))
	}
	json, proto := godwit.EncodingJSON, godwit.EncodingProto
	f("unmasked", ws.CodeProtocol, json, 0x81, 0x02, '{', '}')
	f("reserved bit", ws.CodeProtocol, json, 0xC1, 0x80, 0, 0, 0, 0)
	f("reserved opcode", ws.CodeProtocol, json, 0x83, 0x80, 0, 0, 0, 0)
	f("long control", ws.CodeProtocol, json, 0x89, 0xFE, 0, 126)
	f("continuation of nothing", ws.CodeProtocol, json, masked(true, ws.Continuation, "x")...)
	f("interleaved", ws.CodeProtocol, json, append(masked(false, ws.Text, "{"), masked(true, ws.Text, "}")...)...)
	f("text not UTF-8", ws.CodeInvalidPayload, json, masked(true, ws.Text, "\xff")...)
	f("binary to JSON", ws.CodeUnsupported, json, masked(true, ws.Binary, "{}")...)
	f("text to Protobuf", ws.CodeUnsupported, proto, masked(true, ws.Text, "\x00")...)
	f("too big by its header", ws.CodeTooBig, json, 0x81, 0xFE, 0x04, 0x01, 0, 0, 0, 0)
	f("huge by its header", ws.CodeTooBig, json, 0x81, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)
	f("too big in fragments", ws.CodeTooBig, proto, append(masked(false, ws.Binary, strings.Repeat("x", 1000)), masked(true, ws.Continuation, strings.Repeat("x", 25))...)...)
	f("close code 1005", ws.CodeProtocol, json, masked(true, ws.Close, "\x03\xed")...)
	f("close of one byte", ws.CodeProtocol, json, masked(true, ws.Close, "x")...)
	f("flood of pings", ws.CodePolicy, json, bytes.Repeat(masked(true, ws.Ping, ""), 40*controlsPerTick)...)
}

func TestEveryPingOfOneReadIsAnswered(t *testing.T) {
	e := newEdge(t, &fakeChat{}, nil)
	c := connect(t, e, godwit.EncodingJSON, "alice")
	var wire []byte
	for i := range 20 {
		wire = ws.AppendMasked(wire, true, ws.Ping, uint32(i), fmt.Append(nil, i))
	}
	c.raw(wire)
	for i := range 20 {
		ev, ok := c.event()
		if !ok || ev.Op != ws.Pong || string(ev.Payload) != strconv.Itoa(i) {
			t.Fatalf("ping %d answered by %+v", i, ev)
		}
	}
}

// TestHTTPAnswers: every request that does not become a WebSocket gets a status
// and the error body of the protocol, and never hangs.
func TestHTTPAnswers(t *testing.T) {
	chat := &fakeChat{}
	e := newEdge(t, chat, func(c *Config) {
		c.Origins = []string{"https://chat.example"}
		c.PagePolicy = "default-src 'self'"
		c.Static = func(path string) (string, []byte, bool) {
			return "text/html; charset=utf-8", []byte("<p>page"), path == "/"
		}
	})
	f := func(name, request string, want ...string) {
		t.Run(name, func(t *testing.T) {
			conn := dialRaw(t, e)
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if err != nil {
				t.Fatalf("%v after %q", err, got)
			}
			for _, w := range want {
				if !strings.Contains(string(got), w) {
					t.Errorf("answer %q lacks %q", got, w)
				}
			}
		})
	}
	const host, closing = "Host: test\r\n", "Connection: close\r\n"
	up := func(extra string) string { return upgradeHead + extra + "\r\n" }
	f("page", "GET / HTTP/1.1\r\n"+host+"Connection: close\r\n\r\n", "HTTP/1.1 200 ", "Content-Length: 7\r\n", "nosniff", "text/html", "Content-Security-Policy: default-src 'self'\r\n", "\r\n\r\n<p>page")
	f("page for HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 ", "Connection: close", "<p>page")
	f("two pipelined", "GET / HTTP/1.1\r\n"+host+"\r\nGET /no HTTP/1.1\r\n"+host+closing+"\r\n", "HTTP/1.1 200 ", "<p>pageHTTP/1.1 404 ", "Connection: close")
	f("not found", "GET /nothing HTTP/1.1\r\n"+host+closing+"\r\n", "HTTP/1.1 404 ", `{"error":{"code":"http.404","num":4040,`, "application/json")
	f("no post", "POST / HTTP/1.1\r\n"+host+closing+"\r\n", "HTTP/1.1 405 ", "Allow: ")
	f("body", "GET / HTTP/1.1\r\n"+host+closing+"Content-Length: 5\r\n\r\nhello", "HTTP/1.1 200 ")
	f("huge body", "POST / HTTP/1.1\r\n"+host+"Content-Length: 500000\r\n\r\nhello", "HTTP/1.1 413 ")
	f("chunked body", "POST / HTTP/1.1\r\n"+host+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 411 ")
	f("nonsense", "hello\r\n\r\n", "HTTP/1.1 400 ")
	f("no host", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 ")
	f("bare LF", "GET / HTTP/1.1\nHost: test\n\n", "HTTP/1.1 400 ")
	f("dot path", "GET /../etc HTTP/1.1\r\n"+host+"\r\n", "HTTP/1.1 400 ")
	f("huge head", "GET / HTTP/1.1\r\n"+host+"X: "+strings.Repeat("x", 10000)+"\r\n\r\n", "HTTP/1.1 431 ")
	f("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 505 ")
	f("plain get of the socket", "GET /v1/ws HTTP/1.1\r\n"+host+"\r\n", "HTTP/1.1 426 ", "Upgrade: websocket")
	f("old version", strings.Replace(up(""), "Version: 13", "Version: 8", 1), "HTTP/1.1 426 ", "Sec-WebSocket-Version: 13")
	f("bad key", strings.Replace(up(""), "dGhlIHNhbXBsZSBub25jZQ==", "short", 1), "HTTP/1.1 400 ")
	f("unknown subprotocol", up("Sec-WebSocket-Protocol: mqtt, godwit.v2.proto\r\n"), "HTTP/1.1 400 ", "godwit.v1.json")
	f("token in the query", strings.Replace(up(""), "/v1/ws", "/v1/ws?a=1&Token=secret", 1), "HTTP/1.1 400 ", "connect frame")
	f("other origin", up("Origin: https://evil.example\r\n"), "HTTP/1.1 403 ")
	f("null origin", up("Origin: null\r\n"), "HTTP/1.1 403 ")
	f("two origins", up("Origin: http://test\r\nOrigin: http://test\r\n"), "HTTP/1.1 403 ")
	f("bad bearer", up("Authorization: Bearer nonsense\r\n"), "HTTP/1.1 401 ", "WWW-Authenticate: Bearer", `"code":"token.invalid"`)
	f("basic auth", up("Authorization: Basic dXNlcjphbGljZQ==\r\n"), "HTTP/1.1 401 ")
	f("two tokens", up("Authorization: Bearer user:a\r\nAuthorization: Bearer user:b\r\n"), "HTTP/1.1 401 ")
	f("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	for _, origin := range []string{"http://test", "https://TEST", "https://chat.example"} {
		conn := dialRaw(t, e)
		_, _ = io.WriteString(conn, up("Origin: "+origin+"\r\n"))
		b := make([]byte, 12)
		if _, err := io.ReadFull(conn, b); err != nil || string(b) != "HTTP/1.1 101" {
			t.Errorf("origin %s: %q %v", origin, b, err)
		}
	}
	if st := e.Stats(); st.Refused[404] != 2 || st.Refused[403] != 3 || st.Refused[401] != 3 {
		t.Errorf("refusals counted %v", st.Refused)
	}
}

// TestRefusalReachesAClientThatIsStillSending: closing with input unread would
// reset the connection and destroy the answer.
func TestRefusalReachesAClientThatIsStillSending(t *testing.T) {
	e := newEdge(t, &fakeChat{}, nil)
	conn := dialRaw(t, e)
	var sending sync.WaitGroup
	sending.Go(func() {
		_, _ = io.WriteString(conn, "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 8388608\r\n\r\n")
		for range 128 {
			if _, err := conn.Write(make([]byte, 65536)); err != nil {
				t.Errorf("write: %v", err)
				return
			}
		}
	})
	sending.Wait()
	if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 413 ") {
		t.Fatalf("%q %v", got, err)
	}
}

func TestKeepAliveServesSeveralRequests(t *testing.T) {
	e := newEdge(t, &fakeChat{}, func(c *Config) {
		c.Static = func(string) (string, []byte, bool) { return "text/plain", []byte("page"), true }
	})
	conn := dialRaw(t, e)
	for i := range 5 {
		method := []string{"GET", "HEAD"}[i%2]
		_, _ = io.WriteString(conn, method+" / HTTP/1.1\r\nHost: test\r\n\r\n")
		got, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		h := got.Header
		if err != nil || got.StatusCode != 200 || got.ContentLength != 4 || string(body) != map[string]string{"GET": "page"}[method] ||
			h.Get("Content-Type") != "text/plain" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-cache" {
			t.Fatalf("%s: %+v %q %v", method, got, body, err)
		}
	}
}

func TestLoopbackHostOnlyRefusesOtherNames(t *testing.T) {
	f := func(host string, want bool) {
		if got := loopbackHost([]byte(host)); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
	f("localhost", true)
	f("LOCALHOST:8080", true)
	f("127.0.0.1", true)
	f("127.9.9.9:1", true)
	f("[::1]:8080", true)
	f("[::1]", true)
	f("evil.example", false)
	f("localhost.evil.example", false)
	f("127.0.0.1.evil.example:80", false)
	f("10.0.0.1:8080", false)
	f("", false)
	e := newEdge(t, &fakeChat{}, func(c *Config) { c.LoopbackHostOnly = true })
	conn := dialRaw(t, e)
	_, _ = io.WriteString(conn, upgradeHead+"\r\n")
	if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 403 ") {
		t.Fatalf("%q %v", got, err)
	}
}
