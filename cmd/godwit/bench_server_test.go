package main

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/harness/load"
)

// TestMintedTokensAreBelieved: the generator signs tokens with a few lines of its
// own; a server told of its key must take them, and nobody else's.
func TestMintedTokensAreBelieved(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("load is generated on Linux only")
	}
	data, err := load.NewDataDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &benchServer{data: data}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	environ, err := s.makeSecret()
	if err != nil || len(environ) != 3 || !strings.HasPrefix(environ[0], "GODWIT_AUTH_KEYS_FILE=") {
		t.Fatalf("%q, %v", environ, err)
	}
	keys, err := auth.LoadKeys(filepath.Join(data.Path, "keys.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ring, err := auth.NewKeyring(auth.Config{Keys: keys, Issuer: load.TokenIssuer, Audience: load.TokenAudience})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := s.mint([]string{"bench-1", "bench-2"})
	if err != nil || len(tokens) != 2 {
		t.Fatal(err)
	}
	for i, want := range []string{"bench-1", "bench-2"} {
		who, err := ring.Verify([]byte(tokens[i]))
		user, expires := who.User, who.Expires
		if err != nil || string(user) != want || expires < now.Add(time.Hour).UnixMilli() {
			t.Errorf("%s is read as %q until %d, %v", want, user, expires, err)
		}
	}
	other := load.NewMinter([]byte("another secret of thirty-two bytes"), now.Add(time.Hour)).AppendToken(nil, []byte("bench-1"))
	if _, err := ring.Verify(other); err == nil {
		t.Error("a token of another key is believed")
	}
	late := load.NewMinter(s.secret, now.Add(-time.Hour)).AppendToken(nil, []byte("bench-1"))
	if _, err := ring.Verify(late); err == nil {
		t.Error("a token of the past is believed")
	}
}
