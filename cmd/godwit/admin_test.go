package main

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

	"github.com/godwit-im/godwit/node"
)

// opsServer keeps what it is asked and answers with a status and a body.
func opsServer(t *testing.T, status int, body string) (ops string, asked *[]string) {
	t.Helper()
	asked = &[]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		*asked = append(*asked, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"), r.Header.Get("Idempotency-Key"), b)))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), asked
}

// TestAdminCommandsAskForWhatTheySay: method, path, query and body of each.
func TestAdminCommandsAskForWhatTheySay(t *testing.T) {
	ops, asked := opsServer(t, 200, `{"ok": true}`)
	for line, want := range map[string]string{
		"stats":                          "GET /v1/admin/stats",
		"users --limit 7 --next bob":     "GET /v1/admin/users?limit=7&next=bob",
		"user bob":                       "GET /v1/admin/users/bob",
		"devices bob":                    "GET /v1/admin/users/bob/devices",
		"logout bob --device phone":      `POST /v1/admin/users/bob/logout {"all":false,"device":"phone"}`,
		"logout bob":                     `POST /v1/admin/users/bob/logout {"all":true,"device":""}`,
		"kick bob":                       "POST /v1/admin/users/bob/kick",
		"conversations bob":              "GET /v1/admin/users/bob/conversations?limit=100",
		"erase bob --yes":                "DELETE /v1/admin/users/bob",
		"erase-conversation b u:a --yes": "DELETE /v1/admin/users/b/conversations/u:a",
		"retention --user b --conv u:a --for 720h": `PUT /v1/admin/users/b/conversations/u:a/retention {"seconds":2592000}`,
		"retention --group g1 --for 0":             `PUT /v1/admin/groups/g1/retention {"seconds":0}`,
		"history bob u:a/b --before 9":             "GET /v1/admin/users/bob/conversations/u:a%2Fb/messages?before=9&limit=100",
		"send --to bob hi":                         `POST /v1/admin/messages {"text":"hi","to":"bob"}`,
		"recall M --user al":                       `POST /v1/admin/messages/M/recall {"user":"al"}`,
		"groups":                                   "GET /v1/admin/groups?limit=100",
		"group dissolve g1":                        "DELETE /v1/admin/groups/g1",
		"group info g1":                            "GET /v1/admin/groups/g1",
		"group members g1":                         "GET /v1/admin/groups/g1/members?limit=100",
		"group add g1 a b":                         `POST /v1/admin/groups/g1/members {"users":["a","b"]}`,
		"group remove g1 a":                        "DELETE /v1/admin/groups/g1/members/a",
		"group role g1 a admin":                    `PUT /v1/admin/groups/g1/members/a {"role":"admin"}`,
		"group history g1":                         "GET /v1/admin/groups/g1/messages?limit=100",
		"group set g1 --name Crew":                 `PATCH /v1/admin/groups/g1 {"history":"","join":"","name":"Crew"}`,
		"group create --owner a Team b":            `POST /v1/admin/groups {"cid":"","history":"","join":"","members":["b"],"name":"Team","owner":"a"}`,
	} {
		*asked = nil
		out, errs, code := runApp(t, nil, append([]string{"admin", "--json", "--ops", ops, "--key", "k"}, strings.Fields(line)...)...)
		if code != exitDone || out != "{\"ok\":true}\n" || len(*asked) != 1 {
			t.Errorf("%s: exit %d, %q %q, %d requests", line, code, out, errs, len(*asked))
			continue
		}
		if got := strings.Join(strings.Fields(strings.Replace((*asked)[0], " Bearer k", "", 1)), " "); got != want {
			t.Errorf("%s asks\n%s, want\n%s", line, got, want)
		}
	}
}

// TestAdminRefusalsKeepTheirCode, on one line of standard output.
func TestAdminRefusalsKeepTheirCode(t *testing.T) {
	ops, _ := opsServer(t, 403, `{"type":"about:blank","title":"Forbidden","status":403,"code":"key.scope","detail":"The key lacks the scope erase."}`)
	out, _, code := runApp(t, nil, "admin", "user", "bob", "--json", "--ops", ops, "--key", "k")
	var got struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitFailed || got.Error.Code != "key.scope" || got.Error.Message != "The key lacks the scope erase." {
		t.Errorf("exit %d: %q", code, out)
	}
	ops, _ = opsServer(t, 502, "<html>bad gateway</html>")
	if out, _, code := runApp(t, nil, "admin", "user", "bob", "--json", "--ops", ops, "--key", "k"); code != exitFailed || !strings.Contains(out, "502") {
		t.Errorf("what is no answer of ours: exit %d %q", code, out)
	}
}

// TestAdminFindsItsKey: the flag before the environment before the development key.
func TestAdminFindsItsKey(t *testing.T) {
	ops, asked := opsServer(t, 200, `{}`)
	dir := t.TempDir()
	none := filepath.Join(dir, "none")
	if err := os.WriteFile(filepath.Join(dir, node.AdminDevKeyFile), []byte("from-dev\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		environ []string
		args    []string
		want    string
	}{
		{[]string{envAdminKey + "=from-environment"}, []string{"--key", "from-flag", "--data", dir}, "from-flag"},
		{[]string{envAdminKey + "=from-environment"}, []string{"--data", dir}, "from-environment"},
		{nil, []string{"--data", dir}, "from-dev"},
	} {
		*asked = nil
		if _, errs, code := runApp(t, c.environ, append([]string{"admin", "stats", "--ops", ops}, c.args...)...); code != exitDone || len(*asked) != 1 || !strings.Contains((*asked)[0], "Bearer "+c.want) {
			t.Errorf("%v: exit %d, %q, asked %q", c.args, code, errs, *asked)
		}
	}
	if _, errs, code := runApp(t, nil, "admin", "stats", "--ops", ops, "--data", none); code != exitFailed || !strings.Contains(errs, envAdminKey) {
		t.Errorf("without a key: exit %d, %q", code, errs)
	}
}

func TestAdminErasesNothingUnasked(t *testing.T) {
	ops, asked := opsServer(t, 200, `{}`)
	for _, line := range []string{"erase bob", "erase-conversation bob u:alice"} {
		_, _, code := runApp(t, nil, append([]string{"admin", "--ops", ops, "--key", "k"}, strings.Fields(line)...)...)
		if code != exitUsage || len(*asked) != 0 {
			t.Errorf("%s: exit %d, asked %q", line, code, *asked)
		}
	}
}
