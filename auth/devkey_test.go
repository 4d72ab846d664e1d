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
	who, err := k.Verify([]byte(token))
	user, expires := who.User, who.Expires
	if err != nil || who.Issued != start.UnixMilli() || user != "alice" || expires != start.Add(24*time.Hour).UnixMilli() {
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

var _ interface {
	Verify(token []byte) (godwit.Identity, error)
} = (*Keyring)(nil) // what the edge asks for
