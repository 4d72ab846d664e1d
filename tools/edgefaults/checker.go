package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/godwit-im/godwit"
)

// checker holds what every user was promised and got. User n writes to n^1 alone,
// so a log holds two streams: its owner's messages and the partner's. A sender has
// one message on its way at a time, so each stream must come in the order of its
// numbers. Any goroutine may call it.
type checker struct {
	mu    sync.Mutex
	users []account
	found findings
}

// findings are what the checker counted.
type findings struct {
	Sent       int `json:"sent"`
	Acked      int `json:"acked"`
	Refused    int `json:"refused"` // for good, and rightly without effect
	Delivered  int `json:"delivered"`
	Lost       int `json:"lost"`
	Duplicated int `json:"duplicated"`
	Reordered  int `json:"reordered"`
	Foreign    int `json:"foreign"` // what nobody sent, or what had been refused
	// Problems are the first few findings as sentences.
	Problems []string `json:"problems,omitempty"`
}

type account struct {
	sent    []outcome
	last    godwit.Seq // highest sequence received
	streams [2]stream  // by sender: partner, self
}

// outcome is what a sender knows of one message.
type outcome uint8

const (
	outcomeOpen    outcome = iota // not answered: may be stored or not
	outcomeStored                 // promised to both
	outcomeRefused                // promised to be in neither log
)

// stream is one sender's messages as one user got them.
type stream struct {
	seen []bool // by number
	next int    // one more than the highest number seen
}

const problemsMax = 20

func newChecker(users int) *checker { return &checker{users: make([]account, users)} }

func (c *checker) problemLocked(format string, args ...any) {
	if len(c.found.Problems) < problemsMax {
		c.found.Problems = append(c.found.Problems, fmt.Sprintf(format, args...))
	}
}

// offered adds a message of the user and returns its number.
func (c *checker) offered(user int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.users[user]
	a.sent = append(a.sent, outcomeOpen)
	c.found.Sent++
	return len(a.sent) - 1
}

// answered takes the fate of a message.
func (c *checker) answered(user, number int, o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users[user].sent[number] = o
	switch o {
	case outcomeStored:
		c.found.Acked++
	case outcomeRefused:
		c.found.Refused++
	}
}

// received takes one message as it came to a user, and reports whether it is new.
func (c *checker) received(user int, seq godwit.Seq, sender, number int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.users[user]
	if sender < 0 || sender != user && sender != user^1 || sender >= len(c.users) || number < 0 || number >= len(c.users[sender].sent) {
		c.found.Foreign++
		c.problemLocked("user %d got message %d of user %d, which nobody sent to it", user, number, sender)
		return false
	}
	s := &a.streams[0]
	if sender == user {
		s = &a.streams[1]
	}
	for number >= len(s.seen) {
		s.seen = append(s.seen, false)
	}
	switch {
	case s.seen[number]:
		c.found.Duplicated++
		c.problemLocked("user %d got message %d of user %d twice, now at sequence %d", user, number, sender, seq)
		return false
	case number < s.next:
		c.found.Reordered++
		c.problemLocked("user %d got message %d of user %d after %d", user, number, sender, s.next-1)
	case seq <= a.last:
		c.found.Reordered++
		c.problemLocked("user %d got sequence %d after %d", user, seq, a.last)
	}
	s.seen[number], s.next, a.last = true, max(s.next, number+1), max(a.last, seq)
	c.found.Delivered++
	return true
}

// broken notes that a user's log could not be continued: what lay there is lost.
func (c *checker) broken(user int, gap string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found.Lost++
	c.problemLocked("the log of user %d could not be continued: %s", user, gap)
}

// outstanding counts the messages without an answer and the deliveries that were
// promised and have not come.
func (c *checker) outstanding() (open, missing int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.users {
		c.eachMissingLocked(i, func(int, int) { missing++ })
		for _, o := range c.users[i].sent {
			if o == outcomeOpen {
				open++
			}
		}
	}
	return open, missing
}

func (c *checker) eachMissingLocked(sender int, f func(number, user int)) {
	for number, o := range c.users[sender].sent {
		if o != outcomeStored {
			continue
		}
		if s := &c.users[sender].streams[1]; number >= len(s.seen) || !s.seen[number] {
			f(number, sender)
		}
		if s := &c.users[sender^1].streams[0]; number >= len(s.seen) || !s.seen[number] {
			f(number, sender^1)
		}
	}
}

// count returns what was found so far.
func (c *checker) count() findings {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.found
	f.Problems = nil
	return f
}

// finish judges what was promised and returns everything found.
func (c *checker) finish() findings {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.users {
		c.eachMissingLocked(i, func(number, user int) {
			c.found.Lost++
			c.problemLocked("message %d of user %d was acknowledged and never came to user %d", number, i, user)
		})
		for number, o := range c.users[i].sent {
			own, partner := &c.users[i].streams[1], &c.users[i^1].streams[0]
			if o == outcomeRefused && (number < len(own.seen) && own.seen[number] || number < len(partner.seen) && partner.seen[number]) {
				c.found.Foreign++
				c.problemLocked("message %d of user %d was refused for good and came nevertheless", number, i)
			}
		}
	}
	return c.found
}

// ok reports whether every promise was kept.
func (f *findings) ok() bool {
	return f.Lost+f.Duplicated+f.Reordered+f.Foreign == 0
}

// text is a message's body: who sent it, its number, and when in ns.
func text(sender, number int, at int64) string {
	return fmt.Sprintf("%d %d %d", sender, number, at)
}

func parseText(b []byte) (sender, number int, at int64, ok bool) {
	fields := strings.Fields(string(b[:min(len(b), 64)]))
	if len(fields) != 3 {
		return 0, 0, 0, false
	}
	sender, err1 := strconv.Atoi(fields[0])
	number, err2 := strconv.Atoi(fields[1])
	at, err3 := strconv.ParseInt(fields[2], 10, 64)
	return sender, number, at, err1 == nil && err2 == nil && err3 == nil && sender >= 0
}
