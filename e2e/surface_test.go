package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godwit-im/godwit"
)

func mustJSON(t *testing.T, line string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(line), into); err != nil {
		t.Fatalf("not JSON: %v: %q", err, line)
	}
}

type sendLine struct {
	MID  string `json:"mid"`
	Seq  uint64 `json:"seq"`
	Conv string `json:"conv"`
	Dup  *bool  `json:"dup"`
}

func TestSendAndTailSpeakTheirDocumentedLines(t *testing.T) {
	s := newServer(t, "")
	s.start()
	tokens := s.tokens("alice", "bob")
	send := func(stdin string, args ...string) sendLine {
		t.Helper()
		out, errs, code := s.run(stdin, append([]string{"send", "--url", s.url(), "--token", tokens["alice"]}, args...)...)
		if code != 0 || strings.Count(out, "\n") != 1 {
			t.Fatalf("send %v: exit %d, stdout %q, stderr %s", args, code, out, errs)
		}
		var line sendLine
		mustJSON(t, out, &line)
		return line
	}
	first := send("", "--cid", "c-1", "bob", "ahoj 你好 <b>&\"")
	again := send("", "--cid", "c-1", "u:bob", "ahoj 你好 <b>&\"")
	if first.Seq != 1 || first.Conv != "u:bob" || first.Dup == nil || *first.Dup || again.MID != first.MID || again.Seq != 1 || !*again.Dup {
		t.Fatalf("first %+v, repeated %+v", first, again)
	}
	send("from stdin\nsecond line\n", "bob", "-")

	out, errs, code := s.run("", "tail", "--url", s.url(), "--token", tokens["bob"], "--since", "0", "--follow=false", "--json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 2 {
		t.Fatalf("tail: exit %d, %d lines: %q, stderr %s", code, len(lines), out, errs)
	}
	if !strings.Contains(lines[0], `"text":"ahoj 你好 <b>&\""`) {
		t.Fatalf("text is not unescaped UTF-8: %s", lines[0])
	}
	var ev struct {
		Seq uint64 `json:"seq"`
		Msg struct{ MID, Conv, From, CID, Text string }
	}
	mustJSON(t, lines[0], &ev)
	if ev.Seq != 1 || ev.Msg.MID != first.MID || ev.Msg.Conv != "u:alice" || ev.Msg.From != "alice" || ev.Msg.CID != "c-1" {
		t.Fatalf("tail shows %+v", ev)
	}
	out, _, _ = s.run("", "tail", "--url", s.url(), "--token", tokens["bob"], "--since", "1", "--follow=false", "--json")
	if mustJSON(t, out, &ev); ev.Seq != 2 || !strings.HasPrefix(ev.Msg.Text, "from stdin\nsecond line") {
		t.Fatalf("tail --since 1 shows %+v", ev)
	}
}

func TestPresenceIsTrueOfLiveSessions(t *testing.T) {
	s := newServer(t, "", "GODWIT_PRESENCE_VISIBLE=all", "GODWIT_PRESENCE_DEBOUNCE=500ms")
	s.start()
	tokens := s.tokens("alice", "bob")
	ask := func() (lines []struct {
		User     string `json:"user"`
		Online   bool   `json:"online"`
		LastSeen int64  `json:"last_seen"`
	},
	) {
		t.Helper()
		out, errs, code := s.run("", "presence", "--url", s.url(), "--token", tokens["alice"], "bob", "nobody", "--json")
		if code != 0 {
			t.Fatalf("presence: exit %d: %s", code, errs)
		}
		for line := range strings.Lines(out) {
			lines = append(lines, struct {
				User     string `json:"user"`
				Online   bool   `json:"online"`
				LastSeen int64  `json:"last_seen"`
			}{})
			mustJSON(t, line, &lines[len(lines)-1])
		}
		if len(lines) != 2 || lines[0].User != "bob" || lines[1].User != "nobody" {
			t.Fatalf("presence lines: %s", out)
		}
		return lines
	}
	if before := ask(); before[0].Online || before[1].Online {
		t.Fatalf("online before any session: %+v", before)
	}
	w, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens["bob"], "phone", godwit.Resume{})
	if during := ask(); !during[0].Online || during[1].Online {
		t.Fatalf("bob has a session: %+v", during)
	}
	w.conn.WriteClose(1000, nil)
	<-w.closed
	until(t, "bob, whose session ended cleanly, is offline", func() bool {
		after := ask()
		return !after[0].Online && after[0].LastSeen != 0
	})
}

// TestPresenceIsShownToThoseWhoAreKnown: a stranger sees nothing, and a message
// from him alone is enough to be known.
func TestPresenceIsShownToThoseWhoAreKnown(t *testing.T) {
	s := newServer(t, "")
	s.start()
	tokens := s.tokens("alice", "bob")
	connectWire(t, s.url(), godwit.EncodingJSON, tokens["bob"], "phone", godwit.Resume{})
	alice, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens["alice"], "phone", godwit.Resume{})
	if alice.online("bob") {
		t.Error("a stranger sees that bob is online")
	}
	if reply := alice.send("bob", "c1", "hello"); reply.Kind != godwit.KindSend {
		t.Fatalf("%+v", reply.Error)
	}
	if !alice.online("bob") {
		t.Error("bob has a conversation with alice and is not shown to her")
	}
}

func TestExitCodesAndJSONErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t, "")
	s.start()
	token := s.tokens("alice")["alice"]
	for _, c := range []struct {
		name string
		args []string
		code int
		want string // in the JSON error, when given
	}{
		{"no subcommand's argument", []string{"send"}, 2, ""},
		{"unknown flag", []string{"send", "--nope"}, 2, ""},
		{"unknown command", []string{"fly"}, 2, ""},
		{"bad token", []string{"send", "--json", "--url", s.url(), "--token", "x.y.z", "bob", "hi"}, 1, "token.invalid"},
		{"bad recipient", []string{"send", "--json", "--url", s.url(), "--token", token, "b b", "hi"}, 1, "conversation.invalid"},
		{"too large", []string{"send", "--json", "--url", s.url(), "--token", token, "bob", strings.Repeat("x", 20000)}, 1, "body.too_large"},
		{"a group", []string{"send", "--json", "--url", s.url(), "--token", token, "g:42", "hi"}, 1, "conversation.not_member"},
	} {
		out, errs, code := s.run("", c.args...)
		if code != c.code {
			t.Errorf("%s: exit %d, want %d (%s)", c.name, code, c.code, errs)
		}
		if c.want != "" {
			var body struct{ Error struct{ Code string } }
			mustJSON(t, out, &body)
			if body.Error.Code != c.want {
				t.Errorf("%s: error code %q, want %q", c.name, body.Error.Code, c.want)
			}
		}
	}
	_, errs, code := s.run("", "send", "--timeout", "4s", "--url", "ws://127.0.0.1:1/v1/ws", "--token", token, "bob", "hi")
	if code != 1 || !strings.Contains(errs, "127.0.0.1:1") || !strings.Contains(errs, "refused") {
		t.Errorf("a server that is not there: exit %d, %q does not say what is wrong", code, errs)
	}
	out, _, code := s.run("", "--help")
	if code != 0 || !strings.Contains(out, "godwit demo") {
		t.Errorf("--help: exit %d: %s", code, out)
	}
}

func TestDevelopmentTokensAreRefusedBeyondLoopback(t *testing.T) {
	_, errs, code := runBinary(t, binary(t, ""), "", "serve", "--dev", "--listen", "0.0.0.0:0", "--ops", "127.0.0.1:0", "--data", t.TempDir())
	if code == 0 || !strings.Contains(errs, "loopback") {
		t.Fatalf("exit %d: %s", code, errs)
	}
}

func TestOpsEndpointsTellTheTruth(t *testing.T) {
	s := newServer(t, "")
	s.start()
	tokens := s.tokens("alice")
	connectWire(t, s.url(), godwit.EncodingProto, tokens["alice"], "phone", godwit.Resume{})
	for path, want := range map[string]string{"/healthz": "", "/readyz": "", "/metrics": "godwit_"} {
		if body := get(t, "http://"+s.ops+path); !strings.Contains(body, want) {
			t.Errorf("%s: %.200s", path, body)
		}
	}
}

// get returns the body of a page that must answer 200.
func get(t *testing.T, url string) string {
	t.Helper()
	reply, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", url, reply.StatusCode, err)
	}
	return string(body)
}

func TestTerminateDrainsAndLosesNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t, "")
	s.start()
	tokens := s.tokens("alice", "bob")
	w, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens["alice"], "phone", godwit.Resume{})
	if reply := w.send("bob", "c1", "before the end"); reply.Kind != godwit.KindSend {
		t.Fatalf("send: %+v", reply.Error)
	}
	if code := s.terminate(); code != 0 {
		t.Fatalf("exit %d after SIGTERM:\n%s", code, s.stderr)
	}
	goaway, ok := w.next()
	if !ok || goaway.Kind != godwit.KindGoaway || goaway.Goaway.Reason != "drain" {
		t.Fatalf("no goaway before the end: %+v", goaway)
	}
	if closed := <-w.closed; closed == nil || closed.Code != uint16(godwit.CloseDrain) {
		t.Fatalf("closed with %v, want %d", closed, godwit.CloseDrain)
	}
	s.start()
	w, _ = connectWire(t, s.url(), godwit.EncodingJSON, tokens["bob"], "phone", godwit.Resume{})
	if page := w.sync(0, 0); len(page.Entries) != 1 || string(page.Entries[0].Msg.Body) != "before the end" {
		t.Fatalf("bob's log after the restart: %+v", page)
	}
}

// TestDemoLeavesNothingBehindAfterKill: one process; after kill -9 port and
// data are free at once.
func TestDemoLeavesNothingBehindAfterKill(t *testing.T) {
	dir := t.TempDir()
	port := freePort(t)
	for range 3 {
		cmd := exec.Command(binary(t, ""), "demo", "--listen", port, "--ops", "127.0.0.1:0", "--data", dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		errs := &tail{}
		cmd.Stderr = errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 64<<10)
		var printed strings.Builder
		for !strings.Contains(printed.String(), "tail --url") {
			n, err := stdout.Read(buf)
			printed.Write(buf[:n])
			if err != nil {
				t.Fatalf("demo ended: %v\n%s%s", err, printed.String(), errs)
			}
		}
		for path, want := range map[string]string{"/": "<!doctype html>", "/godwit.js": "export", "/demo.json": `"user":"alice"`} {
			if page := get(t, "http://"+port+path); !strings.Contains(page, want) {
				t.Errorf("%s: %.300s", path, page)
			}
		}
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
		for _, list := range lists {
			if children, _ := os.ReadFile(list); len(children) > 0 {
				t.Errorf("demo runs children: %s", children)
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
