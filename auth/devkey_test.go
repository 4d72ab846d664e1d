package auth

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

func TestDevSignerMintsWhatItsKeyringBelieves(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet", "there")
	clock := func() time.Time { return start }
	s, err := DevSigner(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Mint("alice", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	again, err := DevSigner(dir, clock) // another process, later
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKeyring(again.Config())
	if err != nil {
		t.Fatal(err)
	}
	user, expires, err := k.Verify([]byte(token))
	if err != nil || user != "alice" || expires != start.Add(24*time.Hour).UnixMilli() {
		t.Errorf("got %q, %d, %v", user, expires, err)
	}
	if _, err := s.Mint("not a user", time.Hour); err == nil {
		t.Error("minted a token for something that is no user id")
	}
	info, err := os.Stat(filepath.Join(dir, DevKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v; want mode 0600", info, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files are left in the directory, want the key alone", len(entries))
	}
}

func TestDevSignerStartedAtOnceAgrees(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		var signers [8]*Signer
		var wg sync.WaitGroup
		for i := range signers {
			wg.Go(func() {
				s, err := DevSigner(dir, nil)
				if err != nil {
					t.Error(err)
				}
				signers[i] = s
			})
		}
		wg.Wait()
		for _, s := range signers {
			if s == nil || !s.private.Equal(signers[0].private) {
				t.Fatal("two processes made two keys")
			}
		}
	}
}

func TestDevSignerRefuses(t *testing.T) {
	f := func(want, content string, mode os.FileMode) {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, DevKeyFile), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := DevSigner(dir, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
	f("damaged", "", 0o600)
	f("damaged", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600)
	f("read by others", "anything", 0o644)
}

func TestLoadKeys(t *testing.T) {
	f := func(content, wantErr string) []Key {
		t.Helper()
		path := filepath.Join(t.TempDir(), "keys.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := LoadKeys(path)
		switch {
		case wantErr == "" && err != nil:
			t.Error(err)
		case wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)):
			t.Errorf("got %v, want an error about %q", err, wantErr)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("the error quotes the key: %v", err)
		}
		return keys
	}
	const bare = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
	keys := f("keys:\n- {kid: a, alg: EdDSA, key: "+bare+"}\n- {kid: b, alg: HS256, key: YSBzZWNyZXQgd2l0aCBhdCBsZWFzdCB0aGlydHktdHdvIGJ5dGVz}\n", "")
	if len(keys) != 2 || keys[0].ID != "a" || len(keys[0].Public) != 32 || string(keys[1].Secret) != "a secret with at least thirty-two bytes" {
		t.Errorf("keys are %v", keys)
	}
	if keys := f(`{"keys":[{"kid":"a","alg":"EdDSA","key":"MCowBQYDK2VwAyEAA6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}]}`, ""); len(keys) != 1 || len(keys[0].Public) != 32 {
		t.Errorf("SPKI in JSON: %v", keys)
	}
	f("keys:\n- kid: a\n  alg: EdDSA\n  key: |\n    -----BEGIN PUBLIC KEY-----\n    MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n    -----END PUBLIC KEY-----\n", "")
	f("keys:\n- kid: a\n  alg: EdDSA\n  key: |\n    -----BEGIN PRIVATE KEY-----\n    hiddenhidden\n    -----END PRIVATE KEY-----\n", "give the PUBLIC KEY")
	f("keys: [{kid: a, alg: EdDSA, key: 'hidden!'}]", "not base64")
	f("keys: [{kid: a, alg: EdDSA, key: aGlkZGVu}]", "neither 32 bytes")
	f("keys: [{kid: a, alg: HS256, key: aGlkZGVu}]", "at least 32 bytes")
	f("keys: [{kid: a, alg: RS256, key: aGlkZGVu}]", "must be EdDSA or HS256")
	f("keys: [{kid: a, alg: HS256, secret: hidden}]", "not of the form")
	f("hidden", "not of the form")
	f("keys: [{kid: a, alg: HS256, key: "+strings.Repeat("A", keysFileBytesMax)+"}]", "larger than")
}

var _ interface {
	Verify(token []byte) (godwit.UserID, int64, error)
} = (*Keyring)(nil) // what the edge asks for
