package node

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-im/godwit/engine"
)

// post asks the ops endpoint for a backup and returns the last line of the answer.
func post(t *testing.T, n *Node, body string, header map[string]string) (status int, last BackupLine) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.OpsAddr()+BackupPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		r.Header.Set(name, value)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	for lines := json.NewDecoder(answer.Body); lines.More(); {
		last = BackupLine{}
		if err := lines.Decode(&last); err != nil {
			t.Fatal(err)
		}
	}
	return answer.StatusCode, last
}

func TestBackupOfARunningNodeRestores(t *testing.T) {
	cfg := testConfig(t)
	cfg.Program = "9.9"
	n := mustOpen(t, cfg)
	to := filepath.Join(t.TempDir(), "backups")
	body, err := json.Marshal(map[string]string{"to": to})
	if err != nil {
		t.Fatal(err)
	}
	status, last := post(t, n, string(body), nil)
	if status != http.StatusOK || last.Backup == nil || last.Backup.Files == 0 || filepath.Dir(last.Backup.Path) != to {
		t.Fatalf("status %d, %+v", status, last)
	}
	if b, bad, notes, err := VerifyBackup(t.Context(), last.Backup.Path, nil); err != nil || len(bad)+len(notes) > 0 || b.Program != "9.9" {
		t.Errorf("%+v, %q, %q, %v", b, bad, notes, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := BackUpData(t.Context(), "9.9", cfg.Data, to, slog.New(slog.DiscardHandler), nil); err != nil {
		t.Fatal(err)
	}
	if list, err := ListBackups(to); err != nil || len(list) != 2 || list[1].Err != nil {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := RestoreData(t.Context(), last.Backup.Path, cfg.Data, false, nil); !errors.Is(err, engine.ErrNotEmpty) {
		t.Errorf("restored over the data: %v", err)
	}
	cfg.Data = filepath.Join(t.TempDir(), "new")
	if err := os.MkdirAll(filepath.Join(cfg.Data, "engine.restoring", "x"), 0o700); err != nil { // broken off
		t.Fatal(err)
	}
	if _, err := RestoreData(t.Context(), last.Backup.Path, cfg.Data, true, nil); err != nil {
		t.Fatal(err)
	}
	if n = mustOpen(t, cfg); n.store.Restored() == 0 {
		t.Error("no incarnation")
	}
}

func TestOnlyProgramsOfThisMachineMayMakeBackups(t *testing.T) {
	n := mustOpen(t, testConfig(t))
	to := filepath.Join(t.TempDir(), "backups")
	good := `{"to":"` + to + `"}`
	f := func(want int, body string, header map[string]string) {
		t.Helper()
		if status, last := post(t, n, body, header); status != want || last.Error == nil || last.Error.Message == "" {
			t.Errorf("%s %v: status %d, %+v; want %d", body, header, status, last, want)
		}
	}
	f(http.StatusForbidden, good, map[string]string{"Origin": "http://evil.example"})
	f(http.StatusForbidden, good, map[string]string{"Origin": "http://" + n.OpsAddr()})
	f(http.StatusForbidden, good, map[string]string{"X-Forwarded-For": "10.0.0.1"})
	f(http.StatusUnsupportedMediaType, good, map[string]string{"Content-Type": "text/plain"})
	f(http.StatusBadRequest, `{"to":"relative"}`, nil)
	f(http.StatusBadRequest, `{"to":"/x","more":1}`, nil)
	f(http.StatusBadRequest, `{`, nil)
	if fromLoopback("10.0.0.1:1") || fromLoopback("[2001:db8::1]:1") || fromLoopback("") || !fromLoopback("127.0.0.1:1") || !fromLoopback("[::1]:1") {
		t.Error("loopback addresses are not told from others")
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused request made %s", to)
	}
	if status, last := post(t, n, `{"to":"/dev/null/x"}`, nil); status != http.StatusOK || last.Error == nil || !strings.Contains(last.Error.Message, "/dev/null") {
		t.Errorf("status %d, %+v", status, last)
	}
}

func TestOfflineBackupMakesNoStore(t *testing.T) {
	dir := t.TempDir()
	if _, err := BackUpData(t.Context(), "", filepath.Join(dir, "none"), filepath.Join(dir, "to"), slog.New(slog.DiscardHandler), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}
