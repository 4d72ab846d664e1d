package router_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/godwit-im/godwit/router"
)

// TestOfAForgottenUserNotEvenTheNameStays, once his last connection is a minute old.
func TestOfAForgottenUserNotEvenTheNameStays(t *testing.T) {
	s := newFaulty()
	d := open(t, s, router.Config{})
	number, epoch := claim(t, d, "edge", nil).ID()
	r := router.Route{Device: "phone", Edge: number, Epoch: epoch, Conn: 1, Stamp: 50}
	must(t, d.Register(t.Context(), "bob", r))
	must(t, d.Unregister(t.Context(), "bob", r))
	named := func() bool {
		t.Helper()
		pairs, err := s.Scan(t.Context(), []byte("godwit/"), []byte("godwit0"), 1000)
		must(t, err)
		for _, p := range pairs {
			if bytes.Contains(p.Key, []byte("bob")) {
				return true
			}
		}
		return false
	}
	must(t, d.Forget(t.Context(), "bob"))
	if !named() {
		t.Error("a late register would find nothing to refuse it")
	}
	s.jumpMS.Add(2 * time.Minute.Milliseconds())
	must(t, d.Forget(t.Context(), "bob"))
	if named() {
		t.Error("the name stays")
	}
	s.away.Store(true)
	if err := d.Forget(t.Context(), "bob"); err == nil {
		t.Error("it is forgotten in a store that is away")
	}
}
