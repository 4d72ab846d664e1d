package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), // gnet starts a pool at init
		// fasthttp's clock for the Date field, started by its first answer for good.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.Cleanup(func(code int) {
			_ = os.RemoveAll(program.dir) // "": none was built
			os.Exit(code)
		}))
}

// runApp runs a command line in this process.
func runApp(t *testing.T, environ []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, environ: environ}
	code = a.run(t.Context(), args)
	return out.String(), errs.String(), code
}

// commands lists every command line that ends in a subcommand.
func commands(c *cobra.Command, path []string) (all [][]string) {
	all = append(all, path)
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" && sub.Name() != "completion" {
			all = append(all, commands(sub, append(path[:len(path):len(path)], sub.Name()))...)
		}
	}
	return all
}

func TestHelpIsComplete(t *testing.T) {
	all := commands((&app{}).command(), nil)
	if len(all) < 12 {
		t.Fatalf("only %d commands", len(all))
	}
	for _, path := range all {
		out, errs, code := runApp(t, nil, append(path, "--help")...)
		if code != 0 || errs != "" || !strings.Contains(out, "Examples:\n") {
			t.Errorf("godwit %s --help: exit %d, %q, without examples:\n%s", strings.Join(path, " "), code, errs, out)
		}
		golden := filepath.Join("testdata", strings.Join(append([]string{"godwit"}, path...), "-")+".help")
		if *update {
			if err := os.WriteFile(golden, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || out != string(want) {
			t.Errorf("%s (%v): scripts and manuals rely on it; if the change is meant, run go test ./cmd/godwit -update. Now:\n%s", golden, err, out)
		}
	}
}

//tidy:long one table of command lines
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("lisen: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(wantCode int, wantWord, wantText string, args ...string) {
		t.Helper()
		line := strings.Join(args, " ")
		out, errs, code := runApp(t, nil, args...)
		if code != wantCode || out != "" || !strings.Contains(errs, wantText) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit %d, stdout %q, stderr %q; want exit %d and one line about %q", line, code, out, errs, wantCode, wantText)
		}
		out, errs, code = runApp(t, nil, append([]string{"--json"}, args...)...)
		var body struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(out), &body); err != nil || code != wantCode || errs != "" || body.Error.Code != wantWord || !strings.Contains(body.Error.Message, wantText) {
			t.Errorf("%s --json: exit %d, stdout %q, stderr %q; want code %q", line, code, out, errs, wantWord)
		}
	}
	f(2, "usage", "unknown command", "fly")
	f(2, "usage", "unknown flag", "serve", "--nope")
	f(2, "usage", "accepts 2 arg(s)", "send", "--token", "x", "bob")
	f(2, "usage", "no token", "send", "bob", "hi")
	f(2, "usage", "no token", "tail")
	f(2, "usage", "--since", "tail", "--token", "x", "--since", "9007199254740992")
	f(2, "usage", "invalid argument", "tail", "--token", "x", "--since", "first")
	f(2, "usage", "--timeout", "presence", "--token", "x", "--timeout", "0s", "bob")
	f(2, "usage", "requires at least 1 arg", "presence", "--token", "x")
	f(2, "usage", "requires at least 1 arg", "token", "mint")
	f(2, "usage", "needs a subcommand", "token")
	f(2, "usage", "unknown command", "config", "chekc")
	f(2, "usage", "unknown command", "version", "now")
	f(1, "user.invalid", `"b b"`, "token", "mint", "--data", dir, "alice", "b b")
	f(1, "user.invalid", `"b b"`, "presence", "--token", "x", "b b")
	f(1, "conversation.invalid", "conversation", "send", "--token", "x", "b b", "hi")
	f(1, "cid.invalid", "client id", "send", "--token", "x", "--cid", "c c", "bob", "hi")
	f(2, "usage", "unknown command", "group", "creat")
	f(2, "usage", "needs a subcommand", "group")
	f(2, "usage", "requires at least 1 arg", "group", "create", "--token", "x")
	f(2, "usage", "requires at least 2 arg", "group", "add", "--token", "x", "g42")
	f(2, "usage", "requires at least 3 arg", "group", "role", "--token", "x", "g42", "admin")
	f(2, "usage", "at least one of the flags", "group", "set", "--token", "x", "g42")
	f(2, "usage", "a sequence is a number", "group", "receipts", "--token", "x", "g42", "new")
	f(2, "usage", "no token", "group", "list")
	f(2, "usage", "accepts 1 arg(s)", "history", "--token", "x")
	f(2, "usage", "none of the others can be", "history", "--token", "x", "bob", "--before", "1", "--after", "0")
	f(2, "usage", "below 2^53", "history", "--token", "x", "bob", "--before", "9007199254740992")
	f(2, "usage", "unknown command", "conversations", "--token", "x", "bob")
	f(2, "usage", "at least one of the flags", "mark", "--token", "x", "bob")
	f(2, "usage", "below 2^53", "mark", "--token", "x", "bob", "--read", "9007199254740992")
	f(2, "usage", "accepts 2 arg(s)", "edit", "--token", "x", "AQIDBAUGBwgJCgsMDQ4PEA")
	f(2, "usage", "accepts 1 arg(s)", "recall", "--token", "x")
	f(2, "usage", "--list", "block", "--token", "x")
	f(2, "usage", "requires at least 1 arg", "unblock", "--token", "x")
	f(2, "usage", "requires at least 1 arg", "contact", "add", "--token", "x")
	f(2, "usage", "--all alone", "logout", "--token", "x")
	f(2, "usage", "--all alone", "logout", "--token", "x", "--all", "phone")
	f(2, "usage", "at least one of the flags", "conversation", "--token", "x", "bob")
	f(1, "conversation.invalid", `"b b"`, "group", "info", "--token", "x", "b b")
	f(1, "user.invalid", `"b b"`, "group", "create", "--token", "x", "Chess", "b b")
	f(1, "user.invalid", `"b b"`, "block", "--token", "x", "b b")
	f(1, "conversation.invalid", "conversation", "history", "--token", "x", "b b")
	f(1, "conversation.invalid", "conversation", "mark", "--token", "x", "b b", "--read", "1")
	f(1, "conversation.invalid", "conversation", "typing", "--token", "x", "b b")
	f(1, "message.not_found", `"short"`, "edit", "--token", "x", "short", "text")
	f(1, "message.not_found", `"short"`, "recall", "--token", "x", "short")
	f(1, "config.invalid", "line 1: unknown field lisen", "serve", "-c", bad)
	f(1, "config.invalid", "no such file", "config", "check", "-c", filepath.Join(dir, "none.yaml"))
	f(1, "config.invalid", "auth.keys_file", "config", "check")
	f(1, "config.invalid", "loopback", "serve", "--dev", "--listen", "0.0.0.0:0", "--data", dir)
	f(1, "config.invalid", "loopback", "demo", "--listen", "0.0.0.0:0", "--data", dir)
	f(1, "config.invalid", "listen", "config", "check", "--dev", "--listen", "8080")
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("refused commands left %v behind", entries)
	}
}

// A message id may begin with "-" or "--"; any other unknown flag is refused.
func TestMessageIDsAreNoFlags(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if got := strings.Join(shieldMID(args), " "); got != want {
			t.Errorf("%q: got %q, want %q", args, got, want)
		}
	}
	f("edit mid:-yn52_8kAirRTGbNAkRg0Q -yn52_8kAirRTGbNAkRg0Q", "edit", "-yn52_8kAirRTGbNAkRg0Q", "-yn52_8kAirRTGbNAkRg0Q")
	f("--json recall --token x mid:--n52_8kAirRTGbNAkRg0Q", "--json", "recall", "--token", "x", "--n52_8kAirRTGbNAkRg0Q")
	f("recall -- -yn52_8kAirRTGbNAkRg0Q", "recall", "--", "-yn52_8kAirRTGbNAkRg0Q")
	f("send -yn52_8kAirRTGbNAkRg0Q", "send", "-yn52_8kAirRTGbNAkRg0Q")
	f("recall --transport", "recall", "--transport")
	for _, mid := range []string{"-yn52_8kAirRTGbNAkRg0Q", "mid:-yn52_8kAirRTGbNAkRg0Q", "yyn52_8kAirRTGbNAkRg0Q"} {
		if _, errs, code := runApp(t, nil, "recall", mid, "--token", "x", "--timeout", "1ms", "--url", "ws://127.0.0.1:1/v1/ws"); code != exitFailed || strings.Contains(errs, "not_found") {
			t.Errorf("%s: exit %d, %s", mid, code, errs)
		}
	}
}

func TestFlagsWinOverEnvironmentAndFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "godwit.yaml")
	if err := os.WriteFile(file, []byte("listen: 127.0.0.1:1\nops: 127.0.0.1:2\ndata: three\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := runApp(t, []string{"GODWIT_LISTEN=127.0.0.1:11", "GODWIT_OPS=127.0.0.1:12", "GODWIT_TOKEN=x"},
		"config", "print", "-c", file, "--listen", "127.0.0.1:21", "--dev")
	if code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{"\nlisten: 127.0.0.1:21\n", "\nops: 127.0.0.1:12\n", "\ndata: three\n", "\ndev: true\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if _, errs, _ := runApp(t, []string{"GODWIT_LISEN=x"}, "config", "print"); !strings.Contains(errs, "GODWIT_LISEN") {
		t.Errorf("a misspelt variable went unnoticed: %q", errs)
	}
}

func TestMintPrintsOneTokenPerUser(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	out, errs, code := runApp(t, nil, "token", "mint", "--data", dir, "alice", "bob", "alice")
	if lines := strings.Fields(out); code != 0 || errs != "" || len(lines) != 3 || strings.Count(out, "\n") != 3 || lines[0] == lines[1] {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}

func TestConfigCheckAcceptsDevelopment(t *testing.T) {
	dir := t.TempDir()
	out, errs, code := runApp(t, nil, "config", "check", "--dev", "--data", dir)
	if code != 0 || errs != "" || !strings.Contains(out, "valid") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("a check wrote %v", entries)
	}
}

func TestVersionIsOneLine(t *testing.T) {
	out, _, code := runApp(t, nil, "version")
	if code != 0 || !strings.HasPrefix(out, "godwit ") || strings.Count(out, "\n") != 1 {
		t.Errorf("exit %d, %q", code, out)
	}
	out, _, _ = runApp(t, nil, "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(out), &v); err != nil || v["version"] == "" || v["protocol"] != "godwit.v1" {
		t.Errorf("%v, %q", err, out)
	}
}

func TestPrintableKeepsTerminalsSafe(t *testing.T) {
	if got, want := printable("a\x1b[31m\tb\n你好\u202e"), "a\uFFFD[31m\tb\n你好\uFFFD"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
