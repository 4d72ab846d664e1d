package presence

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godwit-im/godwit"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a hub without its goroutine: the test moves the clock and ticks.
type world struct {
	t   testing.TB
	hub *Hub
	now int64

	mu       sync.Mutex
	places   map[godwit.UserID]map[string]godwit.SessionID
	seen     map[godwit.UserID]int64
	refuse   map[[2]godwit.UserID]bool // target, watcher
	heard    map[godwit.SessionID][]string
	frames   []sentAt
	asked    int
	discards bool
}

type sentAt struct {
	at   int64
	edge int
}

func newWorld(t testing.TB, change func(*Config)) *world {
	w := &world{
		t: t, now: 1_000_000, places: map[godwit.UserID]map[string]godwit.SessionID{}, seen: map[godwit.UserID]int64{},
		refuse: map[[2]godwit.UserID]bool{}, heard: map[godwit.SessionID][]string{},
	}
	cfg := Config{Router: w, Edge: w, Rights: w, Clock: func() int64 { return w.now }}
	if change != nil {
		change(&cfg)
	}
	hub, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.hub = hub
	return w
}

// The router.

func (w *world) Presence(user godwit.UserID) (bool, int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.places[user]) > 0 {
		return true, w.now
	}
	return false, w.seen[user]
}

func (w *world) Session(user godwit.UserID, device string) godwit.SessionID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.places[user][device]
}

func (w *world) Device(user godwit.UserID, s godwit.SessionID) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for device, held := range w.places[user] {
		if held == s {
			return device, true
		}
	}
	return "", false
}

// in and out begin and end the session of a device, as chat and the router do.
func (w *world) in(user godwit.UserID, device string, s godwit.SessionID) {
	w.mu.Lock()
	if w.places[user] == nil {
		w.places[user] = map[string]godwit.SessionID{}
	}
	first := len(w.places[user]) == 0
	w.places[user][device] = s
	w.mu.Unlock()
	if first {
		w.hub.Changed(user, true, w.now)
	}
	w.hub.Attach(user, device, s)
}

func (w *world) out(user godwit.UserID, device string) {
	s := w.vanish(user, device)
	w.hub.Detach(user, device, s)
}

// vanish ends a session as UnregisterEdge does: nobody tells the hub which.
func (w *world) vanish(user godwit.UserID, device string) godwit.SessionID {
	w.mu.Lock()
	s := w.places[user][device]
	delete(w.places[user], device)
	last := len(w.places[user]) == 0
	if last {
		w.seen[user] = w.now
	}
	w.mu.Unlock()
	if last {
		w.hub.Changed(user, false, w.now)
	}
	return s
}

// MaySee and Whisper are called with no lock of the hub held.

func (w *world) MaySee(target godwit.UserID, watchers []godwit.UserID, may []bool) {
	w.asked += len(watchers)
	for i, watcher := range watchers {
		may[i] = !w.refuse[[2]godwit.UserID{target, watcher}]
	}
}

func (w *world) Whisper(sessions []godwit.SessionID, f *godwit.ServerFrame) {
	if w.discards {
		return
	}
	p := f.Ephemeral.Presence
	text := fmt.Sprintf("%s off %d", p.User, p.LastSeen)
	if p.Online {
		text = fmt.Sprintf("%s on", p.User)
	}
	for _, s := range sessions {
		w.heard[s] = append(w.heard[s], text)
		w.frames = append(w.frames, sentAt{w.now, int(s >> godwit.SessionEdgeShift)})
	}
}

// pass moves the time on by ms, a tick at a time.
func (w *world) pass(ms int64) {
	for end := w.now + ms; w.now < end; {
		w.now += TickInterval.Milliseconds()
		w.hub.tick(w.now)
	}
}

// watch has a session watch users and answers at once.
func (w *world) watch(user godwit.UserID, s godwit.SessionID, targets ...godwit.UserID) {
	w.t.Helper()
	w.watchAs(user, s, "", targets...)
}

func (w *world) watchAs(user godwit.UserID, s godwit.SessionID, device string, targets ...godwit.UserID) {
	w.t.Helper()
	hidden := make([]bool, len(targets))
	for i, target := range targets {
		hidden[i] = w.refuse[[2]godwit.UserID{target, user}]
	}
	device, err := w.hub.Watch(w.hub.Order(), s, user, device, targets, hidden)
	if err != nil {
		w.t.Fatal(err)
	}
	w.hub.Answered(user, device)
}

// hears checks what a session was told since the last time.
func (w *world) hears(s godwit.SessionID, want ...string) {
	w.t.Helper()
	got := w.heard[s]
	delete(w.heard, s)
	if !slices.Equal(got, want) {
		w.t.Errorf("at %d session %d heard %q, want %q", w.now, s, strings.Join(got, ", "), strings.Join(want, ", "))
	}
}
