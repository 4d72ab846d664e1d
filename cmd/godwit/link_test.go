package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-im/godwit/internal/loopback"
	"github.com/godwit-im/godwit/node"
)

// TestLinkCertsJoinProcessesAndOverwriteNothing: the engine process and the edge
// process are opened with the files as they were written.
func TestLinkCertsJoinProcessesAndOverwriteNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	out, errs, code := runApp(t, nil, "link", "certs", "--cluster", "trial", "--out", dir, "engine:node-1", "edge:edge-1")
	if code != exitDone || errs != "" || strings.Count(out, "\n") != 2 || !strings.Contains(out, "edge-edge-1.crt is godwit://trial/edge/edge-1 until 20") {
		t.Fatalf("exit %d, %q, %q", code, out, errs)
	}
	for name, mode := range map[string]os.FileMode{"ca.crt": 0o644, "ca.key": 0o600, "engine-node-1.crt": 0o644, "engine-node-1.key": 0o600, "edge-edge-1.key": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm()&^mode != 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	open := func(change func(*node.Config), base string) *node.Node {
		t.Helper()
		cfg := node.Default()
		cfg.Dev, cfg.Data, cfg.Listen, cfg.Ops, cfg.Log.Level, cfg.Drain = true, filepath.Join(dir, "data"), "127.0.0.1:0", "127.0.0.1:0", "error", node.DrainConfig{}
		cfg.Router.Cluster = "trial"
		cfg.Link.Cert, cfg.Link.Key, cfg.Link.CA = filepath.Join(dir, base+".crt"), filepath.Join(dir, base+".key"), filepath.Join(dir, "ca.crt")
		change(&cfg)
		n, err := node.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		return n
	}
	var address string
	engine := open(func(cfg *node.Config) {
		address = freeAddress(t)
		cfg.Role, cfg.Link.Listen = node.RoleEngine, address
	}, "engine-node-1")
	open(func(cfg *node.Config) { cfg.Role, cfg.Node, cfg.Link.Upstream = node.RoleEdge, "edge-1", address }, "edge-edge-1")
	if list := engine.Edges(); len(list) != 1 || list[0].TLSName != "godwit://trial/edge/edge-1" {
		t.Errorf("%+v", list)
	}

	before, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	f := func(wantCode int, want string, args ...string) {
		t.Helper()
		out, errs, code := runApp(t, nil, append([]string{"link", "certs", "--cluster", "trial", "--out", dir}, args...)...)
		if code != wantCode || !strings.Contains(out+errs, want) {
			t.Errorf("%q: exit %d, %q, %q; want %q", args, code, out, errs, want)
		}
	}
	f(exitFailed, "edge-edge-1.crt is there already", "edge:edge-3", "edge:edge-1")
	if _, err := os.Stat(filepath.Join(dir, "edge-edge-3.crt")); err == nil {
		t.Error("it wrote some before it refused")
	}
	f(exitDone, `"name":"godwit://trial/edge/edge-2"`, "--json", "edge:edge-2")
	if after, _ := os.ReadFile(filepath.Join(dir, "ca.crt")); string(after) != string(before) {
		t.Error("the authority was made anew")
	}
	f(exitUsage, "a role is engine or edge", "admin:a")
	f(exitUsage, "a process's name", "edge:a/b")
	f(exitUsage, "name a directory")
	f(exitUsage, "a cluster's name", "--cluster", "a.b", "edge:a")
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := loopback.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
