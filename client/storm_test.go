package client

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-im/godwit"
)

// storm is what a test breaks, as its seed says. The client's goroutines draw from
// it, too.
type storm struct {
	mu     sync.Mutex
	random *rand.Rand
}

func (s *storm) below(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

// cut breaks three connections of four somewhere.
func (s *storm) cut() (up, down int) {
	if s.below(4) == 0 {
		return -1, -1
	}
	return 300 + s.below(6000), 300 + s.below(20000)
}

// rage submits messages while entries come and everything breaks, and returns
// when it is fine weather again.
func (s *storm) rage(t *testing.T, m *model, c *Client, proxied bool) (tickets []*Ticket) {
	names := slices.Sorted(maps.Keys(proxies))
	for i := range 400 {
		switch pick := s.below(40); {
		case pick < 2 && proxied:
			m.between(proxies[names[s.below(len(names))]])
		case pick < 6:
			m.between(nil)
		case pick < 8:
			m.network.breakAll()
		}
		m.publish(s.below(6))
		ticket, err := c.Submit(t.Context(), "bob", Message{CID: fmt.Sprintf("c%04d", i), Text: "x"})
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
		time.Sleep(time.Duration(s.below(400)) * time.Millisecond)
	}
	m.between(nil)
	m.network.mu.Lock()
	m.network.cut = nil
	m.network.mu.Unlock()
	m.network.breakAll()
	return tickets
}

// What is broken changes all the time, in every way at once; what the user sees
// does not.
func TestNothingIsLostOrSeenTwiceWhateverBreaks(t *testing.T) {
	for seed := range uint64(8) {
		for _, transport := range []Transport{Auto, LongPoll, WebSocket} {
			t.Run(fmt.Sprintf("%s/%d", transport, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { weather(t, seed, transport) })
			})
		}
	}
}

func weather(t *testing.T, seed uint64, transport Transport) {
	s := &storm{random: rand.New(rand.NewPCG(seed, 1))}
	m := newModel(t, 0)
	m.limits.InFlight = uint32(1 + s.below(64))
	m.network.cut = s.cut
	cfg := m.config(transport)
	cfg.Encoding, cfg.BackoffMax, cfg.ProbeEvery = Encoding(seed%2), 2*time.Second, 10*time.Second
	cfg.random = func(n int64) int64 { return int64(s.below(int(n))) }
	cfg.Since = new(godwit.Seq)
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	last := make(chan godwit.Seq, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go receiveAll(ctx, t, c, 1, last)
	for _, ticket := range s.rage(t, m, c, transport == Auto) {
		sent, err := ticket.Wait(t.Context())
		if err != nil || sent.Seq != m.storedAt(ticket.CID()) {
			t.Fatalf("%s: %+v, %v", ticket.CID(), sent, err)
		}
	}
	time.Sleep(time.Minute)
	cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	if got := <-last; got != m.headLocked() {
		t.Errorf("received up to %d of %d", got, m.headLocked())
	}
	if len(m.order) != 400 || !slices.IsSorted(m.order) {
		t.Errorf("%d stored, in order: %v", len(m.order), slices.IsSorted(m.order))
	}
}
