package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/client"
	"github.com/godwit-im/godwit/node"
)

func TestMintWorksBesideARunningServer(t *testing.T) {
	dir := t.TempDir()
	d := startDemo(t, dir)
	from := time.Now()
	out, errs, code := runApp(t, nil, "token", "mint", "--data", dir, "bob", "alice", "bob")
	tokens := strings.Fields(out)
	if code != exitDone || len(tokens) != 3 {
		t.Fatalf("exit %d, %q, %q", code, out, errs)
	}
	signer, err := auth.DevSigner(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	keyring, err := auth.NewKeyring(signer.Config())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"bob", "alice", "bob"} {
		who, err := keyring.Verify([]byte(tokens[i]))
		user, expires := who.User, who.Expires
		least, most := from.Add(24*time.Hour-time.Second).UnixMilli(), time.Now().Add(24*time.Hour).UnixMilli()
		if err != nil || string(user) != want || expires < least || expires > most {
			t.Errorf("token %d is %s's until %d (%v), want %s's until %d to %d", i, user, expires, err, want, least, most)
		}
	}
	if out, errs, code := runApp(t, nil, "presence", "--url", d.info().WS, "--token", tokens[1], "bob"); code != exitDone || !strings.HasPrefix(out, "bob o") {
		t.Errorf("the server refuses the token: exit %d, %q, %q", code, out, errs)
	}
}

func TestPlainTailNeitherSteersNorForges(t *testing.T) {
	d := startDemo(t, t.TempDir())
	info := d.info()
	text := "\x1b]0;title\a\u202egnp.exe\u3000\U0001F469\u200d\U0001F4BB\n9 12:00:00 u:alice alice: forged\r"
	if _, errs, code := runApp(t, nil, "send", "--url", info.WS, "--token", info.Users[2].Token, "bob", text); code != exitDone {
		t.Fatal(errs)
	}
	out, _, code := runApp(t, nil, "tail", "--follow=false", "--url", info.WS, "--token", info.Users[1].Token)
	want := "carol: \ufffd]0;title\ufffd\ufffdgnp.exe\u3000\U0001F469\u200d\U0001F4BB\n    9 12:00:00 u:alice alice: forged\ufffd\n"
	if code != exitDone || !strings.HasSuffix(out, want) {
		t.Errorf("exit %d, got %q, want it to end in %q", code, out, want)
	}
	out, _, _ = runApp(t, nil, "tail", "--json", "--follow=false", "--url", info.WS, "--token", info.Users[1].Token)
	if !strings.Contains(out, "\u202egnp.exe") || strings.ContainsAny(out, "\x1b\a\r") {
		t.Errorf("--json must keep the text and escape its control characters: %q", out)
	}
}

func TestRefusalsOfTheServerAreOneJSONLine(t *testing.T) {
	d := startDemo(t, t.TempDir())
	url := d.info().WS
	f := func(want string, args ...string) {
		t.Helper()
		out, errs, code := runApp(t, nil, append(args, "--json", "--url", url)...)
		if code != exitFailed || errs != "" || !strings.HasPrefix(out, `{"error":{"code":"`+want+`","message":"`) || strings.Count(out, "\n") != 1 {
			t.Errorf("%v: exit %d, stdout %q, stderr %q; want code %s", args, code, out, errs, want)
		}
	}
	token := d.info().Users[0].Token
	f("token.invalid", "send", "--token", "not.a.token", "bob", "hi")
	f("token.invalid", "tail", "--token", "not.a.token")
	f("token.invalid", "presence", "--token", "not.a.token", "bob")
	f("body.too_large", "send", "--token", token, "bob", strings.Repeat("x", 17<<10))
}

func TestSeedIsWholeAndOnceOverRestarts(t *testing.T) {
	dir := t.TempDir()
	var logs []string
	for range 3 {
		t.Run("start", func(t *testing.T) {
			d := startDemo(t, dir)
			logs = append(logs, d.tail(0)+d.tail(1)+d.tail(2))
		})
	}
	if logs[0] != logs[1] || logs[1] != logs[2] || strings.Count(logs[0], "demo-4") != 2 {
		t.Errorf("the logs change over restarts:\n%s", strings.Join(logs, "\n"))
	}
}

// openNode opens a development node on free ports.
func openNode(t *testing.T, dir string) *node.Node {
	t.Helper()
	cfg := node.Default()
	cfg.Dev, cfg.Data, cfg.Listen, cfg.Ops = true, dir, "127.0.0.1:0", "127.0.0.1:0"
	cfg.Drain = node.DrainConfig{}
	cfg.Log.Level = "error"
	n, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func TestSeedGoesOnWhereItWasKilled(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir)
	signer, err := auth.DevSigner(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signer.Mint("alice", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(t.Context(), client.Config{URL: socketURL(n.Addr()), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Send(t.Context(), "bob", client.Message{CID: greetings[0].cid, Text: greetings[0].text}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := seed(t.Context(), socketURL(n.Addr()), signer); err != nil {
			t.Fatal(err)
		}
	}
	out, _, code := runApp(t, nil, "tail", "--json", "--follow=false", "--url", socketURL(n.Addr()), "--token", token)
	if code != exitDone || strings.Count(out, "\n") != len(greetings) || strings.Count(out, greetings[0].cid) != 1 || strings.Count(out, greetings[3].cid) != 1 {
		t.Errorf("exit %d, alice's log:\n%s", code, out)
	}
}

func TestDoubleClickRestartsOnce(t *testing.T) {
	p, dir := newDemoPage(nil), t.TempDir()
	n := openNode(t, dir)
	p.serve(n)
	click := func() {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/demo/restart", nil)
		r.Header.Set(demoKeyHeader, p.key)
		if p.restart(w, r); w.Code != http.StatusAccepted {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	click()
	if restart, err := p.run(t.Context(), n); err != nil || !restart {
		t.Fatalf("restart %v, %v", restart, err)
	}
	click() // while the server goes down
	n = openNode(t, dir)
	p.serve(n)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if restart, err := p.run(ctx, n); err != nil || restart || len(p.restarts) != 0 {
		t.Errorf("the second click restarted again (%v, %v)", restart, err)
	}
}

func TestPreflightNamesMethodAndHeader(t *testing.T) {
	d := startDemo(t, t.TempDir())
	reply, _ := d.ask("OPTIONS", d.info().Restart.URL, "Origin", strings.Replace(d.url, "127.0.0.1", "localhost", 1))
	h := reply.Header
	if reply.StatusCode != http.StatusNoContent || h.Get("Access-Control-Allow-Methods") != "POST" || h.Get("Access-Control-Allow-Headers") != demoKeyHeader ||
		h.Get("Access-Control-Allow-Origin") != "http://localhost:"+port(strings.TrimPrefix(d.url, "http://")) || h.Get("Vary") != "Origin" {
		t.Errorf("%d %v", reply.StatusCode, h)
	}
	if reply, _ := d.ask("GET", d.url+"/demo.json"); !strings.HasPrefix(reply.Header.Get("Content-Type"), "application/json") || reply.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("demo.json can be read by other pages: %v", reply.Header)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal)
		var steps []string
		go obey(signals, func() { steps = append(steps, "drain") }, func(code int) { steps = append(steps, fmt.Sprint("exit ", code)) })
		for _, want := range [][]string{{"drain"}, {"drain", "exit 1"}} {
			signals <- syscall.SIGTERM
			if synctest.Wait(); !slices.Equal(steps, want) {
				t.Errorf("got %v, want %v", steps, want)
			}
		}
	})
}

// brokenPipe is a standard output that nobody reads.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestOnlyUnreadOutputExcusesABrokenPipe(t *testing.T) {
	a := &app{stdin: strings.NewReader(""), stdout: brokenPipe{}, stderr: new(bytes.Buffer)}
	if code := a.run(t.Context(), []string{"version"}); code != exitDone {
		t.Errorf("an unread output ended with %d", code)
	}
	var errs bytes.Buffer
	lost := fmt.Errorf("the connection: %w", syscall.EPIPE)
	a = &app{stdin: failingReader{lost}, stdout: new(bytes.Buffer), stderr: &errs}
	if code := a.run(t.Context(), []string{"send", "--token", "x", "bob", "-"}); code != exitFailed || !strings.Contains(errs.String(), "the connection") {
		t.Errorf("a broken pipe elsewhere ended with %d: %q", code, errs.String())
	}
}

// failingReader fails every read.
type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestSignalWhileStartingIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: new(bytes.Buffer), stderr: &errs}
	for _, command := range []string{"serve", "demo"} {
		args := []string{command, "--listen", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--data", t.TempDir()}
		if command == "serve" {
			args = append(args, "--dev")
		}
		if code := a.run(ctx, args); code != exitDone {
			t.Errorf("%s: exit %d: %s", command, code, errs.String())
		}
	}
	if broken := errors.New("disk"); unlessAsked(ctx, broken) == nil || unlessAsked(t.Context(), context.Canceled) == nil {
		t.Error("a real failure was dropped")
	}
}

func TestTokenVerifySaysWhy(t *testing.T) {
	dir := t.TempDir()
	out, _, _ := runApp(t, nil, "token", "mint", "--data", dir, "alice")
	token := strings.TrimSpace(out)
	verify := func(stdin string, args ...string) (stdout, stderr string, code int) {
		var out, errs bytes.Buffer
		a := &app{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs}
		code = a.run(t.Context(), append([]string{"token", "verify", "--dev", "--data", dir}, args...))
		return out.String(), errs.String(), code
	}
	for _, f := range [][]string{{"", token}, {token + "\n", "-"}} {
		if out, errs, code := verify(f[0], f[1]); code != exitDone || errs != "" || !strings.HasPrefix(out, "alice until 20") {
			t.Errorf("%v: exit %d, %q, %q", f, code, out, errs)
		}
	}
	if out, _, code := verify("", "--json", token); code != exitDone || !strings.HasPrefix(out, `{"expires":"20`) || !strings.HasSuffix(out, `"user":"alice"}`+"\n") {
		t.Errorf("exit %d, %q", code, out)
	}
	_, rest, _ := strings.Cut(token, ".")
	f := func(want, token string) {
		t.Helper()
		if out, errs, code := verify("", token); code != exitFailed || out != "" || !strings.Contains(errs, want) || strings.Contains(errs, rest) {
			t.Errorf("exit %d, %q, %q; want %q", code, out, errs, want)
		}
	}
	f("signature is invalid", token[:len(token)-3]+"AAA")
	f("malformed", "not-a-token")
	f(`no key of this id and algorithm: kid "other", alg EdDSA`, "eyJhbGciOiJFZERTQSIsImtpZCI6Im90aGVyIn0."+rest)
	f("empty or larger", "")
}
