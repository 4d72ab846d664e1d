package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// TestLastSeenOutlivesTheServer: what another user pulls is the same after a clean
// end and after SIGKILL; who was online when the process was killed was last seen
// while it lived; an erased user is not remembered.
//
//tidy:long one story in its order
func TestLastSeenOutlivesTheServer(t *testing.T) {
	t.Parallel()
	s := newServer(t, "", "GODWIT_PRESENCE_DEBOUNCE=500ms", "GODWIT_PRESENCE_VISIBLE=all")
	s.start()
	tokens := s.tokens("alice", "bob", "carol")
	begin := time.Now().UnixMilli()
	comes := func(user string) *wire {
		w, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens[user], "phone", godwit.Resume{})
		return w
	}
	leaves := func(w *wire) {
		w.conn.WriteClose(1000, nil)
		<-w.closed
	}
	// seen is what alice is told of a user who is offline.
	seen := func(user string) (ms int64) {
		t.Helper()
		alice := comes("alice")
		defer leaves(alice)
		f := godwit.ClientFrame{Kind: godwit.KindPresence}
		f.Presence.Get = [][]byte{[]byte(user)}
		until(t, user+" is offline", func() bool {
			item := alice.ask(f).Presence.Users[0]
			ms = item.LastSeen
			return !item.Online
		})
		return ms
	}
	written := func() {
		t.Helper()
		until(t, "the changes are written", func() bool { return metric(t, s.ops, "godwit_last_seen_unwritten") == 0 })
	}

	leaves(comes("bob"))
	left := seen("bob")
	if left < begin || left > time.Now().UnixMilli() {
		t.Fatalf("bob was seen at %d, before any restart", left)
	}
	if code := s.terminate(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	s.start()
	if got := seen("bob"); got != left {
		t.Errorf("after a clean end bob was seen at %d, want %d", got, left)
	}

	leaves(comes("bob"))
	if again := seen("bob"); again <= left {
		t.Errorf("bob came back and was seen at %d", again)
	} else {
		left = again
	}
	arrives := time.Now().UnixMilli()
	comes("carol")
	written()
	s.kill()
	died := time.Now().UnixMilli()
	s.start()
	if got := seen("bob"); got != left {
		t.Errorf("after SIGKILL bob was seen at %d, want %d", got, left)
	}
	if got := seen("carol"); got < arrives || got > died {
		t.Errorf("carol was seen at %d; she came after %d, and the server was killed before %d", got, arrives, died)
	}

	if out, errs, code := s.run("", "admin", "erase", "bob", "--yes", "--ops", s.ops, "--data", s.dir); code != 0 {
		t.Fatalf("erase: exit %d, %s%s", code, out, errs)
	}
	s.kill() // at once
	s.start()
	if got := seen("bob"); got != 0 {
		t.Errorf("erased, bob was seen at %d", got)
	}
	if b, err := os.ReadFile(filepath.Join(s.dir, "last-seen")); err != nil || strings.Contains(string(b), "bob") {
		t.Errorf("the file has his name: %v", err)
	}
}
