package auth

import (
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

func TestVerifyTellsWhenATokenWasIssued(t *testing.T) {
	cached, err := NewKeyring(Config{Keys: []Key{eddsaKey}, Issuer: "issuer", Audience: "godwit", Cached: 16, Clock: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	f := func(want int64, more ...any) {
		t.Helper()
		token := []byte(sign(t, head("EdDSA", "ed"), claims(more...), private))
		for _, k := range []*Keyring{keyring(t, eddsaKey), cached, cached} { // read, read and kept, remembered
			who, err := k.Verify(token)
			if err != nil || who != (godwit.Identity{User: "alice", Expires: start.Add(time.Hour).UnixMilli(), Issued: want}) {
				t.Errorf("%v: %+v, %v; want issued at %d", more, who, err, want)
			}
		}
	}
	f(0)
	f(start.Add(-time.Minute).UnixMilli(), "iat", start.Add(-time.Minute).Unix())
	f(0, "iat", -5)
	f(0, "iat", 1<<60)
	if cached.Stats().Remembered != 4 {
		t.Errorf("%+v: the kept verdict was not asked for", cached.Stats())
	}
}
