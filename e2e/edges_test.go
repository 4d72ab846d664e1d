package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// edgeInfo is one line of GET /v1/edges.
type edgeInfo struct {
	Index    int       `json:"index"`
	Node     string    `json:"node"`
	PID      int       `json:"pid"`
	Ops      string    `json:"ops"`
	Sessions int       `json:"sessions"`
	Since    time.Time `json:"since"`
}

func edgesOf(t testing.TB, ops string) (list []edgeInfo) {
	t.Helper()
	reply, err := http.Get("http://" + ops + "/v1/edges")
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if err := json.NewDecoder(reply.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	return list
}

// until waits for something that must come.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for late := time.After(patience); !ok(); {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// onEachNode opens sessions until every one of n nodes has one of some user; it
// returns them by node. The system spreads connections, so a few more are opened.
func onEachNode(t testing.TB, s *server, n int) (sessions map[string]*wire, users map[string]string) {
	t.Helper()
	sessions, users = map[string]*wire{}, map[string]string{}
	for i := 0; len(sessions) < n; i++ {
		if i == 200 {
			t.Fatalf("200 connections came to %d of %d nodes", len(sessions), n)
		}
		user := fmt.Sprintf("user%d", i)
		w, reply := connectWire(t, s.url(), godwit.Encoding(i%2), s.tokens(user)[user], "phone", godwit.Resume{})
		if _, have := sessions[reply.Node]; have {
			_ = w.conn.NetConn().Close()
			continue
		}
		sessions[reply.Node], users[reply.Node] = w, user
	}
	return sessions, users
}

func (w *wire) awaitEvent(text string) {
	w.t.Helper()
	late := time.After(patience)
	for {
		if slices.ContainsFunc(w.events, func(e godwit.Entry) bool { return string(e.Msg.Body) == text }) {
			return
		}
		select {
		case f, ok := <-w.frames:
			if !ok {
				w.t.Fatalf("the connection ended before %q came", text)
			}
			if f.Kind == godwit.KindEvent {
				w.events = append(w.events, f.Event)
			}
		case <-late:
			w.t.Fatalf("%q did not come", text)
		}
	}
}

func TestSessionsOfAllEdgeProcessesReachOneAnother(t *testing.T) {
	t.Parallel()
	s := newServer(t, "", "GODWIT_EDGES=3", "GODWIT_NODE=here")
	s.start()
	list := edgesOf(t, s.ops)
	if len(list) != 3 {
		t.Fatalf("%+v", list)
	}
	for _, e := range list {
		if e.PID == s.cmd.Process.Pid || e.Since.IsZero() || metric(t, e.Ops, "godwit_link_up") != 1 {
			t.Errorf("%+v", e)
		}
	}
	sessions, users := onEachNode(t, s, 3)
	if got := sortedKeys(sessions); !slices.Equal(got, []string{"here-1", "here-2", "here-3"}) {
		t.Errorf("nodes %q", got)
	}
	for from, w := range sessions {
		for to, user := range users {
			if reply := w.send(user, from+to, from+" to "+to); reply.Kind != godwit.KindSend {
				t.Fatalf("%+v", reply.Error)
			}
			sessions[to].awaitEvent(from + " to " + to)
			if !w.online(user) {
				t.Errorf("%s is offline as seen from %s", user, from)
			}
		}
	}
	if code := s.terminate(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, s.stderr)
	}
	for _, e := range list {
		if err := syscall.Kill(e.PID, 0); err == nil {
			t.Errorf("process %d outlives its parent", e.PID)
		}
	}
	for node, w := range sessions {
		if how := <-w.closed; how == nil || how.Code != uint16(godwit.CloseDrain) {
			t.Errorf("%s closed with %v", node, how)
		}
	}
}

func TestAKilledEdgeProcessTakesItsOwnUsersOfflineOnly(t *testing.T) {
	t.Parallel()
	s := newServer(t, "", "GODWIT_EDGES=2", "GODWIT_NODE=here", "GODWIT_PRESENCE_VISIBLE=all")
	s.start()
	sessions, users := onEachNode(t, s, 2)
	list := edgesOf(t, s.ops)
	victim := list[slices.IndexFunc(list, func(e edgeInfo) bool { return e.Node == "here-1" })]
	witness, user := sessions["here-2"], users["here-1"]
	if !witness.online(user) {
		t.Fatal("not online to begin with")
	}
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-sessions["here-1"].closed
	until(t, "the dead process's user is offline", func() bool { return !witness.online(user) })
	if reply := witness.send(user, "c1", "while you were away"); reply.Kind != godwit.KindSend {
		t.Fatalf("%+v", reply.Error)
	}
	if reply := witness.send(users["here-2"], "c2", "to myself"); reply.Kind != godwit.KindSend {
		t.Fatalf("%+v", reply.Error)
	}
	witness.awaitEvent("to myself") // on the same connection: nobody disturbed it
	back, _ := connectWire(t, s.url(), godwit.EncodingJSON, s.tokens(user)[user], "phone", godwit.Resume{Set: true})
	back.awaitEvent("while you were away")
	until(t, "another process has taken its place", func() bool {
		list := edgesOf(t, s.ops)
		return len(list) == 2 && !slices.ContainsFunc(list, func(e edgeInfo) bool { return e.PID == victim.PID })
	})
}

func TestNothingIsLostWhenEdgeProcessesAndAllAreKilled(t *testing.T) {
	s := newServer(t, "", "GODWIT_EDGES=3")
	c := newCampaign(t, s, 6)
	edges, strikes := 0, 0
	all := c.strike
	c.strike = func() {
		if strikes++; strikes%5 == 0 {
			all()
			return
		}
		if list := edgesOf(t, s.ops); len(list) > 0 {
			edges++
			_ = syscall.Kill(list[rand.IntN(len(list))].PID, syscall.SIGKILL)
		}
	}
	h := c.run(20, patience)
	c.readBack(h)
	t.Logf("%d edge processes killed, and the whole server %d times: %d messages, %d acks", edges, strikes-edges, len(h.sent), len(h.acks))
	for _, broken := range append(c.violations, h.check()...) {
		t.Error(broken)
	}
	if len(h.sent) < 1000 || edges < 10 {
		t.Errorf("only %d messages and %d kills: the run is too small to mean anything", len(h.sent), edges)
	}
}

// roles are one engine process and edge processes on one port, each started by hand.
type roles struct {
	t       testing.TB
	path    string
	dir     string
	socket  string
	ops     string // the engine process's
	env     []string
	running map[string]*exec.Cmd
	errs    map[string]*tail
}

func newRoles(t testing.TB) *roles {
	short, err := os.MkdirTemp("", "gw") // the test's own directory is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	r := &roles{t: t, path: binary(t, ""), dir: t.TempDir(), socket: filepath.Join(short, "s"), running: map[string]*exec.Cmd{}, errs: map[string]*tail{}}
	t.Cleanup(func() {
		for name := range r.running {
			r.kill(name)
		}
		_ = os.RemoveAll(short)
	})
	return r
}

// start runs a process until its /readyz says so; its stdout has the addresses.
func (r *roles) start(name string, args ...string) (out string) {
	r.t.Helper()
	cmd := exec.Command(r.path, append([]string{"serve", "--dev", "--data", r.dir}, args...)...)
	cmd.Env = append(append(os.Environ(), "GODWIT_NODE="+name), r.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout := &tail{}
	r.errs[name] = &tail{}
	cmd.Stdout, cmd.Stderr = stdout, r.errs[name]
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.running[name] = cmd
	until(r.t, name+" is ready", func() bool { return strings.Contains(stdout.String(), "ops on") })
	return stdout.String()
}

func (r *roles) kill(name string) {
	cmd := r.running[name]
	delete(r.running, name)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func (r *roles) engine() {
	r.t.Helper()
	out := r.start("engine", "--role", "engine", "--link", "unix:"+r.socket, "--ops", "127.0.0.1:0")
	_, rest, _ := strings.Cut(out, "ops on http://")
	r.ops = strings.TrimSpace(rest)
}

func (r *roles) edge(name, listen string) (public string) {
	r.t.Helper()
	out := r.start(name, "--role", "edge", "--upstream", "unix:"+r.socket, "--ops", "127.0.0.1:0", "--listen", listen)
	_, rest, _ := strings.Cut(out, "ws://")
	public, _, _ = strings.Cut(rest, "/")
	return public
}

// With sessions that are held nobody is even disconnected.
func TestNothingIsLostWhenTheEngineProcessIsKilledUnderItsEdges(t *testing.T) {
	t.Run("held", func(t *testing.T) { killEngines(t, "1m", 6) })
	t.Run("closed", func(t *testing.T) { killEngines(t, "0s", 6) })
}

func killEngines(t *testing.T, hold string, kills int) {
	r := newRoles(t)
	r.env = []string{"GODWIT_EDGE_REUSE_PORT=true", "GODWIT_LINK_HOLD=" + hold}
	s := &server{t: t, path: r.path, dir: r.dir}
	c := newCampaign(t, s, 6)
	c.begin = func() {
		r.engine()
		s.listen = r.edge("edge-1", "127.0.0.1:0")
		r.edge("edge-2", s.listen)
		c.open()
	}
	pids := map[int]bool{}
	c.strike = func() {
		r.kill("engine")
		r.engine()
	}
	h := c.run(kills, patience)
	connections := 0
	for _, d := range c.devices {
		connections += d.reopened
	}
	for name, cmd := range r.running {
		pids[cmd.Process.Pid] = true
		if strings.Contains(r.errs[name].String(), "panic") {
			t.Errorf("%s:\n%s", name, r.errs[name])
		}
	}
	until(t, "both are attached again", func() bool { return len(edgesOf(t, r.ops)) == 2 })
	c.readBack(h)
	t.Logf("the engine process killed %d times: %d messages, %d acks, %d temporary refusals, %d devices with %d connections", kills, len(h.sent), len(h.acks), c.retries, len(c.devices), connections)
	if lost := connections > len(c.devices); lost == (hold == "1m") {
		t.Errorf("%d devices had %d connections", len(c.devices), connections)
	}
	for _, broken := range append(c.violations, h.check()...) {
		t.Error(broken)
	}
	if len(h.sent) < 20*kills || len(pids) != 3 {
		t.Errorf("%d messages, %d processes: the run is too small to mean anything", len(h.sent), len(pids))
	}
}

func TestAnEdgeProcessTurnsNewcomersAwayWhileItsEngineIsGone(t *testing.T) {
	r := newRoles(t)
	r.env = []string{"GODWIT_LINK_HOLD=0s"}
	r.engine()
	listen := r.edge("edge-1", "127.0.0.1:0")
	s := &server{t: t, path: r.path, dir: r.dir, listen: listen}
	token := s.tokens("alice")["alice"]
	w, _ := connectWire(t, s.url(), godwit.EncodingProto, token, "phone", godwit.Resume{})
	r.kill("engine")
	if how := <-w.closed; how == nil || how.Code != uint16(godwit.CloseRebalance) || !strings.Contains(string(how.Reason), "engine_lost") {
		t.Errorf("closed with %v", how)
	}
	reply, err := http.Get("http://" + listen + "/v1/ws")
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	if reply.StatusCode != http.StatusServiceUnavailable || reply.Header.Get("Retry-After") == "" {
		t.Errorf("a newcomer was answered %d, Retry-After %q", reply.StatusCode, reply.Header.Get("Retry-After"))
	}
	r.engine()
	until(t, "clients are taken again", func() bool {
		reply, err := http.Get("http://" + listen + "/v1/ws")
		if err != nil {
			return false
		}
		_ = reply.Body.Close()
		return reply.StatusCode == http.StatusBadRequest || reply.StatusCode == http.StatusUpgradeRequired
	})
	w, _ = connectWire(t, s.url(), godwit.EncodingProto, token, "phone", godwit.Resume{})
	if answer := w.send("alice", "c1", "hi"); answer.Kind != godwit.KindSend {
		t.Errorf("%+v", answer.Error)
	}
}
