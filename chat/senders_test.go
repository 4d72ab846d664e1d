package chat

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
)

func TestSendersHoldAUserToHisRate(t *testing.T) {
	s := senders{perS: 5}
	sends := func(user godwit.UserID, asked int) (taken int, wait uint32) {
		for range asked {
			w := s.take(user)
			if w == 0 {
				taken++
			}
			wait = w
		}
		return taken, wait
	}
	f := func(user godwit.UserID, asked, want int, wantWait uint32) {
		t.Helper()
		if taken, wait := sends(user, asked); taken != want || wait != wantWait {
			t.Errorf("%s: %d of %d sends taken, wait %d; want %d and %d", user, taken, asked, wait, want, wantWait)
		}
	}
	f("alice", 100, 10, 200) // two seconds' worth, then one every 200 ms
	f("bob", 3, 3, 0)
	s.tick()
	f("alice", 1, 0, 100)
	s.tick()
	f("alice", 5, 1, 200)
	total := 0
	for range 100 { // 10 s
		s.tick()
		taken, _ := sends("alice", 3)
		total += taken
	}
	if total != 50 {
		t.Errorf("%d sends taken in 10 s, want 50", total)
	}
}

func TestSendersForgetWhoIsQuietAndStayBounded(t *testing.T) {
	s := senders{perS: 1}
	for i := range senderShards * shardSendersMax * 2 {
		if wait := s.take(godwit.UserID(fmt.Sprint("user", i))); wait != 0 {
			t.Fatalf("user %d waits %d ms at his first send", i, wait)
		}
	}
	count := func() (n int) {
		for i := range s.shards {
			n += len(s.shards[i].users)
			if len(s.shards[i].users) > shardSendersMax {
				t.Fatalf("shard %d holds %d users", i, len(s.shards[i].users))
			}
		}
		return n
	}
	if n := count(); n != senderShards*shardSendersMax {
		t.Errorf("%d users remembered", n)
	}
	for range senderShards * 2 {
		s.tick()
	}
	if n := count(); n != 0 {
		t.Errorf("%d users remembered who owe nothing", n)
	}
}

func TestSendsBeyondTheUsersRateAreRefusedOnAllHisSessions(t *testing.T) {
	bubble(t, 1, func(c *Config) { c.UserSendPerS = 2 }, func(s *served) {
		for i := range 4 {
			s.send("alice", "bob", fmt.Sprint("c", i), "hi")
		}
		r := s.ask("alice", sendFrame("bob", "c4", "hi"))
		s.wantError(r, godwit.ErrRateLimited)
		if r.Error.RetryAfterMS != 500 {
			t.Errorf("retry after %d ms, want 500", r.Error.RetryAfterMS)
		}
		s.send("bob", "alice", "c0", "hi")
		s.tick(5)
		s.send("alice", "bob", "c4", "hi")
	})
}
