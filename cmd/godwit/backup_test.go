package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/node"
)

// seeded is a node with the demo's messages, its signer and its directory.
func seeded(t *testing.T) (n *node.Node, dir string) {
	t.Helper()
	dir = t.TempDir()
	n = openNode(t, dir)
	signer, err := auth.DevSigner(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := seed(t.Context(), socketURL(n.Addr()), signer); err != nil {
		t.Fatal(err)
	}
	return n, dir
}

// mustRun runs a command line that succeeds.
func mustRun(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	out, errs, code := runApp(t, nil, args...)
	if code != exitDone {
		t.Fatalf("godwit %s: exit %d, %s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

func TestBackupCommandsFromCreateToRestore(t *testing.T) {
	n, data := seeded(t)
	to := filepath.Join(t.TempDir(), "backups")
	var made struct{ Path string }
	if err := json.Unmarshal([]byte(mustRun(t, "backup", "create", "--json", "--to", to, "--ops", n.OpsAddr())), &made); err != nil || filepath.Dir(made.Path) != to {
		t.Fatalf("%v, %+v", err, made)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, "backup", "create", "--to", to, "--data", data); !strings.HasPrefix(out, to) || strings.Count(out, "\n") != 1 {
		t.Errorf("create says %q", out)
	}
	if out := mustRun(t, "backup", "list", to); strings.Count(out, "\n") != 2 || !strings.HasPrefix(out, filepath.Base(made.Path)+"  ") {
		t.Errorf("list says %q", out)
	}
	if out := mustRun(t, "backup", "verify", to); strings.Count(out, ": whole, ") != 2 {
		t.Errorf("verify says %q", out)
	}
	segments := filepath.Join(made.Path, "segments")
	if out := mustRun(t, "segment", "check", segments); !strings.HasSuffix(out, ": whole\n") {
		t.Errorf("segment check says %q", out)
	}
	files, err := filepath.Glob(filepath.Join(segments, "*.seg"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	var info node.SegmentInfo
	if err := json.Unmarshal([]byte(mustRun(t, "segment", "dump", "--json", files[0])), &info); err != nil || info.Entries != 8 {
		t.Errorf("%v, %+v", err, info)
	}
	if out := mustRun(t, "segment", "dump", files[0]); !strings.Contains(out, info.FirstLog) {
		t.Errorf("dump does not know log %s: %s", info.FirstLog, out)
	}
	if err := json.Unmarshal([]byte(mustRun(t, "segment", "dump", "--json", "--bodies", "--log", info.FirstLog, files[0])), &info); err != nil || len(info.Log) == 0 || info.Log[0].Seq != 1 || len(info.Log[0].Body) == 0 {
		t.Errorf("%v, %+v", err, info)
	}
	if out := mustRun(t, "segment", "dump", files[0], "--bodies", "--log", info.FirstLog); !strings.Contains(out, greetings[0].text) && !strings.Contains(out, greetings[1].text) {
		t.Errorf("dump shows no message: %s", out)
	}
	again := filepath.Join(t.TempDir(), "again")
	if out := mustRun(t, "restore", "--from", made.Path, "--data", again); !strings.Contains(out, "engine.groups 1") {
		t.Errorf("restore says %q", out)
	}
	n = openNode(t, again)
	token := strings.TrimSpace(mustRun(t, "token", "mint", "--data", again, "alice"))
	if out := mustRun(t, "tail", "--follow=false", "--json", "--url", socketURL(n.Addr()), "--token", token); strings.Count(out, "\n") != len(greetings) {
		t.Errorf("alice's log after the restore: %s", out)
	}
}

func TestDamagedBackupsAndSegmentsExitWithOne(t *testing.T) {
	n, _ := seeded(t)
	to := filepath.Join(t.TempDir(), "backups")
	var made struct{ Path string }
	if err := json.Unmarshal([]byte(mustRun(t, "backup", "create", "--json", "--to", to, "--ops", n.OpsAddr())), &made); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(made.Path, "segments", "*.seg"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/3] ^= 1
	_ = os.Remove(files[0]) // it is a link
	if err := os.WriteFile(files[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(want string, args ...string) {
		t.Helper()
		out, errs, code := runApp(t, nil, args...)
		if code != exitFailed || !strings.Contains(out, filepath.Base(files[0])) || !strings.Contains(errs, want) {
			t.Errorf("%v: exit %d, %q, %q", args, code, out, errs)
		}
	}
	f("1 of 1 backups: damaged", "backup", "verify", made.Path)
	f("1 of 1 backups: damaged", "backup", "verify", to)
	f("1 of 1 segments: damaged", "segment", "check", files[0])
	f("", "restore", "--from", made.Path, "--data", filepath.Join(to, "new"), "--json")
	if out, _, code := runApp(t, nil, "backup", "verify", to, "--json"); code != exitFailed || !strings.Contains(out, `"ok":false`) || !strings.Contains(out, `"code":"damaged"`) {
		t.Errorf("exit %d, %q", code, out)
	}
	g := func(wantCode int, want string, args ...string) {
		t.Helper()
		if out, errs, code := runApp(t, nil, args...); code != wantCode || !strings.Contains(errs, want) || out != "" {
			t.Errorf("%v: exit %d, %q, %q", args, code, out, errs)
		}
	}
	g(exitUsage, "--to", "backup", "create")
	g(exitUsage, "not both", "backup", "create", "--to", "x", "--data", "y", "--ops", "z")
	g(exitUsage, "--from", "restore", "--data", "x")
	g(exitUsage, "--log", "segment", "dump", "x", "--log", "1/x")
	g(exitFailed, "holds no backup", "backup", "verify", t.TempDir())
	g(exitFailed, "holds no segment", "segment", "check", t.TempDir())
	g(exitFailed, "refused", "backup", "create", "--to", "x", "--ops", "127.0.0.1:1")
	g(exitFailed, "no such file", "backup", "create", "--to", filepath.Join(to, "x"), "--data", filepath.Join(to, "none"))
}
