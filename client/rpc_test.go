package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-im/godwit"
)

func TestPostsCarryWhatQueuedWhileOneWasUnderWay(t *testing.T) {
	polled(t, 0, func(t *testing.T, m *model, encoding Encoding) {
		first, release := make(chan struct{}, 1), make(chan struct{})
		first <- struct{}{}
		m.before = func(_ http.ResponseWriter, r *httpRequest) bool {
			if r.name == "rpc" {
				select {
				case <-first:
					<-release
				default:
				}
			}
			return false
		}
		m.limits.InFlight = 256
		cfg := m.config(LongPoll)
		cfg.Encoding, cfg.SendsInFlight = encoding, 256
		c := m.open(cfg)
		done := make(chan struct{})
		go func() {
			defer close(done)
			send(t, c, "c", 121)
		}()
		synctest.Wait() // the first POST is under way, and all others wait
		close(release)
		<-done
		var sizes []int
		for _, r := range m.seen("rpc") {
			sizes = append(sizes, len(m.parse(encoding.wire(), r.body)))
		}
		total := 0
		for i, n := range sizes {
			if total += n; n > 50 || i > 0 && i < len(sizes)-1 && n != 50 {
				t.Fatalf("POSTs of %v commands", sizes)
			}
		}
		if total != 121 || len(sizes) > 4 || !slices.IsSorted(m.order) {
			t.Fatalf("POSTs of %v commands", sizes)
		}
	})
}

func TestPostsStayUnderTheFrameLimit(t *testing.T) {
	polled(t, 0, func(t *testing.T, m *model, encoding Encoding) {
		m.limits.Frame = 4096 // the model reports a POST above it
		cfg := m.config(LongPoll)
		cfg.Encoding = encoding
		c := m.open(cfg)
		var tickets []*Ticket
		for i := range 64 {
			ticket, err := c.Submit(t.Context(), "bob", Message{CID: fmt.Sprintf("c%03d", i), Text: string(make([]byte, 300))})
			if err != nil {
				t.Fatal(err)
			}
			tickets = append(tickets, ticket)
		}
		for _, ticket := range tickets {
			if _, err := ticket.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Send(t.Context(), "bob", Message{Text: string(make([]byte, 4096))}); !errors.Is(err, godwit.ErrTooLarge) {
			t.Fatalf("got %v", err)
		}
	})
}

// An answer may be lost after the server did what it was asked to.
func TestCutPostIsRepeatedUnderTheSameClientIDs(t *testing.T) {
	polled(t, 0, func(t *testing.T, m *model, encoding Encoding) {
		cuts := 0
		m.before = func(w http.ResponseWriter, r *httpRequest) bool {
			if r.name != "rpc" || cuts == 3 {
				return false
			}
			cuts++
			m.mu.Lock()
			for _, f := range m.parse(encoding.wire(), r.body) {
				m.commandLocked(&f)
			}
			m.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		cfg := m.config(LongPoll)
		cfg.Encoding = encoding
		c := m.open(cfg)
		send(t, c, "c", 20)
		take(t, c, 1, 20)
		if len(m.order) != 20 || !slices.IsSorted(m.order) || cuts != 3 {
			t.Fatalf("%d cuts, stored %v", cuts, m.order)
		}
	})
}

func TestRepliesBelongToTheirIDsNotTheirPlaces(t *testing.T) {
	polled(t, 0, func(t *testing.T, m *model, encoding Encoding) {
		m.before = func(w http.ResponseWriter, r *httpRequest) bool {
			if r.name != "rpc" {
				return false
			}
			var replies []godwit.ServerFrame
			m.mu.Lock()
			for _, f := range m.parse(encoding.wire(), r.body) {
				replies = append(replies, m.commandLocked(&f))
			}
			m.mu.Unlock()
			slices.Reverse(replies)
			m.answer(w, encoding.wire(), replies...)
			return true
		}
		cfg := m.config(LongPoll)
		cfg.Encoding = encoding
		c := m.open(cfg)
		var tickets []*Ticket
		for i := range 60 {
			ticket, err := c.Submit(t.Context(), "bob", Message{CID: fmt.Sprint("c", i), Text: "x"})
			if err != nil {
				t.Fatal(err)
			}
			tickets = append(tickets, ticket)
		}
		for _, ticket := range tickets {
			sent, err := ticket.Wait(t.Context())
			if at := m.storedAt(ticket.CID()); err != nil || sent.Seq != at {
				t.Fatalf("%s: got %d, %v; stored at %d", ticket.CID(), sent.Seq, err, at)
			}
		}
	})
}

func TestCommandWithoutAnAnswerIsAskedAgain(t *testing.T) {
	polled(t, 0, func(t *testing.T, m *model, encoding Encoding) {
		mute := true
		m.before = func(w http.ResponseWriter, r *httpRequest) bool {
			if r.name == "rpc" && mute {
				mute = false
				m.answer(w, encoding.wire())
				return true
			}
			return false
		}
		cfg := m.config(LongPoll)
		cfg.Encoding = encoding
		send(t, m.open(cfg), "c", 1)
	})
}

// A server that is busy refuses a whole POST; the session goes on.
func TestPostRefusedForAWhileIsHeldBack(t *testing.T) {
	polled(t, 0, func(t *testing.T, m *model, encoding Encoding) {
		refused := 0
		m.before = func(w http.ResponseWriter, r *httpRequest) bool {
			if r.name != "rpc" || refused == 2 {
				return false
			}
			refused++
			m.refuse(w, http.StatusTooManyRequests, godwit.ErrRateLimited, 3*time.Second)
			return true
		}
		cfg := m.config(LongPoll)
		cfg.Encoding = encoding
		c := m.open(cfg)
		send(t, c, "c", 80)
		take(t, c, 1, 80)
		posts := m.seen("rpc")
		if len(posts) < 3 || posts[len(posts)-1].at.Sub(posts[0].at) < 3*time.Second || !slices.IsSorted(m.order) {
			t.Fatalf("%d POSTs, stored %v", len(posts), m.order)
		}
		for _, p := range m.seen("poll") {
			if p.URL.Query().Has("epoch") {
				t.Fatal("the session was begun anew")
			}
		}
	})
}

// The loop may write more before it hears of a refusal, and that goes nowhere.
func TestNothingIsPostedUntilARefusalWasHeard(t *testing.T) {
	polled(t, 0, func(t *testing.T, m *model, encoding Encoding) {
		m.before = func(w http.ResponseWriter, r *httpRequest) bool {
			if len(m.seen("rpc")) > 1 {
				return false
			}
			m.refuse(w, http.StatusTooManyRequests, godwit.ErrRateLimited, time.Second)
			return true
		}
		cfg := m.config(LongPoll)
		cfg.Encoding = encoding
		cfg.setDefaults()
		events := make(chan event)
		p, err := newPoller(&cfg, cfg.URL, cfg.Token, events)
		if err != nil {
			t.Fatal(err)
		}
		p.connect = &godwit.Connect{Device: []byte("d")}
		ctx, cancel := context.WithCancel(t.Context())
		var posting sync.WaitGroup
		posting.Go(func() { p.postLoop(ctx) })
		write := func(id uint64, kind godwit.FrameKind) {
			f := godwit.ClientFrame{ID: id, Kind: kind}
			f.Send = godwit.Send{To: []byte("bob"), CID: fmt.Append(nil, id), Text: []byte("x"), HasText: true}
			if err := p.write(&f); err != nil {
				t.Fatal(err)
			}
		}
		posts := func(want int) {
			t.Helper()
			synctest.Wait()
			if n := len(m.seen("rpc")); n != want {
				t.Fatalf("%d POSTs, want %d", n, want)
			}
		}
		write(1, godwit.KindSend)
		posts(1)
		write(2, godwit.KindSend) // the loop has not heard yet
		e := <-events
		if e.held == nil || !e.held.whole || e.held.reply.RetryAfterMS != 1000 || len(e.frames) != 1 || e.frames[0].ID != 1 {
			t.Fatalf("heard %+v", e)
		}
		write(3, godwit.KindSync)
		posts(1)
		if taken := p.release(false); len(taken) != 1 || taken[0].id != 2 {
			t.Fatalf("took %d back", len(taken))
		}
		posts(2)
		e = <-events
		if e.held != nil || len(e.frames) != 1 || e.frames[0].ID != 3 {
			t.Fatalf("heard %+v", e)
		}
		cancel()
		p.discard()
		posting.Wait()
		p.client.CloseIdleConnections()
	})
}

// What no POST carried yet waits when a send of the one before was refused.
func TestSendsDoNotOvertakeOneThatWasRefusedInItsPost(t *testing.T) {
	polled(t, 0, func(t *testing.T, m *model, encoding Encoding) {
		release := make(chan struct{})
		m.before = func(w http.ResponseWriter, r *httpRequest) bool {
			if r.name != "rpc" || len(m.seen("rpc")) > 1 {
				return false
			}
			<-release
			var replies []godwit.ServerFrame
			for _, f := range m.parse(encoding.wire(), r.body) {
				replies = append(replies, godwit.ServerFrame{ID: f.ID, Kind: godwit.KindError, Error: godwit.ErrUnavailable.Reply(0)})
			}
			m.answer(w, encoding.wire(), replies...)
			return true
		}
		cfg := m.config(LongPoll)
		cfg.Encoding = encoding
		c := m.open(cfg)
		done := make(chan struct{})
		go func() {
			defer close(done)
			send(t, c, "c", 80)
		}()
		synctest.Wait() // the first POST is under way, and others wait
		began := time.Now()
		close(release)
		<-done
		if len(m.order) != 80 || !slices.IsSorted(m.order) {
			t.Fatalf("stored %v", m.order)
		}
		if d := time.Since(began); d > pauseFirst {
			t.Fatalf("one refusal held the sends back for %v", d)
		}
	})
}
