package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/lxzan/gws"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/engine"
)

// session is a client of one test: JSON frames by hand, in order.
type session struct {
	gws.BuiltinEventHandler
	t      *testing.T
	conn   *gws.Conn
	frames chan string   // bounded: the server sends a handful; closed at the end
	closed chan struct{} // closed once ReadLoop has ended
	code   uint16        // of the close frame; read after closed
}

func (s *session) OnMessage(_ *gws.Conn, m *gws.Message) {
	s.frames <- string(m.Bytes())
	_ = m.Close()
}

func (s *session) OnClose(_ *gws.Conn, err error) {
	var closed *gws.CloseError
	if errors.As(err, &closed) {
		s.code = closed.Code
	}
	close(s.frames)
}

func dial(t *testing.T, n *Node) *session {
	t.Helper()
	s := &session{t: t, frames: make(chan string, 64), closed: make(chan struct{})}
	conn, _, err := gws.NewClient(s, &gws.ClientOption{
		Addr:          "ws://" + n.Addr() + "/v1/ws",
		RequestHeader: http.Header{"Sec-Websocket-Protocol": {"godwit.v1.json"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.conn = conn
	go func() {
		conn.ReadLoop()
		close(s.closed)
	}()
	t.Cleanup(func() {
		_ = conn.NetConn().Close()
		<-s.closed
	})
	return s
}

func (s *session) write(format string, args ...any) {
	s.t.Helper()
	if err := s.conn.WriteString(fmt.Sprintf(format, args...)); err != nil {
		s.t.Fatal(err)
	}
}

// until returns the next frame that holds text; ok is false if none comes.
func (s *session) until(text string) (frame string, ok bool) {
	for frame = range s.frames {
		if strings.Contains(frame, text) {
			return frame, true
		}
	}
	return "", false
}

// connected opens a session with a token.
func connected(t *testing.T, n *Node, token string) *session {
	t.Helper()
	s := dial(t, n)
	s.write(`{"id":1,"connect":{"token":%q,"device":"phone"}}`, token)
	if frame, ok := s.until(`"id":1`); !ok || !strings.Contains(frame, `"connect":`) {
		t.Fatalf("connect answered %q, closed with %d", frame, s.code)
	}
	return s
}

func devToken(t *testing.T, cfg Config) string {
	t.Helper()
	signer, err := auth.DevSigner(cfg.Data, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signer.Mint("alice", 1e12)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// store sends one message and returns the answer.
func (s *session) store(id int, text string) (answer string, ok bool) {
	s.t.Helper()
	s.write(`{"id":%d,"send":{"to":"bob","cid":"c%d","text":%q}}`, id, id, text)
	return s.until(fmt.Sprintf(`"id":%d`, id))
}

func TestMetricsSayWhatEverySeriesIsAndCount(t *testing.T) {
	cfg := testConfig(t)
	n := mustOpen(t, cfg)
	s := connected(t, n, devToken(t, cfg))
	for id := 2; id <= 4; id++ {
		if answer, ok := s.store(id, "hello"); !ok || !strings.Contains(answer, `"stored"`) {
			t.Fatalf("send answered %q", answer)
		}
	}
	s.write(`{"id":5,"send":{"to":"bob","cid":"c4","text":"hello"}}`)
	if answer, ok := s.until(`"id":5`); !ok || !strings.Contains(answer, `"dup":true`) {
		t.Fatalf("a repeat was answered %q", answer)
	}
	get(t, "http://"+n.Addr()+"/nothing", "") // a refusal to count
	_, _, text := get(t, "http://"+n.OpsAddr()+"/metrics", "")
	for _, series := range slices.Concat(edgeSeries(), chatSeries(), engineSeries()) {
		name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(series.desc.String())[1]
		if !regexp.MustCompile(`(?m)^# HELP `+name+` \S.*\.$`).MatchString(text) || !regexp.MustCompile(`(?m)^`+name+` [0-9.e+]+$`).MatchString(text) {
			t.Errorf("%s has no HELP or no value", name)
		}
		if (series.kind == prometheus.CounterValue) != strings.HasSuffix(name, "_total") {
			t.Errorf("%s: counters, and they alone, end in _total", name)
		}
	}
	for _, want := range []string{
		"godwit_edge_connections [1-9]", "godwit_edge_sessions 1", "godwit_edge_upgrades_total 1", "godwit_edge_accepted_total [2-9]",
		"godwit_edge_frames_received_total 5", "godwit_edge_frames_sent_total [5-9]", "godwit_edge_events_total [0-3]",
		`godwit_edge_refused_total\{status="404"\} 1`, "godwit_chat_stored_total 3", "godwit_chat_repeated_total 1",
		"godwit_engine_entries 6", "godwit_engine_logs 2", "godwit_engine_proposals_total [1-9]", "godwit_engine_wal_bytes_total [1-9]",
		"godwit_engine_fsync_seconds_count [1-9]", `godwit_engine_fsync_seconds_bucket\{le="\+Inf"\} [1-9]`, "go_goroutines [1-9]",
	} {
		if !regexp.MustCompile(`(?m)^` + want).MatchString(text) {
			t.Errorf("no %s in\n%s", want, regexp.MustCompile(`(?m)^(#|go_|process_).*\n`).ReplaceAllString(text, ""))
		}
	}
}

func TestReadinessIsStartingWhileTheStoreOpens(t *testing.T) {
	cfg := testConfig(t)
	cfg.Ops = freeAddress(t)
	asked := false
	cfg.tuneEngine = func(*engine.Config) { // called before the store opens
		asked = true
		if status, _, body := get(t, "http://"+cfg.Ops+"/readyz", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "starting") {
			t.Errorf("readyz before the store is open: %d %s", status, body)
		}
		if status, _, body := get(t, "http://"+cfg.Ops+"/metrics", ""); status != http.StatusOK || strings.Contains(body, "godwit_") {
			t.Errorf("metrics before the tiers are up: %d %.200s", status, body)
		}
	}
	n := mustOpen(t, cfg)
	if _, _, body := get(t, "http://"+n.OpsAddr()+"/readyz", ""); !asked || !strings.Contains(body, "ready") {
		t.Errorf("asked %v; readyz after: %s", asked, body)
	}
}

// TestDrainAsksThenClosesThenStops: readiness first, then goaway, then 4300 to
// who stays; the store is the last to go and holds what was acknowledged.
func TestDrainAsksThenClosesThenStops(t *testing.T) {
	cfg := testConfig(t)
	cfg.Drain.Timeout = Duration(3600 * 1e9) // the client moves by itself
	n := mustOpen(t, cfg)
	token := devToken(t, cfg)
	s := connected(t, n, token)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	cancel()
	if frame, ok := s.until("goaway"); !ok || !strings.Contains(frame, `"drain"`) {
		t.Fatalf("got %q, want a goaway", frame)
	}
	if _, _, body := get(t, "http://"+n.OpsAddr()+"/readyz", ""); !strings.Contains(body, "draining") {
		t.Errorf("readyz after goaway: %s", body)
	}
	if answer, ok := s.store(2, "sent after goaway"); !ok || !strings.Contains(answer, `"stored"`) {
		t.Errorf("a send while draining was answered %q", answer)
	}
	select {
	case err := <-ended:
		t.Fatalf("the node ended (%v) while a session was open and had time", err)
	default:
	}
	_ = s.conn.NetConn().Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	again := mustOpen(t, cfg)
	s = connected(t, again, token)
	s.write(`{"id":2,"sync":{"since":0}}`)
	if page, ok := s.until(`"id":2`); !ok || !strings.Contains(page, "sent after goaway") {
		t.Errorf("after the restart the log holds %q", page)
	}
}

func TestDrainClosesWhoStays(t *testing.T) {
	cfg := testConfig(t) // no time to move at all
	n := mustOpen(t, cfg)
	s := connected(t, n, devToken(t, cfg))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.Run(ctx); err != nil {
		t.Error(err)
	}
	if <-s.closed; s.code != 4300 {
		t.Errorf("closed with %d, want 4300", s.code)
	}
}

// brokenDisk fails every sync and write of the WAL once on is set.
func brokenDisk(cfg *Config, on *atomic.Bool, cause error) {
	cfg.tuneEngine = func(e *engine.Config) {
		e.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if on.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				return cause
			}
			return nil
		}))
	}
}

func TestFailedDiskEndsRunAndAcknowledgesNothingMore(t *testing.T) {
	cfg := testConfig(t)
	var broken atomic.Bool
	brokenDisk(&cfg, &broken, syscall.EIO)
	n := mustOpen(t, cfg)
	token := devToken(t, cfg)
	s := connected(t, n, token)
	if answer, ok := s.store(2, "before"); !ok || !strings.Contains(answer, `"stored"`) {
		t.Fatalf("a send to a sound disk was answered %q", answer)
	}
	broken.Store(true)
	s.write(`{"id":3,"send":{"to":"bob","cid":"c3","text":"after"}}`)
	if err := n.Run(context.Background()); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "the store failed") {
		t.Errorf("run ended with %v", err)
	}
	<-s.closed
	for frame := range s.frames {
		if !strings.Contains(frame, `"id":3,"error":{"code":"unknown"`) && !strings.Contains(frame, `"text":"before"`) {
			t.Errorf("after the failure came %s", frame)
		}
	}
	broken.Store(false)
	s = connected(t, mustOpen(t, cfg), token)
	s.write(`{"id":2,"sync":{"since":0}}`)
	if page, ok := s.until(`"id":2`); !ok || !strings.Contains(page, "before") {
		t.Errorf("what was acknowledged before the failure is gone: %q", page)
	}
}

func TestDiskThatFailsWhileDrainingEndsTheDrain(t *testing.T) {
	cfg := testConfig(t)
	cfg.Drain.Timeout = Duration(3600 * 1e9)
	var broken atomic.Bool
	brokenDisk(&cfg, &broken, syscall.EIO)
	n := mustOpen(t, cfg)
	s := connected(t, n, devToken(t, cfg))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	cancel()
	if _, ok := s.until("goaway"); !ok {
		t.Fatal("no goaway")
	}
	broken.Store(true)
	s.write(`{"id":3,"send":{"to":"bob","cid":"c3","text":"after"}}`)
	if err := <-ended; !errors.Is(err, syscall.EIO) {
		t.Errorf("run ended with %v", err)
	}
}

func TestFullDiskAtStartIsSaidAndHoldsNothing(t *testing.T) {
	cfg := testConfig(t)
	var full atomic.Bool
	full.Store(true)
	brokenDisk(&cfg, &full, syscall.ENOSPC)
	if n, err := Open(t.Context(), cfg); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("opened %v, %v", n, err)
	}
	full.Store(false)
	mustOpen(t, cfg) // neither the lock nor half a store is left behind
}

func TestDataDirectoryThatCantBeMade(t *testing.T) {
	keys := writeFile(t, "keys: [{kid: a, alg: HS256, key: YSBzZWNyZXQgd2l0aCBhdCBsZWFzdCB0aGlydHktdHdvIGJ5dGVz}]\n")
	f := func(dev bool, data string) {
		t.Helper()
		cfg := testConfig(t)
		cfg.Dev, cfg.Data = dev, data
		if !dev {
			cfg.Auth = AuthConfig{KeysFile: keys, Issuer: "i", Audience: "a"}
		}
		n, err := Open(t.Context(), cfg)
		if n != nil || err == nil || !strings.Contains(err.Error(), data) {
			t.Errorf("dev %v, data %s: %v", dev, data, err)
		}
	}
	file := filepath.Join(writeFile(t, "a file, not a directory"), "data")
	f(true, file)
	f(false, file)
	if os.Geteuid() != 0 { // root writes anywhere
		sealed := t.TempDir()
		if err := os.Chmod(sealed, 0o500); err != nil {
			t.Fatal(err)
		}
		f(true, filepath.Join(sealed, "data"))
		f(false, filepath.Join(sealed, "data"))
	}
}

func TestSilentOpsConnectionDoesNotSpoilTheEnd(t *testing.T) {
	n := mustOpen(t, testConfig(t))
	conn, err := net.Dial("tcp", n.OpsAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	get(t, "http://"+n.OpsAddr()+"/healthz", "") // accepted after it
	if err := n.Close(); err != nil {
		t.Errorf("closed with %v", err)
	}
	if last := phase(n.ops.phase.Load()); last != draining {
		t.Errorf("a closed node was %s to the last", phaseNames[last])
	}
}
