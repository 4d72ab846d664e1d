package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

func TestTheNewestVersionOfBothSidesIsChosen(t *testing.T) {
	f := func(engine, edge versions, want int, complaint string) {
		t.Helper()
		got, err := engine.agree(edge)
		if got != want || (err == nil) != (complaint == "") || err != nil && !strings.Contains(err.Error(), complaint) {
			t.Errorf("engine %v, edge %v: %d, %v; want %d, %q", engine, edge, got, err, want, complaint)
		}
	}
	f(versions{3, 3}, versions{3, 3}, 3, "")
	f(versions{3, 4}, versions{2, 3}, 3, "")
	f(versions{3, 4}, versions{4, 6}, 4, "")
	f(versions{1, 9}, versions{2, 7}, 7, "")
	f(versions{3, 4}, versions{1, 2}, 0, "the edge process is older")
	f(versions{3, 4}, versions{5, 5}, 0, "the engine process is older")
	f(versions{3, 3}, versions{2, 2}, 0, "speaks version 2 of the link, the engine process version 3: the edge process is older")
	f(versions{3, 4}, versions{4, 3}, 0, "speaks versions 4 to 3")
}

// TestProcessesOfTwoReleasesAttach: with a version in common they serve each other,
// without one the edge process ends and is told which of the two is older.
func TestProcessesOfTwoReleasesAttach(t *testing.T) {
	f := func(engine, edge versions, want int, complaint string) {
		t.Helper()
		w := newWorld(t, func(c *HubConfig) { c.versions = engine })
		cfg := w.config("edge-1")
		cfg.versions = edge
		client, err := Attach(t.Context(), cfg)
		if complaint != "" {
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), complaint) || w.hub.Totals().Refused != 1 {
				t.Errorf("got %v, want ErrRefused and %q", err, complaint)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if s := w.hub.Edges(); len(s) != 1 || s[0].Version != want || client.first.welcome.Version != want {
			t.Errorf("%+v, want version %d on both sides", s, want)
		}
	}
	f(versions{3, 3}, versions{3, 4}, 3, "") // the edge process is upgraded first
	f(versions{3, 4}, versions{3, 3}, 3, "") // the engine process is
	f(versions{4, 5}, versions{3, 3}, 0, "the edge process is older")
	f(versions{3, 3}, versions{4, 5}, 0, "the engine process is older")
}

func TestWhatIsNoHandshakeIsRefused(t *testing.T) {
	ours := versions{3, 4}
	hello := func(text, want string) {
		t.Helper()
		if _, _, err := parseHello([]byte(text), ours); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	hello(`{"version":2,"node":"a"}`, "the edge process is older") // from before there was a choice
	hello(`{"version":9,"min":5,"max":9,"node":"a"}`, "the engine process is older")
	hello(`{"version":3,"min":-1,"max":-2,"node":"a"}`, "versions -1 to -2")
	hello(`{"node":"a"}`, "version 0")
	hello(`{"version":3}`, "node name")
	hello(`[`, "does not parse")
	welcome := func(text, want string) {
		t.Helper()
		if _, err := parseWelcome([]byte(text), ours); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	welcome(`{"version":2,"index":1}`, "in version 2 of the link, this edge process speaks versions 3 to 4")
	welcome(`{"version":5,"index":1}`, "in version 5")
	welcome(`{"version":3,"index":4096}`, "index 4096")
	welcome(`{"version":3}`, "index 0")
	welcome(``, "does not parse")
	if h, chosen, err := parseHello([]byte(`{"version":4,"node":"a","more":[1]}`), ours); err != nil || h.Node != "a" || chosen != 4 {
		t.Errorf("what a later version may add is refused: %v", err)
	}
}

// FuzzHandshake reads any bytes as the first message of either side. What is taken
// is within bounds, and written again it reads the same.
func FuzzHandshake(f *testing.F) {
	f.Add(mustJSON(newHello(spoken, About{Node: "edge-1", PID: 7, Ops: "127.0.0.1:1", Lease: 1 << 63, Instance: 9})))
	f.Add(mustJSON(welcome{Version: 3, Node: "engine", Index: 1, Epoch: 1 << 63, Settings: testSettings}))
	f.Add([]byte(`{"version":2,"node":"a"}`))
	f.Add([]byte(`{"min":1,"max":9,"node":"a","lease":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, chosen, err := parseHello(b, spoken); err == nil {
			if !godwit.ValidID(h.Node) || len(h.Ops) > aboutBytesMax || chosen != spoken.max {
				t.Errorf("%+v is taken in version %d", h, chosen)
			}
			if again, _, err := parseHello(mustJSON(newHello(spoken, h.About)), spoken); err != nil || again.About != h.About {
				t.Errorf("%+v reads again as %+v, %v", h, again, err)
			}
		}
		if w, err := parseWelcome(b, spoken); err == nil {
			if again, err := parseWelcome(mustJSON(w), spoken); err != nil || again != w || w.Index < 1 {
				t.Errorf("%+v reads again as %+v, %v", w, again, err)
			}
		}
	})
}

// TestTheEngineProcessIsLookedForBeforeEachAttempt: it comes back elsewhere.
func TestTheEngineProcessIsLookedForBeforeEachAttempt(t *testing.T) {
	w := newWorld(t, nil)
	here := w.listener.Load()
	asked := newLog()
	where := make(chan string, 1)
	where <- "here"
	p := w.attach("edge-1", func(_ *process, c *ClientConfig) {
		c.Resolve = func(ctx context.Context) (string, error) {
			select {
			case place := <-where:
				asked.add("%s", place)
				return place, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			switch address {
			case "here":
				return here.DialContext(ctx)
			case "there":
				return w.listener.Load().DialContext(ctx)
			}
			return nil, fmt.Errorf("nobody at %s", address)
		}
	})
	w.hub.Stop()
	where <- "nowhere" // the directory still says so
	asked.waitHas(t, "nowhere")
	p.hooks.waitHas(t, "lost")
	w.start(nil)
	where <- "there"
	p.hooks.wait(t, func(lines []string) bool { return len(lines) == 3 && lines[2] == "attached" })
	w.connect(p, 1, "alice")
}

func (p *process) waitEnd(t *testing.T) error {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(waitMax):
		t.Fatal("it goes on")
	}
	return p.Err()
}
