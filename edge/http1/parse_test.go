package http1

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// parse feeds the stream whole and byte by byte, demands the same outcome, and
// returns it.
func parse(t *testing.T, stream string) (*Request, int, error) {
	t.Helper()
	var whole, r Request
	n, err := whole.Parse([]byte(stream), HeadMaxBytes)
	for i := range len(stream) + 1 {
		m, stepErr := r.Parse([]byte(stream[:i]), HeadMaxBytes)
		if stepErr == ErrMore && i < len(stream) {
			continue
		}
		if stepErr != err || m != n {
			t.Fatalf("%.80q: %d bytes give %d, %v; all give %d, %v", stream, i, m, stepErr, n, err)
		}
		break
	}
	return &whole, n, err
}

func TestParseReadsRequest(t *testing.T) {
	const head = "POST /v1/rpc?a=1&b=%20? HTTP/1.1\r\nHost: chat.example:8080\r\nX-Empty:\r\nAccept:\t a , b \t\r\naccept: c\r\nContent-Length: 12\r\n\r\n"
	r, n, err := parse(t, head+"hello, world")
	if err != nil || n != len(head) {
		t.Fatalf("got %d, %v; want %d", n, err, len(head))
	}
	f := func(name, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	f("method", string(r.Method), "POST")
	f("path", string(r.Path), "/v1/rpc")
	f("query", string(r.Query), "a=1&b=%20?")
	f("target", string(r.Target), "/v1/rpc?a=1&b=%20?")
	f("host", string(r.Host), "chat.example:8080")
	f("first of two", string(r.Get("ACCEPT")), "a , b")
	f("empty", string(r.Get("X-Empty")), "")
	f("counts", fmt.Sprint(r.Count("accept"), r.Count("none"), len(r.Headers()), r.Minor), "2 0 5 1")
	f("body", fmt.Sprint(r.BodyLen(), r.HasBody(), r.CheckBody(12), r.CheckBody(11)), "12 true <nil> "+ErrBodyTooLarge.Error())
	f("tokens", fmt.Sprint(r.HasToken("Accept", "A"), r.HasToken("Accept", "c"), r.HasToken("Accept", "a , b"), r.HasToken("Accept", "")), "true true false false")
	if r.Get("None") != nil || r.Get("X-Empty") == nil {
		t.Error("an absent field and an empty one look the same")
	}
}

func TestParseForgetsThePreviousRequest(t *testing.T) {
	var r Request
	first := "POST /a?q HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"
	second := "GET / HTTP/1.0\r\n\r\n"
	stream := []byte(first + second)
	n, err := r.Parse(stream, HeadMaxBytes)
	if err != nil || n != len(first) || r.BodyLen() != ChunkedLength || !r.HasBody() {
		t.Fatalf("got %d, %v, body %d", n, err, r.BodyLen())
	}
	if unsafe.SliceData(r.Path) != unsafe.SliceData(stream[5:]) {
		t.Error("the path does not alias the window")
	}
	if n, err = r.Parse(stream[n:], HeadMaxBytes); err != nil || n != len(second) {
		t.Fatalf("got %d, %v", n, err)
	}
	if r.HasBody() || r.Query != nil || r.Host != nil || len(r.Headers()) != 0 || r.Minor != 0 || string(r.Path) != "/" {
		t.Errorf("left over: %q %q %q %d", r.Path, r.Query, r.Host, len(r.Headers()))
	}
}

//tidy:long one table
func TestParseRefusesMalformedRequests(t *testing.T) {
	f := func(stream string, want *Error, status int) {
		t.Helper()
		if _, n, err := parse(t, stream); err != want || n != 0 {
			t.Errorf("%.80q: got %d, %v; want %v", stream, n, err, want)
		}
		if want.Status != status {
			t.Errorf("%v: status %d, want %d", want, want.Status, status)
		}
	}
	line := func(l string, want *Error, status int) {
		t.Helper()
		f(l+"\r\nHost: x\r\n\r\n", want, status)
	}
	target := func(target string, want *Error) {
		t.Helper()
		line("GET "+target+" HTTP/1.1", want, 400)
	}
	field := func(field string, want *Error, status int) {
		t.Helper()
		f("POST / HTTP/1.1\r\nHost: x\r\n"+field+"\r\n\r\n", want, status)
	}

	f("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ErrTLS, 0)
	f("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ErrHTTP2, 505)
	f("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", ErrMethod, 400)
	f("\x80\x2e\x01\x00\x02", ErrMethod, 400)
	f("GET / HTTP/1.1\nHost: x\n\n", ErrLineEnd, 400)
	f("GET / HTTP/1.1\r\nHost: x\n\r\n", ErrLineEnd, 400)
	f("GET / HTTP/1.1\r\nHost: x\r\n\n", ErrLineEnd, 400)

	line("GET", ErrRequestLine, 400)
	line("GET /", ErrRequestLine, 400)
	line("GET  / HTTP/1.1", ErrRequestLine, 400)
	line("GET /  HTTP/1.1", ErrRequestLine, 400)
	line("GET / HTTP/1.1 ", ErrRequestLine, 400)
	line("GET / HTTP/11", ErrRequestLine, 400)
	line("GET / http/1.1", ErrRequestLine, 400)
	line("GET / HTTP/1.x", ErrRequestLine, 400)
	line("GET /\tHTTP/1.1", ErrRequestLine, 400)
	line("Get / HTTP/1.1", ErrMethod, 400)
	line("G@T / HTTP/1.1", ErrMethod, 400)
	line(strings.Repeat("G", 25)+" / HTTP/1.1", ErrMethod, 400)
	for _, v := range []string{"0.9", "1.2", "1.9", "2.0", "3.0"} {
		line("GET / HTTP/"+v, ErrVersion, 505)
	}

	for _, s := range []string{"http://x/", "x:443", "*", "v1", "?a", "\\v1", "%2fv1"} {
		target(s, ErrTargetForm)
	}
	for _, s := range []string{"/\x00", "/\x7f", "/é", "/a\\b", "/a#b", "/a\"b", "/a<b", "/a{b", "/a^b", "/a|b", "/a`b", "/%", "/%2", "/%zz", "/%2x", "/?a#b", "/?%", "/?%4", "/?%g0", "/?\x01", "/?é", "/a\rb"} {
		target(s, ErrTargetCharacter)
	}
	for _, s := range []string{
		"//", "//x", "/a//b", "/a//", "/.", "/..", "/./", "/../", "/a/.", "/a/..", "/a/../b", "/a/./b",
		"/%2e%2e/a", "/%2E%2E", "/a%2fb", "/a%5Cb", "/%00", "/%0d%0a", "/%7f", "/%252e", "/v1/%70oll", "/%5f",
	} {
		target(s, ErrPathSpelling)
	}

	field(" folded: x", ErrFold, 400)
	field("X-A: 1\r\n\t2", ErrFold, 400)
	for _, s := range []string{"X-A : 1", "X-A", ": 1", "X A: 1", "X\tA: 1", "X(A: 1", "\x00: 1", "é: 1"} {
		field(s, ErrHeaderName, 400)
	}
	for _, s := range []string{"X-A: \x00", "X-A: a\rb", "X-A: a\r", "X-A: \x1b", "X-A: \x7f"} {
		field(s, ErrHeaderValue, 400)
	}
	for _, s := range []string{"Host: x", "host: y", "HOST:"} {
		field(s, ErrHost, 400)
	}
	for _, s := range []string{"", "Host:\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: u@h\r\n", "Host: a,b\r\n"} {
		f("GET / HTTP/1.1\r\n"+s+"\r\n", ErrHost, 400)
	}
	f("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", ErrHost, 400)

	for _, s := range []string{"", "-1", "+1", "1,1", "1 1", "0x1", "1.0", "9223372036854775808", "99999999999999999999"} {
		field("Content-Length: "+s, ErrContentLength, 400)
	}
	field("Content-Length: 1\r\ncontent-length: 1", ErrContentLength, 400)
	field("Content-Length: 1\r\nTransfer-Encoding: chunked", ErrBodyLength, 400)
	field("Transfer-Encoding: identity\r\nContent-Length: 1", ErrBodyLength, 400)
	field("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", ErrTransferEncoding, 400)
	field("Transfer-Encoding: gzip, chunked", ErrTransferEncoding, 400)
	field("Transfer-Encoding: chunked,", ErrTransferEncoding, 400)
	field("Transfer-Encoding: \vchunked", ErrHeaderValue, 400)
	field("Transfer-Encoding:", ErrTransferEncoding, 400)
	field("Transfer-Encoding: gzip", ErrCoding, 501)
	field("Transfer-Encoding: xchunked", ErrCoding, 501)
	f("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", ErrTransferEncoding, 400)
}

func TestParseAdmitsUsualTargets(t *testing.T) {
	for _, s := range []string{"/", "/?", "/v1/ws", "/a/", "/...", "/.well-known/x", "/a..b", "/a%20b", "/%E4%BF%A1", "/a:b@c;d=e,f", "/?a=/../b//c&d=%2e%00", "/~u/x.y-z_", "/?a=b?c"} {
		r, _, err := parse(t, "GET "+s+" HTTP/1.1\r\nHost: [::1]:80\r\n\r\n")
		if err != nil || string(r.Target) != s {
			t.Errorf("%q: got %q, %v", s, r.Target, err)
		}
	}
}

func TestParseBoundsTheHead(t *testing.T) {
	const maxBytes = 200
	f := func(stream string, want error) {
		t.Helper()
		var r Request
		if _, err := r.Parse([]byte(stream), maxBytes); err != want {
			t.Fatalf("all %d bytes of %.20q: got %v, want %v", len(stream), stream, err, want)
		}
		for i := range len(stream) + 1 {
			_, err := r.Parse([]byte(stream[:i]), maxBytes)
			if err == ErrMore && i < len(stream) {
				if i >= maxBytes {
					t.Fatalf("%d bytes are awaited", i+1)
				}
				continue
			}
			if err != want {
				t.Fatalf("%d bytes of %.20q: got %v, want %v", i, stream, err, want)
			}
			break
		}
	}
	const start, end = "GET / HTTP/1.1\r\nHost: x\r\n", "\r\n\r\n"
	fill := "X-Fill: " + strings.Repeat("a", maxBytes-len(start)-len(end)-len("X-Fill: "))
	f(start+fill+end, nil)
	f(start+fill+"a"+end, ErrHeaderTooLarge)
	f(start+strings.Repeat("x", maxBytes), ErrHeaderTooLarge)
	f("GET /"+strings.Repeat("x", maxBytes), ErrTargetTooLong)
	if ErrHeaderTooLarge.Status != 431 || ErrTargetTooLong.Status != 414 || ErrTooManyHeaders.Status != 431 {
		t.Error("wrong statuses")
	}

	many := "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", HeadersMax-1)
	if r, _, err := parse(t, many+"\r\n"); err != nil || len(r.Headers()) != HeadersMax {
		t.Errorf("%d fields: %v", HeadersMax, err)
	}
	if _, _, err := parse(t, many+"A: b\r\n\r\n"); err != ErrTooManyHeaders {
		t.Errorf("%d fields: %v", HeadersMax+1, err)
	}
}

func TestKeepAliveFollowsVersionAndConnection(t *testing.T) {
	f := func(version, connection string, want bool) {
		t.Helper()
		r, _, err := parse(t, "GET / HTTP/"+version+"\r\nHost: x\r\n"+connection+"\r\n")
		if err != nil || r.KeepAlive() != want {
			t.Errorf("%s %q: got %v, %v", version, connection, r.KeepAlive(), err)
		}
	}
	f("1.1", "", true)
	f("1.1", "Connection: x, Close\r\n", false)
	f("1.0", "", false)
	f("1.0", "Connection: Keep-Alive\r\n", true)
	f("1.0", "Connection: keep-alive\r\nConnection: close\r\n", false)
}

func TestEqualFoldKnowsOnlyASCII(t *testing.T) {
	if !equalFold([]byte("WebSocKet"), "websocket") || equalFold([]byte("websoc\u212Aet"), "websocket") || equalFold([]byte("websoc\xcbet"), "websocket") {
		t.Error("wrong folding")
	}
	if equalFold([]byte("@"), "`") || equalFold([]byte("["), "{") {
		t.Error("folds what is not a letter")
	}
}

func TestParseAndUpgradeAllocateNothing(t *testing.T) {
	head := []byte(browserHead)
	supported := []string{"godwit.v1.json"}
	var r Request
	out := make([]byte, 0, 512)
	allocs := testing.AllocsPerRun(200, func() {
		n, err := r.Parse(head, HeadMaxBytes)
		if err != nil || n != len(head) {
			t.Fatal(n, err)
		}
		h, err := Upgrade(&r, supported)
		if err != nil {
			t.Fatal(err)
		}
		out = AppendUpgradeResponse(out[:0], &h)
		out = AppendError(out[:0], ErrWebSocketVersion, "", nil)
		if _, err := r.Parse(head[:40], HeadMaxBytes); err != ErrMore {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkParseAndUpgrade(b *testing.B) {
	head := []byte(browserHead)
	supported := []string{"godwit.v1.json"}
	var r Request
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Parse(head, HeadMaxBytes); err != nil {
			b.Fatal(err)
		}
		if _, err := Upgrade(&r, supported); err != nil {
			b.Fatal(err)
		}
	}
}

func TestHeadersKeepTheirOrder(t *testing.T) {
	r, _, err := parse(t, "GET / HTTP/1.1\r\nB: 1\r\nHost: x\r\nA: \xff\xfe\r\n\r\n")
	var got []string
	for _, h := range r.Headers() {
		got = append(got, string(h.Name)+"="+string(h.Value))
	}
	if want := []string{"B=1", "Host=x", "A=\xff\xfe"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}
