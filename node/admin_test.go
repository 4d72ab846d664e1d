package node

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-im/godwit/admin"
)

// askAdmin makes a request over a connection of its own.
func askAdmin(t *testing.T, n *Node, secret, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.OpsAddr()+admin.Prefix+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	transport := &http.Transport{DisableKeepAlives: true}
	reply, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	b, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, string(b)
}

// TestTheOperatorSendsAndReadsOverTheOpsAddress, with the key that development has.
func TestTheOperatorSendsAndReadsOverTheOpsAddress(t *testing.T) {
	cfg := testConfig(t)
	n := mustOpen(t, cfg)
	b, err := os.ReadFile(filepath.Join(cfg.Data, AdminDevKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(b))
	if status, body := askAdmin(t, n, secret, "POST", "messages", `{"to":"bob","text":"maintenance at noon","cid":"m1"}`); status != 200 || !strings.Contains(body, `"state":"stored"`) {
		t.Fatalf("%d %s", status, body)
	}
	for path, want := range map[string]string{
		"users": `"user":"bob"`, "users/bob": `"head":1`, "users/bob/conversations": `"conv":"u:system"`,
		"users/bob/conversations/u:system/messages": "maintenance at noon", "stats": `"stored":1`,
	} {
		if status, body := askAdmin(t, n, secret, "GET", path, ""); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _ := askAdmin(t, n, "gwa_wrong", "GET", "users", ""); status != 401 {
		t.Errorf("a wrong key: %d", status)
	}
}

// TestAKeysFileDecidesWhoIsAnOperator: without one, and without dev, nobody is.
func TestAKeysFileDecidesWhoIsAnOperator(t *testing.T) {
	cfg := testConfig(t)
	key, secret, err := admin.NewKey("ops", []admin.Scope{admin.ScopeRead})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Admin.KeysFile = filepath.Join(t.TempDir(), "keys.yaml")
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "admin.keys_file") {
		t.Errorf("without the file: %v", err)
	}
	if err := os.WriteFile(cfg.Admin.KeysFile, []byte("keys: [{id: ops, hash: "+key.Hash+", scopes: [read]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := mustOpen(t, cfg)
	if status, body := askAdmin(t, n, secret, "GET", "users", ""); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := askAdmin(t, n, secret, "POST", "messages", `{"to":"bob","text":"x"}`); status != 403 {
		t.Errorf("without the scope: %d", status)
	}
}
