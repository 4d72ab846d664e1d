package main

import (
	"fmt"
	"hash/maphash"
	"slices"
	"time"
)

// pageMessages is the size of a page.
const pageMessages = 50

// pageResult is the time of pages of random users, one after the other.
type pageResult struct {
	Pages    int
	Messages int     // on all pages together
	P50      float64 // µs
	P99      float64 // µs
}

// runPages reads the newest page of each user.
func runPages(p peer, users []uint32) (r pageResult, err error) {
	took := make([]uint32, 0, len(users))
	bytes := 0
	for _, user := range users {
		start := time.Now()
		_, err := p.Page(user, 0, pageMessages, func(text []byte) {
			r.Messages++
			bytes += len(text)
		})
		if err != nil {
			return r, fmt.Errorf("page of user %d: %w", user, err)
		}
		took = append(took, uint32(min(time.Since(start), 1<<32-1)))
	}
	if bytes != r.Messages*messageBytes {
		return r, fmt.Errorf("%d messages of %d pages have %d bytes", r.Messages, len(users), bytes)
	}
	slices.Sort(took)
	r.Pages = len(took)
	r.P50, r.P99 = quantile(took, 0.50), quantile(took, 0.99)
	return r, nil
}

// errWrongData: a store lost, invented or changed messages.
type errWrongData struct{ text string }

func (e errWrongData) Error() string { return "wrong data: " + e.text }

// content is what is known of a user's messages, in whatever order.
type content struct {
	count int
	sum   uint64 // of the hashes
}

func (c *content) add(seed maphash.Seed, text []byte) {
	c.count++
	c.sum += maphash.Bytes(seed, text)
}

// verify compares the number of all messages, and every message of some users,
// with what the phases wrote.
func verify(p peer, phases []phase, users []uint32) error {
	want := uint64(0)
	for i := range phases {
		want += phases[i].Count
	}
	got, err := p.Count()
	if err != nil {
		return fmt.Errorf("count messages: %w", err)
	}
	if got != want {
		return errWrongData{fmt.Sprintf("%d messages are stored, %d were acknowledged", got, want)}
	}
	seed := maphash.MakeSeed()
	expected := expect(seed, phases, users)
	for _, user := range users {
		var found content
		for from, first := uint64(0), true; first || from > 0; first = false {
			if from, err = p.Page(user, from, pageMessages, func(text []byte) { found.add(seed, text) }); err != nil {
				return fmt.Errorf("read user %d: %w", user, err)
			}
		}
		if found.count != expected[user].count {
			return errWrongData{fmt.Sprintf("user %d has %d messages, %d were acknowledged", user, found.count, expected[user].count)}
		}
		if found != *expected[user] {
			return errWrongData{fmt.Sprintf("the %d messages of user %d are not those written", found.count, user)}
		}
	}
	return nil
}

// expect computes what the phases gave to the users.
func expect(seed maphash.Seed, phases []phase, users []uint32) map[uint32]*content {
	out := make(map[uint32]*content, len(users))
	top := uint32(0)
	for _, user := range users {
		out[user] = &content{}
		top = max(top, user)
	}
	wanted := make([]bool, uint64(top)+1) // quicker than the map for millions of messages
	for user := range out {
		wanted[user] = true
	}
	for i := range phases {
		p := &phases[i]
		for n := range p.Count {
			if user := p.user(n); user <= top && wanted[user] {
				out[user].add(seed, p.text(n))
			}
		}
	}
	return out
}

// sampleUsers picks distinct users.
func sampleUsers(seed uint64, users uint32, n int) []uint32 {
	n = min(n, int(users))
	seen := make(map[uint32]bool, n)
	out := make([]uint32, 0, n)
	for i := uint64(0); len(out) < n; i++ {
		user := uint32(mix(seed+i) % uint64(users))
		if !seen[user] {
			seen[user] = true
			out = append(out, user)
		}
	}
	return out
}
