package http1

import (
	"bufio"
	"bytes"
	"net/http"
	"net/textproto"
	"slices"
	"testing"
)

// FuzzUpgrade: what Parse accepts, net/http accepts with the same meaning; any
// split gives the same outcome; what Upgrade accepts is answered well.
func FuzzUpgrade(f *testing.F) {
	f.Add([]byte(browserHead), 17)
	f.Add([]byte(upgradeHead("", "Sec-WebSocket-Protocol: godwit.v1.json")), 3)
	f.Add([]byte(upgradeHead("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8")), 40)
	f.Add([]byte("POST /v1/rpc?a=%20 HTTP/1.1\r\nHost: [::1]:8080\r\nContent-Length: 5\r\n\r\nhello"), 90)
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 1)
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 1)
	f.Add([]byte("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 5)
	f.Add([]byte("GET /a/%2e%2e/b HTTP/1.1\r\nHost: x\r\n\r\n"), 5)
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n"), 5)
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 5)
	f.Add([]byte("\x16\x03\x01\x02\x00\x01"), 2)
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		const maxBytes = 1024
		var r, split Request
		before := bytes.Clone(stream)
		n, err := r.Parse(stream, maxBytes)
		cut = min(max(cut, 0), len(stream))
		if m, splitErr := split.Parse(stream[:cut], maxBytes); splitErr != ErrMore && (splitErr != err || m != n) {
			t.Fatalf("%d bytes give %d, %v; all give %d, %v", cut, m, splitErr, n, err)
		}
		if !bytes.Equal(stream, before) {
			t.Fatal("the window was modified")
		}
		if err != nil {
			checkRefusal(t, err, len(stream), maxBytes)
			return
		}
		if n > min(len(stream), maxBytes) || !bytes.HasSuffix(stream[:n], []byte("\r\n\r\n")) {
			t.Fatalf("a head of %d bytes", n)
		}
		checkAgainstNetHTTP(t, &r, stream)
		if h, err := Upgrade(&r, []string{"godwit.v1.proto", "godwit.v1.json"}); err != nil {
			checkRefusal(t, err, len(stream), maxBytes)
		} else if resp, _ := read(t, AppendUpgradeResponse(nil, &h)); resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("answered %d", resp.StatusCode)
		}
	})
}

func checkRefusal(t *testing.T, err error, size, maxBytes int) {
	t.Helper()
	if err == ErrMore {
		if size >= maxBytes {
			t.Fatalf("%d bytes and still more awaited", size)
		}
		return
	}
	e, ok := err.(*Error)
	if !ok || e.Status != 0 && http.StatusText(e.Status) == "" {
		t.Fatalf("not a refusal: %v", err)
	}
}

func checkAgainstNetHTTP(t *testing.T, r *Request, stream []byte) {
	t.Helper()
	if r.Get("Trailer") != nil { // net/http also judges and moves what it announces
		return
	}
	want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(stream)))
	if err != nil {
		t.Fatalf("net/http refuses %q: %v", stream, err)
	}
	if string(r.Method) != want.Method || string(r.Target) != want.RequestURI || string(r.Path) != want.URL.EscapedPath() ||
		string(r.Query) != want.URL.RawQuery || string(r.Host) != want.Host || r.Minor != want.ProtoMinor {
		t.Fatalf("%q: net/http reads %q %q %q", stream, want.Method, want.RequestURI, want.Host)
	}
	if r.BodyLen() != want.ContentLength {
		t.Fatalf("%q: body of %d, net/http says %d", stream, r.BodyLen(), want.ContentLength)
	}
	got := http.Header{}
	for _, h := range r.Headers() {
		name := textproto.CanonicalMIMEHeaderKey(string(h.Name))
		got[name] = append(got[name], string(h.Value))
	}
	got.Del("Host")
	got.Del("Transfer-Encoding")
	if pragma := got["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && got["Cache-Control"] == nil {
		want.Header.Del("Cache-Control") // net/http adds it
	}
	if len(got) != len(want.Header) {
		t.Fatalf("%q: fields %q, net/http reads %q", stream, got, want.Header)
	}
	for name, values := range got {
		if !slices.Equal(values, want.Header[name]) {
			t.Fatalf("%q: %s is %q, net/http reads %q", stream, name, values, want.Header[name])
		}
	}
}
