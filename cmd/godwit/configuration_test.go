package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeConfig(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "godwit.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestConfigCheckSaysWhatIsWrongAndWhatToDo: the exit code is 1 for every bad
// value, wherever it comes from: 2 is for a wrong command line alone.
func TestConfigCheckSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	f := func(field, advice, content string, environ ...string) {
		t.Helper()
		path := writeConfig(t, content)
		out, errs, code := runApp(t, environ, "config", "check", "-c", path)
		if code != exitFailed || out != "" || !strings.Contains(errs, field) || !strings.Contains(errs, advice) {
			t.Errorf("%q %v: exit %d, stdout %q, stderr %q; want %q and %q", content, environ, code, out, errs, field, advice)
		}
		out, errs, code = runApp(t, environ, "config", "check", "--json", "-c", path)
		if code != exitFailed || errs != "" || !strings.HasPrefix(out, `{"error":{"code":"config.invalid"`) || strings.Count(out, "\n") != 1 {
			t.Errorf("%q %v --json: exit %d, stdout %q, stderr %q", content, environ, code, out, errs)
		}
	}
	f("listen ", "host:port", "dev: true\nlisten: 8080\n")
	f("ops ", "port of its own", "dev: true\nops: 127.0.0.1:8080\n")
	f("dev ", "listen on 127.0.0.1", "dev: true\nlisten: 0.0.0.0:8080\n")
	f("dev ", "loopback address such as 127.0.0.1:8081", "dev: true\nops: 0.0.0.0:8081\n")
	f("data ", "name the directory", "dev: true\ndata: ''\n")
	f("node ", "a node name is", "dev: true\nnode: my node\n")
	f("auth.keys_file ", "or set dev", "listen: 127.0.0.1:1\n")
	f("auth.issuer ", "name the iss", "auth: {keys_file: k, audience: a}\n")
	f("auth.audience ", "name the aud", "auth: {keys_file: k, issuer: i}\n")
	f("auth ", "either your keys or development tokens", "dev: true\nauth: {issuer: i}\n")
	f("auth.keys_file: ", "no such file", "auth: {keys_file: /nowhere/keys, issuer: i, audience: a}\n")
	f("auth.jwks_url ", "must begin with https://", "auth: {jwks_url: http://id.example/jwks, issuer: i, audience: a}\n")
	f("auth.jwks_url: ", "connection refused", "auth: {jwks_url: http://127.0.0.1:1/jwks, issuer: i, audience: a}\n")
	f("auth.jwks_refresh ", "1m to 24h", "auth: {jwks_url: https://id.example/jwks, jwks_refresh: 1s, issuer: i, audience: a}\n")
	f("auth ", "either your keys or development tokens", "dev: true\nauth: {jwks_url: https://id.example/jwks}\n")
	f("log.level ", "debug, info, warn or error", "dev: true\nlog: {level: loud}\n")
	f("log.format ", "text or json", "dev: true\nlog: {format: xml}\n")
	f("edge.loops ", "0 to 64", "dev: true\nedge: {loops: 1000}\n")
	f("edge.ping", "such as 500ms, 25s or 2m", "dev: true\nedge: {ping: 25}\n")
	f("edge.origins ", "scheme://host", "dev: true\nedge: {origins: [chat.example]}\n")
	f("limits.body", "KiB, MiB or GiB", "dev: true\nlimits: {body: 1 MB}\n")
	f("limits.page ", "1 to 1000", "dev: true\nlimits: {page: 0}\n")
	f("engine.groups", "a whole number", "dev: true\nengine: {groups: many}\n")
	f("engine.groups ", "a power of two", "dev: true\nengine: {groups: 3}\n")
	f("drain.timeout ", "must cover", "dev: true\ndrain: {timeout: 1s, spread: 2s}\n")
	f("limit", "line 1: unknown field", "limit: {body: 1}\n")
	f("GODWIT_LIMITS_BODY (limits.body)", "KiB, MiB or GiB", "dev: true\n", "GODWIT_LIMITS_BODY=big")
	f("GODWIT_DEV (dev)", "true or false", "dev: true\n", "GODWIT_DEV=perhaps")
}

func TestPrintedConfigurationPassesTheCheck(t *testing.T) {
	environ := []string{"GODWIT_LIMITS_BODY=5000", "GODWIT_NODE=007", "GODWIT_EDGE_ORIGINS=https://a.example,https://b.example", "GODWIT_DEV=true"}
	printed, errs, code := runApp(t, environ, "config", "print")
	if code != exitDone || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	path := writeConfig(t, printed)
	if out, errs, code := runApp(t, nil, "config", "check", "-c", path); code != exitDone || errs != "" {
		t.Errorf("the printed configuration is refused: exit %d, %q, %q", code, out, errs)
	}
	if again, _, _ := runApp(t, nil, "config", "print", "-c", path); again != printed || !strings.Contains(again, "\n  body: 5000\n") {
		t.Errorf("printed again it differs:\n%s", again)
	}
}

func TestDefaultsLeaveFileAndEnvironmentOut(t *testing.T) {
	path := writeConfig(t, "data: elsewhere\n")
	out, _, code := runApp(t, []string{"GODWIT_NODE=other"}, "config", "print", "--defaults", "--dev", "-c", path)
	example, err := os.ReadFile("../../godwit.example.yaml")
	if err != nil || code != exitDone || out != string(example) {
		t.Errorf("exit %d, %v; godwit.example.yaml is written by: godwit config print --defaults --dev. It should be\n%s", code, err, out)
	}
}

func TestExampleFilePassesTheCheck(t *testing.T) {
	if out, errs, code := runApp(t, nil, "config", "check", "-c", "../../godwit.example.yaml"); code != exitDone || errs != "" || out == "" {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}

// TestEachLayerWinsOverTheOneBefore takes one setting through all four.
func TestEachLayerWinsOverTheOneBefore(t *testing.T) {
	path := writeConfig(t, "data: by-file\n")
	f := func(want string, environ []string, args ...string) {
		t.Helper()
		out, _, _ := runApp(t, environ, append([]string{"config", "print"}, args...)...)
		if !strings.Contains(out, "\ndata: "+want+"\n") {
			t.Errorf("%v %v: data is not %s:\n%s", environ, args, want, out)
		}
	}
	variable := []string{"GODWIT_DATA=by-variable"}
	f("godwit-data", nil)
	f("by-file", nil, "-c", path)
	f("by-variable", variable, "-c", path)
	f("by-flag", variable, "-c", path, "--data", "by-flag")
	f("godwit-data", variable, "-c", path, "--data", "godwit-data") // a flag that repeats the default counts too
}
