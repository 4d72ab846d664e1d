package local_test

import (
	"context"
	"errors"
	"testing"

	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/router/local"
	"github.com/godwit-im/godwit/router/routertest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSuite(t *testing.T) {
	routertest.Run(t, func(testing.TB) router.Store { return local.Open(local.Config{}) })
}

func TestSuiteOverAnUnfriendlyStore(t *testing.T) {
	routertest.Run(t, func(testing.TB) router.Store { return routertest.Weak(local.Open(local.Config{})) })
}

// The store is not stricter than its contract: two transactions that each read what
// the other writes both commit.
func TestWriteSkewIsPermitted(t *testing.T) {
	s := local.Open(local.Config{})
	a, b := []byte("a"), []byte("b")
	err := s.Update(t.Context(), func(tx router.Tx) error {
		if v, err := tx.Get(b); err != nil || v != nil {
			t.Errorf("b is %q (%v)", v, err)
		}
		if err := s.Update(t.Context(), func(tx router.Tx) error {
			if v, err := tx.Get(a); err != nil || v != nil {
				t.Errorf("a is %q (%v)", v, err)
			}
			return tx.Set(b, []byte("1"))
		}); err != nil {
			return err
		}
		return tx.Set(a, []byte("1"))
	})
	if err != nil {
		t.Fatalf("write skew is refused: %v", err)
	}
}

func TestFaultsOfACommit(t *testing.T) {
	var fault error
	at := local.OpCommit
	s := local.Open(local.Config{Fault: func(_ context.Context, op local.Op) error {
		if op == at {
			return fault
		}
		return nil
	}})
	put := func(value string) error {
		return s.Update(t.Context(), func(tx router.Tx) error { return tx.Set([]byte("k"), []byte(value)) })
	}
	want := func(want string) {
		t.Helper()
		if v, err := s.Get(t.Context(), []byte("k")); err != nil || string(v) != want {
			t.Fatalf("the value is %q (%v), want %q", v, err, want)
		}
	}
	fault = router.ErrUnknown
	if err := put("without"); !errors.Is(err, router.ErrUnknown) {
		t.Fatal(err)
	}
	want("")
	at = local.OpCommitted
	if err := put("with"); !errors.Is(err, router.ErrUnknown) {
		t.Fatal(err)
	}
	want("with")
	at, fault = local.OpBegin, router.ErrUnavailable
	if err := put("none"); !errors.Is(err, router.ErrUnavailable) {
		t.Fatal(err)
	}
	want("with")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), []byte("k")); !errors.Is(err, router.ErrUnavailable) {
		t.Fatalf("a closed store answers %v", err)
	}
}
