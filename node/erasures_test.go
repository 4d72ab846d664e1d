package node

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-im/godwit/router"
)

//tidy:long one story in its order
func TestErasuresAreSignedAndWrittenDown(t *testing.T) {
	cfg := testConfig(t)
	n := mustOpen(t, cfg)
	b, err := os.ReadFile(filepath.Join(cfg.Data, AdminDevKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(b))
	ask := func(method, path, body, want string) {
		t.Helper()
		if status, got := askAdmin(t, n, secret, method, path, body); status != 200 || !strings.Contains(got, want) {
			t.Fatalf("%s %s: %d %s", method, path, status, got)
		}
	}
	ask("POST", "messages", `{"to":"bob","text":"one","cid":"m1"}`, `"state":"stored"`)
	ask("POST", "messages", `{"to":"carol","text":"two","cid":"m2"}`, `"state":"stored"`)
	ask("DELETE", "users/bob/conversations/u:system", "", `"signature"`)
	ask("DELETE", "users/system", "", `"messages_recalled":1`)
	if status, body := askAdmin(t, n, secret, "GET", "users/carol/conversations/u:system/messages", ""); status != 200 || strings.Contains(body, "two") {
		t.Errorf("carol still reads it: %d %s", status, body)
	}

	path := filepath.Join(cfg.Data, ErasuresFile)
	record, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key, err := erasureKey(filepath.Join(cfg.Data, ErasureKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public().(ed25519.PublicKey)
	lines, err := CheckErasures(bytes.NewReader(record), public)
	if err != nil || len(lines) != 2 || lines[0].What != "conversation" || lines[0].Conv != "u:system" || lines[1].User != "system" || lines[1].By == "" {
		t.Errorf("record %+v: %v", lines, err)
	}
	if info, err := os.Stat(filepath.Join(cfg.Data, ErasureKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}

	// Another process goes on where this one ended, behind what a crash left.
	if err := os.WriteFile(path, append(bytes.Clone(record), `{"record":{"ti`...), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := openErasures(cfg.Data, n.chat, n.forgetLastSeen, cfg.Clock)
	if err != nil {
		t.Fatal(err)
	}
	again.clock = n.cfg.Clock
	if _, err := again.EraseUser(t.Context(), "carol", "root"); err != nil {
		t.Fatal(err)
	}
	if err := again.close(); err != nil {
		t.Fatal(err)
	}
	whole, _ := os.ReadFile(path)
	if lines, err := CheckErasures(bytes.NewReader(whole), public); err != nil || len(lines) != 3 {
		t.Errorf("%d lines: %v", len(lines), err)
	}

	first := whole[:bytes.IndexByte(whole, '\n')+1]
	for what, bad := range map[string][]byte{
		"a line taken out":   whole[len(first):],
		"a line repeated":    append(bytes.Clone(first), first...),
		"a name changed":     bytes.Replace(whole, []byte(`"user":"system"`), []byte(`"user":"sister"`), 1),
		"a line cut":         whole[:len(whole)-3],
		"something else":     append(bytes.Clone(whole), "{}\n"...),
		"another's key used": nil,
	} {
		check := public
		if bad == nil {
			other, _, _ := ed25519.GenerateKey(nil)
			bad, check = whole, other
		}
		if _, err := CheckErasures(bytes.NewReader(bad), check); err == nil {
			t.Errorf("%s is not noticed", what)
		}
	}
}

// TestAnErasedUserIsForgottenByTheDirectory, too; while its store is away the request
// fails and is repeated.
func TestAnErasedUserIsForgottenByTheDirectory(t *testing.T) {
	store := newSharedStore()
	n := mustOpen(t, store.in(testConfig(t)))
	<-n.directory.lease.Claimed()
	number, epoch := n.directory.lease.ID()
	until(t, "bob has a route", func() bool {
		return n.directory.Register(t.Context(), "bob", router.Route{Device: "phone", Edge: number, Epoch: epoch, Conn: 1, Stamp: 1}) == nil
	})
	store.away.Store(true)
	if _, err := n.erasures.EraseUser(t.Context(), "bob", "root"); err == nil {
		t.Error("erased while the store is away")
	}
	store.away.Store(false)
	until(t, "bob is erased", func() bool {
		_, err := n.erasures.EraseUser(t.Context(), "bob", "root")
		return err == nil
	})
	until(t, "the directory knows nothing of him", func() bool {
		found, err := n.directory.Lookup(t.Context(), []string{"bob"})
		return err == nil && len(found[0].Routes) == 0 && found[0].LastSeenMS == 0
	})
}
