package live

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/godwit-im/godwit"
)

func TestAnOlderConnectionNeverTakesTheDevice(t *testing.T) {
	r := newRouter(t, Config{})
	f := func(s godwit.SessionID, stamp uint64, gone godwit.SessionID, why godwit.CloseCode, holds godwit.SessionID) {
		t.Helper()
		g, w := r.Register("bob", "phone", s, stamp)
		if g != gone || w != why {
			t.Errorf("session %d of stamp %d: %d gives way, %d", s, stamp, g, w)
		}
		if got := r.Session("bob", "phone"); got != holds {
			t.Errorf("session %d of stamp %d: the device is at %d", s, stamp, got)
		}
	}
	f(1, 20, 0, 0, 1)
	f(2, 19, 2, godwit.CloseReplaced, 1)
	f(3, 21, 1, godwit.CloseReplaced, 3)
	f(4, 21, 3, godwit.CloseReplaced, 4)
	f(5, 0, 4, godwit.CloseReplaced, 5) // none: it has just arrived
	f(6, 20, 6, godwit.CloseReplaced, 5)
	f(7, 22, 5, godwit.CloseReplaced, 7)
	f(7, 22, 0, 0, 7)
	if _, why := r.Register("bob", "web", 8, 1); why != 0 {
		t.Errorf("another device: %d", why)
	}
	r.Unregister("bob", "phone", 7)
	f(9, 1, 0, 0, 9)
}

// Connections of one device are heard of at many places in any order: the newest
// stays, and each of the others is told to go, once.
func TestTheNewestConnectionStaysWhateverTheOrder(t *testing.T) {
	const rounds, connections = 200, 16
	r := newRouter(t, Config{})
	for range rounds {
		var mu sync.Mutex
		gone := map[godwit.SessionID]int{}
		var wg sync.WaitGroup
		start := make(chan struct{})
		for _, i := range rand.Perm(connections) {
			wg.Go(func() {
				<-start
				s := godwit.SessionID(i + 1)
				if g, why := r.Register("bob", "phone", s, uint64(1000+i)); why != 0 {
					mu.Lock()
					defer mu.Unlock()
					gone[g]++
					if why != godwit.CloseReplaced {
						t.Errorf("close code %d", why)
					}
				}
			})
		}
		close(start)
		wg.Wait()
		if got := r.Session("bob", "phone"); got != connections {
			t.Fatalf("session %d stays", got)
		}
		for s := godwit.SessionID(1); s < connections; s++ {
			if gone[s] != 1 {
				t.Fatalf("session %d was told to go %d times", s, gone[s])
			}
		}
		r.Unregister("bob", "phone", connections)
	}
}
