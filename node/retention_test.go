package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheOperatorKeepsAConversationForItsOwnTime, over the ops address; what an hour
// brings is tested in package chat.
func TestTheOperatorKeepsAConversationForItsOwnTime(t *testing.T) {
	cfg := testConfig(t)
	n := mustOpen(t, cfg)
	b, err := os.ReadFile(filepath.Join(cfg.Data, AdminDevKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(b))
	ask := func(method, path, body string, want int, part string) (got string) {
		t.Helper()
		status, got := askAdmin(t, n, secret, method, path, body)
		if status != want || !strings.Contains(got, part) {
			t.Errorf("%s %s: %d %s", method, path, status, got)
		}
		return got
	}
	ask("POST", "messages", `{"to":"bob","text":"one","cid":"m1"}`, 200, `"state":"stored"`)
	made := ask("POST", "groups", `{"owner":"alice","name":"Team","members":["bob"]}`, 200, `"group":"`)
	_, made, _ = strings.Cut(made, `"group":"`)
	group, _, _ := strings.Cut(made, `"`)
	ask("PUT", "users/bob/conversations/u:system/retention", `{"seconds":2592000}`, 200, `"conv":"u:system","seconds":2592000`)
	ask("PUT", "groups/"+group+"/retention", `{"seconds":86400}`, 200, `"conv":"g:`+group+`"`)
	ask("PUT", "users/bob/conversations/g:"+group+"/retention", `{"seconds":0}`, 200, `"seconds":0`)
	ask("PUT", "groups/gnone/retention", `{"seconds":86400}`, 403, "not_member")
	ask("PUT", "groups/"+group+"/retention", `{"seconds":60}`, 400, "seconds")
	ask("GET", "users/bob/conversations/u:system/messages", "", 200, "one")
}
