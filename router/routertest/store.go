package routertest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/godwit-im/godwit/router"
)

// space makes keys that no other test has.
type space string

func (s space) key(name string) []byte { return []byte("godwit-test/" + string(s) + "/" + name) }

func (s space) bounds() (start, end []byte) {
	return s.key(""), []byte("godwit-test/" + string(s) + "0")
}

func put(key []byte, value string) func(tx router.Tx) error {
	return func(tx router.Tx) error { return tx.Set(key, []byte(value)) }
}

func testReads(t *testing.T, s router.Store) {
	ctx, k := bounded(t), space(unique())
	want := func(name string, want []byte) {
		t.Helper()
		got, err := s.Get(ctx, k.key(name))
		must(t, err)
		if string(got) != string(want) || (got == nil) != (want == nil) {
			t.Fatalf("%s is %q, want %q", name, got, want)
		}
	}
	want("a", nil)
	must(t, stubborn(ctx, s, put(k.key("a"), "1")))
	want("a", []byte("1"))
	must(t, stubborn(ctx, s, put(k.key("b"), "2")))
	got, err := s.BatchGet(ctx, [][]byte{k.key("b"), k.key("none"), k.key("a"), k.key("b")})
	must(t, err)
	if fmt.Sprintf("%q", got) != `["2" "" "1" "2"]` || got[1] != nil {
		t.Fatalf("the batch is %q", got)
	}
	must(t, stubborn(ctx, s, func(tx router.Tx) error { return tx.Delete(k.key("a")) }))
	want("a", nil)
}

func testScan(t *testing.T, s router.Store) {
	ctx, k := bounded(t), space(unique())
	start, end := k.bounds()
	must(t, stubborn(ctx, s, func(tx router.Tx) error {
		for _, name := range []string{"c", "a", "d", "b"} {
			if err := tx.Set(k.key(name), []byte(name)); err != nil {
				return err
			}
		}
		return nil
	}))
	names := func(pairs []router.Pair, err error) (all string) {
		must(t, err)
		for _, p := range pairs {
			if string(p.Key) != string(k.key(string(p.Value))) {
				t.Fatalf("key %q has value %q", p.Key, p.Value)
			}
			all += string(p.Value)
		}
		return all
	}
	if got := names(s.Scan(ctx, start, end, 10)); got != "abcd" {
		t.Errorf("the scan is %s", got)
	}
	if got := names(s.Scan(ctx, start, end, 3)); got != "abc" {
		t.Errorf("a scan of 3 is %s", got)
	}
	if got := names(s.Scan(ctx, k.key("b"), k.key("d"), 10)); got != "bc" {
		t.Errorf("the scan from b below d is %s", got)
	}
	must(t, stubborn(ctx, s, func(tx router.Tx) error {
		must(t, tx.Delete(k.key("b")))
		must(t, tx.Set(k.key("e"), []byte("e")))
		must(t, tx.Lock(k.key("f")))
		pairs, err := tx.Scan(start, end, 10)
		if got := names(pairs, err); got != "acde" {
			t.Errorf("the scan of a transaction is %s", got)
		}
		pairs, err = tx.Scan(start, end, 2)
		if got := names(pairs, err); got != "ac" {
			t.Errorf("the scan of 2 of a transaction is %s", got)
		}
		return nil
	}))
	if got := names(s.Scan(ctx, start, end, 10)); got != "acde" {
		t.Errorf("the scan is %s in the end", got)
	}
}

func testSnapshot(t *testing.T, s router.Store) {
	ctx, k := bounded(t), space(unique())
	must(t, stubborn(ctx, s, put(k.key("a"), "old")))
	attempt := 0
	must(t, stubborn(ctx, s, func(tx router.Tx) error {
		attempt++ // it may be begun again: then there is a new value from the attempt before
		must(t, stubborn(ctx, s, put(k.key("a"), fmt.Sprint(attempt))))
		got, err := tx.Get(k.key("a"))
		if err != nil {
			return err
		}
		if string(got) == fmt.Sprint(attempt) {
			t.Error("a transaction sees what was committed after its begin")
		}
		must(t, tx.Set(k.key("b"), []byte("mine")))
		values, err := tx.BatchGet([][]byte{k.key("b"), k.key("a")})
		if err == nil && string(values[0]) != "mine" {
			t.Errorf("a transaction sees %q of its own write", values[0])
		}
		must(t, tx.Delete(k.key("b")))
		if v, err := tx.Get(k.key("b")); err == nil && v != nil {
			t.Errorf("a transaction sees %q after its own delete", v)
		}
		return tx.Set(k.key("b"), []byte("mine"))
	}))
	if v, err := s.Get(ctx, k.key("b")); err != nil || string(v) != "mine" {
		t.Errorf("the committed write is %q (%v)", v, err)
	}
}

// within runs one transaction that another, begun inside it, overtakes.
func within(ctx context.Context, t *testing.T, s router.Store, outer, inner func(tx router.Tx) error) error {
	t.Helper()
	overtaken := false
	err := s.Update(ctx, func(tx router.Tx) error {
		if err := outer(tx); err != nil {
			return err
		}
		overtaken = true
		return stubborn(ctx, s, inner)
	})
	if !overtaken {
		t.Fatalf("the outer transaction did not run: %v", err)
	}
	return err
}

// wantLost: a conflict, or a commit whose outcome the store does not tell. That it had
// no effect is checked apart.
func wantLost(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, router.ErrConflict) && !errors.Is(err, router.ErrUnknown) {
		t.Fatalf("the slower transaction is answered %v", err)
	}
}

func testConflict(t *testing.T, s router.Store) {
	ctx, k := bounded(t), space(unique())
	err := within(ctx, t, s, put(k.key("a"), "outer"), put(k.key("a"), "inner"))
	wantLost(t, err)
	if v, err := s.Get(ctx, k.key("a")); err != nil || string(v) != "inner" {
		t.Errorf("the value is %q (%v)", v, err)
	}
	remove := func(tx router.Tx) error { return tx.Delete(k.key("a")) }
	wantLost(t, within(ctx, t, s, put(k.key("a"), "outer"), remove))
	if v, err := s.Get(ctx, k.key("a")); err != nil || v != nil {
		t.Errorf("the value is %q (%v)", v, err)
	}
}

func testLock(t *testing.T, s router.Store) {
	ctx, k := bounded(t), space(unique())
	must(t, stubborn(ctx, s, put(k.key("a"), "1")))
	lockAndWrite := func(tx router.Tx) error {
		must(t, tx.Lock(k.key("a")))
		return tx.Set(k.key("b"), []byte("outer"))
	}
	wantLost(t, within(ctx, t, s, lockAndWrite, put(k.key("a"), "2")))
	if v, err := s.Get(ctx, k.key("b")); err != nil || v != nil {
		t.Errorf("a transaction that failed wrote %q (%v)", v, err)
	}
	must(t, stubborn(ctx, s, lockAndWrite))
	if v, err := s.Get(ctx, k.key("a")); err != nil || string(v) != "2" {
		t.Errorf("a lock changed the value to %q (%v)", v, err)
	}
	// A lock in one and a write in the other conflict the other way round as well.
	wantLost(t, within(ctx, t, s, put(k.key("a"), "3"), lockAndWrite))
}

func testAbort(t *testing.T, s router.Store) {
	ctx, k := bounded(t), space(unique())
	mine := errors.New("mine")
	err := s.Update(ctx, func(tx router.Tx) error {
		must(t, tx.Set(k.key("a"), []byte("1")))
		return mine
	})
	wantError(t, err, mine)
	if v, err := s.Get(ctx, k.key("a")); err != nil || v != nil {
		t.Errorf("an abandoned transaction wrote %q (%v)", v, err)
	}
}

func testCounter(t *testing.T, s router.Store) {
	const writers, rounds = 4, 25
	ctx, k := bounded(t), space(unique())
	add := func(mark string) func(tx router.Tx) error {
		return func(tx router.Tx) error {
			values, err := tx.BatchGet([][]byte{k.key("n"), k.key(mark)})
			if err != nil || values[1] != nil {
				return err // added by an attempt whose outcome was not known
			}
			n := uint64(1)
			if values[0] != nil {
				n += binary.BigEndian.Uint64(values[0])
			}
			must(t, tx.Set(k.key(mark), []byte{1}))
			return tx.Set(k.key("n"), binary.BigEndian.AppendUint64(nil, n))
		}
	}
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range rounds {
				if err := stubborn(ctx, s, add(fmt.Sprintf("m%d-%d", w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	v, err := s.Get(ctx, k.key("n"))
	must(t, err)
	if len(v) != 8 || binary.BigEndian.Uint64(v) != writers*rounds {
		t.Fatalf("the counter is %x after %d additions", v, writers*rounds)
	}
}

func testTimestamps(t *testing.T, s router.Store) {
	ctx, k := bounded(t), space(unique())
	var last router.Timestamp
	for range 100 {
		now, err := s.Now(ctx)
		must(t, err)
		if now <= last {
			t.Fatalf("timestamp %d after %d", now, last)
		}
		last = now
	}
	must(t, stubborn(ctx, s, func(tx router.Tx) error {
		if tx.Timestamp() <= last {
			t.Errorf("a transaction began at %d, after %d was given", tx.Timestamp(), last)
		}
		last = tx.Timestamp()
		return tx.Set(k.key("a"), []byte("1"))
	}))
	if now, err := s.Now(ctx); err != nil || now <= last {
		t.Errorf("timestamp %d after a transaction of %d (%v)", now, last, err)
	}
}

func testContext(t *testing.T, s router.Store) {
	ctx, cancel := context.WithCancel(bounded(t))
	cancel()
	k := space(unique())
	_, err := s.Get(ctx, k.key("a"))
	wantError(t, err, router.ErrUnavailable)
	_, err = s.Now(ctx)
	wantError(t, err, router.ErrUnavailable)
	wantError(t, s.Update(ctx, put(k.key("a"), "1")), router.ErrUnavailable)
}
