package tikv

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/tools/devtikv/server"
)

func TestScanCrossesPagesAndRegions(t *testing.T) {
	t.Parallel()
	cluster := startServer(t, server.Config{Regions: 2})
	s := openStore(t, Config{PD: []string{cluster.PDAddr()}, Timeout: calm})
	const keys = 3 * pageMax
	key := func(i int) []byte { return []byte{byte(i * 256 / keys), byte(i >> 8), byte(i)} }
	for first := 0; first < keys; first += 100 {
		err := s.Update(t.Context(), func(tx router.Tx) error {
			for i := first; i < min(first+100, keys); i++ {
				if err := tx.Set(key(i), key(i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(pairs []router.Pair, err error, from, want int) {
		t.Helper()
		if err != nil || len(pairs) != want {
			t.Fatalf("%d pairs, want %d (%v)", len(pairs), want, err)
		}
		for i, p := range pairs {
			if string(p.Key) != string(key(from+i)) || string(p.Value) != string(p.Key) {
				t.Fatalf("pair %d is %x = %x", i, p.Key, p.Value)
			}
		}
	}
	for _, limit := range []int{1, pageMax - 1, pageMax, pageMax + 1, 2 * pageMax, keys, keys + 1} {
		pairs, err := s.Scan(t.Context(), nil, nil, limit)
		check(pairs, err, 0, min(limit, keys))
		end := key(min(10+limit, keys-1))
		if 10+limit >= keys {
			end = nil
		}
		pairs, err = s.Scan(t.Context(), key(10), end, keys)
		check(pairs, err, 10, min(limit, keys-10))
	}
	for _, r := range []scanRange{{limit: 0}, {start: key(5), end: key(5), limit: 9}, {start: key(6), end: key(5), limit: 9}} {
		pairs, err := s.Scan(t.Context(), r.start, r.end, r.limit)
		check(pairs, err, 0, 0)
	}
	err := s.Update(t.Context(), func(tx router.Tx) error {
		for i := range pageMax + 10 {
			if err := tx.Delete(key(i)); err != nil {
				return err
			}
		}
		pairs, err := tx.Scan(nil, nil, 20)
		check(pairs, err, pageMax+10, 20)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestScanMeetsLocks: two keys are written together, the commit's answer is lost, and
// with it what becomes of the locks: a scan finds out, and shows both keys or neither
// as they are after.
func TestScanMeetsLocks(t *testing.T) {
	t.Parallel()
	cluster := startServer(t, server.Config{TwoPhase: true, Seed: 5})
	writer := openStore(t, Config{PD: []string{cluster.PDAddr()}, Timeout: time.Second, Failures: 1000})
	reader := openStore(t, Config{PD: []string{cluster.PDAddr()}, Timeout: calm})
	both := func(value string) func(tx router.Tx) error {
		return func(tx router.Tx) error {
			return errors.Join(tx.Set([]byte("a"), []byte(value)), tx.Set([]byte("b"), []byte(value)))
		}
	}
	if err := reader.Update(t.Context(), both("0")); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := cluster.SetFaults(server.Faults{Undetermined: 1}); err != nil {
			t.Fatal(err)
		}
		until(t, func() error {
			if err := writer.Update(t.Context(), both(fmt.Sprint(i+1))); !errors.Is(err, router.ErrUnknown) {
				return fmt.Errorf("a commit that is not answered: %w", err)
			}
			return nil
		})
		if err := cluster.SetFaults(server.Faults{}); err != nil {
			t.Fatal(err)
		}
		pairs, err := reader.Scan(t.Context(), nil, nil, 10)
		if err != nil || len(pairs) != 2 || string(pairs[0].Value) != string(pairs[1].Value) {
			t.Fatalf("the scan: %q (%v)", pairs, err)
		}
	}
}

// TestWhatDoesNotReturnIsLeftAlone: a call ends at its deadline though client-go does
// not, keeps its slot meanwhile, and blames the store.
func TestWhatDoesNotReturnIsLeftAlone(t *testing.T) {
	t.Parallel()
	cluster := startServer(t, server.Config{})
	s := opened(t, Config{PD: []string{cluster.PDAddr()}, Timeout: calm, Failures: 1})
	s.config.Timeout = time.Second // now that it is connected
	stuck, ended := make(chan struct{}), make(chan struct{})
	err := s.do(t.Context(), opGet, func(c *call) error {
		_, err := guard(c, func(context.Context) (int, error) {
			defer close(ended)
			<-stuck
			return 0, nil
		})
		return c.failed("get", err)
	})
	if !errors.Is(err, errAbandoned) || !errors.Is(err, router.ErrUnavailable) {
		t.Errorf("a call that hangs: %v", err)
	}
	if got := s.Stats(); got.InFlight != 1 || got.Opened != 1 {
		t.Errorf("meanwhile: %+v", got)
	}
	close(stuck)
	<-ended
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := s.Stats(); got.InFlight != 0 {
		t.Errorf("afterwards: %+v", got)
	}
}
