package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// admin runs an operator's command that must be done.
func (u *users) admin(args ...string) string {
	u.t.Helper()
	out, errs, code := u.run("", append([]string{"admin", "--json", "--ops", u.ops, "--data", u.dir}, args...)...)
	if code != 0 || errs != "" {
		u.t.Fatalf("godwit admin %s: exit %d, %s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// TestWhatTheOperatorErasedNobodyReads: an account, a conversation of two and a
// group, at once and after the process was killed. All of it holds the word wipe.
//
//tidy:long one story in its order
func TestWhatTheOperatorErasedNobodyReads(t *testing.T) {
	t.Parallel()
	s := newUsers(t, []string{"GODWIT_POLICY_CHANNEL_ABOVE=3"}, nil, "alice", "bob", "carol")
	alice, _ := newLine(t, s, godwit.EncodingJSON, "alice", "phone", godwit.Resume{})
	bob, _ := newLine(t, s, godwit.EncodingJSON, "bob", "phone", godwit.Resume{})
	var convs []string
	for name, members := range map[string]string{"group": `"bob","carol"`, "channel": `"bob","carol","dave"`} {
		conv := pick(t, must(t, alice, `{"group":{"do":"create","name":"`+name+`","users":[`+members+`]}}`), "conv")
		must(t, alice, say(conv, name+"1", "wipe this of alice"))
		mid := pick(t, must(t, alice, say(conv, name+"2", "first")), "mid")
		must(t, alice, `{"edit":{"mid":"`+mid+`","text":"wipe the edit, too"}}`)
		bob.until("wipe the edit, too")
		must(t, bob, say(conv, name+"3", "bob's stays"))
		convs = append(convs, conv)
	}
	doomed := pick(t, must(t, bob, `{"group":{"do":"create","name":"emptied","users":["carol"]}}`), "conv")
	must(t, bob, say(doomed, "c2", "wipe what bob wrote"))
	must(t, bob, say("carol", "c3", "wipe what bob wrote"))
	s.as("carol", "send", doomed, "wipe what carol wrote")
	s.as("carol", "send", "bob", "wipe what carol wrote")
	must(t, alice, say("bob", "c1", "wipe this"))
	must(t, bob, say("alice", "c1", "bob's stays"))
	bob.until("wipe this")

	records := []string{
		s.admin("erase", "alice", "--yes"), s.admin("erase-conversation", "bob", "u:carol", "--yes"), s.admin("erase-conversation", "bob", doomed, "--yes"),
	}
	// The account's session ends with the code that says so.
	if closed := <-alice.closed; closed == nil || closed.Code != uint16(godwit.CloseLoggedOut) {
		t.Errorf("alice's session ended with %v", closed)
	}
	look := func(when string) {
		t.Helper()
		phone, _ := newLine(t, s, godwit.EncodingProto, "bob", "new", godwit.Resume{Set: true, Channels: []godwit.ChannelPlace{
			{Conv: []byte(convs[0])}, {Conv: []byte(convs[1])}, {Conv: []byte(doomed)},
		}})
		for _, who := range []speaker{phone, newPost(t, s, "carol", "web")} {
			var told []string
			for _, conv := range append([]string{"alice", "bob", "carol", doomed}, convs...) {
				told = append(told, who.ask(`{"history":{"conv":"`+conv+`"}}`), who.ask(`{"history":{"conv":"`+conv+`","after":0}}`))
				if strings.HasPrefix(conv, "g:") {
					told = append(told, who.ask(`{"history":{"conv":"`+conv+`","gafter":0}}`), who.ask(`{"group":{"do":"members","group":"`+conv+`"}}`))
				}
			}
			told = append(told, must(t, who, `{"sync":{}}`), must(t, who, `{"conversations":{}}`), must(t, who, `{"group":{"do":"list"}}`))
			told = append(told, who.heard()...)
			for _, answer := range told {
				if strings.Contains(answer, "wipe") {
					t.Errorf("%s, %s reads %.400s", when, who.name(), answer)
				}
			}
			if all := strings.Join(told, "\n"); strings.Count(all, "bob's stays") < 2 || strings.Contains(told[len(told)-1], `"user":"alice"`) {
				t.Errorf("%s, %s lost what was not erased: %s", when, who.name(), all)
			}
		}
		for _, of := range [][]string{{"alice", "u:bob"}, {"alice", convs[0]}, {"bob", "u:carol"}, {"carol", "u:bob"}, {"bob", doomed}} {
			out, _, _ := s.run("", "admin", "--json", "--ops", s.ops, "--data", s.dir, "history", of[0], of[1])
			if strings.Contains(out, "wipe") {
				t.Errorf("%s, the operator reads of %v: %s", when, of, out)
			}
		}
		p := newPost(t, s, "alice", "phone")
		if status, answer, err := p.request(t.Context(), "GET", "/v1/poll?device=phone&wait=0", nil); err != nil || status != 401 {
			t.Errorf("%s, alice's token is good for %d %s %v", when, status, answer, err)
		}
	}
	look("at once")
	checkErasures(t, s, records)
	s.kill()
	s.start()
	look("after a restart")
	checkErasures(t, s, append(records, s.admin("erase", "carol", "--yes")))
}

// checkErasures verifies the record as its reader would: with the public half of
// the key, and each line by the one before.
func checkErasures(t *testing.T, s *users, answers []string) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(s.dir, "erasures.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	pemKey, err := os.ReadFile(filepath.Join(s.dir, "erase-signing-key"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(pemKey)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	public := key.(ed25519.PrivateKey).Public().(ed25519.PublicKey)
	lines := bytes.Split(bytes.TrimSuffix(file, []byte("\n")), []byte("\n"))
	if len(lines) != len(answers) {
		t.Fatalf("%d lines of %d erasures: %s", len(lines), len(answers), file)
	}
	for i, line := range lines {
		var signed struct {
			Record    json.RawMessage
			Signature []byte
		}
		if err := json.Unmarshal(line, &signed); err != nil || !ed25519.Verify(public, signed.Record, signed.Signature) {
			t.Errorf("line %d is not signed: %s", i+1, line)
		}
		if strings.TrimSpace(answers[i]) != string(line) {
			t.Errorf("line %d is %s, and the operator was told %s", i+1, line, answers[i])
		}
	}
}
