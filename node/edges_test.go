package node

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godwit-im/godwit/link"
)

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func engineConfig(t *testing.T) Config {
	cfg := testConfig(t)
	cfg.Role = RoleEngine
	cfg.Link.Listen = "unix:" + filepath.Join(shortDir(t), "s")
	return cfg
}

func edgeConfig(t *testing.T, engine Config, name string) Config {
	cfg := testConfig(t)
	cfg.Role, cfg.Node, cfg.Data, cfg.Link.Upstream = RoleEdge, name, engine.Data, engine.Link.Listen
	return cfg
}

func TestClientsOfAnEdgeProcessAreServedByItsEngineProcess(t *testing.T) {
	cfg := engineConfig(t)
	cfg.Limits.Body = 1000
	engine := mustOpen(t, cfg)
	edges := []*Node{mustOpen(t, edgeConfig(t, cfg, "edge-1")), mustOpen(t, edgeConfig(t, cfg, "edge-2"))}
	token := devToken(t, cfg)
	s := connected(t, edges[0], token)
	if answer, ok := s.store(2, "hello"); !ok || !strings.Contains(answer, `"stored"`) {
		t.Fatalf("send answered %q", answer)
	}
	web := dial(t, edges[0])
	web.write(`{"id":1,"connect":{"token":%q,"device":"web"}}`, token)
	if reply, ok := web.until(`"connect"`); !ok || !strings.Contains(reply, `"body":1000,`) || !strings.Contains(reply, `"node":"edge-1"`) {
		t.Errorf("the engine process's limits are not the edge process's: %q", reply)
	}
	if engine.Addr() != "" || len(engine.Edges()) != 2 {
		t.Errorf("%q, %+v", engine.Addr(), engine.Edges())
	}
	status, _, body := get(t, "http://"+engine.OpsAddr()+EdgesPath, "")
	var list []EdgeInfo
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK || len(list) != 2 ||
		list[0].Node != "edge-1" || list[0].Ops != edges[0].OpsAddr() || list[0].Sessions != 2 || list[1].Sessions != 0 {
		t.Errorf("%d %s (%v)", status, body, err)
	}
	_, _, text := get(t, "http://"+engine.OpsAddr()+"/metrics", "")
	for _, want := range []string{"godwit_link_edges 2", "godwit_link_attached_total 2", `godwit_link_sessions{edge="edge-1"} 2`, "godwit_chat_stored_total 1"} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("the engine process has no %s", want)
		}
	}
	if strings.Contains(text, "godwit_edge_connections") {
		t.Error("the engine process counts connections, and has none")
	}
	_, _, text = get(t, "http://"+edges[0].OpsAddr()+"/metrics", "")
	for _, want := range []string{"godwit_link_up 1", "godwit_edge_sessions 2", `godwit_link_sessions{edge="edge-1"} 2`} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("the edge process has no %s", want)
		}
	}
	if strings.Contains(text, "godwit_engine_") || strings.Contains(text, "godwit_chat_") {
		t.Error("the edge process counts what only an engine process has")
	}
	if status, _, _ := get(t, "http://"+edges[0].OpsAddr()+EdgesPath, ""); status != http.StatusNotFound {
		t.Errorf("an edge process lists edge processes: %d", status)
	}
}

func TestAnEdgeProcessIsNotReadyWithoutItsEngine(t *testing.T) {
	cfg := engineConfig(t)
	engine := mustOpen(t, cfg)
	own := edgeConfig(t, cfg, "edge-1")
	own.Link.Hold = 0
	edge := mustOpen(t, own)
	phase := func() string {
		_, _, body := get(t, "http://"+edge.OpsAddr()+"/readyz", "")
		return body
	}
	if !strings.Contains(phase(), "ready") {
		t.Errorf("%s", phase())
	}
	s := connected(t, edge, devToken(t, cfg))
	if err := engine.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.until("nothing"); ok || s.code != 4301 {
		t.Errorf("closed with %d", s.code)
	}
	if !strings.Contains(phase(), "waiting") { // it is said before sessions are closed
		t.Errorf("%s", phase())
	}
	if status, header, _ := get(t, "http://"+edge.Addr()+"/", ""); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("a newcomer was answered %d", status)
	}
	cfg.Limits.Body-- // comes back with other limits: the edge process has to start anew
	mustOpen(t, cfg)
	if err := edge.Run(t.Context()); !errors.Is(err, link.ErrSettingsChanged) {
		t.Errorf("ended with %v", err)
	}
}

func TestAnEngineProcessAsksTheClientsOfItsEdgesToMove(t *testing.T) {
	cfg := engineConfig(t)
	cfg.Drain.Timeout = Duration(time.Hour) // the client moves by itself
	engine := mustOpen(t, cfg)
	edge := mustOpen(t, edgeConfig(t, cfg, "edge-1"))
	s := connected(t, edge, devToken(t, cfg))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	cancel()
	if frame, ok := s.until("goaway"); !ok || !strings.Contains(frame, `"drain"`) {
		t.Fatalf("got %q, want a goaway", frame)
	}
	select {
	case err := <-ended:
		t.Fatalf("the engine process ended with a session left: %v", err)
	default:
	}
	s.conn.NetConn().Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestADevelopmentEdgeWantsTheKeyOfItsEngine(t *testing.T) {
	cfg := edgeConfig(t, engineConfig(t), "edge-1")
	cfg.Data = t.TempDir()
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "dev-signing-key") {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(cfg.Data); len(entries) != 0 {
		t.Errorf("it wrote %v", entries)
	}
}

func TestRolesAreValidated(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		cfg := Default()
		cfg.Dev = true
		change(&cfg)
		err := cfg.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("role is \"both\"", func(c *Config) { c.Role = "both" })
	f("link.upstream is empty", func(c *Config) { c.Role = RoleEdge })
	f("link.upstream is \"there\"", func(c *Config) { c.Role, c.Link.Upstream = RoleEdge, "there" })
	f("edges is 2 in an edge process", func(c *Config) { c.Role, c.Link.Upstream, c.Edges = RoleEdge, "unix:/s", 2 })
	f("link.upstream is given, but the role is all", func(c *Config) { c.Link.Upstream = "unix:/s" })
	f("link.listen is empty", func(c *Config) { c.Role = RoleEngine })
	f("edges is 65", func(c *Config) { c.Edges = 65 })
	f("edges is -1", func(c *Config) { c.Edges = -1 })
	f("link.listen is \":7000\", which other machines can reach", func(c *Config) { c.Link.Listen = ":7000" })
	f("link.upstream is \"10.0.0.1:7000\", which other machines can reach", func(c *Config) { c.Role, c.Link.Upstream = RoleEdge, "10.0.0.1:7000" })
	f("a socket's path", func(c *Config) { c.Link.Listen = "unix:/" + strings.Repeat("x", 200) })
	f("link.listen is \":7000\", which other machines can reach", func(c *Config) { c.Link.Listen, c.Link.SecretFile = ":7000", "secret" })
	f("link.cert is \"\", link.key \"k\"", func(c *Config) { c.Link.Listen, c.Link.Key = ":7000", "k" })
	f("router.cluster is \"a.b\", which can't stand in a certificate", func(c *Config) {
		c.Link.Listen, c.Link.Cert, c.Link.Key, c.Link.CA, c.Router.Cluster = ":7000", "c", "k", "a", "a.b"
	})
	f("", func(c *Config) { c.Link.Listen, c.Link.Cert, c.Link.Key, c.Link.CA = ":7000", "c", "k", "a" })
	f("", func(c *Config) {
		c.Role, c.Link.Upstream, c.Link.Cert, c.Link.Key, c.Link.CA = RoleEdge, "10.0.0.1:7000", "c", "k", "a"
	})
	f("", func(c *Config) { c.Role, c.Link.Listen = RoleEngine, "127.0.0.1:7000" })
	f("", func(c *Config) { c.Role, c.Edges = RoleEngine, 3 })
	f("", func(c *Config) { c.Edges = 3 })
}

func TestSecretIsOneLineOfAFile(t *testing.T) {
	f := func(content, want string) {
		t.Helper()
		cfg := Config{Link: LinkConfig{SecretFile: writeFile(t, content)}}
		got, err := cfg.secret()
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	f("0123456789abcdef\n", "0123456789abcdef")
	f("0123456789abcde", "")
	f("0123456789abcdef\nmore", "")
	f(strings.Repeat("x", 5000), "")
	cfg := Config{Link: LinkConfig{SecretFile: "/nowhere"}}
	if _, err := cfg.secret(); err == nil || !strings.Contains(err.Error(), "link.secret_file") {
		t.Errorf("%v", err)
	}
}

func TestLongDataDirectoryGetsASocketElsewhere(t *testing.T) {
	if address, remove, err := socketAddress("/short"); address != "unix:/short/link.sock" || err != nil {
		t.Errorf("%q, %v", address, err)
	} else {
		remove()
	}
	address, remove, err := socketAddress("/" + strings.Repeat("long", 40))
	if err != nil || link.CheckAddress(address) != nil {
		t.Fatalf("%q, %v", address, err)
	}
	path, _ := link.SocketPath(address)
	info, err := os.Stat(filepath.Dir(path))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	remove()
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory stays: %v", err)
	}
}

func TestAReservedPortIsSharedWithEdgeProcessesOnly(t *testing.T) {
	address, held, err := reservePort("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := net.Listen("tcp", address); err == nil {
		t.Error("a stranger got the port")
	}
	if _, _, err := reservePort(address); err == nil {
		t.Error("it was reserved twice")
	}
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soReusePort, 1) })
	}}
	for range 2 {
		listener, err := shared.Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
	}
	if conn, err := net.Dial("tcp", address); err != nil { // not to the socket that does not listen
		t.Error(err)
	} else {
		_ = conn.Close()
	}
}

// startLog hands on the process ids that the supervisor logs.
type startLog struct {
	slog.Handler
	pids chan int
}

func (l startLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "pid" {
			l.pids <- int(a.Value.Int64())
		}
		return true
	})
	return nil
}

func (l startLog) Enabled(context.Context, slog.Level) bool { return true }

func TestAnEdgeProcessThatEndsIsStartedAgainUntilStop(t *testing.T) {
	pids, ends := make(chan int, 10), make(chan error, 10)
	s := newSupervisor(slog.New(startLog{slog.DiscardHandler, pids}))
	commands := []*exec.Cmd{exec.Command("/nowhere/at/all"), exec.Command("sh", "-c", "exit 3"), exec.Command("sleep", "1000"), exec.Command("sleep", "1000")}
	s.keep("edge-1", time.Minute, func() *exec.Cmd {
		cmd := commands[0]
		commands = commands[1:]
		return cmd
	}, func(err error) { ends <- err })
	for _, want := range []string{"no such file", "exit status 3"} {
		if err := <-ends; !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "edge-1") {
			t.Errorf("ended with %v, want %s", err, want)
		}
	}
	<-pids
	_ = syscall.Kill(<-pids, syscall.SIGKILL)
	if err := <-ends; !strings.Contains(err.Error(), "killed") {
		t.Errorf("ended with %v", err)
	}
	pid := <-pids
	s.Stop()
	s.Stop()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d outlives its supervisor: %v", pid, err)
	}
}
