package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// moderator is the operator's service: it refuses whatever says "fool".
type moderator struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string // "conv mid-or-dash text"
}

func newModerator(t *testing.T) *moderator {
	m := &moderator{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ From, Conv, CID, MID, Text string }
		err := json.NewDecoder(r.Body).Decode(&q)
		m.mu.Lock()
		defer m.mu.Unlock()
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if q.MID == "" {
			q.MID = "-"
		}
		m.asked = append(m.asked, q.Conv+" "+q.MID+" "+q.Text)
		json.NewEncoder(w).Encode(map[string]any{"allow": !strings.Contains(q.Text, "fool"), "message": "Be nice."})
	}))
	t.Cleanup(m.Close)
	return m
}

// take returns what it was asked since; of questions that were repeated, one.
func (m *moderator) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := slices.Compact(m.asked)
	m.asked = nil
	return asked
}

// TestAnEditDoesNotGetPastTheHook: what may not be sent can't be put into a message
// that was.
func TestAnEditDoesNotGetPastTheHook(t *testing.T) {
	overBothTransports(t, func(t *testing.T, transport string) {
		m := newModerator(t)
		env := []string{"GODWIT_HOOK_URL=" + m.URL, "GODWIT_HOOK_FAIL=closed", "GODWIT_HOOK_TIMEOUT=3s"}
		u := newUsers(t, env, []string{"--transport", transport}, "alice", "bob")
		group := u.createGroup("alice", "Chess", "bob")
		for _, conv := range []string{"u:bob", "g:" + group} {
			var sent struct{ MID string }
			u.one(&sent, "alice", "send", conv, "hello")
			u.refused("message.refused", "alice", "send", conv, "you fool")
			u.refused("message.refused", "alice", "edit", sent.MID, "you fool")
			if out, _, _ := u.command("alice", []string{"edit", sent.MID, "you fool"}); !strings.Contains(out, "Be nice.") {
				t.Errorf("%s: the refusal does not say why: %s", conv, out)
			}
			u.as("alice", "edit", sent.MID, "hello there")
			var again struct{ Dup bool }
			if u.one(&again, "alice", "edit", sent.MID, "hello there"); !again.Dup {
				t.Errorf("%s: the same edit again is no repeat", conv)
			}
			u.refused("message.not_found", "bob", "edit", sent.MID, "mine now")
			u.as("alice", "recall", sent.MID)
			want := []string{
				conv + " - hello", conv + " - you fool", conv + " " + sent.MID + " you fool", conv + " " + sent.MID + " hello there",
			}
			if got := m.take(); !slices.Equal(got, want) {
				t.Errorf("the hook was asked %q, want %q", got, want)
			}
			for _, e := range u.log("alice") {
				if e.Edit != nil && strings.Contains(e.Edit.Text, "fool") || e.Msg != nil && strings.Contains(e.Msg.Text, "fool") {
					t.Errorf("alice's log has %+v", e)
				}
			}
		}
	})
}
