package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// cluster is a store for a directory, one engine process and edge processes that
// find it there.
type cluster struct {
	*roles
	pd, stats string
	ops       map[string]string // of a process
	urls      map[string]string // of an edge
}

// newCluster starts the store, the engine process and edges by name.
func newCluster(t *testing.T, edges ...string) *cluster {
	c := &cluster{roles: newRoles(t), ops: map[string]string{}, urls: map[string]string{}}
	store, stdout := exec.Command(tool(t, "devtikv"), "--pd", "127.0.0.1:0", "--stats", "127.0.0.1:0"), &tail{}
	store.Stdout, store.Stderr = stdout, stdout
	store.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := store.Start(); err != nil {
		t.Fatal(err)
	}
	c.running["store"] = store // ended with the others
	until(t, "the store is there", func() bool {
		return strings.Contains(stdout.String(), "stats on ") && strings.HasSuffix(stdout.String(), "\n")
	})
	c.pd, c.stats = lineAfter(stdout.String(), "pd on "), lineAfter(stdout.String(), "stats on ")
	c.process("engine", "--role", "engine", "--link", "127.0.0.1:0")
	for _, name := range edges {
		c.edge(name)
	}
	return c
}

// lineAfter returns the rest of the line that begins so.
func lineAfter(text, prefix string) string {
	_, rest, _ := strings.Cut(text, prefix)
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

func (c *cluster) process(name string, args ...string) (out string) {
	c.t.Helper()
	out = c.start(name, append(args, "--ops", "127.0.0.1:0", "--router", "tikv", "--pd", c.pd)...)
	c.ops[name] = lineAfter(out, "ops on ")
	return out
}

func (c *cluster) edge(name string) {
	c.t.Helper()
	c.urls[name] = lineAfter(c.process(name, "--role", "edge", "--listen", "127.0.0.1:0"), "listening on ")
}

func (c *cluster) tokens(users ...string) map[string]string {
	c.t.Helper()
	return (&server{t: c.t, path: c.path, dir: c.dir}).tokens(users...)
}

// fault tells the store what to do wrong.
func (c *cluster) fault(order string) {
	c.t.Helper()
	reply, err := http.Post(c.stats+"/fault", "application/json", strings.NewReader(order))
	if err != nil {
		c.t.Fatal(err)
	}
	defer reply.Body.Close()
	if body, _ := io.ReadAll(reply.Body); reply.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %d %s", order, reply.StatusCode, body)
	}
}

// assigned asks an edge which edges a user should use.
func (c *cluster) assigned(edge, token string) (names []string) {
	c.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http"+strings.TrimSuffix(strings.TrimPrefix(c.urls[edge], "ws"), "ws")+"edges", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer reply.Body.Close()
	var answer struct{ Edges []struct{ Node string } }
	if err := json.NewDecoder(reply.Body).Decode(&answer); err != nil || reply.StatusCode != http.StatusOK {
		c.t.Fatalf("%d, %v", reply.StatusCode, err)
	}
	for _, e := range answer.Edges {
		names = append(names, e.Node)
	}
	return names
}

// readiness is what a process answers as long as newcomers may come.
func (c *cluster) readiness(name string) string {
	c.t.Helper()
	reply, err := http.Get(c.ops[name] + "/readyz")
	if err != nil {
		c.t.Fatal(err)
	}
	defer reply.Body.Close()
	var answer struct{ Status string }
	if err := json.NewDecoder(reply.Body).Decode(&answer); err != nil || reply.StatusCode != http.StatusOK {
		c.t.Fatalf("%s is not ready: %d %+v %v", name, reply.StatusCode, answer, err)
	}
	return answer.Status
}

func TestEdgesOfAClusterFindTheirEngineAndStandInForEachOther(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "edge-1", "edge-2")
	tokens := c.tokens("alice", "bob")
	alice, _ := connectWire(t, c.urls["edge-1"], godwit.EncodingJSON, tokens["alice"], "phone", godwit.Resume{})
	bob, _ := connectWire(t, c.urls["edge-2"], godwit.EncodingProto, tokens["bob"], "phone", godwit.Resume{})
	alice.send("bob", "c1", "across")
	bob.awaitEvent("across")
	var list []string
	until(t, "both edges are known", func() bool {
		list = c.assigned("edge-1", tokens["bob"])
		return len(list) == 2 && len(c.assigned("edge-2", tokens["bob"])) == 2
	})
	first, second := list[0], list[1]

	// One that asks goes to its first edge, whichever it was given, and to the other
	// when that dies.
	states := make(chan client.State, 1024)
	sdk, err := client.New(client.Config{
		URL: c.urls[second], Assign: true, Token: tokens["bob"], Device: "web",
		OnState: func(s client.State) { states <- s },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sdk.Close()
	liveAt := func(node string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for {
			select {
			case s := <-states:
				if s.Phase == client.Live && s.Welcome.Node == node {
					return
				}
			case <-ctx.Done():
				t.Fatalf("the client is not at %s: %+v", node, sdk.State())
			}
		}
	}
	liveAt(first)
	c.kill(first)
	liveAt(second)
	until(t, "the dead edge is named no more", func() bool { return fmt.Sprint(c.assigned(second, tokens["bob"])) == fmt.Sprint([]string{second}) })
}

func TestClusterGoesOnWithoutItsDirectory(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "edge-1", "edge-2")
	tokens := c.tokens("alice", "bob", "carol")
	alice, _ := connectWire(t, c.urls["edge-1"], godwit.EncodingJSON, tokens["alice"], "phone", godwit.Resume{})
	bob, _ := connectWire(t, c.urls["edge-2"], godwit.EncodingProto, tokens["bob"], "phone", godwit.Resume{})
	until(t, "both edges are known", func() bool { return len(c.assigned("edge-1", tokens["bob"])) == 2 })

	c.fault(`{"outage":"10m"}`)
	alice.send("bob", "c1", "while it is away")
	bob.awaitEvent("while it is away")
	for _, name := range []string{"engine", "edge-1", "edge-2"} {
		until(t, name+" is degraded", func() bool { return c.readiness(name) == "degraded" })
	}
	carol, _ := connectWire(t, c.urls["edge-1"], godwit.EncodingJSON, tokens["carol"], "phone", godwit.Resume{}) // a newcomer
	carol.send("bob", "c1", "from a newcomer")
	bob.awaitEvent("from a newcomer")
	c.kill("edge-2") // and a start
	c.edge("edge-2")
	bob, _ = connectWire(t, c.urls["edge-2"], godwit.EncodingProto, tokens["bob"], "phone", godwit.Resume{})
	carol.send("bob", "c2", "to one who came back")
	bob.awaitEvent("to one who came back")

	c.fault(`{"outage":"0s"}`)
	for _, name := range []string{"engine", "edge-1", "edge-2"} {
		until(t, name+" is well again", func() bool { return c.readiness(name) == "ready" })
	}
	until(t, "both edges are known again", func() bool {
		return len(c.assigned("edge-1", tokens["bob"])) == 2 && len(c.assigned("edge-2", tokens["bob"])) == 2
	})
	alice.send("bob", "c2", "afterwards")
	bob.awaitEvent("afterwards")
}
