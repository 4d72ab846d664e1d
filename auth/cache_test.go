package auth

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

func name(i int) digest {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

func (c *cache) size() (n int) {
	for i := range c.shards {
		n += len(c.shards[i].current) + len(c.shards[i].former)
	}
	return n
}

func TestCacheRemembersTheLastAndIsBounded(t *testing.T) {
	const size = 1 << 10
	c := newCache(size)
	for i := range 20 * size {
		c.put(name(i), 7, godwit.Identity{User: "alice", Expires: int64(i)})
		if _, ok := c.get(name(0), 7); !ok {
			t.Fatalf("what is used all the time is forgotten after %d others", i)
		}
		if n := c.size(); i%100 == 0 && n > 2*size+2*cacheShards {
			t.Fatalf("%d tokens are kept", n)
		}
	}
	known := 0
	for i := 20*size - size/2; i < 20*size; i++ {
		if who, ok := c.get(name(i), 7); ok && who == (godwit.Identity{User: "alice", Expires: int64(i)}) {
			known++
		}
	}
	if known != size/2 {
		t.Errorf("of the last %d tokens %d are known", size/2, known)
	}
	if _, ok := c.get(name(1), 7); ok {
		t.Error("a token of long ago is known")
	}
}

func TestCacheForgetsWithTheKeys(t *testing.T) {
	c := newCache(64)
	c.put(name(1), 1, godwit.Identity{User: "alice", Expires: 5})
	if _, ok := c.get(name(1), 2); ok {
		t.Error("believed by keys that are gone")
	}
	c.put(name(1), 2, godwit.Identity{User: "alice", Expires: 5})
	if _, ok := c.get(name(1), 2); !ok {
		t.Error("not known after it was verified anew")
	}
	if _, ok := c.get(name(1), 1); ok {
		t.Error("a newer verdict counts for older keys")
	}
}

func TestCachedTokenEndsInTime(t *testing.T) {
	now := start
	k, err := NewKeyring(Config{Keys: []Key{eddsaKey}, Issuer: "issuer", Audience: "godwit", Cached: 16, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	end := start.Add(time.Hour)
	token := []byte(sign(t, head("EdDSA", "ed"), claims(), private))
	f := func(at time.Duration, want time.Time) {
		t.Helper()
		now = start.Add(at)
		who, err := k.Verify(token)
		user, expires := who.User, who.Expires
		if want.IsZero() != (err != nil) || err == nil && (user != "alice" || expires != want.UnixMilli()) {
			t.Errorf("after %s: %q, %d, %v; want until %s", at, user, expires, err, want)
		}
	}
	for range 2 {
		f(0, end)
		f(time.Hour-time.Millisecond, end)
		f(time.Hour, end.Add(Leeway))
		f(time.Hour+Leeway-time.Millisecond, end.Add(Leeway))
		f(time.Hour+Leeway, time.Time{})
		f(2*time.Hour, time.Time{})
	}
	if k.cache.size() != 1 {
		t.Errorf("%d tokens are remembered", k.cache.size())
	}
	bad := append([]byte(nil), token...)
	bad[len(bad)-5] ^= 1
	for range 2 {
		if _, err := k.Verify(bad); err == nil {
			t.Error("a forged token is believed")
		}
	}
	if k.cache.size() != 1 {
		t.Error("a refused token is remembered")
	}
}
