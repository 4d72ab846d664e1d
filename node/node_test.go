package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/godwit-im/godwit/engine"
	"github.com/godwit-im/godwit/internal/loopback"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), // gnet starts a pool at init
		// fasthttp's clock for the Date field, started by its first answer for good.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

func testConfig(t *testing.T) Config {
	cfg := Default()
	cfg.Dev = true
	cfg.Listen, cfg.Ops, cfg.Data = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	cfg.Drain = DrainConfig{}
	cfg.answerSeconds = 60 // a machine or a disk that stands still for seconds must not make an answer unknown
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Static = func(path string) (string, []byte, bool) { return "text/plain", []byte("the page"), path == "/" }
	return cfg
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := loopback.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func mustOpen(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// get asks over a connection of its own, which leaves no goroutine behind.
func get(t *testing.T, url, host string) (status int, header http.Header, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	transport := &http.Transport{DisableKeepAlives: true}
	reply, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, reply.Header, string(data)
}

func TestRunServesUntilItsContextEnds(t *testing.T) {
	cfg := testConfig(t)
	cfg.Listen, cfg.Ops = freeAddress(t), freeAddress(t)
	for range 2 { // the second start finds ports and data free
		n := mustOpen(t, cfg)
		for path, want := range map[string]string{"/healthz": "ready", "/readyz": "ready", "/metrics": "godwit_engine_wal_frames_total"} {
			if status, _, body := get(t, "http://"+n.OpsAddr()+path, ""); status != 200 || !strings.Contains(body, want) {
				t.Errorf("%s: %d %.100s", path, status, body)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- n.Run(ctx) }()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
	}
}

func TestReadinessFollowsThePhase(t *testing.T) {
	n := mustOpen(t, testConfig(t))
	f := func(p phase, healthz, readyz int) {
		t.Helper()
		n.ops.set(p)
		for path, want := range map[string]int{"/healthz": healthz, "/readyz": readyz} {
			if status, _, body := get(t, "http://"+n.OpsAddr()+path, ""); status != want || !strings.Contains(body, phaseNames[p]) {
				t.Errorf("%s while %s: %d %s", path, phaseNames[p], status, body)
			}
		}
	}
	f(starting, 200, 503)
	f(ready, 200, 200)
	f(draining, 200, 503)
	f(failed, 503, 503)
}

func TestDrainTurnsReadinessOff(t *testing.T) {
	n := mustOpen(t, testConfig(t))
	n.drain()
	if status, _, _ := get(t, "http://"+n.OpsAddr()+"/readyz", ""); status != http.StatusServiceUnavailable {
		t.Errorf("readyz answers %d while the node drains", status)
	}
}

func TestStoreFailureEndsTheNode(t *testing.T) {
	n := mustOpen(t, testConfig(t))
	broken := errors.New("input/output error")
	n.engineConfig().Fatal(broken)
	if err := n.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("run ended with %v", err)
	}
}

func TestLoopbackPortsRefuseForeignHosts(t *testing.T) {
	n := mustOpen(t, testConfig(t))
	f := func(url, host string, want int) {
		t.Helper()
		if status, _, _ := get(t, url, host); status != want {
			t.Errorf("%s as %s: %d, want %d", url, host, status, want)
		}
	}
	ops, public := "http://"+n.OpsAddr()+"/healthz", "http://"+n.Addr()+"/"
	f(ops, "", 200)
	f(ops, "localhost", 200)
	f(ops, "[::1]:8081", 200)
	f(ops, "evil.example:8081", http.StatusMisdirectedRequest)
	f(ops, "127.0.0.1.evil.example", http.StatusMisdirectedRequest)
	f(public, "localhost:8080", 200)
	f(public, "evil.example", http.StatusForbidden)
}

func TestPageMayCallOnlyWhatCameWithIt(t *testing.T) {
	cfg := testConfig(t)
	cfg.OpsRoutes = map[string]http.Handler{"/extra": http.NotFoundHandler()}
	n := mustOpen(t, cfg)
	_, header, _ := get(t, "http://"+n.Addr()+"/", "")
	if got, want := header.Get("Content-Security-Policy"), "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self' http://"+n.OpsAddr(); got != want {
		t.Errorf("policy %q, want %q", got, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	running := mustOpen(t, testConfig(t))
	f := func(want string, change func(*Config)) {
		t.Helper()
		cfg := testConfig(t)
		change(&cfg)
		n, err := Open(t.Context(), cfg)
		if err == nil {
			_ = n.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
	f("loopback", func(c *Config) { c.Listen = "0.0.0.0:0" })
	f("auth.keys_file", func(c *Config) { c.Dev = false })
	f("address already in use", func(c *Config) { c.Listen = running.Addr() })
	f("address already in use", func(c *Config) { c.Ops = running.OpsAddr() })
	f(engine.ErrLocked.Error(), func(c *Config) { c.Data = running.cfg.Data })
	f("read keys file", func(c *Config) {
		c.Dev, c.Auth = false, AuthConfig{KeysFile: filepath.Join(c.Data, "none"), Issuer: "i", Audience: "a"}
	})
	f("dev-signing-key is damaged", func(c *Config) {
		if err := os.WriteFile(filepath.Join(c.Data, "dev-signing-key"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOpenWithKeysOfItsOwn(t *testing.T) {
	cfg := testConfig(t)
	keys := filepath.Join(cfg.Data, "keys.yaml")
	if err := os.WriteFile(keys, []byte("keys: [{kid: a, alg: HS256, key: YSBzZWNyZXQgd2l0aCBhdCBsZWFzdCB0aGlydHktdHdvIGJ5dGVz}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Dev, cfg.Auth = false, AuthConfig{KeysFile: keys, Issuer: "i", Audience: "a"}
	mustOpen(t, cfg)
	if _, err := os.Stat(filepath.Join(cfg.Data, "dev-signing-key")); !os.IsNotExist(err) {
		t.Errorf("a development key was made: %v", err)
	}
}

func TestReachable(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := Reachable(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	f("127.0.0.1:80", "127.0.0.1:80")
	f("[::]:80", "127.0.0.1:80")
	f("0.0.0.0:80", "127.0.0.1:80")
	f("[::1]:80", "[::1]:80")
	f("10.0.0.1:80", "10.0.0.1:80")
}
