package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/godwit-im/godwit/router"
)

// fakeRegistrar keeps what it is told.
type fakeRegistrar struct {
	told []string
	full bool
}

func (f *fakeRegistrar) Add(user string, r router.Route) {
	f.told = append(f.told, fmt.Sprint("+", user, " ", r.Device, " ", r.Conn, " ", r.Stamp))
}

func (f *fakeRegistrar) Remove(user string, r router.Route) {
	f.told = append(f.told, fmt.Sprint("-", user, " ", r.Device, " ", r.Conn, " ", r.Stamp))
}

func (f *fakeRegistrar) Full() (time.Duration, bool) { return time.Second, f.full }

func TestDeviceThatPollsIsOneRouteAMinuteLonger(t *testing.T) {
	f := &fakeRegistrar{}
	b := newSessionBook(f)
	now := time.UnixMilli(0)
	b.now = func() time.Time { return now }
	heard := func(want ...string) {
		t.Helper()
		b.sweep()
		if fmt.Sprint(f.told) != fmt.Sprint(want) {
			t.Errorf("after %v told %q, want %q", now.Sub(time.UnixMilli(0)), f.told, want)
		}
		f.told = nil
	}
	b.Began(1, "alice", "web", 10, false)
	b.Ended(1, "alice", "web", 10, false)
	heard("+alice web 1 10", "-alice web 1 10")

	b.Began(2, "bob", "phone", 20, true)
	b.Ended(2, "bob", "phone", 20, true)
	now = now.Add(25 * time.Second)
	b.Began(3, "bob", "phone", 21, true)
	heard("+bob phone 2 20")
	now = now.Add(40 * time.Second)
	b.Began(4, "bob", "phone", 22, true) // the one before is still held
	heard("+bob phone 2 22")
	b.Ended(3, "bob", "phone", 21, true)
	now = now.Add(2 * time.Minute)
	heard() // one is held
	b.Ended(4, "bob", "phone", 22, true)
	now = now.Add(time.Minute)
	heard()
	now = now.Add(time.Millisecond)
	heard("-bob phone 2 22")
	b.Began(5, "bob", "phone", 23, true)
	heard("+bob phone 5 23")
	if b.Full() {
		t.Error("full")
	}
	if f.full = true; !b.Full() {
		t.Error("not full")
	}
}
