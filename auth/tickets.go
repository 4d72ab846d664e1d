package auth

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/godwit-im/godwit"
)

// Tickets.
const (
	// TicketPrefix begins every ticket and no token.
	TicketPrefix = "tk_"
	// TicketTTL is how long a ticket waits to be used.
	TicketTTL = 30 * time.Second

	// ticketsMax bounds the tickets that wait, about 200 bytes each.
	ticketsMax = 100_000
	// ticketsUserMax bounds those of one user.
	ticketsUserMax = 16
)

// Errors of tickets.
var (
	// ErrTicket refuses a ticket: it was never issued, was used, or is too old.
	ErrTicket = fmt.Errorf("%w: the ticket is unknown, used or too old", godwit.ErrUnauthorized)
	// ErrTicketsFull refuses to issue one; it is temporary, TicketTTL at most.
	ErrTicketsFull = fmt.Errorf("%w: too many tickets wait to be used", godwit.ErrRateLimited)
)

// Tickets stand in for a token where none may be written: a web page can't set
// headers on a WebSocket, and addresses are logged on the way. Whoever shows a
// token gets a ticket, which is good once and for TicketTTL.
//
// Any number of goroutines may use one Tickets; it has no goroutine of its own:
// each Issue sweeps what is too old.
type Tickets struct {
	clock func() time.Time

	mu      sync.Mutex
	waiting map[ticketID]*ticket
	users   map[godwit.UserID]int // how many of waiting are the user's; no zeros
	// oldest and newest are the ends of the list of waiting in order of issue,
	// which is the order of end: all live equally long.
	oldest, newest *ticket
}

// ticketID is what a ticket's characters stand for.
type ticketID [16]byte

// ticket was issued and not yet used or swept.
type ticket struct {
	id           ticketID
	who          godwit.Identity // as the token said
	end          time.Time
	older, newer *ticket
}

// NewTickets returns an empty store. clock nil: time.Now.
func NewTickets(clock func() time.Time) *Tickets {
	if clock == nil {
		clock = time.Now
	}
	return &Tickets{clock: clock, waiting: map[ticketID]*ticket{}, users: map[godwit.UserID]int{}}
}

// Issue makes a ticket for a user whose token was verified, and says for how
// many seconds it is good. The session opened with it ends when that token
// does.
func (t *Tickets) Issue(who godwit.Identity) (text string, seconds int, err error) {
	var id ticketID
	_, _ = rand.Read(id[:]) // it never fails
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock()
	for t.oldest != nil && !now.Before(t.oldest.end) {
		t.removeLocked(t.oldest)
	}
	if len(t.waiting) >= ticketsMax || t.users[who.User] >= ticketsUserMax {
		return "", 0, ErrTicketsFull
	}
	issued := &ticket{id: id, who: who, end: now.Add(TicketTTL), older: t.newest}
	if t.newest == nil {
		t.oldest = issued
	} else {
		t.newest.newer = issued
	}
	t.newest = issued
	t.waiting[id] = issued
	t.users[who.User]++
	left := min(TicketTTL, time.Duration(max(0, who.Expires-now.UnixMilli()))*time.Millisecond)
	return TicketPrefix + base64.RawURLEncoding.EncodeToString(id[:]), int(left / time.Second), nil
}

// Redeem returns whom a ticket speaks for, once.
func (t *Tickets) Redeem(text string) (who godwit.Identity, err error) {
	id, ok := parseTicket(text)
	if !ok {
		return godwit.Identity{}, ErrTicket
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	issued := t.waiting[id]
	if issued == nil {
		return godwit.Identity{}, ErrTicket
	}
	t.removeLocked(issued)
	if now := t.clock(); !now.Before(issued.end) || now.UnixMilli() >= issued.who.Expires {
		return godwit.Identity{}, ErrTicket
	}
	return issued.who, nil
}

// Waiting returns how many tickets were issued and neither used nor swept.
func (t *Tickets) Waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting)
}

func parseTicket(text string) (id ticketID, ok bool) {
	text, ok = strings.CutPrefix(text, TicketPrefix)
	if !ok || len(text) != base64.RawURLEncoding.EncodedLen(len(id)) {
		return id, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(id[:], []byte(text))
	return id, err == nil && n == len(id)
}

// removeLocked takes a waiting ticket out of all three.
func (t *Tickets) removeLocked(out *ticket) {
	if out.older == nil {
		t.oldest = out.newer
	} else {
		out.older.newer = out.newer
	}
	if out.newer == nil {
		t.newest = out.older
	} else {
		out.newer.older = out.older
	}
	delete(t.waiting, out.id)
	if t.users[out.who.User]--; t.users[out.who.User] == 0 {
		delete(t.users, out.who.User)
	}
}
