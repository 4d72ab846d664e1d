package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-im/godwit"
)

// polled runs a test under synctest's clock with a model and each encoding.
func polled(t *testing.T, head godwit.Seq, f func(t *testing.T, m *model, encoding Encoding)) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		synctest.Test(t, func(t *testing.T) { f(t, newModel(t, head), encoding) })
	})
}

func TestPollDeliversAndSends(t *testing.T) {
	polled(t, 10, func(t *testing.T, m *model, encoding Encoding) {
		cfg := m.config(LongPoll)
		cfg.Encoding = encoding
		c := m.open(cfg)
		m.publish(250)
		take(t, c, 11, 260)
		send(t, c, "c", 3)
		take(t, c, 261, 263)
		if s := c.State(); s.Phase != Live || s.Transport != LongPoll {
			t.Fatalf("state %+v", s)
		}
		count := 0
		for item, err := range c.Conversations(t.Context()) {
			if err != nil || item.Conv != "u:bob" {
				t.Fatalf("got %v, %v", item.Conv, err)
			}
			count++
		}
		if count != 1 || len(m.seen("ws")) != 0 || m.most != 1 {
			t.Fatalf("%d conversations, %d upgrades, %d polls at once", count, len(m.seen("ws")), m.most)
		}
	})
}

func TestQuietPollsAreHeldOneAfterAnother(t *testing.T) {
	polled(t, 10, func(t *testing.T, m *model, _ Encoding) {
		c := m.open(m.config(LongPoll))
		time.Sleep(10*25*time.Second + time.Second)
		if n := len(m.seen("poll")); n != 12 { // the first, ten that ended, one held
			t.Fatalf("%d polls in 251 s", n)
		}
		m.publish(1)
		take(t, c, 11, 11)
		if s := c.State(); s.Phase != Live {
			t.Fatalf("state %+v", s)
		}
	})
}

func TestResumePassesEpochAndSequence(t *testing.T) {
	polled(t, 10, func(t *testing.T, m *model, encoding Encoding) {
		cfg := m.config(LongPoll)
		cfg.Encoding, cfg.Resume = encoding, &Position{"e1", 4}
		var phases []Phase
		cfg.OnState = func(s State) { phases = append(phases, s.Phase) }
		c := m.open(cfg)
		take(t, c, 5, 10)
		if s := c.State(); s.Welcome.Missed != 6 || !s.Welcome.Resumed || s.Welcome.Session != "s" {
			t.Fatalf("state %+v", s)
		}
		q := m.seen("poll")[1].URL.Query()
		if q.Get("epoch") != "e1" || q.Get("seq") != "4" || q.Has("c") || q.Get("device") != "d" {
			t.Fatalf("poll %v", q)
		}
		m.publish(300)
		m.network.breakAll()
		take(t, c, 11, 310)
		m.network.breakAll() // nothing is missing: the cursor at the head will do
		time.Sleep(time.Minute)
		for _, p := range m.seen("poll") {
			if p.URL.Query().Get("seq") == "310" {
				t.Fatal("asked for what comes after the head")
			}
		}
		m.publish(1)
		take(t, c, 311, 311)
		_ = c.Close()
		want := []Phase{Connecting, Replaying, Live}
		if len(phases) < 3 || !slices.Equal(phases[:3], want) {
			t.Fatalf("phases %v", phases)
		}
	})
}

func TestPollGoneIsADiscontinuity(t *testing.T) {
	f := func(reason string, resume Position, head godwit.Seq) {
		polled(t, head, func(t *testing.T, m *model, encoding Encoding) {
			cfg := m.config(LongPoll)
			cfg.Encoding, cfg.Resume = encoding, &resume
			c := m.open(cfg)
			item, err := c.Receive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wantGap(t, item, reason, resume, Position{"e1", head})
			m.publish(2)
			take(t, c, head+1, head+2)
		})
	}
	f("epoch", Position{"e0", 3}, 10)
	f("ahead", Position{"e1", 11}, 10)
	f("too_far", Position{"e1", 10}, 5011)
}

func TestRestoreUnderAPollIsADiscontinuity(t *testing.T) {
	polled(t, 10, func(t *testing.T, m *model, _ Encoding) {
		c := m.open(m.config(LongPoll))
		m.publish(5)
		take(t, c, 11, 15)
		m.mu.Lock()
		m.epoch, m.log = "e2", m.log[:12]
		m.mu.Unlock()
		m.network.breakAll()
		item, err := c.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantGap(t, item, "epoch", Position{"e1", 15}, Position{"e2", 12})
		m.publish(1)
		take(t, c, 13, 13)
	})
}

func TestTooFarBehindIsReplayedByPostsWhenConfigured(t *testing.T) {
	polled(t, 6000, func(t *testing.T, m *model, encoding Encoding) {
		cfg := m.config(LongPoll)
		cfg.Encoding, cfg.CatchUp, cfg.Resume = encoding, Replay, &Position{"e1", 5}
		take(t, m.open(cfg), 6, 6000)
	})
}

func TestPollRefusalsInstructTheClient(t *testing.T) {
	polled(t, 10, func(t *testing.T, m *model, _ Encoding) {
		refused := 0
		tokens := 0
		m.before = func(w http.ResponseWriter, r *httpRequest) bool {
			if refused++; refused > 3 {
				return false
			}
			switch refused {
			case 1:
				m.refuse(w, http.StatusUnauthorized, godwit.ErrUnauthorized, 0)
			case 2:
				w.Header().Set("Retry-After", "40")
				m.refuse(w, http.StatusServiceUnavailable, godwit.ErrUnavailable, 7*time.Second)
			case 3:
				m.refuse(w, http.StatusTooManyRequests, godwit.ErrRateLimited, 50*time.Second)
			}
			return true
		}
		cfg := m.config(LongPoll)
		cfg.Token, cfg.TokenSource = "", func(context.Context) (string, error) { tokens++; return "t", nil }
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen := m.seen("poll")
		for i, least := range []time.Duration{0, 40 * time.Second, 50 * time.Second} {
			if wait := seen[i+1].at.Sub(seen[i].at); wait < least || wait > least+20*time.Second {
				t.Fatalf("poll %d came after %v, want %v and the backoff", i+2, wait, least)
			}
		}
		if tokens != 4 {
			t.Fatalf("the token source was asked %d times", tokens)
		}
	})
}

// What a proxy makes of a request is no reason to give a session up for good; that
// the server itself calls it wrong is.
func TestOnlyTheServerEndsAGrantedPollForGood(t *testing.T) {
	polled(t, 10, func(t *testing.T, m *model, _ Encoding) {
		c := m.open(m.config(LongPoll))
		synctest.Wait()
		var answers atomic.Int32
		m.mu.Lock()
		m.before = func(w http.ResponseWriter, r *httpRequest) bool {
			if !r.URL.Query().Has("c") {
				return false
			}
			switch n := answers.Add(1); {
			case n <= 2:
				http.Error(w, "<h1>Bad Request</h1>", http.StatusBadRequest)
			case n == 3:
				return false
			default:
				m.refuse(w, http.StatusBadRequest, godwit.ErrFrameInvalid, 0)
			}
			return true
		}
		m.mu.Unlock()
		m.publish(1)
		take(t, c, 11, 11)
		for range 3 {
			m.publish(1)
			time.Sleep(time.Minute)
		}
		if s := c.State(); s.Phase != Stopped || !errors.Is(s.Err, godwit.ErrFrameInvalid) || answers.Load() != 4 {
			t.Fatalf("after %d answers: %+v", answers.Load(), s)
		}
	})
}

func TestExpiredTokenIsReplacedUnderAPoll(t *testing.T) {
	polled(t, 10, func(t *testing.T, m *model, _ Encoding) {
		token := "t"
		cfg := m.config(LongPoll)
		cfg.Token, cfg.TokenSource = "", func(context.Context) (string, error) { return token, nil }
		c := m.open(cfg)
		var expired atomic.Bool // a poll and a POST may come at once
		m.mu.Lock()
		m.before = func(w http.ResponseWriter, r *httpRequest) bool {
			if expired.CompareAndSwap(false, true) {
				m.refuse(w, http.StatusUnauthorized, godwit.ErrUnauthorized, 0)
				return true
			}
			return false
		}
		m.mu.Unlock()
		m.publish(1)
		send(t, c, "c", 1)
		take(t, c, 11, 12)
	})
}

func TestRefusedTokenWithoutASourceStopsAPoll(t *testing.T) {
	polled(t, 10, func(t *testing.T, m *model, _ Encoding) {
		cfg := m.config(LongPoll)
		cfg.Token = "other"
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Connect(t.Context()); !errors.Is(err, ErrStopped) || !errors.Is(err, godwit.ErrUnauthorized) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestDrainingServerIsLeftOnANewConnection(t *testing.T) {
	polled(t, 10, func(t *testing.T, m *model, _ Encoding) {
		c := m.open(m.config(LongPoll))
		synctest.Wait()
		dials := m.network.dialled()
		m.mu.Lock()
		m.draining = true
		m.mu.Unlock()
		m.publish(1)
		take(t, c, 11, 11)
		time.Sleep(7 * time.Second)
		if m.network.dialled() != dials {
			t.Fatal("moved before the time the server gave")
		}
		time.Sleep(62 * time.Second)
		m.mu.Lock()
		m.draining = false
		m.mu.Unlock()
		if m.network.dialled() == dials {
			t.Fatal("did not move")
		}
		if polls := len(m.seen("poll")); polls > 60 {
			t.Fatalf("%d polls in 69 s of draining", polls)
		}
		time.Sleep(time.Minute)
		m.publish(1)
		take(t, c, 12, 12)
		if s := c.State(); s.Phase != Live {
			t.Fatalf("state %+v", s)
		}
	})
}

// Two installations under one name end each other's polls, for ever.
func TestPollsThatEndEachOtherSlowDown(t *testing.T) {
	polled(t, 10, func(t *testing.T, m *model, _ Encoding) {
		a, b := m.open(m.config(LongPoll)), m.open(m.config(LongPoll))
		time.Sleep(10 * time.Minute)
		if n := len(m.seen("poll")); n > 400 || n < 20 {
			t.Fatalf("%d polls of two clients in ten minutes", n)
		}
		m.publish(50)
		take(t, a, 11, 60)
		take(t, b, 11, 60)
	})
}

// The application decides how much may wait in the client.
func TestPollsWaitForTheApplication(t *testing.T) {
	polled(t, 0, func(t *testing.T, m *model, _ Encoding) {
		c := m.open(m.config(LongPoll))
		m.publish(3000)
		time.Sleep(time.Minute)
		if n := len(m.seen("poll")); n > 8 {
			t.Fatalf("%d polls, and the application took nothing", n)
		}
		if s := c.State(); s.Transport != LongPoll || s.Phase == Waiting {
			t.Fatalf("state %+v", s)
		}
		take(t, c, 1, 3000)
		if n := len(m.seen("rpc")); n > 0 {
			t.Fatalf("%d pages were fetched besides", n)
		}
	})
}

func TestServerThatNeverAnswersAPollIsLeft(t *testing.T) {
	polled(t, 0, func(t *testing.T, m *model, _ Encoding) {
		c := m.open(m.config(LongPoll))
		synctest.Wait()
		m.mu.Lock()
		m.before = func(_ http.ResponseWriter, r *httpRequest) bool {
			<-r.Context().Done()
			return true
		}
		m.mu.Unlock()
		time.Sleep(25*time.Second + time.Millisecond) // the one held so far is answered
		m.publish(1)
		time.Sleep(36 * time.Second)
		if s := c.State(); s.Phase == Live || !errors.Is(s.Err, context.DeadlineExceeded) {
			t.Fatalf("state %+v", s)
		}
		m.mu.Lock()
		m.before = nil
		m.mu.Unlock()
		take(t, c, 1, 1)
	})
}

func TestClosedPollerLeavesNothingBehind(t *testing.T) {
	polled(t, 0, func(t *testing.T, m *model, _ Encoding) {
		c := m.open(m.config(LongPoll))
		send(t, c, "c", 1)
		began := time.Now()
		if err := c.Close(); err != nil || time.Since(began) != 0 {
			t.Fatalf("closed after %v: %v", time.Since(began), err)
		}
		synctest.Wait()
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.polls != 0 {
			t.Fatal("a poll is still held")
		}
	})
}

func TestPollsOverTLSVerifyTheServer(t *testing.T) {
	polled(t, 10, func(t *testing.T, m *model, encoding Encoding) {
		s := httptest.NewUnstartedServer(http.HandlerFunc(m.serve))
		_ = s.Listener.Close()
		secure := newNetwork()
		s.Listener, s.Config.ErrorLog = secure, log.New(io.Discard, "", 0)
		s.StartTLS()
		defer s.Close()
		cfg := m.config(LongPoll)
		cfg.URL, cfg.Encoding, cfg.Dial = "wss://example.com/chat/v1/ws?route=7", encoding, secure.dial
		c, err := New(cfg) // the system's roots
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		var unknown x509.UnknownAuthorityError
		if s := c.State(); s.Phase == Live || !errors.As(s.Err, &unknown) || len(m.seen("poll")) != 0 {
			t.Fatalf("state %+v", s)
		}
		_ = c.Close()
		cfg.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
		cfg.TLS.RootCAs.AddCert(s.Certificate())
		paths := make(map[string]bool)
		m.mu.Lock()
		m.before = func(_ http.ResponseWriter, r *httpRequest) bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			paths[r.URL.Path+" "+r.URL.Query().Get("route")] = true
			r.name = strings.TrimPrefix(r.name, "/chat/v1/")
			return false
		}
		m.mu.Unlock()
		c = m.open(cfg)
		send(t, c, "c", 1)
		take(t, c, 11, 11)
		_ = c.Close()
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(paths) != 2 || !paths["/chat/v1/poll 7"] || !paths["/chat/v1/rpc 7"] {
			t.Fatalf("asked for %v", paths)
		}
	})
}
