package router_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/router/local"
)

// cacheWorld is a cache over a store with one edge that has a user.
type cacheWorld struct {
	*faulty
	d     *router.Directory
	lease *router.Lease
	cache *router.Cache
	route router.Route
}

func newCacheWorld(t *testing.T, cfg router.CacheConfig) *cacheWorld {
	t.Helper()
	w := &cacheWorld{faulty: newFaulty()}
	w.d = open(t, w.faulty, router.Config{})
	w.lease = claim(t, w.d, "a", nil)
	must(t, w.d.Refresh(t.Context()))
	number, epoch := w.lease.ID()
	w.route = router.Route{Device: "phone", Edge: number, Epoch: epoch, Conn: 1, Stamp: 5}
	must(t, w.d.Register(t.Context(), "alice", w.route))
	var err error
	w.cache, err = w.d.NewCache(cfg)
	must(t, err)
	return w
}

func (w *cacheWorld) reads() int { return w.counted(local.OpBatch) }

func (w *cacheWorld) want(t *testing.T, user string, want ...router.Route) {
	t.Helper()
	found, err := w.cache.Lookup(t.Context(), []string{user})
	must(t, err)
	if fmt.Sprint(found[0].Routes) != fmt.Sprint(want) {
		t.Fatalf("%s is at %+v, want %+v", user, found[0].Routes, want)
	}
}

func TestCacheAnswersWithoutTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, router.CacheConfig{})
		w.want(t, "alice", w.route)
		before := w.reads()
		for range 1000 {
			w.want(t, "alice", w.route)
		}
		if n := w.reads() - before; n != 0 {
			t.Errorf("%d reads for what is known", n)
		}
		w.want(t, "bob")
		w.want(t, "bob")
		time.Sleep(1900 * time.Millisecond)
		w.want(t, "bob")
		if n := w.reads() - before; n != 1 {
			t.Errorf("%d reads for a user who is offline, want 1 in 2 s", n)
		}
		bob := w.route
		bob.Conn = 2
		must(t, w.d.Register(t.Context(), "bob", bob))
		w.want(t, "bob")
		time.Sleep(200 * time.Millisecond)
		w.want(t, "bob", bob)
		time.Sleep(11 * time.Second)
		before = w.reads()
		w.want(t, "alice", w.route)
		if n := w.reads() - before; n != 1 {
			t.Errorf("%d reads after OnlineFor", n)
		}
	})
}

func TestLookupsOfOneMillisecondAreOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, router.CacheConfig{BatchMax: 100})
		before := w.reads()
		var all sync.WaitGroup
		for i := range 150 {
			all.Go(func() {
				user := fmt.Sprint("user-", i%100) // some ask for the same
				if _, err := w.cache.Lookup(t.Context(), []string{"alice", user}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := w.reads() - before; n > 3 {
			t.Errorf("%d reads for 101 users with 100 in a read", n)
		}
	})
}

func TestBounceIsReadAgainOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, router.CacheConfig{})
		w.want(t, "alice", w.route)
		moved := w.route
		moved.Conn, moved.Stamp = 2, 6
		must(t, w.d.Register(t.Context(), "alice", moved))
		w.want(t, "alice", w.route) // nobody told
		w.cache.Bounced("alice", w.route)
		w.want(t, "alice", moved)
		before := w.reads()
		w.cache.Bounced("alice", w.route) // told late: it is known already
		w.want(t, "alice", moved)
		if n := w.reads() - before; n != 0 {
			t.Errorf("a bounce of a route that is gone costs %d reads", n)
		}
		// The store still names what bounces: not for each message anew.
		w.cache.Bounced("alice", moved)
		for range 10 {
			w.want(t, "alice")
			w.cache.Bounced("alice", moved)
		}
		if n := w.reads() - before; n != 1 {
			t.Errorf("a route that bounces ten times costs %d reads", n)
		}
	})
}

// slowRead holds back what it has read until it is told.
type slowRead struct {
	router.Store
	read, answer chan struct{}
}

func (s slowRead) BatchGet(ctx context.Context, keys [][]byte) ([][]byte, error) {
	values, err := s.Store.BatchGet(ctx, keys)
	s.read <- struct{}{}
	<-s.answer
	return values, err
}

// What was read before a bounce says nothing about what came after it.
func TestBounceBeatsAReadUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, router.CacheConfig{})
		slow := slowRead{w.faulty, make(chan struct{}), make(chan struct{})}
		cache, err := open(t, slow, router.Config{}).NewCache(router.CacheConfig{})
		must(t, err)
		ask := func() chan string {
			asked := make(chan string, 1)
			go func() {
				found, err := cache.Lookup(t.Context(), []string{"alice"})
				asked <- fmt.Sprint(found, err)
			}()
			return asked
		}
		first := ask()
		<-slow.read
		moved := w.route
		moved.Conn, moved.Stamp = 2, 6
		must(t, w.d.Register(t.Context(), "alice", moved))
		cache.Bounced("alice", w.route) // by another, who looked earlier
		slow.answer <- struct{}{}
		<-first
		second := ask()
		select {
		case <-slow.read:
		case got := <-second:
			t.Fatalf("after the bounce the answer is from before it: %s", got)
		}
		slow.answer <- struct{}{}
		if got, want := <-second, fmt.Sprint([]router.Whereabouts{{Routes: []router.Route{moved}}}, nil); got != want {
			t.Errorf("after the bounce alice is at %s, want %s", got, want)
		}
	})
}

func TestCacheDropsRoutesOfDeadEdgesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, router.CacheConfig{OnlineFor: time.Hour})
		w.want(t, "alice", w.route)
		before := w.reads()
		must(t, w.lease.Release(t.Context()))
		must(t, w.d.Refresh(t.Context()))
		found, err := w.cache.Lookup(t.Context(), []string{"alice"})
		must(t, err)
		if len(found[0].Routes) != 0 || found[0].LastSeenMS == 0 {
			t.Fatalf("at a dead edge there is %+v", found[0])
		}
		if n := w.reads() - before; n != 0 {
			t.Errorf("an edge's death costs %d reads for a user", n)
		}
	})
}

func TestCacheGoesOnWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, router.CacheConfig{})
		w.want(t, "alice", w.route)
		w.away.Store(true)
		time.Sleep(time.Minute)
		w.want(t, "alice", w.route)
		if _, err := w.cache.Lookup(t.Context(), []string{"bob"}); !errors.Is(err, router.ErrUnavailable) {
			t.Fatalf("of a user nobody knows the answer is %v", err)
		}
		w.away.Store(false)
		w.want(t, "bob")
	})
}

func TestCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, router.CacheConfig{UsersMax: 50})
		for i := range 200 {
			w.want(t, fmt.Sprint(i))
			w.cache.Bounced(fmt.Sprint("x", i), w.route)
		}
		if n := w.cache.Stats().Users; n > 50 {
			t.Errorf("%d users are remembered", n)
		}
	})
}
