package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godwit-im/godwit/client"
)

// The consistent hash of the files of deploy/, over one engine process and three
// edge processes that are "hosts" of their own on loopback addresses.

const fleetSize = 3

// fleet is the engine process, its edges, and the proxy before them.
type fleet struct {
	*roles
	p         *pki
	port, ops string // of each edge
	address   string // of the proxy
	tokens    map[string]string
	users     []string // some on every edge
	haproxy   *tail    // what it says; nil: the proxy is another one
}

func fleetNode(i int) string { return fmt.Sprintf("edge-%d", i+1) }
func fleetHost(i int) string { return fmt.Sprintf("127.0.0.%d:", 31+i) }

// usersMax is more than it takes to have some on every edge.
const usersMax = 100

func newFleet(t *testing.T, env ...string) *fleet {
	t.Helper()
	f := &fleet{roles: newRoles(t), p: newPKI(t), address: freePort(t)}
	f.env = append(env, "GODWIT_DRAIN_AFTER=1h", "GODWIT_DRAIN_TIMEOUT=2h")
	_, f.port, _ = net.SplitHostPort(freePort(t))
	_, f.ops, _ = net.SplitHostPort(freePort(t))
	f.engine()
	for i := range fleetSize {
		f.startEdge(i)
	}
	var users []string
	for i := range usersMax {
		users = append(users, fmt.Sprintf("user%d", i))
	}
	f.tokens = (&server{t: t, path: f.path, dir: f.dir}).tokens(users...)
	return f
}

func (f *fleet) startEdge(i int) {
	f.t.Helper()
	f.start(fleetNode(i), "--role", "edge", "--upstream", "unix:"+f.socket, "--ops", fleetHost(i)+f.ops, "--listen", fleetHost(i)+f.port)
}

// open begins a session of a user through the proxy, under the key that the SDK
// makes of the token.
func (f *fleet) open(ctx context.Context, user, device string, transport client.Transport) *client.Client {
	f.t.Helper()
	cfg := sdkConfig("wss://"+f.address+"/v1/ws", f.tokens[user], client.Proto)
	cfg.TLS, cfg.Device, cfg.Transport = f.p.config(), device, transport
	return dialSDK(ctx, f.t, cfg)
}

// visit asks which edge a new session of a user comes to.
func (f *fleet) visit(ctx context.Context, user string, transport client.Transport) string {
	f.t.Helper()
	c := f.open(ctx, user, "visitor-"+string(transport), transport)
	defer c.Close()
	return c.State().Welcome.Node
}

// check is what a proxy must do with route keys.
func (f *fleet) check(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	home, stay, used := map[string]string{}, map[string]*client.Client{}, map[string]int{}
	for i := 0; i < usersMax && (len(f.users) < 12 || used[fleetNode(0)]*used[fleetNode(1)]*used[fleetNode(2)] == 0); i++ {
		user := fmt.Sprintf("user%d", i)
		f.users = append(f.users, user)
		stay[user] = f.open(ctx, user, "phone", client.WebSocket)
		home[user] = stay[user].State().Welcome.Node
		used[home[user]]++
	}
	t.Logf("%d users on %v", len(f.users), used)
	if len(used) != fleetSize {
		t.Fatalf("the users are on %v", used)
	}
	for _, user := range f.users {
		for _, transport := range []client.Transport{client.WebSocket, client.LongPoll} {
			if node := f.visit(ctx, user, transport); node != home[user] {
				t.Errorf("%s by %s comes to %s, the first session is on %s", user, transport, node, home[user])
			}
		}
	}
	f.checkDeath(ctx, t, home, stay)
	f.checkDrain(ctx, t, home, stay)
}

// exchange sends to a user from another one, and returns when it was received.
func exchange(ctx context.Context, t *testing.T, from, to *client.Client, name, text string) {
	t.Helper()
	if _, err := from.Send(ctx, name, client.Message{Text: text}); err != nil {
		t.Fatalf("send to %s: %v", name, err)
	}
	for {
		item, err := to.Receive(ctx)
		if err != nil {
			t.Fatalf("%s receives: %v", name, err)
		}
		if string(item.Entry.Msg.Body) == text {
			return
		}
	}
}

// checkDeath kills an edge: its keys move, and the others stay. Then it is back,
// and so are they.
func (f *fleet) checkDeath(ctx context.Context, t *testing.T, home map[string]string, stay map[string]*client.Client) {
	t.Helper()
	const victim = 1
	sessions := map[string]string{}
	for user, c := range stay {
		sessions[user] = c.State().Welcome.Session
	}
	f.kill(fleetNode(victim))
	moved := map[string]string{}
	for user, c := range stay {
		if home[user] != fleetNode(victim) {
			continue
		}
		until(t, user+" is on another edge", func() bool { // under an id that may be the same: each edge gives its own
			s := c.State()
			moved[user] = s.Welcome.Node
			return s.Phase == client.Live && s.Welcome.Node != fleetNode(victim)
		})
	}
	if f.haproxy != nil { // until it knows, it may choose another edge for a key than afterwards
		until(t, "the proxy has noticed", func() bool {
			return strings.Contains(f.haproxy.String(), fmt.Sprintf("Server edges/edge%d is DOWN", victim+1))
		})
	}
	for i, user := range f.users {
		if home[user] != fleetNode(victim) {
			if s := stay[user].State(); s.Welcome.Session != sessions[user] {
				t.Errorf("%s was on %s and lost the session", user, home[user])
			}
			moved[user] = home[user]
		} else if f.haproxy != nil {
			moved[user] = f.visit(ctx, user, client.LongPoll)
		}
		if node := f.visit(ctx, user, client.WebSocket); node != moved[user] {
			t.Errorf("%s comes to %s, another session is on %s", user, node, moved[user])
		}
		next := f.users[(i+1)%len(f.users)]
		exchange(ctx, t, stay[user], stay[next], next, "after a death, from "+user)
	}
	f.startEdge(victim)
	for user, node := range home {
		until(t, user+" comes to "+node+" again", func() bool { return f.visit(ctx, user, client.WebSocket) == node })
	}
}

// checkDrain: newcomers leave an edge that drains, whoever is there is served.
func (f *fleet) checkDrain(ctx context.Context, t *testing.T, home map[string]string, stay map[string]*client.Client) {
	t.Helper()
	const victim = 2
	_ = f.running[fleetNode(victim)].Process.Signal(syscall.SIGTERM)
	for _, user := range f.users {
		want := home[user]
		if want != fleetNode(victim) {
			if node := f.visit(ctx, user, client.WebSocket); node != want {
				t.Errorf("%s comes to %s and not to %s, which does not drain", user, node, want)
			}
			continue
		}
		until(t, user+" is sent elsewhere", func() bool { return f.visit(ctx, user, client.WebSocket) != want })
		if s := stay[user].State(); s.Phase != client.Live || s.Welcome.Node != want {
			t.Errorf("%s left the draining edge: %s on %s", user, s.Phase, s.Welcome.Node)
		}
		exchange(ctx, t, stay[user], stay[user], user, "from a draining edge")
	}
}

// onHosts is the configuration of deploy/ with the addresses of the fleet.
func (f *fleet) onHosts() (pairs []string) {
	for i := range fleetSize {
		pairs = append(pairs, fmt.Sprintf("10.0.0.%d:8080", 11+i), fleetHost(i)+f.port)
	}
	return pairs
}

func (f *fleet) startHAProxy(t *testing.T, pairs ...string) {
	t.Helper()
	path := proxyBinary(t, "haproxy")
	config := substitute(t, "haproxy/haproxy.cfg", append(append(f.onHosts(), "maxconn 100000", "maxconn 1000", "bind :443 ", "bind "+f.address+" ",
		"/etc/haproxy/godwit.pem", f.p.both, "port 8081", "port "+f.ops), pairs...)...)
	f.haproxy = startProxy(t, f.address, path, "-db", "-f", config)
}

func (f *fleet) startNginx(t *testing.T) {
	t.Helper()
	path, dir := proxyBinary(t, "nginx"), t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config := substitute(t, "nginx/nginx.conf", append(f.onHosts(), "listen 443 ssl", "listen "+f.address+" ssl", "/etc/nginx/godwit.crt", f.p.cert, "/etc/nginx/godwit.key", f.p.key,
		"/run/nginx.pid", filepath.Join(dir, "pid"), "/var/log/nginx/error.log", "stderr",
		"access_log off;", "access_log off; client_body_temp_path "+dir+"/body; proxy_temp_path "+dir+"/proxy; fastcgi_temp_path "+dir+"/fastcgi; uwsgi_temp_path "+dir+"/uwsgi; scgi_temp_path "+dir+"/scgi;")...)
	startProxy(t, f.address, path, "-g", "daemon off;", "-p", dir, "-c", config)
}

// TestHAProxyKeepsAUserOnOneEdge is without the bound of an edge's load, which
// with so few sessions would move some of them.
func TestHAProxyKeepsAUserOnOneEdge(t *testing.T) {
	t.Parallel()
	proxyBinary(t, "haproxy")
	f := newFleet(t, "GODWIT_EDGE_TRUSTED_PROXIES=127.0.0.1")
	f.startHAProxy(t, "hash-balance-factor 150", "hash-balance-factor 0")
	f.check(t)
}

func TestNginxKeepsAUserOnOneEdge(t *testing.T) {
	t.Parallel()
	proxyBinary(t, "nginx")
	f := newFleet(t)
	f.startNginx(t)
	f.check(t)
}

// TestHAProxyBoundsWhatOneRouteKeyBrings: whoever sends one key with all their
// connections does not fill one edge with them.
func TestHAProxyBoundsWhatOneRouteKeyBrings(t *testing.T) {
	proxyBinary(t, "haproxy")
	f := newFleet(t, "GODWIT_EDGE_TRUSTED_PROXIES=127.0.0.1", "GODWIT_EDGE_TOKEN_TIMEOUT=1m")
	f.startHAProxy(t)
	const sockets = 60
	for range sockets {
		conn := dialTLSFrom(t, f.p, "127.0.0.1", f.address)
		_, _ = fmt.Fprintf(conn, "GET /v1/ws?rk=same HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", f.address)
		answer := make([]byte, 1024)
		if n, err := conn.Read(answer); err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 101 ") {
			t.Fatalf("%q, %v", answer[:n], err)
		}
	}
	total, most := 0.0, 0.0
	for i := range fleetSize {
		held := metric(t, fleetHost(i)+f.ops, "godwit_edge_newcomers")
		total, most = total+held, max(most, held)
	}
	if total != sockets || most > sockets*1.5/fleetSize+1 || most <= sockets/fleetSize {
		t.Errorf("%v of %v sockets are on one edge", most, total)
	}
}
