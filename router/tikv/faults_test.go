package tikv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/tools/devtikv/server"
)

// forever is an outage that only the test ends.
const forever = time.Hour

// watched is a Store that tells when its breaker changes.
func watched(t *testing.T, cluster *server.Server, timeout time.Duration) (*Store, chan State) {
	t.Helper()
	changes := make(chan State, 100)
	s := openStore(t, Config{
		PD: []string{cluster.PDAddr()}, Timeout: timeout, RetryMin: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond,
		Changed: func(state State) { changes <- state },
	})
	return s, changes
}

func await(t *testing.T, changes chan State, want State) {
	t.Helper()
	select {
	case got := <-changes:
		if got != want {
			t.Fatalf("the breaker is %v, want %v", got, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("the breaker is not %v within a minute", want)
	}
}

// untilOpen calls until the breaker opens; every call is answered ErrUnavailable.
func untilOpen(t *testing.T, s *Store) {
	t.Helper()
	for range 100 {
		if s.State() != BreakerClosed {
			return
		}
		if _, err := s.Get(t.Context(), []byte("k")); !errors.Is(err, router.ErrUnavailable) {
			t.Fatalf("a call to a cluster that is away: %v", err)
		}
	}
	t.Fatal("a hundred calls failed, and the breaker is closed")
}

func TestOutageOpensTheBreakerUntilItEnds(t *testing.T) {
	t.Parallel()
	cluster := startServer(t, server.Config{})
	s, changes := watched(t, cluster, time.Second)
	await(t, changes, BreakerClosed)
	put(t, s, "k", "1")
	for name, befall := range map[string]func(time.Duration){
		"outage": func(d time.Duration) {
			if err := cluster.Outage(server.Both, d); err != nil {
				t.Error(err)
			}
		},
		"stall": cluster.Stall,
	} {
		befall(forever)
		untilOpen(t, s)
		await(t, changes, BreakerOpen)
		asked := cluster.Stats().KVTotal
		for _, call := range everyCall(t, s) {
			if err := call(); !errors.Is(err, router.ErrUnavailable) {
				t.Fatalf("%s: while the breaker is open: %v", name, err)
			}
		}
		if name == "stall" && cluster.Stats().KVTotal != asked {
			t.Error("a call went through an open breaker")
		}
		befall(0)
		await(t, changes, BreakerClosed)
		if got := get(t, s, "k"); got != "1" {
			t.Fatalf("%s: afterwards: %q", name, got)
		}
		put(t, s, "k", "1")
	}
	if opened := s.Stats().Opened; opened != 2 {
		t.Errorf("the breaker opened %d times in two outages", opened)
	}
}

// everyCall is each of a Store's methods once.
func everyCall(t *testing.T, s *Store) []func() error {
	ctx := t.Context()
	return []func() error{
		func() error { _, err := s.Get(ctx, []byte("k")); return err },
		func() error { _, err := s.BatchGet(ctx, [][]byte{[]byte("k")}); return err },
		func() error { _, err := s.Scan(ctx, nil, nil, 10); return err },
		func() error { _, err := s.Now(ctx); return err },
		func() error {
			return s.Update(ctx, func(tx router.Tx) error { return tx.Set([]byte("k"), []byte("2")) })
		},
	}
}

func TestOpenWhileTheClusterIsAway(t *testing.T) {
	f := func(name string, befall func(*server.Server, time.Duration) error) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := startServer(t, server.Config{})
			if err := befall(cluster, forever); err != nil {
				t.Fatal(err)
			}
			if err := openStore(t, Config{PD: []string{cluster.PDAddr()}, Timeout: 100 * time.Millisecond}).Close(); err != nil {
				t.Error(err)
			}
			s, changes := watched(t, cluster, time.Second)
			if s.State() == BreakerClosed {
				t.Fatal("the breaker is closed over a cluster that is away")
			}
			for _, call := range everyCall(t, s) {
				if err := call(); !errors.Is(err, router.ErrUnavailable) {
					t.Fatalf("before the cluster comes: %v", err)
				}
			}
			if err := befall(cluster, 0); err != nil {
				t.Fatal(err)
			}
			await(t, changes, BreakerClosed)
			put(t, s, "k", "1")
		})
	}
	f("Refused", func(s *server.Server, d time.Duration) error { return s.Outage(server.Both, d) })
	f("Silent", func(s *server.Server, d time.Duration) error { s.Stall(d); return nil })
}

func TestReadsGoOnWithoutPD(t *testing.T) {
	t.Parallel()
	cluster := startServer(t, server.Config{})
	s, changes := watched(t, cluster, time.Second)
	await(t, changes, BreakerClosed)
	put(t, s, "k", "1")
	reader := opened(t, Config{PD: []string{cluster.PDAddr()}, Timeout: calm}).closing(t)
	get(t, reader, "k") // from here on it knows where the key is
	if err := cluster.Outage(server.PD, forever); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Now(t.Context()); !errors.Is(err, router.ErrUnavailable) {
		t.Fatalf("a timestamp without PD: %v", err)
	}
	s = reader
	if got, err := s.Get(t.Context(), []byte("k")); err != nil || string(got) != "1" {
		t.Fatalf("get: %q %v", got, err)
	}
	if got, err := s.BatchGet(t.Context(), [][]byte{[]byte("k")}); err != nil || string(got[0]) != "1" {
		t.Fatalf("batch get: %q %v", got, err)
	}
	if got, err := s.Scan(t.Context(), nil, nil, 10); err != nil || len(got) != 1 {
		t.Fatalf("scan: %v %v", got, err)
	}
}

func TestCloseDoesNotWaitForASilentCluster(t *testing.T) {
	t.Parallel()
	cluster := startServer(t, server.Config{})
	s := openStore(t, Config{PD: []string{cluster.PDAddr()}, Timeout: forever})
	put(t, s, "k", "1")
	cluster.Stall(forever)
	var all sync.WaitGroup
	for _, call := range everyCall(t, s) {
		all.Go(func() {
			if err := call(); !errors.Is(err, router.ErrUnavailable) && !errors.Is(err, router.ErrUnknown) {
				t.Errorf("a call that Close ended: %v", err)
			}
		})
	}
	for s.Stats().InFlight < len(everyCall(t, s)) {
		runtime.Gosched()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
	if _, err := s.Get(t.Context(), []byte("k")); !errors.Is(err, router.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}

func TestLimiterHoldsCallsBack(t *testing.T) {
	t.Parallel()
	cluster := startServer(t, server.Config{})
	s := opened(t, Config{PD: []string{cluster.PDAddr()}, Timeout: calm, Concurrency: 1}).closing(t)
	err := s.Update(t.Context(), func(router.Tx) error {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := s.Get(ctx, []byte("k"))
		return err
	})
	if !errors.Is(err, errLimited) || !errors.Is(err, router.ErrUnavailable) {
		t.Fatalf("a second call where one is allowed: %v", err)
	}
	if got := s.Stats(); got.State != BreakerClosed || got.Operations["get"].Limited != 1 || got.InFlight != 0 {
		t.Errorf("afterwards: %+v", got)
	}
}

// ledger keeps what every attempt at an addition was told. Each attempt is a
// transaction of its own: it adds one to a counter and leaves its mark.
type ledger struct {
	mu   sync.Mutex
	told map[string]error
}

func (l *ledger) add(s *Store, t *testing.T, mark string) error {
	started := time.Now()
	err := s.Update(t.Context(), func(tx router.Tx) error {
		old, err := tx.Get([]byte("n"))
		if err != nil {
			return err
		}
		n := uint64(1)
		if old != nil {
			n += binary.BigEndian.Uint64(old)
		}
		if err := tx.Set([]byte("n"), binary.BigEndian.AppendUint64(nil, n)); err != nil {
			return err
		}
		return tx.Set([]byte("\xf0"+mark), []byte{1})
	})
	// client-go left alone may take 40 s.
	if took := time.Since(started); took > s.config.Timeout+calm {
		t.Errorf("a call of at most %v took %v", s.config.Timeout, took)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[mark] = err
	return err
}

// check compares what was told with what is there: no addition lost, none twice, none
// that was told to have had no effect.
func (l *ledger) check(t *testing.T, s *Store) {
	t.Helper()
	pairs, err := s.Scan(t.Context(), []byte("\xf0"), nil, len(l.told)+1)
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	for _, p := range pairs {
		there[string(p.Key[1:])] = true
	}
	counts := make(map[string]int)
	for mark, err := range l.told {
		switch {
		case err == nil:
			counts["committed"]++
			if !there[mark] {
				t.Errorf("%s: committed, and not there", mark)
			}
		case errors.Is(err, router.ErrUnknown):
			counts["unknown"]++
			if there[mark] {
				counts["unknown and there"]++
			}
		case errors.Is(err, router.ErrConflict), errors.Is(err, router.ErrUnavailable):
			counts["without effect"]++
			if there[mark] {
				t.Errorf("%s: there, and told %v", mark, err)
			}
		default:
			t.Errorf("%s: %v", mark, err)
		}
	}
	n, err := s.Get(t.Context(), []byte("n"))
	if err != nil || len(n) != 8 || binary.BigEndian.Uint64(n) != uint64(len(there)) {
		t.Errorf("%d marks are there, and the counter is %x (%v)", len(there), n, err)
	}
	t.Log(counts)
}

// TestFaultsGiveNoWrongAnswer lets several processes add under each fault.
func TestFaultsGiveNoWrongAnswer(t *testing.T) {
	f := func(name string, config server.Config, timeout time.Duration, additions int, between func(*server.Server)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faults := config.Faults
			config.Faults = server.Faults{}
			cluster := startServer(t, config)
			l := &ledger{told: make(map[string]error)}
			stores, wake := make([]*Store, 3), make([]chan struct{}, 3)
			for i := range stores {
				wake[i] = make(chan struct{}, 1)
				stores[i] = openStore(t, Config{
					PD: []string{cluster.PDAddr()}, Timeout: timeout, RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond,
					Changed: func(State) {
						select {
						case wake[i] <- struct{}{}:
						default:
						}
					},
				})
			}
			if err := cluster.SetFaults(faults); err != nil {
				t.Fatal(err)
			}
			befell := func() bool { // on a slow machine calls end for lack of time before a fault has its turn
				injected := cluster.Stats().Injected
				return (faults.Undetermined == 0 || injected["undetermined"] > 0) && (faults.RegionErrors == 0 || injected["region_error"] > 0)
			}
			var all sync.WaitGroup
			for i, s := range stores {
				all.Go(func() {
					done := 0
					for attempt := 0; (done < additions || !befell()) && attempt < 100*additions && t.Context().Err() == nil; attempt++ {
						switch err := l.add(s, t, fmt.Sprintf("%d-%06d", i, attempt)); {
						case err == nil || errors.Is(err, router.ErrUnknown):
							if done++; i == 0 && done == additions/2 {
								between(cluster)
							}
						case errors.Is(err, errRefused):
							for s.State() != BreakerClosed {
								<-wake[i]
							}
						}
					}
				})
			}
			all.Wait()
			if err := cluster.SetFaults(server.Faults{}); err != nil {
				t.Fatal(err)
			}
			l.check(t, openStore(t, Config{PD: []string{cluster.PDAddr()}, Timeout: calm}))
			if !befell() {
				t.Error("no fault befell anything")
			}
			t.Log(cluster.Stats().Injected, cluster.Stats().KV)
		})
	}
	nothing := func(*server.Server) {}
	undetermined := server.Faults{Undetermined: 0.05}
	f("UndeterminedInOnePhase", server.Config{Faults: undetermined, Seed: 1}, 200*time.Millisecond, 50, nothing)
	f("UndeterminedInTwoPhases", server.Config{Faults: undetermined, Seed: 2, TwoPhase: true}, 200*time.Millisecond, 20, nothing)
	f("RegionErrors", server.Config{Faults: server.Faults{RegionErrors: 0.05}, Regions: 4, Seed: 3}, 2*time.Second, 50, nothing)
	f("Slow", server.Config{Faults: server.Faults{Slow: 300 * time.Millisecond}}, 5*time.Second, 2, nothing)
	f("Outage", server.Config{}, time.Second, 50, func(s *server.Server) {
		if err := s.Outage(server.Both, 3*time.Second); err != nil {
			t.Error(err)
		}
	})
	f("Silence", server.Config{}, time.Second, 50, func(s *server.Server) { s.Stall(3 * time.Second) })
}
