package load

import (
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/harness/result"
)

// outcome is what a sender knows of one message.
type outcome uint8

const (
	outcomeOpen    outcome = iota // not answered: may be stored or not
	outcomeStored                 // promised to be in both logs
	outcomeRefused                // must be in none
)

// Checker holds what every user of one generator loop was promised and got, and
// finds what doesn't fit. Users are numbered from first; user n writes to n^1
// alone, so a log holds two streams: its owner's messages and the partner's.
// It is pure: no clock, no network. One goroutine.
type Checker struct {
	run     uint64
	first   uint32 // number of the first user; even
	users   []account
	found   result.Verify
	dropped uint64 // problems beyond problemsMax
}

// account is one user: what it sent and what its session received.
type account struct {
	sent    []outcome
	start   godwit.Seq // head of the log when the run began
	next    godwit.Seq // the sequence that must come next
	streams [2]stream  // by sender: partner, self
	hashes  []uint64   // of the entries received, from start+1
}

// stream is one sender's messages as one log has them.
type stream struct {
	seen   []uint64 // bits by number
	beyond uint32   // one more than the highest number seen
}

const (
	streamPartner = 0
	streamSelf    = 1
)

const problemsMax = 20

func newChecker(run uint64, first uint32, users int) *Checker {
	return &Checker{run: run, first: first, users: make([]account, users+users%2)} // a last one alone has an empty partner
}

// problem keeps the first few findings as sentences.
func (c *Checker) problem(format string, args ...any) {
	if len(c.found.Problems) < problemsMax {
		c.found.Problems = append(c.found.Problems, fmt.Sprintf(format, args...))
	} else {
		c.dropped++
	}
}

// opened sets where the user's log stands before the run's first message.
func (c *Checker) opened(user uint32, head godwit.Seq) {
	a := &c.users[user-c.first]
	a.start, a.next = head, head+1
}

// offered adds a message of the user and returns its number.
func (c *Checker) offered(user uint32) uint32 {
	a := &c.users[user-c.first]
	a.sent = append(a.sent, outcomeOpen)
	return uint32(len(a.sent) - 1)
}

// answered takes the fate of a message. A second, different answer is a problem.
func (c *Checker) answered(user, number uint32, o outcome) {
	sent := &c.users[user-c.first].sent[number]
	if *sent != outcomeOpen && *sent != o {
		c.problem("user %d was told two fates of message %d", user, number)
	}
	if *sent != outcomeStored && o == outcomeStored {
		c.found.Acked++
	}
	*sent = o
}

// received takes one entry of a user's log as it came. ok is false when it is a
// repetition or not of this run; then the header means nothing.
func (c *Checker) received(user uint32, e *godwit.Entry) (h Header, ok bool) {
	a := &c.users[user-c.first]
	if e.Seq < a.next {
		c.found.Duplicated++
		c.problem("user %d got sequence %d again", user, e.Seq)
		return h, false
	}
	if e.Seq > a.next {
		c.found.Gaps += uint64(e.Seq - a.next)
		c.problem("user %d got sequence %d where %d was next", user, e.Seq, a.next)
		a.hashes = append(a.hashes, make([]uint64, e.Seq-a.next)...)
	}
	a.next = e.Seq + 1
	a.hashes = append(a.hashes, hashOf(e))
	h, ok = parsePayload(e.Msg.Body)
	if !ok || h.Run != c.run || h.Sender != user && h.Sender != user^1 {
		c.found.Foreign++
		c.problem("user %d got at sequence %d what nobody sent to it", user, e.Seq)
		return h, false
	}
	sender := &c.users[h.Sender-c.first]
	if int(h.Number) >= len(sender.sent) {
		c.found.Foreign++
		c.problem("user %d got message %d of user %d, which has sent only %d", user, h.Number, h.Sender, len(sender.sent))
		return h, false
	}
	return h, c.place(&a.streams[streamOf(user, h.Sender)], user, h)
}

func streamOf(user, sender uint32) int {
	if user == sender {
		return streamSelf
	}
	return streamPartner
}

// place notes that the stream holds the message; false: it held it before.
func (c *Checker) place(s *stream, user uint32, h Header) bool {
	for int(h.Number/64) >= len(s.seen) {
		s.seen = append(s.seen, 0)
	}
	word, bit := &s.seen[h.Number/64], uint64(1)<<(h.Number%64)
	switch {
	case *word&bit != 0:
		c.found.Duplicated++
		c.problem("user %d got message %d of user %d twice", user, h.Number, h.Sender)
		return false
	case h.Number < s.beyond:
		c.found.Reordered++
		c.problem("user %d got message %d of user %d after %d", user, h.Number, h.Sender, s.beyond-1)
	default:
		s.beyond = h.Number + 1
	}
	*word |= bit
	c.found.Delivered++
	return true
}

func (s *stream) has(number uint32) bool {
	return int(number/64) < len(s.seen) && s.seen[number/64]&(1<<(number%64)) != 0
}

// eachMissing calls f for every delivery that was promised to the user's message
// and has not come: number and the position of the user it didn't come to.
func (c *Checker) eachMissing(i int, f func(number, at uint32)) {
	a, partner := &c.users[i], &c.users[i^1]
	for n, o := range a.sent {
		if o != outcomeStored {
			continue
		}
		if !a.streams[streamSelf].has(uint32(n)) {
			f(uint32(n), uint32(i))
		}
		if !partner.streams[streamPartner].has(uint32(n)) {
			f(uint32(n), uint32(i^1))
		}
	}
}

// involved reports whether the user or its partner sent or got anything.
func (c *Checker) involved(user uint32) bool {
	a, partner := &c.users[user-c.first], &c.users[user-c.first^1]
	return len(a.sent)+len(partner.sent)+len(a.hashes) > 0
}

// readBack compares a page of the user's only conversation, read forwards, with
// what was delivered; after is the sequence asked for.
func (c *Checker) readBack(user uint32, after godwit.Seq, entries []godwit.Entry) {
	a := &c.users[user-c.first]
	for i := range entries {
		e := &entries[i]
		want := after + 1
		after = e.Seq
		c.found.ReadBack++
		switch {
		case e.Seq != want:
			c.found.Gaps++
			c.problem("the history of user %d has sequence %d where %d was next", user, e.Seq, want)
		case e.Seq <= a.start: // before this run
		case e.Seq >= a.next:
			c.found.Lost++
			c.problem("the history of user %d has sequence %d, which was never delivered", user, e.Seq)
		case a.hashes[e.Seq-a.start-1] != hashOf(e):
			c.found.Foreign++
			c.problem("the history of user %d has another message at sequence %d than was delivered", user, e.Seq)
		}
	}
}

// readBackEnd says that the user's history ends at last.
func (c *Checker) readBackEnd(user uint32, last godwit.Seq) {
	if a := &c.users[user-c.first]; last+1 != a.next {
		c.found.Lost++
		c.problem("the history of user %d ends at sequence %d, and %d had been delivered", user, last, a.next-1)
	}
}

// finish judges what was promised and returns everything found.
func (c *Checker) finish() result.Verify {
	for i := range c.users {
		c.eachMissing(i, func(number, at uint32) {
			c.found.Lost++
			c.problem("message %d of user %d was acknowledged and never came to user %d", number, c.first+uint32(i), c.first+at)
		})
		a, partner := &c.users[i], &c.users[i^1]
		for n, o := range a.sent {
			if o == outcomeRefused && (a.streams[streamSelf].has(uint32(n)) || partner.streams[streamPartner].has(uint32(n))) {
				c.found.Foreign++
				c.problem("message %d of user %d was refused and came nevertheless", n, c.first+uint32(i))
			}
		}
	}
	if c.dropped > 0 {
		c.found.Problems = append(c.found.Problems, fmt.Sprintf("… and %d more", c.dropped))
		c.dropped = 0
	}
	return c.found
}

// hashOf sums up an entry; it is what read-back compares.
func hashOf(e *godwit.Entry) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(e.Msg.MID[:])
	_, _ = d.Write(e.Msg.From)
	_, _ = d.Write([]byte{0})
	_, _ = d.Write(e.Msg.CID)
	_, _ = d.Write([]byte{0})
	_, _ = d.Write(e.Msg.Body)
	return d.Sum64()
}
