package node

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/router/local"
)

// sharedStore is a directory's store that several nodes of a test have, and that can
// be away.
type sharedStore struct {
	*local.Store
	away atomic.Bool
}

func newSharedStore() *sharedStore {
	s := &sharedStore{}
	s.Store = local.Open(local.Config{Fault: func(context.Context, local.Op) error {
		if s.away.Load() {
			return router.ErrUnavailable
		}
		return nil
	}})
	return s
}

func (s *sharedStore) Close() error { return nil }

func (s *sharedStore) in(cfg Config) Config {
	cfg.Router.Store, cfg.Router.PD = StoreTiKV, []string{"127.0.0.1:1"}
	cfg.Link.Upstream = ""
	cfg.openStore = func(context.Context, *RouterConfig, *slog.Logger) (router.Store, error) { return s, nil }
	return cfg
}

// until waits for what must come.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for late := time.After(time.Minute); !is(); {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("it did not come to be: %s", what)
		}
	}
}

// askEdges asks as a client which edges to use.
func askEdges(t *testing.T, n *Node, token string) (urls []string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.Addr()+"/v1/edges", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	reply, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	var answer struct{ Edges []struct{ URL, Node string } }
	if err := json.NewDecoder(reply.Body).Decode(&answer); err != nil || reply.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", reply.StatusCode, err)
	}
	for _, e := range answer.Edges {
		urls = append(urls, e.URL)
	}
	return urls
}

func wsURL(n *Node) string { return "ws://" + n.Addr() + "/v1/ws" }

func TestEdgesAndEngineMeetInTheDirectory(t *testing.T) {
	store := newSharedStore()
	cfg := engineConfig(t)
	engine := mustOpen(t, store.in(cfg))
	one := mustOpen(t, store.in(edgeConfig(t, cfg, "edge-1")))
	two := mustOpen(t, store.in(edgeConfig(t, cfg, "edge-2")))
	token := devToken(t, cfg)
	if answer, ok := connected(t, one, token).store(2, "hello"); !ok || !strings.Contains(answer, `"stored"`) {
		t.Fatalf("send answered %q", answer)
	}
	until(t, "both edges are named", func() bool { return len(askEdges(t, two, token)) == 2 && len(askEdges(t, one, token)) == 2 })
	if a, b := askEdges(t, one, token), askEdges(t, two, token); a[0] != b[0] || a[0] != wsURL(one) && a[0] != wsURL(two) {
		t.Errorf("one edge says %v, the other %v", a, b)
	}

	d := engine.directory
	until(t, "the map", func() bool {
		m, err := d.Map(t.Context())
		return err == nil && m.Version == 1 && len(m.Groups) == 1 && m.Groups[0].Replicas[0] == cfg.Node
	})
	user := "" // of the token
	until(t, "the session's route", func() bool {
		for _, user = range []string{"alice", "bob"} {
			if w, err := d.Lookup(t.Context(), []string{user}); err == nil && len(w[0].Routes) == 1 {
				p, _ := d.View().Edge(w[0].Routes[0].Edge)
				return p != nil && p.Name == "edge-1" && w[0].Routes[0].Stamp != 0
			}
		}
		return false
	})
	for _, n := range []*Node{engine, two} {
		until(t, "both edges and the engine are listed", func() bool { // each has a view of its own
			status, _, body := get(t, "http://"+n.OpsAddr()+DirectoryPath, "")
			var info DirectoryInfo
			if err := json.Unmarshal([]byte(body), &info); err != nil || status != 200 {
				t.Fatalf("%d %s (%v)", status, body, err)
			}
			return len(info.Edges) == 2 && len(info.Nodes) == 1 && !info.Away &&
				info.Edges[0].Name == "edge-1" && info.Edges[0].URL == wsURL(one) && info.Edges[0].Verdict == "alive" && info.Nodes[0].Address == cfg.Link.Listen
		})
	}
	for _, want := range []string{"godwit_router_store_up 1", "godwit_router_lease_claimed 1", "godwit_router_routes_registered_total 1", `godwit_router_members{kind="engine",verdict="alive"} 1`} {
		until(t, "the edge process has "+want, func() bool { // a route is counted after it is stored
			_, _, text := get(t, "http://"+one.OpsAddr()+"/metrics", "")
			return strings.Contains(text, "\n"+want+"\n")
		})
	}

	if err := one.Close(); err != nil { // as planned: its routes end by its lease
		t.Fatal(err)
	}
	until(t, "only the other edge is named", func() bool {
		urls := askEdges(t, two, token)
		return len(urls) == 1 && urls[0] == wsURL(two)
	})
	until(t, "the edge that ended has no routes", func() bool { // the engine process has another view than the edge
		w, err := d.Lookup(t.Context(), []string{user})
		return err == nil && len(w[0].Routes) == 0
	})
}

func TestStoreThatIsAwayDegradesAndStopsNobody(t *testing.T) {
	store := newSharedStore()
	cfg := engineConfig(t)
	mustOpen(t, store.in(cfg))
	edge := mustOpen(t, store.in(edgeConfig(t, cfg, "edge-1")))
	token := devToken(t, cfg)
	s := connected(t, edge, token)
	ready := func(want string) func() bool {
		return func() bool {
			status, _, body := get(t, "http://"+edge.OpsAddr()+"/readyz", "")
			if status != 200 {
				t.Fatalf("not ready: %d %s", status, body)
			}
			return strings.Contains(body, `"status":"`+want+`"`)
		}
	}
	until(t, "ready", ready("ready"))

	store.away.Store(true)
	if answer, ok := s.store(2, "hello"); !ok || !strings.Contains(answer, `"stored"`) {
		t.Fatalf("send answered %q", answer)
	}
	late := connected(t, edge, token) // a newcomer, too
	until(t, "degraded", ready("degraded"))
	if answer, ok := late.store(3, "hello"); !ok || !strings.Contains(answer, `"stored"`) {
		t.Fatalf("send answered %q", answer)
	}
	again := mustOpen(t, store.in(edgeConfig(t, cfg, "edge-2"))) // and a start: the engine process is where it was
	if answer, ok := connected(t, again, token).store(4, "hello"); !ok || !strings.Contains(answer, `"stored"`) {
		t.Fatalf("send answered %q", answer)
	}
	if urls := askEdges(t, again, token); len(urls) != 1 || !strings.Contains(urls[0], again.Addr()) {
		t.Errorf("an edge that knows no other names %v", urls)
	}

	store.away.Store(false)
	until(t, "ready again", ready("ready"))
	until(t, "both edges are named", func() bool { return len(askEdges(t, again, token)) == 2 })
	until(t, "all routes are told", func() bool {
		return edge.directory.registrar.Stats().Dirty == 0 && again.directory.registrar.Stats().Registered > 0
	})
}

func TestYoungerProcessOfTheNameEndsTheOlder(t *testing.T) {
	store := newSharedStore()
	cfg := engineConfig(t)
	mustOpen(t, store.in(cfg))
	old := mustOpen(t, store.in(edgeConfig(t, cfg, "edge-1")))
	s := connected(t, old, devToken(t, cfg))
	ended := make(chan error, 1)
	go func() { ended <- old.Run(context.Background()) }()
	young := mustOpen(t, store.in(edgeConfig(t, cfg, "edge-1")))
	if err := <-ended; err == nil {
		t.Error("it ended without an error")
	}
	if _, ok := s.until("nothing"); ok || s.code/100 != 43 {
		t.Errorf("closed with %d", s.code)
	}
	until(t, "its lease is the second", func() bool { return young.directory.leaseEpoch() == 2 }) // a start waits but 2 s for it
}

func TestServerWhoseNameIsTakenInTheDirectoryEnds(t *testing.T) {
	store := newSharedStore()
	cfg := testConfig(t) // clients and store in one process: no link says it first
	old := mustOpen(t, store.in(cfg))
	s := connected(t, old, devToken(t, cfg))
	ended := make(chan error, 1)
	go func() { ended <- old.Run(context.Background()) }()
	mustOpen(t, store.in(testConfig(t)))
	if err := <-ended; !errors.Is(err, ErrSuperseded) {
		t.Errorf("it ended with %v", err)
	}
	if _, ok := s.until("nothing"); ok || s.code/100 != 43 {
		t.Errorf("closed with %d", s.code)
	}
}

func TestDrainingEdgeIsAssignedToNobody(t *testing.T) {
	store := newSharedStore()
	cfg := engineConfig(t)
	mustOpen(t, store.in(cfg))
	one := mustOpen(t, store.in(edgeConfig(t, cfg, "edge-1")))
	two := mustOpen(t, store.in(edgeConfig(t, cfg, "edge-2")))
	token := devToken(t, cfg)
	until(t, "both edges are named", func() bool { return len(askEdges(t, two, token)) == 2 })
	one.directory.leave(t.Context())
	until(t, "the directory knows that the edge leaves", one.directory.leaving) // leave waits but 1.5 s for it
	until(t, "only the other edge is named", func() bool { return len(askEdges(t, two, token)) == 1 })
	for range 2 { // when the second is taken up, the first was told
		one.directory.attached() // the engine process came back: it leaves all the same
		until(t, "it is taken up", func() bool { return len(one.directory.changed) == 0 })
	}
	if err := errors.Join(one.directory.lease.Beat(t.Context()), one.directory.Refresh(t.Context())); err != nil || !one.directory.leaving() {
		t.Errorf("who leaves takes clients again (%v)", err)
	}
}

func TestSecondEngineDoesNotTakeTheMapWhileTheFirstLives(t *testing.T) {
	store := newSharedStore()
	cfg := engineConfig(t)
	one := mustOpen(t, store.in(cfg))
	holder := func() string {
		m, err := one.directory.Map(context.Background())
		if err != nil || len(m.Groups) != 1 {
			return ""
		}
		return m.Groups[0].Replicas[0]
	}
	until(t, "the map", func() bool { return holder() == cfg.Node })
	other := engineConfig(t)
	other.Node = "node-0" // before the first by name
	two := mustOpen(t, store.in(other))
	until(t, "both are known", func() bool { return len(two.directory.View().Nodes) == 2 })
	group := func(godwit.Partition) int { return 0 }
	err := router.ErrLocked
	for errors.Is(err, router.ErrLocked) { // its own attempt in the background may hold the lock
		err = two.directory.placeOnce(group)
	}
	if !errors.Is(err, errTwoEngines) || holder() != cfg.Node {
		t.Errorf("%v, the map names %s", err, holder())
	}
	for range 3 {
		if at, err := two.directory.resolve(t.Context()); err != nil || at != cfg.Link.Listen {
			t.Errorf("edges are led to %q, %v", at, err)
		}
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the second has the map", func() bool {
		m, err := two.directory.Map(t.Context())
		return err == nil && m.Version == 2 && m.Groups[0].Replicas[0] == other.Node
	})
	if at, err := two.directory.resolve(t.Context()); err != nil || at != other.Link.Listen {
		t.Errorf("edges are led to %q, %v", at, err)
	}
}
