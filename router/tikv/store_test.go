package tikv

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/tools/devtikv/server"
)

// startServer is a cluster of one, ended with the test.
func startServer(t testing.TB, config server.Config) *server.Server {
	t.Helper()
	config.PD = "127.0.0.1:0"
	s, err := server.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func openStore(t testing.TB, config Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// until does something again until it succeeds: on a slow machine a call may not end
// in time, nor the first connection be made in time.
func until(t testing.TB, do func() error) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; runtime.Gosched() {
		err := do()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func put(t testing.TB, s *Store, key, value string) {
	t.Helper()
	until(t, func() error {
		return s.Update(t.Context(), func(tx router.Tx) error { return tx.Set([]byte(key), []byte(value)) })
	})
}

func get(t testing.TB, s *Store, key string) (value string) {
	t.Helper()
	until(t, func() error {
		got, err := s.Get(t.Context(), []byte(key))
		value = string(got)
		return err
	})
	return value
}

func TestUpdateIsSeenByReaders(t *testing.T) {
	cluster := startServer(t, server.Config{Regions: 4})
	s := opened(t, Config{PD: []string{cluster.PDAddr()}, Timeout: calm}).closing(t)
	put(t, s, "a", "1")
	put(t, s, "\x80b", "2")
	got, err := s.Get(t.Context(), []byte("a"))
	if err != nil || string(got) != "1" {
		t.Fatalf("get: %q %v", got, err)
	}
	if got, err := s.Get(t.Context(), []byte("none")); err != nil || got != nil {
		t.Fatalf("get of none: %q %v", got, err)
	}
	values, err := s.BatchGet(t.Context(), [][]byte{[]byte("\x80b"), []byte("none"), []byte("a")})
	if err != nil || len(values) != 3 || string(values[0]) != "2" || values[1] != nil || string(values[2]) != "1" {
		t.Fatalf("batch get: %q %v", values, err)
	}
	pairs, err := s.Scan(t.Context(), nil, nil, 10)
	if err != nil || len(pairs) != 2 || string(pairs[0].Key) != "a" || string(pairs[1].Value) != "2" {
		t.Fatalf("scan: %q %v", pairs, err)
	}
	stats := cluster.Stats()
	if stats.KV["1pc"] != 2 {
		t.Errorf("two small transactions took %v", stats.KV)
	}
}

func TestConflictHasNoEffect(t *testing.T) {
	cluster := startServer(t, server.Config{})
	s := openStore(t, Config{PD: []string{cluster.PDAddr()}, Timeout: calm})
	put(t, s, "k", "1")
	err := s.Update(t.Context(), func(tx router.Tx) error {
		if _, err := tx.Get([]byte("k")); err != nil {
			return err
		}
		put(t, s, "k", "2")
		return tx.Set([]byte("k"), []byte("3"))
	})
	if !errors.Is(err, router.ErrConflict) {
		t.Fatalf("the slower transaction: %v", err)
	}
	if got, err := s.Get(t.Context(), []byte("k")); err != nil || string(got) != "2" {
		t.Fatalf("get: %q %v", got, err)
	}
}

func BenchmarkUpdate(b *testing.B) {
	cluster := startServer(b, server.Config{Regions: 4})
	s := openStore(b, Config{PD: []string{cluster.PDAddr()}})
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		key := make([]byte, 8)
		for i := uint64(time.Now().UnixNano()); pb.Next(); i++ {
			for j := range key {
				key[j] = byte(i * 0x9E3779B97F4A7C15 >> (8 * j))
			}
			err := s.Update(context.Background(), func(tx router.Tx) error {
				if _, err := tx.Get(key); err != nil {
					return err
				}
				return tx.Set(key, key)
			})
			if err != nil && !errors.Is(err, router.ErrConflict) {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}
