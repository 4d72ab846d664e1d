package node

import (
	"sync"
	"testing"
)

func TestStampsRiseWhateverTheClockAndTheClientsSay(t *testing.T) {
	now := int64(1000)
	s := newStamps(func() int64 { return now })
	f := func(echo, want uint64) {
		t.Helper()
		if got := s.next(echo); got != want {
			t.Errorf("echo %d: %d, want %d", echo, got, want)
		}
	}
	at := func(ms int64) uint64 { return uint64(ms) << stampShift }
	f(0, at(1000))
	f(0, at(1000)+1)
	f(at(900), at(1000)+2)
	f(at(2000), at(2000)+1) // the clock of another machine is ahead
	f(0, at(1000)+4)        // which is no matter of other clients
	f(at(1000)+at(1<<40), at(1000)+5)
	now = 500 // the clock was set back
	f(0, at(1000)+6)
	now = 1001
	f(0, at(1001))
	s.see(at(3000))
	s.see(at(2000))
	f(0, at(3000)+1)
}

func TestStampsGivenAtOnceDiffer(t *testing.T) {
	s := newStamps(func() int64 { return 1000 })
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				stamp := s.next(0)
				mu.Lock()
				if seen[stamp] {
					t.Errorf("%d twice", stamp)
				}
				seen[stamp] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
