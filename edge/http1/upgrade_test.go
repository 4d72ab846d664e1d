package http1

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

const browserHead = "GET /v1/ws HTTP/1.1\r\n" +
	"Host: chat.example\r\n" +
	"Connection: keep-alive, Upgrade\r\n" +
	"Pragma: no-cache\r\n" +
	"Cache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n" +
	"Upgrade: websocket\r\n" +
	"Origin: https://chat.example\r\n" +
	"Sec-WebSocket-Version: 13\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Protocol: godwit.v2, godwit.v1.json\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"

// upgradeHead is the smallest valid upgrade with one line replaced by another,
// or added if there is none that begins with old.
func upgradeHead(old, line string) string {
	lines := []string{"GET /v1/ws HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	var head strings.Builder
	for _, l := range lines {
		if old != "" && strings.HasPrefix(l, old) {
			l = line
		}
		if l != "" {
			head.WriteString(l + "\r\n")
		}
	}
	if old == "" {
		head.WriteString(line + "\r\n")
	}
	return head.String() + "\r\n"
}

func upgrade(t *testing.T, head string, supported ...string) (Handshake, error) {
	t.Helper()
	r, _, err := parse(t, head)
	if err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	return Upgrade(r, supported)
}

// The key and the answer of RFC 6455 section 1.3.
func TestUpgradeAcceptsExampleOfRFC(t *testing.T) {
	h, err := upgrade(t, browserHead, "godwit.v1.proto", "godwit.v1.json")
	if err != nil || string(h.Accept[:]) != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || h.Subprotocol != "godwit.v1.json" || !h.Offered {
		t.Fatalf("got %+v, %v", h, err)
	}
	want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: godwit.v1.json\r\n\r\n"
	if got := string(AppendUpgradeResponse(nil, &h)); got != want {
		t.Errorf("got %q", got)
	}
	h.Subprotocol = ""
	if got := string(AppendUpgradeResponse(nil, &h)); strings.Contains(got, "Protocol:") || !strings.HasSuffix(got, "=\r\n\r\n") {
		t.Errorf("without subprotocol: %q", got)
	}
}

func TestUpgradeRefuses(t *testing.T) {
	f := func(old, line string, want *Error, status int) {
		t.Helper()
		if _, err := upgrade(t, upgradeHead(old, line)); err != want {
			t.Errorf("%q: got %v, want %v", line, err, want)
		}
		if want.Status != status {
			t.Errorf("%v: status %d, want %d", want, want.Status, status)
		}
	}
	f("GET", "POST /v1/ws HTTP/1.1", ErrMethodNotGet, 405)
	f("GET", "GET /v1/ws HTTP/1.0", ErrUpgradeVersion, 505)
	f("", "Content-Length: 1", ErrUpgradeBody, 400)
	f("", "Transfer-Encoding: chunked", ErrUpgradeBody, 400)
	f("Upgrade", "", ErrUpgradeMissing, 426)
	f("Upgrade", "Upgrade: h2c", ErrUpgradeMissing, 426)
	f("Upgrade", "Upgrade: websockets", ErrUpgradeMissing, 426)
	f("Connection", "", ErrConnection, 400)
	f("Connection", "Connection: keep-alive", ErrConnection, 400)
	f("Connection", "Connection: notupgrade", ErrConnection, 400)
	for _, v := range []string{"", "Sec-WebSocket-Version: 8", "Sec-WebSocket-Version: 013", "Sec-WebSocket-Version: 13, 8", "Sec-WebSocket-Version:"} {
		f("Sec-WebSocket-Version", v, ErrWebSocketVersion, 426)
	}
	f("", "Sec-WebSocket-Version: 13", ErrWebSocketVersion, 426)
	for _, k := range []string{
		"", "Sec-WebSocket-Key:", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE=",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSEh", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q==", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==AAAA", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub2 jZQ==",
	} {
		f("Sec-WebSocket-Key", k, ErrWebSocketKey, 400)
	}
	f("", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", ErrWebSocketKey, 400)
	for _, p := range []string{"", "a,", ",a", "a,,b", "a b", "a/b", "é"} {
		f("", "Sec-WebSocket-Protocol: "+p, ErrSubprotocol, 400)
	}
	f("", "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b c", ErrSubprotocol, 400)
}

func TestUpgradeTakesTokensInAnyCaseAndList(t *testing.T) {
	for _, c := range [][2]string{
		{"Upgrade", "uPGRADE: h2c , WebSocket"},
		{"Connection", "connection: keep-alive,UPGRADE"},
		{"Connection", "Connection: keep-alive\r\nConnection: upgrade"},
		{"Sec-WebSocket-Key", "SEC-WEBSOCKET-KEY:  AAAAAAAAAAAAAAAAAAAAAA=="},
	} {
		if _, err := upgrade(t, upgradeHead(c[0], c[1])); err != nil {
			t.Errorf("%q: %v", c[1], err)
		}
	}
}

func TestUpgradeChoosesByTheClientsOrder(t *testing.T) {
	f := func(fields, want string, offered bool) {
		t.Helper()
		h, err := upgrade(t, upgradeHead("Host", "Host: x"+fields), "json", "proto")
		if err != nil || h.Subprotocol != want || h.Offered != offered {
			t.Errorf("%q: got %q, %v, %v; want %q", fields, h.Subprotocol, h.Offered, err, want)
		}
	}
	f("", "", false)
	f("\r\nSec-WebSocket-Protocol: other", "", true)
	f("\r\nSec-WebSocket-Protocol: proto, json", "proto", true)
	f("\r\nSec-WebSocket-Protocol: other,json , proto", "json", true)
	f("\r\nSec-WebSocket-Protocol: other\r\nsec-websocket-protocol: proto", "proto", true)
	f("\r\nSec-WebSocket-Protocol: JSON", "", true)
}

// read has net/http read an answer and returns what it saw.
func read(t *testing.T, answer []byte) (*http.Response, string) {
	t.Helper()
	in := bufio.NewReader(strings.NewReader(string(answer)))
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatalf("%q: %v", answer, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || in.Buffered() > 0 {
		t.Fatalf("%q: %v, %d bytes left", answer, err, in.Buffered())
	}
	return resp, string(body)
}

func TestResponsesAreReadByNetHTTP(t *testing.T) {
	resp, body := read(t, AppendResponse(nil, 200, []Field{{"Content-Type", "text/html"}, {"X-Bad", "a\r\nX-Injected: b"}}, []byte("<p>hi")))
	if resp.StatusCode != 200 || body != "<p>hi" || resp.ContentLength != 5 || resp.Header.Get("Content-Type") != "text/html" || resp.Header.Get("X-Injected") != "" {
		t.Errorf("got %+v, %q", resp, body)
	}
	for _, status := range []int{204, 304} {
		if resp, body = read(t, AppendResponse(nil, status, nil, nil)); resp.StatusCode != status || body != "" || resp.Header.Get("Content-Length") != "" {
			t.Errorf("%d: got %+v, %q", status, resp, body)
		}
	}
	for _, e := range []*Error{
		ErrHTTP2, ErrRequestLine, ErrTargetTooLong, ErrHeaderTooLarge, ErrCoding, ErrBodyTooLarge, ErrMethodNotGet, ErrUpgradeMissing, ErrWebSocketVersion, ErrVersion,
	} {
		resp, body = read(t, AppendError(nil, e, "", nil))
		if resp.StatusCode != e.Status || body != e.Reason+"\n" || !resp.Close || http.StatusText(e.Status) == "" || statusText(e.Status) == "" {
			t.Errorf("%v: got %+v, %q", e, resp, body)
		}
		if got := resp.Header.Get("Sec-WebSocket-Version"); (e.Status == 426) != (got == "13") {
			t.Errorf("%v: version %q", e, got)
		}
		if got := resp.Header.Get("Allow"); (e.Status == 405) != (got == "GET") {
			t.Errorf("%v: allow %q", e, got)
		}
	}
	if resp, body = read(t, AppendError(nil, ErrWebSocketKey, "application/json", []byte("{}"))); resp.Header.Get("Content-Type") != "application/json" || body != "{}" {
		t.Errorf("got %+v, %q", resp, body)
	}
	if got := AppendError(nil, ErrTLS, "", nil); got != nil {
		t.Errorf("TLS is answered with %q", got)
	}
}
