package load

import (
	"errors"
	"testing"
	"time"
)

// TestConnectsThatLeadToNothingAreGivenUp: of the dialled sessions those that have
// no reply in time, and none that were dialled again since.
func TestConnectsThatLeadToNothingAreGivenUp(t *testing.T) {
	l, err := newLoop(loopConfig{count: 5, prefix: "u", tokens: make([]string, 5)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.poller.close()
	for i, state := range []state{stateConnecting, stateOpen, stateUpgrading, stateOpening, stateClosed} {
		s := &l.sessions[i]
		s.fd, s.state, s.retry = -1, state, time.Second
		l.opening = append(l.opening, opening{uint32(i), time.Second})
	}
	l.sessions[2].retry = 3 * time.Second // dialled again
	l.opening = append(l.opening, opening{2, 3 * time.Second})
	l.giveUpOpening(time.Second - 1)
	if len(l.waiting) != 0 || len(l.opening) != 6 {
		t.Fatalf("too early: %v, %v", l.waiting, l.opening)
	}
	l.giveUpOpening(2 * time.Second)
	if len(l.waiting) != 2 || l.waiting[0] != 0 || l.waiting[1] != 3 || !errors.Is(l.reason, errOpening) {
		t.Errorf("%v wait to be dialled again, because %v; want 0 and 3", l.waiting, l.reason)
	}
	if l.sessions[1].state != stateOpen || l.sessions[2].state != stateUpgrading || len(l.opening) != 1 {
		t.Errorf("states %v and %v, %v", l.sessions[1].state, l.sessions[2].state, l.opening)
	}
	for _, i := range l.waiting {
		if s := &l.sessions[i]; s.state != stateClosed || s.attempts != 1 {
			t.Errorf("session %d: %+v", i, s)
		}
	}
	l.giveUpOpening(time.Hour)
	if l.sessions[2].state != stateClosed || l.opening != nil {
		t.Errorf("%v, %v", l.sessions[2].state, l.opening)
	}
}
