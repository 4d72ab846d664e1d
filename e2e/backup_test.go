package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// wait reads a log until it holds so many entries: the last may be on a lane.
func (w *wire) wait(entries int) []godwit.Entry {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		got := w.sync(0, 1000).Entries
		if len(got) >= entries {
			return got
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the log holds %d entries, want %d", len(got), entries)
		}
	}
}

func texts(entries []godwit.Entry) (all []string) {
	for _, e := range entries {
		all = append(all, string(e.Msg.Body))
	}
	return all
}

// mustRun runs a subcommand that succeeds.
func (s *server) mustRun(args ...string) string {
	s.t.Helper()
	out, errs, code := s.run("", args...)
	if code != 0 {
		s.t.Fatalf("godwit %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// backUp makes a backup of the running server.
func (s *server) backUp(to string) (path string) {
	s.t.Helper()
	var made struct{ Path string }
	if err := json.Unmarshal([]byte(s.mustRun("backup", "create", "--json", "--to", to, "--ops", s.ops)), &made); err != nil {
		s.t.Fatal(err)
	}
	return made.Path
}

func TestRestoredServerHasTheHistoryAndAnotherEpoch(t *testing.T) {
	for _, groups := range []string{"1", "8"} {
		t.Run(groups+" groups", func(t *testing.T) { restoreRun(t, "GODWIT_ENGINE_GROUPS="+groups) })
	}
}

//tidy:long the steps of one operation, in order
func restoreRun(t *testing.T, env string) {
	const before, after = 20, 5
	to := filepath.Join(t.TempDir(), "backups")
	s := newServer(t, "", env)
	s.start()
	tokens := s.tokens("alice", "bob")
	alice, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens["alice"], "phone", godwit.Resume{})
	bob, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens["bob"], "phone", godwit.Resume{})
	send := func(w *wire, from, n int) {
		t.Helper()
		for i := range n {
			if r := w.send("bob", fmt.Sprint("c", from+i), fmt.Sprint("message ", from+i)); r.Kind != godwit.KindSend {
				t.Fatalf("send answered %+v", r.Error)
			}
		}
	}
	send(alice, 0, before)
	bob.wait(before)
	first := s.backUp(to)
	send(alice, before, after)
	bob.wait(before + after)
	_, old := connectWire(t, s.url(), godwit.EncodingJSON, tokens["bob"], "web", godwit.Resume{})
	second := s.backUp(to)
	s.kill()
	s.mustRun("backup", "create", "--to", to, "--data", s.dir)
	if out := s.mustRun("backup", "verify", to); strings.Count(out, ": whole, ") != 3 {
		t.Errorf("verify says %q", out)
	}
	if n := sharedFiles(t, first, second); n == 0 {
		t.Error("the second backup shares nothing with the first")
	}

	again := newServer(t, "", env)
	again.dir = filepath.Join(t.TempDir(), "restored")
	again.mustRun("restore", "--from", first, "--data", again.dir)
	again.start()
	tokens = again.tokens("alice", "bob")
	alice, _ = connectWire(t, again.url(), godwit.EncodingJSON, tokens["alice"], "phone", godwit.Resume{})
	bob, fresh := connectWire(t, again.url(), godwit.EncodingJSON, tokens["bob"], "phone", godwit.Resume{})
	if fresh.Epoch == old.Epoch || fresh.Epoch == "" {
		t.Errorf("epoch %q after the restore, %q before", fresh.Epoch, old.Epoch)
	}
	want := []string{}
	for i := range before {
		want = append(want, fmt.Sprint("message ", i))
	}
	if got := texts(bob.wait(before)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("bob's log holds %q", got)
	}
	if got := texts(alice.history("u:bob", false, 7)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("alice's history with bob is %q", got)
	}
	for _, seq := range []godwit.Seq{3, before, before + after} {
		_, r := connectWire(t, again.url(), godwit.EncodingJSON, tokens["bob"], "web", godwit.Resume{Set: true, Epoch: []byte(old.Epoch), Seq: seq})
		if r.Resumed || r.Reason != "epoch" || r.Epoch != fresh.Epoch {
			t.Errorf("a resume at %d of the epoch before: %+v", seq, r)
		}
	}
	if r := alice.send("bob", "c0", "message 0"); !r.Send.Dup || r.Send.Seq != 1 {
		t.Errorf("a repeated send after the restore: %+v %+v", r.Send, r.Error)
	}
	// What was lost may be sent again, and takes the numbers again.
	send(alice, before, after)
	if got := bob.wait(before + after); len(got) != before+after || got[before].Seq != before+1 {
		t.Errorf("bob's log goes on as %q", texts(got))
	}
	again.kill()
	again.start()
	_, r := connectWire(t, again.url(), godwit.EncodingJSON, tokens["bob"], "web", godwit.Resume{Set: true, Epoch: []byte(fresh.Epoch), Seq: 3})
	if !r.Resumed || r.Epoch != fresh.Epoch {
		t.Errorf("a resume after a restart of the restored server: %+v", r)
	}
	if out, _, code := again.run("", "restore", "--from", first, "--data", again.dir); code != 1 {
		t.Errorf("a restore over a store: exit %d, %q", code, out)
	}
}

// sharedFiles counts the files that two backups have in common on disk.
func sharedFiles(t *testing.T, a, b string) (n int) {
	t.Helper()
	for _, pattern := range []string{"segments/*", "rows/*.sst"} {
		files, err := filepath.Glob(filepath.Join(a, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			one, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			other, err := os.Stat(filepath.Join(b, strings.TrimPrefix(path, a)))
			if err == nil && os.SameFile(one, other) {
				n++
			}
		}
	}
	return n
}
