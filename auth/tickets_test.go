package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

func TestTicketIsGoodOnce(t *testing.T) {
	now := start
	tickets := NewTickets(func() time.Time { return now })
	expires := start.Add(time.Hour).UnixMilli()
	alice := godwit.Identity{User: "alice", Expires: expires, Issued: start.Add(-time.Minute).UnixMilli()}
	text, seconds, err := tickets.Issue(alice)
	if err != nil || seconds != 30 || !regexp.MustCompile(`^tk_[A-Za-z0-9_-]{22}$`).MatchString(text) {
		t.Fatalf("got %q for %d s, %v", text, seconds, err)
	}
	if who, err := tickets.Redeem(text); err != nil || who != alice {
		t.Errorf("got %+v, %v", who, err)
	}
	if who, err := tickets.Redeem(text); !errors.Is(err, ErrTicket) || !errors.Is(err, godwit.ErrUnauthorized) || who.User != "" {
		t.Errorf("a second time: %q, %v", who.User, err)
	}
}

func TestTicketEndsInTime(t *testing.T) {
	f := func(after, token time.Duration, good bool) {
		t.Helper()
		now := start
		tickets := NewTickets(func() time.Time { return now })
		text, seconds, err := tickets.Issue(godwit.Identity{User: "alice", Expires: start.Add(token).UnixMilli()})
		if err != nil || seconds != int(min(token, TicketTTL)/time.Second) {
			t.Fatal(seconds, err)
		}
		now = start.Add(after)
		if _, err := tickets.Redeem(text); (err == nil) != good {
			t.Errorf("after %s with a token of %s: %v", after, token, err)
		}
		now = start
		if _, err := tickets.Redeem(text); err == nil {
			t.Errorf("after %s: tried and still good", after)
		}
	}
	f(TicketTTL-1, time.Hour, true)
	f(TicketTTL, time.Hour, false)
	f(10*time.Second-1, 10*time.Second, true)
	f(10*time.Second, 10*time.Second, false)
}

func TestTicketIsRefused(t *testing.T) {
	tickets := NewTickets(func() time.Time { return start })
	good, _, err := tickets.Issue(godwit.Identity{User: "alice", Expires: start.Add(time.Hour).UnixMilli()})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(good[3:])
	if err != nil {
		t.Fatal(err)
	}
	last := good[len(good)-1]
	for _, bad := range []string{
		"", "tk_", good[3:], "TK_" + good[3:], good + "A", good[:24], good + "=", good + "\n", good[:10] + "\n" + good[10:], good[:10] + "\n" + good[11:],
		good[:24] + string(last+1), // the same 128 bits in another spelling
		"tk_" + base64.RawURLEncoding.EncodeToString(append([]byte{raw[0] ^ 1}, raw[1:]...)),
	} {
		if who, err := tickets.Redeem(bad); !errors.Is(err, godwit.ErrUnauthorized) {
			t.Errorf("%q: %q, %v", bad, who.User, err)
		}
	}
	if who, err := tickets.Redeem(good); err != nil || who.User != "alice" {
		t.Errorf("the good one: %q, %v", who.User, err)
	}
}

func TestTicketsAreBounded(t *testing.T) {
	now := start
	tickets := NewTickets(func() time.Time { return now })
	expires := start.Add(time.Hour).UnixMilli()
	issue := func(user godwit.UserID, want error) (text string) {
		t.Helper()
		text, _, err := tickets.Issue(godwit.Identity{User: user, Expires: expires})
		if !errors.Is(err, want) {
			t.Fatalf("%s after %d: %v, want %v", user, tickets.Waiting(), err, want)
		}
		return text
	}
	var first string
	for i := range ticketsUserMax {
		if text := issue("alice", nil); i == 0 {
			first = text
		}
	}
	issue("alice", ErrTicketsFull)
	if _, err := tickets.Redeem(first); err != nil {
		t.Error(err)
	}
	issue("alice", nil) // the used one made room
	issue("alice", ErrTicketsFull)
	for i := tickets.Waiting(); i < ticketsMax; i++ {
		issue(godwit.UserID(fmt.Sprint("u", i)), nil)
	}
	issue("bob", ErrTicketsFull)
	var full *godwit.Error
	if _, _, err := tickets.Issue(godwit.Identity{User: "bob", Expires: expires}); !errors.As(err, &full) || !full.Temporary {
		t.Errorf("not temporary: %v", err)
	}
	now = start.Add(TicketTTL)
	issue("bob", nil)
	if tickets.Waiting() != 1 || len(tickets.users) != 1 {
		t.Errorf("%d tickets of %d users wait; all but bob's are too old", tickets.Waiting(), len(tickets.users))
	}
}

// TestTicketsActLikeTheirModel runs random calls against a list.
func TestTicketsActLikeTheirModel(t *testing.T) {
	type entry struct {
		text string
		user godwit.UserID
		end  time.Time
	}
	rapid.Check(t, func(t *rapid.T) {
		now := start
		tickets := NewTickets(func() time.Time { return now })
		var live, dead []entry
		users := rapid.SampledFrom([]godwit.UserID{"a", "b"})
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				n := 0
				for e := tickets.oldest; e != nil; e = e.newer {
					n++
				}
				sum := 0
				for _, of := range tickets.users {
					sum += of
				}
				if n != len(tickets.waiting) || sum != n {
					t.Fatalf("%d listed, %d known, %d counted", n, len(tickets.waiting), sum)
				}
			},
			"issue": func(t *rapid.T) {
				user, mine := users.Draw(t, "user"), 0
				for i := 0; i < len(live); i++ {
					if !now.Before(live[i].end) {
						dead = append(dead, live[i])
						live = append(live[:i], live[i+1:]...)
						i--
					} else if live[i].user == user {
						mine++
					}
				}
				text, _, err := tickets.Issue(godwit.Identity{User: user, Expires: start.Add(time.Hour).UnixMilli()})
				if (err == nil) != (mine < ticketsUserMax) {
					t.Fatalf("with %d waiting: %v", mine, err)
				}
				if err == nil {
					live = append(live, entry{text, user, now.Add(TicketTTL)})
				}
			},
			"redeem": func(t *rapid.T) {
				if len(live) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(live)-1).Draw(t, "which")
				e := live[i]
				live = append(live[:i], live[i+1:]...)
				dead = append(dead, e)
				who, err := tickets.Redeem(e.text)
				user := who.User
				if (err == nil) != now.Before(e.end) || err == nil && user != e.user {
					t.Fatalf("%v: %q, %v", e, user, err)
				}
			},
			"again": func(t *rapid.T) {
				if len(dead) == 0 {
					t.Skip()
				}
				if _, err := tickets.Redeem(rapid.SampledFrom(dead).Draw(t, "which").text); err == nil {
					t.Fatal("good a second time")
				}
			},
			"wait": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "s")) * time.Second) },
		})
	})
}

func TestTicketIsGoodOnceForManyAtOnce(t *testing.T) {
	tickets := NewTickets(nil)
	for range 200 {
		text, _, err := tickets.Issue(godwit.Identity{User: "alice", Expires: time.Now().Add(time.Hour).UnixMilli()})
		if err != nil {
			t.Fatal(err)
		}
		var good atomic.Int32
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := tickets.Redeem(text); err == nil {
					good.Add(1)
				}
			})
		}
		wg.Wait()
		if good.Load() != 1 {
			t.Fatalf("good %d times", good.Load())
		}
	}
}

func TestVerifierTellsTicketsFromTokens(t *testing.T) {
	tickets := NewTickets(func() time.Time { return start })
	v := &Verifier{Keyring: keyring(t, eddsaKey), Tickets: tickets}
	ticket, _, err := tickets.Issue(godwit.Identity{User: "bob", Expires: start.Add(time.Minute).UnixMilli()})
	if err != nil {
		t.Fatal(err)
	}
	if who, err := v.Verify([]byte(ticket)); err != nil || who.User != "bob" || who.Expires != start.Add(time.Minute).UnixMilli() {
		t.Errorf("ticket: %q, %d, %v", who.User, who.Expires, err)
	}
	if _, err := v.Verify([]byte(ticket)); !errors.Is(err, ErrTicket) {
		t.Errorf("ticket again: %v", err)
	}
	if who, err := v.Verify([]byte(sign(t, head("EdDSA", "ed"), claims(), private))); err != nil || who.User != "alice" {
		t.Errorf("token: %q, %v", who.User, err)
	}
	if _, err := v.Verify(nil); !errors.Is(err, ErrTokenSize) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := (&Verifier{Keyring: v.Keyring}).Verify([]byte(ticket)); !errors.Is(err, ErrTicket) {
		t.Errorf("ticket without tickets: %v", err)
	}
}

func FuzzTicket(f *testing.F) {
	tickets := NewTickets(nil)
	good, _, err := tickets.Issue(godwit.Identity{User: "alice", Expires: 1 << 53})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("tk_AAAAAAAAAAAAAAAAAAAAAB")
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := parseTicket(text)
		if ok && text != TicketPrefix+base64.RawURLEncoding.EncodeToString(id[:]) {
			t.Fatalf("%q is another spelling", text)
		}
		if who, err := tickets.Redeem(text); err == nil && text != good {
			t.Fatalf("%q speaks for %s", text, who.User)
		}
	})
}
