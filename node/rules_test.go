package node

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/hook"
)

func TestTheConfiguredHookIsAsked(t *testing.T) {
	secret := strings.Repeat("s", 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m hook.Message
		signed := r.Header.Get(hook.SignatureHeader) == hook.Sign([]byte(secret), r.Header.Get(hook.TimeHeader), body)
		good := json.Unmarshal(body, &m) == nil && m.Text != nil && signed
		_, noID := godwit.ParseMessageID(m.MID)
		edit := noID == nil && m.Conv == "u:bob" && m.CID == "c1"
		allow := good && (*m.Text == "hi" && m.MID == "" || *m.Text == "hi!" && edit)
		json.NewEncoder(w).Encode(map[string]any{"allow": allow, "message": "Be nice."})
	}))
	defer server.Close()
	cfg := testConfig(t)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Hook.URL, cfg.Hook.Fail, cfg.Hook.SecretFile, cfg.Hook.Timeout = server.URL, "closed", file, Duration(3*time.Second)
	n := mustOpen(t, cfg)
	s := dial(t, n)
	s.write(`{"id":1,"connect":{"token":%q}}`, devToken(t, n.cfg))
	s.write(`{"id":2,"send":{"to":"bob","cid":"c1","text":"hi"}}`)
	reply, ok := s.until(`"id":2`)
	if !ok || !strings.Contains(reply, `"stored"`) {
		t.Errorf("allowed: %s", reply)
	}
	_, mid, _ := strings.Cut(reply, `"mid":"`)
	mid, _, _ = strings.Cut(mid, `"`)
	s.write(`{"id":3,"send":{"to":"bob","cid":"c2","text":"you fool"}}`)
	if reply, ok := s.until(`"id":3`); !ok || !strings.Contains(reply, `"message.refused"`) || !strings.Contains(reply, "Be nice.") {
		t.Errorf("refused: %s", reply)
	}
	for i, edit := range [][2]string{{"hi!", `"done"`}, {"you fool", `"message.refused"`}} {
		s.write(`{"id":%d,"edit":{"mid":%q,"text":%q}}`, 4+i, mid, edit[0])
		if reply, ok := s.until(fmt.Sprintf(`"id":%d`, 4+i)); !ok || !strings.Contains(reply, edit[1]) {
			t.Errorf("edit to %q: %s", edit[0], reply)
		}
	}
	if st := n.hook.Stats(); st.Calls != 4 || st.Refused != 2 {
		t.Errorf("stats %+v", st)
	}
}

func TestRulesThatCannotWorkAreRefused(t *testing.T) {
	f := func(field string, change func(c *Config)) {
		t.Helper()
		cfg := testConfig(t)
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), field+" ") {
			t.Errorf("%s: %v", field, err)
		}
	}
	f("policy.people", func(c *Config) { c.Policy.People = 10001 })
	f("policy.members", func(c *Config) { c.Policy.Members = 0 })
	f("policy.edit_window", func(c *Config) { c.Policy.EditWindow = Duration(1500 * time.Millisecond) })
	f("policy.who_may_start", func(c *Config) { c.Policy.WhoMayStart = "friends" })
	f("retention.messages", func(c *Config) { c.Retention.Messages = Duration(time.Hour) })
	f("limits.group_send_per_s", func(c *Config) { c.Limits.GroupSendPerS = 1<<20 + 1 })
	hooked := func(c *Config) { c.Hook.URL, c.Hook.Fail = "http://127.0.0.1:1/", "open" }
	f("hook.url", func(c *Config) { hooked(c); c.Hook.URL = "ftp://x/" })
	f("hook.url", func(c *Config) { hooked(c); c.Hook.URL = "http://user@x/" })
	f("hook.fail", func(c *Config) { hooked(c); c.Hook.Fail = "" })
	f("hook.fail", func(c *Config) { c.Hook.Fail = "maybe" })
	f("hook.secret_file", func(c *Config) { hooked(c); c.Hook.URL = "https://moderation.example/" })
	f("hook.timeout", func(c *Config) { hooked(c); c.Hook.Timeout = Duration(4 * time.Second) })
	f("hook.calls", func(c *Config) { c.Hook.Calls = 0 })
	f("hook.queue", func(c *Config) { c.Hook.Queue = 0 })
	cfg := testConfig(t)
	hooked(&cfg)
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}
