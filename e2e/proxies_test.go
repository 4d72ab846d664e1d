package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The files of deploy/ under the real proxies, with nothing changed but
// addresses and paths.

// proxyBinary finds a proxy; make deps installs it.
func proxyBinary(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if path := filepath.Join(dir, name); exec.Command(path, "-v").Run() == nil {
			return path
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: run make deps as root, or install the Debian package %s", name, name)
	}
	return path
}

// substitute writes a file of deploy/ with its addresses and paths replaced;
// each must be there.
func substitute(t *testing.T, name string, pairs ...string) (path string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%s has no %q to replace", name, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	path = filepath.Join(t.TempDir(), filepath.Base(name))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startProxy runs a proxy until the test ends, and returns when it accepts; output
// is what it says.
func startProxy(t *testing.T, address string, argv ...string) (output *tail) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	output = &tail{}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-exited
		if t.Failed() {
			t.Logf("%s: %s", argv[0], output)
		}
	})
	for end := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return output
		}
		select {
		case <-exited:
			t.Fatalf("%s ended: %s", argv[0], output)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not listen: %s", argv[0], output)
		}
	}
}

// newEdges starts two servers that believe the same tokens, on the same ports of
// two loopback addresses.
func newEdges(t *testing.T, env ...string) (edges [2]*server, port, ops string) {
	t.Helper()
	_, port, _ = net.SplitHostPort(freePort(t))
	_, ops, _ = net.SplitHostPort(freePort(t))
	for i := range edges {
		s := newServer(t, "", env...)
		host := fmt.Sprintf("127.0.0.%d:", 11+i)
		s.listen, s.ops = host+port, host+ops
		if i > 0 {
			key, err := os.ReadFile(filepath.Join(edges[0].dir, "dev-signing-key"))
			if err == nil {
				err = os.WriteFile(filepath.Join(s.dir, "dev-signing-key"), key, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		s.start()
		edges[i] = s
	}
	return edges, port, ops
}

// dialTLSFrom opens TLS to a proxy from one of the machine's loopback addresses.
func dialTLSFrom(t *testing.T, p *pki, from, address string) *tls.Conn {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	conn, err := tls.DialWithDialer(dialer, "tcp", address, p.config())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestHAProxyInFront(t *testing.T) {
	t.Parallel()
	path := proxyBinary(t, "haproxy")
	p := newPKI(t)
	edges, port, ops := newEdges(t, "GODWIT_EDGE_TRUSTED_PROXIES=127.0.0.1", "GODWIT_EDGE_PER_SOURCE=2", "GODWIT_EDGE_TOKEN_TIMEOUT=1m")
	address := freePort(t)
	config := substitute(t, "haproxy/haproxy.cfg", "    server edge3 10.0.0.13:8080\n", "", "maxconn 100000", "maxconn 1000", "bind :443 ", "bind "+address+" ", "/etc/haproxy/godwit.pem", p.both,
		"edge1 10.0.0.11:8080", "edge1 127.0.0.11:"+port, "edge2 10.0.0.12:8080", "edge2 127.0.0.12:"+port, "port 8081", "port "+ops)
	startProxy(t, address, path, "-db", "-f", config)
	tokens := edges[0].tokens("alice", "bob")

	// One edge, so that both users are on it.
	if code := edges[1].terminate(); code != 0 {
		t.Fatalf("edge 2: exit %d", code)
	}
	talk(t, p, address, tokens)
	checkPoll(t, p, address, tokens)
	checkSmuggling(t, p, address)
	checkSources(t, p, address)
	if forwarded := metric(t, edges[0].ops, "godwit_proxy_forwarded_total"); forwarded == 0 {
		t.Error("no connection came with a header")
	}
	if refused := metric(t, edges[0].ops, "godwit_proxy_refused_total"); refused != 0 {
		t.Errorf("%v connections were refused for their header: do health checks go to the public port?\n%s", refused, edges[0].stderr)
	}

	// The other edge comes, and this one goes.
	edges[1].start()
	waitUntilServed(t, p, address, func() bool { return metric(t, edges[1].ops, "godwit_proxy_forwarded_total") > 0 })
	if code := edges[0].terminate(); code != 0 {
		t.Fatalf("edge 1: exit %d", code)
	}
	waitUntilServed(t, p, address, func() bool { return true })
	talk(t, p, address, tokens)
}

func TestNginxInFront(t *testing.T) {
	t.Parallel()
	path := proxyBinary(t, "nginx")
	p := newPKI(t)
	edges, port, _ := newEdges(t)
	address := freePort(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config := substitute(t, "nginx/nginx.conf", "        server 10.0.0.13:8080 max_fails=1 fail_timeout=5s;\n", "", "listen 443 ssl", "listen "+address+" ssl", "/etc/nginx/godwit.crt", p.cert, "/etc/nginx/godwit.key", p.key,
		"10.0.0.11:8080", "127.0.0.11:"+port, "10.0.0.12:8080", "127.0.0.12:"+port,
		"/run/nginx.pid", filepath.Join(dir, "pid"), "/var/log/nginx/error.log", "stderr",
		"access_log off;", "access_log off; client_body_temp_path "+dir+"/body; proxy_temp_path "+dir+"/proxy; fastcgi_temp_path "+dir+"/fastcgi; uwsgi_temp_path "+dir+"/uwsgi; scgi_temp_path "+dir+"/scgi;")
	startProxy(t, address, path, "-g", "daemon off;", "-p", dir, "-c", config)
	tokens := edges[0].tokens("alice", "bob")
	if code := edges[1].terminate(); code != 0 {
		t.Fatalf("edge 2: exit %d", code)
	}
	talk(t, p, address, tokens)
	checkPoll(t, p, address, tokens)
	checkSmuggling(t, p, address)

	edges[1].start()
	if code := edges[0].terminate(); code != 0 {
		t.Fatalf("edge 1: exit %d", code)
	}
	waitUntilServed(t, p, address, func() bool { return true })
	talk(t, p, address, tokens)
}

// waitUntilServed asks for the page, over a connection each, until it comes and
// cond holds.
func waitUntilServed(t *testing.T, p *pki, address string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if status := askPage(t, p, address); status == http.StatusOK && cond() {
			return
		}
	}
	t.Fatal("the proxy does not find the edge")
}

func askPage(t *testing.T, p *pki, address string) (status int) {
	t.Helper()
	conn := dialTLSFrom(t, p, "127.0.0.1", address)
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", address)
	reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("the page: %v", err)
	}
	defer reply.Body.Close()
	_, _ = io.Copy(io.Discard, reply.Body)
	return reply.StatusCode
}

// checkPoll has a long-poll held by the proxy until a message comes.
func checkPoll(t *testing.T, p *pki, address string, tokens map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: p.config()}
	defer transport.CloseIdleConnections()
	ask := func(method, user, path, body string) string {
		r, err := http.NewRequestWithContext(ctx, method, "https://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return ""
		}
		r.Header.Set("Authorization", "Bearer "+tokens[user])
		if body != "" {
			r.Header.Set("Content-Type", "application/x-ndjson")
		}
		reply, err := transport.RoundTrip(r)
		if err != nil {
			t.Errorf("%s %s: %v", method, path, err)
			return ""
		}
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		if err != nil || reply.StatusCode != http.StatusOK {
			t.Errorf("%s %s: %d, %v: %s", method, path, reply.StatusCode, err, text)
		}
		return string(text)
	}
	first := ask("GET", "bob", "/v1/poll?device=poller", "")
	found := regexp.MustCompile(`"poll":\{"cursor":"([^"]+)"`).FindStringSubmatch(first)
	if found == nil {
		t.Fatalf("the first poll answered %s", first)
	}
	held := make(chan string, 1)
	go func() { held <- ask("GET", "bob", "/v1/poll?device=poller&wait=50&c="+found[1], "") }()
	if answer := ask("POST", "alice", "/v1/rpc?device=poster", `{"id":1,"send":{"to":"bob","cid":"polled-1","text":"to a held poll"}}`); !strings.Contains(answer, `"stored"`) {
		t.Errorf("the send answered %s", answer)
	}
	if answer := <-held; !strings.Contains(answer, "to a held poll") {
		t.Errorf("the held poll answered %s", answer)
	}
}

// checkSources: the bound of sockets without a token, two here, holds for each
// client behind the proxy, by the address that the PROXY header told.
func checkSources(t *testing.T, p *pki, address string) {
	t.Helper()
	upgrade := func(from string) int {
		conn := dialTLSFrom(t, p, from, address)
		_, _ = fmt.Fprintf(conn, "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", address)
		reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("upgrade from %s: %v", from, err)
		}
		return reply.StatusCode
	}
	for _, step := range []struct {
		from string
		want int
	}{{"127.0.0.21", 101}, {"127.0.0.21", 101}, {"127.0.0.21", 429}, {"127.0.0.22", 101}, {"127.0.0.21", 429}} {
		if got := upgrade(step.from); got != step.want {
			t.Errorf("a socket from %s: %d, want %d", step.from, got, step.want)
		}
	}
}

// smuggled is a request that must never be taken for one: everywhere below it
// lies in a body, or behind a request that is refused.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

// checkSmuggling sends requests whose end two parsers may see at two places.
// Nobody must answer the smuggled one, and who comes next must get their own
// answer.
func checkSmuggling(t *testing.T, p *pki, address string) {
	t.Helper()
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)
	after := "0\r\n\r\n" + smuggled
	post := func(fields, body string) string {
		return "POST /v1/rpc?device=d HTTP/1.1\r\nHost: " + address + "\r\n" + fields + "\r\n" + body
	}
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n", n) }
	for name, attack := range map[string]string{
		"chunked wins":           post(length(4)+"Transfer-Encoding: chunked\r\n", chunk),
		"a space before colon":   post(length(len(after))+"Transfer-Encoding : chunked\r\n", after),
		"an unknown coding":      post(length(len(after))+"Transfer-Encoding: xchunked\r\n", after),
		"a folded field":         post(length(len(after))+"X: y\r\n Transfer-Encoding: chunked\r\n", after),
		"a vertical tab":         post(length(len(after))+"Transfer-Encoding:\vchunked\r\n", after),
		"two codings":            post(length(len(after))+"Transfer-Encoding: identity\r\nTransfer-Encoding: chunkedx\r\n", after),
		"two lengths":            post(length(0)+length(len(smuggled)), smuggled),
		"a length with a sign":   post("Content-Length: +0\r\n", smuggled),
		"a length in a list":     post(fmt.Sprintf("Content-Length: 0, %d\r\n", len(smuggled)), smuggled),
		"a body of GET":          "GET / HTTP/1.1\r\nHost: " + address + "\r\n" + length(len(smuggled)) + "\r\n" + smuggled,
		"a bare CR":              post(length(len(after))+"X: y\rTransfer-Encoding: chunked\r\n", after),
		"a failing upgrade":      "GET /v1/ws HTTP/1.1\r\nHost: " + address + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 7\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + length(len(smuggled)) + "\r\n" + smuggled,
		"an upgrade to HTTP/2":   "GET / HTTP/1.1\r\nHost: " + address + "\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n" + length(len(smuggled)) + "\r\n" + smuggled,
		"a chunk's extension":    post("Transfer-Encoding: chunked\r\n", "0;\n"+smuggled),
		"a length of the chunks": post("Transfer-Encoding: chunked\r\n"+length(len(chunk)), chunk),
	} {
		conn := dialTLSFrom(t, p, "127.0.0.1", address)
		_, _ = io.WriteString(conn, attack)
		first := bufio.NewReader(conn)
		line, _ := first.ReadString('\n')
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", address)
		rest, _ := io.ReadAll(first)
		conn.Close()
		if answers := line + string(rest); strings.Contains(answers, "HTTP/1.1 404") || strings.Contains(answers, " 101 ") {
			t.Errorf("%s: the smuggled request was answered: %q", name, answers)
		}
		if status := askPage(t, p, address); status != http.StatusOK {
			t.Errorf("%s: the next client got %d", name, status)
		}
	}
}

// TestProxyTimeoutsOutlastPingsAndPolls: an idle session is pinged every 25 s
// (spread to 30 s), and a poll is held for up to 60 s.
func TestProxyTimeoutsOutlastPingsAndPolls(t *testing.T) {
	f := func(file string, least time.Duration, settings ...string) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join("..", "deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, setting := range settings {
			found := regexp.MustCompile(`(?m)^\s*` + setting + `\s+(\d+[sm])`).FindSubmatch(b)
			if found == nil {
				t.Errorf("%s does not set %s", file, setting)
			} else if d, err := time.ParseDuration(string(found[1])); err != nil || d < least {
				t.Errorf("%s: %s is %s, want at least %s", file, setting, found[1], least)
			}
		}
	}
	f("haproxy/haproxy.cfg", 65*time.Second, "timeout client", "timeout server", "timeout tunnel")
	f("nginx/nginx.conf", 65*time.Second, "proxy_read_timeout", "proxy_send_timeout")
}
