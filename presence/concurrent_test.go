package presence

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// lockedWorld is a world whose ends may be called from any goroutine.
type lockedWorld struct {
	*world
	now atomic.Int64
}

func (w *lockedWorld) MaySee(_ godwit.UserID, watchers []godwit.UserID, may []bool) {
	for i := range may {
		may[i] = len(watchers[i]) != 2
	}
}

func (w *lockedWorld) Whisper([]godwit.SessionID, *godwit.ServerFrame) {}

// TestListsAgreeWithWatchersAfterAStorm of everything at once.
func TestListsAgreeWithWatchersAfterAStorm(t *testing.T) {
	w := &lockedWorld{world: newWorld(t, nil)}
	w.now.Store(1_000_000)
	ticks := make(chan time.Time)
	hub, err := New(Config{Router: w, Edge: w, Rights: w, Clock: w.now.Load, Ticks: ticks, PerSecond: 100, WatchesMax: 500})
	if err != nil {
		t.Fatal(err)
	}
	w.hub = hub
	hub.Start()
	var running sync.WaitGroup
	for g := range 4 {
		rng := rand.New(rand.NewPCG(1, uint64(g)))
		running.Go(func() {
			user := func() godwit.UserID { return godwit.UserID(fmt.Sprint("u", rng.IntN(40))) }
			for range 2000 {
				u, device := user(), fmt.Sprint("d", g) // a device is one goroutine's
				switch rng.IntN(8) {
				case 0, 1:
					w.in(u, device, godwit.SessionID(rng.IntN(1000)+1))
				case 2:
					if w.Session(u, device) != 0 {
						w.out(u, device)
					}
				case 3:
					hub.Recheck(u)
					hub.Missed(u)
				case 4:
					hub.Look(u)
					hub.Stats()
				case 5:
					w.now.Add(500)
					ticks <- time.Time{}
				default:
					targets := make([]godwit.UserID, rng.IntN(20))
					for i := range targets {
						targets[i] = user()
					}
					if device, err := hub.Watch(hub.Order(), 0, u, device, targets, make([]bool, len(targets))); err == nil {
						hub.Answered(u, device)
					}
				}
			}
		})
	}
	running.Wait()
	hub.Close()
	hub.Close()
	if listed := w.check(); int64(listed) != hub.Stats().Watches || listed == 0 {
		t.Errorf("%d watches on lists, %d counted", listed, hub.Stats().Watches)
	}
	for range 3 * shardCount { // every list is swept and, as all sessions end, dropped
		for user, places := range w.places {
			for device := range places {
				w.out(user, device)
			}
		}
		w.now.Add(keepAfter)
		hub.tick(w.now.Load())
	}
	if s := hub.Stats(); s.Watches != 0 || s.Lists != 0 || w.check() != 0 {
		t.Errorf("%+v", s)
	}
	for i := range hub.users {
		if n := len(hub.users[i].users); n != 0 {
			t.Errorf("%d users nobody watches", n)
		}
	}
}

// check compares lists and watchers.
func (w *lockedWorld) check() (listed int) {
	watchers := 0
	for i := range w.hub.users {
		for user, u := range w.hub.users[i].users {
			watchers += len(u.watchers)
			for at, x := range u.watchers {
				if x.user.user != user || int(x.at) != at || x.gone || !u.known {
					w.t.Errorf("a watch of %s at %d: %+v", user, at, x)
				}
			}
		}
	}
	for i := range w.hub.lists {
		for _, lists := range w.hub.lists[i].users {
			for _, l := range lists {
				listed += len(l.watches)
			}
		}
	}
	if listed != watchers {
		w.t.Errorf("%d watches on lists, %d of users", listed, watchers)
	}
	return listed
}

func TestConfigIsChecked(t *testing.T) {
	w := newWorld(t, nil)
	for _, cfg := range []Config{
		{},
		{Router: w, Edge: w},
		{Router: w, Edge: w, Rights: w, PerSecond: 9},
		{Router: w, Edge: w, Rights: w, Debounce: -1},
		{Router: w, Edge: w, Rights: w, WatchesMax: -1},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("taken: %+v", cfg)
		}
	}
}
